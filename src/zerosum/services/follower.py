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
from pathlib import Path
from typing import Final, final

from zerosum.errors import ZerosumError
from zerosum.log.layout import Attestation
from zerosum.log.reader import LogReader
from zerosum.log.snapshots import Snapshot, SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.settlement.sqlite import Batch, SqliteStore

BATCH_RECORDS: Final = 5_000  # settled in one transaction at most
ATTESTED_KEPT: Final = 64  # group ends whose heads are remembered, for attestations that speak of them


class Diverged(ZerosumError):
    """The follower's core and the live one gave different output for the same log."""


@dataclass(frozen=True, slots=True)
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
        self._snapshot_sequence = self.machine.sequence
        self._reader = LogReader(data.log, after_sequence=self.machine.sequence)
        self._attested: dict[int, Attestation] = {self.machine.sequence: self.machine.attestation()}

    def _starting_snapshot(self, report: Callable[[str], None]) -> Snapshot | None:
        """The newest good one that is not past what is settled: from there on every event is given to the store, which drops what it has."""
        snapshot, passed_over = self._snapshots.newest(at_most=self._store.position().sequence)
        for each in passed_over:
            report(f"snapshot {each.path} is passed over: {each.why}")
        return snapshot

    @property
    def settled_sequence(self) -> int:
        return self._store.position().sequence

    def follow(self, durable_sequence: int) -> None:
        """Apply and settle everything that is durable. Diverged when the live machine said otherwise of the same input."""
        account_events: list[bytes] = []
        market_events: list[bytes] = []
        first = self.machine.sequence
        for group in self._reader.read(durable_sequence):
            self._compare(group.attestation)
            output = self.machine.apply(bytes(group.records))
            account_events.append(output.account_events)
            market_events.append(output.market_events)
            self._remember(self.machine.attestation())
            if self.machine.sequence - first >= BATCH_RECORDS:
                self._settle(account_events, market_events)
                first = self.machine.sequence
        self._settle(account_events, market_events)

    def _settle(self, account_events: list[bytes], market_events: list[bytes]) -> None:
        if not account_events:
            return
        self._store.write(Batch(self.machine.sequence, b"".join(account_events), b"".join(market_events)))
        account_events.clear()
        market_events.clear()
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
        path = self._snapshots.write(self.machine.sequence, {"format": 1}, self.machine.sections())
        self._snapshot_sequence = self.machine.sequence
        self._snapshots.keep(self._policy.keep)
        return path

    def close(self) -> None:
        self._reader.close()
        self._store.close()
