"""
What must be so at the end of a run, when all is healed and at rest: of the streams, the machines, the record and the views.

    streams    each origin's records in each stream: densely numbered once repeats are dropped
    machines   each one's input, replayed by a fresh one, gives what stands in the streams; every copy is in the same state
    cuts       conservation at random vectors of positions
    record     what a single pass over the events would have written
    views      what the machines have
    history    what clients were told: see history.py
    models     what slow and obvious machines make of the same input: see role_models.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final, final

from zerosum.core import records
from zerosum.core.codes import FIRST_USER
from zerosum.core.commands import KIND_MASK, ORIGIN_SHIFT
from zerosum.core.holds import OPEN_LOTS
from zerosum.gateway.entry import Event
from zerosum.log.messages import position, unpack
from zerosum.log.streams import Appended
from zerosum.services.cluster.machines import PartitionMachine, RoleMachine, ShardMachine
from zerosum.services.cluster.settlement import Memory, account_memory, market_memory
from zerosum.services.past import balances_in
from zerosum.settlement.cut import Cut
from zerosum.settlement.row_store import MemoryRowStore, Settled
from zerosum.settlement.rows import Rows
from zerosum.sim.bot_checks import check_bots
from zerosum.sim.cluster import RESERVE, Cluster
from zerosum.sim.history import ANSWERED, History, Places, Read, is_whole, name_of
from zerosum.sim.market_checks import check_markets
from zerosum.sim.model import Fields
from zerosum.sim.role_models import EngineModel, ShardModel
from zerosum.views.events import unpacked
from zerosum.views.views import AccountViews

CUTS: Final = 20


@final
class Truth:
    """What the streams hold, repeats dropped."""

    def __init__(self, world: Cluster) -> None:
        self.world = world
        self.steps = 0  # records that roles have taken
        self.findings: list[str] = []
        topology = world.topology
        self.account_events = [self._own(f"account-events.{shard}") for shard in range(topology.shards)]
        self.market_events = [self._own(f"market-events.{partition}") for partition in range(topology.partitions)]
        self.links = {name: self._links(name) for name in self._shared_names()}

    def _shared_names(self) -> list[str]:
        topology = self.world.topology
        return [f"commands.{shard}" for shard in range(topology.shards)] + [f"orders.{number}" for number in range(topology.partitions)]

    def _records(self, name: str) -> Iterator[bytes]:
        for appended in self.world.streams[name].log:
            yield unpack(appended.data, name).records

    def _own(self, name: str) -> bytes:
        """A stream that one role alone writes."""
        out = bytearray()
        last = 0
        for data in self._records(name):
            for at, size, record in cut_records(data):
                number = record[1]
                if number == last + 1:
                    out += data[at : at + size]
                    last = number
                elif number > last:
                    self.findings.append(f"{name}: event {number} comes after {last}")
                    return bytes(out)
        return bytes(out)

    def _links(self, name: str) -> dict[int, bytes]:
        """By origin: the numbered records of a shared stream."""
        out: defaultdict[int, bytearray] = defaultdict(bytearray)
        last: defaultdict[int, int] = defaultdict(int)
        for data in self._records(name):
            for at, size, record in cut_records(data):
                if record[0] & KIND_MASK < records.FIRST_LINK:
                    continue
                origin, number = record[0] >> ORIGIN_SHIFT, record[1]
                if number == last[origin] + 1:
                    out[origin] += data[at : at + size]
                    last[origin] = number
                elif number > last[origin]:
                    self.findings.append(f"{name}: record {number} of origin {origin} comes after {last[origin]}")
                    return {origin: bytes(data) for origin, data in out.items()}
        return {origin: bytes(data) for origin, data in out.items()}

    def places(self, shard: int) -> Places:
        shards, name = self.world.topology.shards, f"commands.{shard}"
        found: defaultdict[bytes, list[int]] = defaultdict(list)
        for appended in self.world.streams[name].log:
            data = unpack(appended.data, name).records
            for index, (at, size, record) in enumerate(cut_records(data)):
                if record[0] & KIND_MASK < records.FIRST_LINK:
                    found[data[at : at + size]].append(position(appended.offset, index) * shards + shard)
        return dict(found)


def cut_records(data: bytes) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Offset, size, and the first two words of each record."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "little") * 8
        assert size, "a record has a length"
        head = int.from_bytes(data[at : at + 8], "little", signed=True)
        yield at, size, (head, int.from_bytes(data[at + 8 : at + 16], "little", signed=True))
        at += size


def repeats(world: Cluster) -> Iterator[str]:
    """Numbered records that stand in a stream twice. While nothing fails there are none: copies that stand by are silent."""
    for name, stream in world.streams.items():
        seen: set[tuple[int, int]] = set()
        for appended in stream.log if name != "control" else ():
            for _, _, (head, number) in cut_records(unpack(appended.data, name).records):
                if head & KIND_MASK >= records.FIRST_LINK:
                    if (head >> ORIGIN_SHIFT, number) in seen:
                        yield f"{name} has record {number} of origin {head >> ORIGIN_SHIFT} twice, and nothing has failed yet"
                    seen.add((head >> ORIGIN_SHIFT, number))


def findings(world: Cluster, history: History) -> Iterator[str]:
    """Everything that is not as it must be."""
    truth = Truth(world)
    yield from truth.findings
    if truth.findings:
        return
    yield from check_machines(world, truth)
    yield from check_cuts(world, truth)
    yield from check_record(world, truth)
    yield from check_views(world, truth)
    yield from check_markets({name: door.views.markets for name, door in world.doors.items()}, truth.market_events)
    yield from check_models(world, truth)
    events = [unpacked(data) for data in truth.account_events]
    places = [truth.places(shard) for shard in range(world.topology.shards)]
    yield from history.check(events, places, is_whole)
    yield from history.check_reads(events, places)
    yield from check_calm(world, history)
    yield from check_shown(history, events)
    yield from check_bots(history, events, world.topology)


# ---------------------------------------------------------------------- machines


def check_machines(world: Cluster, truth: Truth) -> Iterator[str]:
    topology = world.topology
    for shard in range(topology.shards):
        machine = ShardMachine(shard, topology, RESERVE)
        destinations = [f"orders.{number}" for number in range(topology.partitions)] + [f"commands.{k}" for k in range(topology.shards)]
        own, shared = replay(machine, world.streams[f"commands.{shard}"].log)
        yield from check_outputs(machine, own, shared, truth.account_events[shard], destinations, truth, shard)
        yield from check_copies(world, machine)
    for partition in range(topology.partitions):
        engine = PartitionMachine(partition, topology, RESERVE)
        destinations = [f"commands.{shard}" for shard in range(topology.shards)]
        own, shared = replay(engine, world.streams[f"orders.{partition}"].log)
        origin = topology.shards + partition
        yield from check_outputs(engine, own, shared, truth.market_events[partition], destinations, truth, origin)
        yield from check_copies(world, engine)


def replay(machine: RoleMachine, log: list[Appended]) -> tuple[bytes, dict[int, bytes]]:
    own = bytearray()
    shared: defaultdict[int, bytearray] = defaultdict(bytearray)
    for appended in log:
        for output in machine.steps(appended):
            own += output.own
            for destination, data in output.shared:
                shared[destination] += data
    machine.check()
    return bytes(own), {destination: bytes(data) for destination, data in shared.items()}


def check_outputs(
    machine: RoleMachine, own: bytes, shared: dict[int, bytes], true: bytes, destinations: list[str], truth: Truth, origin: int
) -> Iterator[str]:  # fmt: skip
    if own != true:
        yield f"{machine.name}: its input, replayed, gives other events than its stream holds"
    for number, name in enumerate(destinations):
        if shared.get(number, b"") != truth.links[name].get(origin, b""):
            yield f"{machine.name}: its input, replayed, gives other records than {name} has of it"


def check_copies(world: Cluster, machine: RoleMachine) -> Iterator[str]:
    for name, role in world.roles.items():
        if role.machine.name == machine.name:
            role.machine.check()
            if role.machine.state_hash() != machine.state_hash():
                yield f"{name} is in another state than a replay of its input"
            if role.outbox.waits_since() is not None:
                yield f"{name} has something to emit still"


# ---------------------------------------------------------------------- cuts


def check_cuts(world: Cluster, truth: Truth) -> Iterator[str]:
    random = world.chance.source("cuts")
    accounts = [unpacked(data) for data in truth.account_events]
    markets = [unpacked(data) for data in truth.market_events]
    for number in range(CUTS + 1):
        cut = Cut()
        share = 1.0 if number == CUTS else random.random()
        for shard, events in enumerate(accounts):
            cut.account_events(shard, events[: len(events) if share == 1 else random.randint(0, int(len(events) * share))])
        for events in markets:
            cut.market_events(events[: len(events) if share == 1 else random.randint(0, int(len(events) * share))])
        yield from cut.findings_at_rest() if share == 1 else cut.findings()


# ---------------------------------------------------------------------- record


def check_record(world: Cluster, truth: Truth) -> Iterator[str]:
    expected = MemoryRowStore()
    make: Callable[[dict[str, bytes] | None], Memory]
    for make, kind, streams in ((account_memory, "account", truth.account_events), (market_memory, "market", truth.market_events)):
        for number, data in enumerate(streams):
            name = f"{kind}-events.{number}"
            rows = Rows()
            make(None).translate(unpacked(data), rows)
            last = unpacked(data)[-1][1] if data else 0
            expected.put_all(name, rows, Settled(last, b""))
            if world.store.positions.get(name, Settled(0, b"")).sequence != last:
                yield f"{name} is settled up to {world.store.positions.get(name)}, and ends at {last}"
    ours = {key: row for key, (_, row) in world.store.rows.items()}
    theirs = {key: row for key, (_, row) in expected.rows.items()}
    for key in ours.keys() | theirs.keys():
        if ours.get(key) != theirs.get(key):
            yield f"the record has {ours.get(key)} of {key}, and a single pass gives {theirs.get(key)}"


# ---------------------------------------------------------------------- views


def check_views(world: Cluster, truth: Truth) -> Iterator[str]:
    for shard in range(world.topology.shards):
        machine = next(role.machine for role in world.roles.values() if role.machine.name == f"ubscore.{shard}")
        assert isinstance(machine, ShardMachine), "a shard's name is a shard's"
        balances, orders = balances_of(machine), open_orders_of(machine)
        for name, gateway in world.doors.items():
            accounts = gateway.views.shards[shard].accounts
            shown = {
                (account.account_id, asset): balance
                for account in accounts.by_id.values()
                for asset, balance in account.balances.items()
                if any(balance)
            }
            if shown != balances:
                yield f"{name} shows other balances of shard {shard} than it has: {dict(shown.items() ^ balances.items())}"
            shown_orders = {
                order.order_id: order.open_lots for account in accounts.by_id.values() for order in account.open_orders.values()
            }
            if shown_orders != orders:
                yield f"{name} shows other open orders of shard {shard} than it has: {dict(shown_orders.items() ^ orders.items())}"


def balances_of(machine: ShardMachine) -> dict[tuple[int, int], tuple[int, int]]:
    """Of users, those that are not zero: (account, asset): (available, frozen)."""
    held = balances_in(machine.role.ubscore.ledger)
    return {owner: balance for owner, balance in held.items() if owner[0] >= FIRST_USER and any(balance)}


def open_orders_of(machine: ShardMachine) -> dict[int, int]:
    pool = machine.role.ubscore.holds.pool
    return {int(pool.words[slot]): int(pool.words[slot + OPEN_LOTS]) for slot in pool.slots()}


def check_shown(history: History, truth: list[list[Event]]) -> Iterator[str]:
    """Each read showed what its shard's events up to there make of the account."""
    by_shard: defaultdict[int, list[Read]] = defaultdict(list)
    for read in history.reads:
        by_shard[read.shard].append(read)
    for shard, reads in by_shard.items():
        views, at, events = AccountViews(), 0, truth[shard]
        for read in sorted(reads, key=lambda read: read.sequence):
            views.apply(events[at : read.sequence])
            at = read.sequence
            found = views.accounts.by_id.get(read.account)
            balances = dict(found.balances) if found is not None else {}
            orders = {o.order_id: (o.open_lots, o.price_ticks) for o in found.open_orders.values()} if found is not None else {}
            if (balances, orders) != (read.balances, read.open_orders):
                yield f"{read.session} showed account {read.account} after event {read.sequence} otherwise than its events make it"


