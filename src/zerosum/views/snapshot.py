"""
The views of an embedded exchange as named sections of bytes, and back: rows of words, one section for each kind of thing.

So that a start need not read the log from its beginning: a snapshot of the machines has no ended orders, fills so far or last trades.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from zerosum.core.records import text_words
from zerosum.views.accounts import OPEN, ORDER_NUMBERS, Account, Order, Withdrawal
from zerosum.views.events import Event
from zerosum.views.listings import Listing
from zerosum.views.views import Views

ORDER_WORDS: Final = 1 + len(ORDER_NUMBERS) + 5  # its account, its numbers, its client id


def packed(rows: Iterable[Event]) -> bytes:
    return b"".join([struct.pack(f"<{len(row)}q", *row) for row in rows])


def rows_of(data: bytes, words: int) -> Iterator[Event]:
    return struct.iter_unpack(f"<{words}q", data)


def sections(views: Views) -> Iterator[tuple[str, bytes]]:
    """Everything, between two batches of events."""
    markets = views.markets.by_number.values()
    accounts = views.accounts.by_id.values()
    yield "views.sequences", packed([(views.shards[0].sequence, views.market_sequences[0])])
    yield "views.assets", packed((asset.asset, asset.decimals, *text_words(asset.name, 2)) for asset in views.listings.assets)
    yield "views.symbols", packed(symbol_row(listing) for listing in views.listings.by_number)
    yield (
        "views.markets",
        packed(
            (symbol, market.status, market.reference_ticks, market.last_update_id) for symbol, market in views.markets.by_number.items()
        ),
    )
    yield (
        "views.levels",
        packed(
            (symbol_side, key * ladder.sign, ladder.lots[key])
            for symbol_side, ladder in views.markets.ladders.items()
            for key in ladder.keys
        ),
    )
    yield "views.trades", packed(event for market in markets for event in market.trades)
    yield "views.accounts", packed((a.account_id, a.status, a.maker_ppm, a.taker_ppm, a.orders_max, a.updated_us) for a in accounts)
    yield "views.balances", packed((a.account_id, asset, *balance) for a in accounts for asset, balance in a.balances.items())
    yield "views.pending", packed((a.account_id, transfer_id, *each) for a in accounts for transfer_id, each in a.pending.items())
    yield "views.open_orders", packed(order_row(order) for a in accounts for order in a.open_orders.values())
    yield "views.ended_orders", packed(order_row(order) for order in views.accounts.ended)


def load(views: Views, saved: dict[str, bytes]) -> None:
    """Take what `sections` gave. Only into fresh Views."""
    ((views.shards[0].sequence, views.market_sequences[0]),) = rows_of(saved["views.sequences"], 2)
    for row in rows_of(saved["views.assets"], 4):
        views.listings.put_asset(row)
    for row in rows_of(saved["views.symbols"], 24):
        views.listings.put_symbol(row)
    for symbol, status, reference_ticks, last_update_id in rows_of(saved["views.markets"], 4):
        market = views.markets.add(symbol)
        market.status, market.reference_ticks, market.last_update_id = status, reference_ticks, last_update_id
    for symbol_side, price_ticks, level_lots in rows_of(saved["views.levels"], 3):
        views.markets.ladders[symbol_side].put(price_ticks, level_lots)
    for row in rows_of(saved["views.trades"], 14):
        views.markets.by_number[row[5] >> 1].trades.append(row)
    for account_id, *rest in rows_of(saved["views.accounts"], 6):
        account = views.accounts.by_id[account_id] = Account(account_id)
        account.status, account.maker_ppm, account.taker_ppm, account.orders_max, account.updated_us = rest
    for account_id, asset, available, frozen in rows_of(saved["views.balances"], 4):
        views.accounts.by_id[account_id].balances[asset] = (available, frozen)
    for account_id, transfer_id, *pending in rows_of(saved.get("views.pending", b""), 5):  # not there before there were such
        views.accounts.by_id[account_id].pending[transfer_id] = Withdrawal(*pending)
    load_orders(views, saved)


def load_orders(views: Views, saved: dict[str, bytes]) -> None:
    orders = [order_of(views, row) for name in ("open", "ended") for row in rows_of(saved[f"views.{name}_orders"], ORDER_WORDS)]
    for order in sorted(orders, key=lambda order: order.order_id):  # as they were admitted: the newest has its client id
        views.accounts.add(order)
    for order in orders:
        if order.state == OPEN:
            order.account.open_orders[order.order_id] = order
        else:
            views.accounts.ended.append(order)


def symbol_row(listing: Listing) -> Event:
    *numbers, name = listing.symbol
    return (*numbers, *text_words(name, 3), listing.lot_atoms, listing.tick_lot_atoms)


def order_row(order: Order) -> Event:
    return (order.account.account_id, *[getattr(order, name) for name in ORDER_NUMBERS], *order.client)


def order_of(views: Views, row: Event) -> Order:
    account_id, *numbers = row[: 1 + len(ORDER_NUMBERS)]
    fields = dict(zip(ORDER_NUMBERS, numbers, strict=True))
    order = Order(
        views.accounts.by_id[account_id], fields["order_id"], fields["terms"], fields["price_ticks"], fields["qty_lots"],
        fields["budget_atoms"], fields["created_us"], row[1 + len(ORDER_NUMBERS) :],
    )  # fmt: skip
    for name, value in fields.items():
        setattr(order, name, value)
    return order
