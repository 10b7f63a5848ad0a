"""
How often somebody tries to log in: by name, in the store, so that all gateways count together; by address and by both, in this process.

    begin --> counted, before anything is looked at          succeeded --> not counted any more
      |
      +--> past a bound: TooManyAttempts until the window ends

A name is counted whether or not there is such a person, so that nothing is learnt from when the counting ends. Whoever has a name tried
from elsewhere keeps its owner out only past NAME_MAX, which needs several addresses (ASVS 2.2.1: at most 100 failures of an account in an
hour).

Always true: what is kept is bounded: an address has ADDRESS_MAX tries in a window, and a name's count is gone after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, final

import msgspec

from zerosum.errors import ZerosumError
from zerosum.identity.documents import Changed
from zerosum.identity.vault import Kind, Vault
from zerosum.net.address import accountable

WINDOW_S: Final = 900
PAIR_MAX: Final = 10  # of a name from an address
NAME_MAX: Final = 25
ADDRESS_MAX: Final = 50


class TooManyAttempts(ZerosumError):
    """`retry_s`: when it may be tried again."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"too many attempts to log in: try again in {retry_s} seconds.")
        self.retry_s = retry_s


class AttemptsRecord(msgspec.Struct, frozen=True):
    window: int
    count: int


USER_ATTEMPTS: Final = Kind("attempts", AttemptsRecord)
OPERATOR_ATTEMPTS: Final = Kind("console.attempts", AttemptsRecord)


@final
class Attempts:
    """Of one kind of people. Shared by all threads of a process."""

    def __init__(self, vault: Vault, kind: Kind[AttemptsRecord], clock_s: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._kind = kind
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._window = 0
        self._by_address: dict[str, int] = {}
        self._by_pair: dict[tuple[str, str], int] = {}

    def begin(self, name: str, client: str) -> None:
        """TooManyAttempts."""
        window = int(self._clock_s()) // WINDOW_S
        owner, address = owner_of(name), accountable(client)
        with self._lock:
            if window != self._window:
                self._window = window
                self._by_address.clear()
                self._by_pair.clear()
            by_address = self._by_address[address] = self._by_address.get(address, 0) + 1
            by_pair = self._by_pair[owner, address] = self._by_pair.get((owner, address), 0) + 1
            if by_address > ADDRESS_MAX:
                del self._by_pair[owner, address]  # or an address could fill it with names
                self._by_address[address] = ADDRESS_MAX + 1
        if by_address > ADDRESS_MAX or by_pair > PAIR_MAX or self._count(owner, window) > NAME_MAX:
            raise TooManyAttempts(WINDOW_S - int(self._clock_s()) % WINDOW_S)

    def succeeded(self, name: str, client: str) -> None:
        """It was who it belongs to."""
        owner, address = owner_of(name), accountable(client)
        with self._lock:
            self._by_pair.pop((owner, address), None)
            self._by_address[address] = max(0, self._by_address.get(address, 0) - 1)
        self._vault.remove(self._kind, owner, "")

    def _count(self, owner: str, window: int) -> int:
        """A name's tries in this window, with this."""
        while True:
            held = self._vault.get(self._kind, owner)
            count = held.record.count + 1 if held is not None and held.record.window == window else 1
            if count > NAME_MAX:
                return count
            try:
                version = held.version if held is not None else 0
                self._vault.put(self._kind, owner, "", AttemptsRecord(window, count), version, lives_s=2 * WINDOW_S)
            except Changed:
                continue  # others try the same name: each of them counts
            return count


def owner_of(name: str) -> str:
    """What strangers send as a name may be anything, and long."""
    return sha256(name.encode(errors="backslashreplace")).hexdigest()