def check_calm(world: Cluster, history: History) -> Iterator[str]:
    """Where nothing fails everything is answered."""
    if world.faults.count == 0:
        for asked in history.asked:
            if asked.outcome != ANSWERED:
                yield f"nothing failed, and command {asked.number}, {name_of(asked.command)}, was {asked.outcome}"


# ---------------------------------------------------------------------- models


def check_models(world: Cluster, truth: Truth) -> Iterator[str]:
    """The slow machines make the same of the same input."""
    topology = world.topology
    for shard in range(topology.shards):
        model = ShardModel(shard, topology.shards, topology.partitions)
        role = Told(f"ubscore.{shard}", [named_event(each) for each in records.records(truth.account_events[shard])])
        for data, at, time_us in placed(world, f"commands.{shard}"):
            role.compare(model.take(data, at, time_us))
            if role.difference:
                break
        yield from role.findings()
    for partition in range(topology.partitions):
        engine = EngineModel(topology.shards)
        name = f"matching.{partition}"
        events = Told(name, [named_event(each) for each in records.records(truth.market_events[partition])])
        links = [truth.links[f"commands.{shard}"].get(topology.shards + partition, b"") for shard in range(topology.shards)]
        to_shards = [Told(f"{name} to shard {n}", [outcome_of(each) for each in records.records(data)]) for n, data in enumerate(links)]
        for data, _, time_us in placed(world, f"orders.{partition}"):
            market, outcomes = engine.take(data, time_us)
            events.compare(market)
            for outcome in outcomes:
                to_shards[outcome["order_id"] % topology.shards].compare([outcome])
            if any(each.difference for each in (events, *to_shards)):
                break
        yield from (finding for each in (events, *to_shards) for finding in each.findings())


