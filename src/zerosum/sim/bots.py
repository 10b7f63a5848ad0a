"""
Bots: clients of the API that trade, and keep book of what they were told.

    place --> 200: placed | 4xx: refused | no answer, or "status unknown": wait until the deadline is past by the log's own time, look the
    order up by its client id --> there: placed | "does not exist": it never will be, and the order is sent again under the same id

Every order has a client id of its own, and may stand in the log once at most, however often it was sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any, Final, final

from zerosum.core import records
from zerosum.sim.api_client import STATUS_UNKNOWN, ApiClient, Said
from zerosum.sim.chance import delay_s
from zerosum.sim.findings import RunFailed
from zerosum.sim.history import ABSENT, PLACED, REFUSED, UNDER_WAY, OrderSeen, Wanted
from zerosum.sim.world import World

PAUSE_S: Final = 0.02
CLOCKS_DIFFER_S: Final = 1.1  # by no more than this is the log's clock behind a client's
TRIES_MAX: Final = 4
LOOKS_PAUSE_S: Final = 0.2
RECENT: Final = 32
NO_SUCH_ORDER: Final = -2013
ROWS_MAX: Final = 1000  # of one answer
STEPS_MAX: Final = 12  # of price and of quantity, above the least that a symbol takes
WINDOWS_MS: Final = (5, 50, 500, 5000)
OPEN: Final = frozenset({"NEW", "PARTIALLY_FILLED"})


@final
class Bot:
    def __init__(self, world: World, number: int, account_id: int, random: Random) -> None:
        self.world = world
        self.client = ApiClient(world, account_id, random, over_websocket=random.random() < 0.5)
        self.account_id = account_id
        self.random = random
        self._number = number
        self._orders = 0
        self._recent: deque[Wanted] = deque(maxlen=RECENT)
        self._symbols: list[dict[str, Any]] = []

    async def run(self, actions: int) -> None:
        await self._learn_symbols()
        choices: dict[Callable[[], Awaitable[None]], int] = {
            self._place: 50, self._cancel: 12, self._cancel_all: 2, self._look_at_one: 10, self._open_orders: 5, self._account: 3,
            self._all_orders: 4, self._trades: 4, self._depth: 3, self._nonsense: 5, self._learn_symbols: 1,
        }  # fmt: skip
        for _ in range(actions):
            await asyncio.sleep(delay_s(self.random, PAUSE_S))
            await self.random.choices(list(choices), list(choices.values()))[0]()

    async def _learn_symbols(self) -> None:
        said = await self.client.ask("exchangeInfo", {})
        if said is not None and said.is_good:
            self._symbols = said.body["symbols"]

    # ------------------------------------------------------------------ orders

    def _terms(self) -> dict[str, str]:
        random, symbol = self.random, self.random.choice(self._symbols)
        filters = {each["filterType"]: each for each in symbol["filters"]}
        price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
        quantity = Decimal(lot["minQty"]) + random.randrange(STEPS_MAX) * Decimal(lot["stepSize"])
        terms = {"symbol": symbol["symbol"], "side": random.choice(("BUY", "SELL")), "quantity": f"{quantity:f}"}
        kind = random.choice(("LIMIT", "LIMIT", "LIMIT", "LIMIT_MAKER", "MARKET", "MARKET by quote"))
        if kind.startswith("LIMIT"):
            at = Decimal(price["minPrice"]) + random.randrange(STEPS_MAX) * Decimal(price["tickSize"])
            terms |= {"type": kind, "price": f"{at:f}"}
            if kind == "LIMIT":
                terms["timeInForce"] = random.choice(("GTC", "GTC", "IOC", "FOK"))
        elif kind == "MARKET":
            terms["type"] = "MARKET"
        else:
            terms |= {"type": "MARKET", "quoteOrderQty": filters["NOTIONAL"]["minNotional"]}
            del terms["quantity"]
        if random.random() < 0.5:
            terms["selfTradePreventionMode"] = random.choice(("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"))
        if random.random() < 0.7:
            terms["newOrderRespType"] = random.choice(("ACK", "RESULT", "FULL"))
        return terms

    async def _place(self) -> None:
        if not self._symbols:
            return await self._learn_symbols()
        self._orders += 1
        terms = self._terms()
        client_id = f"bot{self._number}-{self._orders}"
        wanted = self.world.history.want(self.account_id, terms["symbol"], client_id)
        self._recent.append(wanted)
        window_ms = self.random.choice(WINDOWS_MS)
        if self.world.faults.happens("client vanishes", self.client):
            asking = asyncio.get_running_loop().create_task(self.client.ask("place", {**terms, "newClientOrderId": client_id}))
            asking.add_done_callback(lambda done: done.exception())
            return
        for _ in range(TRIES_MAX):
            deadline_us = self.client.now_us() + window_ms * 1000
            said = await self.client.ask("place", {**terms, "newClientOrderId": client_id}, recv_window_ms=window_ms)
            if said is not None and said.is_good:
                return self._placed(wanted, said)
            if said is not None and said.code != STATUS_UNKNOWN:
                self._must_not_be_there(said)
                wanted.state = REFUSED
                return
            if await self._is_there(wanted, deadline_us):
                return
            self.world.faults.meet("client sends again", self.client)
        wanted.state = ABSENT

    def _placed(self, wanted: Wanted, said: Said) -> None:
        wanted.state, wanted.order_id = PLACED, int(said.body["orderId"])
        (asked,) = said.submitted
        fills = [event for event in asked.events if event[0] & 0xFF == records.FILL and event[4] == wanted.order_id]
        if "executedQty" in said.body:
            executed = lots_of(said, wanted.symbol, said.body["executedQty"])
            if executed != sum(event[10] for event in fills):
                self.world.fail(RunFailed(f"{said.body} was answered, and its fills are {fills}"))
            self._saw(wanted, executed, said)
        told = [each["tradeId"] for each in said.body.get("fills", [])]
        if "fills" in said.body and told != [event[8] for event in fills]:
            self.world.fail(RunFailed(f"{said.body} was answered, and its fills are {fills}"))
        wanted.trades |= set(told)

    def _must_not_be_there(self, said: Said) -> None:
        """What was refused by the gateway was not submitted; what was by UBSCore or the engine has an event that says so."""
        for asked in said.submitted:
            if any(event[0] & 0xFF in (records.REFUSED, records.REJECTED) for event in asked.events) or not asked.events:
                continue
            self.world.fail(RunFailed(f"{said.body} was answered, and the command told {asked.events}"))

    async def _is_there(self, wanted: Wanted, deadline_us: int) -> bool:
        """For certain: after its deadline, by the log's own time, an order that does not exist never will."""
        wait_s = (deadline_us - self.client.now_us()) / 1e6 + CLOCKS_DIFFER_S
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        while True:
            said = await self._look_up(wanted)
            if said is not None and said.is_good:
                wanted.state, wanted.order_id = PLACED, int(said.body["orderId"])
                return True
            if said is not None and said.code == NO_SUCH_ORDER:
                wanted.state = ABSENT
                return False
            await asyncio.sleep(LOOKS_PAUSE_S)

    async def _look_up(self, wanted: Wanted) -> Said | None:
        said = await self.client.ask("order", {"symbol": wanted.symbol, "origClientOrderId": wanted.client_id})
        if said is not None and said.is_good:
            self._saw(wanted, lots_of(said, wanted.symbol, said.body["executedQty"]), said)
        return said

    def _saw(self, wanted: Wanted, executed_lots: int, said: Said) -> None:
        seen = OrderSeen(int(said.body["orderId"]), executed_lots, said.body["status"] in OPEN, said.asked_s, said.told_s)
        self.world.history.orders_seen.append((self.account_id, seen))

    # ------------------------------------------------------------------ the rest

    def _some(self, *states: str) -> Wanted | None:
        found = [wanted for wanted in self._recent if wanted.state in states]
        return self.random.choice(found) if found else None

    async def _cancel(self) -> None:
        wanted = self._some(PLACED, UNDER_WAY, ABSENT)
        if wanted is None:
            return
        named = {"origClientOrderId": wanted.client_id}
        if wanted.order_id and self.random.random() < 0.5:
            named = {"orderId": str(wanted.order_id)}
        said = await self.client.ask("cancel", {"symbol": wanted.symbol, **named}, recv_window_ms=self.random.choice(WINDOWS_MS))
        if said is not None and said.is_good:
            self._saw(wanted, lots_of(said, wanted.symbol, said.body["executedQty"]), said)

    async def _cancel_all(self) -> None:
        if self._symbols:
            await self.client.ask("cancelAll", {"symbol": self.random.choice(self._symbols)["symbol"]})

    async def _look_at_one(self) -> None:
        wanted = self._some(PLACED, ABSENT)
        if wanted is None:
            return
        said = await self._look_up(wanted)
        if said is not None and (said.is_good if wanted.state == ABSENT else said.code == NO_SUCH_ORDER):
            self.world.fail(RunFailed(f"order {wanted.client_id} was {wanted.state}, and then its client was told {said.body}"))

    async def _open_orders(self) -> None:
        said = await self.client.ask("openOrders", {})
        if said is not None and said.is_good:
            for each in said.body:
                seen = OrderSeen(each["orderId"], lots_of(said, each["symbol"], each["executedQty"]), True, said.asked_s, said.told_s)
                self.world.history.orders_seen.append((self.account_id, seen))

    async def _account(self) -> None:
        await self.client.ask("account", {})

    async def _all_orders(self) -> None:
        """Every order that its client was told of before is among them."""
        wanted = self._some(PLACED)
        if wanted is None:
            return
        known = {each.order_id for each in self._recent if each.state == PLACED and each.symbol == wanted.symbol}
        said = await self.client.ask("allOrders", {"symbol": wanted.symbol, "limit": str(ROWS_MAX)})
        if said is not None and said.is_good and len(said.body) < ROWS_MAX and (missing := known - {each["orderId"] for each in said.body}):
            self.world.fail(RunFailed(f"orders {sorted(missing)} of account {self.account_id} are missing in what it has in all"))

    async def _trades(self) -> None:
        """So is every trade."""
        wanted = self._some(PLACED)
        if wanted is None:
            return
        known = set(wanted.trades)
        params = {"symbol": wanted.symbol, "limit": str(ROWS_MAX)} | (
            {"orderId": str(wanted.order_id)} if self.random.random() < 0.5 else {}
        )
        said = await self.client.ask("userTrades", params)
        if said is not None and said.is_good and len(said.body) < ROWS_MAX and (missing := known - {each["id"] for each in said.body}):
            self.world.fail(RunFailed(f"trades {sorted(missing)} of account {self.account_id} are missing in what it has in all"))

    async def _depth(self) -> None:
        if self._symbols:
            await self.client.ask("depth", {"symbol": self.random.choice(self._symbols)["symbol"]})

    async def _nonsense(self) -> None:
        """What a gateway must refuse by itself."""
        if not self._symbols:
            return
        terms = self._terms()
        spoiled: dict[str, str] = self.random.choice(
            [{"price": f"0.{'0' * 30}1"}, {"quantity": "-1"}, {"symbol": "NOSUCH"}, {"side": "HOLD"}, {"type": "GUESS"}, {"bogus": "1"}]
        )
        signature = "0" * 64 if self.random.random() < 0.2 else ""
        said = await self.client.ask("place", {**terms, **spoiled}, signature=signature)
        if said is not None and (said.is_good or said.submitted):
            self.world.fail(RunFailed(f"{terms} with {spoiled} was answered with {said.body}, and became {len(said.submitted)} commands"))


def lots_of(said: Said, symbol: str, quantity: str) -> int:
    """A quantity as the gateway that said it counts."""
    listings = [listed for shard in said.door.views.shards if (listed := shard.listings.by_name.get(symbol)) is not None]
    lots = Decimal(quantity).scaleb(listings[0].symbol.lot_decimals) / listings[0].symbol.lot
    assert lots == int(lots), f"{quantity} of {symbol} is whole lots"
    return int(lots)
