"""
The follower: a process of its own that reads the durable log and applies it through its own copy of the core.

    log (up to what is durable) --> Machine --> compare with what the live machine attested in the log
                                       |--> settle: SQLite, exactly once
                                       |--> snapshot, by policy; how old the oldest is, is for the exchange: it prunes

It is the settlement, the snapshot taker and the check on determinism. Killed anywhere and started again, it ends with the same database:
what is settled and how far are one transaction, and events that are already there are dropped. On a full disk, or while
somebody else holds the database, it goes no further, and goes on when it can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final, final

from zerosum.errors import ZerosumError
from zerosum.log.errors import DiskFull, SnapshotDamaged
from zerosum.log.reader import LogReader, log_id_of
from zerosum.log.snapshots import Snapshot, SnapshotStore
from zerosum.services.attestations import Attestations
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Output
from zerosum.services.opening import PROGRESS_RECORDS, machines_of, newest_snapshot, record_of_another_log, snapshot_meta
from zerosum.settlement.batch import Batch, Store
from zerosum.settlement.errors import SettlementFailed
from zerosum.settlement.sqlite import SqliteStore
from zerosum.views import snapshot as views_snapshot

BATCH_RECORDS: Final = 5_000  # settled in one transaction at most


def can_wait(error: ZerosumError) -> bool:
    """Whether what failed can be tried again: there was no room on the disk, or somebody else held the database."""
    return isinstance(error, DiskFull) or (isinstance(error, SettlementFailed) and error.can_wait)


@dataclass(frozen=True)
class SnapshotPolicy:
    every_records: int = 200_000
    keep: int = 3


@final
class Follower:
    def __init__(
        self, data: DataDir, *, policy: SnapshotPolicy | None = None, report: Callable[[str], None] = lambda line: None,
        store: Store | None = None,
    ) -> None:  # fmt: skip
        self._data = data
        self._report = report
        self._policy = policy if policy is not None else SnapshotPolicy()
        self._store: Store = store if store is not None else SqliteStore(data.settled)
        self._log_id = self._own_log()
        self._snapshots = SnapshotStore(data.snapshots, disk=data.disk)
        # The views are for the snapshots only: what a start of the exchange needs to answer reads.
        self.machine, self._views = machines_of(data, self._starting_snapshot())
        self._snapshot_sequence = self.machine.sequence
        self._reader = LogReader(data.log, after_sequence=self.machine.sequence, disk=data.disk)
        self._attestations = Attestations(self.machine.attestation())
        self.held_up_by: ZerosumError | None = None  # why what was applied last is not settled yet
        self._unsettled: list[Output] = []  # what comes after `_settled_here`
        self._settled_here = self.machine.sequence
        self._record_is_met = self._store.position().sequence == 0
        self._meet_record()

    def _own_log(self) -> bytes:
        """The log's id. NotOfThisLog when the settled record has another."""
        log_id = log_id_of(self._data.log, self._data.disk)
        if self._store.log_id() not in (b"", log_id):
            raise record_of_another_log(self._data, self._store.position().sequence)
        if not self._store.log_id():
            self._store.belong_to(log_id)
        return log_id

    def _starting_snapshot(self) -> Snapshot | None:
        """The newest good one not past what is settled: from there on every event is given to the store, which drops what it has."""
        snapshot, passed_over = newest_snapshot(self._data, self._log_id, at_most=self._store.position().sequence)
        for each in passed_over:
            self._report(f"snapshot {each.path} is passed over: {each.why}")
        return snapshot

    @property
    def settled_sequence(self) -> int:
        return self._store.position().sequence

    def progress(self) -> dict[str, int]:
        """How far it is, for the exchange."""
        return {"settled": self.settled_sequence, "snapshots_from": min(self._snapshots.sequences(), default=0)}

    def follow(self, durable_sequence: int, *, stopped: bool = False) -> None:
        """
        Apply and settle everything that is durable, as far as the disk allows (see `held_up_by`). Diverged when the live machine said
        otherwise of the same input. `stopped`: the log's writer has, and its seal tells of what came out last.
        """
        if not self._settle():
            return
        told = self.machine.sequence
        for group in self._reader.read(durable_sequence, seal=stopped):
            self._attestations.compare(group)
            if not group.record_count:
                continue  # a seal
            self._unsettled.append(self.machine.apply(bytes(group.records)))
            self._meet_record()
            self._attestations.reached(self.machine.attestation())
            if not self._record_is_met and self.machine.sequence - told >= PROGRESS_RECORDS:
                told = self.machine.sequence
                self._report(f"the follower has replayed up to {told:,}; settled is up to {self.settled_sequence:,}")
            if self.machine.sequence - self._settled_here >= BATCH_RECORDS and not self._settle():
                return
        self._settle()

    def _settle(self) -> bool:
        """What was applied, as one batch. False when it has to wait: it is kept, and is the first to be settled again."""
        if not self._unsettled:
            return True
        account_events = b"".join(output.account_events for output in self._unsettled)
        market_events = b"".join(output.market_events for output in self._unsettled)
        chains = self.machine.account_chain.head(), self.machine.market_chain.head()
        try:
            self._store.write(Batch(self.machine.sequence, account_events, market_events, *chains))
        except SettlementFailed as error:
            if not can_wait(error):
                raise
            self.held_up_by = error
            return False
        self.held_up_by = None
        self._unsettled.clear()
        self._settled_here = self.machine.sequence
        self._views.apply(account_events, market_events)
        self._views.forget_settled(self.machine.sequence)
        if self.machine.sequence - self._snapshot_sequence >= self._policy.every_records:
            self.take_snapshot()
        return True

    def _meet_record(self) -> None:
        """Where the settled record ends, the machines must have put out what it holds: copies of one log may have gone on apart."""
        record = self._store.position()
        if self._record_is_met or self.machine.sequence < record.sequence:
            return
        heads = self.machine.account_chain.head(), self.machine.market_chain.head()
        if self.machine.sequence != record.sequence or heads != (record.account_chain, record.market_chain):
            raise record_of_another_log(self._data, record.sequence)
        self._record_is_met = True

    def take_snapshot(self) -> None:
        """
        Of the state after everything settled so far; older ones than the policy keeps are removed. On a full disk there is none, and
        where one can't be read back the older ones stay.
        """
        assert not self._unsettled, "what is in a snapshot is settled"
        self._snapshot_sequence = self.machine.sequence  # one that finds no room is not tried again at once
        try:
            self._write_snapshot()
        except (DiskFull, SettlementFailed, SnapshotDamaged) as error:
            if not can_wait(error) and not isinstance(error, SnapshotDamaged):
                raise
            self._report(f"no snapshot at {self.machine.sequence}: {error}")

    def _write_snapshot(self) -> None:
        self._store.fold()
        sections = chain(self.machine.sections(), views_snapshot.sections(self._views))
        path = self._snapshots.write(self.machine.sequence, snapshot_meta(self._log_id, self.machine), sections)
        try:
            self._snapshots.load(path)  # read back: the log may be pruned up to it, and older ones go
        except SnapshotDamaged:
            self._snapshots.remove(path)  # it is not to count as one of those that are kept
            raise
        self._snapshots.keep(self._policy.keep, up_to=self.machine.sequence)

    def close(self) -> None:
        self._reader.close()
        self._store.close()
