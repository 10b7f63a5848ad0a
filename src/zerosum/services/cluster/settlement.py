"""
Settlement in a cluster: one stream of events into the record. One for each shard's account events, one for each engine's market events.

    stream --next in number--> Translator --rows--> store (upserts, and the position last) --> snapshot of the translator, now and then

The translators are the embedded exchange's. Here they go on from their own snapshots and not from the record: after a crash that may hold
rows of a batch that was not finished. Each row is absolute and written with the number of the last event it follows from; of two versions
the later wins. So a batch that is written again, whole or cut otherwise, changes nothing.

Always true: the record's position is that of a batch all of whose rows are written; `next_offset` is behind what is settled, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, final

from zerosum.errors import ZerosumError
from zerosum.log.chain import Chain
from zerosum.log.disk import Disk
from zerosum.log.messages import unpack
from zerosum.log.sequences import Sequence, after, last_sequence
from zerosum.log.snapshots import Snapshot
from zerosum.log.streams import Stream, StreamPruned
from zerosum.services.cluster.pace import Pace
from zerosum.services.cluster.role_snapshots import RoleSnapshots, SnapshotSettings
from zerosum.settlement.batch import Event, unpacked
from zerosum.settlement.errors import SettlementBroken
from zerosum.settlement.remembered import AccountMemory, MarketMemory
from zerosum.settlement.row_store import RowStore, Settled, StoreFailed
from zerosum.settlement.rows import Rows

RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 5.0
BATCH_BYTES: Final = 1 << 20
IDLE_S: Final = 1.0  # without a write, in which a database may have started again, and lost what it had not synced


class RecordBehind(ZerosumError):
    """The record has lost what was written to it."""


class Memory(Protocol):
    """What a translator remembers between batches, and the translator."""

    def translate(self, events: Iterable[Event], rows: Rows) -> None: ...

    def sections(self) -> list[tuple[str, bytes]]: ...


@final
class Settlement:
    def __init__(
        self, stream: Stream, make: Callable[[dict[str, bytes] | None], Memory], store: RowStore, snapshots: SnapshotSettings, disk: Disk,
        report: Callable[[str], None] = lambda line: None, gap_s: float = 0.0,
    ) -> None:  # fmt: skip
        """
        `make` makes the memory: empty, or as the sections of a snapshot have it. See `account_memory` and `market_memory`. `gap_s`: between
        two batches, see pace.py.
        """
        self.name = f"settlement of {stream.name}"
        self.settled = Settled(0, b"")
        self.state = "restoring"
        self.emits = self.is_verified = True
        self.trades = 0  # settled by this copy
        self.failures = 0  # reads and writes that the database did not do
        self._written_at = 0.0
        self.source = stream
        self._store = store
        self._gap_s = gap_s
        self._report = report
        self._make = make
        self._snapshots = RoleSnapshots(self.name, snapshots, disk, report)
        self._start_from(None)

    def _start_from(self, snapshot: Snapshot | None) -> None:
        sections = snapshot.sections if snapshot is not None else None
        self._memory = self._make(sections)
        self.next_offset = self._read_offset = snapshot.sequence if snapshot is not None else 0
        self._sequence = Sequence(self.source.name, sequence_of(snapshot))
        self._chain = Chain.restore(sections["chain"]) if sections is not None else Chain()

    async def _restore(self) -> None:
        """From the newest snapshot; if the record is not as far, it is another than was written to, and is written from the beginning."""
        self._store.forget()
        self.settled = await self._settled()
        snapshot = self._snapshots.newest()
        if self.settled.sequence < sequence_of(snapshot):
            self._report(
                f"{self.name}: the record ends at {self.settled.sequence}, and was settled up to {sequence_of(snapshot)} once. It is"
                " written anew, from the stream's beginning."
            )
            snapshot = None
        self._start_from(snapshot)

    async def _settled(self) -> Settled:
        wait_s = RETRY_S
        while True:
            try:
                return await self._store.settled(self.source.name)
            except StoreFailed as error:
                self._failed(error, wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S_MAX)

    async def run(self) -> None:
        while True:
            await self._restore()
            try:
                await self._follow()
            except RecordBehind as error:
                self._report(f"{self.name}: {error}")

    async def _follow(self) -> None:
        ends = await self.source.ends()
        if self.next_offset < ends.first:
            raise StreamPruned(self.source.name, self.next_offset, ends.first)
        pace = Pace(self._gap_s)
        while True:
            self.state = "reading"
            await pace.rest()
            records = bytearray()
            for appended in await self.source.read(self._read_offset):
                message = unpack(appended.data, f"{self.source.name}, message {appended.offset}")
                records += self._sequence.take(message.records)
                self._read_offset = appended.offset + 1
                if len(records) > BATCH_BYTES:
                    break
            else:
                pace.begin()  # else there is more to be written already
            self.state = "writing"
            if records and asyncio.get_running_loop().time() - self._written_at > IDLE_S:
                await self._look_back()
            for part in parts(bytes(records), self.settled.sequence):
                await self._settle(part)
            self.next_offset = self._read_offset
            self.state = "taking a snapshot"
            if self._snapshots.is_due(self.next_offset):
                self._snapshots.take(self.next_offset, self._sections(), out_up_to=self.next_offset, sequence=self._sequence.last)

    async def _settle(self, records: bytes) -> None:
        rows = Rows()
        self._memory.translate(unpacked(records), rows)
        self._chain.update(records)
        settled = Settled(last_sequence(records), self._chain.head())
        if settled.sequence == self.settled.sequence and settled.chain != self.settled.chain:
            raise SettlementBroken(
                self.source.name, settled.sequence, "the record was settled from other events than these: it belongs to another stream"
            )
        await self._write(rows, settled)
        self.trades += len(rows.trades)
        if settled.sequence > self.settled.sequence:
            self.settled = settled

    async def _write(self, rows: Rows, settled: Settled) -> None:
        """
        Until it is written. A write that failed may have happened: it is made again, which changes nothing then. RecordBehind, where a
        database that failed has lost what it had acknowledged.
        """
        wait_s = RETRY_S
        while True:
            try:
                await self._store.write(self.source.name, rows, settled)
            except StoreFailed as error:
                self._failed(error, wait_s)
            else:
                self._written_at = asyncio.get_running_loop().time()
                return
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S_MAX)
            await self._look_back()

    async def _look_back(self) -> None:
        """RecordBehind."""
        found = await self._settled()
        if found.sequence < self.settled.sequence:
            raise RecordBehind(f"the record is back at {found.sequence}, and was settled up to {self.settled.sequence}.")

    def _failed(self, error: StoreFailed, wait_s: float) -> None:
        self.failures += 1
        self._report(f"{self.name}: {error} It is tried again in {wait_s:g} s.")

    def _sections(self) -> list[tuple[str, bytes]]:
        return [*self._memory.sections(), ("chain", self._chain.state())]


def sequence_of(snapshot: Snapshot | None) -> int:
    """The number of the last event that it has settled."""
    return int(snapshot.meta["sequence"]) if snapshot is not None else 0


def parts(records: bytes, sequence: int) -> Iterator[bytes]:
    """Records cut behind the one of a number, if it is among them: where the record ends, the chains of both are to be compared."""
    rest = after(records, sequence)
    if len(rest) < len(records):
        yield records[: len(records) - len(rest)]
    if rest:
        yield rest


def account_memory(sections: dict[str, bytes] | None) -> Memory:
    return AccountMemory(sections)


def market_memory(sections: dict[str, bytes] | None) -> Memory:
    return MarketMemory(sections)
