"""
Workers that trade over the signed WebSocket API, in an open loop: each request has its planned time, whatever became of those before it.

    worker --place, cross, market, amend, cancel--> its connection to one of the gateways --> answer --> Request

    place    a limit order at some distance from the middle            amend    its newest open order becomes smaller
    cross    a limit order through the middle: it trades               cancel   its oldest open order
    market   a market order

Always true: a worker amends and cancels only orders whose placing was answered, and one order once at a time; each request is in
`requests`, whether it was answered or not.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple, final

import orjson

from zerosum.bench.client import LOST, Signer, WebSocketConnection
from zerosum.bench.gateway_users import User
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.services import Service

PLACE: Final = "place"
CROSS: Final = "cross"
MARKET: Final = "market"
AMEND: Final = "amend"
CANCEL: Final = "cancel"
KINDS: Final = {PLACE: 45, CROSS: 15, MARKET: 10, AMEND: 10, CANCEL: 20}
METHODS: Final = {
    PLACE: "order.place", CROSS: "order.place", MARKET: "order.place", AMEND: "order.amend.keepPriority", CANCEL: "order.cancel",
}  # fmt: skip

OPEN_MAX: Final = 20  # orders of a worker, after which it cancels: of three users none comes to the 200 that a symbol lets them have
UNKNOWN_CODES: Final = frozenset({-1006, -1007})
BUSY_CODE: Final = -1008
TURN_S: Final = 0.002
RETRY_S: Final = 0.05  # between two tries to connect
ANSWERS_S: Final = 60.0


class Traded(NamedTuple):
    """A symbol that is traded: its middle and quantities, in its steps of so many decimals."""

    name: str
    middle_ticks: int
    price_decimals: int
    lots_min: int
    lots_max: int
    qty_decimals: int

    def price(self, ticks: int) -> str:
        return decimal(ticks, self.price_decimals)

    def qty(self, lots: int) -> str:
        return decimal(lots, self.qty_decimals)


BTCUSDT: Final = Traded("BTCUSDT", 50_000_00, 2, 20, 200, 5)
ETHUSDT: Final = Traded("ETHUSDT", 2_500_00, 2, 40, 400, 4)
TRADED: Final = (BTCUSDT, ETHUSDT)


def decimal(steps: int, decimals: int) -> str:
    whole, rest = divmod(steps, int("1" + "0" * decimals))
    return f"{whole}.{rest:0{decimals}d}"


@dataclass(slots=True)
class Request:
    """`client`: of the order that it is about. `status`: LOST until it is answered. Times of time.perf_counter()."""

    worker: int
    kind: str
    account: int
    symbol: str
    client: str
    planned_s: float
    params: dict[str, str]
    status: int = LOST
    answer: bytes = b""
    answered_s: float = 0.0

    @property
    def code(self) -> int:
        """Of its error; 0 where it has none."""
        return int(orjson.loads(self.answer)["code"]) if self.status not in (200, LOST) else 0

    @property
    def is_unknown(self) -> bool:
        return self.status == LOST or self.code in UNKNOWN_CODES

    def body(self) -> Any:
        return orjson.loads(self.answer)


class Open(NamedTuple):
    """An order of a worker that may be open."""

    client: str
    symbol: Traded
    lots: int


@final
class Load:
    """`rate`: requests a second of all workers together; 0: each sends the next once the last is answered. `name`: begins client ids."""

    def __init__(
        self, users: Sequence[User], gateways: Sequence[Service], *, workers: int, rate: float, seed: int, name: str = "e2e"
    ) -> None:
        self.requests: list[Request] = []
        self.traded: deque[Request] = deque()  # the answers that tell of trades, for whoever takes them out
        self.under_way = 0
        self.name = name
        self._is_stopped = False
        self._began_s = 0.0
        self._workers = []
        for number in range(workers):
            user, gateway = users[number % len(users)], gateways[number % len(gateways)]
            self._workers.append(Worker(number, user, gateway, self, rate / workers, Random(seed * 1_000 + number), name))

    async def run(self, seconds: float = float("inf")) -> float:
        """Until then, or `stop`, and until all is answered; how long the sending took."""
        self._began_s = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(worker.run(self._began_s, seconds))
        return time.perf_counter() - self._began_s

    def stop(self) -> None:
        self._is_stopped = True

    @property
    def is_stopped(self) -> bool:
        return self._is_stopped


@final
class Worker:
    def __init__(self, number: int, user: User, gateway: Service, load: Load, rate: float, random: Random, name: str) -> None:
        self._number = number
        self._account = user.account
        self._signer = Signer(user.api_key, user.secret)
        self._gateway = gateway
        self._load = load
        self._rate = rate
        self._random = random
        self._name = name
        self._count = 0
        self._open: deque[Open] = deque()
        self._under_way = 0
        self._answered = asyncio.Event()
        self._connection: WebSocketConnection | None = None

    async def run(self, began_s: float, seconds: float) -> None:
        """Spread over the second, so that the workers do not send at the same moments."""
        sent, phase = 0, self._number * 0.0007
        while not self._load.is_stopped:
            now_s = time.perf_counter() - began_s
            if now_s >= seconds:
                break
            connection = await self._connected()
            if connection is None:
                continue
            if self._rate == 0:
                await self._send_next(connection)
                continue
            due = int((now_s - phase) * self._rate)
            while sent < due:
                self._send(connection, self._next(began_s + phase + (sent + 1) / self._rate))
                sent += 1
            await asyncio.sleep(TURN_S)
        async with asyncio.timeout(ANSWERS_S):
            while self._under_way:
                self._answered.clear()
                await self._answered.wait()
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> WebSocketConnection | None:
        """None after a while without: whoever listens there is away."""
        if self._connection is None or self._connection.closed.done():
            try:
                self._connection = await WebSocketConnection.open(HOST, self._gateway.ports()["websocket"])
            except Exception:  # noqa: BLE001  a gateway that was killed, or is about to serve
                self._connection = None
                await asyncio.sleep(RETRY_S)
        return self._connection

    async def _send_next(self, connection: WebSocketConnection) -> None:
        self._send(connection, self._next(time.perf_counter()))
        while self._under_way:
            self._answered.clear()
            await self._answered.wait()
        if self._load.requests and self._load.requests[-1].code == BUSY_CODE:
            await asyncio.sleep(RETRY_S)

    def _send(self, connection: WebSocketConnection, request: Request) -> None:
        self._load.requests.append(request)
        self._under_way += 1
        self._load.under_way += 1
        number = connection.next_id()
        text = self._signer.websocket(number, METHODS[request.kind], request.params, time.time_ns() // 1_000_000)
        connection.send(number, text, partial(self._take, request))

    def _take(self, request: Request, status: int, answer: bytes) -> None:
        request.answered_s = time.perf_counter()
        request.status, request.answer = status, answer
        self._under_way -= 1
        self._load.under_way -= 1
        self._answered.set()
        if status != 200:
            return
        if request.kind == PLACE and b'"status":"NEW"' in answer:
            symbol = next(each for each in TRADED if each.name == request.symbol)
            lots = int(request.params["quantity"].replace(".", ""))
            self._open.append(Open(request.client, symbol, lots))
        elif request.kind == AMEND:
            symbol = next(each for each in TRADED if each.name == request.symbol)
            self._open.appendleft(Open(request.client, symbol, int(request.params["newQty"].replace(".", ""))))
        if b'"tradeId"' in answer:
            self._load.traded.append(request)

    # ------------------------------------------------------------------ what is asked

    def _next(self, planned_s: float) -> Request:
        random = self._random
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        if len(self._open) > OPEN_MAX:
            kind = CANCEL
        if kind in (AMEND, CANCEL) and self._open:
            return self._change(kind, planned_s)
        return self._order(kind if kind not in (AMEND, CANCEL) else PLACE, planned_s)

    def _change(self, kind: str, planned_s: float) -> Request:
        order = self._open.popleft() if kind == CANCEL else self._open.pop()
        params = {"symbol": order.symbol.name, "origClientOrderId": order.client}
        if kind == AMEND:
            params["newQty"] = order.symbol.qty(order.lots * 3 // 4)
        return Request(self._number, kind, self._account, order.symbol.name, order.client, planned_s, params)

    def _order(self, kind: str, planned_s: float) -> Request:
        random = self._random
        self._count += 1
        symbol, is_buy = random.choice(TRADED), random.random() < 0.5
        lots = random.randint(symbol.lots_min, symbol.lots_max)
        client = f"{self._name}{self._number}-{self._count}"
        params = {
            "symbol": symbol.name, "side": "BUY" if is_buy else "SELL", "quantity": symbol.qty(lots),
            "newClientOrderId": client, "newOrderRespType": "FULL",
        }  # fmt: skip
        if kind == MARKET:
            params["type"] = "MARKET"
        else:
            away = symbol.middle_ticks * random.randint(2, 50) // 10_000
            below = is_buy if kind == PLACE else not is_buy
            params |= {"type": "LIMIT", "timeInForce": "GTC", "price": symbol.price(symbol.middle_ticks + (-away if below else away))}
        return Request(self._number, kind, self._account, symbol.name, client, planned_s, params)
