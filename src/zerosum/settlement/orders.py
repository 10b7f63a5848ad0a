"""
An open order as settlement knows it: what its row says so far, to be brought forward by the events about it.

    ADMITTED --> NEW --FILL--> PARTIALLY_FILLED --FILL of the last lot--> FILLED
                                                --DONE--> CANCELED, EXPIRED, EXPIRED_IN_MATCH
                 REJECTED

Always true: open lots = quantity − executed − prevented.
"""

from __future__ import annotations

from typing import Final, final

from zerosum.core import codes, records
from zerosum.settlement.rows import CANCELED, EXPIRED, EXPIRED_IN_MATCH, NEW, PARTIALLY_FILLED, REJECTED, OrderRow, Values

CODE_MASK: Final = 0xFF
TYPE_SHIFT: Final = 8
TIF_SHIFT: Final = 16
STP_SHIFT: Final = 24
SYMBOL_SHIFT: Final = 32


@final
class Order:
    __slots__ = (
        "account", "budget_atoms", "client_id", "created_us", "executed_lots", "first_trade_id", "frozen_atoms", "frozen_ticks",
        "is_stored", "last_trade_id", "open_lots", "order_id", "prevented_lots", "price_ticks", "qty_lots", "quote_atoms", "side",
        "symbol", "terms", "updated_us",
    )  # fmt: skip

    def __init__(
        self, order_id: int, account: int, terms: int, client_id: str, price_ticks: int, qty_lots: int, budget_atoms: int, created_us: int
    ) -> None:  # fmt: skip
        self.order_id = order_id
        self.account = account
        self.terms = terms
        self.side = terms & CODE_MASK
        self.symbol = terms >> SYMBOL_SHIFT
        self.client_id = client_id
        self.price_ticks = price_ticks
        self.frozen_ticks = price_ticks  # what is frozen for: more than its price while it is being moved up
        self.qty_lots = qty_lots
        self.open_lots = qty_lots
        self.budget_atoms = budget_atoms
        self.executed_lots = self.prevented_lots = self.quote_atoms = self.frozen_atoms = 0
        self.first_trade_id = self.last_trade_id = 0
        self.created_us = self.updated_us = created_us
        self.is_stored = False  # in active_orders, so that its end must delete it there

    def fill(self, trade_id: int, qty_lots: int, quote_atoms: int, time_us: int) -> None:
        self.open_lots -= qty_lots
        self.executed_lots += qty_lots
        self.quote_atoms += quote_atoms
        self.first_trade_id = self.first_trade_id or trade_id
        self.last_trade_id = trade_id
        self.updated_us = time_us

    def cost(self, lot_atoms: int, tick_lot_atoms: int) -> int:
        """The most that it can still cost its account: what must be frozen for it."""
        if self.side == codes.SELL:
            return self.open_lots * lot_atoms
        if self.frozen_ticks:
            return self.frozen_ticks * self.open_lots * tick_lot_atoms
        return self.budget_atoms - self.quote_atoms

    def move(self, price_ticks: int, time_us: int) -> None:
        self.price_ticks = self.frozen_ticks = price_ticks
        self.updated_us = time_us

    def reduce(self, open_lots: int, reason: int, time_us: int) -> None:
        by_lots = self.open_lots - open_lots
        if reason == codes.SELF_TRADE:
            self.prevented_lots += by_lots
        else:
            self.qty_lots -= by_lots
        self.open_lots = open_lots
        self.updated_us = time_us

    def end(self, kind: int, reason: int, time_us: int) -> str:
        """Its last status, after DONE or REJECTED."""
        self.updated_us = time_us
        if kind == records.REJECTED:
            return REJECTED
        if reason == codes.BY_OWNER:
            return CANCELED
        if reason == codes.SELF_TRADE:
            self.prevented_lots += self.open_lots
            return EXPIRED_IN_MATCH
        return EXPIRED

    def open_values(self) -> Values:
        return self.values(PARTIALLY_FILLED if self.executed_lots else NEW, codes.NO_REASON)

    def values(self, status: str, reason: int) -> Values:
        """Its OrderRow, as a plain tuple."""
        terms = self.terms
        return (
            self.account, self.symbol, self.order_id, self.client_id, self.side, terms >> TYPE_SHIFT & CODE_MASK,
            terms >> TIF_SHIFT & CODE_MASK, terms >> STP_SHIFT & CODE_MASK, self.price_ticks, self.qty_lots, self.executed_lots,
            self.prevented_lots, self.quote_atoms, self.budget_atoms, self.frozen_atoms, status, reason, self.first_trade_id,
            self.last_trade_id, self.created_us, self.updated_us,
        )  # fmt: skip

    @classmethod
    def of(cls, row: OrderRow) -> Order:
        """An open order as its row has it: between two commands, so that it is not being moved."""
        terms = records.terms(row.symbol, row.side, row.type, row.tif, row.stp)
        order = cls(row.order_id, row.account, terms, row.client_id, row.price_ticks, row.qty_lots, row.budget_atoms, row.created_us)
        order.executed_lots = row.executed_lots
        order.prevented_lots = row.prevented_lots
        order.open_lots = row.qty_lots - row.executed_lots - row.prevented_lots
        order.quote_atoms = row.quote_atoms
        order.frozen_atoms = row.frozen_atoms
        order.first_trade_id = row.first_trade_id
        order.last_trade_id = row.last_trade_id
        order.updated_us = row.updated_us
        order.is_stored = True
        return order
