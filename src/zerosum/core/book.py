"""
One symbol's resting orders, in price-time priority. Ticks and lots, no money.

    BookSide          TickTree: rank -> level              a level's orders, oldest first

      best_level ---> level (rank 17) <--- tree            HEAD ----> order <--> order <--> order <---- TAIL
                      level (rank 23) <--- tree            HEAD ----> order <---- TAIL

    order (8 words)   ID  LINK  HOLD  ACCOUNT  OPEN_LOTS  LEVEL  PREV  NEXT
    level (8 words)   SIDE  RANK  LOTS  COUNT  HEAD  TAIL          SIDE is symbol << 1 | side, plus one: word 0 is never 0

    rank: a price as its side sees it, best = lowest. Asks: the tick itself; bids: counted down from the highest tick. So one code
    serves both.

Always true (see BookSide.check, Book.check):
  - best bid < best ask
  - a level's LOTS is the sum of its orders' OPEN_LOTS and never zero; best_rank is the lowest rank in the tree
  - a resting order stands in exactly one level
Orders, levels and tree nodes of all symbols live in pools that the matching engine owns. Knows nothing of balances, fees or clocks.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core.codes import BUY, PPM, SELL, TRADING
from zerosum.core.pool import NONE, Pool
from zerosum.core.ticktree import TickTree

ID: Final = 0
HOLD: Final = 2
ACCOUNT: Final = 3
OPEN_LOTS: Final = 4
LEVEL: Final = 5  # 0 while it is not resting
PREV: Final = 6
NEXT: Final = 7
ORDER_WORDS: Final = 8

SIDE: Final = 0
RANK: Final = 1
LOTS: Final = 2
COUNT: Final = 3
HEAD: Final = 4
TAIL: Final = 5
LEVEL_WORDS: Final = 8

NO_RANK: Final = 1 << 61  # worse than any price: the best rank of an empty side


def part_of(price_ticks: i64, ppm: i64) -> i64:
    """Floor of price x ppm / 1,000,000. Split, so that no product leaves 64 bits (a price is below 2**40, ppm at most 2**20 x 100)."""
    return price_ticks // PPM * ppm + price_ticks % PPM * ppm // PPM


@final
class BookSide:
    __slots__ = ("best_level", "best_rank", "levels", "name", "orders", "origin", "sign", "tree")

    def __init__(self, symbol: i64, side: i64, ticks: i64, orders: Pool, levels: Pool, nodes: Pool) -> None:
        self.name: i64 = (symbol << 1 | side) + 1
        self.sign: i64 = 1
        self.origin: i64 = 0
        if side == BUY:
            self.sign = -1
            self.origin = ticks - 1
        self.best_rank: i64 = NO_RANK
        self.best_level: i64 = NONE
        self.tree = TickTree(ticks, nodes)
        self.orders = orders
        self.levels = levels

    def rank_of(self, price_ticks: i64) -> i64:
        return self.origin + self.sign * price_ticks

    def price_of(self, rank: i64) -> i64:
        return (rank - self.origin) * self.sign

    def best_order(self) -> i64:
        return self.levels.words[self.best_level + HEAD]

    def orders_at(self, rank: i64) -> i64:
        """How many orders rest at a rank."""
        level = self.tree.get(rank)
        if level == NONE:
            return 0
        return self.levels.words[level + COUNT]

    def add(self, order: i64, rank: i64) -> i64:
        """Rest `order` behind all others of its rank. Returns the level's lots."""
        level = self.tree.get(rank)
        if level == NONE:
            level = self.open_level(rank)
        orders = self.orders.words
        levels = self.levels.words
        tail = levels[level + TAIL]
        if tail == NONE:
            levels[level + HEAD] = order
        else:
            orders[tail + NEXT] = order
        levels[level + TAIL] = order
        orders[order + LEVEL] = level
        orders[order + PREV] = tail
        orders[order + NEXT] = NONE
        lots = levels[level + LOTS] + orders[order + OPEN_LOTS]
        levels[level + LOTS] = lots
        levels[level + COUNT] += 1
        return lots

    def remove(self, order: i64) -> i64:
        """Take `order` out with all its lots. Returns what is left at its level."""
        orders = self.orders.words
        levels = self.levels.words
        level = orders[order + LEVEL]
        prev = orders[order + PREV]
        following = orders[order + NEXT]
        if prev == NONE:
            levels[level + HEAD] = following
        else:
            orders[prev + NEXT] = following
        if following == NONE:
            levels[level + TAIL] = prev
        else:
            orders[following + PREV] = prev
        orders[order + LEVEL] = NONE
        lots = levels[level + LOTS] - orders[order + OPEN_LOTS]
        levels[level + LOTS] = lots
        levels[level + COUNT] -= 1
        if levels[level + COUNT] == 0:
            self.close_level(level)
        return lots

    def shrink(self, order: i64, by_lots: i64) -> i64:
        """Take lots off a resting order, which keeps its place. Returns the level's lots."""
        orders = self.orders.words
        levels = self.levels.words
        orders[order + OPEN_LOTS] -= by_lots
        level = orders[order + LEVEL]
        lots = levels[level + LOTS] - by_lots
        levels[level + LOTS] = lots
        return lots

    def open_level(self, rank: i64) -> i64:
        level = self.levels.take()
        levels = self.levels.words
        levels[level + SIDE] = self.name
        levels[level + RANK] = rank
        levels[level + LOTS] = 0
        levels[level + COUNT] = 0
        levels[level + HEAD] = NONE
        levels[level + TAIL] = NONE
        self.tree.put(rank, level)
        if rank < self.best_rank:
            self.best_rank = rank
            self.best_level = level
        return level

    def close_level(self, level: i64) -> None:
        self.tree.remove(self.levels.words[level + RANK])
        self.levels.give(level)
        if level == self.best_level:
            self.find_best()

    def find_best(self) -> None:
        self.best_level = self.tree.first()
        if self.best_level == NONE:
            self.best_rank = NO_RANK
        else:
            self.best_rank = self.levels.words[self.best_level + RANK]

    def depth(self) -> list[tuple[int, int, int]]:
        """(price_ticks, lots, orders) of every level, best first."""
        levels = self.levels.words
        return [(self.price_of(levels[level + RANK]), levels[level + LOTS], levels[level + COUNT]) for level in self.tree.items()]

    def resting(self) -> list[i64]:
        """Every resting order's slot, in the order in which they would trade."""
        orders = self.orders.words
        found: list[i64] = []
        for level in self.tree.items():
            order = self.levels.words[level + HEAD]
            while order != NONE:
                found.append(order)
                order = orders[order + NEXT]
        return found

    def check(self) -> None:
        orders = self.orders.words
        levels = self.levels.words
        ranks: list[int] = []
        for level in self.tree.items():
            assert levels[level + SIDE] == self.name, "a level belongs to one side of one book"
            ranks.append(levels[level + RANK])
            lots: i64 = 0
            count: i64 = 0
            prev: i64 = NONE
            order = levels[level + HEAD]
            while order != NONE:
                assert orders[order + LEVEL] == level and orders[order + PREV] == prev, "an order knows its level and its neighbour"
                assert orders[order + OPEN_LOTS] > 0, "a resting order has lots open"
                lots += orders[order + OPEN_LOTS]
                count += 1
                prev = order
                order = orders[order + NEXT]
            assert levels[level + TAIL] == prev, "the tail is the last order"
            assert levels[level + LOTS] == lots and levels[level + COUNT] == count, "a level's sums are its orders'"
            assert count > 0, "a level is never empty"
        assert ranks == sorted(ranks), "the tree is in order"
        if ranks:
            assert self.best_rank == ranks[0], "the best rank is the lowest"
        else:
            assert self.best_rank == NO_RANK, "an empty side has no best rank"


