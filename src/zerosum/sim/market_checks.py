"""
What gateways show of markets, against what the engines' events make of them: each book as the orders in it make it, and the trades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, final

from zerosum.core import records
from zerosum.core.codes import BUY, SELL
from zerosum.gateway.entry import Event
from zerosum.views.events import unpacked
from zerosum.views.markets import Markets

LEVELS_MAX: Final = 1_000_000


def check_markets(shown_by: dict[str, Markets], market_events: list[bytes]) -> Iterator[str]:
    """`shown_by`: each gateway's markets. `market_events`: of each engine."""
    books = Books()
    for data in market_events:
        books.take(unpacked(data))
    for name, markets in shown_by.items():
        for symbol, market in markets.by_number.items():
            for side, ladder in ((BUY, market.bids), (SELL, market.asks)):
                shown = dict(ladder.levels(LEVELS_MAX))
                if shown != books.levels(symbol, side):
                    yield f"{name} shows {shown} on side {side} of symbol {symbol}, and its orders make {books.levels(symbol, side)}"
            trades = [(trade.price_ticks, trade.qty_lots) for _, trade in market.last_trades(LEVELS_MAX)]
            there = books.trades[symbol][-len(trades) :] if trades else []
            if trades != there or (books.trades[symbol] and not trades):
                yield f"{name} shows other trades of symbol {symbol} than there were: {trades[-3:]}, {there[-3:]}"
            if market.reference_ticks != books.reference[symbol]:
                yield f"{name} has {market.reference_ticks} as the last price of symbol {symbol}, and that is {books.reference[symbol]}"


@final
class Books:
    """Order by order: what rests where."""

    def __init__(self) -> None:
        self.trades: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # by symbol: price, lots
        self.reference: dict[int, int] = {}  # by symbol
        self._resting: dict[int, tuple[int, int, int, int]] = {}  # order: symbol, side, price, lots

    def take(self, events: list[Event]) -> None:
        for event in events:
            fields = records.named(event)
            if fields["kind"] == records.BOOK:
                place = fields["symbol_side"] >> 1, fields["symbol_side"] & 1, fields["price_ticks"]
                self._rest(fields["order_id"], place, fields["open_lots"])
            elif fields["kind"] == records.TRADE:
                maker = fields["maker_order_id"]
                self.reference[fields["symbol_side"] >> 1] = fields["price_ticks"]
                self.trades[fields["symbol_side"] >> 1].append((fields["price_ticks"], fields["qty_lots"]))
                self._rest(maker, self._resting[maker][:3], fields["maker_open_lots"])
            elif fields["kind"] == records.MARKET_STATUS:
                self.reference[fields["symbol"]] = fields["reference_ticks"]

    def _rest(self, order_id: int, place: tuple[int, int, int], lots: int) -> None:
        self._resting.pop(order_id, None)
        if lots:
            self._resting[order_id] = (*place, lots)

    def levels(self, symbol: int, side: int) -> dict[int, int]:
        """Price: lots."""
        found: defaultdict[int, int] = defaultdict(int)
        for of_symbol, of_side, price, lots in self._resting.values():
            if (of_symbol, of_side) == (symbol, side):
                found[price] += lots
        return dict(found)
