"""
API keys: what acts for an account, made and revoked by commands and by whom they belong to.

    create --> Made(api_key, secret), the secret shown once          record: account, permissions, how it signs, addresses, expiry
    revoke --> every gateway within a second (keyring.py)

Always true: a key that may withdraw names the addresses that it is used from; what a key may do never changes: another one is made.
"""

from __future__ import annotations

import re
import secrets
import string
import time
from ipaddress import ip_network
from typing import Final, NamedTuple, final

import msgspec

from zerosum.errors import ZerosumError
from zerosum.identity.signatures import HMAC, BadPublicKey, public_key_of
from zerosum.identity.vault import Held, Kind, Vault

READ: Final = "READ"
TRADE: Final = "TRADE"
WITHDRAW: Final = "WITHDRAW"
PERMISSIONS: Final = (READ, TRADE, WITHDRAW)
DEPOSIT: Final = "DEPOSIT"
PAYOUT: Final = "PAYOUT"
SERVICE_PERMISSIONS: Final = (DEPOSIT, PAYOUT)
"""Of keys of the venue's own programs, which belong to no account: to report deposits, and to send what was approved."""

NOBODY: Final = 0

KEY_CHARS: Final = 64
LABEL_CHARS_MAX: Final = 64
ADDRESSES_MAX: Final = 32
KEYS_MAX: Final = 30  # good ones, of an account

_ALPHABET: Final = string.ascii_letters + string.digits
_is_api_key: Final = re.compile(rf"[A-Za-z0-9]{{{KEY_CHARS}}}").fullmatch


class KeysError(ZerosumError):
    """What was asked of the keys makes no sense."""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`secret`: HMAC's, or the client's public key. `addresses`: networks that it is used from, none for any. Times: 0 for never."""

    account_id: int
    permissions: tuple[str, ...]
    signs_by: str
    secret: str
    addresses: tuple[str, ...] = ()
    label: str = ""
    created_us: int = 0
    expires_us: int = 0
    revoked_us: int = 0


KEYS: Final = Kind("key", KeyRecord)
SERVICE_KEYS: Final = Kind("console.key", KeyRecord)
"""Owner: the API key itself. Those of the venue's own programs are the console's to make."""


class Made(NamedTuple):
    """`secret`: empty where the client has a private key of its own."""

    api_key: str
    secret: str


class KeyInfo(NamedTuple):
    """What may be shown of a key. Times are 0 for never."""

    api_key: str
    account_id: int
    permissions: tuple[str, ...]
    signs_by: str
    addresses: tuple[str, ...]
    label: str
    created_us: int
    expires_us: int
    revoked_us: int


class Wanted(NamedTuple):
    """A key to be made. `public_key`: in PEM, of a client that signs by Ed25519 or RSA; else a secret is made, for HMAC."""

    account_id: int
    permissions: tuple[str, ...] = (READ, TRADE)
    public_key: str | None = None
    addresses: tuple[str, ...] = ()
    label: str = ""
    expires_us: int = 0


@final
class Keys:
    """Of one kind. KeysError, and what the Vault raises."""

    def __init__(self, vault: Vault, kind: Kind[KeyRecord] = KEYS) -> None:
        self._vault = vault
        self._kind = kind

    def create(self, wanted: Wanted) -> Made:
        """A new key. The secret can't be had again."""
        assert (wanted.account_id == NOBODY) == (self._kind is SERVICE_KEYS), "a program of the venue's acts for no account"
        record, secret = new_record(wanted, clock_us())
        if self._good(wanted.account_id) >= KEYS_MAX:
            whose = f"account {wanted.account_id} has" if wanted.account_id != NOBODY else "the venue's programs have"
            raise KeysError(f"{whose} {KEYS_MAX} keys that are good: revoke one first.")
        api_key = random_text()
        if wanted.account_id != NOBODY:  # first: a key that is good is in its account's list
            self._vault.put(KEYS_OF_ACCOUNT, str(wanted.account_id), api_key, Named())
        self._vault.put(self._kind, api_key, "", record)
        return Made(api_key, secret)

    def revoke(self, api_key: str) -> KeyInfo:
        """For good. Revoking again changes nothing."""

        def revoked(record: KeyRecord) -> KeyRecord:
            return record if record.revoked_us else msgspec.structs.replace(record, revoked_us=clock_us(), secret="")

        held = self._vault.change(self._kind, api_key, "", revoked) if looks_like_a_key(api_key) else None
        if held is None:
            raise KeysError(f"there is no API key {api_key!r} in {self._vault.where}.")
        return info_of(held)

    def revoke_all(self, account: int) -> int:
        """Of an account; how many were good."""
        good = [key for key in self.list(account) if not key.revoked_us]
        for key in good:
            self.revoke(key.api_key)
        return len(good)

    def get(self, api_key: str) -> KeyInfo | None:
        held = self._vault.get(self._kind, api_key) if looks_like_a_key(api_key) else None
        return info_of(held) if held is not None else None

    def list(self, account_id: int | None = None) -> list[KeyInfo]:
        """All keys, or an account's; oldest first."""
        if account_id is None or account_id == NOBODY:
            found = [info_of(held) for held in self._vault.every(self._kind)]
        else:
            found = [key for each in self._vault.of_owner(KEYS_OF_ACCOUNT, str(account_id)) if (key := self.get(each.name)) is not None]
        return sorted(found, key=lambda key: (key.created_us, key.api_key))

    def _good(self, account_id: int) -> int:
        now_us = clock_us()
        return sum(not key.revoked_us and not 0 < key.expires_us <= now_us for key in self.list(account_id))