@final
class Book:
    """
    Both sides of a symbol, and the rules that its engine holds orders to.

    `band_down_ppm`, `band_up_ppm`: the lowest and highest price, in parts per million of the reference price (0: no band).
    The reference price is that of the last trade, until then the listing's (0: none, and no band).
    """

    STATE_WORDS: Final = 14

    __slots__ = (
        "asks", "band_down_ppm", "band_up_ppm", "bids", "level_orders_max", "min_notional", "reference_ticks", "rules_revision", "status",
        "status_revision", "symbol", "tick_lot_atoms", "ticks", "trades",
    )  # fmt: skip

    def __init__(self, symbol: i64, ticks: i64, orders: Pool, levels: Pool, nodes: Pool) -> None:
        self.symbol: i64 = symbol
        self.ticks: i64 = ticks  # prices are 1 .. ticks - 1
        self.bids = BookSide(symbol, BUY, ticks, orders, levels, nodes)
        self.asks = BookSide(symbol, SELL, ticks, orders, levels, nodes)
        self.status: i64 = TRADING
        self.reference_ticks: i64 = 0
        self.band_down_ppm: i64 = 0
        self.band_up_ppm: i64 = 0
        self.level_orders_max: i64 = 0
        self.min_notional: i64 = 0  # in ticks x lots
        self.tick_lot_atoms: i64 = 1
        self.trades: i64 = 0  # the last trade id
        self.rules_revision: i64 = 0  # of the listings: which change of them the rules, and which the status, are of
        self.status_revision: i64 = 0

    def side(self, side: i64) -> BookSide:
        if side == BUY:
            return self.bids
        return self.asks

    def opposite(self, side: i64) -> BookSide:
        if side == BUY:
            return self.asks
        return self.bids

    def band_low(self) -> i64:
        """The lowest price that an order may have now."""
        low: i64 = 1
        if self.band_down_ppm != 0 and self.reference_ticks != 0:
            low = max(low, part_of(self.reference_ticks, self.band_down_ppm))
        return low

    def band_high(self) -> i64:
        """The highest price that an order may have now."""
        high = self.ticks - 1
        if self.band_up_ppm != 0 and self.reference_ticks != 0:
            high = min(high, part_of(self.reference_ticks, self.band_up_ppm))
        return high

    def rules(self) -> list[i64]:
        """What is not in the orders: for the state's hash."""
        return [
            self.symbol, self.ticks, self.status, self.reference_ticks, self.band_down_ppm, self.band_up_ppm, self.level_orders_max,
            self.min_notional, self.trades, self.rules_revision, self.status_revision,
        ]  # fmt: skip

    def state(self) -> list[i64]:
        """Everything but the pools, for a snapshot: STATE_WORDS words, the symbol and the ticks first."""
        return [
            self.symbol, self.ticks, self.status, self.reference_ticks, self.band_down_ppm, self.band_up_ppm, self.level_orders_max,
            self.min_notional, self.trades, self.tick_lot_atoms, self.bids.tree.root, self.asks.tree.root, self.rules_revision,
            self.status_revision,
        ]  # fmt: skip

    def restore(self, state: list[i64]) -> None:
        self.status = state[2]
        self.reference_ticks = state[3]
        self.band_down_ppm = state[4]
        self.band_up_ppm = state[5]
        self.level_orders_max = state[6]
        self.min_notional = state[7]
        self.trades = state[8]
        self.tick_lot_atoms = state[9]
        self.bids.tree.root = state[10]
        self.asks.tree.root = state[11]
        self.rules_revision = state[12]
        self.status_revision = state[13]
        self.bids.find_best()
        self.asks.find_best()

    def check(self) -> None:
        self.bids.check()
        self.asks.check()
        if self.bids.best_level != NONE and self.asks.best_level != NONE:
            assert self.bids.price_of(self.bids.best_rank) < self.asks.best_rank, "best bid < best ask"
