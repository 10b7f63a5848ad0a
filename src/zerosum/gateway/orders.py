"""
Placing and canceling: parameters to commands, and the events of a command to its answer.

    order.place --> NewOrder --filters--> PLACE  --> ADMITTED, FILL ..., DONE --> ACK, RESULT, FULL
    order.cancel -----------------------> CANCEL --> DONE --> the canceled order

Always true: an answer is made of the events of its own command, and of what no later command can change; so it is the same however commands
were grouped.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final, NamedTuple, final

from msgspec import UNSET

from zerosum.core import records
from zerosum.core.codes import LIMIT, LIMIT_MAKER, MARKET, MARKET_QUOTE, SELF_TRADE, STP_NONE
from zerosum.gateway import answers, errors
from zerosum.gateway.calls import Call
from zerosum.gateway.decimals import ratio_text
from zerosum.gateway.entry import Entry, Event
from zerosum.gateway.errors import ENDS, Kind, error_of
from zerosum.gateway.instruments import Instrument, Instruments
from zerosum.gateway.parameters import (
    CLIENT_ID,
    SIDES,
    STP_MODES,
    TIMES_IN_FORCE,
    Params,
    boolean,
    client_id,
    integer,
    mandatory,
    matching,
    one_of,
)  # fmt: skip
from zerosum.settlement.rows import FILLED, OrderRow
from zerosum.views.views import Views

KIND_MASK: Final = 0xFF
CLIENT_BYTES: Final = 8 * len(records.CLIENT)


def packer(kind: int, layout: str) -> Callable[..., bytes]:
    """Packs a command of this kind: HEAD and TIME are filled in, client ids are `s` fields."""
    form = struct.Struct(layout)
    words = records.FIELDS + len(records.COMMANDS[kind][1])
    assert form.size == words * 8, "the layout has the words of the command"
    pack, head = form.pack, int(records.head(kind, words))
    return lambda *fields: pack(head, 0, *fields)


pack_place: Final = packer(records.PLACE, f"<8q{CLIENT_BYTES}s")
pack_cancel: Final = packer(records.CANCEL, f"<6q{CLIENT_BYTES}s{CLIENT_BYTES}s")
pack_cancel_all: Final = packer(records.CANCEL_ALL, f"<5q{CLIENT_BYTES}s")

ACK: Final = "ACK"
RESULT: Final = "RESULT"
FULL: Final = "FULL"
RESPONSES: Final = frozenset({ACK, RESULT, FULL})

ORDER_PARAMETERS: Final = frozenset(
    {
        "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId", "stopPrice", "trailingDelta",
        "icebergQty", "newOrderRespType", "selfTradePreventionMode",
    }
)  # fmt: skip
CANCEL_PARAMETERS: Final = frozenset({"symbol", "orderId", "origClientOrderId", "newClientOrderId"})

# What each served type must have, and what it can't: the first that is at fault is named.
REQUIRED: Final = {LIMIT: ("timeInForce", "quantity", "price"), LIMIT_MAKER: ("quantity", "price"), MARKET: ()}
REFUSED: Final = {
    LIMIT: ("quoteOrderQty", "stopPrice", "trailingDelta"),
    LIMIT_MAKER: ("timeInForce", "quoteOrderQty", "stopPrice", "trailingDelta"),
    MARKET: ("timeInForce", "price", "stopPrice", "trailingDelta", "icebergQty"),
}
TYPES: Final = {"LIMIT": LIMIT, "LIMIT_MAKER": LIMIT_MAKER, "MARKET": MARKET}
UNSERVED_TYPES: Final[dict[str, Kind]] = {
    "STOP_LOSS": errors.NO_STOP_LOSS,
    "STOP_LOSS_LIMIT": errors.NO_STOP_LOSS_LIMIT,
    "TAKE_PROFIT": errors.NO_TAKE_PROFIT,
    "TAKE_PROFIT_LIMIT": errors.NO_TAKE_PROFIT_LIMIT,
}


class NewOrder(NamedTuple):
    """An order that fits its symbol's filters."""

    instrument: Instrument
    terms: int
    price_ticks: int
    qty_lots: int
    budget_atoms: int
    client_id: str  # "": to be made
    response: str