class Named(msgspec.Struct, frozen=True):
    """A record of which the name is all."""


KEYS_OF_ACCOUNT: Final = Kind("account-key", Named)
"""Owner: the account; name: the API key."""


def new_record(wanted: Wanted, now_us: int) -> tuple[KeyRecord, str]:
    """And the secret to be shown. KeysError."""
    known = PERMISSIONS if wanted.account_id != NOBODY else SERVICE_PERMISSIONS
    permissions = tuple(each for each in known if each in wanted.permissions)
    if not permissions or set(wanted.permissions) - set(known):
        raise KeysError(f"permissions {', '.join(wanted.permissions) or 'none'}: a key has one or more of {', '.join(known)}.")
    addresses = tuple(network(text) for text in wanted.addresses)
    if len(addresses) > ADDRESSES_MAX:
        raise KeysError(f"addresses: {len(addresses)} are too many: a key has at most {ADDRESSES_MAX}.")
    if not addresses and (WITHDRAW in permissions or wanted.account_id == NOBODY):
        raise KeysError("addresses: a key that may move money out or in is good from addresses that it names, and this one names none.")
    if len(wanted.label) > LABEL_CHARS_MAX or not wanted.label.isprintable():
        raise KeysError(f"label: at most {LABEL_CHARS_MAX} characters that can be printed.")
    if wanted.expires_us and wanted.expires_us <= now_us:
        raise KeysError("expiry: it lies in the past.")
    shown = ""
    if wanted.public_key is None:
        kind, shown = HMAC, random_text()
        secret = shown
    else:
        try:
            kind, secret = public_key_of(wanted.public_key)
        except BadPublicKey as error:
            raise KeysError(f"public key: {error}.") from error
    record = KeyRecord(
        account_id=wanted.account_id, permissions=permissions, signs_by=kind, secret=secret, addresses=addresses, label=wanted.label,
        created_us=now_us, expires_us=wanted.expires_us,
    )  # fmt: skip
    return record, shown


def network(text: str) -> str:
    """An address, or a network such as 10.1.0.0/16, in its one form. KeysError."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise KeysError(f"addresses: {text!r} is no address, and no network such as 10.1.0.0/16 or 2001:db8::/32: {error}.") from error


def info_of(held: Held[KeyRecord]) -> KeyInfo:
    record = held.record
    return KeyInfo(
        held.owner, record.account_id, record.permissions, record.signs_by, record.addresses, record.label, record.created_us,
        record.expires_us, record.revoked_us,
    )  # fmt: skip


def looks_like_a_key(text: str | None) -> bool:
    return text is not None and _is_api_key(text) is not None


def random_text() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_CHARS))


def clock_us() -> int:
    return time.time_ns() // 1_000
