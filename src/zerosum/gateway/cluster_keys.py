"""
API keys of a cluster, in its database: sealed as in keys.py, read by every gateway.

    create, revoke --> api_keys, and then key_changes: when, and which          find --> memory: all keys that are good
    twice a second: what has changed is read again --> a revoked key is refused within a second, on every gateway

Always true: where the database can't be read, the keys are good for UNREAD_S from the last time that it could: then none is.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable
from typing import Any, Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from zerosum.gateway.auth import PERMISSIONS, ApiKey
from zerosum.gateway.entry import Busy
from zerosum.gateway.keys import CHECK_TEXT, NONCE_BYTES, SHOWN_CHARS, KeyInfo, KeysError, MasterKeyError, bound_to, clock_us, random_text
from zerosum.net.sparing_log import SparingLog
from zerosum.settlement.cql.session import Session
from zerosum.settlement.row_store import StoreFailed

REFRESH_S: Final = 0.5
UNREAD_S: Final = 5.0
OVERLAP_US: Final = 600_000_000  # how far apart the clocks of who changes a key and who reads of it may be
HOUR_US: Final = 3_600_000_000

ALL: Final = "SELECT api_key, account, permissions, nonce, secret, created_us, revoked_us FROM api_keys"
ONE: Final = f"{ALL} WHERE api_key = ?"
INSERT: Final = "INSERT INTO api_keys (api_key, account, permissions, nonce, secret, created_us) VALUES (?, ?, ?, ?, ?, ?)"
REVOKE: Final = "INSERT INTO api_keys (api_key, revoked_us) VALUES (?, ?)"
CHANGE: Final = "INSERT INTO key_changes (hour, changed_us, api_key) VALUES (?, ?, ?)"
CHANGES: Final = "SELECT changed_us, api_key FROM key_changes WHERE hour = ? AND changed_us >= ?"
MASTER: Final = "SELECT check_nonce, check_text FROM master WHERE id = 1"
SET_MASTER: Final = "INSERT INTO master (id, check_nonce, check_text) VALUES (1, ?, ?)"

_log: Final = SparingLog("gateway.keys")


@final
class ClusterKeys:
    """A KeySource, once `load` is done and `run` runs; also what commands make and revoke keys by."""

    def __init__(self, session: Session, master_key: bytes) -> None:
        self._session = session
        self._cipher = AESGCM(master_key)
        self._keys: dict[str, ApiKey] = {}
        self._seen: set[tuple[int, str]] = set()
        self._read_at = 0.0
        self._loop = asyncio.get_running_loop()

    # ------------------------------------------------------------------ commands

    async def check_master_key(self) -> None:
        """That it is the one that the keys are sealed with; the first one becomes that. MasterKeyError, StoreFailed."""
        rows = await self._session.execute(MASTER)
        if not rows:
            nonce = secrets.token_bytes(NONCE_BYTES)
            rows = [(nonce, self._cipher.encrypt(nonce, CHECK_TEXT, None))]
            await self._session.execute(SET_MASTER, rows[0])
        try:
            self._cipher.decrypt(rows[0][0], rows[0][1], None)
        except InvalidTag as error:
            raise MasterKeyError(
                f"the API keys in the keyspace {self._session.settings.keyspace} were sealed with another master key. Give the one that"
                " they were made with."
            ) from error

    async def create(self, account_id: int, permissions: Iterable[str]) -> tuple[str, str]:
        """A new key: (api_key, secret). The secret can't be had again. KeysError, StoreFailed."""
        names = tuple(sorted(set(permissions)))
        if not names or not set(names) <= set(PERMISSIONS):
            raise KeysError(f"permissions {', '.join(names) or 'none'}: a key has one or more of {', '.join(PERMISSIONS)}.")
        api_key, secret, nonce = random_text(), random_text(), secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), bound_to(api_key, account_id, ",".join(names)))
        await self._session.execute(INSERT, (api_key, account_id, ",".join(names), nonce, sealed, clock_us()))
        await self._tell(api_key)
        return api_key, secret

    async def revoke(self, api_key: str) -> None:
        """For good. KeysError where there is no such key; StoreFailed."""
        rows = await self._session.execute(ONE, (api_key,))
        if not rows:
            raise KeysError(f"there is no API key {api_key!r} in the keyspace {self._session.settings.keyspace}.")
        await self._session.execute(REVOKE, (api_key, clock_us()))
        await self._tell(api_key)

    async def list(self, account_id: int | None = None) -> list[KeyInfo]:
        """All keys, or an account's; oldest first. StoreFailed."""
        rows = await self._session.execute(ALL)
        found = [KeyInfo(row[0], row[1], tuple(row[2].split(",")), row[5], row[6] or 0) for row in rows if account_id in (None, row[1])]
        return sorted(found, key=lambda key: (key.created_us, key.api_key))

    async def _tell(self, api_key: str) -> None:
        now = clock_us()
        await self._session.execute(CHANGE, (now // HOUR_US, now, api_key))

    # ------------------------------------------------------------------ requests

    async def load(self) -> None:
        """StoreFailed, MasterKeyError."""
        await self.check_master_key()
        await self._read_changes()
        for row in await self._session.execute(ALL):
            self._take(row)
        self._read_at = self._loop.time()

    async def run(self) -> None:
        """Follow what changes."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                for api_key in await self._read_changes():
                    for row in await self._session.execute(ONE, (api_key,)):
                        self._take(row)
                self._read_at = self._loop.time()
            except StoreFailed as error:
                _log.warning("keys.unreadable", error=str(error))
                self._seen.clear()  # what was seen and not read is read the next time

    def find(self, api_key: str, now_us: int) -> ApiKey | None:
        """The key if it is good. Raises Busy where what has changed can't be known."""
        if self.unreadable() is not None:
            raise Busy("API keys can't be read")
        return self._keys.get(api_key)

    def unreadable(self) -> str | None:
        silent_s = self._loop.time() - self._read_at
        return f"API keys could not be read for {silent_s:.0f} s" if silent_s > UNREAD_S else None

    async def _read_changes(self) -> set[str]:
        """The keys that have changed since the last time."""
        since = time.time_ns() // 1000 - OVERLAP_US
        found: set[tuple[int, str]] = set()
        for hour in range(since // HOUR_US, (since + 2 * OVERLAP_US) // HOUR_US + 1):
            found |= {(changed_us, api_key) for changed_us, api_key in await self._session.execute(CHANGES, (hour, since))}
        new = found - self._seen
        self._seen = found
        return {api_key for _, api_key in new}

    def _take(self, row: tuple[Any, ...]) -> None:
        api_key, account_id, names, nonce, sealed, _, revoked_us = row
        self._keys.pop(api_key, None)
        if revoked_us:
            return
        try:
            secret = self._cipher.decrypt(nonce, sealed, bound_to(api_key, account_id, names))
        except InvalidTag:
            advice = "refused: revoke it, and find out who can write to the database"
            _log.error("keys.tampered", begins_with=api_key[:SHOWN_CHARS], advice=advice)
            return
        self._keys[api_key] = ApiKey(api_key, account_id, frozenset(names.split(",")), secret)
