"""A data directory that is in use, damaged, incomplete, of a later version or of somebody else: refused, with nothing changed."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.exchange import Exchange, door_of
from tests.support.serving import ask, contents, serving
from tests.support.written_log import data_directory, settle, write_log
from zerosum.cli.door import door_to
from zerosum.core import records
from zerosum.errors import ZerosumError
from zerosum.log.errors import LogBehindFollower, LogDamaged, LogInUse, LogMissing, LogTooNew, SnapshotTooNew
from zerosum.log.layout import SEGMENT_HEADER_BYTES
from zerosum.log.snapshots import SnapshotStore
from zerosum.services.datadir import ControlDamaged, DataDir
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.follower_link import FollowerFailed
from zerosum.services.opening import NotOfThisLog
from zerosum.settlement.errors import NotARecord, SchemaTooNew, SettlementFailed
from zerosum.sim.programs import random_program

COMMANDS = 1500
OFTEN = SnapshotPolicy(every_records=300, keep=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """Several segments, three snapshots, and everything settled."""
    data = data_directory(tmp_path_factory.mktemp("whole") / "data", COMMANDS)
    settle(data, COMMANDS, OFTEN, step=100)
    assert len(segments(data)) == 3
    assert len(list(data.snapshots.iterdir())) == 3
    return data


@pytest.fixture
def data(whole: DataDir, tmp_path: Path) -> DataDir:
    return DataDir(shutil.copytree(whole.root, tmp_path / "data"))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def newer(path: Path, header_bytes: int) -> None:
    """As if a later program had written it: another format in a header whose digest, its last 32 bytes, is right."""
    content = bytearray(path.read_bytes())
    content[4] += 1
    content[header_bytes - 32 : header_bytes] = hashlib.sha256(content[: header_bytes - 32]).digest()
    path.write_bytes(content)


def segments(data: DataDir) -> list[Path]:
    return sorted(data.log.glob("*.seg"))


def newest_snapshot(data: DataDir) -> Path:
    return max(data.snapshots.iterdir())


def remove_record(data: DataDir) -> None:
    for path in data.root.glob("settled.db*"):
        path.unlink()


# ---------------------------------------------------------------------- in use


async def test_a_directory_in_use_is_refused_and_its_user_goes_on(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    async with Exchange.on(data) as exchange:
        await exchange.start()
        with pytest.raises(LogInUse, match=f"in use by process {exchange.pid}") as caught:
            async with serving(data):
                pass
        assert caught.value.pid == exchange.pid
        second = Exchange(data)
        second.begin()
        assert await second.ended() == 1
        assert f"LogInUse: {data.log}: in use by process {exchange.pid}" in exchange.errors()
        async with door_of(data) as door:
            assert await door.ask(records.command(records.OPEN_ACCOUNT, 0, 100, 0, 0, 0)) != []
        assert await exchange.stop() == 0


async def test_a_directory_that_its_user_has_left_is_free(data: DataDir) -> None:
    """Also in the same process: a start that failed leaves nothing behind that would be in its way."""
    data.control.write_text("nonsense\n")
    for _ in range(2):
        with pytest.raises(ControlDamaged):
            async with serving(data):
                pass
    data.control.unlink()
    shutil.copy(data.settled, data.root / "aside.db")
    with closing(sqlite3.connect(data.settled)) as connection, connection:
        connection.execute("UPDATE settlement_state SET account_chain = x'00'")
    with pytest.raises(FollowerFailed):
        async with serving(data):
            pass
    shutil.move(data.root / "aside.db", data.settled)
    for number in (1, 2):
        async with serving(data) as embedded:
            await ask(embedded, records.command(records.CHECKPOINT, 0))
            assert embedded.machine.sequence == COMMANDS + 2 * number - 1  # a clean stop takes a checkpoint of its own


# ---------------------------------------------------------------------- refused


def no_log(data: DataDir) -> None:
    shutil.rmtree(data.log)


def no_log_and_no_record(data: DataDir) -> None:
    shutil.rmtree(data.log)
    remove_record(data)


def older_log(data: DataDir) -> None:
    shutil.rmtree(data.log)
    write_log(data, random_program(1, 700))


def older_log_and_no_record(data: DataDir) -> None:
    older_log(data)
    remove_record(data)


def record_of_a_longer_log(data: DataDir) -> None:
    shutil.rmtree(data.log)
    shutil.rmtree(data.snapshots)
    write_log(data, random_program(2, COMMANDS - 1))


REFUSED: dict[str, tuple[Callable[[DataDir], object], type[ZerosumError], str]] = {
    "a flipped byte in a closed segment": (lambda data: flip(segments(data)[1], 3000), LogDamaged, "damaged at offset"),
    "a flipped byte in the tail": (lambda data: flip(segments(data)[-1], SEGMENT_HEADER_BYTES + 200), LogDamaged, "damaged at offset"),
    "a flipped byte in a segment's header": (lambda data: flip(segments(data)[0], 20), LogDamaged, "no valid segment header"),
    "a segment that is missing": (lambda data: segments(data)[1].unlink(), LogDamaged, "no such file"),
    "the last segment missing": (lambda data: segments(data)[-1].unlink(), LogDamaged, "no such file"),
    "a segment that was cut": (lambda data: segments(data)[1].write_bytes(segments(data)[1].read_bytes()[:4096]), LogDamaged, "4096 bytes"),
    "a segment of a later format": (lambda data: newer(segments(data)[0], SEGMENT_HEADER_BYTES), LogTooNew, "log format 2"),
    "a snapshot of a later format": (lambda data: newer(newest_snapshot(data), 56), SnapshotTooNew, "snapshot format 2"),
    "no log": (no_log, LogBehindFollower, f"ends at sequence 0, but the follower has applied up to {COMMANDS}"),
    "no log and no record, but snapshots": (no_log_and_no_record, LogBehindFollower, "the follower has applied up to"),
    "an older copy of the log": (older_log, LogBehindFollower, f"ends at sequence 700, but the follower has applied up to {COMMANDS}"),
    "an older copy of the log and no record": (older_log_and_no_record, LogBehindFollower, "ends at sequence 700"),
    "the record of another, longer log": (record_of_a_longer_log, LogBehindFollower, f"ends at sequence {COMMANDS - 1}"),
    "a record that is none": (lambda data: data.settled.write_bytes(b"not a database" * 400), NotARecord, "not a settled record"),
    "a record that was cut": (lambda data: data.settled.write_bytes(data.settled.read_bytes()[:6000]), SettlementFailed, "malformed"),
    "a control file without sense": (
        lambda data: data.control.write_text("12\n0x10\n"),
        ControlDamaged,
        "control:2: '0x10' is no sequence",
    ),
}


@pytest.mark.parametrize("damage", REFUSED)
async def test_what_can_not_be_trusted_is_refused_and_nothing_is_changed(data: DataDir, damage: str) -> None:
    """The error says what and where. Everything stays as it was found, for whoever has to mend it."""
    plant, error, said = REFUSED[damage]
    plant(data)
    before = contents(data)
    with pytest.raises(error, match=said):
        async with serving(data):
            pass
    assert contents(data) == before


async def test_a_record_of_a_later_version_is_refused(data: DataDir) -> None:
    with closing(sqlite3.connect(data.settled)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (1000, 'of the future')")
    before = contents(data)
    with pytest.raises(SchemaTooNew, match="its tables are of version 1000"):
        async with serving(data):
            pass
    assert contents(data) == before


async def test_the_record_of_another_log_is_refused(data: DataDir, tmp_path: Path) -> None:
    """Even one that ends before this log does."""
    other = data_directory(tmp_path / "other", 800, seed=2)
    settle(other, 800)
    remove_record(data)
    shutil.copy(other.settled, data.settled)
    shutil.rmtree(data.snapshots)
    with pytest.raises(NotOfThisLog, match="was settled from another log"):
        async with serving(data):
            pass
    assert position(data) == 800


async def test_the_record_of_a_log_that_went_on_otherwise_is_refused(tmp_path: Path) -> None:
    """Two copies of one log, gone on apart: their id is the same, and the chains over what came out are not."""
    data = data_directory(tmp_path / "data", 400)
    other = DataDir(shutil.copytree(data.root, tmp_path / "other"))
    write_log(data, random_program(2, 400))
    write_log(other, random_program(3, 200))
    settle(other, 600)
    shutil.copy(other.settled, data.settled)
    with pytest.raises(FollowerFailed, match="was settled from another log"):
        async with serving(data):
            pass
    assert position(data) == 600


@pytest.mark.parametrize("key", ["state_format", "core_version"])
async def test_a_snapshot_for_a_later_program_is_refused(data: DataDir, key: str) -> None:
    """Whole and of this log, but not what this program could go on from."""
    store = SnapshotStore(data.snapshots)
    snapshot = store.load(max(data.snapshots.iterdir()))
    later = {**snapshot.meta, key: int(snapshot.meta[key]) + 1}
    store.write(snapshot.sequence, later, snapshot.sections.items())
    with pytest.raises(SnapshotTooNew, match=f"written in snapshot format {later[key]}"):
        async with serving(data):
            pass


def test_a_command_makes_no_log_where_one_was(data: DataDir) -> None:
    """Else the next start would find a record of another log."""
    remove_record(data)
    shutil.rmtree(data.snapshots)
    shutil.rmtree(data.log)
    with pytest.raises(LogMissing), door_to(data):
        pass
    assert not data.log.exists()


async def test_the_record_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the directory lets others do."""
    data = DataDir(tmp_path / "data")
    data.root.mkdir(mode=0o755)
    async with serving(data) as embedded:
        await ask(embedded, records.command(records.OPEN_ACCOUNT, 0, 4711, 0, 0, 100))
        modes = {path.name: path.stat().st_mode & 0o077 for path in data.root.glob("settled.db*")}
    assert len(modes) >= 2
    assert set(modes.values()) == {0}


