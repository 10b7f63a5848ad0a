"""
The master key, and what is sealed with it: AES-256-GCM, bound to the place where it stands.

    sealed   key's tag : 4   nonce : 12   ciphertext and its check : rest

A file with the master key has one line, or several while it is being changed: the first one seals, the others still open.
docs/guides/rotation.md has the order of steps.

Always true: nothing that was sealed opens at another place, in another version, or with another key; no key and no text that was sealed is
in an error.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from zerosum.errors import ConfigError

MASTER_KEY_VARIABLE: Final = "ZEROSUM_MASTER_KEY"
KEY_BYTES: Final = 32
TAG_BYTES: Final = 4
NONCE_BYTES: Final = 12
KEYS_MAX: Final = 4

_is_master_key: Final = re.compile(r"[0-9a-fA-F]{64}").fullmatch


class MasterKeyError(ConfigError):
    """The master key is missing, malformed, readable by others, or not the one that identities were sealed with."""


class Unopened(Exception):
    """It was sealed with another key, for another place, or was changed since."""


@final
class MasterKey:
    """One or more keys of 32 bytes, the first of which seals."""

    def __init__(self, *keys: bytes) -> None:
        assert keys and all(len(key) == KEY_BYTES for key in keys), "a master key has 32 bytes"
        self._tag = tag_of(keys[0])
        self._ciphers = {tag_of(key): AESGCM(key) for key in keys}

    def __repr__(self) -> str:
        return f"MasterKey({self.tags})"

    @property
    def tags(self) -> str:
        """What may be shown: which keys they are, and nothing of what they are."""
        return ", ".join(tag.hex() for tag in self._ciphers)

    def seal(self, text: bytes, place: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return self._tag + nonce + self._ciphers[self._tag].encrypt(nonce, text, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Unopened."""
        cipher = self._ciphers.get(sealed[:TAG_BYTES])
        if cipher is None:
            raise Unopened
        try:
            return cipher.decrypt(sealed[TAG_BYTES : TAG_BYTES + NONCE_BYTES], sealed[TAG_BYTES + NONCE_BYTES :], place)
        except (InvalidTag, ValueError) as error:
            raise Unopened from error

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the first key."""
        return sealed[:TAG_BYTES] == self._tag


def tag_of(key: bytes) -> bytes:
    return sha256(b"zerosum master key, 1" + key).digest()[:TAG_BYTES]


def master_key_from(text: str, where: str) -> MasterKey:
    """From its hexadecimal lines. MasterKeyError names `where` they stand."""
    lines = text.split()
    for line in lines or [""]:
        if _is_master_key(line) is None:
            raise MasterKeyError(f"{where}: a master key is 64 hex digits (32 bytes), and this has {len(line)} characters.")
    if len(set(lines)) != len(lines) or len(lines) > KEYS_MAX:
        raise MasterKeyError(
            f"{where}: it has {len(lines)} master keys: one, or up to {KEYS_MAX} different ones, of which the first seals."
        )
    return MasterKey(*map(bytes.fromhex, lines))


def load_master_key(file: Path, environment: Mapping[str, str] = os.environ) -> MasterKey:
    """From the environment if it is set there, else from `file`. MasterKeyError."""
    text = environment.get(MASTER_KEY_VARIABLE)
    if text is not None:
        return master_key_from(text, MASTER_KEY_VARIABLE)
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
    return master_key_from(text, str(file))


def create_master_key(file: Path) -> None:
    """Write a new one, for its owner alone. FileExistsError where there is one."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(secrets.token_hex(KEY_BYTES) + "\n")
        out.flush()
        os.fsync(out.fileno())