def placed(world: Cluster, name: str) -> Iterator[tuple[bytes, int, int]]:
    """Each record of a stream, with its position and the time at which it was appended."""
    for appended in world.streams[name].log:
        data = unpack(appended.data, name).records
        for index, (at, size, _) in enumerate(cut_records(data)):
            yield data[at : at + size], position(appended.offset, index), appended.time_us


def named_event(record: tuple[int, ...]) -> Fields:
    """As a model tells it: without its number, and without a state's hash."""
    fields = records.named(record)
    del fields["sequence"]
    if fields["kind"] in (records.CHECKPOINTED, records.MARKET_CHECKPOINTED):
        return {name: fields[name] for name in ("kind", "cause", "time_us")}
    return fields


def outcome_of(record: tuple[int, ...]) -> Fields:
    """Less what depends on how the machines hold their state."""
    fields = records.named(record)
    return {name: value for name, value in fields.items() if name not in ("sequence", "cause", "time_us", "hold", "order")}


@final
class Told:
    """What a role said, compared with what its model says bit by bit: after the first difference a model is of no more use."""

    def __init__(self, name: str, said: list[Fields]) -> None:
        self.difference = ""
        self._name = name
        self._said = said
        self._at = 0

    def compare(self, expected: list[Fields]) -> None:
        for each in expected:
            said = self._said[self._at] if self._at < len(self._said) else None
            if each != said and not self.difference:
                found = told(said) if said is not None else "nothing more"
                self.difference = f"{self._name}, record {self._at + 1}:\n    the model says {told(each)}\n    the role said   {found}"
            self._at += 1

    def findings(self) -> Iterator[str]:
        if self.difference:
            yield self.difference
        elif self._at < len(self._said):
            yield f"{self._name}, record {self._at + 1}: the role said {told(self._said[self._at])}, and the model nothing more"


def told(fields: Fields) -> str:
    return f"{records.kind_name(fields['kind'])} { ({name: value for name, value in fields.items() if name != 'kind'}) }"
