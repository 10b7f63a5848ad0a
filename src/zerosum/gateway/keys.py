"""
API keys: made and revoked by commands, read by the gateway, kept in one SQLite file with their secrets encrypted.

    create --> (api_key, secret), shown once          row: api_key, account, permissions, secret under AES-256-GCM, revoked_us
    find   --> cache, else the file                   revoke --> every cache within half a second

    master key: 32 bytes as 64 hex digits, in ZEROSUM_MASTER_KEY or in a file that only its owner can read

Always true:
  - no secret is stored or logged in clear; moved to another key, account or permission, it no longer decrypts, and the key is refused
  - a key that was revoked is refused at most REFRESH_US after the commit that revoked it, in every process
  - no lock that another program takes on the file while it is open here holds up a request: readers of a write-ahead log wait for nobody
  - where the file can't be read, the keys that were used lately are good for UNREAD_US_MAX from the last time that it could: then none is
  - a file that was put in the place of the one that was opened is the one that counts
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import string
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from zerosum.errors import ConfigError, ZerosumError
from zerosum.gateway.auth import PERMISSIONS, ApiKey
from zerosum.gateway.entry import Busy
from zerosum.net.sparing_log import SparingLog

MASTER_KEY_VARIABLE: Final = "ZEROSUM_MASTER_KEY"
REFRESH_US: Final = 500_000
UNREAD_US_MAX: Final = 5_000_000
LOCK_S: Final = 5.0  # what a command waits for another's lock
KEY_CHARS: Final = 64
SHOWN_CHARS: Final = 8  # of a key, in the log: enough to find it in the list, and no use to anybody else
NONCE_BYTES: Final = 12
CHECK_TEXT: Final = b"zerosum API keys, 1"

_log: Final = SparingLog("gateway.keys")
_ALPHABET: Final = string.ascii_letters + string.digits
_is_master_key: Final = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_is_api_key: Final = re.compile(rf"[A-Za-z0-9]{{{KEY_CHARS}}}").fullmatch

SCHEMA: Final = """
create table if not exists master (check_nonce blob not null, check_text blob not null);
create table if not exists keys (
    api_key text primary key,
    account_id integer not null,
    permissions text not null,   -- names, sorted, joined by ","
    nonce blob not null,
    secret blob not null,        -- AES-256-GCM; what it is bound to: see `bound_to`
    created_us integer not null,
    revoked_us integer not null default 0,
    changed integer not null     -- the number of the change that wrote this row last
) without rowid;
create index if not exists keys_by_change on keys (changed);
create index if not exists keys_by_account on keys (account_id);
"""


class MasterKeyError(ConfigError):
    """The master key is missing, malformed, readable by others, or not the one that the keys were encrypted with."""


class KeysError(ZerosumError):
    """A command about keys makes no sense, or their file can't be opened."""


class KeyInfo(NamedTuple):
    """What may be shown of a key. revoked_us is 0 while it is good."""

    api_key: str
    account_id: int
    permissions: tuple[str, ...]
    created_us: int
    revoked_us: int


