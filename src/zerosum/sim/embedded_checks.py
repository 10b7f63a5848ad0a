"""
What must be so at the end of a run of the embedded exchange: its log, a replay of it, the slow model, the record, the views and what
clients were told agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from zerosum.core import records
from zerosum.services.machine import Machine
from zerosum.settlement.batch import Batch
from zerosum.settlement.sqlite import SqliteStore
from zerosum.settlement.verify import verify
from zerosum.sim.bot_checks import check_bots
from zerosum.sim.checks import Told, check_shown, named_event
from zerosum.sim.embedded import EmbeddedWorld
from zerosum.sim.embedded_record import dump
from zerosum.sim.history import History, is_everything
from zerosum.sim.model import Fields, Model
from zerosum.views.events import unpacked


def findings(world: EmbeddedWorld, history: History) -> Iterator[str]:
    commands = world.read_log()
    machine = Machine()
    output = machine.apply(b"".join(commands))
    machine.exchange.check()
    yield from check_copies(world, machine)
    yield from check_model(commands, output.account_events, output.market_events)
    yield from check_record(world, machine, Batch(machine.sequence, output.account_events, output.market_events, *heads(machine)))
    events = [unpacked(output.account_events)]
    places: defaultdict[bytes, list[int]] = defaultdict(list)
    for sequence, command in enumerate(commands, start=1):
        places[command[:8] + bytes(8) + command[16:]].append(sequence)
    yield from history.check(events, [dict(places)], is_everything)
    yield from history.check_reads(events, [dict(places)])
    yield from check_shown(history, events)
    yield from check_bots(history, events, world.topology)


def heads(machine: Machine) -> tuple[bytes, bytes]:
    return machine.account_chain.head(), machine.market_chain.head()


def check_copies(world: EmbeddedWorld, machine: Machine) -> Iterator[str]:
    shard, follower = world.shard, world.follower
    assert shard is not None and follower is not None, "everything runs at the end"
    for name, copy in (("the live exchange", shard.machine), ("its follower", follower.machine)):
        copy.exchange.check()
        if copy.attestation() != machine.attestation():
            yield f"{name} has put out something else than a replay of the log: {copy.attestation()}, {machine.attestation()}"
        if copy.exchange.state_hash() != machine.exchange.state_hash():
            yield f"{name} is in another state than a replay of the log"


def check_model(commands: list[bytes], account_events: bytes, market_events: bytes) -> Iterator[str]:
    model = Model()
    accounts = Told("account events", [named_event(each) for each in records.records(account_events)])
    market = Told("market events", [named_event(each) for each in records.records(market_events)])
    for command in commands:
        expected: tuple[list[Fields], list[Fields]] = model.apply(command)
        accounts.compare(expected[0])
        market.compare(expected[1])
        if accounts.difference or market.difference:
            break
    yield from (*accounts.findings(), *market.findings())


def check_record(world: EmbeddedWorld, machine: Machine, batch: Batch) -> Iterator[str]:
    """What is settled is what one run over the log settles."""
    path = world.root / "settled.db"
    yield from (str(finding) for finding in verify(path))
    expected = settled_at_once(world.root / "expected.db", batch)
    found = dump(path)
    for table in expected.keys() | found.keys():
        if table not in ("settlement_state", "schema_version") and expected.get(table) != found.get(table):
            differs = sorted(set(expected.get(table, [])) ^ set(found.get(table, [])))
            yield f"the record's {table} differ from what one run over the log settles: {differs[:4]}"


def settled_at_once(path: Path, batch: Batch) -> dict[str, list[str]]:
    store = SqliteStore(path)
    try:
        store.write(batch)
    finally:
        store.close()
    return dump(path)
