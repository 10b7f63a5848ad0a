"""
Signatures of requests: what exactly is signed, and whether it was.

    REST   query + body, raw, less "signature=..." and the "&" that held it
    WS     name=value&name=value, sorted by name, the values as they stood in the JSON

Always true: the compared bytes are those the client signed, never ones put together anew from parsed values (REST); a key that does not
exist and a signature that is wrong are answered alike, after the same work.
"""

from __future__ import annotations

from typing import Final

from zerosum.gateway import errors
from zerosum.gateway.parameters import SIGNATURE_TEXT, Params, mandatory, matching
from zerosum.identity.keyring import ApiKey
from zerosum.identity.keys import KeyRecord, random_text
from zerosum.identity.signatures import HMAC

SIGNATURE: Final = b"signature="

NOBODY: Final = ApiKey("", KeyRecord(account_id=0, permissions=(), signs_by=HMAC, secret=random_text()))
"""Stands for a key that does not exist: it signed nothing."""


def verify(key: ApiKey, payload: bytes, signature: str) -> None:
    """Raises ApiError unless the key signed `payload`."""
    matching(signature, "signature", SIGNATURE_TEXT)
    if not key.verifies(payload, signature) or key is NOBODY:
        raise errors.INVALID_SIGNATURE.of()


def check_rest(key: ApiKey, params: Params, query: bytes, body: bytes) -> None:
    signature = mandatory(params, "signature")
    verify(key, without_signature(query) + without_signature(body), signature)


def check_ws(key: ApiKey, params: Params) -> None:
    signature = mandatory(params, "signature")
    verify(key, "&".join([f"{name}={params[name]}" for name in sorted(params) if name != "signature"]).encode("ascii"), signature)


def without_signature(raw: bytes) -> bytes:
    """`raw` less its parameter `signature`, of which there is at most one, and one "&" beside it."""
    if raw.startswith(SIGNATURE):
        return raw.partition(b"&")[2]
    at = raw.find(b"&" + SIGNATURE)
    if at < 0:
        return raw
    end = raw.find(b"&", at + 1)
    return raw[:at] if end < 0 else raw[:at] + raw[end:]
