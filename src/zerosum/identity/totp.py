"""
The second factor: six digits that change every 30 seconds (RFC 6238, with SHA-1, as every authenticator application has it).

Always true: a code is taken once: not again, and none of an earlier step after it.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES: Final = 20
DIGITS: Final = 6
STEP_S: Final = 30
STEPS_APART: Final = 1  # that the clocks of both sides may be
ISSUER: Final = "zerosum"


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, now_s: int) -> str:
    return totp(secret).generate(now_s).decode()


def step_of(secret: bytes, code: str, now_s: int, last_step: int) -> int | None:
    """The step that a code is of, if it is good and later than the last one that was taken; it is to be remembered."""
    if len(code) != DIGITS or not (code.isascii() and code.isdigit()):
        return None
    now = now_s // STEP_S
    found: int | None = None
    for step in range(now - STEPS_APART, now + STEPS_APART + 1):
        try:
            totp(secret).verify(code.encode(), step * STEP_S)
        except InvalidToken:
            continue
        found = step
    return found if found is not None and found > last_step else None


def uri_of(secret: bytes, name: str) -> str:
    """As authenticator applications read it, from a picture or by hand."""
    text = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{ISSUER}:{quote(name)}?secret={text}&issuer={ISSUER}&digits={DIGITS}&period={STEP_S}"


def totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_S)  # noqa: S303  the algorithm that applications know; no collision helps here
