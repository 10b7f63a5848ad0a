"""
Documents in a file of SQLite: an embedded exchange's, which its commands write to as well.

    changes_made   one row: how many changes there were, ever         documents   each with the number of the change that wrote it last

Always true:
  - no lock that another program takes on the file holds up a reader: readers of a write-ahead log wait for nobody, nor for our writer
  - a file that was put in the place of the one that was opened is the one that counts, and then everything in it counts as changed
  - one that is gone is not made again
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, final

from zerosum.identity.documents import Changed, Changes, DocumentsFailed, Place, Stored

LOCK_S: Final = 5.0  # what a writer waits for another's lock
GENERATION_SHIFT: Final = 48  # of a mark: which file it is of, the first, the second ...
CHANGE_MASK: Final = (1 << GENERATION_SHIFT) - 1

SCHEMA: Final = """
create table if not exists documents (
    kind text not null,
    owner text not null,
    name text not null,
    version integer not null,
    body blob not null,
    expires_us integer not null,  -- 0: never
    changed integer not null,
    primary key (kind, owner, name)
) without rowid;
create unique index if not exists documents_by_change on documents (changed);
create index if not exists documents_by_expiry on documents (expires_us) where expires_us > 0;
create table if not exists changes_made (id integer primary key check (id = 1), count integer not null);
insert or ignore into changes_made values (1, 0);
"""

GET: Final = (
    "select owner, name, version, body from documents where kind = ? and owner = ? and name = ? and (expires_us = 0 or expires_us > ?)"
)
OF_OWNER: Final = (
    "select owner, name, version, body from documents where kind = ? and owner = ? and (expires_us = 0 or expires_us > ?) order by name"
)
EVERY: Final = "select owner, name, version, body from documents where kind = ? and (expires_us = 0 or expires_us > ?)"
CHANGED_SINCE: Final = "select kind, owner, name, changed from documents where changed > ? and kind = ? order by changed"
CHANGES_MADE: Final = "select count from changes_made"
VERSION: Final = "select version from documents where kind = ? and owner = ? and name = ? and (expires_us = 0 or expires_us > ?)"
PUT: Final = "insert or replace into documents (kind, owner, name, version, body, expires_us, changed) values (?, ?, ?, ?, ?, ?, ?)"
COUNT: Final = "update changes_made set count = count + 1"
REMOVE: Final = "delete from documents where kind = ? and owner = ? and name = ?"
EXPIRE: Final = "delete from documents where expires_us > 0 and expires_us <= ?"


@final
class Connection:
    """One at a time uses it; it follows the file that is at the path now. `connect`: sqlite3.Error, OSError."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._path = path
        self._connect = connect
        self._lock = threading.Lock()
        self._db = connect(path)
        self._file = file_at(path)
        self.generation = 1

    @contextmanager
    def used(self) -> Iterator[sqlite3.Connection]:
        """sqlite3.Error, OSError."""
        with self._lock:
            try:
                file = file_at(self._path)
                if file != self._file:
                    self._connect_again()
                    self._file = file
                    self.generation += 1
                yield self._db
            except (OSError, sqlite3.Error):
                # One that has met damage goes on to see it, also once the file is whole again.
                with suppress(OSError, sqlite3.Error):
                    self._connect_again()
                raise

    def _connect_again(self) -> None:
        self._db.close()
        self._db = self._connect(self._path)

    def close(self) -> None:
        with self._lock:
            self._db.close()


