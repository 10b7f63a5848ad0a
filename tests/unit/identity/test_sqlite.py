"""Documents in a file: replaced only by who has seen what they replace, and read whatever others do to the file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from zerosum.identity import sqlite
from zerosum.identity.documents import Changed, DocumentsFailed, Place, Stored
from zerosum.identity.sqlite import SqliteDocuments


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identities.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], SqliteDocuments]]:
    made: list[SqliteDocuments] = []

    def open_again() -> SqliteDocuments:
        made.append(SqliteDocuments(path))
        return made[-1]

    yield open_again
    for documents in made:
        documents.close()


@pytest.fixture
def documents(opened: Callable[[], SqliteDocuments]) -> SqliteDocuments:
    return opened()


def test_a_document_is_replaced_by_who_has_seen_it(documents: SqliteDocuments, opened: Callable[[], SqliteDocuments]) -> None:
    documents.put("user", "ann", "", b"one", 0)
    other = opened()
    assert other.get("user", "ann", "") == Stored("ann", "", 1, b"one")
    documents.put("user", "ann", "", b"two", 1)
    for version in (0, 1, 3):
        with pytest.raises(Changed):
            other.put("user", "ann", "", b"lost", version)
    assert other.get("user", "ann", "") == Stored("ann", "", 2, b"two")


def test_of_many_who_replace_the_same_one_wins(path: Path, documents: SqliteDocuments) -> None:
    documents.put("user", "ann", "", b"", 0)
    won: list[int] = []

    def try_it(number: int) -> None:
        with closing(SqliteDocuments(path)) as mine, suppress(Changed):
            mine.put("user", "ann", "", b"%d" % number, 1)
            won.append(number)

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert documents.get("user", "ann", "") == Stored("ann", "", 2, b"%d" % winner)


def test_documents_are_listed_by_owner_and_by_kind(documents: SqliteDocuments) -> None:
    for owner, name in (("ann", "b"), ("bob", "c"), ("ann", "a")):
        documents.put("session", owner, name, name.encode(), 0)
    documents.put("user", "ann", "", b"", 0)
    assert [each.name for each in documents.of_owner("session", "ann")] == ["a", "b"]
    assert {each.name for each in documents.every("session")} == {"a", "b", "c"}
    assert documents.of_owner("session", "eve") == []


def test_what_is_removed_is_gone_and_can_be_made_again(documents: SqliteDocuments) -> None:
    documents.put("session", "ann", "a", b"one", 0)
    documents.remove("session", "ann", "a")
    documents.remove("session", "ann", "a")
    assert documents.get("session", "ann", "a") is None
    documents.put("session", "ann", "a", b"two", 0)
    assert documents.get("session", "ann", "a") == Stored("ann", "a", 1, b"two")


def test_what_has_lived_long_enough_is_gone_from_view_and_then_from_the_file(
    documents: SqliteDocuments, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents.put("session", "ann", "a", b"", 0, lives_s=60)
    assert documents.get("session", "ann", "a") is not None
    later = sqlite.clock_us() + 61_000_000
    monkeypatch.setattr(sqlite, "clock_us", lambda: later)
    assert documents.get("session", "ann", "a") is None
    assert documents.of_owner("session", "ann") == documents.every("session") == []
    documents.put("session", "ann", "a", b"new", 0)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("select body from documents").fetchall() == [(b"new",)]


# ---------------------------------------------------------------------- changes


def test_changes_are_told_from_a_mark_on(documents: SqliteDocuments, opened: Callable[[], SqliteDocuments]) -> None:
    documents.put("key", "k1", "", b"", 0)
    gateway = opened()
    begin = gateway.changes("key", 0)
    assert begin.places == []
    documents.put("key", "k2", "", b"", 0)
    documents.put("key", "k1", "", b"", 1)
    changes = gateway.changes("key", begin.mark)
    assert changes.places == [Place("key", "k2", ""), Place("key", "k1", "")]
    assert gateway.changes("key", begin.mark).places == changes.places, "a mark can be used again, where what was told was not dealt with"
    assert gateway.changes("key", changes.mark).places == []


def test_a_change_after_one_that_was_removed_is_told(documents: SqliteDocuments, opened: Callable[[], SqliteDocuments]) -> None:
    """Numbers of changes are never given twice, though the row with the last one is gone."""
    gateway = opened()
    documents.put("session", "ann", "a", b"", 0)
    mark = gateway.changes("key", gateway.changes("key", 0).mark).mark
    documents.remove("session", "ann", "a")
    documents.put("key", "k1", "", b"", 0)
    assert gateway.changes("key", mark).places == [Place("key", "k1", "")]


def test_a_file_put_in_its_place_is_the_one_that_counts_and_all_in_it_has_changed(
    documents: SqliteDocuments, opened: Callable[[], SqliteDocuments], path: Path
) -> None:
    """As a restored copy is: it is older, and its numbers of changes were given before."""
    documents.put("key", "k1", "", b"old", 0)
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute("vacuum into ?", (str(copy),))
    documents.put("key", "k1", "", b"new", 1)
    documents.put("key", "k2", "", b"", 0)
    gateway = opened()
    mark = gateway.changes("key", 0).mark
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma wal_checkpoint(truncate)")  # or what is in its write-ahead log would be taken for the copy's
    copy.rename(path)
    changes = gateway.changes("key", mark)
    assert changes.places == [Place("key", "k1", "")]
    assert gateway.get("key", "k1", "") == Stored("k1", "", 1, b"old")
    opened().put("key", "k1", "", b"newer", 1)
    assert gateway.changes("key", changes.mark).places == [Place("key", "k1", "")]


# ---------------------------------------------------------------------- a file that others lock, or damage

LOCKS = [
    "begin exclusive; update changes_made set count = count",
    "pragma locking_mode = exclusive; begin exclusive; update changes_made set count = count",
    "pragma locking_mode = exclusive; begin; select * from documents",
]


@pytest.mark.parametrize("locking", LOCKS)
def test_no_lock_of_another_program_holds_up_a_reader(documents: SqliteDocuments, path: Path, locking: str) -> None:
    documents.put("key", "k1", "", b"", 0)
    mark = documents.changes("key", 0).mark
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0.0)) as other:
        with suppress(sqlite3.OperationalError):  # that it can't have the lock is good too
            other.executescript(locking)
        began = time.perf_counter()
        assert documents.get("key", "k1", "") is not None
        assert documents.changes("key", mark).places == []
        assert documents.fault() is None
        assert time.perf_counter() - began < 0.5


def test_nor_does_a_writer_of_our_own_that_waits_for_one(documents: SqliteDocuments, path: Path) -> None:
    documents.put("key", "k1", "", b"", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        writer = threading.Thread(target=documents.put, args=("key", "k2", "", b"", 0))
        writer.start()
        began = time.perf_counter()
        for _ in range(10):
            assert documents.get("key", "k1", "") is not None
        assert time.perf_counter() - began < 0.5 * sqlite.LOCK_S
        other.execute("commit")
        writer.join()
    assert documents.get("key", "k2", "") is not None


def test_a_writer_that_waits_for_too_long_changes_nothing_and_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOCK_S", 0.0)
    with closing(SqliteDocuments(path)) as hurried, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(DocumentsFailed, match=r"identities\.db: database is locked\. Nothing was changed"):
            hurried.put("key", "k1", "", b"", 0)
        other.execute("commit")
        hurried.put("key", "k1", "", b"", 0)


def test_a_file_that_can_not_be_read_now_is_read_again_when_it_can(documents: SqliteDocuments, path: Path) -> None:
    documents.put("key", "k1", "", b"", 0)
    with closing(sqlite3.connect(path)) as db:
        db.execute("alter table documents rename to elsewhere")
    assert documents.fault() == f"{path} can't be read: no such table: documents"
    with pytest.raises(DocumentsFailed, match="no such table"):
        documents.get("key", "k1", "")
    with closing(sqlite3.connect(path)) as db:
        db.execute("alter table elsewhere rename to documents")
    assert documents.get("key", "k1", "") is not None
    assert documents.fault() is None


def test_a_file_that_is_gone_is_not_made_again(documents: SqliteDocuments, path: Path) -> None:
    documents.put("key", "k1", "", b"", 0)
    path.unlink()
    with pytest.raises(DocumentsFailed, match="can't be read"):
        documents.get("key", "k1", "")
    with pytest.raises(DocumentsFailed, match="Nothing was changed"):
        documents.put("key", "k2", "", b"", 0)
    assert not path.exists()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"something else entirely" * 1_000)])
def test_a_file_that_was_damaged_or_is_gone_is_reported(documents: SqliteDocuments, path: Path, damage: Callable[[Path], object]) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma wal_checkpoint(truncate)")  # until then the file is not what is read
    assert documents.fault() is None
    damage(path)
    assert f"{path} can't be read: " in (documents.fault() or "")


def test_the_file_is_for_its_owner_alone(documents: SqliteDocuments, path: Path) -> None:
    assert documents.where == str(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentsFailed, match=r"nowhere/identities\.db: can't be opened as a file of identities"):
        SqliteDocuments(tmp_path / "nowhere/identities.db")
    other = tmp_path / "other.db"
    other.write_bytes(b"something else entirely, and long enough" * 100)
    with pytest.raises(DocumentsFailed, match=r"other\.db: can't be opened"):
        SqliteDocuments(other)


def test_a_file_without_a_write_ahead_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its readers would wait for whoever locks it. A database in memory is one that has none on any file system."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DocumentsFailed, match=r"no write-ahead logs \(journal_mode memory\)"):
        SqliteDocuments(Path(":memory:"))
