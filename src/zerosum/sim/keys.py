"""
API keys of a simulated world: an account's key and secret are made from its number, and nothing is stored.
"""

from __future__ import annotations

from typing import final

from zerosum.gateway.auth import PERMISSIONS, ApiKey


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
            self._found[api_key] = ApiKey(api_key, account_id, frozenset(PERMISSIONS), secret_of(account_id))
        return self._found[api_key]