async def test_snapshots_of_another_log_are_refused(data: DataDir, tmp_path: Path) -> None:
    """Begun from one, the exchange would serve another's balances."""
    other = data_directory(tmp_path / "other", 900, seed=2)
    settle(other, 900, OFTEN, step=100)
    shutil.rmtree(data.snapshots)
    shutil.copytree(other.snapshots, data.snapshots)
    before = contents(data)
    with pytest.raises(NotOfThisLog, match=r"snapshot of command 900 that was taken of another log.*move the snapshots away"):
        async with serving(data):
            pass
    assert contents(data) == before


@pytest.mark.parametrize("foreign", ["settled.db", "snapshots"])
def test_a_command_to_a_stopped_exchange_is_held_to_the_same(data: DataDir, tmp_path: Path, foreign: str) -> None:
    """It is applied to machines that are restored as for a start, and what it writes stays."""
    other = data_directory(tmp_path / "other", 900, seed=2)
    settle(other, 900, OFTEN, step=100)
    remove_record(data)
    shutil.rmtree(data.snapshots)
    if foreign == "snapshots":
        shutil.copytree(other.snapshots, data.snapshots)
    else:
        shutil.copy(other.settled, data.settled)
    before = contents(data)
    with pytest.raises(NotOfThisLog), door_to(data) as door:
        door.send(records.command(records.OPEN_ACCOUNT, 0, 4711, 0, 0, 100))
    assert contents(data) == before