def new_order(params: Params, instruments: Instruments) -> NewOrder:
    """Raises ApiError."""
    instrument = instruments.of(params)
    side = one_of(params, "side", SIDES, errors.INVALID_SIDE)
    order_type = type_of(params)
    price_ticks = qty_lots = budget_atoms = tif = 0
    if order_type != MARKET:
        price_ticks = instrument.price.steps(params["price"], "price")
        qty_lots = instrument.qty.steps(params["quantity"], "quantity")
        if order_type == LIMIT:
            tif = one_of(params, "timeInForce", TIMES_IN_FORCE, errors.INVALID_TIME_IN_FORCE)
    elif "quantity" in params:
        qty_lots = instrument.qty.steps(params["quantity"], "quantity")
    else:
        order_type = MARKET_QUOTE
        budget_atoms = instrument.quote_amount.steps(params["quoteOrderQty"], "quoteOrderQty")
    stp = stp_of(params)
    response = params.get("newOrderRespType")
    if response is None:
        response = ACK if order_type == LIMIT_MAKER else FULL
    elif response not in RESPONSES:
        raise errors.INVALID_PARAMETER.of("newOrderRespType")
    client = params.get("newClientOrderId", "")
    if client:
        matching(client, "newClientOrderId", CLIENT_ID)
    instrument.check_filters(order_type, price_ticks, qty_lots, budget_atoms)
    terms = side | order_type << 8 | tif << 16 | stp << 24 | instrument.number << 32
    return NewOrder(instrument, terms, price_ticks, qty_lots, budget_atoms, client, response)


def type_of(params: Params) -> int:
    """LIMIT, LIMIT_MAKER or MARKET, with all that it must have and nothing that it can't. Raises ApiError."""
    name = mandatory(params, "type")
    order_type = TYPES.get(name)
    if order_type is None:
        if name not in UNSERVED_TYPES:
            raise errors.INVALID_ORDER_TYPE.of()
        raise (errors.NO_TRAILING_STOP if "trailingDelta" in params else UNSERVED_TYPES[name]).of()
    for required in REQUIRED[order_type]:
        if required not in params:
            raise errors.MANDATORY.of(required)
    for refused in REFUSED[order_type]:
        if refused in params:
            raise errors.NOT_REQUIRED.of(refused)
    if "icebergQty" in params:
        raise errors.NO_ICEBERG.of()
    if order_type == MARKET:
        given = ("quantity" in params) + ("quoteOrderQty" in params)
        if given == 0:
            raise errors.ONE_OF_TWO.of("quantity", "quoteOrderQty")
        if given == 2:
            raise errors.BAD_COMBINATION.of()
    return order_type


def stp_of(params: Params) -> int:
    name = params.get("selfTradePreventionMode")
    if name is None:
        return STP_NONE
    stp = STP_MODES.get(name)
    if stp is None:
        raise errors.INVALID_PARAMETER.of("selfTradePreventionMode")
    return stp


def named_order(params: Params) -> tuple[int | None, str | None]:
    """(orderId, origClientOrderId), at least one of which is there. Raises ApiError."""
    order_text = params.get("orderId")
    client = client_id(params, "origClientOrderId")
    if order_text is None:
        if client is None:
            raise errors.ONE_OF_TWO.of("origClientOrderId", "orderId")
        return None, client
    return integer(order_text, "orderId"), client


