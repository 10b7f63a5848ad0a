"""
The follower: a process of its own that reads the durable log and applies it through its own copy of the core.

    log (up to what is durable) --> Machine --> compare with what the live machine attested in the log
                                       |--> settle: SQLite, exactly once
                                       |--> snapshot, prune or archive by policy

It is the settlement, the snapshot taker and the check on determinism. Killed anywhere and started again, it ends with the same database:
what is settled and how far are one transaction, and events that are already there are dropped. On a full disk it goes no further, and
goes on once there is room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final, final

from zerosum.errors import ZerosumError
from zerosum.log.errors import DiskFull
from zerosum.log.layout import NOTHING_ATTESTED, Attestation
from zerosum.log.reader import LogReader, log_id_of
from zerosum.log.snapshots import Snapshot, SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Output
from zerosum.services.opening import LOG_ID, machines_of, newest_snapshot, record_of_another_log
from zerosum.settlement.errors import SettlementFailed
from zerosum.settlement.sqlite import Batch, SqliteStore
from zerosum.views import snapshot as views_snapshot

BATCH_RECORDS: Final = 5_000  # settled in one transaction at most
ATTESTED_KEPT: Final = 64  # group ends whose heads are remembered, for attestations that speak of them


class Diverged(ZerosumError):
    """The follower's core and the live one gave different output for the same log."""


def is_full(error: ZerosumError) -> bool:
    """Whether there was no room on the disk: what failed can be tried again."""
    return isinstance(error, DiskFull) or (isinstance(error, SettlementFailed) and error.disk_is_full)


@dataclass(frozen=True)
class SnapshotPolicy:
    every_records: int = 200_000
    keep: int = 3


@final
class Follower:
    def __init__(self, data: DataDir, *, policy: SnapshotPolicy | None = None, report: Callable[[str], None] = lambda line: None) -> None:
        self._data = data
        self._report = report
        self._policy = policy if policy is not None else SnapshotPolicy()
        self._store = SqliteStore(data.settled)
        self._log_id = self._own_log()
        self._snapshots = SnapshotStore(data.snapshots)
        # The views are for the snapshots only: what a start of the exchange needs to answer reads.
        self.machine, self._views = machines_of(data, self._starting_snapshot())
        self._snapshot_sequence = self.machine.sequence
        self._reader = LogReader(data.log, after_sequence=self.machine.sequence)
        self._attested: dict[int, Attestation] = {self.machine.sequence: self.machine.attestation()}
        self.held_up_by: ZerosumError | None = None  # why what was applied last is not settled: the disk has no room
        self._unsettled: list[Output] = []  # what comes after `_settled_here`
        self._settled_here = self.machine.sequence
        self._record_is_met = self._store.position().sequence == 0
        self._meet_record()

    def _own_log(self) -> bytes:
        """The log's id. NotOfThisLog when the settled record has another."""
        log_id = log_id_of(self._data.log)
        if self._store.log_id() not in (b"", log_id):
            raise record_of_another_log(self._data, self._store.position().sequence)
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

    def follow(self, durable_sequence: int) -> None:
        """
        Apply and settle everything that is durable, as far as the disk has room (see `held_up_by`). Diverged when the live machine said
        otherwise of the same input.
        """
        if not self._settle():
            return
        for group in self._reader.read(durable_sequence):
            self._compare(group.attestation)
            if not group.record_count:
                continue  # a seal
            self._unsettled.append(self.machine.apply(bytes(group.records)))
            self._meet_record()
            self._remember(self.machine.attestation())
            if self.machine.sequence - self._settled_here >= BATCH_RECORDS and not self._settle():
                return
        self._settle()

    def _settle(self) -> bool:
        """What was applied, as one batch. False when the disk has no room for it: it is kept, and is the first to be settled again."""
        if not self._unsettled:
            return True
        account_events = b"".join(output.account_events for output in self._unsettled)
        market_events = b"".join(output.market_events for output in self._unsettled)
        chains = self.machine.account_chain.head(), self.machine.market_chain.head()
        try:
            self._store.write(Batch(self.machine.sequence, account_events, market_events, *chains))
        except SettlementFailed as error:
            if not is_full(error):
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

    def _compare(self, attestation: Attestation) -> None:
        ours = self._attested.get(attestation.input_sequence)
        if ours is not None and attestation not in (ours, NOTHING_ATTESTED):
            raise Diverged(
                f"After command {ours.input_sequence} the live exchange had put out {attestation.account_sequence} account and"
                f" {attestation.market_sequence} market events with chain head {attestation.chain_head.hex()}; this follower has"
                f" {ours.account_sequence} and {ours.market_sequence}, {ours.chain_head.hex()}. Keep the data directory as it is, start"
                " nothing on it, and compare both with `zerosum audit`."
            )

    def _meet_record(self) -> None:
        """Where the settled record ends, the machines must have put out what it holds: copies of one log may have gone on apart."""
        record = self._store.position()
        if self._record_is_met or self.machine.sequence < record.sequence:
            return
        heads = self.machine.account_chain.head(), self.machine.market_chain.head()
        if self.machine.sequence != record.sequence or heads != (record.account_chain, record.market_chain):
            raise record_of_another_log(self._data, record.sequence)
        self._record_is_met = True

    def _remember(self, attestation: Attestation) -> None:
        self._attested[attestation.input_sequence] = attestation
        if len(self._attested) > ATTESTED_KEPT:
            del self._attested[next(iter(self._attested))]

    def take_snapshot(self) -> None:
        """Of the state after everything settled so far; older ones than the policy keeps are removed. With a full disk there is none."""
        assert not self._unsettled, "what is in a snapshot is settled"
        self._snapshot_sequence = self.machine.sequence  # one that finds no room is not tried again at once
        try:
            self._write_snapshot()
        except (DiskFull, SettlementFailed) as error:
            if not is_full(error):
                raise
            self._report(f"no snapshot at {self.machine.sequence}: {error}")

    def _write_snapshot(self) -> None:
        self._store.sync()  # the log may be pruned up to a snapshot, so what came before is to be on the disk
        sections = chain(self.machine.sections(), views_snapshot.sections(self._views))
        self._snapshots.write(self.machine.sequence, {LOG_ID: self._log_id.hex()}, sections)
        self._snapshots.keep(self._policy.keep)

    def close(self) -> None:
        self._reader.close()
        self._store.close()
