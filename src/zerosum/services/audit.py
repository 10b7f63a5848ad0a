"""
Walks a data directory and says where log, snapshots and settled record part.

    log            every digest and link, and what the live exchange attested of its own output, against a replay here
    machines       every invariant at the end of the replay; each asset sums to zero, on the way (as often as there are balances) and there
    snapshots      each verifies, and is the state that the replay had there: machines, chains and views
    settled        its own sums, and:
                     of a log that is whole     the same tables, row by row, as the replay settled anew
                     of a log that was pruned   the balances, open orders and chains that the replay had there

The replay begins with the log: archived segments are part of it. Of a log whose beginning is gone it begins with the earliest snapshot.
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
from zerosum.log.archive import ArchiveDisk
from zerosum.log.disk import Disk, OsDisk
from zerosum.log.errors import LogError
from zerosum.log.reader import LogReader
from zerosum.log.recovery import Survey, survey
from zerosum.log.segments import held_still
from zerosum.log.snapshots import Snapshot, SnapshotStore
from zerosum.services.attestations import Attestations, Diverged
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine, MachineBroken
from zerosum.services.opening import check_snapshot, machines_of, quarantined
from zerosum.services.record_comparison import different_state, different_tables
from zerosum.settlement.batch import Position
from zerosum.settlement.errors import SettlementError
from zerosum.settlement.reading import connect
from zerosum.settlement.sqlite import POSITION, Batch, SqliteStore
from zerosum.settlement.verify import verify
from zerosum.views import snapshot as views_snapshot
from zerosum.views.views import Views

BATCH_RECORDS: Final = 5_000  # settled anew in one transaction


class Verdict(NamedTuple):
    check: str
    holds: bool
    detail: str


@final
@dataclass(slots=True)
class Audit:
    """
    One walk over a data directory on which no exchange is running. `archive`: where segments were archived, if not in the data directory.
    """

    data: DataDir
    archive: Path | None = None
    progress: Callable[[int, int], None] = lambda done, total: None

    def run(self) -> Iterator[Verdict]:
        """
        A verdict for each check, as it is made. The first that makes the rest meaningless is the last.

        LogInUse while an exchange runs there: what it writes meanwhile could not be told from damage.
        """
        with held_still(self.data.log), self.data.follower_has_ended():
            yield from self.verdicts()

    def verdicts(self) -> Iterator[Verdict]:
        disk: Disk = OsDisk()
        try:
            found = survey(disk, self.data.log)
        except LogError as error:
            yield Verdict("log", False, str(error))
            return
        archive = self.archive or self.data.archive
        if found.sequences[0] > 1 and archive.is_dir():
            try:
                both = ArchiveDisk(self.data.log, archive)
                disk, found = both, survey(both, self.data.log)
            except LogError as error:
                yield Verdict("archive", False, f"{archive}, put before the log: {error}")
        quarantined(self.data, found.report.last_sequence)
        start: Snapshot | None = None
        if found.sequences[0] > 1:
            start = self.earliest_snapshot(found)
            if start is None:
                yield Verdict("log", False, f"it begins with sequence {found.sequences[0]}, and no good snapshot reaches that")
                return
        beginning = f"from sequence {found.sequences[0]} " if start is not None else ""
        yield Verdict("log", True, f"every digest and link {beginning}up to sequence {found.report.last_sequence} holds")
        with tempfile.TemporaryDirectory() as folder, closing(SqliteStore(Path(folder) / "again.db")) as again:
            again.belong_to(found.tail.header.log_id)
            replay = Replay(self, disk, found, start, again if start is None else None)
            if (yield from replay.run()):
                yield from self.compare_settled(replay, found)

    def earliest_snapshot(self, found: Survey) -> Snapshot | None:
        """The first from which the log can be replayed."""
        for sequence in SnapshotStore(self.data.snapshots).sequences():
            if sequence >= found.sequences[0] - 1:
                try:
                    return self.load(sequence, found)
                except ZerosumError:
                    continue  # it is named when the replay comes to it
        return None

    def load(self, sequence: int, found: Survey) -> Snapshot:
        path = self.data.snapshots / f"{sequence:020d}.snap"
        snapshot = SnapshotStore(self.data.snapshots).load(path)
        check_snapshot(self.data, found.tail.header.log_id, snapshot)
        return snapshot

    def settled_to(self) -> int:
        """How far the settled record is; 0 if it can't be read, which is for compare_settled to say."""
        try:
            with closing(connect(self.data.settled)) as connection:
                return Position(*connection.execute(POSITION).get).sequence
        except (SettlementError, apsw.Error):
            return 0

    def compare_settled(self, replay: Replay, found: Survey) -> Iterator[Verdict]:
        settled, end = self.data.settled, found.report.last_sequence
        if not settled.exists():
            yield Verdict("settled record", False, f"{settled} is missing: start the exchange, and it is settled anew from the log")
            return
        try:
            findings = verify(settled)
            different = replay.different_state if replay.again is None else different_tables(settled, replay.again.path)
        except (SettlementError, apsw.Error, sqlite3.Error) as error:
            yield Verdict("settled record", False, f"{settled} can't be read: {error}")
            return
        yield Verdict("settled sums", not findings, "; ".join(map(str, findings)) or "every movement and every trade sums to zero")
        if replay.again is None:
            same = (
                "the balances, open orders and chains that the log gives; rows of what was pruned are held to their sums alone:"
                " name the archive (--archive) to have each compared"
            )
        else:
            same = "the same rows as the log gives"
        yield Verdict("settled record", not different, "; ".join(different) or f"up to sequence {replay.settled_to} of {end}: {same}")


