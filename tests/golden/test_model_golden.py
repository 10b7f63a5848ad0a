"""
The model reproduces 100,000 recorded orders of another exchange: each of its 47,886 trades, in order.

What the core is held against must itself be held against something that nobody here wrote.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from zerosum.core import codes, records
from zerosum.core.records import command, terms, text_words
from zerosum.sim.model import Event, Model

BASE, QUOTE, SYMBOL = 0, 1, 0
TICK_DECIMALS, LOT_DECIMALS = 2, 6
QUOTE_FACTOR = 10**6  # the recorded balances have the quote at 2 decimals; here it has 8
TRADES = 47_886


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        yield from csv.DictReader(file)


def account_of(user_id: str) -> int:
    return codes.FIRST_USER + int(user_id)


def setup_commands(directory: Path) -> Iterator[bytes]:
    yield command(records.LIST_ASSET, 1, BASE, 8, *text_words("BTC", 2))
    yield command(records.LIST_ASSET, 1, QUOTE, 8, *text_words("USDT", 2))
    bounds = (1, 10**8, 1, 10**9, 0, 0, 0, 0, 0, 10_000, 0, codes.TRADING)
    steps = (1, TICK_DECIMALS, 1, LOT_DECIMALS)
    yield command(records.LIST_SYMBOL, 1, SYMBOL, BASE, QUOTE, *steps, *bounds, *text_words("BTCUSDT", 3))
    opened = set()
    for transfer_id, row in enumerate(rows(directory / "balances_init.csv.gz"), start=1):
        account = account_of(row["user_id"])
        if account not in opened:
            opened.add(account)
            yield command(records.OPEN_ACCOUNT, 1, account, 0, 0, 10**6)
        asset, factor = (BASE, 1) if row["asset_id"] == "1" else (QUOTE, QUOTE_FACTOR)
        yield command(records.DEPOSIT, 1, account, transfer_id, asset, int(row["avail"]) * factor)


def order_commands(directory: Path) -> Iterator[bytes]:
    for row in rows(directory / "orders.csv.gz"):
        side = codes.BUY if row["side"] == "buy" else codes.SELL
        price = Decimal(row["price"]).scaleb(TICK_DECIMALS)
        qty = Decimal(row["qty"]).scaleb(LOT_DECIMALS)
        assert price % 1 == qty % 1 == 0, "every price and quantity is whole ticks and lots"
        yield command(records.PLACE, 2, account_of(row["user_id"]), terms(SYMBOL, side, codes.LIMIT), int(price), int(qty))


def trade_row(trade: Event) -> dict[str, str]:
    """A trade as it stands in the recorded file, its amount floored to 2 decimals as that system does."""
    taker_buys = trade["symbol_side"] & 1 == codes.BUY
    taker, maker = (str(trade[name] - codes.FIRST_USER) for name in ("taker_account", "maker_account"))
    return {
        "trade_id": str(trade["trade_id"]),
        "taker_order_id": str(trade["taker_order_id"]),
        "maker_order_id": str(trade["maker_order_id"]),
        "buyer_user_id": taker if taker_buys else maker,
        "seller_user_id": maker if taker_buys else taker,
        "taker_side": "buy" if taker_buys else "sell",
        "price": str(trade["price_ticks"]),
        "qty": str(trade["qty_lots"] * 100),
        "quote_amount": str(trade["price_ticks"] * trade["qty_lots"] // QUOTE_FACTOR),
    }


def test_model_makes_the_recorded_trades(shared_dir: Path) -> None:
    directory = shared_dir / "golden" / "100k"
    expected = list(rows(directory / "expected_trades.csv.gz"))
    assert len(expected) == TRADES

    model = Model()
    for setup in setup_commands(directory):
        account_events, _ = model.apply(setup)
        assert all(event["kind"] != records.REFUSED for event in account_events)
    trades: list[Event] = []
    admitted = 0
    for order in order_commands(directory):
        account_events, market_events = model.apply(order)
        assert account_events[0]["kind"] == records.ADMITTED
        admitted += 1
        trades += [event for event in market_events if event["kind"] == records.TRADE]

    assert admitted == 100_000
    for trade, row in zip(trades, expected, strict=True):
        assert trade_row(trade) == row
    model.check()
