"""The audit: whatever is planted in a data directory, it says which check broke; and it says nothing of one that is whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from tests.support.serving import serving
from tests.support.written_log import SEGMENT_BYTES, data_directory, settle, write_log
from zerosum.core import holds, ledger, records
from zerosum.log.archive import archive_segments
from zerosum.log.errors import LogInUse
from zerosum.log.file_log import FileLog
from zerosum.log.layout import NOTHING_ATTESTED, Attestation
from zerosum.log.reader import log_id_of
from zerosum.log.snapshots import SnapshotStore
from zerosum.services.audit import Audit, Verdict
from zerosum.services.datadir import DataDir
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.machine import Machine
from zerosum.services.opening import snapshot_meta
from zerosum.services.past import machine_at
from zerosum.sim.programs import random_program
from zerosum.views import snapshot as views_snapshot
from zerosum.views.views import Views

COMMANDS = 1500
SETTLED = 1400
CHECKS = ["log", "attestations", "zero sum", "invariants", "snapshots", "settled sums", "settled record"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """Settled to somewhat before the log's end, as after a kill."""
    data = data_directory(tmp_path_factory.mktemp("whole") / "data", COMMANDS, seed=2)
    settle(data, SETTLED, SnapshotPolicy(every_records=300, keep=3), step=100)
    return data


@pytest.fixture
def data(whole: DataDir, tmp_path: Path) -> DataDir:
    return DataDir(shutil.copytree(whole.root, tmp_path / "data"))


def broken(verdicts: Iterable[Verdict]) -> dict[str, str]:
    return {verdict.check: verdict.detail for verdict in verdicts if not verdict.holds}


def sql(statement: str) -> Callable[[DataDir], None]:
    """Damage to the settled record that leaves it a database."""

    def plant(data: DataDir) -> None:
        with closing(sqlite3.connect(data.settled)) as connection, connection:
            assert connection.execute(statement).rowcount != 0, "there is something to damage"

    return plant


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def meta(data: DataDir) -> dict[str, int | str]:
    return snapshot_meta(log_id_of(data.log), Machine())


def snapshot_of_another_log(data: DataDir) -> None:
    store = SnapshotStore(data.snapshots)
    snapshot = store.load(max(data.snapshots.iterdir()))
    store.write(snapshot.sequence, {**snapshot.meta, "log": "00" * 16}, snapshot.sections.items())


def snapshot_of_another_state(data: DataDir) -> None:
    """Whole and well formed, at a sequence where there was another state."""
    other, views = Machine(), Views()
    for command in random_program(3, SETTLED):
        output = other.apply(command)
        views.apply(output.account_events, output.market_events)
    SnapshotStore(data.snapshots).write(SETTLED, meta(data), chain(other.sections(), views_snapshot.sections(views)))


def snapshot_between_groups(data: DataDir) -> None:
    """No follower takes one there, so nothing vouches for it."""
    SnapshotStore(data.snapshots).write(SETTLED - 3, meta(data), [])


def views_of_another_state(data: DataDir) -> None:
    """The machines' part as it should be, but not what the gateway would answer from."""
    store = SnapshotStore(data.snapshots)
    snapshot = store.load(max(data.snapshots.iterdir()))
    sections = {**snapshot.sections, "views.balances": snapshot.sections["views.balances"][:-32]}
    store.write(snapshot.sequence, snapshot.meta, sections.items())


def other_chain(data: DataDir) -> None:
    """A snapshot whose state is right, and whose chain over what came out is not: the next attestations would differ."""
    store = SnapshotStore(data.snapshots)
    snapshot = store.load(max(data.snapshots.iterdir()))
    content = bytearray(snapshot.sections["account_chain"])
    content[-1] ^= 1
    store.write(snapshot.sequence, snapshot.meta, {**snapshot.sections, "account_chain": bytes(content)}.items())


def changed_state(data: DataDir, change: Callable[[Machine], bool], *, first: int = 0) -> None:
    """In the first snapshot from `first` on that it can be: a state that was tampered with, whole and well formed."""
    store = SnapshotStore(data.snapshots)
    for snapshot in (store.load(path) for path in sorted(data.snapshots.iterdir())):
        machine = Machine.restore(snapshot)
        if snapshot.sequence >= first and change(machine):
            store.write(snapshot.sequence, snapshot.meta, {**snapshot.sections, **dict(machine.sections())}.items())
            return
    raise AssertionError("there is no state to change so")


