"""
After any commands, however their events are batched, the views show what the model has: balances, open orders, client ids, books, trades.
"""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from zerosum.core import codes
from zerosum.core.exchange import Exchange
from zerosum.sim.model import Model
from zerosum.sim.programs import EXTREME, SWEEP, USUAL, Program
from zerosum.views import snapshot
from zerosum.views.accounts import Order
from zerosum.views.markets import TRADES_MAX
from zerosum.views.views import Views

LENGTHS = {USUAL: 2_000, EXTREME: 1_000, SWEEP: 4_000}


def run(flavour: str, seed: int) -> tuple[Model, Views]:
    """A random program through the core, its events in random batches; and views that were saved and loaded on the way."""
    random = Random(seed)
    program = Program(seed, flavour)
    exchange = Exchange(reserve=1 << 14)
    views = Views()
    steps = islice(program, LENGTHS[flavour])
    while commands := [step.command for step in islice(steps, random.randint(1, 40))]:
        data = b"".join(commands)
        at = 0
        while at < len(data) or exchange.unfinished():
            at = exchange.advance(data, at)
            views.apply(exchange.take_account_events(), exchange.take_market_events())
        if random.random() < 0.02:
            views = reloaded(views)
        if random.random() < 0.1:
            views.forget_settled(exchange.sequence - random.randint(0, 100))
    return program.model, views


def reloaded(views: Views) -> Views:
    saved = dict(snapshot.sections(views))
    again = Views()
    snapshot.load(again, saved)
    assert dict(snapshot.sections(again)) == saved
    return again


def check_accounts(model: Model, views: Views) -> None:
    users = {number: account for number, account in model.accounts.items() if account.status != codes.HOUSE}
    assert set(views.accounts.by_id) == set(users)
    for number, user in users.items():
        account = views.account(number)
        assert account is not None
        seen = (account.status, account.maker_ppm, account.taker_ppm, account.orders_max)
        assert seen == (user.status, user.maker_ppm, user.taker_ppm, user.orders_max)
        for asset in range(len(model.assets)):
            assert account.balances.get(asset, (0, 0)) == model.balance(number, asset)
        assert list(account.open_orders) == sorted(user.orders)
        for order_id, order in user.orders.items():
            check_order(account.open_orders[order_id], order_id, order.terms, order.price_ticks, order.open_lots, order.traded_ticks_lots)
            if order.client[0]:
                assert views.order_by_client(number, order.client) is views.order(number, order_id)


def check_order(seen: Order, order_id: int, terms: int, price_ticks: int, open_lots: int, quote_tick_lots: int) -> None:
    assert (seen.order_id, seen.terms, seen.price_ticks, seen.open_lots) == (order_id, terms, price_ticks, open_lots)
    assert seen.quote_tick_lots == quote_tick_lots
    assert seen.qty_lots == seen.open_lots + seen.executed_lots + seen.prevented_lots


def check_markets(model: Model, views: Views) -> None:
    assert len(views.markets.by_number) == len(model.symbols)
    for number, symbol in enumerate(model.symbols):
        market = views.market(number)
        assert (market.status, market.reference_ticks) == (symbol.status, symbol.reference_ticks)
        for side, ladder in enumerate((market.bids, market.asks)):
            prices = sorted({order.price_ticks for order in symbol.resting[side]}, reverse=side == codes.BUY)
            assert ladder.levels(1 << 20) == [(price, symbol.level_lots(side, price)) for price in prices]
            assert ladder.best() == (ladder.levels(1)[0] if prices else None)
        last = min(symbol.trades, TRADES_MAX)
        assert [trade.trade_id for _, trade in market.last_trades(TRADES_MAX)] == list(range(symbol.trades - last + 1, symbol.trades + 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flavour", [USUAL, EXTREME])
def test_the_views_show_what_the_model_has(flavour: str, seed: int) -> None:
    model, views = run(flavour, seed)
    check_accounts(model, views)
    check_markets(model, views)


def test_the_views_follow_long_sweeps() -> None:
    model, views = run(SWEEP, 1)
    check_accounts(model, views)
    check_markets(model, views)


def test_what_is_settled_is_forgotten_and_nothing_else() -> None:
    _, views = run(USUAL, 7)
    kept = {order.order_id for account in views.accounts.by_id.values() for order in account.open_orders.values()}
    views.forget_settled(1 << 40)
    assert set(views.accounts.orders) == kept
    assert len(views.accounts.ended) == 0
    assert {order.order_id for account in views.accounts.by_id.values() for order in account.by_client.values()} <= kept
