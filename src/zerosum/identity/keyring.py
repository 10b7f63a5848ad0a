"""
The API keys that are good, in memory, as a gateway asks for them with each request.

    refresh, four times a second: what has changed since is read again --> a revoked key is refused within a second, on every gateway

Always true: where the keys can't be read, those that are known are good for UNREAD_S from the last time that they could: then none is. So a
revocation that could not be seen does not stay unseen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final, final

from zerosum.errors import ZerosumError
from zerosum.identity.keys import KEYS, KeyRecord
from zerosum.identity.signatures import Verifier, verifier_of
from zerosum.identity.vault import Held, Kind, Vault

REFRESH_S: Final = 0.25
UNREAD_S: Final = 5.0
RELOAD_S: Final = 60.0  # without a look at what has changed: then all is read, for stores do not tell of changes for ever


class Unreadable(ZerosumError):
    """What has changed can't be known, so no key is good now."""


@final
class ApiKey:
    """One key, able to verify what its holder signed."""

    __slots__ = ("_networks", "_verifier", "account_id", "api_key", "permissions", "record", "signs_by")

    def __init__(self, api_key: str, record: KeyRecord) -> None:
        self.api_key = api_key
        self.record = record
        self.account_id = record.account_id
        self.permissions = frozenset(record.permissions)
        self.signs_by = record.signs_by
        self._networks = tuple(ip_network(text) for text in record.addresses)
        self._verifier: Verifier = verifier_of(record.signs_by, record.secret)

    def verifies(self, payload: bytes, signature: str) -> bool:
        return self._verifier.verifies(payload, signature)

    def is_good_from(self, client: str) -> bool:
        """Whether it may be used from an address."""
        if not self._networks:
            return True
        try:
            address = ip_address(client)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


@final
class KeyRing:
    """
    Of one kind. `refresh` is called by one thread at a time, `find` by any; before the first none is good. `clock_s` goes on whatever is
    done to the wall's.
    """

    def __init__(self, vault: Vault, kind: Kind[KeyRecord] = KEYS, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._vault = vault
        self._kind = kind
        self._clock_s = clock_s
        self._mark = 0
        self._read_at_s = -math.inf
        self._keys: dict[str, KeyRecord] = {}
        self._opened: dict[str, ApiKey] = {}  # those that were asked for

    def _load(self) -> None:
        self._mark = self._vault.changes(self._kind, 0).mark
        self._keys = {held.owner: held.record for held in self._vault.every(self._kind) if not held.record.revoked_us}
        self._opened = {}
        self._read_at_s = self._clock_s()

    def find(self, api_key: str, now_us: int) -> ApiKey | None:
        """The key if it is good. Unreadable."""
        if self._clock_s() - self._read_at_s > UNREAD_S:
            raise Unreadable(f"API keys could not be read for {UNREAD_S:g} s.")
        record = self._keys.get(api_key)
        if record is None or 0 < record.expires_us <= now_us:
            return None
        opened = self._opened.get(api_key)
        # What is opened counts only with the record that it was opened from, which another thread may have taken away meanwhile.
        if opened is None or opened.record is not record:
            opened = self._opened[api_key] = ApiKey(api_key, record)
        return opened

    def unreadable(self) -> str | None:
        """Why they can't be read now, if they can't: what is said to whoever asks whether the gateway is ready."""
        silent_s = self._clock_s() - self._read_at_s
        if silent_s > UNREAD_S:
            return "API keys could not be read yet" if silent_s == math.inf else f"API keys could not be read for {silent_s:.0f} s"
        return self._vault.fault()

    def refresh(self) -> None:
        """Read again what has changed. DocumentsFailed: the next time goes on from the same place."""
        if self._clock_s() - self._read_at_s > RELOAD_S:
            return self._load()
        changes = self._vault.changes(self._kind, self._mark)
        for api_key in {place.owner for place in changes.places}:
            held = self._vault.get(self._kind, api_key)
            if held is not None:
                self._take(held)
            else:
                self._let_go(api_key)
        self._mark = changes.mark
        self._read_at_s = self._clock_s()

    def _take(self, held: Held[KeyRecord]) -> None:
        if held.record.revoked_us:
            self._let_go(held.owner)
        else:
            self._keys[held.owner] = held.record

    def _let_go(self, api_key: str) -> None:
        self._keys.pop(api_key, None)
        self._opened.pop(api_key, None)
