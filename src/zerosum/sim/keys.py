"""
API keys of a simulated world: an account's key and secret are made from its number, and nothing is stored.
"""

from __future__ import annotations

from typing import final

from zerosum.identity.keyring import ApiKey
from zerosum.identity.keys import READ, TRADE, KeyRecord
from zerosum.identity.signatures import HMAC


def key_of(account_id: int) -> str:
    return f"{account_id:064d}"


def secret_of(account_id: int) -> bytes:
    return b"secret of %d" % account_id


@final
class SimKeys:
    def __init__(self) -> None:
        self._found: dict[str, ApiKey] = {}

    def find(self, api_key: str, now_us: int) -> ApiKey | None:
        if not api_key.isdigit():
            return None
        if api_key not in self._found:
            account_id = int(api_key)
            secret = secret_of(account_id).decode()
            self._found[api_key] = ApiKey(
                api_key, KeyRecord(account_id=account_id, permissions=(READ, TRADE), signs_by=HMAC, secret=secret)
            )
        return self._found[api_key]
