"""The follower on real logs and a real database: what stops it, what it passes over, and that it always ends with the same rows."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.support.written_log import data_directory, last_sequence, rows_of_log, settle, tables, write_log
from zerosum.log.errors import LogPruned
from zerosum.log.file_log import FileLog
from zerosum.log.layout import Attestation
from zerosum.log.snapshots import SnapshotStore
from zerosum.services.attestations import Diverged
from zerosum.services.audit import Audit
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy
from zerosum.services.machine import Machine
from zerosum.services.opening import NotOfThisLog
from zerosum.settlement import sqlite
from zerosum.sim.programs import random_program

COMMANDS = 1000
OFTEN = SnapshotPolicy(every_records=100, keep=3)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return data_directory(tmp_path / "data", COMMANDS)


def settled_sequence(data: DataDir) -> int:
    with closing(sqlite3.connect(data.settled)) as connection:
        (sequence,) = connection.execute("SELECT sequence FROM settlement_state").fetchone()
        assert isinstance(sequence, int)
        return sequence


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


# ---------------------------------------------------------------------- the same rows, whatever happens


@pytest.mark.parametrize("step", [25, 175, 1000])
def test_followers_that_end_anywhere_make_the_same_record_as_one(data: DataDir, tmp_path: Path, step: int) -> None:
    """Each goes on from a snapshot before what is settled, and gives the store again what it has."""
    for reached in range(step, COMMANDS + step, step):
        settle(data, min(reached, COMMANDS), OFTEN, step=50)
    assert settled_sequence(data) == COMMANDS
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")
    assert [verdict for verdict in Audit(data).run() if not verdict.holds] == []


def test_snapshots_are_taken_by_the_policy_and_the_oldest_go(data: DataDir) -> None:
    settle(data, COMMANDS, SnapshotPolicy(every_records=200, keep=2), step=50)
    assert SnapshotStore(data.snapshots).sequences() == [800, 1000]


# ---------------------------------------------------------------------- divergence


def test_a_live_exchange_that_attests_other_output_is_found_out(tmp_path: Path) -> None:
    """And nothing that came after the last agreement of the two in the batch is settled."""
    data = data_directory(tmp_path / "data", 300)

    def forged(machine: Machine) -> Attestation:
        return machine.attestation()._replace(chain_head=bytes(32))

    write_log(data, random_program(2, 100), attest=forged)
    with pytest.raises(Diverged, match="After command 300 the live exchange had put out") as caught:
        settle(data, 400)
    assert "zerosum audit" in str(caught.value)
    assert settled_sequence(data) == 0


@pytest.mark.parametrize("stream", ["account", "market"])
def test_a_difference_in_the_number_of_events_is_found_out(tmp_path: Path, stream: str) -> None:
    data = data_directory(tmp_path / "data", 300)

    def forged(machine: Machine) -> Attestation:
        honest = machine.attestation()
        return honest._replace(account_sequence=7) if stream == "account" else honest._replace(market_sequence=7)

    write_log(data, random_program(2, 100), attest=forged)
    with pytest.raises(Diverged):
        settle(data, 400)


def test_a_follower_whose_core_differs_is_found_out(data: DataDir) -> None:
    """Here by a record that it alone passes over. It has settled what came before."""
    follower = Follower(data, policy=OFTEN)
    follower.follow(500)
    follower.machine.exchange.quarantine({601})
    follower.follow(600)
    follower.follow(625)
    with pytest.raises(Diverged, match="a replay gives"):
        follower.follow(650)
    follower.close()
    assert settled_sequence(data) == 625, "the attestation of the next group showed it"


def test_the_live_exchange_may_attest_late(tmp_path: Path) -> None:
    """Groups gather while the last one is applied: a group tells of the state one or more groups ago."""
    late: list[Attestation] = []

    def attest(machine: Machine) -> Attestation:
        late.append(machine.attestation())
        return late[max(0, len(late) - 3)]

    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    write_log(data, random_program(3, 500), attest=attest)
    settle(data, 500, OFTEN)
    assert settled_sequence(data) == 500


# ---------------------------------------------------------------------- snapshots


@pytest.mark.parametrize("where", ["header", "section", "trailer", "cut"])
def test_a_damaged_snapshot_is_passed_over_with_a_report(data: DataDir, tmp_path: Path, where: str) -> None:
    """The one before it is used, and the record ends the same."""
    settle(data, 900, OFTEN, step=50)
    newest = data.snapshots / f"{900:020d}.snap"
    size = newest.stat().st_size
    if where == "cut":
        newest.write_bytes(newest.read_bytes()[: size // 2])
    else:
        flip(newest, {"header": 9, "section": size // 2, "trailer": size - 1}[where])
    reported: list[str] = []
    follower = Follower(data, policy=OFTEN, report=reported.append)
    assert follower.machine.sequence == 800
    assert len(reported) == 1
    assert reported[0].startswith(f"snapshot {newest} is passed over: ")
    follower.follow(COMMANDS)
    follower.close()
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")


def test_with_every_snapshot_damaged_the_log_is_replayed_from_its_beginning(data: DataDir, tmp_path: Path) -> None:
    settle(data, 900, OFTEN, step=50)
    for snapshot in data.snapshots.iterdir():
        flip(snapshot, 100)
    assert len(settle(data, COMMANDS, OFTEN)) == 3
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")


def test_a_deleted_record_is_settled_anew(data: DataDir, tmp_path: Path) -> None:
    """Snapshots newer than the record (there is none) are of no use: their events would be missing from it."""
    settle(data, COMMANDS, OFTEN, step=50)
    for path in data.root.glob("settled.db*"):
        path.unlink()
    follower = Follower(data, policy=OFTEN)
    assert (follower.settled_sequence, follower.machine.sequence) == (0, 0)
    follower.follow(COMMANDS)
    follower.close()
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")


def test_an_older_copy_of_the_record_is_brought_up_to_date(data: DataDir, tmp_path: Path) -> None:
    settle(data, 300, OFTEN, step=50)
    copy = shutil.copy(data.settled, tmp_path / "copy.db")
    settle(data, COMMANDS, OFTEN, step=50)
    for path in data.root.glob("settled.db*"):
        path.unlink()
    shutil.copy(copy, data.settled)
    settle(data, COMMANDS, OFTEN)
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")


def test_a_deleted_record_can_not_be_settled_anew_from_a_pruned_log(data: DataDir) -> None:
    """It says so, and says what would help, rather than begin in the middle."""
    settle(data, COMMANDS, OFTEN, step=50)
    with FileLog.open(data.log, segment_bytes=1 << 16) as log:
        assert log.prune(801) != []
    for path in data.root.glob("settled.db*"):
        path.unlink()
    with pytest.raises(LogPruned, match="put the archived segments back"):
        Follower(data, policy=OFTEN)


def test_a_snapshot_that_can_not_be_read_back_takes_no_older_one_with_it(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk says that it wrote what it did not: the log must not be pruned up to it, nor the good ones go."""
    settle(data, 300, OFTEN, step=50)
    kept = SnapshotStore(data.snapshots).sequences()
    write = SnapshotStore.write

    def misdirected(store: SnapshotStore, *snapshot: Any) -> Path:
        path = write(store, *snapshot)
        flip(path, path.stat().st_size // 2)
        return path

    monkeypatch.setattr(SnapshotStore, "write", misdirected)
    reported = settle(data, COMMANDS, OFTEN, step=50)
    assert len([line for line in reported if line.startswith("no snapshot at ")]) == (COMMANDS - 300) // 100
    assert SnapshotStore(data.snapshots).sequences() == kept, "and it is not kept in place of a good one"
    assert settled_sequence(data) == COMMANDS


def test_the_seal_of_a_clean_stop_is_compared_too(tmp_path: Path) -> None:
    """Nothing else says what came of the last group."""
    data = DataDir(tmp_path / "data")
    data.root.mkdir()

    def forged(machine: Machine) -> Attestation:
        honest = machine.attestation()
        return honest._replace(chain_head=bytes(32)) if machine.sequence == 300 else honest

    write_log(data, random_program(3, 300), attest=forged)
    follower = Follower(data)
    follower.follow(300)
    with pytest.raises(Diverged, match="After command 300"):
        follower.follow(300, stopped=True)
    follower.close()


# ---------------------------------------------------------------------- somebody else at the record


def test_a_reader_that_holds_on_to_an_old_state_holds_up_nothing(data: DataDir, tmp_path: Path) -> None:
    """A report that reads for an hour must not stop the exchange when a snapshot is due."""
    settle(data, 100, OFTEN)
    with closing(apsw.Connection(str(data.settled))) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM orders").fetchall()
        follower = Follower(data, policy=OFTEN)
        start = time.monotonic()
        follower.follow(COMMANDS)
        follower.take_snapshot()
        assert time.monotonic() - start < 5
        assert (follower.held_up_by, follower.settled_sequence) == (None, COMMANDS)
        follower.close()
    assert SnapshotStore(data.snapshots).sequences()[-1] == COMMANDS
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")


def test_a_record_that_somebody_locks_is_waited_for(data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 20)
    follower = Follower(data, policy=OFTEN)
    with closing(apsw.Connection(str(data.settled))) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            follower.follow(500)
            assert "another program holds it locked" in str(follower.held_up_by)
            assert follower.settled_sequence == 0
        other.execute("ROLLBACK")
    follower.follow(COMMANDS)
    assert (follower.held_up_by, follower.settled_sequence) == (None, COMMANDS)
    follower.close()
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")


# ---------------------------------------------------------------------- a record of something else


def test_the_record_of_another_log_is_refused(data: DataDir, tmp_path: Path) -> None:
    """Its position may well be in this log. Going on from there would mix two exchanges' money in one record."""
    other = data_directory(tmp_path / "other", 800, seed=2)
    settle(other, 800)
    shutil.copy(other.settled, data.settled)
    before = tables(data.settled)
    with pytest.raises(NotOfThisLog, match=r"settled\.db.* was settled from another log") as caught:
        settle(data, COMMANDS)
    assert "800" in str(caught.value)
    assert tables(data.settled) == before, "nothing was changed"


def test_a_record_that_ends_where_the_log_ends_is_compared_too(tmp_path: Path) -> None:
    one, other = (data_directory(tmp_path / name, 800, seed) for name, seed in (("one", 1), ("other", 2)))
    settle(other, 800)
    shutil.copy(other.settled, one.settled)
    with pytest.raises(NotOfThisLog):
        settle(one, last_sequence(one) + 1)
