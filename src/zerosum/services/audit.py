"""
Walks a data directory and says where log, snapshots and settled record part; and looks into its past.

    log            every digest and link, and what the live exchange attested of its own output, against a replay here
    machines       every invariant at the end of the replay; each asset sums to zero after every group
    snapshots      each verifies, and is the state that the replay had there: machines, chains and views
    settled        the same tables, row by row, as the replay settled anew; its own sums
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, final

import apsw

from zerosum.errors import ZerosumError
from zerosum.log.disk import OsDisk
from zerosum.log.errors import LogError, LogPruned, SnapshotError
from zerosum.log.layout import Attestation
from zerosum.log.reader import LogReader
from zerosum.log.recovery import survey
from zerosum.log.snapshots import Snapshot, SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine, MachineBroken
from zerosum.settlement.errors import SettlementError
from zerosum.settlement.reading import connect
from zerosum.settlement.sqlite import Batch, SqliteStore
from zerosum.settlement.verify import verify
from zerosum.views import snapshot as views_snapshot
from zerosum.views.views import Views

BATCH_RECORDS: Final = 5_000  # settled anew in one transaction
HEADS_KEPT: Final = 64

ONLY_IN_ONE: Final = "SELECT count(*) FROM (SELECT * FROM {one} EXCEPT SELECT * FROM {other})"


class NothingKept(ZerosumError):
    """A sequence that was asked for is no longer in the log, nor behind a snapshot."""


class Verdict(NamedTuple):
    check: str
    holds: bool
    detail: str


def machine_at(data: DataDir, sequence: int | None, progress: Callable[[int], None] = lambda sequence: None) -> Machine:
    """The machines as they were after a command of the log, or after its last one. NothingKept names the earliest that can be had."""
    end = survey(OsDisk(), data.log).report.last_sequence
    wanted = end if sequence is None else sequence
    if not 0 <= wanted <= end:
        raise NothingKept(f"{data.log} ends with sequence {end}; {wanted} is not in it.")
    snapshot, _ = SnapshotStore(data.snapshots).newest(at_most=wanted)
    machine = Machine.restore(snapshot)
    machine.exchange.quarantine(data.quarantined())
    try:
        with LogReader(data.log, after_sequence=machine.sequence) as reader:
            for group in reader.read(end):
                records = group.records
                if group.last_sequence > wanted:
                    records = first_records(records, wanted - group.first_sequence + 1)
                machine.apply(bytes(records))
                progress(machine.sequence)
                if machine.sequence >= wanted:
                    break
    except LogPruned as error:
        kept = SnapshotStore(data.snapshots).sequences()
        earliest = min(kept, default=error.earliest)
        raise NothingKept(f"Sequence {wanted} is no longer kept in {data.root}; the earliest that is kept is {earliest}.") from error
    return machine


def first_records(records: memoryview, count: int) -> memoryview:
    at = 0
    for _ in range(count):
        at += int.from_bytes(records[at + 2 : at + 4], "little") * 8
    return records[:at]


@final
@dataclass(slots=True)
class Audit:
    """One walk over a data directory on which no exchange is running."""

    data: DataDir
    progress: Callable[[int, int], None] = lambda done, total: None

    def run(self) -> Iterator[Verdict]:
        """A verdict for each check, as it is made. The first that makes the rest meaningless is the last."""
        try:
            found = survey(OsDisk(), self.data.log)
        except LogError as error:
            yield Verdict("log", False, str(error))
            return
        end = found.report.last_sequence
        yield Verdict("log", True, f"every digest and link up to sequence {end} holds")
        with tempfile.TemporaryDirectory() as folder, closing(SqliteStore(Path(folder) / "again.db")) as again:
            if (yield from self.replay(end, again)):
                yield from self.compare_settled(again, end)

    def replay(self, end: int, again: SqliteStore) -> Generator[Verdict, None, bool]:
        """Through fresh machines, comparing on the way. What it settles anew goes to `again`. False: there is no going on."""
        machine, views = Machine(), Views()
        machine.exchange.quarantine(self.data.quarantined())
        snapshots, different = self.load_snapshots()
        settled_to = self.settled_to()
        attested = compared = 0
        heads: dict[int, Attestation] = {}
        batches: list[Batch] = []  # one for each group, not settled anew yet
        with LogReader(self.data.log) as reader:
            for group in reader.read(end):
                ours = heads.get(group.attestation.input_sequence)
                if ours is not None:
                    attested += 1
                    if ours != group.attestation:
                        yield Verdict("attestations", False, f"after {ours.input_sequence} the live exchange put out something else")
                        return False
                try:
                    output = machine.apply(bytes(group.records))
                except MachineBroken as error:
                    yield Verdict("invariants", False, str(error))
                    return False
                remember(heads, machine.attestation())
                totals = machine.exchange.ubscore.ledger.totals()
                if any(totals):
                    yield Verdict("zero sum", False, f"after {machine.sequence} the assets sum to {totals}")
                    return False
                views.apply(output.account_events, output.market_events)
                views.forget_settled(machine.sequence)
                if machine.sequence <= settled_to:
                    chains = machine.account_chain.head(), machine.market_chain.head()
                    batches.append(Batch(machine.sequence, output.account_events, output.market_events, *chains))
                if machine.sequence - again.position().sequence >= BATCH_RECORDS:
                    settle(again, batches)
                snapshot = snapshots.pop(machine.sequence, None)
                if snapshot is not None:
                    compared += 1
                    different += parted(snapshot, machine, views)
                self.progress(machine.sequence, end)
        settle(again, batches)
        different += [f"snapshot {sequence}: the log has no group that ends there" for sequence in snapshots]
        yield Verdict("attestations", True, f"{attested} of the live exchange's output heads are the replay's")
        yield Verdict("zero sum", True, "every asset sums to zero after every group")
        yield self.invariants(machine)
        yield Verdict("snapshots", not different, "; ".join(different) or f"{compared} verify, and are the states that the log gives")
        return True

    def settled_to(self) -> int:
        """How far the settled record is; 0 if it can't be read, which is for compare_settled to say."""
        try:
            with closing(connect(self.data.settled)) as connection:
                return int(str(connection.execute("SELECT sequence FROM settlement_state").get))
        except (SettlementError, apsw.Error):
            return 0

    def invariants(self, machine: Machine) -> Verdict:
        try:
            machine.exchange.check()
        except AssertionError as error:
            return Verdict("invariants", False, str(error))
        return Verdict("invariants", True, "ledger, holds, books and indexes are what they promise")

    def load_snapshots(self) -> tuple[dict[int, Snapshot], list[str]]:
        store = SnapshotStore(self.data.snapshots)
        snapshots: dict[int, Snapshot] = {}
        damaged: list[str] = []
        for sequence in store.sequences():
            try:
                snapshots[sequence] = store.load(self.data.snapshots / f"{sequence:020d}.snap")
            except SnapshotError as error:
                damaged.append(str(error))
        return snapshots, damaged

    def compare_settled(self, again: SqliteStore, end: int) -> Iterator[Verdict]:
        if not self.data.settled.exists():
            yield Verdict(
                "settled record", False, f"{self.data.settled} is missing: start the exchange, and it is settled anew from the log"
            )
            return
        try:
            findings = verify(self.data.settled)
            different = different_tables(self.data.settled, again.path)
        except (SettlementError, apsw.Error, sqlite3.Error) as error:
            yield Verdict("settled record", False, f"{self.data.settled} can't be read: {error}")
            return
        yield Verdict("settled sums", not findings, "; ".join(map(str, findings)) or "every movement and every trade sums to zero")
        position = again.position().sequence
        detail = "; ".join(different) or f"the same rows as the log gives, up to sequence {position} of {end}"
        yield Verdict("settled record", not different, detail)


