"""
People: users, who own accounts, and operators, who run the exchange. Both log in with a password and a second factor.

    create --> record --log_in(name, password, code)--> who it is              users: one account each
                            |                                                   operators: roles; none without a second factor
                            +--> refused: the same answer, after the same work, whatever was wrong

Always true: who does not know the password learns neither whether there is such a person nor whether a code would be asked for; guessing is
slowed down by name and by address; a code is good once.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple, final

import msgspec

from zerosum.errors import ZerosumError
from zerosum.identity import totp
from zerosum.identity.attempts import Attempts
from zerosum.identity.documents import Changed
from zerosum.identity.passwords import CHARS_MAX, Passwords, check_strength
from zerosum.identity.vault import Held, Kind, Vault

VIEWER: Final = "viewer"
SUPPORT: Final = "support"
MARKET: Final = "market"
TREASURY: Final = "treasury"
ADMIN: Final = "admin"
ROLES: Final = (VIEWER, SUPPORT, MARKET, TREASURY, ADMIN)

RECOVERY_CODES: Final = 8
RECOVERY_BYTES: Final = 14  # of a code: so that a hash of it can stand without salt (ASVS 5.0, 6.5.2)
TEMPORARY_BYTES: Final = 18
"""Of a password that somebody is given, and changes."""

_is_name: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{2,63}").fullmatch


class PeopleError(ZerosumError):
    """What was asked of people makes no sense."""


class LoginRefused(ZerosumError):
    """Name, password or code: which of them was wrong is not said."""


class CodeNeeded(ZerosumError):
    """The password is right, and a second factor is asked for."""


class PersonRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    `account_id`: a user's; 0 for an operator. `totp_secret`: empty without a second factor; `totp_pending`: one that is being set up.
    `recovery`: hashes of codes that stand in for the second factor, once each. `secured_us`: when password or factor were last changed.
    """

    name: str
    account_id: int = 0
    roles: tuple[str, ...] = ()
    password: str
    totp_secret: bytes = b""
    totp_pending: bytes = b""
    totp_step: int = 0
    recovery: tuple[str, ...] = ()
    active: bool = True
    must_change: bool = False
    created_us: int = 0
    secured_us: int = 0


USERS: Final = Kind("user", PersonRecord)
OPERATORS: Final = Kind("console.operator", PersonRecord)


class Person(NamedTuple):
    """What may be shown of one."""

    name: str
    account_id: int
    roles: tuple[str, ...]
    active: bool
    has_second_factor: bool
    must_change: bool
    created_us: int
    secured_us: int