@final
class Orders:
    __slots__ = ("entry", "ids", "instruments", "views")

    def __init__(self, entry: Entry, views: Views, instruments: Instruments) -> None:
        self.entry = entry
        self.views = views
        self.instruments = instruments
        self.ids = made_ids()

    def place(self, call: Call) -> None:
        order = new_order(call.params, self.instruments)
        call.use_order()
        client = order.client_id or next(self.ids)
        instrument, terms, price_ticks, qty_lots, budget_atoms, _, _ = order
        cap_ticks = price_ticks or instrument.cap_ticks(terms >> 8 & 0xFF, terms & 1, qty_lots)
        command = pack_place(call.account_id, terms, cap_ticks, qty_lots, budget_atoms, call.deadline_us, client.encode("ascii"))
        call.submitted = True
        self.entry.submit(command, Placing(call, order, client).answer, call.lost)

    def test(self, call: Call) -> None:
        """Everything that `place` checks before it submits."""
        shows_rates = boolean(call.params, "computeCommissionRates", False)
        if shows_rates:
            call.use_weight(19)  # 20 in all
        new_order(call.params, self.instruments)
        if not shows_rates:
            return call.ok(b"{}")
        account = self.views.account(call.account_id)
        if account is None:
            raise errors.ACCOUNT_MAY_NOT_TRADE.of()
        rates = {"maker": ratio_text(account.maker_ppm), "taker": ratio_text(account.taker_ppm)}
        none = {"maker": answers.ZERO, "taker": answers.ZERO}
        discount = {"enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "", "discount": answers.ZERO}
        call.ok(answers.encode({"standardCommissionForOrder": rates, "taxCommissionForOrder": none, "discount": discount}))

    def cancel(self, call: Call) -> None:
        params = call.params
        instrument = self.instruments.of(params)
        order_id, client = named_order(params)
        if order_id == 0:
            raise errors.UNKNOWN_ORDER.of()  # no order has it; in a command 0 means that none is named
        cancel_id = client_id(params, "newClientOrderId") or next(self.ids)
        command = pack_cancel(
            call.account_id, instrument.number << 32, order_id or 0, call.deadline_us, (client or "").encode("ascii"),
            cancel_id.encode("ascii"),
        )  # fmt: skip
        call.submitted = True
        self.entry.submit(command, Canceling(call, instrument, self.views, cancel_id).answer, call.lost)

    def cancel_all(self, call: Call) -> None:
        instrument = self.instruments.of(call.params)
        cancel_id = next(self.ids)
        command = pack_cancel_all(call.account_id, instrument.number << 32, call.deadline_us, cancel_id.encode("ascii"))
        call.submitted = True
        self.entry.submit(command, Canceling(call, instrument, self.views, cancel_id).answer_all, call.lost)


@final
class Placing:
    """An order under way."""

    __slots__ = ("call", "client_id", "order")

    def __init__(self, call: Call, order: NewOrder, client_id: str) -> None:
        self.call = call
        self.order = order
        self.client_id = client_id

    def answer(self, events: list[Event]) -> None:
        self.call.run(self.tell, events)

    def tell(self, events: list[Event]) -> None:
        admitted = events[0]
        kind = admitted[0] & KIND_MASK
        if kind != records.ADMITTED:
            return self.call.fail(error_of(admitted[5]) if kind == records.REFUSED else errors.UNKNOWN.of())
        order_id = admitted[4]
        open_lots = admitted[8]
        executed_lots = quote_tick_lots = prevented_lots = reason = 0
        fills: list[Event] = []
        for event in events:
            if event[4] != order_id:
                continue  # a maker's
            kind = event[0] & KIND_MASK
            if kind == records.FILL:
                executed_lots += event[10]
                quote_tick_lots += event[9] * event[10]
                open_lots = event[12]
                fills.append(event)
            elif kind == records.DONE:
                reason = event[7]
                if reason == SELF_TRADE:
                    prevented_lots += event[8]
            elif kind == records.REJECTED:
                return self.call.fail(error_of(event[7]))
            elif kind == records.REDUCED:
                prevented_lots += open_lots - event[8]
                open_lots = event[8]
        order = self.order
        instrument, terms = order.instrument, order.terms
        divisor = self.call.divisor
        if order.response == ACK:
            return self.call.ok(answers.encode(answers.Ack(instrument.name, order_id, -1, self.client_id, admitted[3] // divisor)))
        if reason:
            status = ENDS[reason]
        else:
            status = answers.open_status(executed_lots) if open_lots else FILLED
        row = OrderRow(
            self.call.account_id, instrument.number, order_id, self.client_id, terms & 0xFF, terms >> 8 & 0xFF, terms >> 16 & 0xFF,
            terms >> 24 & 0xFF, order.price_ticks, order.qty_lots, executed_lots, prevented_lots,
            quote_tick_lots * instrument.tick_lot_atoms, order.budget_atoms, 0, status, reason, 0, 0, admitted[3], admitted[3],
        )  # fmt: skip
        shown = [answers.fill(instrument, row.side, event) for event in fills] if order.response == FULL else UNSET
        self.call.ok(answers.encode(answers.placed(instrument, row, shown, divisor)))


@final
class Canceling:
    """One cancel under way, or one of everything on a symbol."""

    __slots__ = ("call", "cancel_id", "instrument", "views")

    def __init__(self, call: Call, instrument: Instrument, views: Views, cancel_id: str) -> None:
        self.call = call
        self.instrument = instrument
        self.views = views
        self.cancel_id = cancel_id

    def answer(self, events: list[Event]) -> None:
        self.call.run(self.tell, events)

    def answer_all(self, events: list[Event]) -> None:
        self.call.run(self.tell_all, events)

    def tell(self, events: list[Event]) -> None:
        canceled = self.canceled(events)
        if canceled:
            self.call.ok(answers.encode(canceled[0]))

    def tell_all(self, events: list[Event]) -> None:
        canceled = self.canceled(events)
        if canceled:
            self.call.ok(answers.encode(sorted(canceled, key=lambda one: one.order_id)))

    def canceled(self, events: list[Event]) -> list[answers.Canceled]:
        """What was canceled; if nothing, the call has failed."""
        found: list[answers.Canceled] = []
        error = errors.UNKNOWN.of()
        for event in events:
            kind = event[0] & KIND_MASK
            if kind == records.DONE:
                order = self.views.order(self.call.account_id, event[4])
                assert order is not None, "an order is not forgotten before the command that ended it is answered"
                row = answers.row_of(order, self.instrument.tick_lot_atoms)
                found.append(answers.canceled(self.instrument, row, self.cancel_id, self.call.divisor))
            elif kind in (records.REFUSED, records.CANCEL_REJECTED):
                error = error_of(event[5])
        if not found:
            self.call.fail(error)
        return found


def made_ids() -> Iterator[str]:
    """Client ids for orders that came without one: 22 characters, no two alike, also not after a restart."""
    prefix = secrets.token_hex(6)
    return (f"{prefix}{number:010x}" for number in count())