def proceeds_of_another(machine: Machine) -> bool:
    """What an open order will receive goes to somebody else, who has an order of the same side and symbol."""
    pool = machine.exchange.ubscore.holds.pool
    words, by_kind = pool.words, dict[int, int]()
    for hold in pool.slots():
        kind = words[hold + holds.TERMS] >> 32 << 1 | words[hold + holds.TERMS] & 1
        other = by_kind.setdefault(kind, hold)
        if words[other + holds.OWNER] != words[hold + holds.OWNER]:
            words[hold + holds.GETS] = words[other + holds.GETS]
            return True
    return False


def more_money(machine: Machine) -> bool:
    balances = machine.exchange.ubscore.ledger.balances
    balances.words[balances.slots()[-1] + ledger.AVAILABLE] += 1
    return True


def miscounted(machine: Machine) -> bool:
    """One open order too many, where neither an event nor the hash of the state shows it."""
    seats = machine.exchange.ubscore.holds.seats
    seats.words[seats.slots()[0] + holds.OPEN] += 1
    return True


def no_record(data: DataDir) -> None:
    for path in data.root.glob("settled.db*"):
        path.unlink()


PLANTED: dict[str, tuple[Callable[[DataDir], object], set[str]]] = {
    "a snapshot that pays another": (lambda data: changed_state(data, proceeds_of_another), {"snapshots"}),
    "a snapshot with more money": (lambda data: changed_state(data, more_money), {"snapshots"}),
    "a changed price": (sql("UPDATE trades SET price_ticks = price_ticks + 1 WHERE trade_id = 3"), {"settled sums", "settled record"}),
    "a changed status": (sql("UPDATE orders SET status = 'CANCELED' WHERE status = 'FILLED'"), {"settled record"}),
    "a changed name": (sql("UPDATE assets SET name = 'FAKE' WHERE asset = 0"), {"settled record"}),
    "a deleted trade": (sql("DELETE FROM trades WHERE trade_id = 2"), {"settled sums", "settled record"}),
    "a deleted order": (sql("DELETE FROM orders WHERE executed_lots = 0"), {"settled record"}),
    "a changed balance": (
        sql("UPDATE balances SET available_atoms = available_atoms + 1 WHERE account = 1"),
        {"settled sums", "settled record"},
    ),
    "a balance that grew at another's cost": (
        sql("UPDATE balances SET available_atoms = available_atoms + iif(account = 2, 1, iif(account = 1, -1, 0)) WHERE asset = 0"),
        {"settled sums", "settled record"},
    ),
    "an entry of the ledger": (
        sql("UPDATE balance_ledger SET delta_atoms = delta_atoms + 1 WHERE kind = 4"),
        {"settled sums", "settled record"},
    ),
    "a deposit that was never made": (sql("INSERT INTO deposits VALUES (16, 424242, 0, 5, 0, 3)"), {"settled sums", "settled record"}),
    "a candle": (sql("UPDATE klines SET high_ticks = high_ticks + 1"), {"settled record"}),
    "the position": (sql("UPDATE settlement_state SET account_sequence = account_sequence + 1"), {"settled record"}),
    "the chain": (sql("UPDATE settlement_state SET market_chain = x'00'"), {"settled record"}),
    "a table that is gone": (sql("DROP TABLE checkpoints"), {"settled record"}),
    "a table that is not ours": (sql("CREATE TABLE more (x)"), {"settled record"}),
    "no record": (no_record, {"settled record"}),
    "a record that is none": (lambda data: data.settled.write_bytes(b"not a database" * 400), {"settled record"}),
    "a record that was cut": (lambda data: data.settled.write_bytes(data.settled.read_bytes()[:20480]), {"settled record"}),
    "a flipped byte in the log": (lambda data: flip(min(data.log.glob("*.seg")), 3000), {"log"}),
    "no log": (lambda data: shutil.rmtree(data.log), {"log"}),
    "a flipped byte in a snapshot": (lambda data: flip(max(data.snapshots.iterdir()), 3000), {"snapshots"}),
    "a snapshot of another state": (snapshot_of_another_state, {"snapshots"}),
    "a snapshot with other views": (views_of_another_state, {"snapshots"}),
    "a snapshot with another chain": (other_chain, {"snapshots"}),
    "a snapshot of another log": (snapshot_of_another_log, {"snapshots"}),
    "the record of another log": (sql("UPDATE settlement_state SET log_id = x'00'"), {"settled record"}),
    "a snapshot by another name": (
        lambda data: max(data.snapshots.iterdir()).rename(data.snapshots / f"{SETTLED - 3:020d}.snap"),
        {"snapshots"},
    ),
    "a snapshot where no group ends": (snapshot_between_groups, {"snapshots"}),
}


