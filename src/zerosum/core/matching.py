"""
The matching engine: one book per symbol, price-time priority. It trusts that what it is given is funded, and knows nothing of balances
or fees: there is no ledger here.

    place --> (walk) --> sweep: trade, trade, ... --> rest (GTC) or expire
    move  --> out of the book --> sweep ----------------> rest
    cancel, reduce --> the book

Every result is told to `out`, in order, and written to the market's events. An order that fills completely ends with its last fill; every
other ends with done or rejected.

A sweep stops after SLICE makers and is gone on with by `resume`, before any other command: so no call makes unbounded output. What is
said is the same wherever it is cut.

Always true (see MatchingEngine.check): an order is in the index from the moment it is entered until it is forgotten; between commands,
every order that is not the unfinished taker rests in a book.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core.book import (
    ACCOUNT,
    HOLD,
    ID,
    LEVEL,
    LEVEL_WORDS,
    NO_RANK,
    OPEN_LOTS,
    ORDER_WORDS,
    RANK,
    SIDE,
    Book,
    BookSide,
)  # fmt: skip
from zerosum.core.codes import (
    BUY,
    BY_OWNER,
    DECREMENT,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FOK,
    GTC,
    HALT,
    INSUFFICIENT_BALANCE,
    LEVEL_FULL,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    MARKET_CLOSED,
    MARKET_QUOTE,
    NO_REASON,
    NOTIONAL,
    PRICE_BAND,
    SELF_TRADE,
    SELL,
    STP_NONE,
    TRADING,
    UNFILLED,
    UNKNOWN_ORDER,
    WALK_TOO_LONG,
    WOULD_TAKE,
)  # fmt: skip
from zerosum.core.events import MarketEvents
from zerosum.core.index import Index
from zerosum.core.pool import NONE, Pool
from zerosum.core.roles import Orders, Outcomes
from zerosum.core.ticktree import NODE_WORDS
from zerosum.core.walk import NO_BUDGET, Walk

SLICE: Final = 1024

SYMBOL_SHIFT: Final = 32  # the parts of an order's terms
TYPE_SHIFT: Final = 8
TIF_SHIFT: Final = 16
STP_SHIFT: Final = 24
CODE_MASK: Final = 0xFF


@final
class MatchingEngine(Orders):
    __slots__ = (
        "books", "events", "levels", "no_book", "nodes", "orders", "orders_by_id", "out", "sweep_budget", "sweep_limit",
        "sweep_rest_ticks", "sweep_stp", "sweep_symbol_side", "sweep_taker", "walk",
    )  # fmt: skip

    def __init__(self, out: Outcomes, events: MarketEvents, reserve: i64) -> None:
        self.out = out
        self.events = events
        self.books: list[Book] = []
        self.orders = Pool(ORDER_WORDS, reserve)
        self.orders_by_id = Index(self.orders, reserve)
        self.levels = Pool(LEVEL_WORDS, reserve)
        self.nodes = Pool(NODE_WORDS, reserve)
        self.no_book = Book(-1, 1, self.orders, self.levels, self.nodes)  # stands where another engine has the symbol
        self.no_book.status = HALT
        self.walk = Walk(self.orders, self.levels)
        self.sweep_taker: i64 = NONE  # the order that an unfinished sweep takes for
        self.sweep_symbol_side: i64 = 0
        self.sweep_limit: i64 = 0
        self.sweep_budget: i64 = 0
        self.sweep_stp: i64 = 0
        self.sweep_rest_ticks: i64 = 0  # where what is left comes to rest; 0: it expires

    # ------------------------------------------------------------------ symbols

    def list_symbol(
        self, revision: i64, symbol: i64, ticks: i64, tick_lot_atoms: i64, min_notional_atoms: i64, band_down_ppm: i64, band_up_ppm: i64,
        reference_ticks: i64, level_orders_max: i64, status: i64,
    ) -> None:  # fmt: skip
        """
        Open a symbol's book, for prices 1 .. ticks - 1; or change the rules of an open one, but not its status. Nothing, if a later
        revision is known: every shard tells of each.
        """
        if not self.has_book(symbol):
            self.open_book(symbol, ticks, tick_lot_atoms, reference_ticks, status)
            self.books[symbol].status_revision = revision
        book = self.books[symbol]
        if revision <= book.rules_revision:
            return
        book.rules_revision = revision
        book.band_down_ppm = band_down_ppm
        book.band_up_ppm = band_up_ppm
        book.level_orders_max = level_orders_max
        book.min_notional = (min_notional_atoms + book.tick_lot_atoms - 1) // book.tick_lot_atoms

    def open_book(self, symbol: i64, ticks: i64, tick_lot_atoms: i64, reference_ticks: i64, status: i64) -> None:
        book = Book(symbol, ticks, self.orders, self.levels, self.nodes)
        book.bids.tree.open()
        book.asks.tree.open()
        book.tick_lot_atoms = tick_lot_atoms
        book.reference_ticks = reference_ticks
        book.status = status
        self.put_book(book)
        self.events.market_status(symbol, status, reference_ticks, tick_lot_atoms)

    def put_book(self, book: Book) -> None:
        """In its symbol's place; those before it may be other engines'."""
        while len(self.books) <= book.symbol:
            self.books.append(self.no_book)
        self.books[book.symbol] = book

    def has_book(self, symbol: i64) -> bool:
        return symbol < len(self.books) and self.books[symbol] is not self.no_book

    def own_books(self) -> list[Book]:
        return [book for book in self.books if book is not self.no_book]

    def set_status(self, revision: i64, symbol: i64, status: i64) -> None:
        book = self.books[symbol]
        if revision <= book.status_revision:
            return
        book.status_revision = revision
        book.status = status
        self.events.market_status(symbol, status, book.reference_ticks, book.tick_lot_atoms)

    # ------------------------------------------------------------------ placing

    def place(self, order_id: i64, hold: i64, account_id: i64, terms: i64, price_ticks: i64, qty_lots: i64, budget: i64) -> None:
        book = self.books[terms >> SYMBOL_SHIFT]
        if book.status != TRADING:
            return self.out.rejected(hold, order_id, MARKET_CLOSED)
        if terms >> TYPE_SHIFT & CODE_MASK <= LIMIT_MAKER:
            self.place_limit(book, order_id, hold, account_id, terms, price_ticks, qty_lots)
        else:
            self.place_unpriced(book, order_id, hold, account_id, terms, qty_lots, budget)

    def place_limit(
        self, book: Book, order_id: i64, hold: i64, account_id: i64, terms: i64, price_ticks: i64, qty_lots: i64
    ) -> None:  # fmt: skip
        side = terms & CODE_MASK
        tif = terms >> TIF_SHIFT & CODE_MASK
        stp = terms >> STP_SHIFT & CODE_MASK
        opposite = book.opposite(side)
        limit = opposite.rank_of(price_ticks)
        if price_ticks < book.band_low() or price_ticks > book.band_high():
            return self.out.rejected(hold, order_id, PRICE_BAND)
        if terms >> TYPE_SHIFT & CODE_MASK == LIMIT_MAKER and opposite.best_rank <= limit:
            return self.out.rejected(hold, order_id, WOULD_TAKE)

        # From here on the order is in.
        order = self.enter(order_id, hold, account_id, qty_lots)
        if tif == FOK:
            whole = self.walk.run(opposite, limit, account_id, stp, qty_lots, NO_BUDGET)
            if not whole:
                return self.end(order, WALK_TOO_LONG, 0)
            if self.walk.lots < qty_lots:
                return self.end(order, UNFILLED, 0)
        rest_ticks: i64 = 0
        if tif == GTC:
            rest_ticks = price_ticks
        if opposite.best_rank <= limit:
            self.take(order, book.symbol << 1 | side, limit, NO_BUDGET, stp, rest_ticks)
        elif tif == GTC:
            self.rest(order, book, side, price_ticks)
        else:
            self.end(order, UNFILLED, 0)

    def place_unpriced(
        self, book: Book, order_id: i64, hold: i64, account_id: i64, terms: i64, qty_lots: i64, budget: i64
    ) -> None:  # fmt: skip
        """MARKET, MARKET_QUOTE, FOK_BUDGET: whatever the price, as far as the band and the budget go."""
        side = terms & CODE_MASK
        kind = terms >> TYPE_SHIFT & CODE_MASK
        stp = terms >> STP_SHIFT & CODE_MASK
        opposite = book.opposite(side)
        limit = opposite.rank_of(book.band_low())
        if side == BUY:
            limit = opposite.rank_of(book.band_high())
        reason: i64 = NO_REASON
        if kind == MARKET:
            reason = self.market_fault(book, opposite, limit, account_id, side, stp, qty_lots, budget)
        elif kind == MARKET_QUOTE and side == SELL:
            reason = self.quote_sell_fault(opposite, limit, account_id, stp, qty_lots, budget)
        if reason != NO_REASON:
            return self.out.rejected(hold, order_id, reason)

        # From here on the order is in.
        order = self.enter(order_id, hold, account_id, qty_lots)
        if kind != MARKET_QUOTE:
            if kind != MARKET:
                reason = self.budget_fault(opposite, limit, account_id, side, stp, qty_lots, budget)
                if reason != NO_REASON:
                    return self.end(order, reason, 0)
            budget = NO_BUDGET  # the walk has seen that it is kept
        if opposite.best_rank <= limit:
            self.take(order, book.symbol << 1 | side, limit, budget, stp, 0)
        else:
            self.end(order, UNFILLED, 0)

    def market_fault(
        self, book: Book, opposite: BookSide, limit: i64, account_id: i64, side: i64, stp: i64, qty_lots: i64, budget: i64
    ) -> i64:  # fmt: skip
        """Why a market order by quantity is rejected. A buyer's budget must cover the cost of all that would trade."""
        if book.reference_ticks != 0 and book.reference_ticks * qty_lots < book.min_notional:
            return NOTIONAL
        if side == BUY:
            if not self.walk.run(opposite, limit, account_id, stp, qty_lots, NO_BUDGET):
                return WALK_TOO_LONG
            if self.walk.cost > budget:
                return INSUFFICIENT_BALANCE
        return NO_REASON

    def quote_sell_fault(self, opposite: BookSide, limit: i64, account_id: i64, stp: i64, qty_lots: i64, budget: i64) -> i64:
        """Why a market sell by quote quantity is rejected: its lots run out before its proceeds are reached."""
        if not self.walk.run(opposite, limit, account_id, stp, qty_lots, budget):
            return WALK_TOO_LONG
        if self.walk.short:
            return INSUFFICIENT_BALANCE
        return NO_REASON

    def budget_fault(
        self, opposite: BookSide, limit: i64, account_id: i64, side: i64, stp: i64, qty_lots: i64, budget: i64
    ) -> i64:  # fmt: skip
        """Why a fill-or-kill within a budget is killed: a buyer's cost is at most the budget, a seller's proceeds are at least it."""
        if not self.walk.run(opposite, limit, account_id, stp, qty_lots, NO_BUDGET):
            return WALK_TOO_LONG
        if self.walk.lots < qty_lots:
            return UNFILLED
        if side == BUY and self.walk.cost > budget:
            return UNFILLED
        if side == SELL and self.walk.cost < budget:
            return UNFILLED
        return NO_REASON

    # ------------------------------------------------------------------ changing

    def cancel(self, symbol: i64, order_id: i64, order: i64, request: i64) -> None:
        order = self.find(order, order_id)
        if order == NONE:
            return self.out.cancel_rejected(order_id, UNKNOWN_ORDER, request)
        self.take_out(order, self.symbol_side_of(order))
        self.end(order, BY_OWNER, request)

    def reduce(self, symbol: i64, order_id: i64, order: i64, by_lots: i64, request: i64) -> None:
        order = self.find(order, order_id)
        if order == NONE:
            return self.out.cancel_rejected(order_id, UNKNOWN_ORDER, request)
        orders = self.orders.words
        if by_lots >= orders[order + OPEN_LOTS]:
            self.take_out(order, self.symbol_side_of(order))
            return self.end(order, BY_OWNER, request)
        self.shrink(order, by_lots)
        self.out.reduced(orders[order + HOLD], order_id, by_lots, BY_OWNER)

    def move(self, symbol: i64, order_id: i64, order: i64, hold: i64, price_ticks: i64, stp: i64) -> None:
        """Out of the book, to `price_ticks` as a taker, and the rest behind all others there."""
        order = self.find(order, order_id)
        if order == NONE:
            return self.out.move_rejected(hold, order_id, UNKNOWN_ORDER)
        symbol_side = self.symbol_side_of(order)
        side = symbol_side & 1
        book = self.books[symbol_side >> 1]
        if book.status != TRADING:
            return self.out.move_rejected(hold, order_id, MARKET_CLOSED)
        if price_ticks < book.band_low() or price_ticks > book.band_high():
            return self.out.move_rejected(hold, order_id, PRICE_BAND)
        opposite = book.opposite(side)
        limit = opposite.rank_of(price_ticks)
        self.take_out(order, symbol_side)
        self.out.moved(hold, order_id)
        if opposite.best_rank <= limit:
            self.take(order, symbol_side, limit, NO_BUDGET, stp, price_ticks)
        else:
            self.rest(order, book, side, price_ticks)

    # ------------------------------------------------------------------ the sweep

    def take(self, order: i64, symbol_side: i64, limit: i64, budget: i64, stp: i64, rest_ticks: i64) -> None:
        self.sweep_taker = order
        self.sweep_symbol_side = symbol_side
        self.sweep_limit = limit
        self.sweep_budget = budget
        self.sweep_stp = stp
        self.sweep_rest_ticks = rest_ticks
        self.resume()

    def unfinished(self) -> bool:
        return self.sweep_taker != NONE

    def resume(self) -> None:
        """Trade with the best of the other side until the taker is filled, or its limit or budget reached; at most SLICE makers a call."""
        orders = self.orders.words
        taker = self.sweep_taker
        book = self.books[self.sweep_symbol_side >> 1]
        opposite = book.opposite(self.sweep_symbol_side & 1)
        limit = self.sweep_limit
        budget = self.sweep_budget
        stp = self.sweep_stp
        want = orders[taker + OPEN_LOTS]
        left: i64 = SLICE
        while want > 0 and opposite.best_rank <= limit:
            if left == 0:
                self.sweep_budget = budget
                return
            left -= 1
            price_ticks = opposite.price_of(opposite.best_rank)
            if budget != NO_BUDGET and budget < price_ticks:
                break
            maker = opposite.best_order()
            if stp != STP_NONE and orders[maker + ACCOUNT] == orders[taker + ACCOUNT]:
                if self.prevent(taker, maker, stp):
                    return self.conclude(SELF_TRADE)
                want = orders[taker + OPEN_LOTS]
                continue
            have = orders[maker + OPEN_LOTS]
            qty_lots = min(want, have)
            if budget != NO_BUDGET:
                qty_lots = min(qty_lots, budget // price_ticks)
                budget -= qty_lots * price_ticks
            want -= qty_lots
            orders[taker + OPEN_LOTS] = want
            self.trade(book, opposite, taker, maker, price_ticks, qty_lots, have)
        self.conclude(UNFILLED)

    def trade(self, book: Book, opposite: BookSide, taker: i64, maker: i64, price_ticks: i64, qty_lots: i64, have: i64) -> None:
        orders = self.orders.words
        book.trades += 1
        book.reference_ticks = price_ticks
        if qty_lots == have:
            level_lots = opposite.remove(maker)
        else:
            level_lots = opposite.shrink(maker, qty_lots)
        taker_id = orders[taker + ID]
        maker_id = orders[maker + ID]
        self.events.trade(
            book.trades, self.sweep_symbol_side, price_ticks, qty_lots, taker_id, maker_id, orders[taker + ACCOUNT],
            orders[maker + ACCOUNT], have - qty_lots, level_lots,
        )  # fmt: skip
        self.out.fill(orders[taker + HOLD], taker_id, 1, book.trades, price_ticks, qty_lots)
        self.out.fill(orders[maker + HOLD], maker_id, 0, book.trades, price_ticks, qty_lots)
        if qty_lots == have:
            self.forget(maker)

    def prevent(self, taker: i64, maker: i64, stp: i64) -> bool:
        """Two orders of one account meet. True: the taker is to expire."""
        orders = self.orders.words
        if stp == EXPIRE_TAKER:
            return True
        if stp == DECREMENT:
            return self.decrement(taker, maker)
        self.take_out(maker, self.symbol_side_of(maker))
        self.end(maker, SELF_TRADE, 0)
        assert orders[taker + OPEN_LOTS] > 0 and (stp == EXPIRE_MAKER or stp == EXPIRE_BOTH), "the mode was checked at admission"
        return stp == EXPIRE_BOTH

    def decrement(self, taker: i64, maker: i64) -> bool:
        """Both lose the smaller quantity of the two, without a trade. True: the taker had no more than the maker, and is to expire."""
        orders = self.orders.words
        want = orders[taker + OPEN_LOTS]
        have = orders[maker + OPEN_LOTS]
        if have > want:
            self.shrink(maker, want)
            self.out.reduced(orders[maker + HOLD], orders[maker + ID], want, SELF_TRADE)
            return True
        self.take_out(maker, self.symbol_side_of(maker))
        self.end(maker, SELF_TRADE, 0)
        if have == want:
            return True
        orders[taker + OPEN_LOTS] = want - have
        self.out.reduced(orders[taker + HOLD], orders[taker + ID], have, SELF_TRADE)
        return False

    def conclude(self, reason: i64) -> None:
        """The sweep is over: the taker is filled, expires or rests."""
        taker = self.sweep_taker
        symbol_side = self.sweep_symbol_side
        self.sweep_taker = NONE
        if self.orders.words[taker + OPEN_LOTS] == 0:
            self.forget(taker)
        elif reason == SELF_TRADE or self.sweep_rest_ticks == 0:
            self.end(taker, reason, 0)
        else:
            self.rest(taker, self.books[symbol_side >> 1], symbol_side & 1, self.sweep_rest_ticks)

    # ------------------------------------------------------------------ steps

    def enter(self, order_id: i64, hold: i64, account_id: i64, qty_lots: i64) -> i64:
        order = self.orders.take()
        orders = self.orders.words
        orders[order + ID] = order_id
        orders[order + HOLD] = hold
        orders[order + ACCOUNT] = account_id
        orders[order + OPEN_LOTS] = qty_lots
        orders[order + LEVEL] = NONE
        self.orders_by_id.put(order)
        self.out.accepted(hold, order_id, order)
        return order

    def find(self, handle: i64, order_id: i64) -> i64:
        """A resting order by its handle if that still leads to it, else by look-up; or 0."""
        if self.orders.has(handle, order_id):
            return handle
        return self.orders_by_id.get(order_id)

    def symbol_side_of(self, order: i64) -> i64:
        """symbol << 1 | side of a resting order."""
        return self.levels.words[self.orders.words[order + LEVEL] + SIDE] - 1

    def rest(self, order: i64, book: Book, side: i64, price_ticks: i64) -> None:
        own = book.side(side)
        rank = own.rank_of(price_ticks)
        if book.level_orders_max != 0 and own.orders_at(rank) >= book.level_orders_max:
            return self.end(order, LEVEL_FULL, 0)
        level_lots = own.add(order, rank)
        orders = self.orders.words
        self.events.book(orders[order + ID], book.symbol << 1 | side, price_ticks, orders[order + OPEN_LOTS], level_lots)

    def take_out(self, order: i64, symbol_side: i64) -> None:
        """Out of the book, but not of the index; the record is still readable."""
        own = self.books[symbol_side >> 1].side(symbol_side & 1)
        price_ticks = own.price_of(self.levels.words[self.orders.words[order + LEVEL] + RANK])
        level_lots = own.remove(order)
        self.events.book(self.orders.words[order + ID], symbol_side, price_ticks, 0, level_lots)

    def shrink(self, order: i64, by_lots: i64) -> None:
        orders = self.orders.words
        symbol_side = self.symbol_side_of(order)
        own = self.books[symbol_side >> 1].side(symbol_side & 1)
        level_lots = own.shrink(order, by_lots)
        price_ticks = own.price_of(self.levels.words[orders[order + LEVEL] + RANK])
        self.events.book(orders[order + ID], symbol_side, price_ticks, orders[order + OPEN_LOTS], level_lots)

    def end(self, order: i64, reason: i64, request: i64) -> None:
        orders = self.orders.words
        self.out.done(orders[order + HOLD], orders[order + ID], reason, request)
        self.forget(order)

    def forget(self, order: i64) -> None:
        self.orders_by_id.remove(order)
        self.orders.give(order)

    def check(self) -> None:
        self.orders.check()
        self.levels.check()
        self.nodes.check()
        self.orders_by_id.check()
        assert self.orders_by_id.count == self.orders.live, "every order is in the index"
        nodes: i64 = 0
        resting: i64 = 0
        for book in self.own_books():
            if not self.unfinished():
                book.check()
            nodes += book.bids.tree.check() + book.asks.tree.check()
            resting += i64(len(book.bids.resting())) + i64(len(book.asks.resting()))
        assert nodes == self.nodes.live, "every node hangs on the root of a side"
        if self.unfinished():
            resting += 1
        assert resting == self.orders.live, "an order rests, or is the unfinished taker"
        assert LIMIT < LIMIT_MAKER < MARKET and NO_RANK > 0, "codes are ordered as place() reads them"
