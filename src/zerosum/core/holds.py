"""
What is frozen, order by order, and for whom.

    hold (16 words)    ID  LINK  SEAT  TERMS  PRICE  MOVING_TO  OPEN_LOTS  FROZEN  PAYS  GETS  ORDER  CLIENT  PREV  NEXT
                       OWNER  OWNER_ID
                       PRICE      ticks, where the engine has the order; 0 for an order that can't rest at a price
                       MOVING_TO  the price an amendment in flight asks for, or 0
                       PAYS, GETS the owner's two balances, so that settling a fill looks nothing up
                       ORDER      the engine's handle
                       CLIENT     its client order id, or 0
                       PREV, NEXT the seat's other holds, newest first
                       OWNER, OWNER_ID  the account's slot and its id, which nearly every event names
    seat (8 words)     WHO  LINK  ACCOUNT  BASE  QUOTE  OPEN  NEWEST
                       one account on one symbol: WHO is account << 16 | symbol, plus one; its account and two balances, how many
                       of its orders are open, and the newest hold

Always true (see Holds.check): a hold freezes exactly its worst cost; what a balance has frozen is the sum of its holds; OPEN counts the
seat's holds, and an account's OPEN_ORDERS those of all its seats.
"""

from __future__ import annotations

from typing import Final, final

from librt.vecs import vec
from mypy_extensions import i64

from zerosum.core import clientids, ledger, listings
from zerosum.core.clientids import ClientIds
from zerosum.core.codes import SELL
from zerosum.core.index import Index
from zerosum.core.ledger import Ledger
from zerosum.core.listings import LOT_ATOMS, SYMBOL_BITS, TICK_LOT_ATOMS, Listings
from zerosum.core.pool import NONE, Pool

ID: Final = 0
SEAT: Final = 2
TERMS: Final = 3
PRICE: Final = 4
MOVING_TO: Final = 5
OPEN_LOTS: Final = 6
FROZEN: Final = 7
PAYS: Final = 8
GETS: Final = 9
ORDER: Final = 10
CLIENT: Final = 11
PREV: Final = 12
NEXT: Final = 13
OWNER: Final = 14
OWNER_ID: Final = 15
HOLD_WORDS: Final = 16

WHO: Final = 0
ACCOUNT: Final = 2
SEAT_BASE: Final = 3
SEAT_QUOTE: Final = 4
OPEN: Final = 5
NEWEST: Final = 6
SEAT_WORDS: Final = 8

SIDE_MASK: Final = 0xFF
SYMBOL_SHIFT: Final = 32  # of a symbol within terms
SEAT_SYMBOL_BITS: Final = 16


def symbol_at(terms: i64) -> i64:
    """Where a symbol's words are, from an order's terms."""
    return terms >> SYMBOL_SHIFT << SYMBOL_BITS


def worst_cost(holds: vec[i64], symbols: vec[i64], hold: i64) -> i64:
    """What a hold must keep frozen. A buyer with a budget keeps what is left of it until the order ends."""
    terms = holds[hold + TERMS]
    if terms & SIDE_MASK == SELL:
        return holds[hold + OPEN_LOTS] * symbols[symbol_at(terms) + LOT_ATOMS]
    if holds[hold + PRICE] == 0:
        return holds[hold + FROZEN]
    return max(holds[hold + PRICE], holds[hold + MOVING_TO]) * holds[hold + OPEN_LOTS] * symbols[symbol_at(terms) + TICK_LOT_ATOMS]


