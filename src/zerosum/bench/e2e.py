"""
The whole exchange, end to end, in real processes that are killed.

    1 orders     a file through one WebSocket connection; settled trades = expected trades, totals = deposits
    2 exchange   traders over HTTP; kill -9 of the exchange at some moment; start again; everything that was told still holds
    3 follower   traders over HTTP; kill -9 of the follower; nobody notices; everything that was told still holds
    4 audit      stopped cleanly, the data directory is audited
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, final

from zerosum.bench.e2e_orders import OrderSet
from zerosum.bench.e2e_pipeline import Answered, Pipeline
from zerosum.bench.e2e_settled import DoesNotHold, check_balances, check_totals, check_trades
from zerosum.bench.e2e_traders import Seen, Traders
from zerosum.bench.gateway_process import ExchangeProcess, usage
from zerosum.bench.gateway_users import User, found_market
from zerosum.core.codes import FIRST_USER
from zerosum.services.audit import Audit, Verdict
from zerosum.services.datadir import DataDir
from zerosum.services.replay import GOLDEN_LISTING

TRADER_FUNDS: Final = {0: 50 * 10**8, 1: 5_000_000 * 10**8}
PRICE_AT: Final = 6  # in a line of trades


@dataclass(frozen=True, slots=True)
class EndToEndPlan:
    orders: OrderSet
    seed: int
    traders: int = 8
    seconds: float = 6.0  # of trading around each kill


@dataclass(frozen=True)
class Piped(Answered):
    """What was seen of the orders through one connection, and once they were settled."""

    trades: int
    unsettled_at_end: int
    settled_after_s: float
    exchange_bytes: int
    follower_bytes: int


@dataclass(slots=True)
class Killed:
    """What was seen around one kill."""

    traded: Seen
    checked: Seen
    killed_after_s: float
    again_after_s: float  # until orders were taken again, or settled again
    settled_after_s: float = 0.0


@dataclass(slots=True)
class EndToEnd:
    """What was seen."""

    piped: Piped
    exchange_killed: Killed
    follower_killed: Killed
    audit: list[Verdict]
    exchange_bytes: int
    follower_bytes: int
    seconds: float


Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and of how much."""


@final
class EndToEndRun:
    def __init__(self, data: DataDir, plan: EndToEndPlan, progress: Progress) -> None:
        """`data` is fresh."""
        self._data = data
        self._plan = plan
        self._progress = progress
        self._rng = random.Random(plan.seed)
        self._exchange = ExchangeProcess(data)

    def run(self) -> EndToEnd:
        """DoesNotHold, or ExchangeFailed, unless everything holds."""
        began = time.monotonic()
        with self._exchange as exchange:
            users = self._found()
            plan = self._plan
            piped = self._pipe(users[: len(plan.orders.users)])
            price_ticks = int(plan.orders.trades_csv.splitlines()[-1].split(",")[PRICE_AT])
            traders = Traders(users[len(plan.orders.users) :], plan.seed, price_ticks)
            exchange_killed = self._kill_exchange(traders)
            follower_killed = self._kill_follower(traders)
            self._check_totals()
            exchange_bytes = usage(exchange.ready.pid).resident_bytes
            follower_bytes = usage(exchange.follower_pid()).resident_bytes
        audit = self._audit()
        return EndToEnd(piped, exchange_killed, follower_killed, audit, exchange_bytes, follower_bytes, round(time.monotonic() - began, 1))

    def _found(self) -> list[User]:
        """The users of the file, and the traders after them."""
        self._progress("making users", 0, 0)
        funds = [dict(enumerate(atoms)) for atoms in self._plan.orders.funds] + [TRADER_FUNDS] * self._plan.traders
        self._deposits = {asset: sum(atoms[asset] for atoms in funds) for asset in TRADER_FUNDS}
        return asyncio.run(found_market(self._data, GOLDEN_LISTING, dict(enumerate(funds, start=FIRST_USER))))

    def _pipe(self, users: list[User]) -> Piped:
        orders = self._plan.orders
        count = len(orders.orders)
        pipeline = Pipeline(orders, users, lambda answered: self._progress("orders, one connection", answered, count))
        exchange = self._exchange
        answered = asyncio.run(pipeline.run(exchange.ready.websocket))
        unsettled = exchange.unsettled()
        settled_after_s = round(exchange.wait_until_settled(), 3)
        self._progress("comparing trades", 0, 0)
        check_trades(self._data.settled, orders)
        check_balances(self._data.settled, orders)
        if answered.rejected != orders.rejected:
            raise DoesNotHold(f"{answered.rejected} orders were rejected, and {orders.rejected} must be.")
        self._check_totals()
        return Piped(
            **asdict(answered), trades=orders.trades_csv.count("\n") - 1, unsettled_at_end=unsettled, settled_after_s=settled_after_s,
            exchange_bytes=usage(exchange.ready.pid).resident_bytes, follower_bytes=usage(exchange.ready.follower_pid).resident_bytes,
        )  # fmt: skip

    def _check_totals(self) -> None:
        check_totals(self._data.settled, self._deposits)

    def _kill_exchange(self, traders: Traders) -> Killed:
        exchange = self._exchange
        traded, killed_after_s = self._trade(traders, "trading, and kill -9 of the exchange", exchange.kill)
        if exchange.is_running:
            raise DoesNotHold("The exchange lives on after kill -9.")
        began = time.monotonic()
        exchange.start()
        again_after_s = round(time.monotonic() - began, 2)
        checked, settled_after_s = self._check(traders)
        if checked.unknown == 0:
            raise DoesNotHold(
                "Nothing was under way when the exchange was killed: that shows nothing. Trade for longer, or with more traders."
            )
        return Killed(traded, checked, killed_after_s, again_after_s, settled_after_s)

    def _kill_follower(self, traders: Traders) -> Killed:
        exchange = self._exchange
        unknown_before = sum(sent.status == 0 for sent in traders.sent())
        old = exchange.follower_pid()
        traded, killed_after_s = self._trade(traders, "trading, and kill -9 of the follower", exchange.kill_follower)
        checked, settled_after_s = self._check(traders)
        if checked.unknown != unknown_before:
            raise DoesNotHold(f"{checked.unknown - unknown_before} requests were not answered though only the follower was killed.")
        if exchange.follower_pid() == old or exchange.metric("zerosum_follower_restarts_total") != 1:
            raise DoesNotHold("The follower was killed, and was not started again once.")
        return Killed(traded, checked, killed_after_s, settled_after_s, settled_after_s)

    def _trade(self, traders: Traders, what: str, kill: Callable[[], None]) -> tuple[Seen, float]:
        self._progress(what, 0, 0)
        plan = self._plan
        at_s = round(self._rng.uniform(0.3, 0.7) * plan.seconds, 3)
        return asyncio.run(traders.trade(self._exchange.ready.rest, plan.seconds, at_s, kill)), at_s

    def _check(self, traders: Traders) -> tuple[Seen, float]:
        self._progress("asking after every order", 0, 0)
        settled_after_s = round(self._exchange.wait_until_settled(), 3)
        return asyncio.run(traders.check(self._exchange.ready.rest, self._data.settled)), settled_after_s

    def _audit(self) -> list[Verdict]:
        verdicts = list(Audit(self._data, progress=lambda done, total: self._progress("audit", done, total)).run())
        for verdict in verdicts:
            if not verdict.holds:
                raise DoesNotHold(f"The audit of {self._data.root} says of {verdict.check}: {verdict.detail}")
        return verdicts
