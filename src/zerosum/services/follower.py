"""
The follower: a process of its own that reads the durable log and applies it through its own copy of the core.

    log (up to what is durable) --> Machine --> compare with what the live machine attested in the log
                                       |--> settle: SQLite, exactly once
                                       |--> snapshot, prune or archive by policy

It is the settlement, the snapshot taker and the check on determinism. Killed anywhere and started again, it ends with the same database:
what is settled and how far are one transaction, and events that are already there are dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, final

from zerosum.errors import ZerosumError
from zerosum.log.layout import Attestation
from zerosum.log.reader import LogReader
from zerosum.log.snapshots import Snapshot, SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine, Output
from zerosum.settlement.sqlite import Batch, SqliteStore
from zerosum.views import snapshot as views_snapshot
from zerosum.views.views import Views

BATCH_RECORDS: Final = 5_000  # settled in one transaction at most
ATTESTED_KEPT: Final = 64  # group ends whose heads are remembered, for attestations that speak of them


class Diverged(ZerosumError):
    """The follower's core and the live one gave different output for the same log."""


@dataclass(frozen=True)
class SnapshotPolicy:
    every_records: int = 200_000
    keep: int = 3


@final
class Follower:
    def __init__(self, data: DataDir, *, policy: SnapshotPolicy | None = None, report: Callable[[str], None] = lambda line: None) -> None:
        self._data = data
        self._policy = policy if policy is not None else SnapshotPolicy()
        self._store = SqliteStore(data.settled)
        self._snapshots = SnapshotStore(data.snapshots)
        snapshot = self._starting_snapshot(report)
        self.machine = Machine.restore(snapshot)
        self.machine.exchange.quarantine(data.quarantined())
        self._views = Views()  # for the snapshots only: what a start of the exchange needs to answer reads
        if snapshot is not None:
            views_snapshot.load(self._views, snapshot.sections)
        self._snapshot_sequence = self.machine.sequence
        self._reader = LogReader(data.log, after_sequence=self.machine.sequence)
        self._attested: dict[int, Attestation] = {self.machine.sequence: self.machine.attestation()}

    def _starting_snapshot(self, report: Callable[[str], None]) -> Snapshot | None:
        """The newest good one not past what is settled: from there on every event is given to the store, which drops what it has."""
        snapshot, passed_over = self._snapshots.newest(at_most=self._store.position().sequence)
        for each in passed_over:
            report(f"snapshot {each.path} is passed over: {each.why}")
        return snapshot

    @property
    def settled_sequence(self) -> int:
        return self._store.position().sequence

    def progress(self) -> dict[str, int]:
        """How far it is, for the exchange."""
        return {"settled": self.settled_sequence, "snapshots_from": min(self._snapshots.sequences(), default=0)}

    def follow(self, durable_sequence: int) -> None:
        """Apply and settle everything that is durable. Diverged when the live machine said otherwise of the same input."""
        outputs: list[Output] = []
        first = self.machine.sequence
        for group in self._reader.read(durable_sequence):
            self._compare(group.attestation)
            outputs.append(self.machine.apply(bytes(group.records)))
            self._remember(self.machine.attestation())
            if self.machine.sequence - first >= BATCH_RECORDS:
                self._settle(outputs)
                outputs.clear()
                first = self.machine.sequence
        if outputs:
            self._settle(outputs)

    def _settle(self, outputs: list[Output]) -> None:
        account_events = b"".join(output.account_events for output in outputs)
        market_events = b"".join(output.market_events for output in outputs)
        chains = self.machine.account_chain.head(), self.machine.market_chain.head()
        self._store.write(Batch(self.machine.sequence, account_events, market_events, *chains))
        self._views.apply(account_events, market_events)
        self._views.forget_settled(self.machine.sequence)
        if self.machine.sequence - self._snapshot_sequence >= self._policy.every_records:
            self.take_snapshot()

    def _compare(self, attestation: Attestation) -> None:
        ours = self._attested.get(attestation.input_sequence)
        if ours is not None and attestation.input_sequence != 0 and ours != attestation:
            raise Diverged(
                f"After command {ours.input_sequence} the live exchange had put out {attestation.account_sequence} account and"
                f" {attestation.market_sequence} market events with chain head {attestation.chain_head.hex()}; this follower has"
                f" {ours.account_sequence} and {ours.market_sequence}, {ours.chain_head.hex()}. Keep the data directory as it is, start"
                " nothing on it, and compare both with `zerosum audit`."
            )

    def _remember(self, attestation: Attestation) -> None:
        self._attested[attestation.input_sequence] = attestation
        if len(self._attested) > ATTESTED_KEPT:
            del self._attested[next(iter(self._attested))]

    def take_snapshot(self) -> Path:
        """Of the state after everything settled so far; older ones than the policy keeps are removed."""
        self._store.sync()  # the log may be pruned up to a snapshot, so what came before is to be on the disk
        sections = chain(self.machine.sections(), views_snapshot.sections(self._views))
        path = self._snapshots.write(self.machine.sequence, {"format": 1}, sections)
        self._snapshot_sequence = self.machine.sequence
        self._snapshots.keep(self._policy.keep)
        return path

    def close(self) -> None:
        self._reader.close()
        self._store.close()
