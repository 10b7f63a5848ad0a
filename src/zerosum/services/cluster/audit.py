"""
Walks the streams of a cluster, from their beginnings, and its record, and says where they part.

    commands.S --machine anew--> account events   = account-events.S      what is settled of them = the rows in the database
    orders.P   --machine anew--> market events    = market-events.P       their chains = those beside the positions
    orders.P, commands.S: of each machine that sends to them exactly the records that it makes
    all events --> what is on its way, and what all hold: nothing is made or lost, and nothing is on its way

Of a cluster at rest: every input is taken to its end, and everything is out. It takes no part in anything. Of one that goes on meanwhile
the record is ahead of what was read, and more is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Final, final

from zerosum.log.chain import Chain
from zerosum.log.errors import MessageDamaged
from zerosum.log.messages import unpack
from zerosum.log.sequences import Sequence
from zerosum.log.streams import Stream
from zerosum.services.audit import Verdict
from zerosum.services.cluster.control import Decisions, Operators
from zerosum.services.cluster.machines import Output, PartitionMachine, RoleMachine, ShardMachine
from zerosum.services.cluster.sent import Sent
from zerosum.services.cluster.settlement import Memory, account_memory, market_memory
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.services.cluster.twins import Diverged, Twins
from zerosum.settlement.batch import unpacked
from zerosum.settlement.cql import tables
from zerosum.settlement.cql.session import Session
from zerosum.settlement.cql.store import CqlRowStore
from zerosum.settlement.cut import Cut
from zerosum.settlement.rows import PAY, RECEIVE, LedgerRow, Rows

SHOWN: Final = 3  # differences that a verdict shows
LEG: Final = {name: at for at, name in enumerate(("stream", "page", *LedgerRow._fields))}

Key = tuple[Any, ...]
Found = dict[tables.Table, dict[Key, Key]]
Report = Callable[[str], None]


@final
class ClusterAudit:
    """Of one walk. `streams` are read here, and by nobody else."""

    def __init__(
        self, topology: Topology, streams: Streams, session: Session, epoch: int, operators: Operators, report: Report
    ) -> None:  # fmt: skip
        self._topology = topology
        self._streams = streams
        self._decisions = Decisions(self._streams.control, operators, report)
        self._session = session
        self._store = CqlRowStore(session, epoch)
        self._report = report
        self._cut = Cut()
        self._expected: Found = {table: {} for table in tables.ALL}
        self._shared = {stream.name: Sent(stream.name, topology.shards) for stream in self._streams.orders}
        self._shared |= {stream.name: Sent(stream.name, self._machine_count) for stream in self._streams.commands}
        self._events = 0
        self.trades = 0

    async def run(self) -> list[Verdict]:
        """One for each check. Errors of a stream that can't be read (MessageDamaged, Gap, StreamPruned) are raised."""
        replayed: list[str] = []
        chained: list[str] = []
        await self._read_shared()
        for sender, (machine, source, own, memory) in enumerate(self._machines()):
            self._report(f"replaying {machine.name} ...")
            chain, sequence, why = await self._replay(sender, machine, source, own, memory)
            if why:
                replayed.append(why)
            settled = await self._store.settled(own.name)
            if (settled.sequence, settled.chain) != (sequence, chain.head() if sequence else b""):
                chained.append(f"{own.name}: the record is at event {settled.sequence}, the stream at {sequence}, or their chains differ")
        self.trades = len(self._expected[tables.TRADES])
        sent = [line for destination in self._shared.values() for line in destination.differences()]
        self._report("comparing the record ...")
        return [
            verdict("machines, each replayed, give their streams", replayed, f"{self._events:,} events of {self._machine_count} machines"),
            verdict("nothing is made or lost between the shards", list(self._cut.findings_at_rest()), "every asset sums to zero"),
            verdict("what machines sent each other", sent, f"{self._sent_count:,} records, as they make them"),
            verdict("ledger: four legs a trade, which sum to zero", list(self._unbalanced_trades()), f"{self.trades:,} trades"),
            verdict("chains beside the positions", chained, f"{self._machine_count} streams settled to their ends"),
            verdict("the record, row by row", [line async for line in self._differences()], self._counted()),
        ]

    @property
    def _sent_count(self) -> int:
        return sum(each.count for each in self._shared.values())

    @property
    def _machine_count(self) -> int:
        return self._topology.shards + self._topology.partitions

    def _machines(self) -> Iterator[tuple[RoleMachine, Stream, Stream, Memory]]:
        streams = self._streams
        for number in range(self._topology.shards):
            yield ShardMachine(number, self._topology), streams.commands[number], streams.account_events[number], account_memory(None)
        for number in range(self._topology.partitions):
            yield PartitionMachine(number, self._topology), streams.orders[number], streams.market_events[number], market_memory(None)

    # ------------------------------------------------------------------ replay

    async def _read_shared(self) -> None:
        """What machines have sent each other. Messages that can't be read are for the machines to pass by, or to stop at."""
        for stream in (*self._streams.commands, *self._streams.orders):
            self._report(f"reading {stream.name} ...")
            sent = self._shared[stream.name]
            async for data in messages(stream, (await stream.ends()).next):
                with suppress(MessageDamaged):
                    sent.read(unpack(data, stream.name).records)

    async def _replay(
        self, sender: int, machine: RoleMachine, source: Stream, own: Stream, memory: Memory
    ) -> tuple[Chain, int, str]:  # fmt: skip
        """The chain of what stands in the own stream, its last number, and what is wrong with it."""
        machine.quarantine(await self._decisions.passed_over(machine.name))
        twins, chain, sequence = Twins(own.name), Chain(), Sequence(own.name)
        twins.begin(0)
        own_end = (await own.ends()).next
        try:
            async for data in messages(own, own_end):
                records = sequence.take(unpack(data, own.name).records)
                twins.read(records)
                chain.update(records)
                self._take(own.name, records, memory)
            async for output in self._outputs(machine, source):
                twins.made(output.own, output.own_sequence)
                for destination, data in output.shared:
                    self._shared[self._destinations(machine)[destination].name].made(sender, data)
        except Diverged as error:
            return chain, sequence.last, str(error)
        if twins.made_up_to != sequence.last:
            return chain, sequence.last, f"{own.name} has {sequence.last} events, and its input gives {twins.made_up_to}"
        return chain, sequence.last, ""

    async def _outputs(self, machine: RoleMachine, source: Stream) -> AsyncIterator[Output]:
        """Of all its input."""
        end = (await source.ends()).next
        while machine.next_offset < end:
            for appended in await source.read(machine.next_offset):
                for output in machine.steps(appended):
                    yield output

    def _destinations(self, machine: RoleMachine) -> list[Stream]:
        """In the machine's numbering."""
        streams = self._streams
        return [*streams.orders, *streams.commands] if isinstance(machine, ShardMachine) else streams.commands

    def _take(self, name: str, records: bytes, memory: Memory) -> None:
        events = list(unpacked(records))
        self._events += len(events)
        kind, _, number = name.partition(".")
        if kind == "account-events":
            self._cut.account_events(int(number), events)
        else:
            self._cut.market_events(events)
        rows = Rows()
        memory.translate(events, rows)
        for table, written in tables.writes(name, rows):
            for row in written:
                self._expect(table, tuple(row))

    def _expect(self, table: tables.Table, row: Key) -> None:
        if table is tables.LEGS_OF_MOVEMENTS:
            table, row = tables.LEGS, (*row[: LEG["symbol"]], None, *row[LEG["symbol"] :])
        found = self._expected[table]
        if not (table.first_wins and row[: table.key] in found):
            found[row[: table.key]] = row

    # ------------------------------------------------------------------ the record

    def _unbalanced_trades(self) -> Iterator[str]:
        legs: dict[tuple[int, int], list[Key]] = {}
        for row in self._expected[tables.LEGS].values():
            if row[LEG["symbol"]] is not None:
                legs.setdefault((row[LEG["symbol"]], row[LEG["reference"]]), []).append(row)
        for (symbol, trade), found in legs.items():
            sums: dict[int, int] = {}
            for row in found:
                sums[row[LEG["asset"]]] = sums.get(row[LEG["asset"]], 0) + row[LEG["delta_atoms"]]
            legs_of_sides = sum(row[LEG["kind"]] in (PAY, RECEIVE) for row in found)
            if any(sums.values()) or legs_of_sides != 4:
                yield f"trade {trade} of symbol {symbol} has {legs_of_sides} legs, which sum to {sums}"
        if len(legs) != self.trades:
            yield f"the ledger has legs of {len(legs)} trades, and the engines told of {self.trades}"

    async def _differences(self) -> AsyncIterator[str]:
        for table, expected in self._expected.items():
            found = {tuple(row[: table.key]): tuple(row) for row in await self._session.execute(table.select)}
            found = {key: row for key, row in found.items() if None not in row[table.key : table.key + 1]}  # only the other columns
            for key in sorted(expected.keys() | found.keys(), key=repr):
                if expected.get(key) != found.get(key):
                    yield f"{table.name} {key}: the database has {found.get(key)}, the events give {expected.get(key)}"

    def _counted(self) -> str:
        return f"{sum(map(len, self._expected.values())):,} rows of {len({table.name for table in self._expected})} tables"


async def messages(stream: Stream, end: int) -> AsyncIterator[bytes]:
    """From the beginning up to an offset."""
    at = (await stream.ends()).first
    while at < end:
        for appended in await stream.read(at):
            if appended.offset < end:
                yield appended.data
            at = appended.offset + 1


def verdict(check: str, wrong: list[str], right: str) -> Verdict:
    more = f" (and {len(wrong) - SHOWN} more)" if len(wrong) > SHOWN else ""
    return Verdict(check, not wrong, "; ".join(wrong[:SHOWN]) + more if wrong else right)
