"""
The JSON of answers: one class for each shape, fields in the order in which clients know them; and how orders become them.

Always true: amounts are decimal strings, ids integers, times integers in the unit that was asked for.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from zerosum.core.codes import FOK_BUDGET, LIMIT, LIMIT_MAKER, MARKET, MARKET_QUOTE, SELL
from zerosum.gateway.decimals import Scale
from zerosum.gateway.errors import ENDS
from zerosum.gateway.instruments import Instrument
from zerosum.gateway.parameters import SIDES, STP_MODES, TIMES_IN_FORCE
from zerosum.settlement.rows import EXPIRED, FILLED, NEW, PARTIALLY_FILLED, REJECTED, OrderRow, UserTradeRow
from zerosum.views import accounts
from zerosum.views.accounts import Order
from zerosum.views.events import Event

encode: Final = msgspec.json.Encoder().encode

TYPE_NAMES: Final = {LIMIT: "LIMIT", LIMIT_MAKER: "LIMIT_MAKER", MARKET: "MARKET", MARKET_QUOTE: "MARKET", FOK_BUDGET: "MARKET"}
SIDE_NAMES: Final = {code: name for name, code in SIDES.items()}
TIF_NAMES: Final = {code: name for name, code in TIMES_IN_FORCE.items()}
STP_NAMES: Final = {code: name for name, code in STP_MODES.items()}
ZERO: Final = "0.00000000"


class Ack(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    order_list_id: int
    client_order_id: str
    transact_time: int


class Fill(msgspec.Struct, rename="camel"):
    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int


class Placed(msgspec.Struct, rename="camel"):
    """RESULT; with fills, FULL."""

    symbol: str
    order_id: int
    order_list_id: int
    client_order_id: str
    transact_time: int
    price: str
    orig_qty: str
    executed_qty: str
    orig_quote_order_qty: str
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    working_time: int
    self_trade_prevention_mode: str
    prevented_quantity: str | UnsetType = UNSET
    fills: list[Fill] | UnsetType = UNSET


class Canceled(msgspec.Struct, rename="camel"):
    symbol: str
    orig_client_order_id: str
    order_id: int
    order_list_id: int
    client_order_id: str
    transact_time: int
    price: str
    orig_qty: str
    executed_qty: str
    orig_quote_order_qty: str
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    self_trade_prevention_mode: str
    prevented_quantity: str | UnsetType = UNSET


class AmendedOrder(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    order_list_id: int
    orig_client_order_id: str
    client_order_id: str
    price: str
    qty: str
    executed_qty: str
    prevented_qty: str
    quote_order_qty: str
    cumulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    working_time: int
    self_trade_prevention_mode: str


class Amended(msgspec.Struct, rename="camel"):
    transact_time: int
    execution_id: int
    amended_order: AmendedOrder


class OrderInfo(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    order_list_id: int
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    stop_price: str
    iceberg_qty: str
    time: int
    update_time: int
    is_working: bool
    working_time: int
    orig_quote_order_qty: str
    self_trade_prevention_mode: str
    prevented_quantity: str | UnsetType = UNSET


class UserTrade(msgspec.Struct, rename="camel"):
    symbol: str
    id: int
    order_id: int
    order_list_id: int
    price: str
    qty: str
    quote_qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool
    is_best_match: bool


class PublicTrade(msgspec.Struct, rename="camel"):
    id: int
    price: str
    qty: str
    quote_qty: str
    time: int
    is_buyer_maker: bool
    is_best_match: bool


class Depth(msgspec.Struct, rename="camel"):
    last_update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Balance(msgspec.Struct):
    asset: str
    free: str
    locked: str


class Rates(msgspec.Struct):
    maker: str
    taker: str
    buyer: str = ZERO
    seller: str = ZERO


class AccountInfo(msgspec.Struct, rename="camel"):
    maker_commission: int  # in ten-thousandths
    taker_commission: int
    buyer_commission: int
    seller_commission: int
    commission_rates: Rates
    can_trade: bool
    can_withdraw: bool
    can_deposit: bool
    brokered: bool
    require_self_trade_prevention: bool
    prevent_sor: bool
    update_time: int
    account_type: str
    balances: list[Balance]
    permissions: list[str]
    uid: int


# ---------------------------------------------------------------------- orders


class Numbers(NamedTuple):
    """An order's numbers as texts, the same in every answer about it."""

    price: str
    orig_qty: str
    executed_qty: str
    orig_quote_order_qty: str
    cummulative_quote_qty: str
    prevented_quantity: str | UnsetType


def numbers(instrument: Instrument, row: OrderRow) -> Numbers:
    is_quote_order = row.type == MARKET_QUOTE
    qty, quote = instrument.qty.text, instrument.quote_amount.text
    executed = qty(row.executed_lots)
    return Numbers(
        instrument.price.text(row.price_ticks),
        executed if is_quote_order else qty(row.qty_lots),  # such an order never asked for a quantity
        executed,
        quote(row.budget_atoms if is_quote_order else 0),
        quote(row.quote_atoms),
        qty(row.prevented_lots) if row.prevented_lots and not is_quote_order else UNSET,
    )


