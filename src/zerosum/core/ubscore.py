"""
UBSCore, the User Balance Service Core: admits an order by freezing its worst cost (a hold), and settles what the matching engine reports.

    PLACE --> checks --> hold --> engine --> accepted / fill / reduced / moved / done / rejected --> hold shrinks, closes at zero
    CANCEL, REDUCE, MOVE --> engine;  only its outcomes change or release a hold

Rules and their order: docs/reference/semantics.md. What each message does to a hold: docs/internals/holds.md.
Always true (see UBSCore.check): what Ledger, Holds and Transfers promise. Knows nothing of books; knows time only as the commands tell it.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import read_i64_le
from mypy_extensions import i64

from zerosum.core import holds as hold_words
from zerosum.core import ledger as ledger_words
from zerosum.core import records
from zerosum.core import replacements as replacement_words
from zerosum.core.codes import (
    ACCOUNT_CLOSED,
    ACCOUNT_SUSPENDED,
    ACTIVE,
    ALLOW_FAILURE,
    AMENDMENT_IN_FLIGHT,
    BAD_AMOUNT,
    BAD_LISTING,
    BAD_TERMS,
    BREAK,
    BUY,
    CANCEL_FAILED,
    CLOSED,
    DEADLINE_PASSED,
    DUPLICATE_CLIENT_ID,
    FOK_BUDGET,
    GTC,
    HOUSE,
    INSUFFICIENT_BALANCE,
    LIMIT,
    LIMIT_MAKER,
    LOT_SIZE,
    MARKET,
    MARKET_QUOTE,
    NO_REASON,
    NOTIONAL,
    PPM,
    PRICE_FILTER,
    SELL,
    STOP_ON_FAILURE,
    STP_MAX,
    STP_NONE,
    TIF_MAX,
    TOO_MANY_ACCOUNT_ORDERS,
    TOO_MANY_ORDERS,
    TRADING,
    TYPE_MAX,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ORDER,
    UNKNOWN_SYMBOL,
    WALLET,
    WITHDRAWALS,
)  # fmt: skip
from zerosum.core.events import AccountEvents
from zerosum.core.holds import (
    FROZEN,
    GETS,
    MOVING_TO,
    NEWEST,
    NEXT,
    OPEN,
    OPEN_LOTS,
    ORDER,
    OWNER,
    OWNER_ID,
    PAYS,
    PRICE,
    SEAT,
    SEAT_BASE,
    SEAT_QUOTE,
    TERMS,
    Holds,
    symbol_at,
    worst_cost,
)  # fmt: skip
from zerosum.core.ledger import AVAILABLE, MAKER_PPM, STATUS, TAKER_PPM, Ledger
from zerosum.core.listings import (
    BASE_CLEARING,
    BASE_FEES,
    LOT_ATOMS,
    MAX_NOTIONAL,
    MAX_PRICE,
    MAX_QTY,
    MIN_NOTIONAL,
    MIN_PRICE,
    MIN_QTY,
    ORDERS_MAX,
    QUOTE_CLEARING,
    QUOTE_FEES,
    SYMBOL_BITS,
    TICK_LOT_ATOMS,
    Asset,
    Listings,
    Symbol,
    derived_atoms,
)  # fmt: skip
from zerosum.core.pool import NONE
from zerosum.core.replacements import Replacements
from zerosum.core.roles import Orders, Outcomes
from zerosum.core.transfers import Transfers
from zerosum.core.treasury import Treasury

CODE_MASK: Final = 0xFF
SIDE_MASK: Final = 0xFF
TYPE_SHIFT: Final = 8
TIF_SHIFT: Final = 16
STP_SHIFT: Final = 24
SYMBOL_SHIFT: Final = 32


def fee_of(atoms: i64, ppm: i64) -> i64:
    """Floor of atoms x ppm / 1,000,000: nobody pays more than the quoted rate. Split, so that no product can leave 64 bits."""
    return atoms // PPM * ppm + atoms % PPM * ppm // PPM


def word(data: bytes, at: i64, index: i64) -> i64:
    return read_i64_le(data, at + (index << 3))


@final
class UBSCore(Outcomes):
    __slots__ = (
        "admitted", "events", "holds", "ledger", "listings", "now_us", "orders", "ready", "replacements", "request", "shard", "shards",
        "transfers", "treasury",
    )  # fmt: skip

    def __init__(self, events: AccountEvents, reserve: i64, shard: i64 = 0, shards: i64 = 1) -> None:
        """Of the accounts whose id modulo `shards` is `shard`."""
        self.events = events
        self.shard = shard
        self.shards = shards
        self.ledger = Ledger(reserve, shards)
        self.listings = Listings(self.ledger)
        self.holds = Holds(self.ledger, self.listings, reserve)
        self.transfers = Transfers(reserve)
        self.treasury = Treasury(self.ledger, self.transfers, events, shard, shards)
        self.replacements = Replacements()
        self.orders = Orders()  # nobody, until `connect`
        self.now_us: i64 = 0
        self.request: i64 = 0  # the place of the command that is being applied, or whose outcome is
        self.admitted: i64 = 0  # how many orders
        self.ready: i64 = NONE  # the replacement whose cancel has just been answered

    def connect(self, orders: Orders) -> None:
        self.orders = orders

    def begin(self, request: i64, time_us: i64) -> None:
        """The place and the time of what is applied next. Time never goes back."""
        self.request = request
        self.now_us = max(self.now_us, time_us)
        self.events.stream.cause = request
        self.events.stream.time_us = self.now_us

    # ------------------------------------------------------------------ listings

    def list_asset(self, asset: Asset, fields: list[i64]) -> None:
        if not self.listings.add_asset(asset):
            return self.events.refused(records.LIST_ASSET, BAD_LISTING, 0, 0)
        self.listings.revision += 1
        self.events.words(records.ASSET_LISTED, fields)

    def list_symbol(self, symbol: Symbol, fields: list[i64]) -> None:
        if not self.listings.put_symbol(symbol):
            return self.events.refused(records.LIST_SYMBOL, BAD_LISTING, 0, 0)
        self.listings.revision += 1
        lot_atoms, tick_lot_atoms = derived_atoms(symbol, self.listings.assets)
        self.events.words(records.SYMBOL_LISTED, [*fields, lot_atoms, tick_lot_atoms])
        self.orders.list_symbol(
            self.listings.revision, symbol.symbol, symbol.max_price_ticks + 1, tick_lot_atoms, symbol.min_notional_atoms,
            symbol.band_down_ppm, symbol.band_up_ppm, symbol.reference_ticks, symbol.level_orders_max, symbol.status,
        )  # fmt: skip

    def set_symbol_status(self, symbol: i64, status: i64) -> None:
        if not 0 <= symbol < self.listings.count:
            return self.events.refused(records.SET_SYMBOL_STATUS, UNKNOWN_SYMBOL, 0, 0)
        if not TRADING <= status <= BREAK:
            return self.events.refused(records.SET_SYMBOL_STATUS, BAD_LISTING, 0, 0)
        self.listings.revision += 1
        self.orders.set_status(self.listings.revision, symbol, status)

    # ------------------------------------------------------------------ placing

    def place(self, data: bytes, at: i64) -> None:
        self.admit(
            records.PLACE,
            word(data, at, records.ACCOUNT_AT),
            word(data, at, records.TERMS_AT),
            word(data, at, records.PLACE_PRICE_AT),
            word(data, at, records.PLACE_QTY_AT),
            word(data, at, records.PLACE_BUDGET_AT),
            word(data, at, records.PLACE_DEADLINE_AT),
            word(data, at, records.PLACE_CLIENT_AT),
            word(data, at, records.PLACE_CLIENT_AT + 1),
            word(data, at, records.PLACE_CLIENT_AT + 2),
            word(data, at, records.PLACE_CLIENT_AT + 3),
            word(data, at, records.PLACE_CLIENT_AT + 4),
        )

    def admit(
        self, command: i64, account_id: i64, terms: i64, price_ticks: i64, qty_lots: i64, budget_atoms: i64, deadline_us: i64,
        a: i64, b: i64, c: i64, d: i64, e: i64,
    ) -> None:  # fmt: skip
        """Check an order, freeze its worst cost and hand it to the engine; or refuse it, and nothing has changed."""
        symbol = terms >> SYMBOL_SHIFT
        if deadline_us != 0 and self.now_us > deadline_us:
            return self.events.refused(command, DEADLINE_PASSED, account_id, 0)
        if not 0 <= symbol < self.listings.count:
            return self.events.refused(command, UNKNOWN_SYMBOL, account_id, 0)
        reason = terms_fault(terms)
        if reason != NO_REASON:
            return self.events.refused(command, reason, account_id, 0)
        account = self.ledger.accounts_by_id.get(account_id)
        reason = self.trader_fault(account)
        if reason != NO_REASON:
            return self.events.refused(command, reason, account_id, 0)
        side = terms & SIDE_MASK
        kind = terms >> TYPE_SHIFT & CODE_MASK
        if kind == MARKET_QUOTE:
            qty_lots = self.most_lots(terms, budget_atoms)
            price_ticks = 0
        elif kind == FOK_BUDGET:
            price_ticks = 0
        reason = self.filter_fault(terms, price_ticks, qty_lots, budget_atoms)
        if reason != NO_REASON:
            return self.events.refused(command, reason, account_id, 0)
        seat = self.holds.find_seat(account_id, symbol)
        if kind <= LIMIT_MAKER and terms >> TIF_SHIFT & CODE_MASK == GTC:
            reason = self.cap_fault(account, seat, symbol)
            if reason != NO_REASON:
                return self.events.refused(command, reason, account_id, 0)
        if a != 0 and self.holds.client_ids.find(account_id, a, b, c, d, e) != NONE:
            return self.events.refused(command, DUPLICATE_CLIENT_ID, account_id, 0)
        if seat == NONE:
            seat = self.holds.open_seat(account, symbol)
        seats = self.holds.seats.words
        pays = seats[seat + SEAT_QUOTE]
        gets = seats[seat + SEAT_BASE]
        if side == SELL:
            pays = seats[seat + SEAT_BASE]
            gets = seats[seat + SEAT_QUOTE]
            if kind == MARKET_QUOTE:
                qty_lots = min(qty_lots, self.ledger.available(pays) // self.listings.symbols[(symbol << SYMBOL_BITS) + LOT_ATOMS])
        atoms = self.cost(terms, price_ticks, qty_lots, budget_atoms, pays)
        if atoms == 0 or not self.ledger.freeze(pays, atoms):
            return self.events.refused(command, INSUFFICIENT_BALANCE, account_id, 0)

        # From here on the order is in, and nothing below can fail.
        if kind > LIMIT_MAKER:
            price_ticks = 0
            if side == BUY:
                budget_atoms = atoms
            elif kind == MARKET:
                budget_atoms = 0
        else:
            budget_atoms = 0
        self.admitted += 1
        order_id = self.admitted * self.shards + self.shard
        hold = self.holds.open(order_id, seat, terms, price_ticks, qty_lots, atoms, pays, gets)
        if a != 0:
            client = self.holds.client_ids.add(hold, account_id, a, b, c, d, e)
            self.holds.pool.words[hold + hold_words.CLIENT] = client
        balances = self.ledger.balances.words
        self.events.admitted(
            order_id, account_id, terms, price_ticks, qty_lots, budget_atoms, balances[pays + AVAILABLE],
            balances[pays + ledger_words.FROZEN], a, b, c, d, e,
        )  # fmt: skip
        self.orders.place(order_id, hold, account_id, terms, price_ticks, qty_lots, self.budget_ticks(terms, budget_atoms))

    def trader_fault(self, account: i64) -> i64:
        """Why an account may not place or move orders."""
        if account == NONE:
            return UNKNOWN_ACCOUNT
        status = self.ledger.accounts.words[account + STATUS]
        if status == ACTIVE:
            return NO_REASON
        if status == CLOSED:
            return ACCOUNT_CLOSED
        if status == HOUSE or status == WALLET:
            return UNKNOWN_ACCOUNT
        return ACCOUNT_SUSPENDED

    def filter_fault(self, terms: i64, price_ticks: i64, qty_lots: i64, budget_atoms: i64) -> i64:
        """Which of the symbol's filters an order breaks. After it no product of price, quantity and atoms can leave 63 bits."""
        symbols = self.listings.symbols
        at = symbol_at(terms)
        kind = terms >> TYPE_SHIFT & CODE_MASK
        if kind <= LIMIT_MAKER and not symbols[at + MIN_PRICE] <= price_ticks <= symbols[at + MAX_PRICE]:
            return PRICE_FILTER
        if kind == MARKET_QUOTE:
            if not max(1, symbols[at + MIN_NOTIONAL]) <= budget_atoms <= symbols[at + MAX_NOTIONAL] or qty_lots == 0:
                return NOTIONAL
            return NO_REASON
        if not symbols[at + MIN_QTY] <= qty_lots <= symbols[at + MAX_QTY]:
            return LOT_SIZE
        if kind <= LIMIT_MAKER:
            notional = price_ticks * qty_lots * symbols[at + TICK_LOT_ATOMS]
            if not symbols[at + MIN_NOTIONAL] <= notional <= symbols[at + MAX_NOTIONAL]:
                return NOTIONAL
        elif kind == MARKET:
            if terms & SIDE_MASK == BUY and not 1 <= price_ticks <= symbols[at + MAX_PRICE]:
                return PRICE_FILTER
        elif not 1 <= budget_atoms <= symbols[at + MAX_NOTIONAL]:
            return NOTIONAL
        return NO_REASON

    def most_lots(self, terms: i64, budget_atoms: i64) -> i64:
        """The most lots that a market order by quote quantity could ever trade."""
        symbols = self.listings.symbols
        at = symbol_at(terms)
        return min(symbols[at + MAX_QTY], budget_atoms // symbols[at + TICK_LOT_ATOMS] // symbols[at + MIN_PRICE])

    def cap_fault(self, account: i64, seat: i64, symbol: i64) -> i64:
        """Which cap on open orders one more would pass."""
        if seat != NONE and self.holds.seats.words[seat + OPEN] >= self.listings.symbols[(symbol << SYMBOL_BITS) + ORDERS_MAX]:
            return TOO_MANY_ORDERS
        accounts = self.ledger.accounts.words
        if accounts[account + ledger_words.OPEN_ORDERS] >= accounts[account + ledger_words.ORDERS_MAX]:
            return TOO_MANY_ACCOUNT_ORDERS
        return NO_REASON

    def cost(self, terms: i64, price_ticks: i64, qty_lots: i64, budget_atoms: i64, pays: i64) -> i64:
        """What an order that passed the filters must freeze."""
        symbols = self.listings.symbols
        at = symbol_at(terms)
        kind = terms >> TYPE_SHIFT & CODE_MASK
        if terms & SIDE_MASK == SELL:
            return qty_lots * symbols[at + LOT_ATOMS]
        if kind > MARKET:
            return budget_atoms
        atoms = price_ticks * qty_lots * symbols[at + TICK_LOT_ATOMS]
        if kind == MARKET:
            return min(atoms, self.ledger.available(pays))
        return atoms

    def budget_ticks(self, terms: i64, budget_atoms: i64) -> i64:
        """A budget in whole ticks x lots, rounded against the order: down, but up for what a seller of FOK_BUDGET must at least receive."""
        tick_lot_atoms = self.listings.symbols[symbol_at(terms) + TICK_LOT_ATOMS]
        if terms & SIDE_MASK == SELL and terms >> TYPE_SHIFT & CODE_MASK == FOK_BUDGET:
            return (budget_atoms - 1) // tick_lot_atoms + 1
        return budget_atoms // tick_lot_atoms

    # ------------------------------------------------------------------ canceling and amending

    def find_order(self, data: bytes, at: i64) -> i64:
        """The hold that a command names by order id, client id or both, if it is its account's and its symbol's; or 0."""
        account_id = word(data, at, records.ACCOUNT_AT)
        order_id = word(data, at, records.ORDER_ID_AT)
        hold: i64 = NONE
        if order_id != 0:
            hold = self.holds.by_id.get(order_id)
        if word(data, at, records.CLIENT_AT) != 0:
            named = self.find_client(data, at, account_id)
            if order_id != 0 and named != hold:
                return NONE
            hold = named
        if hold == NONE:
            return NONE
        holds = self.holds.pool.words
        if holds[hold + OWNER_ID] != account_id:
            return NONE
        if holds[hold + TERMS] >> SYMBOL_SHIFT != word(data, at, records.TERMS_AT) >> SYMBOL_SHIFT:
            return NONE
        return hold

    def find_client(self, data: bytes, at: i64, account_id: i64) -> i64:
        """The hold of the client order id in a command, or 0."""
        client_ids = self.holds.client_ids
        client = client_ids.find(
            account_id,
            word(data, at, records.CLIENT_AT),
            word(data, at, records.CLIENT_AT + 1),
            word(data, at, records.CLIENT_AT + 2),
            word(data, at, records.CLIENT_AT + 3),
            word(data, at, records.CLIENT_AT + 4),
        )
        if client == NONE:
            return NONE
        return client_ids.hold_of(client)

    def owner_of(self, hold: i64, account_id: i64) -> i64:
        """The account that a command comes from: known already where its order was found; or 0."""
        if hold != NONE:
            return self.holds.pool.words[hold + OWNER]
        return self.ledger.accounts_by_id.get(account_id)

    def command_fault(self, account_id: i64, terms: i64, deadline_us: i64, hold: i64) -> i64:
        """Why a command about an open order is refused, given what was found."""
        if deadline_us != 0 and self.now_us > deadline_us:
            return DEADLINE_PASSED
        if hold != NONE:
            return NO_REASON
        if not 0 <= terms >> SYMBOL_SHIFT < self.listings.count:
            return UNKNOWN_SYMBOL
        if self.treasury.user(account_id) == NONE:
            return UNKNOWN_ACCOUNT
        return UNKNOWN_ORDER

    def refuse(self, command: i64, reason: i64, data: bytes, at: i64, hold: i64) -> None:
        order_id = word(data, at, records.ORDER_ID_AT)
        if hold != NONE:
            order_id = self.holds.pool.words[hold]
        self.events.refused(command, reason, word(data, at, records.ACCOUNT_AT), order_id)

    def cancel(self, data: bytes, at: i64) -> None:
        account_id = word(data, at, records.ACCOUNT_AT)
        hold = self.find_order(data, at)
        reason = self.command_fault(account_id, word(data, at, records.TERMS_AT), word(data, at, records.DEADLINE_AT), hold)
        if reason != NO_REASON:
            return self.refuse(records.CANCEL, reason, data, at, NONE)
        self.send_cancel(hold, account_id, data, at, records.NEW_CLIENT_AT)

    def send_cancel(self, hold: i64, account_id: i64, data: bytes, at: i64, client_at: i64) -> None:
        holds = self.holds.pool.words
        order_id = holds[hold]
        if word(data, at, client_at) != 0:
            self.events.cancel_admitted(
                order_id,
                account_id,
                word(data, at, client_at),
                word(data, at, client_at + 1),
                word(data, at, client_at + 2),
                word(data, at, client_at + 3),
                word(data, at, client_at + 4),
            )
        self.orders.cancel(holds[hold + TERMS] >> SYMBOL_SHIFT, order_id, holds[hold + ORDER], self.request)

    def cancel_all(self, data: bytes, at: i64) -> None:
        account_id = word(data, at, records.ACCOUNT_AT)
        terms = word(data, at, records.TERMS_AT)
        hold = self.newest_order(account_id, terms)
        reason = self.command_fault(account_id, terms, word(data, at, records.CANCEL_ALL_DEADLINE_AT), hold)
        if reason != NO_REASON:
            return self.events.refused(records.CANCEL_ALL, reason, account_id, 0)
        symbol = terms >> SYMBOL_SHIFT
        self.events.cancel_all_admitted(account_id, symbol, self.holds.seats.words[self.holds.find_seat(account_id, symbol) + OPEN])
        while hold != NONE:
            following = self.holds.pool.words[hold + NEXT]  # read first: where the engine answers at once, the hold closes
            self.send_cancel(hold, account_id, data, at, records.CANCEL_ALL_CLIENT_AT)
            hold = following

    def newest_order(self, account_id: i64, terms: i64) -> i64:
        """The newest hold of an account on a symbol, or 0. Neither need exist."""
        symbol = terms >> SYMBOL_SHIFT
        if not 0 <= symbol < self.listings.count or self.treasury.user(account_id) == NONE:
            return NONE
        seat = self.holds.find_seat(account_id, symbol)
        if seat == NONE:
            return NONE
        return self.holds.seats.words[seat + NEWEST]

    def reduce(self, data: bytes, at: i64) -> None:
        account_id = word(data, at, records.ACCOUNT_AT)
        by_lots = word(data, at, records.AMENDMENT_AT)
        hold = self.find_order(data, at)
        reason = self.command_fault(account_id, word(data, at, records.TERMS_AT), word(data, at, records.DEADLINE_AT), hold)
        if reason != NO_REASON:
            return self.refuse(records.REDUCE, reason, data, at, NONE)
        if by_lots < 1:
            return self.refuse(records.REDUCE, BAD_AMOUNT, data, at, hold)
        holds = self.holds.pool.words
        self.orders.reduce(holds[hold + TERMS] >> SYMBOL_SHIFT, holds[hold], holds[hold + ORDER], by_lots, self.request)

    def move(self, data: bytes, at: i64) -> None:
        """Freeze for the dearer of the old and the new price until the engine answers: a fill at the old one may be on its way."""
        terms = word(data, at, records.TERMS_AT)
        price_ticks = word(data, at, records.AMENDMENT_AT)
        stp = terms >> STP_SHIFT & CODE_MASK
        hold = self.find_order(data, at)
        reason = self.amend_fault(data, at, terms, stp, hold)
        if reason == NO_REASON and hold == NONE:
            reason = UNKNOWN_ORDER
        if reason != NO_REASON:
            return self.refuse(records.MOVE, reason, data, at, NONE)
        reason = self.move_fault(hold, price_ticks)
        if reason != NO_REASON:
            return self.refuse(records.MOVE, reason, data, at, hold)
        holds = self.holds.pool.words
        holds[hold + MOVING_TO] = price_ticks
        more = worst_cost(holds, self.listings.symbols, hold) - holds[hold + FROZEN]
        if more > 0:
            if not self.ledger.freeze(holds[hold + PAYS], more):
                holds[hold + MOVING_TO] = 0
                return self.refuse(records.MOVE, INSUFFICIENT_BALANCE, data, at, hold)
            holds[hold + FROZEN] += more
            self.report(records.MOVE_ADMITTED, hold, price_ticks)
        self.orders.move(holds[hold + TERMS] >> SYMBOL_SHIFT, holds[hold], holds[hold + ORDER], hold, price_ticks, stp)

    def amend_fault(self, data: bytes, at: i64, terms: i64, stp: i64, hold: i64) -> i64:
        """Why an account may not change what it has on the symbol, whichever order it is about."""
        deadline_us = word(data, at, records.DEADLINE_AT)
        if deadline_us != 0 and self.now_us > deadline_us:
            return DEADLINE_PASSED
        if not 0 <= terms >> SYMBOL_SHIFT < self.listings.count:
            return UNKNOWN_SYMBOL
        if stp > STP_MAX:
            return BAD_TERMS
        return self.trader_fault(self.owner_of(hold, word(data, at, records.ACCOUNT_AT)))

    def move_fault(self, hold: i64, price_ticks: i64) -> i64:
        holds = self.holds.pool.words
        symbols = self.listings.symbols
        at = symbol_at(holds[hold + TERMS])
        if holds[hold + PRICE] == 0:
            return BAD_TERMS  # it has no price to move
        if not symbols[at + MIN_PRICE] <= price_ticks <= symbols[at + MAX_PRICE]:
            return PRICE_FILTER
        notional = price_ticks * holds[hold + OPEN_LOTS] * symbols[at + TICK_LOT_ATOMS]
        if not symbols[at + MIN_NOTIONAL] <= notional <= symbols[at + MAX_NOTIONAL]:
            return NOTIONAL
        if holds[hold + MOVING_TO] != 0:
            return AMENDMENT_IN_FLIGHT
        return NO_REASON

    def cancel_replace(self, data: bytes, at: i64) -> None:
        """Cancel, and place the new order in the same step in which the engine says that the old one is gone, with what was released."""
        account_id = word(data, at, records.ACCOUNT_AT)
        terms = word(data, at, records.TERMS_AT)
        mode = word(data, at, records.MODE_AT)
        hold = self.find_order(data, at)
        reason = self.amend_fault(data, at, terms, STP_NONE, hold)
        if reason == NO_REASON and mode != STOP_ON_FAILURE and mode != ALLOW_FAILURE:
            reason = BAD_TERMS
        if reason != NO_REASON:
            return self.refuse(records.CANCEL_REPLACE, reason, data, at, NONE)
        if hold == NONE:
            self.refuse(records.CANCEL_REPLACE, UNKNOWN_ORDER, data, at, NONE)
            if mode == STOP_ON_FAILURE:
                return
        self.replacements.add(
            self.request,
            mode,
            account_id,
            terms,
            word(data, at, records.REPLACE_PRICE_AT),
            word(data, at, records.REPLACE_QTY_AT),
            word(data, at, records.REPLACE_BUDGET_AT),
            word(data, at, records.REPLACE_CLIENT_AT),
            word(data, at, records.REPLACE_CLIENT_AT + 1),
            word(data, at, records.REPLACE_CLIENT_AT + 2),
            word(data, at, records.REPLACE_CLIENT_AT + 3),
            word(data, at, records.REPLACE_CLIENT_AT + 4),
        )
        if hold == NONE:
            self.ready = self.replacements.by_request.get(self.request)
        else:
            self.send_cancel(hold, account_id, data, at, records.NEW_CLIENT_AT)
        self.place_ready()

    def place_ready(self) -> None:
        """Admit the replacement whose cancel has been answered in this step, if there is one. Its deadline was kept when it came."""
        if self.ready == NONE:
            return
        slot = self.ready
        self.ready = NONE
        words = self.replacements.pool.words
        self.replacements.remove(slot)  # the record is still readable until the next is added
        client = slot + replacement_words.CLIENT
        self.admit(
            records.CANCEL_REPLACE,
            words[slot + replacement_words.ACCOUNT],
            words[slot + replacement_words.TERMS],
            words[slot + replacement_words.PRICE],
            words[slot + replacement_words.QTY],
            words[slot + replacement_words.BUDGET],
            0,
            words[client],
            words[client + 1],
            words[client + 2],
            words[client + 3],
            words[client + 4],
        )

    # ------------------------------------------------------------------ outcomes

    def accepted(self, hold: i64, order_id: i64, order: i64) -> None:
        hold = self.holds.find(hold, order_id)
        holds = self.holds.pool.words
        holds[hold + ORDER] = order
        self.events.accepted(order_id, holds[hold + OWNER_ID])

    def fill(self, hold: i64, order_id: i64, is_taker: i64, trade_id: i64, price_ticks: i64, qty_lots: i64) -> None:
        """One leg of a trade, alone and zero-sum: spend from the hold into clearing, receive from clearing less the fee."""
        hold = self.holds.find(hold, order_id)
        holds = self.holds.pool.words
        symbols = self.listings.symbols
        ledger = self.ledger
        terms = holds[hold + TERMS]
        symbol = symbol_at(terms)
        account = holds[hold + OWNER]
        pays = holds[hold + PAYS]
        gets = holds[hold + GETS]
        account_id = holds[hold + OWNER_ID]
        ppm = ledger.accounts.words[account + MAKER_PPM]
        if is_taker != 0:
            ppm = ledger.accounts.words[account + TAKER_PPM]
        paid = price_ticks * qty_lots * symbols[symbol + TICK_LOT_ATOMS]
        received = qty_lots * symbols[symbol + LOT_ATOMS]
        paid_to = symbols[symbol + QUOTE_CLEARING]
        received_from = symbols[symbol + BASE_CLEARING]
        fees = symbols[symbol + BASE_FEES]
        if terms & SIDE_MASK == SELL:
            paid, received = received, paid
            paid_to, received_from = received_from, paid_to
            fees = symbols[symbol + QUOTE_FEES]
        fee = fee_of(received, ppm)

        holds[hold + FROZEN] -= paid
        assert holds[hold + FROZEN] >= 0, "a fill spends only what its own order froze"
        ledger.spend(pays, paid_to, paid)
        ledger.transfer(received_from, gets, received - fee)
        ledger.transfer(received_from, fees, fee)
        open_lots = holds[hold + OPEN_LOTS] - qty_lots
        holds[hold + OPEN_LOTS] = open_lots
        assert open_lots >= 0, "an order fills for no more than it has open"
        if open_lots == 0:
            self.holds.close(hold)
        else:
            self.holds.release_surplus(hold)

        balances = ledger.balances.words
        self.events.fill(
            order_id, account_id, terms, is_taker, trade_id, price_ticks, qty_lots, fee, open_lots,
            balances[pays + AVAILABLE], balances[pays + ledger_words.FROZEN], balances[gets + AVAILABLE],
            balances[gets + ledger_words.FROZEN], balances[fees + AVAILABLE],
        )  # fmt: skip

    def reduced(self, hold: i64, order_id: i64, by_lots: i64, reason: i64) -> None:
        hold = self.holds.find(hold, order_id)
        self.holds.pool.words[hold + OPEN_LOTS] -= by_lots
        self.holds.release_surplus(hold)
        self.report(records.REDUCED, hold, reason)

    def moved(self, hold: i64, order_id: i64) -> None:
        hold = self.holds.find(hold, order_id)
        holds = self.holds.pool.words
        holds[hold + PRICE] = holds[hold + MOVING_TO]
        holds[hold + MOVING_TO] = 0
        self.holds.release_surplus(hold)
        self.report(records.MOVED, hold, holds[hold + PRICE])

    def move_rejected(self, hold: i64, order_id: i64, reason: i64) -> None:
        hold = self.holds.find(hold, order_id)
        if hold == NONE:  # filled or canceled on the way: its hold is closed
            return self.events.refused(records.MOVE, reason, 0, order_id)
        self.holds.pool.words[hold + MOVING_TO] = 0
        self.holds.release_surplus(hold)
        self.report(records.MOVE_REJECTED, hold, reason)

    def done(self, hold: i64, order_id: i64, reason: i64, request: i64) -> None:
        self.finish(records.DONE, self.holds.find(hold, order_id), reason)
        if request != 0 and self.replacements.pool.live != 0:
            self.ready = self.replacements.by_request.get(request)

    def rejected(self, hold: i64, order_id: i64, reason: i64) -> None:
        self.finish(records.REJECTED, self.holds.find(hold, order_id), reason)

    def cancel_rejected(self, order_id: i64, reason: i64, request: i64) -> None:
        self.events.cancel_rejected(order_id, reason)
        replacement = self.replacements.by_request.get(request)
        if replacement == NONE:
            return
        words = self.replacements.pool.words
        if words[replacement + replacement_words.MODE] == ALLOW_FAILURE:
            self.ready = replacement
        else:
            self.events.refused(records.CANCEL_REPLACE, CANCEL_FAILED, words[replacement + replacement_words.ACCOUNT], order_id)
            self.replacements.remove(replacement)

    # ------------------------------------------------------------------ steps

    def finish(self, kind: i64, hold: i64, reason: i64) -> None:
        """Release the rest of a hold and say how its order ended."""
        holds = self.holds.pool.words
        order_id = holds[hold]
        account_id = holds[hold + OWNER_ID]
        terms = holds[hold + TERMS]
        open_lots = holds[hold + OPEN_LOTS]
        pays = holds[hold + PAYS]
        self.holds.close(hold)
        balances = self.ledger.balances.words
        self.events.changed(
            kind, order_id, account_id, terms, reason, open_lots, balances[pays + AVAILABLE], balances[pays + ledger_words.FROZEN]
        )

    def report(self, kind: i64, hold: i64, reason_or_price: i64) -> None:
        """Say how an open order has changed, and its paying balance."""
        holds = self.holds.pool.words
        balances = self.ledger.balances.words
        pays = holds[hold + PAYS]
        self.events.changed(
            kind, holds[hold], holds[hold + OWNER_ID], holds[hold + TERMS], reason_or_price, holds[hold + OPEN_LOTS],
            balances[pays + AVAILABLE], balances[pays + ledger_words.FROZEN],
        )  # fmt: skip

    def rested(self, order_id: i64) -> None:
        """What came in, or was moved, has traded what it could, and stands in the book: the request is answered. Only a cluster says so."""
        hold = self.holds.by_id.get(order_id)
        self.events.rested(order_id, self.holds.pool.words[hold + OWNER_ID])

    def check(self) -> None:
        self.ledger.check()
        self.holds.check()
        self.transfers.check()
        pending = self.transfers.pending(self.ledger.assets())
        for asset in range(self.ledger.assets()):
            on_its_way = self.ledger.available_at(WITHDRAWALS, asset)
            assert int(on_its_way) == pending[asset], "what is on its way out is the withdrawals that are pending"
        self.replacements.check()
        assert self.ready == NONE, "a replacement is admitted in the step in which its cancel is answered"
        assert LIMIT < LIMIT_MAKER < MARKET < MARKET_QUOTE and SEAT > 0, "codes are ordered as cost() and filter_fault() read them"


def terms_fault(terms: i64) -> i64:
    """BAD_TERMS for a code that does not exist, or a time in force with a type that has none."""
    tif = terms >> TIF_SHIFT & CODE_MASK
    kind = terms >> TYPE_SHIFT & CODE_MASK
    if terms & SIDE_MASK > SELL or not LIMIT <= kind <= TYPE_MAX or tif > TIF_MAX or terms >> STP_SHIFT & CODE_MASK > STP_MAX:
        return BAD_TERMS
    if tif != GTC and kind != LIMIT:
        return BAD_TERMS
    return NO_REASON
