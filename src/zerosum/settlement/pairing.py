"""
A trade is told of three times: by the engine, and by each side's shard as a fill. What they say must be one trade.

    TRADE            --+
    taker's FILL     --+--> the same symbol, id, price, lots, orders and accounts, and opposite sides
    maker's FILL     --+

Each fill has changed its account's balances by exactly its side of the price and lots that it names, and by a fee that went to FEES. So
where all three agree, the legs of the trade sum to zero, asset by asset.

Embedded, the three come in one batch. In a cluster they come from three streams, in whatever order, and what is open is on its way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, final

from zerosum.settlement.batch import MARKET
from zerosum.settlement.errors import SettlementBroken

TRADE: Final = 0
TAKER: Final = 1
MAKER: Final = 2


class Leg(NamedTuple):
    """As a FILL tells it."""

    symbol: int
    trade_id: int
    price_ticks: int
    qty_lots: int
    side: int
    is_taker: int
    order_id: int
    account: int


class Trade(NamedTuple):
    """As the engine tells it."""

    symbol: int
    trade_id: int
    price_ticks: int
    qty_lots: int
    side: int  # the taker's
    taker_order_id: int
    maker_order_id: int
    taker_account: int
    maker_account: int


Told = tuple[int, ...]
Parts = list[Told | None]


@final
class Pairing:
    """`open`: by symbol and trade id, what was told of trades that are not whole yet."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, int], Parts] = {}

    def add(self, legs: Iterable[Told], trades: Iterable[Told]) -> None:
        """Legs and Trades, as plain tuples. SettlementBroken where two contradict each other."""
        for leg in legs:
            self._put(leg, TAKER if leg[5] else MAKER)
        for trade in trades:
            self._put(trade, TRADE)

    def _put(self, told: Told, part: int) -> None:
        key = told[0], told[1]
        parts = self.open.get(key)
        if parts is None:
            parts = self.open[key] = [None, None, None]
        if parts[part] is not None:
            raise contradiction(told, "it is told of twice")
        parts[part] = told
        trade, taker, maker = parts
        if trade is not None and taker is not None and maker is not None:
            side = trade[4]
            if taker != (*trade[:4], side, 1, trade[5], trade[7]) or maker != (*trade[:4], 1 - side, 0, trade[6], trade[8]):
                raise contradiction(told, f"the engine says {trade}, its fills say {taker} and {maker}")
            del self.open[key]


def contradiction(told: Told, why: str) -> SettlementBroken:
    return SettlementBroken(MARKET, 0, f"trade {told[1]} of symbol {told[0]}: {why}")
