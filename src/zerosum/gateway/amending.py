"""
Making an open order smaller without losing its place in the book.

    order.amend.keepPriority --> the order as the views show it --> REDUCE by the difference --> REDUCED --> the amended order
                                                                                          +--> DONE, where nothing would be left open

Always true: of one order, a gateway has one amendment under way at a time, for each says by how much; one whose outcome is not known counts
until its deadline has passed, after which it can't be applied any more.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple, final

from zerosum.core import records
from zerosum.core.codes import UNKNOWN_ORDER
from zerosum.core.records import CLIENT, text_words
from zerosum.gateway import answers, errors
from zerosum.gateway.calls import Call
from zerosum.gateway.entry import Busy, Entry, Event
from zerosum.gateway.errors import ApiError, error_of
from zerosum.gateway.instruments import Instrument, Instruments
from zerosum.gateway.orders import KIND_MASK, named_order, packer
from zerosum.gateway.parameters import client_id, mandatory
from zerosum.views.accounts import OPEN, Order
from zerosum.views.views import Views

AMEND_PARAMETERS: Final = frozenset({"symbol", "orderId", "origClientOrderId", "newClientOrderId", "newQty"})

pack_reduce: Final = packer(records.REDUCE, "<6q40xq")


class Amendment(NamedTuple):
    """What is asked for; `new_client` is None or the client id that the order has already."""

    instrument: Instrument
    order_id: int | None
    client: str | None
    new_client: str | None
    new_lots: int


@final
class Amending:
    __slots__ = ("entry", "instruments", "under_way", "views")

    def __init__(self, entry: Entry, views: Views, instruments: Instruments) -> None:
        self.entry = entry
        self.views = views
        self.instruments = instruments
        self.under_way: dict[int, int] = {}  # order id: its command's deadline

    def amend(self, call: Call) -> None:
        params = call.params
        instrument = self.instruments.of(params)
        order_id, client = named_order(params)
        new_lots = instrument.qty.steps(mandatory(params, "newQty"), "newQty")
        wanted = Amendment(instrument, order_id, client, client_id(params, "newClientOrderId"), new_lots)
        if self.find(call, wanted) is not None:
            return self.submit(call, wanted)
        self.entry.barrier(call.account_id, partial(self.find_late, call, wanted))  # another gateway may have it

    def find_late(self, call: Call, wanted: Amendment, passed: bool) -> None:
        if not passed:
            return call.fail(errors.TIMEOUT.of())
        call.run(self.submit, call, wanted)

    def find(self, call: Call, wanted: Amendment) -> Order | None:
        """The order, if it is open."""
        words = None if wanted.client is None else text_words(wanted.client, len(CLIENT))
        if wanted.order_id is not None:
            order = self.views.order(call.account_id, wanted.order_id)
        else:
            assert words is not None, "an order is named by one or both"
            order = self.views.order_by_client(call.account_id, words)
        if order is None or order.state != OPEN or order.symbol != wanted.instrument.number or words not in (None, order.client):
            return None
        return order

    def submit(self, call: Call, wanted: Amendment) -> None:
        order = self.find(call, wanted)
        if order is None:
            raise errors.AMEND_UNKNOWN_ORDER.of()
        by_lots = self.checked(call, wanted, order)
        command = pack_reduce(call.account_id, order.terms >> 32 << 32, order.order_id, call.deadline_us, by_lots)
        call.submitted = True
        self.under_way[order.order_id] = call.deadline_us
        try:
            self.entry.submit(command, partial(self.answer, call, wanted, order.order_id), partial(self.lose, call))
        except Busy:
            del self.under_way[order.order_id]
            raise

    def checked(self, call: Call, wanted: Amendment, order: Order) -> int:
        """By how many lots the order becomes smaller. Raises ApiError."""
        if wanted.new_client not in (None, answers.client_text(order.client)):
            raise errors.INVALID_PARAMETER.of("newClientOrderId")
        if wanted.new_lots > order.qty_lots:
            raise errors.AMEND_LARGER.of()
        if wanted.new_lots == order.qty_lots:
            raise errors.AMEND_NOTHING.of()
        wanted.instrument.check_filters(order.terms >> 8 & 0xFF, order.price_ticks, wanted.new_lots, 0)
        if self.under_way.get(order.order_id, 0) >= call.now_us:
            raise errors.AMEND_UNDER_WAY.of()
        return order.qty_lots - wanted.new_lots

    def answer(self, call: Call, wanted: Amendment, order_id: int, events: list[Event]) -> None:
        self.under_way.pop(order_id, None)
        call.run(self.tell, call, wanted, events)

    def lose(self, call: Call) -> None:
        self.under_way = {order_id: deadline_us for order_id, deadline_us in self.under_way.items() if deadline_us >= call.now_us}
        call.lost()

    def tell(self, call: Call, wanted: Amendment, events: list[Event]) -> None:
        error: ApiError = errors.UNKNOWN.of()
        for event in events:
            kind = event[0] & KIND_MASK
            if kind in (records.REDUCED, records.DONE):
                order = self.views.order(call.account_id, event[4])
                assert order is not None, "an order is not forgotten before the command that ended it is answered"
                row = answers.row_of(order, wanted.instrument.tick_lot_atoms)
                return call.ok(answers.encode(answers.amended(wanted.instrument, row, event[1], event[3], call.divisor)))
            if kind in (records.REFUSED, records.CANCEL_REJECTED):
                error = errors.AMEND_UNKNOWN_ORDER.of() if event[5] == UNKNOWN_ORDER else error_of(event[5])
        call.fail(error)
