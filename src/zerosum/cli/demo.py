"""
The demo market of `zerosum up`: three symbols, a demo user with a key, and bots that trade through the public door.

What is there already from an earlier start is left as it is. The demo user's key is kept in DIR/demo.json, for its owner alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Final, final

from rich.console import Console

from zerosum.cli.door import Refused, reason_name
from zerosum.core import records
from zerosum.gateway.auth import TRADE, USER_DATA
from zerosum.gateway.entry import Event
from zerosum.services.embedded import Embedded
from zerosum.services.listing_file import load_listing

LISTING: Final[dict[str, Any]] = {
    "assets": [
        {"name": "BTC", "decimals": 8}, {"name": "ETH", "decimals": 8}, {"name": "SOL", "decimals": 8}, {"name": "USDT", "decimals": 8},
    ],
    "symbols": [
        {
            "name": "BTCUSDT", "base": "BTC", "quote": "USDT", "tick": "0.01", "lot": "0.00001", "max_price": "1000000", "max_qty": "1000",
            "min_notional": "5", "band_down": "0.2", "band_up": "5", "reference": "60000",
        },
        {
            "name": "ETHUSDT", "base": "ETH", "quote": "USDT", "tick": "0.01", "lot": "0.0001", "max_price": "100000", "max_qty": "10000",
            "min_notional": "5", "band_down": "0.2", "band_up": "5", "reference": "3000",
        },
        {
            "name": "SOLUSDT", "base": "SOL", "quote": "USDT", "tick": "0.01", "lot": "0.001", "max_price": "10000", "max_qty": "100000",
            "min_notional": "5", "band_down": "0.2", "band_up": "5", "reference": "150",
        },
    ],
}  # fmt: skip
DEMO_USER: Final = 1001
MAKER: Final = 1002
TAKER: Final = 1003
FEE_PPM: Final = 1000
DEPOSITS: Final = {
    DEMO_USER: {"BTC": 1, "ETH": 10, "SOL": 100, "USDT": 100_000},
    MAKER: {"BTC": 10_000, "ETH": 100_000, "SOL": 1_000_000, "USDT": 1_000_000_000},
    TAKER: {"BTC": 10_000, "ETH": 100_000, "SOL": 1_000_000, "USDT": 1_000_000_000},
}
BOTS_STOP_S: Final = 5.0


@final
class DemoMarket:
    def __init__(self, embedded: Embedded, host: str, rest_port: int, websocket_port: int, console: Console) -> None:
        self._embedded = embedded
        self._rest_url = f"http://{host}:{rest_port}"
        self._websocket_url = f"ws://{host}:{websocket_port}/ws-api/v3"
        self._console = console
        self._bots: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """List what is not listed yet, print how to try it, and start the bots."""
        if self._embedded.machine.sequence == 0:
            await self._found_market()
        keys = self._keys()
        self._show(keys["demo"])
        config = {"url": self._websocket_url, "maker": keys["maker"], "taker": keys["taker"], "listing": LISTING}
        self._bots = await asyncio.create_subprocess_exec(sys.executable, "-m", "zerosum.cli.demo_bots", stdin=asyncio.subprocess.PIPE)
        assert self._bots.stdin is not None
        self._bots.stdin.write(json.dumps(config).encode() + b"\n")  # the pipe stays open: the bots end when it is closed

    async def stop(self) -> None:
        if self._bots is None or self._bots.stdin is None:
            return
        self._bots.stdin.close()
        try:
            await asyncio.wait_for(self._bots.wait(), BOTS_STOP_S)
        except TimeoutError:
            self._bots.kill()
            await self._bots.wait()

    async def _found_market(self) -> None:
        listing = load_listing(LISTING, "the demo listing")
        for command in listing.commands():
            await self._do(command)
        numbers = {asset.name: asset for asset in listing.assets}
        for account, amounts in DEPOSITS.items():
            fee_ppm = FEE_PPM if account == DEMO_USER else 0
            await self._do(records.command(records.OPEN_ACCOUNT, 0, account, fee_ppm, fee_ppm))
            for name, amount in amounts.items():
                asset = numbers[name]
                transfer_id = account * 100 + asset.asset
                await self._do(records.command(records.DEPOSIT, 0, account, transfer_id, asset.asset, amount * 10**asset.decimals))

    async def _do(self, command: bytes) -> None:
        answered: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        self._embedded.shard.submit(command, answered.set_result)
        for event in await answered:
            if event[0] & 0xFF == records.REFUSED:
                raise Refused(f"{records.kind_name(event[4])}: {reason_name(event[5])}.")

    def _keys(self) -> dict[str, dict[str, str]]:
        """The keys of demo user and bots: those of the first start."""
        path = self._embedded.data.root / "demo.json"
        if path.exists():
            known: dict[str, dict[str, str]] = json.loads(path.read_text())
            return known
        made = {}
        for name, account in (("demo", DEMO_USER), ("maker", MAKER), ("taker", TAKER)):
            api_key, secret = self._embedded.keys.create(account, (TRADE, USER_DATA))
            made[name] = {"api_key": api_key, "secret": secret}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(made, out)
        return made

    def _show(self, key: dict[str, str]) -> None:
        self._console.print(
            f"\n  demo user {DEMO_USER}       API key    {key['api_key']}\n                       secret     {key['secret']}\n"
            f"\n  Try:  curl '{self._rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5'"
            f"\n        python examples/place_order.py {self._embedded.data.root}\n",
            soft_wrap=True,
        )
