"""
Passwords: Argon2id, a bounded number at a time, and which are too weak to be taken.

    hashed(password) --> text for the record            matches(record's text, password) --> whether it is the one

One takes 64 MiB and some 0.1 s of a core by design (RFC 9106, section 4, the second recommendation), so that guessing is slow; AT_A_TIME
of them go on at once, WAITING_MAX more wait for their turn, and past that one is refused: strangers must not take the memory.

Always true: for a person who does not exist, a hash is reckoned as well (NOBODY), so that time tells nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, Final, final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from zerosum.errors import ZerosumError

CHARS_MIN: Final = 12
CHARS_MAX: Final = 128
SCORE_MIN: Final = 3  # of zxcvbn's 0 to 4: more than 10^8 guesses
AT_A_TIME: Final = 2
WAITING_MAX: Final = 32
WAIT_S: Final = 5.0


class WeakPassword(ZerosumError):
    """It would be guessed; the text says what would be better."""


class TooManyAtATime(ZerosumError):
    """So many passwords are being checked that this one would wait for too long."""


@final
class Passwords:
    """Shared by all threads of a process."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher if hasher is not None else PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)
        self._turns = threading.BoundedSemaphore(AT_A_TIME)
        self._places = threading.BoundedSemaphore(AT_A_TIME + WAITING_MAX)

    @cached_property
    def nobody(self) -> str:
        """Stands for the hash of a person who does not exist."""
        return self._hasher.hash("the password of nobody")

    def prepare(self) -> None:
        """For a process that strangers ask: or the first of them who names nobody would wait for longer."""
        assert self.nobody

    def hashed(self, password: str) -> str:
        """TooManyAtATime."""
        with self._turn():
            return self._hasher.hash(password)

    def matches(self, known: str, password: str) -> bool:
        """As it is, whole. TooManyAtATime."""
        with self._turn():
            try:
                self._hasher.verify(known, password[:CHARS_MAX])
            except (VerificationError, InvalidHashError):
                return False
        return len(password) <= CHARS_MAX

    def is_outdated(self, known: str) -> bool:
        """Whether it was hashed with other parameters than are in use now."""
        return self._hasher.check_needs_rehash(known)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooManyAtATime("too many passwords are being checked: try again in a few seconds.")
        try:
            if not self._turns.acquire(timeout=WAIT_S):
                raise TooManyAtATime("too many passwords are being checked: try again in a few seconds.")
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()


def check_strength(password: str, *known: str) -> None:
    """WeakPassword. `known`: what a guesser knows of the person, such as the name."""
    if not CHARS_MIN <= len(password) <= CHARS_MAX:
        raise WeakPassword(f"password: it has {len(password)} characters; {CHARS_MIN} to {CHARS_MAX} are asked for.")
    found = strength()(password[:72], user_inputs=["zerosum", *known])  # what is longer takes it too long
    if found["score"] < SCORE_MIN:
        raise WeakPassword(
            "password: it is one of those that are guessed early. Several words that have nothing to do with each other are better,"
            " or what a password manager makes."
        )


@cache
def strength() -> Callable[..., dict[str, Any]]:
    from zxcvbn import zxcvbn  # its lists take time to load, and most processes set no password

    reckon: Callable[..., dict[str, Any]] = zxcvbn
    return reckon