def position(data: DataDir) -> int:
    with closing(sqlite3.connect(data.settled)) as connection:
        (sequence,) = connection.execute("SELECT sequence FROM settlement_state").fetchone()
        assert isinstance(sequence, int)
        return sequence


async def test_a_refused_start_is_an_exit_code_and_a_line(data: DataDir) -> None:
    flip(segments(data)[1], 3000)
    exchange = Exchange(data)
    exchange.begin()
    assert await exchange.ended() == 1
    assert exchange.errors().startswith(f"LogDamaged: {segments(data)[1]}: damaged at offset ")
    assert "Traceback" not in exchange.errors()


# ---------------------------------------------------------------------- mended by itself


async def test_a_damaged_snapshot_is_passed_over_with_a_report(data: DataDir) -> None:
    damaged = newest_snapshot(data)
    flip(damaged, damaged.stat().st_size // 2)
    reported: list[str] = []
    async with serving(data, reported) as embedded:
        assert embedded.machine.sequence == COMMANDS
    assert [line for line in reported if line.startswith(f"snapshot {damaged} is passed over: ")] != []


async def test_with_nothing_but_the_log_everything_is_made_again(data: DataDir, whole: DataDir) -> None:
    """The log is the one source of everything else."""
    remove_record(data)
    shutil.rmtree(data.snapshots)
    async with serving(data) as embedded:
        assert embedded.machine.sequence == COMMANDS
    assert position(data) == COMMANDS
    with closing(sqlite3.connect(data.settled)) as again, closing(sqlite3.connect(whole.settled)) as before:
        for table in ("trades", "balances", "orders", "balance_ledger"):
            read = f"SELECT * FROM {table} ORDER BY 1, 2, 3"  # noqa: S608  names of our own
            assert again.execute(read).fetchall() == before.execute(read).fetchall()
