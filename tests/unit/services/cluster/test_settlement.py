"""One stream of events into the record, whatever writes fail and wherever its process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path

import pytest

from zerosum.core import records
from zerosum.log.memory_streams import MemoryStream
from zerosum.services.cluster.memory import MemoryCluster
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.settlement import Settlement, account_memory, parts
from zerosum.services.cluster.topology import Topology
from zerosum.settlement.errors import SettlementBroken
from zerosum.settlement.row_store import MemoryRowStore, RowStore, Settled, StoreFailed
from zerosum.settlement.rows import Rows
from zerosum.sim.disk import SimDisk
from zerosum.sim.loop import SimLoop
from zerosum.sim.programs import USUAL, Program

FOLDER = Path("/snapshots")
LONG_S = 100.0


class FailingStore:
    """Of each write the first attempts fail, after half of it or all of it was done."""

    def __init__(self, rows: MemoryRowStore, failures: int) -> None:
        self.rows = rows
        self.writes = 0
        self._failures = failures

    async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
        self.writes += 1
        if self.writes % (self._failures + 1):
            if self.writes % 2:
                self.rows.put_all(stream, rows, settled)
            raise StoreFailed("not known")
        self.rows.put_all(stream, rows, settled)

    def forget(self) -> None:
        """Nothing is remembered."""

    async def settled(self, stream: str) -> Settled:
        return await self.rows.settled(stream)


class UnreadableStore:
    """It does not say how far it is, at first."""

    def __init__(self) -> None:
        self.rows = MemoryRowStore()
        self.asked = 0

    async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
        self.rows.put_all(stream, rows, settled)

    def forget(self) -> None:
        """Nothing is remembered."""

    async def settled(self, stream: str) -> Settled:
        self.asked += 1
        if self.asked <= 3:
            raise StoreFailed("not now")
        return await self.rows.settled(stream)


async def some_events(loop: SimLoop) -> MemoryStream:
    """Those of a cluster of one shard that had a few hundred commands."""
    cluster = MemoryCluster(Topology(1, 1), SimDisk(), Path("/x"), loop.now_us)
    async with cluster.running():
        for step in islice(Program(7, USUAL), 300):
            await cluster.command(step.command)
        await cluster.quiet()
    stream = cluster.streams.account_events[0]
    assert isinstance(stream, MemoryStream)
    return stream


def settlement_of(stream: MemoryStream, store: RowStore, disk: SimDisk, every: int = 10) -> Settlement:
    return Settlement(stream, account_memory, store, SnapshotSettings(FOLDER, every=every), disk)


async def run_for(settlement: Settlement, seconds: float = LONG_S) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(settlement.run(), seconds)


def played(story: Callable[[SimLoop, MemoryStream], Awaitable[None]]) -> None:
    loop = SimLoop()

    async def main() -> None:
        await story(loop, await some_events(loop))

    loop.run(main())


async def settled_at_once(stream: MemoryStream) -> MemoryRowStore:
    store = MemoryRowStore()
    await run_for(settlement_of(stream, store, SimDisk()))
    return store


async def everything(stream: MemoryStream) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < stream.next_offset:
        found += [appended.data for appended in await stream.read(len(found))]
    return found


def same(one: MemoryRowStore, other: MemoryRowStore) -> bool:
    return {key: row for key, (_, row) in one.rows.items()} == {key: row for key, (_, row) in other.rows.items()}


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_a_write_that_failed_is_made_again_until_it_is_done(failures: int) -> None:
    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        store = FailingStore(MemoryRowStore(), failures)
        settlement = settlement_of(stream, store, SimDisk())
        await run_for(settlement, 3600.0)
        expected = await settled_at_once(stream)
        assert same(store.rows, expected)
        assert settlement.settled == expected.positions[stream.name]

    played(story)


def test_a_record_that_lost_what_it_had_is_written_again() -> None:
    """A database that fails once, and comes back as it was some time before."""

    class Forgetful:
        def __init__(self) -> None:
            self.rows = MemoryRowStore()
            self.writes = 0

        async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
            self.writes += 1
            if self.writes == 5:
                self.rows = MemoryRowStore()
                raise StoreFailed("the power is out")
            await self.rows.write(stream, rows, settled)

        def forget(self) -> None:
            """Nothing is remembered."""

        async def settled(self, stream: str) -> Settled:
            return await self.rows.settled(stream)

    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        store, said = Forgetful(), list[str]()
        part = MemoryStream(stream.name, loop.now_us)
        settlement = Settlement(part, account_memory, store, SnapshotSettings(FOLDER, every=1), SimDisk(), said.append)
        running = asyncio.create_task(settlement.run())
        for data in await everything(stream):
            await part.append(data)
            await asyncio.sleep(0.01)
        await asyncio.sleep(LONG_S)
        running.cancel()
        expected = await settled_at_once(stream)
        assert same(store.rows, expected)
        assert settlement.settled == expected.positions[stream.name]
        assert any("the record is back at 0" in line for line in said)

    played(story)


def test_a_process_that_ends_anywhere_goes_on_from_its_own_snapshot() -> None:
    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        expected = await settled_at_once(stream)
        last = expected.positions[stream.name]
        whole = await everything(stream)
        for length in range(1, len(whole), 40):
            part = MemoryStream(stream.name, loop.now_us)
            store, disk = MemoryRowStore(), SimDisk()
            for data in whole[:length]:
                await part.append(data)
            await run_for(settlement_of(part, store, disk), 1.0)
            for data in whole[length:]:
                await part.append(data)
            settlement = settlement_of(part, store, disk)
            await run_for(settlement, 1.0)
            assert settlement.settled == last
            assert same(store, expected)

    played(story)


def test_a_stream_that_differs_from_what_is_settled_is_refused() -> None:
    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        store = await settled_at_once(stream)
        last = store.positions[stream.name]
        store.positions[stream.name] = Settled(last.sequence, b"\1" * 32)
        with pytest.raises(SettlementBroken, match="belongs to another stream"):
            await settlement_of(stream, store, SimDisk()).run()

    played(story)


def test_a_record_that_was_taken_back_is_written_from_the_beginning() -> None:
    """A restored copy, another keyspace: what the snapshots were taken after is not in it."""

    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        disk = SimDisk()
        await run_for(settlement_of(stream, MemoryRowStore(), disk))
        empty = MemoryRowStore()
        await run_for(settlement_of(stream, empty, disk))
        assert same(empty, await settled_at_once(stream))

    played(story)


def test_a_store_that_can_not_be_read_is_asked_again() -> None:
    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        store = UnreadableStore()
        await run_for(settlement_of(stream, store, SimDisk()))
        assert store.asked > 3
        assert same(store.rows, await settled_at_once(stream))

    played(story)


def test_repeats_are_settled_once() -> None:
    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        twice = MemoryStream(stream.name, loop.now_us)
        for data in await everything(stream):
            await twice.append(data)
            await twice.append(data)
        store = MemoryRowStore()
        await run_for(settlement_of(twice, store, SimDisk()))
        assert same(store, await settled_at_once(stream))

    played(story)


def test_records_are_cut_where_the_record_ends() -> None:
    def numbered(number: int) -> bytes:
        return records.command(records.TICK, number)  # of any numbered record the second word is its number

    five = b"".join(map(numbered, range(3, 8)))
    assert list(parts(five, 0)) == [five]
    assert list(parts(five, 7)) == [five]
    assert list(parts(five, 4)) == [numbered(3) + numbered(4), numbered(5) + numbered(6) + numbered(7)]
    assert list(parts(b"", 4)) == []


def test_what_is_read_and_not_written_is_still_to_be_taken() -> None:
    """So whoever asks how far behind it is hears of it, also while nothing new comes."""

    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        settlement = settlement_of(stream, FailingStore(MemoryRowStore(), 10**9), SimDisk())
        await run_for(settlement)
        assert settlement.state == "writing"
        assert settlement.next_offset < stream.next_offset
        assert settlement.failures > 10
        well = settlement_of(stream, MemoryRowStore(), SimDisk())
        await run_for(well)
        assert (well.next_offset, well.failures) == (stream.next_offset, 0)

    played(story)


def test_a_record_that_lost_its_end_while_nothing_came_is_written_anew() -> None:
    """As a database does that starts again and had acknowledged what it had not synced. No write fails."""

    async def story(loop: SimLoop, stream: MemoryStream) -> None:
        store, said = MemoryRowStore(), list[str]()
        messages = await everything(stream)
        growing = MemoryStream(stream.name, loop.now_us)
        for message in messages[: len(messages) // 2]:
            await growing.writer().append(message)
        settlement = Settlement(growing, account_memory, store, SnapshotSettings(FOLDER, every=10**9), SimDisk(), said.append)
        running = loop.create_task(settlement.run())
        await asyncio.sleep(60)
        store.rows.clear()
        store.positions[stream.name] = Settled(0, b"")
        for message in messages[len(messages) // 2 :]:
            await growing.writer().append(message)
        await asyncio.sleep(60)
        running.cancel()
        assert any("the record is back at 0" in line for line in said), said
        assert same(store, await settled_at_once(stream))

    played(story)
