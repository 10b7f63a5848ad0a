"""
Walks a data directory and says where log, snapshots and settled record part; and looks into its past.

    log            every digest and link, and what the live exchange attested of its own output, against a replay here
    machines       every invariant at the end of the replay; each asset sums to zero after every group
    snapshots      each verifies, and is the state that the replay had there
    settled        the same tables, row by row, as the replay settled anew; its own sums
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, final

from zerosum.errors import ZerosumError
from zerosum.log.disk import OsDisk
from zerosum.log.errors import LogError, LogPruned, SnapshotError
from zerosum.log.reader import LogReader
from zerosum.log.recovery import survey
from zerosum.log.snapshots import Snapshot, SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.settlement.sqlite import Batch, SqliteStore
from zerosum.settlement.verify import verify

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
            yield from self.replay(end, again)
            yield from self.compare_settled(again, end)

    def replay(self, end: int, again: SqliteStore) -> Iterator[Verdict]:
        """Through fresh machines, comparing on the way. What it settles anew goes to `again`."""
        snapshots, damaged = self.load_snapshots()
        with LogReader(self.data.log, after_sequence=0) as reader:
            machine = Machine()
            machine.exchange.quarantine(self.data.quarantined())
            attested = compared = 0
            heads = {0: machine.attestation()}
            different: list[str] = list(damaged)
            settled_to = SqliteStore(self.data.settled).position().sequence if self.data.settled.exists() else 0
            for group in reader.read(end):
                ours = heads.get(group.attestation.input_sequence)
                if ours is not None and group.attestation.input_sequence:
                    attested += 1
                    if ours != group.attestation:
                        yield Verdict("attestations", False, f"after {ours.input_sequence} the live exchange put out something else")
                        return
                output = machine.apply(bytes(group.records))
                heads = {machine.sequence: machine.attestation()} | dict(list(heads.items())[-8:])
                if any(machine.exchange.ubscore.ledger.totals()):
                    yield Verdict(
                        "zero sum", False, f"after {machine.sequence} the assets sum to {machine.exchange.ubscore.ledger.totals()}"
                    )
                    return
                if machine.sequence <= settled_to:
                    chains = machine.account_chain.head(), machine.market_chain.head()
                    again.write(Batch(machine.sequence, output.account_events, output.market_events, *chains))
                if machine.sequence in snapshots:
                    compared += 1
                    if Machine.restore(snapshots[machine.sequence]).exchange.state_hash() != machine.exchange.state_hash():
                        different.append(f"snapshot {machine.sequence} is not the state that the log gives")
                self.progress(machine.sequence, end)
        yield Verdict("attestations", True, f"{attested} of the live exchange's output heads are the replay's")
        yield Verdict("zero sum", True, "every asset sums to zero after every group")
        yield self.invariants(machine)
        yield Verdict("snapshots", not different, "; ".join(different) or f"{compared} verify, and are the states that the log gives")

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
        findings = verify(self.data.settled)
        yield Verdict("settled sums", not findings, "; ".join(map(str, findings)) or "every movement and every trade sums to zero")
        different = different_tables(self.data.settled, again.path)
        position = again.position().sequence
        detail = "; ".join(different) or f"the same rows as the log gives, up to sequence {position} of {end}"
        yield Verdict("settled record", not different, detail)


def different_tables(one: Path, other: Path) -> list[str]:
    """What differs between two databases, table by table."""
    with closing(sqlite3.connect(f"file:{one}?mode=ro", uri=True)) as connection:
        connection.execute("ATTACH DATABASE ? AS again", (str(other),))
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        different = []
        for table in tables:
            quoted = '"' + table.replace('"', '""') + '"'  # a name, not a value: it can't be a parameter
            extra = connection.execute(ONLY_IN_ONE.format(one=f"main.{quoted}", other=f"again.{quoted}")).fetchone()[0]
            missing = connection.execute(ONLY_IN_ONE.format(one=f"again.{quoted}", other=f"main.{quoted}")).fetchone()[0]
            if extra or missing:
                different.append(f"{table}: {extra} rows that the log does not give, {missing} that it gives are not there")
    return different
