"""An exchange that runs, with two users' accounts and a symbol, as browsers and programs come to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

from tests.support.browser import PASSWORD, Browser
from tests.support.serving import ask, serving
from zerosum.console.doors import WithdrawalSettings, operator_console, user_console
from zerosum.console.http import Endpoint
from zerosum.core import records
from zerosum.core.records import text_words
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded

ANN, BOB = 1001, 1002
BTCUSDT = {
    "symbol": 0, "base": 0, "quote": 1, "tick": 1, "tick_decimals": 2, "lot": 1, "lot_decimals": 5, "min_price_ticks": 1,
    "max_price_ticks": 100_000_000, "min_qty_lots": 1, "max_qty_lots": 900_000_000, "min_notional_atoms": 1,
}  # fmt: skip


@final
class Venue:
    def __init__(self, embedded: Embedded, ports: list[int]) -> None:
        self.embedded = embedded
        self.identities = embedded.identities
        self.public, _, self.admin = (f"http://127.0.0.1:{port}" for port in ports)
        self.websocket = f"ws://127.0.0.1:{ports[1]}/ws-api/v3"
        self.browsers: list[Browser] = []

    def browser(self, *, operator: bool = False) -> Browser:
        made = Browser(*((self.admin, "/admin/v1") if operator else (self.public, "/account/v1")))
        self.browsers.append(made)
        return made

    async def operator(self, name: str, *roles: str) -> Browser:
        """Logged in, with a second factor."""
        await asyncio.to_thread(self.identities.operators.create, name, PASSWORD, roles=roles)
        browser = self.browser(operator=True)
        assert (await browser.log_in(name)).status_code == 200
        await browser.set_second_factor()
        return browser

    async def user(self, name: str, account: int) -> Browser:
        await asyncio.to_thread(self.identities.users.create, name, PASSWORD, account_id=account)
        browser = self.browser()
        assert (await browser.log_in(name)).status_code == 200
        return browser

    def actions(self) -> list[tuple[str, str, str]]:
        """By whom, what, and how it ended: what operators did, and then what users did."""
        entries = [*self.identities.trail.entries(), *self.identities.users_trail.entries()]
        return [(entry.by, entry.action, entry.outcome) for entry in entries]


@asynccontextmanager
async def open_venue(folder: Path, *, funds: int = 10**12, **settings: Any) -> AsyncIterator[Venue]:
    """With so many atoms of each asset in each account."""
    ports: list[int] = []
    async with serving(DataDir(folder), ports=ports, **settings) as embedded:
        for number, name in enumerate(("BTC", "USDT")):
            await ask(embedded, records.command(records.LIST_ASSET, 0, number, 8, *text_words(name, 2)))
        names = dict(zip(("name_1", "name_2", "name_3"), text_words("BTCUSDT", 3), strict=True))
        fields = [(BTCUSDT | names).get(field, 0) for field in records.SYMBOL_FIELDS]
        await ask(embedded, records.command(records.LIST_SYMBOL, 0, *fields))
        for account in (ANN, BOB):
            await ask(embedded, records.command(records.OPEN_ACCOUNT, 0, account))
            for asset in (0, 1) if funds else ():
                await ask(embedded, records.command(records.DEPOSIT, 0, account, 1 + asset, asset, funds))
        found = Venue(embedded, ports)
        yield found
        for browser in found.browsers:
            await browser.http.aclose()


def endpoints(venue: Venue) -> list[tuple[str, Endpoint]]:
    """With the listener that each is on."""
    desk = venue.embedded.desk
    users = user_console(desk.treasury, venue.identities, venue.embedded.api.limits, frozenset(), WithdrawalSettings())
    operators = operator_console(desk, venue.identities, frozenset())
    users.close()
    operators.close()
    return [(venue.public, each) for each in users.endpoints] + [(venue.admin, each) for each in operators.endpoints]


def filled(path: str) -> str:
    path = path.replace("{account:number}", str(BOB)).replace("{holder:number}", str(BOB)).replace("{id:number}", "7")
    return path.replace("{symbol}", "BTCUSDT").replace("{id}", "x" * 8).replace("{", "").replace("}", "")
