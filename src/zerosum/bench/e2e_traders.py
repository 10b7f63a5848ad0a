"""
Traders over HTTP who remember everything they asked for and everything they were told, and hold the exchange to it.

    trade: place, cancel --> Sent, with the answer or without one          the exchange or its follower is killed meanwhile
    check: each Sent against the order as the exchange tells of it now, and against its settled trades

An order that was acknowledged is there, at least as far as was told; an ended one exactly so. One that was refused never traded. Of one
that was not answered, either nothing is there, or all of it: its terms as sent, its fills as settled.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import orjson

from zerosum.bench.client import LOST, RestConnection, Signer
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_load import PERCENTILES, percentile
from zerosum.bench.gateway_process import HOST
from zerosum.bench.gateway_users import User
from zerosum.settlement.reading import connect

SYMBOL: Final = "BTCUSDT"
PATH: Final = "/api/v3/order"
AT_ONCE: Final = 4  # requests under way, of one trader
CHECKED_AT_ONCE: Final = 8
UNKNOWN_CODES: Final = frozenset({-1007})
NO_SUCH_ORDER: Final = -2013
OPEN: Final = frozenset({"NEW", "PARTIALLY_FILLED"})
CANCELABLE_MAX: Final = 200
SIDES: Final = ("BUY", "SELL")

TRADES: Final = "SELECT order_id, trade_id, price_ticks, qty_lots FROM user_trades WHERE account = ? ORDER BY trade_id"


class Fill(NamedTuple):
    price_ticks: int
    qty_lots: int


@dataclass(slots=True)
class Sent:
    """A request and its answer. `status` LOST: whether it was done is not known."""

    params: Mapping[str, str]
    status: int = LOST
    answer: dict[str, Any] = field(default_factory=dict)
    cancels: list[Sent] = field(default_factory=list)

    def take(self, status: int, body: bytes) -> None:
        self.status = status
        if status != LOST:
            self.answer = orjson.loads(body)
            if self.answer.get("code") in UNKNOWN_CODES:
                self.status = LOST

    @property
    def is_acknowledged(self) -> bool:
        return self.status == 200


@dataclass(slots=True)
class Seen:
    """Of a time of trading, or of a check after it."""

    requests: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    unknown_there: int = 0
    seconds: float = 0.0
    latency_ms: dict[str, float] = field(default_factory=dict)


@final
class Trader:
    def __init__(self, number: int, user: User, seed: int, price_ticks: int) -> None:
        self.user = user
        self.orders: list[Sent] = []
        self.latencies_ms: list[float] = []
        self._signer = Signer(user.api_key, user.secret)
        self._rng = random.Random(f"{seed} {number}")
        self._name = f"t{number}-"
        self._price_ticks = price_ticks
        self._cancelable: list[Sent] = []
        self._connection: RestConnection

    # ------------------------------------------------------------------ trading

    async def trade(self, port: int, until_s: float) -> None:
        """Until that time of time.monotonic(), or until the exchange is gone."""
        self._connection = await RestConnection.open(HOST, port)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._trade_on(until_s))
        await self._connection.close()

    async def _trade_on(self, until_s: float) -> None:
        while time.monotonic() < until_s and not self._connection.closed.done():
            if self._cancelable and (len(self._cancelable) > CANCELABLE_MAX or self._rng.random() < 0.3):
                await self._cancel(self._cancelable.pop(self._rng.randrange(len(self._cancelable))))
            else:
                await self._place()

    async def _place(self) -> None:
        sent = Sent(self._order_params())
        self.orders.append(sent)
        await self._ask("POST", sent)
        if sent.is_acknowledged and sent.answer["status"] in OPEN:
            self._cancelable.append(sent)

    async def _cancel(self, order: Sent) -> None:
        sent = Sent({"symbol": SYMBOL, "origClientOrderId": order.params["newClientOrderId"]})
        order.cancels.append(sent)
        await self._ask("DELETE", sent)

    async def _ask(self, method: str, sent: Sent) -> None:
        began = time.perf_counter()
        sent.take(*await self._connection.ask(self._signer.rest(method, PATH, sent.params, now_ms())))
        self.latencies_ms.append((time.perf_counter() - began) * 1000)

    def _order_params(self) -> dict[str, str]:
        rng = self._rng
        side = rng.choice(SIDES)
        kind = rng.choices(("LIMIT", "IOC", "LIMIT_MAKER", "MARKET", "TOO MUCH"), (60, 10, 10, 15, 5))[0]
        params = {"symbol": SYMBOL, "side": side, "newClientOrderId": f"{self._name}{len(self.orders)}", "newOrderRespType": "FULL"}
        if kind == "MARKET":
            return params | {"type": "MARKET", "quantity": lots_text(rng.randint(1, 5_000))}
        ticks = self._price_ticks + int(rng.gauss(0, 500))
        lots = 10**9 if kind == "TOO MUCH" else rng.randint(1, 10_000)
        params |= {"price": f"{ticks // 100}.{ticks % 100:02d}", "quantity": lots_text(lots)}
        if kind == "LIMIT_MAKER":
            return params | {"type": kind}
        return params | {"type": "LIMIT", "timeInForce": "IOC" if kind == "IOC" else "GTC"}

    # ------------------------------------------------------------------ checking

    async def check(self, port: int, settled: Path) -> Seen:
        """Everything this trader was ever told. DoesNotHold names the first order of which it is not so."""
        fills = self._settled_fills(settled)
        connection = await RestConnection.open(HOST, port)
        seen = Seen()
        faults: list[str] = []
        remaining = iter(self.orders)

        async def worker() -> None:
            for sent in remaining:
                query = {"symbol": SYMBOL, "origClientOrderId": sent.params["newClientOrderId"]}
                status, body = await connection.ask(self._signer.rest("GET", PATH, query, now_ms()))
                found = orjson.loads(body)
                if status != 200 and found.get("code") != NO_SUCH_ORDER:
                    fault = f"it can't be asked after, {status}"
                else:
                    fault = fault_of(sent, found if status == 200 else None, fills)
                if fault:
                    faults.append(f"Account {self.user.account}, {sent.params}: {fault}.\n  answered {sent.answer}\n  now      {found}")
                count(sent, status == 200, seen)

        async with asyncio.TaskGroup() as group:
            for _ in range(CHECKED_AT_ONCE):
                group.create_task(worker())
        await connection.close()
        if faults:
            raise DoesNotHold(f"{len(faults)} orders are not as they were told of. {faults[0]}")
        return seen

    def _settled_fills(self, settled: Path) -> dict[int, dict[int, Fill]]:
        """By order id and trade id."""
        fills: dict[int, dict[int, Fill]] = defaultdict(dict)
        with closing(connect(settled)) as connection:
            for order_id, trade_id, price_ticks, qty_lots in connection.execute(TRADES, (self.user.account,)):
                fills[order_id][trade_id] = Fill(price_ticks, qty_lots)
        return fills


def fault_of(sent: Sent, found: dict[str, Any] | None, fills: Mapping[int, Mapping[int, Fill]]) -> str:
    """What is wrong about an order as it is now, given what its trader sent and was told; '' if nothing is."""
    if found is None:
        return "it was acknowledged, and is not there" if sent.is_acknowledged else ""
    params, status = sent.params, found["status"]
    for name, sent_as in (("side", "side"), ("type", "type"), ("price", "price"), ("origQty", "quantity")):
        if sent_as in params and as_number(found[name]) != as_number(params[sent_as]):
            return f"its {name} is not as sent"
    settled = fills.get(found["orderId"], {})
    executed_lots = lots_of(found["executedQty"])
    if executed_lots != sum(fill.qty_lots for fill in settled.values()):
        return f"its fills are not those that were settled: {dict(settled)}"
    if sent.status == LOST:
        return ""
    if not sent.is_acknowledged:
        return "" if status == "REJECTED" else "it was refused, and is there"
    told = sent.answer
    if told["orderId"] != found["orderId"]:
        return "its id is not as told"
    for fill in told["fills"]:
        if settled.get(fill["tradeId"]) != Fill(ticks_of(fill["price"]), lots_of(fill["qty"])):
            return f"it was told of {fill}, and that was not settled so"
    if told["status"] not in OPEN:
        return "" if (status, executed_lots) == (told["status"], lots_of(told["executedQty"])) else "it had ended otherwise"
    if executed_lots < lots_of(told["executedQty"]):
        return "less is executed than was told"
    canceled = next((cancel.answer for cancel in sent.cancels if cancel.is_acknowledged), None)
    if canceled is not None:
        same = (status, executed_lots) == ("CANCELED", lots_of(canceled["executedQty"]))
        return "" if same else f"its cancel was acknowledged otherwise: {canceled}"
    may_be_canceled = any(cancel.status == LOST for cancel in sent.cancels)
    if status not in OPEN and status != "FILLED" and not (status == "CANCELED" and may_be_canceled):
        return "it ended, and nobody ended it"
    return ""


def count(sent: Sent, is_there: bool, seen: Seen) -> None:
    for one in (sent, *sent.cancels):
        seen.requests += 1
        seen.acknowledged += one.is_acknowledged
        seen.unknown += one.status == LOST
        seen.refused += one.status not in (LOST, 200)
    seen.unknown_there += sent.status == LOST and is_there


def as_number(text: str) -> Decimal | str:
    return Decimal(text) if text[0].isdigit() else text


def lots_of(text: str) -> int:
    return int(Decimal(text).scaleb(6))


def ticks_of(text: str) -> int:
    return int(Decimal(text).scaleb(2))


def lots_text(lots: int) -> str:
    return f"{lots // 10**6}.{lots % 10**6:06d}"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# ---------------------------------------------------------------------- all of them


@final
class Traders:
    def __init__(self, users: Sequence[User], seed: int, price_ticks: int) -> None:
        self._traders = [Trader(number, user, seed, price_ticks) for number, user in enumerate(users)]

    def sent(self) -> Iterator[Sent]:
        for trader in self._traders:
            for order in trader.orders:
                yield order
                yield from order.cancels

    async def trade(self, port: int, seconds: float, at_s: float, then: Callable[[], None]) -> Seen:
        """All at once; `at_s` seconds from the beginning `then` is called."""
        had = sum(1 for _ in self.sent())
        for trader in self._traders:
            trader.latencies_ms.clear()
        began = time.monotonic()
        asyncio.get_running_loop().call_later(at_s, then)
        async with asyncio.TaskGroup() as group:
            for trader in self._traders:
                group.create_task(trader.trade(port, began + seconds))
        elapsed_s = time.monotonic() - began
        latencies_ms = sorted(latency for trader in self._traders for latency in trader.latencies_ms)
        requests = sum(1 for _ in self.sent()) - had
        return Seen(requests, seconds=elapsed_s, latency_ms={name: percentile(latencies_ms, share) for name, share in PERCENTILES.items()})

    async def check(self, port: int, settled: Path) -> Seen:
        """DoesNotHold."""
        total = Seen()
        for trader in self._traders:
            seen = await trader.check(port, settled)
            for name in ("requests", "acknowledged", "refused", "unknown", "unknown_there"):
                setattr(total, name, getattr(total, name) + getattr(seen, name))
        return total
