"""
What an order would take if it came now, without changing anything: for orders that trade whole, or within a budget, or not at all.

    opposite side, best first:   [o1 o2] [o3] [o4 o5] ...     until nothing more is wanted, the limit is reached or the budget spent
                                  price levels where self-trade prevention is off; single orders otherwise, to tell the taker's own

Always true: it sees just what the sweep would then do. It looks at WALK_MAX levels or orders at most.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core.book import ACCOUNT, HEAD, LOTS, NEXT, OPEN_LOTS, RANK, BookSide
from zerosum.core.codes import DECREMENT, EXPIRE_MAKER, STP_NONE
from zerosum.core.pool import NONE, Pool

WALK_MAX: Final = 16_384
NO_BUDGET: Final = -1  # no number that a budget can be


@final
class Walk:
    """
    The last walk's result: `lots` and `cost` (in ticks x lots) of what would trade; `short`: the wanted lots ran out while there was more
    to take, and budget left for it.
    """

    __slots__ = ("budget", "cost", "levels", "looked", "lots", "orders", "short", "want")

    def __init__(self, orders: Pool, levels: Pool) -> None:
        self.orders = orders
        self.levels = levels
        self.want: i64 = 0
        self.budget: i64 = 0
        self.lots: i64 = 0
        self.cost: i64 = 0
        self.looked: i64 = 0
        self.short = False

    def run(self, opposite: BookSide, limit: i64, account_id: i64, stp: i64, want: i64, budget: i64) -> bool:
        """False: it would have had to look further than it may."""
        self.want = want
        self.budget = budget
        self.lots = 0
        self.cost = 0
        self.looked = 0
        self.short = False
        levels = self.levels.words
        level = opposite.best_level
        going = True
        while going and level != NONE and levels[level + RANK] <= limit:
            price_ticks = opposite.price_of(levels[level + RANK])
            if stp == STP_NONE:
                going = self.meet(levels[level + LOTS], price_ticks)
            else:
                going = self.meet_orders(levels[level + HEAD], price_ticks, account_id, stp)
            level = opposite.tree.after(levels[level + RANK])
        return self.looked <= WALK_MAX

    def meet_orders(self, order: i64, price_ticks: i64, account_id: i64, stp: i64) -> bool:
        """The orders of one level, oldest first."""
        orders = self.orders.words
        going = True
        while going and order != NONE:
            if orders[order + ACCOUNT] == account_id:
                going = self.meet_own(orders[order + OPEN_LOTS], price_ticks, stp)
            else:
                going = self.meet(orders[order + OPEN_LOTS], price_ticks)
            order = orders[order + NEXT]
        return going

    def meet(self, have: i64, price_ticks: i64) -> bool:
        """Take what is wanted of `have` lots. False: the walk is at its end."""
        if self.want == 0:
            self.short = self.budget >= price_ticks  # asked only with a budget: without one, the walk ended when nothing was wanted
            return False
        if self.is_spent(price_ticks) or not self.look():
            return False
        qty_lots = min(self.want, have)
        if self.budget != NO_BUDGET:
            qty_lots = min(qty_lots, self.budget // price_ticks)
            self.budget -= qty_lots * price_ticks
        self.want -= qty_lots
        self.lots += qty_lots
        self.cost += qty_lots * price_ticks
        if have > qty_lots:  # the lots have run out, or the budget buys none of what is left here
            self.short = self.budget != NO_BUDGET and self.budget >= price_ticks
            return False
        return self.want > 0 or self.budget != NO_BUDGET

    def meet_own(self, have: i64, price_ticks: i64, stp: i64) -> bool:
        if self.want == 0:
            return stp == EXPIRE_MAKER  # nothing more is wanted, so an own order neither expires nor ends anything but the question
        if self.is_spent(price_ticks) or not self.look():
            return False
        if stp == DECREMENT:
            self.want -= min(self.want, have)
            return self.want > 0
        return stp == EXPIRE_MAKER

    def is_spent(self, price_ticks: i64) -> bool:
        return self.budget != NO_BUDGET and self.budget < price_ticks

    def look(self) -> bool:
        self.looked += 1
        return self.looked <= WALK_MAX