def test_of_a_directory_that_is_whole_every_check_holds(data: DataDir) -> None:
    verdicts = list(Audit(data).run())
    assert [verdict.check for verdict in verdicts] == CHECKS
    assert broken(verdicts) == {}
    assert f"up to sequence {SETTLED} of {COMMANDS}" in verdicts[-1].detail


@pytest.mark.parametrize("damage", PLANTED)
def test_planted_damage_is_found(data: DataDir, damage: str) -> None:
    """As a verdict that says which check broke, and not as a program that breaks."""
    plant, checks = PLANTED[damage]
    plant(data)
    found = broken(Audit(data).run())
    assert set(found) >= checks, found
    assert set(found) <= checks | {"settled sums", "settled record"}, found


def test_an_exchange_that_attested_something_else_is_found(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 300)

    def forged(machine: Machine) -> Attestation:
        return machine.attestation()._replace(chain_head=bytes(32))

    settle(data, 300)
    write_log(data, random_program(2, 100), attest=forged)
    found = broken(Audit(data).run())
    assert set(found) == {"attestations"}
    assert found["attestations"].startswith("After command 300 the live exchange had put out")


@pytest.mark.parametrize("told", [-1, 1])
def test_an_attestation_of_a_state_that_no_group_ended_in_is_found(tmp_path: Path, told: int) -> None:
    """Or a bug, or whoever writes the log, could speak of nothing that is ever compared."""
    data = data_directory(tmp_path / "data", 300)
    write_log(data, random_program(2, 100), attest=lambda machine: machine.attestation()._replace(input_sequence=machine.sequence + told))
    assert "it can't be" in broken(Audit(data).run())["attestations"]


def test_groups_that_attest_nothing_are_found(tmp_path: Path) -> None:
    """Only a seal may: of a shard that did not come to apply everything."""
    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    write_log(data, random_program(3, 300), attest=lambda machine: NOTHING_ATTESTED)
    assert "attestations" in broken(Audit(data).run())