@final
class Replay:
    """
    The log through machines of its own, compared on the way with what is said elsewhere of the same states.

    With `again` every event is settled anew there, up to where the settled record ends; without it, the record is held to the state
    there: see `different_state`.
    """

    def __init__(self, audit: Audit, disk: Disk, found: Survey, start: Snapshot | None, again: SqliteStore | None) -> None:
        self.again = again
        self.settled_to = audit.settled_to()
        self.different_state = ["the record ends before the earliest snapshot"]  # until the replay is where it ends
        self._audit = audit
        self._disk = disk
        self._found = found
        self._machine, self._views = machines_of(audit.data, start)
        self._snapshots = SnapshotStore(audit.data.snapshots).sequences()  # still to be compared
        self._start = self._machine.sequence
        self._compared = self._before = 0
        self._different: list[str] = []  # of snapshots
        self._batches: list[Batch] = []  # one for each group, not settled anew yet
        self._attestations = Attestations(self._machine.attestation())
        self._summed = 0  # where the assets were summed last

    def run(self) -> Generator[Verdict, None, bool]:
        """False: there is no going on."""
        data, machine, end = self._audit.data, self._machine, self._found.report.last_sequence
        self._arrived()
        with LogReader(data.log, after_sequence=machine.sequence, disk=self._disk) as reader:
            for group in reader.read(end, seal=True):
                try:
                    self._attestations.compare(group)
                except Diverged as error:
                    yield Verdict("attestations", False, str(error))
                    return False
                if not group.record_count:
                    continue  # a seal
                try:
                    output = machine.apply(bytes(group.records))
                except MachineBroken as error:
                    yield Verdict("invariants", False, str(error))
                    return False
                ledger = machine.exchange.ubscore.ledger
                if machine.sequence - self._summed >= ledger.balances.live or machine.sequence == end:
                    self._summed = machine.sequence
                    if any(totals := ledger.totals()):
                        yield Verdict("zero sum", False, f"after {machine.sequence} the assets sum to {totals}")
                        return False
                self._views.apply(output.account_events, output.market_events)
                self._views.forget_settled(machine.sequence)
                if self.again is not None and machine.sequence <= self.settled_to:
                    chains = machine.account_chain.head(), machine.market_chain.head()
                    self._batches.append(Batch(machine.sequence, output.account_events, output.market_events, *chains))
                    if machine.sequence - self.again.position().sequence >= BATCH_RECORDS:
                        self._settle(self.again)
                self._arrived()
                self._audit.progress(machine.sequence, end)
        if self.again is not None:
            self._settle(self.again)
        self._different += [f"snapshot {sequence}: the log has no group that ends there" for sequence in self._snapshots]
        compared = self._attestations.compared
        yield Verdict("attestations", True, f"{compared} times the log says what the live exchange had put out: the replay did too")
        yield Verdict("zero sum", True, "every asset sums to zero, on the way and at the end")
        yield invariants(machine)
        same = f"{self._compared} verify, and are the states that the log gives"
        if self._before:
            same += f"; {self._before} from before it verify"
        yield Verdict("snapshots", not self._different, "; ".join(self._different) or same)
        return True

    def _arrived(self) -> None:
        """At the end of a group: compare whatever speaks of this state."""
        machine = self._machine
        self._attestations.reached(machine.attestation())
        while self._snapshots and self._snapshots[0] <= machine.sequence:
            self._compare_snapshot(self._snapshots.pop(0))
        if self.again is None and machine.sequence == self.settled_to:
            self.different_state = different_state(self._audit.data.settled, machine, self._views)

    def _compare_snapshot(self, sequence: int) -> None:
        try:
            snapshot = self._audit.load(sequence, self._found)
        except ZerosumError as error:
            self._different.append(str(error))
            return
        if sequence < self._start:
            self._before += 1
        elif sequence < self._machine.sequence:
            self._different.append(f"snapshot {sequence}: the log has no group that ends there")
        else:
            self._compared += 1
            self._different += parted(snapshot, self._machine, self._views)

    def _settle(self, again: SqliteStore) -> None:
        """Write the batches as one, in one transaction."""
        if self._batches:
            account_events = b"".join(batch.account_events for batch in self._batches)
            market_events = b"".join(batch.market_events for batch in self._batches)
            again.write(self._batches[-1]._replace(account_events=account_events, market_events=market_events))
            self._batches.clear()


def invariants(machine: Machine) -> Verdict:
    try:
        machine.exchange.check()
    except AssertionError as error:
        return Verdict("invariants", False, str(error))
    return Verdict("invariants", True, "ledger, holds, books and indexes are what they promise")


def parted(snapshot: Snapshot, machine: Machine, views: Views) -> Iterator[str]:
    """What in a snapshot is not as machines and views are."""
    restored = Machine.restore(snapshot)
    otherwise = f"in snapshot {snapshot.sequence} {{}} is not what the log gives"
    if restored.exchange.state_hash() != machine.exchange.state_hash():
        yield otherwise.format("the state")
    try:
        restored.exchange.check()
    except AssertionError as error:
        yield otherwise.format(f"what the state promises ({error})")
    if restored.attestation() != machine.attestation():
        yield otherwise.format("the chain over the output")
    yield from (otherwise.format(name) for name, content in views_snapshot.sections(views) if snapshot.sections.get(name) != content)
