"""
A set of orders through one WebSocket connection, pipelined, in file order.

    orders --sign--> one connection, WINDOW under way --> answers, counted
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, final

from zerosum.bench.client import LOST, Signer, WebSocketConnection
from zerosum.bench.e2e_orders import OrderSet
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_load import PERCENTILES, percentile
from zerosum.bench.gateway_process import HOST
from zerosum.bench.gateway_users import User

WINDOW: Final = 1_000
SYMBOL: Final = "BTCUSDT"
RECV_WINDOW_MS: Final = "60000"

ACCEPTED: Final = 0
INSUFFICIENT_BALANCE: Final = -2010
UNKNOWN: Final = -1007


@dataclass(frozen=True, slots=True)
class Answered:
    """What was seen of the orders."""

    orders: int
    accepted: int
    rejected: int
    seconds: float
    orders_per_second: int
    latency_ms: dict[str, float]


@final
class Pipeline:
    def __init__(self, orders: OrderSet, users: list[User], progress: Callable[[int], None]) -> None:
        self._orders = orders
        self._signers = [Signer(user.api_key, user.secret) for user in users]
        self._progress = progress
        self._room = asyncio.Semaphore(WINDOW)
        self._codes: Counter[int] = Counter()
        self._answered = 0
        self._latencies_ms: list[float] = []

    async def run(self, port: int) -> Answered:
        """DoesNotHold when an order is not answered, or answered with what no order of the set can be answered with."""
        connection = await WebSocketConnection.open(HOST, port)
        began = time.perf_counter()
        for order in self._orders.orders:
            await self._room.acquire()
            params = {
                "symbol": SYMBOL, "side": order.side, "type": "LIMIT", "timeInForce": "GTC", "price": order.price, "quantity": order.qty,
                "newClientOrderId": order.order_id, "recvWindow": RECV_WINDOW_MS,
            }  # fmt: skip
            request_id = connection.next_id()
            text = self._signers[order.user].websocket(request_id, "order.place", params, time.time_ns() // 1_000_000)
            connection.send(request_id, text, partial(self._take, time.perf_counter()))
        for _ in range(WINDOW):
            await self._room.acquire()
        seconds = time.perf_counter() - began
        why_closed = connection.why_closed
        await connection.close()
        if self._codes.keys() - {ACCEPTED, INSUFFICIENT_BALANCE}:
            raise DoesNotHold(f"Orders were answered with codes that none of them may have: {dict(self._codes)}. {why_closed}")
        self._latencies_ms.sort()
        return Answered(
            orders=len(self._orders.orders),
            accepted=self._codes[ACCEPTED],
            rejected=self._codes[INSUFFICIENT_BALANCE],
            seconds=round(seconds, 2),
            orders_per_second=round(len(self._orders.orders) / seconds),
            latency_ms={name: percentile(self._latencies_ms, share) for name, share in PERCENTILES.items()},
        )

    def _take(self, sent_s: float, status: int, body: bytes) -> None:
        self._latencies_ms.append((time.perf_counter() - sent_s) * 1000)
        if status == LOST:
            self._codes[UNKNOWN] += 1
        else:
            self._codes[ACCEPTED if status == 200 else json.loads(body)["code"]] += 1
        self._answered += 1
        self._progress(self._answered)
        self._room.release()