def test_a_seal_may_attest_nothing(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    write_log(data, random_program(3, 300), attest=lambda machine: NOTHING_ATTESTED if machine.sequence == 300 else machine.attestation())
    settle(data, 300)
    assert broken(Audit(data).run()) == {}


def test_the_audit_waits_for_the_follower_of_an_exchange_that_was_killed(data: DataDir) -> None:
    """It settles the rest: compared meanwhile, the record would seem to be wrong."""
    with data.follower_lock.open("a") as lock, ThreadPoolExecutor(1) as thread:
        fcntl.flock(lock, fcntl.LOCK_EX)
        verdicts = thread.submit(lambda: list(Audit(data).run()))
        with pytest.raises(TimeoutError):
            verdicts.result(0.3)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert broken(verdicts.result(30)) == {}


def test_an_attestation_that_goes_back_is_found(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    told: list[Attestation] = []

    def attest(machine: Machine) -> Attestation:
        told.append(machine.attestation())
        return told[4] if len(told) == 9 else told[-1]

    write_log(data, random_program(3, 500), attest=attest)
    assert "a later state was attested before" in broken(Audit(data).run())["attestations"]


def test_an_index_that_does_not_lead_to_its_rows_is_found(data: DataDir) -> None:
    """Reads go by it: an order would be there and not be found."""
    with closing(sqlite3.connect(data.settled)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'orders_by_client_id'").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        names = [name.encode() for (name,) in connection.execute("SELECT client_id FROM orders WHERE length(client_id) > 8")]
    content = bytearray(data.settled.read_bytes())
    places = [content.find(name, (page - 1) * page_bytes, page * page_bytes) for name in names]
    content[max(places)] ^= 1  # another name, and nothing else about it: the page itself is well formed
    data.settled.write_bytes(content)
    assert "the file is whole" in broken(Audit(data).run())["settled sums"]


def test_an_index_that_is_gone_is_found(data: DataDir) -> None:
    with closing(sqlite3.connect(data.settled)) as connection:
        connection.execute("DROP INDEX orders_by_client_id")
    assert "orders_by_client_id: it is not defined as it should be" in broken(Audit(data).run())["settled record"]


def test_rows_that_make_no_sense_are_a_verdict(data: DataDir) -> None:
    """Columns of damaged rows may hold anything, also nothing."""
    with closing(sqlite3.connect(data.settled)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(replace(sql, ' NOT NULL', ''), ' STRICT', '') WHERE name = 'balance_ledger'"
        )
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute("UPDATE balance_ledger SET delta_atoms = NULL WHERE entry % 7 = 0")
        connection.commit()
    assert {"settled sums", "settled record"} <= set(broken(Audit(data).run()))


async def test_an_exchange_that_runs_is_not_audited(tmp_path: Path) -> None:
    """What it writes meanwhile would be taken for damage."""
    data = DataDir(tmp_path / "data")
    async with serving(data):
        with pytest.raises(LogInUse, match=f"in use by process {os.getpid()}"):
            list(Audit(data).run())
    assert broken(Audit(data).run()) == {}


def test_what_is_attested_late_is_compared_too(tmp_path: Path) -> None:
    """Under load a group tells of the state two groups ago: of those, too, one forgery among many must be found."""
    told: list[Attestation] = []

    def attest(machine: Machine) -> Attestation:
        told.append(machine.attestation())
        late = told[max(0, len(told) - 3)]
        return late._replace(chain_head=bytes(32)) if len(told) == 30 else late

    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    write_log(data, random_program(3, 1000), attest=attest)
    assert set(broken(Audit(data).run())) == {"attestations"}


def test_the_seal_of_a_clean_stop_attests_the_last_groups_too(tmp_path: Path) -> None:
    """No group comes after them to say it."""
    data = DataDir(tmp_path / "data")
    data.root.mkdir()

    def forged(machine: Machine) -> Attestation:
        honest = machine.attestation()
        return honest._replace(market_sequence=honest.market_sequence + 1) if machine.sequence == 300 else honest

    write_log(data, random_program(3, 300), attest=forged)
    found = broken(Audit(data).run())
    assert set(found) == {"attestations"}
    assert found["attestations"].startswith("After command 300 the live exchange had put out")


@pytest.fixture
def pruned(data: DataDir) -> DataDir:
    """The beginning of its log is in the archive, and the earliest snapshot is of what comes after."""
    with FileLog.open(data.log, segment_bytes=SEGMENT_BYTES) as log:
        archived_to = archive_segments(data.log, 901, data.archive)
        assert 1 < archived_to <= 901
        assert log.prune(archived_to) == sorted(file.name for file in data.archive.iterdir())
        assert log.first_sequence > 1
    return data


def test_of_a_pruned_log_with_its_archive_every_row_is_compared(pruned: DataDir, tmp_path: Path) -> None:
    archive = pruned.archive.rename(tmp_path / "elsewhere")
    verdicts = list(Audit(pruned, archive).run())
    assert broken(verdicts) == {}
    assert verdicts[0].detail == f"every digest and link up to sequence {COMMANDS} holds"
    assert "the same rows as the log gives" in verdicts[-1].detail


@pytest.mark.parametrize(("change", "check"), [(more_money, "zero sum"), (miscounted, "invariants")])
def test_a_pruned_log_whose_first_state_is_wrong_is_found_out(pruned: DataDir, change: Callable[[Machine], bool], check: str) -> None:
    """All that is left speaks of the state that was tampered with, but for what must always hold."""
    shutil.rmtree(pruned.archive)
    first = min(int(segment.stem) for segment in pruned.log.glob("*.seg"))
    changed_state(pruned, change, first=first - 1)
    assert check in broken(Audit(pruned).run())


def test_a_pruned_log_is_replayed_from_the_earliest_snapshot(pruned: DataDir) -> None:
    """What can't be held to the log any more is said."""
    shutil.rmtree(pruned.archive)
    verdicts = list(Audit(pruned).run())
    assert [verdict.check for verdict in verdicts] == CHECKS
    assert broken(verdicts) == {}
    assert "from sequence" in verdicts[0].detail
    assert "2 verify, and are the states that the log gives; 1 from before it" in verdicts[4].detail
    assert "rows of what was pruned are held to their sums alone" in verdicts[-1].detail


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize(
    "damage", ["a changed balance", "the position", "the chain", "a record that is none", "a flipped byte in a snapshot"]
)
def test_planted_damage_is_found_beside_a_pruned_log(pruned: DataDir, damage: str, archived: bool) -> None:
    if not archived:
        shutil.rmtree(pruned.archive)
    plant, checks = PLANTED[damage]
    plant(pruned)
    found = broken(Audit(pruned).run())
    assert set(found) >= checks, found
    assert set(found) <= checks | {"settled sums", "settled record"}, found


def test_an_open_order_that_a_pruned_log_does_not_give_is_found(pruned: DataDir) -> None:
    shutil.rmtree(pruned.archive)
    sql("INSERT INTO active_orders SELECT * FROM orders LIMIT 1")(pruned)
    assert "open orders are not what the log gives, such as" in broken(Audit(pruned).run())["settled record"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE withdrawal_requests SET atoms = atoms + 1 WHERE transfer_id NOT IN (SELECT transfer_id FROM movement_ends)",
        "UPDATE withdrawal_requests SET account = account + 1 WHERE transfer_id NOT IN (SELECT transfer_id FROM movement_ends)",
        "DELETE FROM withdrawal_requests WHERE transfer_id NOT IN (SELECT transfer_id FROM movement_ends)",
        "DELETE FROM movement_ends WHERE state <> 'REVERSED'",
    ],
)
def test_a_pending_withdrawal_that_a_pruned_log_does_not_give_is_found(pruned: DataDir, statement: str) -> None:
    """That its atoms are not there, the record's own sums tell too; whose it is, nothing else does."""
    shutil.rmtree(pruned.archive)
    sql(statement)(pruned)
    assert "pending withdrawals are not what the log gives, such as" in broken(Audit(pruned).run())["settled record"]


def test_a_pruned_log_without_a_snapshot_can_not_be_audited(pruned: DataDir) -> None:
    shutil.rmtree(pruned.archive)
    shutil.rmtree(pruned.snapshots)
    assert set(broken(Audit(pruned).run())) == {"log"}


def test_a_flipped_byte_in_the_archive_is_found(pruned: DataDir) -> None:
    flip(min(pruned.archive.glob("*.seg")), 3000)
    verdicts = list(Audit(pruned).run())
    assert set(broken(verdicts)) == {"archive"}
    assert "rows of what was pruned are held to their sums alone" in verdicts[-1].detail, "the log itself is audited all the same"
    assert machine_at(pruned, None).sequence == COMMANDS, "and the state as it is now needs no archive"


def test_a_path_may_have_characters_that_mean_something_in_a_uri(whole: DataDir, tmp_path: Path) -> None:
    data = DataDir(shutil.copytree(whole.root, tmp_path / "a#b?c%20d" / "data"))
    assert broken(Audit(data).run()) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["a#b?c%20d"]


def test_a_record_that_breaks_an_invariant_is_named(data: DataDir) -> None:
    """Which one it is, is what an operator has to know to have it passed over."""
    with contextlib.suppress(AssertionError):  # the machines that write it stop at it too
        write_log(data, [records.command(records.SET_CORE_VERSION, 0, 2)])
    found = broken(Audit(data).run())
    assert set(found) == {"invariants"}
    assert found["invariants"].startswith(f"command {COMMANDS + 1} of the log breaks the machines: ")


def test_the_audit_changes_nothing(data: DataDir) -> None:
    before = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()}
    list(Audit(data).run())
    after = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))}
    assert after == {path: content for path, content in before.items() if not path.name.endswith(("-shm", "-wal"))}


def test_the_command_tells_by_its_exit_code(data: DataDir) -> None:
    def audited() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from zerosum.cli.main import app; app()", "audit", str(data.root), "--json"]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ})

    good = audited()
    assert (good.returncode, good.stderr) == (0, "")
    sql("UPDATE balances SET available_atoms = 0 WHERE account = 1")(data)
    bad = audited()
    assert bad.returncode == 1
    assert '"holds":false' in bad.stdout.replace(" ", "")