def settle(store: SqliteStore, batches: list[Batch]) -> None:
    """Write consecutive batches as one, in one transaction."""
    if batches:
        account_events = b"".join(batch.account_events for batch in batches)
        market_events = b"".join(batch.market_events for batch in batches)
        store.write(batches[-1]._replace(account_events=account_events, market_events=market_events))
        batches.clear()


def remember(heads: dict[int, Attestation], attestation: Attestation) -> None:
    """The heads at the last ends of groups: what a group attests is some groups old."""
    heads[attestation.input_sequence] = attestation
    if len(heads) > HEADS_KEPT:
        del heads[next(iter(heads))]


def parted(snapshot: Snapshot, machine: Machine, views: Views) -> Iterator[str]:
    """What in a snapshot is not as machines and views are."""
    restored = Machine.restore(snapshot)
    otherwise = f"in snapshot {snapshot.sequence} {{}} is not what the log gives"
    if restored.exchange.state_hash() != machine.exchange.state_hash():
        yield otherwise.format("the state")
    if restored.attestation() != machine.attestation():
        yield otherwise.format("the chain over the output")
    yield from (otherwise.format(name) for name, content in views_snapshot.sections(views) if snapshot.sections.get(name) != content)


def different_tables(one: Path, other: Path) -> list[str]:
    """What differs between two databases, table by table."""
    with closing(sqlite3.connect(f"file:{one}?mode=ro", uri=True)) as connection:
        connection.execute("ATTACH DATABASE ? AS again", (str(other),))
        named = "SELECT name FROM {}.sqlite_master WHERE type = 'table'"
        ours, theirs = ({name for (name,) in connection.execute(named.format(schema))} for schema in ("main", "again"))
        different = [f"{table}: such a table is not part of a record" for table in sorted(ours - theirs)]
        different += [f"{table}: the table is missing" for table in sorted(theirs - ours)]
        for table in sorted(ours & theirs):
            quoted = '"' + table.replace('"', '""') + '"'  # a name, not a value: it can't be a parameter
            extra = connection.execute(ONLY_IN_ONE.format(one=f"main.{quoted}", other=f"again.{quoted}")).fetchone()[0]
            missing = connection.execute(ONLY_IN_ONE.format(one=f"again.{quoted}", other=f"main.{quoted}")).fetchone()[0]
            if extra or missing:
                different.append(f"{table}: {extra} rows that the log does not give, {missing} that it gives are not there")
    return different