def status_of(row: OrderRow) -> str:
    """
    A market order by quote quantity always ends with something left of its budget, if only dust: less than the price of two of its lots, on
    average, is dust, and then it is filled.
    """
    if (
        row.status == EXPIRED
        and row.type == MARKET_QUOTE
        and (row.budget_atoms - row.quote_atoms) * row.executed_lots < 2 * row.quote_atoms
    ):
        return FILLED
    return row.status


def open_status(executed_lots: int) -> str:
    return PARTIALLY_FILLED if executed_lots else NEW


def client_text(words: Event) -> str:
    """A client id's words as text. What did not come through a gateway may be any bytes."""
    return struct.pack("<5q", *words).rstrip(b"\0").decode("ascii", "replace")


def row_of(order: Order, tick_lot_atoms: int) -> OrderRow:
    """An order of the views as the settled record will have it (but for what is frozen, and its trades)."""
    if order.state == accounts.OPEN:
        status = open_status(order.executed_lots)
    elif order.state == accounts.FILLED:
        status = FILLED
    else:
        status = REJECTED if order.state == accounts.REJECTED else ENDS[order.reason]
    terms = order.terms
    return OrderRow(
        order.account.account_id, terms >> 32, order.order_id, client_text(order.client), terms & 0xFF, terms >> 8 & 0xFF,
        terms >> 16 & 0xFF, terms >> 24 & 0xFF, order.price_ticks, order.qty_lots, order.executed_lots, order.prevented_lots,
        order.quote_tick_lots * tick_lot_atoms, order.budget_atoms, 0, status, order.reason, 0, 0, order.created_us, order.updated_us,
    )  # fmt: skip


def order_info(instrument: Instrument, row: OrderRow, divisor: int) -> OrderInfo:
    texts = numbers(instrument, row)
    created = row.created_us // divisor
    return OrderInfo(
        instrument.name, row.order_id, -1, row.client_id, texts.price, texts.orig_qty, texts.executed_qty, texts.cummulative_quote_qty,
        status_of(row), TIF_NAMES[row.tif], TYPE_NAMES[row.type], SIDE_NAMES[row.side], ZERO, ZERO, created, row.updated_us // divisor,
        True, created, texts.orig_quote_order_qty, STP_NAMES[row.stp], texts.prevented_quantity,
    )  # fmt: skip


def placed(instrument: Instrument, row: OrderRow, fills: list[Fill] | UnsetType, divisor: int) -> Placed:
    texts = numbers(instrument, row)
    created = row.created_us // divisor
    return Placed(
        instrument.name, row.order_id, -1, row.client_id, created, texts.price, texts.orig_qty, texts.executed_qty,
        texts.orig_quote_order_qty, texts.cummulative_quote_qty, status_of(row), TIF_NAMES[row.tif], TYPE_NAMES[row.type],
        SIDE_NAMES[row.side], created, STP_NAMES[row.stp], texts.prevented_quantity, fills,
    )  # fmt: skip


def canceled(instrument: Instrument, row: OrderRow, cancel_id: str, divisor: int) -> Canceled:
    texts = numbers(instrument, row)
    return Canceled(
        instrument.name, row.client_id, row.order_id, -1, cancel_id, row.updated_us // divisor, texts.price, texts.orig_qty,
        texts.executed_qty, texts.orig_quote_order_qty, texts.cummulative_quote_qty, status_of(row), TIF_NAMES[row.tif],
        TYPE_NAMES[row.type], SIDE_NAMES[row.side], STP_NAMES[row.stp], texts.prevented_quantity,
    )  # fmt: skip


def amended(instrument: Instrument, row: OrderRow, sequence: int, time_us: int, divisor: int) -> Amended:
    texts = numbers(instrument, row)
    order = AmendedOrder(
        instrument.name, row.order_id, -1, row.client_id, row.client_id, texts.price, texts.orig_qty, texts.executed_qty,
        ZERO if texts.prevented_quantity is UNSET else texts.prevented_quantity, texts.orig_quote_order_qty, texts.cummulative_quote_qty,
        status_of(row), TIF_NAMES[row.tif], TYPE_NAMES[row.type], SIDE_NAMES[row.side], row.created_us // divisor, STP_NAMES[row.stp],
    )  # fmt: skip
    return Amended(time_us // divisor, sequence, order)


def fill(instrument: Instrument, side: int, event: Event) -> Fill:
    """Of a FILL event; the fee is of what the side received."""
    amount, asset = received(instrument, side)
    return Fill(instrument.price.text(event[9]), instrument.qty.text(event[10]), amount.text(event[11]), asset, event[8])


def received(instrument: Instrument, side: int) -> tuple[Scale, str]:
    """In what a side is paid, and pays its fees."""
    if side == SELL:
        return instrument.quote_amount, instrument.quote_name
    return instrument.base_amount, instrument.base_name


def user_trade(instrument: Instrument, row: UserTradeRow, divisor: int) -> UserTrade:
    amount, asset = received(instrument, row.side)
    return UserTrade(
        instrument.name, row.trade_id, row.order_id, -1, instrument.price.text(row.price_ticks), instrument.qty.text(row.qty_lots),
        instrument.quote_amount.text(row.quote_atoms), amount.text(row.fee_atoms), asset, row.time_us // divisor, row.side != SELL,
        not row.is_taker, True,
    )  # fmt: skip