@final
class Holds:
    __slots__ = ("by_id", "client_ids", "ledger", "listings", "pool", "seats", "seats_by_who")

    def __init__(self, ledger: Ledger, listings: Listings, reserve: i64) -> None:
        self.ledger = ledger
        self.listings = listings
        self.pool = Pool(HOLD_WORDS, reserve)
        self.by_id = Index(self.pool, reserve)
        self.seats = Pool(SEAT_WORDS, reserve)
        self.seats_by_who = Index(self.seats, reserve)
        self.client_ids = ClientIds(reserve)

    def find_seat(self, account_id: i64, symbol: i64) -> i64:
        """The seat of an account on a symbol, or 0: it has never placed an order there."""
        return self.seats_by_who.get((account_id << SEAT_SYMBOL_BITS | symbol) + 1)

    def open_seat(self, account: i64, symbol: i64) -> i64:
        account_id = self.ledger.accounts.words[account + ledger.ID]
        at = symbol << SYMBOL_BITS
        base = self.ledger.balance_of(account, self.listings.symbols[at + listings.BASE])
        quote = self.ledger.balance_of(account, self.listings.symbols[at + listings.QUOTE])
        seat = self.seats.take()
        seats = self.seats.words
        seats[seat + WHO] = (account_id << SEAT_SYMBOL_BITS | symbol) + 1
        seats[seat + ACCOUNT] = account
        seats[seat + SEAT_BASE] = base
        seats[seat + SEAT_QUOTE] = quote
        seats[seat + OPEN] = 0
        seats[seat + NEWEST] = NONE
        self.seats_by_who.put(seat)
        return seat

    def open(
        self, order_id: i64, seat: i64, terms: i64, price_ticks: i64, qty_lots: i64, atoms: i64, pays: i64, gets: i64
    ) -> i64:  # fmt: skip
        """A hold of `atoms`, which the caller has frozen, without a client id."""
        hold = self.pool.take()
        holds = self.pool.words
        seats = self.seats.words
        accounts = self.ledger.accounts.words
        account = seats[seat + ACCOUNT]
        newest = seats[seat + NEWEST]
        holds[hold + ID] = order_id
        holds[hold + SEAT] = seat
        holds[hold + TERMS] = terms
        holds[hold + PRICE] = price_ticks
        holds[hold + MOVING_TO] = 0
        holds[hold + OPEN_LOTS] = qty_lots
        holds[hold + FROZEN] = atoms
        holds[hold + PAYS] = pays
        holds[hold + GETS] = gets
        holds[hold + ORDER] = NONE
        holds[hold + CLIENT] = NONE
        holds[hold + OWNER] = account
        holds[hold + OWNER_ID] = accounts[account + ledger.ID]
        holds[hold + PREV] = NONE
        holds[hold + NEXT] = newest
        if newest != NONE:
            holds[newest + PREV] = hold
        seats[seat + NEWEST] = hold
        seats[seat + OPEN] += 1
        accounts[account + ledger.OPEN_ORDERS] += 1
        self.by_id.put(hold)
        return hold

    def close(self, hold: i64) -> None:
        """Release what is still frozen and forget the order; its client id is free again."""
        holds = self.pool.words
        seats = self.seats.words
        seat = holds[hold + SEAT]
        prev = holds[hold + PREV]
        following = holds[hold + NEXT]
        self.ledger.release(holds[hold + PAYS], holds[hold + FROZEN])
        if prev == NONE:
            seats[seat + NEWEST] = following
        else:
            holds[prev + NEXT] = following
        if following != NONE:
            holds[following + PREV] = prev
        seats[seat + OPEN] -= 1
        self.ledger.accounts.words[holds[hold + OWNER] + ledger.OPEN_ORDERS] -= 1
        if holds[hold + CLIENT] != NONE:
            self.client_ids.remove(holds[hold + CLIENT])
        self.by_id.remove(hold)
        self.pool.give(hold)

    def release_surplus(self, hold: i64) -> None:
        """Release what a hold has frozen above its worst cost."""
        holds = self.pool.words
        surplus = holds[hold + FROZEN] - worst_cost(holds, self.listings.symbols, hold)
        if surplus != 0:
            holds[hold + FROZEN] -= surplus
            self.ledger.release(holds[hold + PAYS], surplus)

    def find(self, handle: i64, order_id: i64) -> i64:
        """The hold a handle leads to if that is the order's, else by look-up; or 0."""
        if self.pool.has(handle, order_id):
            return handle
        return self.by_id.get(order_id)

    def check(self) -> None:
        self.pool.check()
        self.by_id.check()
        self.seats.check()
        self.seats_by_who.check()
        self.client_ids.check()
        assert self.by_id.count == self.pool.live, "every hold is in the index"
        self.check_money()
        self.check_seats()

    def check_money(self) -> None:
        holds = self.pool.words
        balances = self.ledger.balances.words
        frozen: dict[int, int] = {}
        for hold in self.pool.slots():
            assert holds[hold + OPEN_LOTS] > 0, "an open order has lots open"
            assert holds[hold + FROZEN] == worst_cost(holds, self.listings.symbols, hold), "a hold is the order's worst cost"
            assert self.by_id.get(holds[hold]) == hold, "a hold is found by its id"
            pays = int(holds[hold + PAYS])
            symbol = symbol_at(holds[hold + TERMS])
            base, quote = self.listings.symbols[symbol + listings.BASE], self.listings.symbols[symbol + listings.QUOTE]
            paid, got = (base, quote) if holds[hold + TERMS] & SIDE_MASK == SELL else (quote, base)
            owner = holds[hold + OWNER_ID] << ledger.ASSET_BITS
            assert balances[pays] == owner | paid, "an order pays from its owner's balance"
            assert balances[holds[hold + GETS]] == owner | got, "what an order receives is its owner's"
            frozen[pays] = frozen.get(pays, 0) + int(holds[hold + FROZEN])
        for balance in self.ledger.balances.slots():
            assert balances[balance + ledger.FROZEN] == frozen.get(balance, 0), "frozen is the sum of the holds"

    def check_seats(self) -> None:
        holds = self.pool.words
        seats = self.seats.words
        named = 0
        open_orders: dict[int, int] = {}
        for seat in self.seats.slots():
            count: i64 = 0
            prev: i64 = NONE
            hold = seats[seat + NEWEST]
            while hold != NONE:
                assert holds[hold + SEAT] == seat and holds[hold + PREV] == prev, "a hold knows its seat and its neighbour"
                assert holds[hold + OWNER] == seats[seat + ACCOUNT], "a hold and its seat have one owner"
                assert holds[hold + OWNER_ID] == self.ledger.accounts.words[holds[hold + OWNER]], "a hold knows its owner's id"
                if holds[hold + CLIENT] != NONE:
                    named += 1
                    client = self.client_ids.pool.words
                    assert client[holds[hold + CLIENT] + clientids.HOLD] == hold, "a client id leads to its hold"
                count += 1
                prev = hold
                hold = holds[hold + NEXT]
            assert count == seats[seat + OPEN], "a seat counts its holds"
            account = int(seats[seat + ACCOUNT])
            open_orders[account] = open_orders.get(account, 0) + int(count)
        assert named == self.client_ids.pool.live, "every client id belongs to a hold"
        accounts = self.ledger.accounts.words
        for account in self.ledger.accounts.slots():
            assert accounts[account + ledger.OPEN_ORDERS] == open_orders.get(account, 0), "an account counts its open orders"