@final
class SqliteDocuments:
    """The file is made if need be. DocumentsFailed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        make(path)
        try:
            self._writer = Connection(path, to_write)
            self._reader = Connection(path, to_read)
        except (OSError, sqlite3.Error) as error:
            raise DocumentsFailed(f"{path} can't be read: {error}.") from error

    @property
    def where(self) -> str:
        return str(self._path)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    # ------------------------------------------------------------------ reads

    def get(self, kind: str, owner: str, name: str) -> Stored | None:
        found = self._read(GET, (kind, owner, name, clock_us()))
        return Stored(*found[0]) if found else None

    def of_owner(self, kind: str, owner: str) -> list[Stored]:
        return [Stored(*row) for row in self._read(OF_OWNER, (kind, owner, clock_us()))]

    def every(self, kind: str) -> list[Stored]:
        return [Stored(*row) for row in self._read(EVERY, (kind, clock_us()))]

    def changes(self, kind: str, mark: int) -> Changes:
        with self._reading() as db:
            count = int(db.execute(CHANGES_MADE).fetchone()[0])
            since = count
            if mark != 0:
                since = mark & CHANGE_MASK if mark >> GENERATION_SHIFT == self._reader.generation else 0
            found = db.execute(CHANGED_SINCE, (since, kind)).fetchall() if since < count else []
            last = max(count, found[-1][3]) if found else count
            return Changes([Place(*row[:3]) for row in found], self._reader.generation << GENERATION_SHIFT | last)

    def fault(self) -> str | None:
        try:
            # Through a connection of its own: those that are open have pages of the file in memory, and would not notice.
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.0)) as db:
                db.execute("select kind, changed from documents limit 1").fetchone()
        except sqlite3.Error as error:
            return f"{self._path} can't be read: {error}"
        return None

    def _read(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._reading() as db:
            return db.execute(statement, values).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._reader.used() as db:
                yield db
        except (OSError, sqlite3.Error) as error:
            raise DocumentsFailed(f"{self._path} can't be read: {error}.") from error

    # ------------------------------------------------------------------ writes

    def put(self, kind: str, owner: str, name: str, body: bytes, version: int, *, lives_s: int = 0) -> None:
        now_us = clock_us()
        with self._writing() as db:
            db.execute(EXPIRE, (now_us,))
            row = db.execute(VERSION, (kind, owner, name, now_us)).fetchone()
            if (row[0] if row is not None else 0) != version:
                raise Changed
            db.execute(COUNT)
            change = db.execute(CHANGES_MADE).fetchone()[0]
            db.execute(PUT, (kind, owner, name, version + 1, body, now_us + lives_s * 1_000_000 if lives_s else 0, change))

    def remove(self, kind: str, owner: str, name: str) -> None:
        with self._writing() as db:
            db.execute(REMOVE, (kind, owner, name))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A change, whole or not at all."""
        try:
            with self._writer.used() as db, db:
                db.execute("begin immediate")
                yield db
        except (OSError, sqlite3.Error) as error:
            raise DocumentsFailed(
                f"{self._path}: {error}. Nothing was changed; the file must be whole, writable, and locked by nobody else."
            ) from error


def make(path: Path) -> None:
    """The file with its tables, unless it is there. DocumentsFailed."""
    try:
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=LOCK_S)) as db:
            (mode,) = db.execute("pragma journal_mode = wal").fetchone()
            if mode != "wal":
                raise sqlite3.OperationalError(f"its file system has no write-ahead logs (journal_mode {mode})")
            db.executescript(SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise DocumentsFailed(
            f"{path}: can't be opened as a file of identities: {error}. Is the data directory the right one, and writable?"
        ) from error


def to_write(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(existing(path), uri=True, isolation_level=None, timeout=LOCK_S, check_same_thread=False)
    db.execute("pragma synchronous = full")
    return db


def to_read(path: Path) -> sqlite3.Connection:
    """It waits for nothing."""
    return sqlite3.connect(existing(path), uri=True, isolation_level=None, timeout=0.0, check_same_thread=False)


def existing(path: Path) -> str:
    """As a URI that makes no file."""
    return f"{path.absolute().as_uri()}?mode=rw"


def file_at(path: Path) -> tuple[int, int]:
    """Which file it is, whatever it is called. OSError."""
    found = path.stat()
    return found.st_dev, found.st_ino


def clock_us() -> int:
    return time.time_ns() // 1_000