@final
class People:
    """Of one kind. `attempts`: how often was guessed."""

    def __init__(
        self, vault: Vault, kind: Kind[PersonRecord], passwords: Passwords, attempts: Attempts, clock_s: Callable[[], float] = time.time
    ) -> None:  # fmt: skip
        self.kind = kind
        self._vault = vault
        self._passwords = passwords
        self._attempts = attempts
        self._clock_s = clock_s

    # ------------------------------------------------------------------ who there is

    def create(
        self, name: str, password: str, *, account_id: int = 0, roles: tuple[str, ...] = (), must_change: bool = False
    ) -> Person:  # fmt: skip
        """PeopleError, WeakPassword. An account has one user at most."""
        if account_id and any(person.account_id == account_id for person in self.everybody()):
            raise PeopleError(f"account: {account_id} has a user already.")
        if _is_name(name) is None:
            raise PeopleError(f"name {name!r}: 3 to 64 small letters, digits and ._@+-, a letter or a digit first.")
        check_roles(roles)
        check_strength(password, name)
        now_us = self._now_us()
        record = PersonRecord(
            name=name, account_id=account_id, roles=tuple(sorted(set(roles))), password=self._passwords.hashed(password),
            must_change=must_change, created_us=now_us, secured_us=now_us,
        )  # fmt: skip
        try:
            self._vault.put(self.kind, name, "", record)
        except Changed as error:
            raise PeopleError(f"there is a {self.kind.noun} {name} already.") from error
        return shown(record)

    def get(self, name: str) -> Person | None:
        held = self._held(name)
        return shown(held.record) if held is not None else None

    def everybody(self) -> list[Person]:
        return sorted(shown(held.record) for held in self._vault.every(self.kind))

    def set_active(self, name: str, active: bool) -> Person:
        """PeopleError."""
        return self._change(name, lambda record: msgspec.structs.replace(record, active=active))

    def set_roles(self, name: str, roles: tuple[str, ...]) -> Person:
        """PeopleError."""
        check_roles(roles)
        return self._change(name, lambda record: msgspec.structs.replace(record, roles=tuple(sorted(set(roles)))))

    # ------------------------------------------------------------------ logging in

    def log_in(self, name: str, password: str, code: str, client: str) -> Person:
        """LoginRefused, CodeNeeded, TooManyAttempts, TooManyAtATime."""
        self._attempts.begin(name, client)
        held = self._held(name)
        matches = self._passwords.matches(held.record.password if held is not None else self._passwords.nobody, password)
        if held is None or not matches or not held.record.active:
            raise LoginRefused("name, password or code is not right.")
        record = held.record
        if record.totp_secret:
            if not code:
                raise CodeNeeded("a code of the second factor is asked for.")
            if not self._takes_code(held, code):
                raise LoginRefused("name, password or code is not right.")
        self._attempts.succeeded(name, client)
        if self._passwords.is_outdated(record.password):
            hashed = self._passwords.hashed(password)
            self._change(name, lambda record: msgspec.structs.replace(record, password=hashed))
        return shown(record)

    def _takes_code(self, held: Held[PersonRecord], code: str) -> bool:
        """Whether it is good, and from here on not again: of two who send the same at a time one is refused."""
        record = held.record
        step = totp.step_of(record.totp_secret, code, int(self._clock_s()), record.totp_step)
        if step is not None:
            after = msgspec.structs.replace(record, totp_step=step)
        elif (hashed := recovery_hash(code)) in record.recovery:
            after = msgspec.structs.replace(record, recovery=tuple(each for each in record.recovery if each != hashed))
        else:
            return False
        try:
            self._vault.put(self.kind, held.owner, "", after, held.version)
        except Changed:
            return False
        return True

    def check_again(self, name: str, password: str, code: str, client: str) -> None:
        """Before something that a stolen session must not be enough for. As log_in."""
        self.log_in(name, password, code, client)

    # ------------------------------------------------------------------ passwords and second factors

    def change_password(self, name: str, password: str) -> Person:
        """Of who has shown to be that person. WeakPassword, PeopleError."""
        check_strength(password, name)
        hashed, now_us = self._passwords.hashed(password), self._now_us()
        return self._change(name, lambda record: msgspec.structs.replace(record, password=hashed, must_change=False, secured_us=now_us))

    def reset(self, name: str, password: str) -> Person:
        """Of who has lost password or second factor: a password to be changed first of all, and no factor. WeakPassword, PeopleError."""
        check_strength(password, name)
        hashed, now_us = self._passwords.hashed(password), self._now_us()

        def anew(record: PersonRecord) -> PersonRecord:
            return msgspec.structs.replace(
                record, password=hashed, must_change=True, totp_secret=b"", totp_pending=b"", recovery=(), secured_us=now_us
            )

        return self._change(name, anew)

    def begin_second_factor(self, name: str) -> str:
        """Its URI, for an authenticator application; good once a code of it was shown. PeopleError."""
        secret = totp.new_secret()
        self._change(name, lambda record: msgspec.structs.replace(record, totp_pending=secret))
        return totp.uri_of(secret, name)

    def confirm_second_factor(self, name: str, code: str) -> list[str]:
        """From here on codes are asked for; codes to keep, for when the application is lost. PeopleError."""
        held = self._held(name)
        if held is None or not held.record.totp_pending:
            raise PeopleError("code: no second factor is being set up: begin with that.")
        step = totp.step_of(held.record.totp_pending, code, int(self._clock_s()), 0)
        if step is None:
            raise PeopleError("code: it is not the one that the application shows now. Is its clock right?")
        codes = [secrets.token_hex(RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
        hashes, now_us = tuple(recovery_hash(each) for each in codes), self._now_us()

        def confirmed(record: PersonRecord) -> PersonRecord:
            return msgspec.structs.replace(
                record, totp_secret=record.totp_pending, totp_pending=b"", totp_step=step, recovery=hashes, secured_us=now_us
            )

        self._change(name, confirmed)
        return codes

    def remove_second_factor(self, name: str) -> Person:
        """PeopleError."""
        now_us = self._now_us()
        return self._change(
            name, lambda record: msgspec.structs.replace(record, totp_secret=b"", totp_pending=b"", recovery=(), secured_us=now_us)
        )

    # ------------------------------------------------------------------ how it is done

    def _held(self, name: str) -> Held[PersonRecord] | None:
        return self._vault.get(self.kind, name) if _is_name(name) is not None else None

    def _change(self, name: str, changed: Callable[[PersonRecord], PersonRecord]) -> Person:
        held = self._vault.change(self.kind, name, "", changed) if _is_name(name) is not None else None
        if held is None:
            raise PeopleError(f"there is no {self.kind.noun} {name!r}.")
        return shown(held.record)

    def _now_us(self) -> int:
        return int(self._clock_s() * 1_000_000)


def check_roles(roles: tuple[str, ...]) -> None:
    strange = set(roles) - set(ROLES)
    if strange:
        raise PeopleError(f"roles {', '.join(sorted(strange))}: there are {', '.join(ROLES)}.")


def shown(record: PersonRecord) -> Person:
    return Person(
        record.name, record.account_id, record.roles, record.active, bool(record.totp_secret), record.must_change, record.created_us,
        record.secured_us,
    )  # fmt: skip


def recovery_hash(code: str) -> str:
    """Codes are random, and long enough that a quick hash does."""
    return sha256(b"zerosum recovery, 1" + code[:CHARS_MAX].strip().lower().encode()).hexdigest()
