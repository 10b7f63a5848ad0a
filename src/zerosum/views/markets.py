"""
What the market events show of each symbol: its book by price, its last trades, its status and the price of its last trade.

    BOOK, TRADE --> Ladder: lots by price        keys sorted, best last: a new level is mostly near the best
    TRADE       --> the last 1,000 trades

Always true: a level is in a ladder if and only if it has lots; `last_update_id` is the sequence of the last market event that was the
symbol's.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import islice
from typing import Final, NamedTuple, final

from zerosum.core.codes import PPM
from zerosum.core.listings import Symbol
from zerosum.views.events import Event

TRADES_MAX: Final = 1000


class Trade(NamedTuple):
    """`symbol_side` & 1 is the taker's side. Accounts are for their owners alone."""

    trade_id: int
    symbol_side: int
    price_ticks: int
    qty_lots: int
    taker_order_id: int
    maker_order_id: int
    taker_account: int
    maker_account: int
    maker_open_lots: int
    level_lots: int


@final
class Ladder:
    """One side of a book: lots by price. A bid's key is its price, an ask's its price negated, so the best key is always the largest."""

    __slots__ = ("keys", "lots", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.lots: dict[int, int] = {}

    def put(self, price_ticks: int, level_lots: int) -> None:
        key = price_ticks * self.sign
        if level_lots:
            if key not in self.lots:
                insort(self.keys, key)
            self.lots[key] = level_lots
        else:
            del self.lots[key]
            del self.keys[bisect_left(self.keys, key)]

    def best(self) -> tuple[int, int] | None:
        """(price_ticks, lots), or None."""
        if not self.keys:
            return None
        key = self.keys[-1]
        return key * self.sign, self.lots[key]

    def levels(self, limit: int) -> list[tuple[int, int]]:
        """(price_ticks, lots) of the best `limit` levels, best first."""
        sign = self.sign
        lots = self.lots
        return [(key * sign, lots[key]) for key in islice(reversed(self.keys), limit)]

    def price_for(self, qty_lots: int, levels_max: int) -> int:
        """The price of the last lot that a taker of `qty_lots` would meet, in ticks; 0 if the best `levels_max` levels have not as many."""
        for key in islice(reversed(self.keys), levels_max):
            qty_lots -= self.lots[key]
            if qty_lots <= 0:
                return key * self.sign
        return 0


@final
class Market:
    """One symbol. `reference_ticks` is the price of its last trade, before any the listing's; 0 without either."""

    __slots__ = ("asks", "bids", "last_update_id", "reference_ticks", "status", "trades")

    def __init__(self) -> None:
        self.bids = Ladder(1)
        self.asks = Ladder(-1)
        self.trades: deque[Event] = deque(maxlen=TRADES_MAX)
        self.status = 0
        self.reference_ticks = 0
        self.last_update_id = 0

    def last_trades(self, limit: int) -> list[tuple[int, Trade]]:
        """(time_us, trade) of the newest `limit`, oldest first."""
        newest = list(islice(reversed(self.trades), limit))
        return [(event[3], Trade._make(event[4:])) for event in reversed(newest)]

    def band_high(self, symbol: Symbol) -> int:
        """The highest price that an order may have now, in ticks; 0 where no band bounds it, for want of one or of a reference."""
        return min(symbol.max_price_ticks, self.reference_ticks * symbol.band_up_ppm // PPM)


@final
class Markets:
    __slots__ = ("by_number", "ladders")

    def __init__(self) -> None:
        self.by_number: dict[int, Market] = {}
        self.ladders: dict[int, Ladder] = {}  # by symbol << 1 | side

    def add(self, symbol: int) -> Market:
        market = self.by_number[symbol] = Market()
        self.ladders[symbol << 1] = market.bids
        self.ladders[symbol << 1 | 1] = market.asks
        return market

    def book(self, event: Event) -> None:
        symbol_side = event[5]
        self.ladders[symbol_side].put(event[6], event[8])
        self.by_number[symbol_side >> 1].last_update_id = event[1]

    def trade(self, event: Event) -> None:
        symbol_side = event[5]
        self.ladders[symbol_side ^ 1].put(event[6], event[13])
        market = self.by_number[symbol_side >> 1]
        market.last_update_id = event[1]
        market.reference_ticks = event[6]
        market.trades.append(event)

    def market_status(self, event: Event) -> None:
        _, sequence, _, _, symbol, status, reference_ticks, _ = event
        market = self.by_number.get(symbol) or self.add(symbol)
        market.last_update_id = sequence
        market.status = status
        market.reference_ticks = reference_ticks
