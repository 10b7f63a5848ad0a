"""
The demo market's bots, a process of their own: `python -m zerosum.cli.demo_bots`, its settings one line of JSON on standard input.

    maker    keeps a ladder of limit orders on both sides of a price that wanders
    taker    now and then buys or sells a little at the market

They trade like anybody else: signed requests over the WebSocket API. They end when their standard input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import signal
import ssl
import sys
import time
from collections import deque
from decimal import Decimal
from typing import Any, Final, final

import picows
import uvloop

LADDER: Final = 8  # orders a side
RESTING_MAX: Final = 2 * LADDER
PAUSE_S: Final = 0.25
RECONNECT_S: Final = 1.0


@final
class Connection(picows.WSListener):
    """Requests by id, each with its answer to come."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.count = 0
        self.transport: Any = None

    def on_ws_connected(self, transport: Any) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.TEXT:
            answer = json.loads(frame.get_payload_as_bytes())
            waiting = self.waiting.pop(answer["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    def on_ws_disconnected(self, transport: Any) -> None:
        for waiting in self.waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the exchange closed the connection"))

    async def request(self, key: dict[str, str], method: str, **params: str | int) -> dict[str, Any]:
        self.count += 1
        params |= {"apiKey": key["api_key"], "timestamp": time.time_ns() // 1_000_000}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        params["signature"] = hmac.new(key["secret"].encode(), payload.encode(), hashlib.sha256).hexdigest()
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.waiting[self.count] = answer
        self.transport.send(picows.WSMsgType.TEXT, json.dumps({"id": self.count, "method": method, "params": params}).encode())
        return await answer


@final
class Market:
    """One symbol's bots."""

    def __init__(self, symbol: dict[str, str], config: dict[str, Any]) -> None:
        self.name = symbol["name"]
        self.tick = Decimal(symbol["tick"])
        self.lot = Decimal(symbol["lot"])
        self.price = Decimal(symbol["reference"])
        self.maker = config["maker"]
        self.taker = config["taker"]
        self.resting: deque[int] = deque()

    async def trade(self, connection: Connection) -> None:
        while True:
            self.price *= 1 + Decimal(round(random.gauss(0, 0.0003), 6))
            await self.quote(connection)
            if random.random() < 0.3:  # noqa: S311
                await self.take(connection)
            await asyncio.sleep(PAUSE_S)

    async def quote(self, connection: Connection) -> None:
        """One order on each side, and the oldest away."""
        for side, sign in (("BUY", -1), ("SELL", 1)):
            away = Decimal(random.randint(1, LADDER)) / 10_000  # noqa: S311
            price = (self.price * (1 + sign * away) / self.tick).to_integral_value() * self.tick
            answer = await connection.request(
                self.maker, "order.place", symbol=self.name, side=side, type="LIMIT", timeInForce="GTC", price=str(price),
                quantity=self.quantity(2000), newOrderRespType="RESULT",
            )  # fmt: skip
            if answer["status"] == 200 and answer["result"]["status"] in {"NEW", "PARTIALLY_FILLED"}:
                self.resting.append(answer["result"]["orderId"])
        while len(self.resting) > RESTING_MAX:
            await connection.request(self.maker, "order.cancel", symbol=self.name, orderId=self.resting.popleft())  # it may be filled

    async def take(self, connection: Connection) -> None:
        side = random.choice(("BUY", "SELL"))  # noqa: S311
        await connection.request(self.taker, "order.place", symbol=self.name, side=side, type="MARKET", quantity=self.quantity(1000))

    def quantity(self, quote: int) -> str:
        """About so much quote's worth."""
        lots = Decimal(random.uniform(0.2, 1) * quote) / self.price / self.lot  # noqa: S311
        return str(max(1, int(lots)) * self.lot)


def trusting(certificate_file: str | None) -> ssl.SSLContext | None:
    """Whoever has that certificate is the exchange, whatever name is in it: the bots reach it as nobody else does. OSError."""
    if certificate_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate_file)
    return context


async def run(config: dict[str, Any]) -> None:
    markets = [Market(symbol, config) for symbol in config["listing"]["symbols"]]
    while True:
        try:
            _, connection = await picows.ws_connect(Connection, config["url"], ssl_context=trusting(config["certificate"]))
            assert isinstance(connection, Connection), "the listener is the one that was asked for"
            async with asyncio.TaskGroup() as group:
                for market in markets:
                    group.create_task(market.trade(connection))
        except* (OSError, picows.WSError):
            pass  # the exchange is gone: it may come back
        await asyncio.sleep(RECONNECT_S)


async def run_until_closed(config: dict[str, Any]) -> None:
    bots = asyncio.create_task(run(config))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    bots.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await bots


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the exchange decides when its bots end
    uvloop.run(run_until_closed(json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
