"""Users, operators and programs of the venue's that move money in and out of an exchange that runs."""

from __future__ import annotations

import asyncio
import hmac
import time
from hashlib import sha256
from typing import Any, Final, final
from urllib.parse import urlencode

import httpx

from tests.support.browser import PASSWORD, Browser
from tests.support.venue import Venue
from zerosum.identity.keys import Wanted
from zerosum.identity.withdrawals import DAYS, rule_text

START: Final = 10**12
BTC: Final = 10**8
ADDRESS: Final = "bc1qexample"
TO: Final = {"asset": "BTC", "network": "BITCOIN", "address": ADDRESS}
RULES: Final = (rule_text("BTC:10:0.5:2"),)
"""To 0.5 nobody approves, above one operator, above 2 two; 10 a day. Of USDT nothing goes out."""


@final
class Program:
    """Somebody with an API key: a user's bot, or one of the venue's programs."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self._url, self._key, self._secret = url, key, secret

    @classmethod
    async def of(cls, venue: Venue, url: str, account: int, *permissions: str, addresses: tuple[str, ...] = ("127.0.0.1",)) -> Program:
        identities = venue.identities
        keys, ring = (identities.keys, identities.ring) if account else (identities.service_keys, identities.service_ring)
        made = await asyncio.to_thread(keys.create, Wanted(account, permissions, addresses=addresses))
        assert made.secret is not None
        await asyncio.to_thread(ring.refresh)
        return cls(url, made.api_key, made.secret)

    def signed(self, payload: bytes) -> str:
        return hmac.new(self._secret.encode(), payload, sha256).hexdigest()

    async def user(self, method: str, path: str, **params: Any) -> httpx.Response:
        """As the exchange's own API has it."""
        text = urlencode({**params, "timestamp": time.time_ns() // 1_000_000})
        url = f"{self._url}{path}?{text}&signature={self.signed(text.encode())}"
        return await self._sent(method, url, b"")

    async def own(self, method: str, path: str, body: bytes = b"", *, signed_path: str = "") -> httpx.Response:
        """As one of the venue's."""
        text = f"timestamp={time.time_ns() // 1_000_000}"
        payload = b"\n".join((f"{method} {signed_path or path}".encode(), text.encode(), body))
        return await self._sent(method, f"{self._url}{path}?{text}&signature={self.signed(payload)}", body)

    async def _sent(self, method: str, url: str, body: bytes) -> httpx.Response:
        headers = {"X-MBX-APIKEY": self._key, **({"content-type": "application/json"} if body else {})}
        async with httpx.AsyncClient(timeout=60) as http:
            return await http.request(method, url, content=body, headers=headers)


def free(venue: Venue, account: int, asset: int = 0) -> int:
    found = venue.embedded.views.account(account)
    return found.balances[asset][0] if found is not None and asset in found.balances else 0


def counted(venue: Venue, account: int) -> int:
    """Of today's limit."""
    held = venue.identities.vault.get(DAYS, str(account), "BTC")
    return held.record.atoms if held is not None else 0


async def until_free(venue: Venue, account: int, atoms: int) -> None:
    deadline = time.monotonic() + 30
    while free(venue, account) != atoms:
        assert time.monotonic() < deadline, free(venue, account)
        await asyncio.sleep(0.05)


async def until_counted(venue: Venue, account: int, atoms: int) -> None:
    deadline = time.monotonic() + 30
    while counted(venue, account) != atoms:
        assert time.monotonic() < deadline, counted(venue, account)
        await asyncio.sleep(0.05)


async def until_state(venue: Venue, order: dict[str, Any], state: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        held = await asyncio.to_thread(venue.embedded.desk.treasury.book.get, order["holder"], order["id"])
        assert held is not None
        if held.record.state == state:
            return
        assert time.monotonic() < deadline, held.record.state
        await asyncio.sleep(0.1)


async def with_address(user: Browser) -> None:
    added = await user.send("POST", "/addresses", {**TO, "password": PASSWORD, "label": "my own"})
    assert added.status_code == 200, added.text


async def asks(user: Browser, amount: str, /, **also: Any) -> httpx.Response:
    form = {**TO, "amount": amount, "password": PASSWORD}
    return await user.send("POST", "/withdrawals", form | also)


async def approves(operator: Browser, order: dict[str, Any]) -> httpx.Response:
    """As it is shown."""
    listed = (await operator.send("GET", "/withdrawals?open=false")).json().get("withdrawals", [])
    what = next((each["what"] for each in listed if each["id"] == order["id"]), "not shown")
    return await operator.send("POST", f"/withdrawals/{at(order)}/approve", {"what": what})


def at(order: dict[str, Any]) -> str:
    return f"{order['holder']}/{order['id']}"