def load_master_key(file: Path, environment: Mapping[str, str] = os.environ) -> bytes:
    """From the environment if it is set there, else from `file`. MasterKeyError."""
    text = environment.get(MASTER_KEY_VARIABLE)
    where = MASTER_KEY_VARIABLE
    if text is None:
        where = str(file)
        try:
            mode = file.stat().st_mode & 0o777
            text = file.read_text()
        except FileNotFoundError as error:
            raise MasterKeyError(
                f"there is no master key: neither {MASTER_KEY_VARIABLE} is set nor does {file} exist. "
                "Set one to 64 hex digits and keep a copy apart from the data: without it no API key can be used."
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise MasterKeyError(f"{file}: can't be read as a master key: {error}. It has 64 hex digits.") from error
        if mode & 0o077:
            raise MasterKeyError(f"{file}: others than its owner may read or write it (mode {mode:04o}). Run: chmod 600 {file}")
    text = text.strip()
    if _is_master_key(text) is None:
        raise MasterKeyError(f"{where}: a master key is 64 hex digits (32 bytes), and this has {len(text)} characters.")
    return bytes.fromhex(text)


def create_master_key(file: Path) -> None:
    """Write a new one, for its owner alone. FileExistsError where there is one."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(secrets.token_hex(32) + "\n")
        out.flush()
        os.fsync(out.fileno())


def looks_like_a_key(text: str | None) -> bool:
    return text is not None and _is_api_key(text) is not None


@final
class Keys:
    """One process's view of the file, which is made if need be. Not to be shared between threads. KeysError, MasterKeyError."""

    def __init__(self, path: Path, master_key: bytes) -> None:
        self._cipher = AESGCM(master_key)
        self._path = path
        self._cache: dict[str, ApiKey] = {}
        self._refresh_at_us = 0
        self._read_at_us = 0  # the last time that the file could be read
        self._is_unreadable = False
        self._data_version = -1
        self._db = opened(path)
        try:
            self._check_master_key()
            self._file = file_at(path)
            self._reads = self._connected()
            with self._told():
                self._changed = last_change(self._reads)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._reads.close()
        self._db.close()

    def _connected(self) -> sqlite3.Connection:
        """A connection for requests to read by: it waits for nothing, and makes no file."""
        return sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0.0)

    def unreadable(self) -> str | None:
        """Why the file can't be read now, if it can't: what is said to whoever asks whether the gateway is ready."""
        try:
            # Through a connection of its own: those that are open have pages of the file in memory, and would not notice.
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.0)) as db:
                db.execute("select api_key, changed from keys limit 1").fetchone()
        except sqlite3.Error as error:
            return f"API keys can't be read from {self._path}: {error}"
        return None

    # ------------------------------------------------------------------ commands

    def create(self, account_id: int, permissions: Iterable[str]) -> tuple[str, str]:
        """A new key: (api_key, secret). The secret can't be had again. KeysError."""
        names = tuple(sorted(set(permissions)))
        if not names or not set(names) <= set(PERMISSIONS):
            raise KeysError(f"permissions {', '.join(names) or 'none'}: a key has one or more of {', '.join(PERMISSIONS)}.")
        api_key, secret = random_text(), random_text()
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), bound_to(api_key, account_id, ",".join(names)))
        with self._writing():
            self._db.execute(
                "insert into keys (api_key, account_id, permissions, nonce, secret, created_us, changed) values (?, ?, ?, ?, ?, ?, ?)",
                (api_key, account_id, ",".join(names), nonce, sealed, clock_us(), last_change(self._db) + 1),
            )
        return api_key, secret

    def revoke(self, api_key: str) -> None:
        """For good. Revoking again changes nothing. KeysError where there is no such key."""
        with self._writing():
            row = None
            if looks_like_a_key(api_key):
                row = self._db.execute("select revoked_us from keys where api_key = ?", (api_key,)).fetchone()
            if row is None:
                raise KeysError(f"there is no API key {api_key!r} in {self._path}.")
            if row[0] == 0:
                change = (clock_us(), last_change(self._db) + 1, api_key)
                self._db.execute("update keys set revoked_us = ?, changed = ? where api_key = ?", change)
        self._cache.pop(api_key, None)

    def list(self, account_id: int | None = None) -> list[KeyInfo]:
        """All keys, or an account's; oldest first."""
        statement = (
            "select api_key, account_id, permissions, created_us, revoked_us from keys"
            " where :account is null or account_id = :account order by created_us, api_key"
        )
        with self._told():
            rows = self._db.execute(statement, {"account": account_id}).fetchall()
        return [KeyInfo(api_key, account, tuple(names.split(",")), created, revoked) for api_key, account, names, created, revoked in rows]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A change, whole or not at all."""
        with self._told(), self._db:
            self._db.execute("begin immediate")
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the file does not let a command do is a KeysError."""
        try:
            yield
        except sqlite3.Error as error:
            raise KeysError(
                f"{self._path}: {error}. Nothing was changed; the file must be whole, writable, and locked by nobody else."
            ) from error

    # ------------------------------------------------------------------ requests

    def find(self, api_key: str, now_us: int) -> ApiKey | None:
        """The key if it is good. `now_us` is any clock that goes on. Raises Busy where the file can't be read now."""
        if now_us >= self._refresh_at_us or now_us < self._refresh_at_us - REFRESH_US:
            self._refresh(now_us)
        if self._is_unreadable and now_us - self._read_at_us > UNREAD_US_MAX:
            raise Busy("API keys can't be read")
        found = self._cache.get(api_key)
        if found is not None:
            return found
        try:
            return self._read(api_key)
        except sqlite3.DatabaseError as error:
            self._connect_again()
            raise Busy(f"API keys can't be read: {error}") from error

    def _refresh(self, now_us: int) -> None:
        """Let go of the keys that others have changed since."""
        try:
            self._follow_file()
            self._forget_changed()
        except (OSError, sqlite3.DatabaseError) as error:
            self._is_unreadable = True
            _log.warning("keys.unreadable", file=str(self._path), error=str(error))
            self._connect_again()
        else:
            self._is_unreadable = False
            self._read_at_us = now_us
        self._refresh_at_us = now_us + REFRESH_US

    def _follow_file(self) -> None:
        """Where another file stands in its place, as after a restored copy, what was read of the old one is forgotten."""
        file = file_at(self._path)
        if file != self._file:
            self._connect_again()
            self._cache.clear()
            self._changed = last_change(self._reads)
            self._file = file

    def _connect_again(self) -> None:
        """What a connection has in memory of a file that was damaged stays as wrong as the file was."""
        self._reads.close()
        self._data_version = -1
        with suppress(sqlite3.Error):  # then the closed one stays: whatever is asked of it fails
            self._reads = self._connected()

    def _forget_changed(self) -> None:
        version = self._reads.execute("pragma data_version").fetchone()[0]  # differs when another connection has committed
        if version == self._data_version:
            return
        changes = self._reads.execute("select api_key, changed from keys where changed > ? order by changed", (self._changed,))
        for api_key, changed in changes.fetchall():
            self._cache.pop(api_key, None)
            self._changed = changed
        self._data_version = version

    def _read(self, api_key: str) -> ApiKey | None:
        row = self._reads.execute(
            "select account_id, permissions, nonce, secret from keys where api_key = ? and revoked_us = 0", (api_key,)
        ).fetchone()
        if row is None:
            return None
        account_id, names, nonce, sealed = row
        try:
            secret = self._cipher.decrypt(nonce, sealed, bound_to(api_key, account_id, names))
        except InvalidTag:
            advice = "refused: revoke it, and find out who can write this file"
            _log.error("keys.tampered", file=str(self._path), begins_with=api_key[:SHOWN_CHARS], advice=advice)
            return None
        found = self._cache[api_key] = ApiKey(api_key, account_id, frozenset(names.split(",")), secret)
        return found

    # ------------------------------------------------------------------ the file

    def _check_master_key(self) -> None:
        select = "select check_nonce, check_text from master"
        with self._told():
            row = self._db.execute(select).fetchone()
        if row is None:  # a new file, unless another process has been here since
            with self._writing():
                row = self._db.execute(select).fetchone()
                if row is None:
                    nonce = secrets.token_bytes(NONCE_BYTES)
                    row = nonce, self._cipher.encrypt(nonce, CHECK_TEXT, None)
                    self._db.execute("insert into master values (?, ?)", row)
        try:
            self._cipher.decrypt(row[0], row[1], None)
        except InvalidTag as error:
            raise MasterKeyError(f"{self._path} was written with another master key. Give the one that it was made with.") from error


def opened(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)
        db = sqlite3.connect(path, isolation_level=None, timeout=LOCK_S)
        try:
            (mode,) = db.execute("pragma journal_mode = wal").fetchone()
            if mode != "wal":
                raise sqlite3.OperationalError(f"its file system has no write-ahead logs (journal_mode {mode})")
            db.execute("pragma synchronous = full")
            db.executescript(SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise KeysError(
            f"{path}: can't be opened as a file of API keys: {error}. Is the data directory the right one, and writable?"
        ) from error
    return db


def last_change(db: sqlite3.Connection) -> int:
    return int(db.execute("select coalesce(max(changed), 0) from keys").fetchone()[0])


def file_at(path: Path) -> tuple[int, int]:
    """Which file it is, whatever it is called. OSError."""
    found = path.stat()
    return found.st_dev, found.st_ino


def bound_to(api_key: str, account_id: int, names: str) -> bytes:
    return f"{api_key} {account_id} {names}".encode()


def clock_us() -> int:
    return time.time_ns() // 1000


def random_text() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_CHARS))
