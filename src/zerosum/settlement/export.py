"""
The settled record as CSV, in the columns and scales in which other systems' recorded runs are kept, for comparison.

    trades     trade_id,taker_order_id,maker_order_id,buyer_user_id,seller_user_id,taker_side,price,qty,quote_amount
    balances   user_id,asset_id,avail,frozen,version

Amounts are integers of so many decimals as the caller says. Orders go by their client ids, accounts and assets by the names that the caller
gives them. All is exact but quote_amount, which is rounded down. A text that a spreadsheet would take for a formula begins with a "'" that
is not its own: see csv_cells.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from zerosum.core.codes import FIRST_USER
from zerosum.settlement.csv_cells import cell
from zerosum.settlement.errors import ExportFailed
from zerosum.settlement.reading import one_state

TRADES_HEADER: Final = "trade_id,taker_order_id,maker_order_id,buyer_user_id,seller_user_id,taker_side,price,qty,quote_amount\n"
BALANCES_HEADER: Final = "user_id,asset_id,avail,frozen,version\n"

SYMBOL: Final = (
    "SELECT tick, tick_decimals, lot, lot_decimals, quote.decimals FROM symbols JOIN assets quote ON quote.asset = symbols.quote"
    " WHERE symbol = ?"
)
# The taker's account is the buyer's or the seller's; an order is in one of the two tables.
TRADES: Final = """
SELECT trade_id, coalesce(taker.client_id, open_taker.client_id), coalesce(maker.client_id, open_maker.client_id),
    buyer_account, seller_account, taker_is_buyer, t.price_ticks, t.qty_lots, t.quote_atoms
FROM trades t
LEFT JOIN orders taker ON taker.account = iif(taker_is_buyer, buyer_account, seller_account) AND taker.symbol = t.symbol
    AND taker.order_id = taker_order_id
LEFT JOIN active_orders open_taker ON open_taker.account = iif(taker_is_buyer, buyer_account, seller_account)
    AND open_taker.symbol = t.symbol AND open_taker.order_id = taker_order_id
LEFT JOIN orders maker ON maker.account = iif(taker_is_buyer, seller_account, buyer_account) AND maker.symbol = t.symbol
    AND maker.order_id = maker_order_id
LEFT JOIN active_orders open_maker ON open_maker.account = iif(taker_is_buyer, seller_account, buyer_account)
    AND open_maker.symbol = t.symbol AND open_maker.order_id = maker_order_id
WHERE t.symbol = ? ORDER BY trade_id
"""
BALANCES: Final = (
    "SELECT account, asset, decimals, available_atoms, frozen_atoms, version FROM balances JOIN assets USING (asset)"
    " WHERE account >= ? ORDER BY account, asset"
)


class Steps(NamedTuple):
    """Of a symbol; `quote_decimals`: of its quote asset."""

    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int
    quote_decimals: int


class Decimals(NamedTuple):
    """Of the integers in a file."""

    price: int = 2
    qty: int = 8
    quote: int = 2


class ExportedTrade(NamedTuple):
    """`taker`, `maker`: their orders' client ids."""

    trade_id: int
    taker: str
    maker: str
    buyer: int
    seller: int
    taker_is_buyer: int
    price_ticks: int
    qty_lots: int
    quote_atoms: int


def write_trades_csv(
    path: Path,
    out: TextIO,
    *,
    symbol: int,
    account_name: Callable[[int], str],
    price_decimals: int = 2,
    qty_decimals: int = 8,
    quote_decimals: int = 2,
) -> int:
    """The trades of a symbol, in order; returns how many. ExportFailed where a price or quantity has more decimals than that."""
    with one_state(path) as connection:
        listing = next(connection.execute(SYMBOL, (symbol,)), None)
        if listing is None:
            raise ExportFailed(f"{path}: symbol {symbol} is not listed there.")
        steps, decimals = Steps(*listing), Decimals(price_decimals, qty_decimals, quote_decimals)
        out.write(TRADES_HEADER)
        written = 0
        for row in connection.execute(TRADES, (symbol,)):
            out.write(trade_line(ExportedTrade(*row), steps, decimals, account_name))
            written += 1
    return written


def trade_line(trade: ExportedTrade, steps: Steps, decimals: Decimals, account_name: Callable[[int], str]) -> str:
    """A line of the file. ExportFailed."""
    number = trade.trade_id
    price = scaled(trade.price_ticks * steps.tick, steps.tick_decimals, decimals.price, f"the price of trade {number}")
    qty = scaled(trade.qty_lots * steps.lot, steps.lot_decimals, decimals.qty, f"the quantity of trade {number}")
    quote_amount = trade.quote_atoms * ten_to(decimals.quote) // ten_to(steps.quote_decimals)
    side = "buy" if trade.taker_is_buyer else "sell"
    names = ",".join(map(cell, (trade.taker, trade.maker, account_name(trade.buyer), account_name(trade.seller))))
    return f"{number},{names},{side},{price},{qty},{quote_amount}\n"


def write_balances_csv(
    path: Path, out: TextIO, *, account_name: Callable[[int], str], asset_name: Callable[[int], str], decimals: Mapping[int, int]
) -> int:
    """
    The users' balances, by account and asset; returns how many.

    `decimals`: of an asset's integers in the file, its own where it has no entry; ExportFailed where a balance has more. `version` counts
    the events that stated the balance; other systems count otherwise.
    """
    with one_state(path) as connection:
        out.write(BALANCES_HEADER)
        written = 0
        for account, asset, asset_decimals, available_atoms, frozen_atoms, version in connection.execute(BALANCES, (FIRST_USER,)):
            wanted = decimals.get(asset, asset_decimals)
            what = f"the balance of account {account} in asset {asset}"
            available = scaled(available_atoms, asset_decimals, wanted, what)
            frozen = scaled(frozen_atoms, asset_decimals, wanted, what)
            out.write(f"{cell(account_name(account))},{cell(asset_name(asset))},{available},{frozen},{version}\n")
            written += 1
    return written


def scaled(value: int, decimals: int, wanted: int, what: str) -> int:
    """An integer of `decimals` decimals as one of `wanted`. ExportFailed if that drops anything."""
    if wanted >= decimals:
        return value * ten_to(wanted - decimals)
    whole, rest = divmod(value, ten_to(decimals - wanted))
    if rest:
        raise ExportFailed(f"{what} does not fit {wanted} decimals: ask for {decimals}.")
    return whole


def ten_to(exponent: int) -> int:
    return int("1" + "0" * exponent)
