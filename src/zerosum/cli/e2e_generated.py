"""
Orders from a seed for `zerosum e2e`, and what must come of them according to the slow model of the core.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from zerosum.bench.e2e_orders import FileOrder, OrderSet, listing
from zerosum.core import codes, records
from zerosum.core.records import CLIENT, command, terms, text_words
from zerosum.settlement.export import TRADES_HEADER
from zerosum.sim.model import Event, Model

PRICE_TICKS: Final = 8_500_000
BASE, QUOTE, SYMBOL = 0, 1, 0
RICH: Final = (100 * 10**8, 10_000_000 * 10**8)
POOR: Final = (10**6, 1_000 * 10**8)  # a tenth of the users: some of their orders are rejected


def generate(seed: int, count: int, users: int, progress: Callable[[int], None] = lambda done: None) -> OrderSet:
    """Limit orders around a price that wanders."""
    rng = random.Random(seed)  # noqa: S311  a workload
    funds = [POOR if user % 10 == 9 else RICH for user in range(users)]
    model = founded(funds)
    names = [f"u{user}" for user in range(users)]
    orders: list[FileOrder] = []
    client_of: dict[int, str] = {}  # by order id in the core
    lines = [TRADES_HEADER]
    rejected = 0
    price_ticks = PRICE_TICKS
    for number in range(1, count + 1):
        price_ticks += rng.randint(-50, 50)
        user, side = rng.randrange(users), rng.choice((codes.BUY, codes.SELL))
        ticks = max(1, price_ticks + int(rng.gauss(0, 2_000)))
        lots = rng.randint(100, 500_000)
        client = f"e{number}"
        orders.append(
            FileOrder(client, user, "BUY" if side == codes.BUY else "SELL", f"{ticks // 100}.{ticks % 100:02d}", decimal_lots(lots))
        )
        words = text_words(client, len(CLIENT))
        account_events, market_events = model.apply(
            command(records.PLACE, number, codes.FIRST_USER + user, terms(SYMBOL, side, codes.LIMIT), ticks, lots, 0, 0, *words)
        )
        if account_events[0]["kind"] == records.ADMITTED:
            client_of[account_events[0]["order_id"]] = client
        else:
            rejected += 1
        lines += [trade_line(event, client_of, names) for event in market_events if event["kind"] == records.TRADE]
        progress(number)
    model.check()
    accounts = range(codes.FIRST_USER, codes.FIRST_USER + users)
    balances = {(account, asset): model.balance(account, asset) for account in accounts for asset in (BASE, QUOTE)}
    return OrderSet(names, funds, orders, "".join(lines), rejected, balances)


def founded(funds: list[tuple[int, int]]) -> Model:
    model = Model()
    transfers = 0
    for setup in listing().commands():
        model.apply(setup)
    for account, amounts in enumerate(funds, start=codes.FIRST_USER):
        model.apply(command(records.OPEN_ACCOUNT, 0, account, 0, 0, 1_000_000))
        for asset, atoms in enumerate(amounts):
            transfers += 1
            model.apply(command(records.DEPOSIT, 0, account, transfers, asset, atoms))
    return model


def decimal_lots(lots: int) -> str:
    return f"{lots // 10**6}.{lots % 10**6:06d}"


def trade_line(trade: Event, client_of: dict[int, str], names: list[str]) -> str:
    """As the settled record is exported."""
    taker_buys = trade["symbol_side"] & 1 == codes.BUY
    taker, maker = (names[trade[name] - codes.FIRST_USER] for name in ("taker_account", "maker_account"))
    buyer, seller = (taker, maker) if taker_buys else (maker, taker)
    quote = trade["price_ticks"] * trade["qty_lots"] // 10**6
    return (
        f"{trade['trade_id']},{client_of[trade['taker_order_id']]},{client_of[trade['maker_order_id']]},{buyer},{seller},"
        f"{'buy' if taker_buys else 'sell'},{trade['price_ticks']},{trade['qty_lots'] * 100},{quote}\n"
    )
