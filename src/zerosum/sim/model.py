"""
The core once more, slow and obvious, written from `docs/reference/semantics.md` alone: whatever the fast one writes, this one writes too.

    command ──► Model.apply ──► account events, market events          as dicts: kind, cause, time_us and the fields of the record

    holdings[asset]  account -> atoms, frozen or not; only `_pay` changes them, and it takes from one what it gives to another
    account.orders   its open orders; what is frozen is added up from them whenever somebody asks, and so is what is available
    symbol.resting   per side all resting orders in one list, best price first, oldest first

Always true (see Model.check):
  - the holdings of an asset sum to zero, and those of CLEARING are zero
  - no user's available balance is negative
  - a book is not crossed, and an order rests on it if and only if it is an open order of its account

Shares with the core its layouts and its codes, and no more.
"""

from __future__ import annotations

import string
import struct
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from zerosum.core import codes, records
from zerosum.core.records import CLIENT, FIELDS, NEW_CLIENT, ORDER_CLIENT, TIME

Event = dict[str, int]
Fields = dict[str, int]
Client = tuple[int, ...]

CORE_VERSION: Final = 1
WALK_MAX: Final = 16_384
ACCOUNT_ORDERS_MAX: Final = 1_000  # of an account opened without a cap
SYMBOL_ORDERS_MAX: Final = 200  # of an account on a symbol listed without a cap
SYMBOL_ORDERS_MAX_BOUND: Final = 10_000
BAND_UP_MAX: Final = 100 * codes.PPM
NAME_CHARACTERS: Final = frozenset((string.ascii_uppercase + string.digits).encode())
PRICED: Final = (codes.LIMIT, codes.LIMIT_MAKER)
KEPT_WHEN_LISTED_AGAIN: Final = (
    "base", "quote", "tick", "tick_decimals", "lot", "lot_decimals", "max_price_ticks", "name_1", "name_2", "name_3",
)  # fmt: skip


@dataclass(eq=False, slots=True)
class Account:
    account_id: int
    status: int
    maker_ppm: int = 0
    taker_ppm: int = 0
    orders_max: int = 0
    orders: dict[int, Order] = field(default_factory=dict)  # its open orders by id, oldest first

    def open_on(self, symbol: Symbol) -> list[Order]:
        return [order for order in self.orders.values() if order.symbol is symbol]

    def with_client(self, client: Client) -> Order | None:
        if not is_given(client):
            return None
        return next((order for order in self.orders.values() if order.client == client), None)


@dataclass(eq=False, slots=True)
class Symbol:
    listing: Fields  # as in force: LIST_SYMBOL's fields
    lot_atoms: int
    tick_lot_atoms: int
    status: int
    reference_ticks: int  # the last trade's price, before any the listing's
    trades: int = 0
    arrivals: int = 0
    resting: tuple[list[Order], list[Order]] = field(default_factory=lambda: ([], []))  # bids, asks

    @property
    def max_notional_atoms(self) -> int:
        return self.listing["max_notional_atoms"] or codes.AMOUNT_MAX

    @property
    def orders_max(self) -> int:
        return self.listing["orders_max"] or SYMBOL_ORDERS_MAX

    def notional(self, price_ticks: int, qty_lots: int) -> int:
        return price_ticks * qty_lots * self.tick_lot_atoms

    def price_fits(self, price_ticks: int) -> bool:
        return self.listing["min_price_ticks"] <= price_ticks <= self.listing["max_price_ticks"]

    def qty_fits(self, qty_lots: int) -> bool:
        return self.listing["min_qty_lots"] <= qty_lots <= self.listing["max_qty_lots"]

    def notional_fits(self, atoms: int) -> bool:
        return self.listing["min_notional_atoms"] <= atoms <= self.max_notional_atoms

    def band(self) -> tuple[int, int]:
        """The lowest and the highest price at which an order may be placed or may trade now."""
        low, high = 1, self.listing["max_price_ticks"]
        if self.reference_ticks and self.listing["band_down_ppm"]:
            low = max(low, self.reference_ticks * self.listing["band_down_ppm"] // codes.PPM)
        if self.reference_ticks and self.listing["band_up_ppm"]:
            high = min(high, self.reference_ticks * self.listing["band_up_ppm"] // codes.PPM)
        return low, high

    def level(self, side: int, price_ticks: int) -> list[Order]:
        """The orders that rest at a price, oldest first."""
        orders = self.resting[side]
        rank = -price_ticks if side == codes.BUY else price_ticks
        return orders[bisect_left(orders, (rank, 0), key=Order.rank) : bisect_right(orders, (rank, self.arrivals), key=Order.rank)]

    def level_lots(self, side: int, price_ticks: int) -> int:
        return sum(order.open_lots for order in self.level(side, price_ticks))


@dataclass(eq=False, slots=True)
class Order:
    order_id: int
    account: Account
    symbol: Symbol
    terms: int
    price_ticks: int  # 0: it has none of its own
    open_lots: int
    budget_atoms: int  # a buyer's is frozen; 0: it has none
    client: Client
    frozen_ticks: int = 0  # the price that is frozen for, when that is more than its own: while it is being moved
    traded_ticks_lots: int = 0  # price × quantity of all its trades
    arrival: int = 0  # its place among the orders at its price

    side: int = field(init=False)
    type: int = field(init=False)
    tif: int = field(init=False)
    stp: int = field(init=False)
    pays: int = field(init=False)  # an asset
    gets: int = field(init=False)

    def __post_init__(self) -> None:
        self.side, self.type, self.tif, self.stp = (self.terms >> shift & 0xFF for shift in (0, 8, 16, 24))
        base, quote = self.symbol.listing["base"], self.symbol.listing["quote"]
        self.pays, self.gets = (quote, base) if self.side == codes.BUY else (base, quote)

    @property
    def may_rest(self) -> bool:
        return self.type in PRICED and self.tif == codes.GTC

    @property
    def frozen_atoms(self) -> int:
        """The most that it can still cost its account."""
        if self.side == codes.SELL:
            return self.open_lots * self.symbol.lot_atoms
        if self.type in PRICED:
            return self.symbol.notional(max(self.price_ticks, self.frozen_ticks), self.open_lots)
        return self.budget_atoms - self.traded_ticks_lots * self.symbol.tick_lot_atoms

    def rank(self) -> tuple[int, int]:
        """Ascending in the order of trading."""
        return (-self.price_ticks if self.side == codes.BUY else self.price_ticks, self.arrival)

    def reaches(self, limit_ticks: int, price_ticks: int) -> bool:
        return price_ticks <= limit_ticks if self.side == codes.BUY else price_ticks >= limit_ticks


@dataclass(slots=True)
class Walk:
    """What an order would trade, as far as its limit."""

    lots: int = 0
    ticks_lots: int = 0
    too_long: bool = False
    short_of_lots: bool = False  # a seller with a budget: there is more to take, but nothing left to sell


class Refused(Exception):
    def __init__(self, reason: int, order_id: int) -> None:
        self.reason = reason
        self.order_id = order_id


def require(fact: bool, reason: int, order_id: int = 0) -> None:
    if not fact:
        raise Refused(reason, order_id)


def _is_ppm(value: int) -> bool:
    return 0 <= value <= codes.PPM


def _name(words: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(words)}q", *words).rstrip(b"\0")


def _are_terms(terms: int) -> bool:
    side, order_type, tif, stp = (terms >> shift & 0xFF for shift in (0, 8, 16, 24))
    exist = side in (codes.BUY, codes.SELL) and 1 <= order_type <= codes.TYPE_MAX and tif <= codes.TIF_MAX and stp <= codes.STP_MAX
    return exist and (tif == codes.GTC or order_type == codes.LIMIT)


def _is_name(words: tuple[int, ...]) -> bool:
    name = _name(words)
    return bool(name) and NAME_CHARACTERS.issuperset(name)


def _listing_name(fields: Fields) -> tuple[int, ...]:
    return fields["name_1"], fields["name_2"], fields["name_3"]


def is_given(client: Client) -> bool:
    """An id is text padded with zeros, so one that begins with a whole word of them is none."""
    return client[0] != 0


def client_of(fields: Fields, names: tuple[str, ...]) -> Client:
    return tuple(fields[name] for name in names)


class Model:
    def __init__(self) -> None:
        self.sequence = 0  # the place of the last command
        self.now_us = 0
        self.assets: list[Fields] = []
        self.symbols: list[Symbol] = []
        self.accounts = {house: Account(house, codes.HOUSE) for house in (codes.OUTSIDE, codes.FEES, codes.CLEARING)}
        self.holdings: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.transfers: dict[tuple[int, int], tuple[int, ...]] = {}  # by account and id
        self.states: dict[tuple[int, int], str] = {}  # of withdrawals that were requested, and of deposits that were reversed
        self.orders_admitted = 0
        self.supply_max = codes.AMOUNT_MAX
        self._account_events: list[Event] = []
        self._market_events: list[Event] = []
        self._handlers: dict[int, Callable[[Fields], None]] = {
            records.TICK: self._tick,
            records.CHECKPOINT: self._checkpoint,
            records.SET_CORE_VERSION: self._set_core_version,
            records.LIST_ASSET: self._list_asset,
            records.LIST_SYMBOL: self._list_symbol,
            records.SET_SYMBOL_STATUS: self._set_symbol_status,
            records.OPEN_ACCOUNT: self._open_account,
            records.SET_ACCOUNT_STATUS: self._set_account_status,
            records.SET_ACCOUNT_FEES: self._set_account_fees,
            records.DEPOSIT: self._deposit,
            records.WITHDRAW: self._withdraw,
            records.TRANSFER: self._transfer,
            records.REQUEST_WITHDRAWAL: self._request_withdrawal,
            records.SETTLE_WITHDRAWAL: self._settle_withdrawal,
            records.RETURN_WITHDRAWAL: self._return_withdrawal,
            records.REVERSE_DEPOSIT: self._reverse_deposit,
            records.ADJUST: self._adjust,
            records.PLACE: self._place,
            records.CANCEL: self._cancel,
            records.CANCEL_ALL: self._cancel_all,
            records.REDUCE: self._reduce,
            records.MOVE: self._move,
            records.CANCEL_REPLACE: self._cancel_replace,
        }

    def apply(self, command: bytes) -> tuple[list[Event], list[Event]]:
        """
        The account events and the market events that one command makes: named as by `records.named`, without their sequence numbers, and a
        CHECKPOINTED without its hash.
        """
        words = struct.unpack(f"<{len(command) // 8}q", command)
        kind = words[0] & 0xFF
        fields = dict(zip(records.COMMANDS[kind][1], words[FIELDS:], strict=True))
        self.sequence += 1
        self.now_us = max(self.now_us, words[TIME])
        self._account_events = []
        self._market_events = []
        try:
            self._handlers[kind](fields)
        except Refused as refused:
            self._tell_refused(kind, refused, fields)
        return self._account_events, self._market_events

    def balance(self, account_id: int, asset: int) -> tuple[int, int]:
        """What is available and what is frozen."""
        orders = self.accounts[account_id].orders if account_id in self.accounts else {}  # a wallet that is not open yet has none
        frozen = sum(order.frozen_atoms for order in orders.values() if order.pays == asset)
        return self.holdings[asset][account_id] - frozen, frozen

    def check(self) -> None:
        """Assert what must always be true."""
        for asset in range(len(self.assets)):
            assert sum(self.holdings[asset].values()) == 0, "the holdings of an asset sum to zero"
            assert self.holdings[asset][codes.CLEARING] == 0, "both legs of a trade have passed through CLEARING"
            pending = [done[4] for key, done in self.transfers.items() if done[3] == asset and self.states.get(key) == "pending"]
            assert self.holdings[asset][codes.WITHDRAWALS] == sum(pending), "what is on its way out is what is pending"
            for account_id in self.accounts:
                if account_id != codes.OUTSIDE:
                    assert self.balance(account_id, asset)[0] >= 0, "no balance is negative"
        resting = {}
        for symbol in self.symbols:
            bids, asks = symbol.resting
            assert not (bids and asks) or bids[0].price_ticks < asks[0].price_ticks, "a book is not crossed"
            for side in symbol.resting:
                assert side == sorted(side, key=Order.rank), "orders stand in the order of trading"
                resting.update({order.order_id: order for order in side})
        open_orders = {order_id: order for account in self.accounts.values() for order_id, order in account.orders.items()}
        assert resting == open_orders, "open orders are the resting ones"
        for order in open_orders.values():
            assert order.open_lots > 0, "an order without open lots is not open"
            assert order.frozen_ticks == 0, "no move is under way"
        for account in self.accounts.values():
            clients = [order.client for order in account.orders.values() if is_given(order.client)]
            assert len(clients) == len(set(clients)), "a client order id names one open order"

    # Events.

    def _tell(self, kind: int, *values: int) -> None:
        """`values` in the order of the record's layout."""
        table, events = (records.ACCOUNT_EVENTS, self._account_events)
        if kind in records.MARKET_EVENTS:
            table, events = (records.MARKET_EVENTS, self._market_events)
        named = dict(zip(table[kind][1], values, strict=True))
        events.append({"kind": kind, "cause": self.sequence, "time_us": self.now_us, **named})

    def _tell_refused(self, kind: int, refused: Refused, fields: Fields) -> None:
        self._tell(records.REFUSED, kind, refused.reason, fields.get("account", 0), refused.order_id)

    def _tell_account(self, account: Account) -> None:
        self._tell(records.ACCOUNT_CHANGED, account.account_id, account.status, account.maker_ppm, account.taker_ppm, account.orders_max)

    def _tell_status(self, number: int) -> None:
        symbol = self.symbols[number]
        self._tell(records.MARKET_STATUS, number, symbol.status, symbol.reference_ticks, symbol.tick_lot_atoms)

    def _tell_order(self, kind: int, order: Order, reason_or_price: int) -> None:
        """An account event that says how an order and the balance that pays for it now stand."""
        self._tell(
            kind, order.order_id, order.account.account_id, order.terms, reason_or_price, order.open_lots,
            *self.balance(order.account.account_id, order.pays),
        )  # fmt: skip

    def _tell_book(self, order: Order, open_lots: int) -> None:
        symbol = order.symbol
        self._tell(
            records.BOOK, order.order_id, self._symbol_side(order), order.price_ticks, open_lots,
            symbol.level_lots(order.side, order.price_ticks),
        )  # fmt: skip

    def _symbol_side(self, order: Order) -> int:
        return order.symbol.listing["symbol"] * 2 + order.side

    # Listings and accounts.

    def _list_asset(self, fields: Fields) -> None:
        name = fields["name_1"], fields["name_2"]
        taken = {(asset["name_1"], asset["name_2"]) for asset in self.assets}
        ok = fields["asset"] == len(self.assets) and 0 <= fields["decimals"] <= codes.DECIMALS_MAX and _is_name(name) and name not in taken
        require(ok, codes.BAD_LISTING)
        self.assets.append(fields)
        self._tell(records.ASSET_LISTED, *fields.values())

    def _list_symbol(self, fields: Fields) -> None:
        number = fields["symbol"]
        before = self.symbols[number] if 0 <= number < len(self.symbols) else None
        require(number == len(self.symbols) or before is not None, codes.BAD_LISTING)
        if before is not None:
            require(all(fields[name] == before.listing[name] for name in KEPT_WHEN_LISTED_AGAIN), codes.BAD_LISTING)
        else:
            taken = {_listing_name(symbol.listing) for symbol in self.symbols}
            require(_is_name(_listing_name(fields)) and _listing_name(fields) not in taken, codes.BAD_LISTING)
            require(fields["status"] in (codes.TRADING, codes.HALT, codes.BREAK), codes.BAD_LISTING)
            require(0 <= fields["reference_ticks"] <= fields["max_price_ticks"], codes.BAD_LISTING)
        lot_atoms, tick_lot_atoms = self._listing_atoms(fields)
        self._check_listing_bounds(fields, lot_atoms, tick_lot_atoms)

        if before is not None:
            before.listing = fields
        else:
            self.symbols.append(Symbol(fields, lot_atoms, tick_lot_atoms, fields["status"], fields["reference_ticks"]))
        self._tell(records.SYMBOL_LISTED, *fields.values(), lot_atoms, tick_lot_atoms)
        if before is None:
            self._tell_status(number)

    def _listing_atoms(self, fields: Fields) -> tuple[int, int]:
        """lot_atoms and tick_lot_atoms."""
        base, quote = fields["base"], fields["quote"]
        listed = range(len(self.assets))
        require(base in listed and quote in listed and base != quote, codes.BAD_LISTING)
        for name in ("tick", "lot"):
            require(fields[name] >= 1 and 0 <= fields[f"{name}_decimals"] <= codes.DECIMALS_MAX, codes.BAD_LISTING)
        price_step = fields["tick"] / Fraction(10 ** fields["tick_decimals"])
        qty_step = fields["lot"] / Fraction(10 ** fields["lot_decimals"])
        lot_atoms = qty_step * 10 ** self.assets[base]["decimals"]
        tick_lot_atoms = price_step * qty_step * 10 ** self.assets[quote]["decimals"]
        require(lot_atoms.denominator == tick_lot_atoms.denominator == 1, codes.BAD_LISTING)
        return int(lot_atoms), int(tick_lot_atoms)

    def _check_listing_bounds(self, fields: Fields, lot_atoms: int, tick_lot_atoms: int) -> None:
        max_price, max_qty, max_notional = fields["max_price_ticks"], fields["max_qty_lots"], fields["max_notional_atoms"]
        for fact in (
            1 <= fields["min_price_ticks"] <= max_price <= codes.PRICE_MAX,
            1 <= fields["min_qty_lots"] <= max_qty,
            max_qty * lot_atoms <= codes.AMOUNT_MAX,
            max_price * max_qty * tick_lot_atoms <= codes.AMOUNT_MAX,
            0 <= fields["min_notional_atoms"] <= (max_notional or codes.AMOUNT_MAX) <= codes.AMOUNT_MAX,
            _is_ppm(fields["band_down_ppm"]),
            fields["band_up_ppm"] == 0 or codes.PPM <= fields["band_up_ppm"] <= BAND_UP_MAX,
            0 <= fields["orders_max"] <= SYMBOL_ORDERS_MAX_BOUND,
            fields["level_orders_max"] >= 0,
        ):
            require(fact, codes.BAD_LISTING)

    def _set_symbol_status(self, fields: Fields) -> None:
        number = fields["symbol"]
        require(0 <= number < len(self.symbols), codes.UNKNOWN_SYMBOL)
        require(fields["status"] in (codes.TRADING, codes.HALT, codes.BREAK), codes.BAD_LISTING)
        self.symbols[number].status = fields["status"]
        self._tell_status(number)

    def _open_account(self, fields: Fields) -> None:
        account_id, maker_ppm, taker_ppm, orders_max = fields.values()
        ok = codes.FIRST_USER <= account_id <= codes.ACCOUNT_MAX and _is_ppm(maker_ppm) and _is_ppm(taker_ppm) and orders_max >= 0
        require(ok, codes.BAD_ACCOUNT)
        require(account_id not in self.accounts, codes.ACCOUNT_EXISTS)
        account = Account(account_id, codes.ACTIVE, maker_ppm, taker_ppm, orders_max or ACCOUNT_ORDERS_MAX)
        self.accounts[account_id] = account
        self._tell_account(account)

    def _set_account_fees(self, fields: Fields) -> None:
        account = self._user(fields["account"])
        require(account.status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        require(_is_ppm(fields["maker_ppm"]) and _is_ppm(fields["taker_ppm"]), codes.BAD_ACCOUNT)
        account.maker_ppm = fields["maker_ppm"]
        account.taker_ppm = fields["taker_ppm"]
        self._tell_account(account)

    def _set_account_status(self, fields: Fields) -> None:
        account = self._user(fields["account"])
        require(account.status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        require(fields["status"] in (codes.ACTIVE, codes.SUSPENDED, codes.CLOSED), codes.BAD_ACCOUNT)
        if fields["status"] == codes.CLOSED:
            ids = (account.account_id, account.account_id | codes.WALLET_BIT)
            held = any(holdings[account_id] for holdings in self.holdings.values() for account_id in ids)
            require(not account.orders and not held, codes.ACCOUNT_NOT_EMPTY)
        account.status = fields["status"]
        self._tell_account(account)

    def _user(self, account_id: int, order_id: int = 0) -> Account:
        account = self.accounts.get(account_id)
        if account is None or account.status in (codes.HOUSE, codes.WALLET):
            raise Refused(codes.UNKNOWN_ACCOUNT, order_id)
        return account

    # Money.

    def _pay(self, asset: int, payer: int, receiver: int, atoms: int) -> None:
        """The only way in which money moves."""
        self.holdings[asset][payer] -= atoms
        self.holdings[asset][receiver] += atoms

    def _owner(self, account_id: int) -> Account:
        """Of an account, or of the wallet beside it."""
        require(0 <= account_id <= codes.HOLDER_MAX, codes.UNKNOWN_ACCOUNT)
        return self._user(account_id & codes.ACCOUNT_MAX)

    def _may_pay(self, fields: Fields) -> None:
        payer = self._payer(fields["account"])
        require(payer.status != codes.SUSPENDED, codes.ACCOUNT_SUSPENDED)
        require(fields["atoms"] <= self.balance(fields["account"], fields["asset"])[0], codes.INSUFFICIENT_BALANCE)

    def _deposit(self, fields: Fields) -> None:
        self._check_movement(records.DEPOSIT, fields)
        require(self._owner(fields["account"]).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        supply = -self.holdings[fields["asset"]][codes.OUTSIDE]
        require(supply + fields["atoms"] <= self.supply_max, codes.SUPPLY_EXCEEDED)
        self._move_money(records.DEPOSIT, fields, codes.OUTSIDE, fields["account"])

    def _withdraw(self, fields: Fields) -> None:
        self._check_movement(records.WITHDRAW, fields)
        require(self._payer(fields["account"]).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        self._may_pay(fields)
        self._move_money(records.WITHDRAW, fields, fields["account"], codes.OUTSIDE)

    def _request_withdrawal(self, fields: Fields) -> None:
        self._check_movement(records.REQUEST_WITHDRAWAL, fields)
        require(self._payer(fields["account"]).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        self._may_pay(fields)
        self.accounts.setdefault(codes.WITHDRAWALS, Account(codes.WITHDRAWALS, codes.HOUSE))
        self._move_money(records.REQUEST_WITHDRAWAL, fields, fields["account"], codes.WITHDRAWALS)
        self.states[fields["account"], fields["transfer_id"]] = "pending"

    def _settle_withdrawal(self, fields: Fields) -> None:
        self._end_withdrawal(records.SETTLE_WITHDRAWAL, fields, "settled")

    def _return_withdrawal(self, fields: Fields) -> None:
        self._end_withdrawal(records.RETURN_WITHDRAWAL, fields, "returned")

    def _end_withdrawal(self, kind: int, fields: Fields, state: str) -> None:
        account_id, transfer_id = fields["account"], fields["transfer_id"]
        asset, atoms = self._movement_of(records.REQUEST_WITHDRAWAL, fields)
        before = self.states[account_id, transfer_id]
        require(before != state, codes.TRANSFER_REPEATED)
        require(before == "pending", codes.MOVEMENT_ENDED)
        self.states[account_id, transfer_id] = state
        to = codes.OUTSIDE
        if kind == records.RETURN_WITHDRAWAL:
            to = account_id
            owner = self._payer(account_id)
            if owner.status == codes.CLOSED:
                owner.status = codes.SUSPENDED
                self._tell_account(owner)
        self._pay(asset, codes.WITHDRAWALS, to, atoms)
        self._tell(
            records.WITHDRAWAL_ENDED, transfer_id, kind, asset, atoms, account_id, self.balance(codes.WITHDRAWALS, asset)[0], to,
            self.balance(to, asset)[0],
        )  # fmt: skip

    def _reverse_deposit(self, fields: Fields) -> None:
        account_id, transfer_id = fields["account"], fields["transfer_id"]
        asset, atoms = self._movement_of(records.DEPOSIT, fields)
        require((account_id, transfer_id) not in self.states, codes.TRANSFER_REPEATED)
        require(atoms <= self.balance(account_id, asset)[0], codes.INSUFFICIENT_BALANCE)
        self.states[account_id, transfer_id] = "reversed"
        self._pay(asset, account_id, codes.OUTSIDE, atoms)
        self._tell(
            records.TRANSFERRED, transfer_id, records.REVERSE_DEPOSIT, asset, atoms, account_id, self.balance(account_id, asset)[0],
            codes.OUTSIDE, self.balance(codes.OUTSIDE, asset)[0],
        )  # fmt: skip

    def _movement_of(self, kind: int, fields: Fields) -> tuple[int, int]:
        """The asset and the atoms of an account's movement of that kind."""
        done = self.transfers.get((fields["account"], fields["transfer_id"]))
        if done is None or done[0] != kind:
            raise Refused(codes.UNKNOWN_MOVEMENT, 0)
        return done[3], done[4]

    def _adjust(self, fields: Fields) -> None:
        payer, receiver, asset, atoms = fields["account"], fields["to_account"], fields["asset"], fields["atoms"]
        self._check_movement(records.ADJUST, fields)
        reason = struct.pack("<2q", fields["reason_1"], fields["reason_2"]).rstrip(b"\0")
        require(bool(reason) and all(0x20 <= char <= 0x7E for char in reason), codes.BAD_REASON)
        require(self._payer(payer).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        require(payer != receiver, codes.BAD_ACCOUNT)
        require(atoms <= self.balance(payer, asset)[0], codes.INSUFFICIENT_BALANCE)
        self._check_is_here(receiver)
        require(self._payer(receiver).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        self.transfers[payer, fields["transfer_id"]] = (records.ADJUST, *fields.values())
        self._open_wallet(receiver)
        self._pay(asset, payer, receiver, atoms)
        self._tell(
            records.ADJUSTED, fields["transfer_id"], asset, atoms, payer, self.balance(payer, asset)[0], receiver,
            self.balance(receiver, asset)[0], fields["reason_1"], fields["reason_2"],
        )  # fmt: skip

    def _check_is_here(self, account_id: int) -> None:
        """That it is of this shard; there is one."""

    def _transfer(self, fields: Fields) -> None:
        self._check_movement(records.TRANSFER, fields)
        require(self._payer(fields["account"]).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        require(fields["account"] != fields["to_account"], codes.BAD_ACCOUNT)
        self._may_pay(fields)
        require(self._owner(fields["to_account"]).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        self._move_money(records.TRANSFER, fields, fields["account"], fields["to_account"])

    def _payer(self, account_id: int) -> Account:
        return self.accounts[codes.FEES] if account_id == codes.FEES else self._owner(account_id)

    def _check_movement(self, kind: int, fields: Fields) -> None:
        require(fields["transfer_id"] >= 1 and 1 <= fields["atoms"] <= codes.AMOUNT_MAX, codes.BAD_AMOUNT)
        require(0 <= fields["asset"] < len(self.assets), codes.UNKNOWN_ASSET)
        done = self.transfers.get((fields["account"], fields["transfer_id"]))
        if done is not None:
            said = (kind, *fields.values())
            require(done[:6] != said[:6], codes.TRANSFER_REPEATED)  # the reason of an adjustment does not make it another
        require(done is None, codes.TRANSFER_ID_REUSED)

    def _open_wallet(self, account_id: int) -> None:
        if account_id not in self.accounts:
            wallet = self.accounts[account_id] = Account(account_id, codes.WALLET)
            self._tell_account(wallet)

    def _move_money(self, kind: int, fields: Fields, payer: int, receiver: int) -> None:
        asset, atoms = fields["asset"], fields["atoms"]
        self.transfers[fields["account"], fields["transfer_id"]] = (kind, *fields.values())
        self._open_wallet(receiver)
        self._pay(asset, payer, receiver, atoms)
        self._tell(
            records.TRANSFERRED, fields["transfer_id"], kind, asset, atoms, payer, self.balance(payer, asset)[0], receiver,
            self.balance(receiver, asset)[0],
        )  # fmt: skip

    # Placing an order: UBSCore's checks, then the matching engine's.

    def _place(self, fields: Fields) -> None:
        self._check_deadline(fields, 0)
        self._admit(fields, client_of(fields, CLIENT))

    def _check_deadline(self, fields: Fields, order_id: int) -> None:
        require(fields["deadline_us"] == 0 or self.now_us <= fields["deadline_us"], codes.DEADLINE_PASSED, order_id)

    def _symbol(self, terms: int, order_id: int) -> Symbol:
        number = terms >> 32
        require(0 <= number < len(self.symbols), codes.UNKNOWN_SYMBOL, order_id)
        return self.symbols[number]

    def _check_may_trade(self, account: Account, order_id: int) -> None:
        require(account.status != codes.CLOSED, codes.ACCOUNT_CLOSED, order_id)
        require(account.status != codes.SUSPENDED, codes.ACCOUNT_SUSPENDED, order_id)

    def _admit(self, fields: Fields, client: Client) -> None:
        symbol = self._symbol(fields["terms"], 0)
        require(_are_terms(fields["terms"]), codes.BAD_TERMS)
        account = self._user(fields["account"])
        self._check_may_trade(account, 0)
        order = Order(self._next_order_id(), account, symbol, fields["terms"], 0, fields["qty_lots"], 0, client)
        available = self.balance(account.account_id, order.pays)[0]
        match order.type:
            case codes.LIMIT | codes.LIMIT_MAKER:
                self._terms_of_limit(order, fields)
            case codes.MARKET:
                self._terms_of_market(order, fields, available)
            case codes.MARKET_QUOTE:
                self._terms_of_market_quote(order, fields, available)
            case codes.FOK_BUDGET:
                self._terms_of_fok_budget(order, fields)
        if order.may_rest:
            require(len(account.open_on(symbol)) < symbol.orders_max, codes.TOO_MANY_ORDERS)
            require(len(account.orders) < account.orders_max, codes.TOO_MANY_ACCOUNT_ORDERS)
        require(account.with_client(client) is None, codes.DUPLICATE_CLIENT_ID)
        require(1 <= order.frozen_atoms <= available, codes.INSUFFICIENT_BALANCE)

        self.orders_admitted += 1
        account.orders[order.order_id] = order
        self._tell(
            records.ADMITTED, order.order_id, account.account_id, order.terms, order.price_ticks, order.open_lots, order.budget_atoms,
            *self.balance(account.account_id, order.pays), *client,
        )  # fmt: skip
        self._engine_place(order)

    def _next_order_id(self) -> int:
        return self.orders_admitted + 1

    def _terms_of_limit(self, order: Order, fields: Fields) -> None:
        order.price_ticks = fields["price_ticks"]
        require(order.symbol.price_fits(order.price_ticks), codes.PRICE_FILTER)
        require(order.symbol.qty_fits(order.open_lots), codes.LOT_SIZE)
        require(order.symbol.notional_fits(order.symbol.notional(order.price_ticks, order.open_lots)), codes.NOTIONAL)

    def _terms_of_market(self, order: Order, fields: Fields, available: int) -> None:
        require(order.symbol.qty_fits(order.open_lots), codes.LOT_SIZE)
        if order.side == codes.BUY:
            require(1 <= fields["price_ticks"] <= order.symbol.listing["max_price_ticks"], codes.PRICE_FILTER)
            order.budget_atoms = min(order.symbol.notional(fields["price_ticks"], order.open_lots), available)

    def _terms_of_market_quote(self, order: Order, fields: Fields, available: int) -> None:
        symbol, listing = order.symbol, order.symbol.listing
        order.budget_atoms = fields["budget_atoms"]
        require(max(1, listing["min_notional_atoms"]) <= order.budget_atoms <= symbol.max_notional_atoms, codes.NOTIONAL)
        order.open_lots = min(listing["max_qty_lots"], order.budget_atoms // symbol.tick_lot_atoms // listing["min_price_ticks"])
        require(order.open_lots > 0, codes.NOTIONAL)
        if order.side == codes.SELL:
            order.open_lots = min(order.open_lots, available // symbol.lot_atoms)

    def _terms_of_fok_budget(self, order: Order, fields: Fields) -> None:
        order.budget_atoms = fields["budget_atoms"]
        require(order.symbol.qty_fits(order.open_lots), codes.LOT_SIZE)
        require(1 <= order.budget_atoms <= order.symbol.max_notional_atoms, codes.NOTIONAL)

    def _engine_place(self, order: Order) -> None:
        symbol = order.symbol
        band_low, band_high = symbol.band()
        limit_ticks = order.price_ticks
        if order.type not in PRICED:
            limit_ticks = band_high if order.side == codes.BUY else band_low
        reject = codes.NO_REASON
        if symbol.status != codes.TRADING:
            reject = codes.MARKET_CLOSED
        elif order.type in PRICED and not band_low <= order.price_ticks <= band_high:
            reject = codes.PRICE_BAND
        elif order.type == codes.LIMIT_MAKER and self._meets(order):
            reject = codes.WOULD_TAKE
        elif order.type == codes.MARKET or (order.type == codes.MARKET_QUOTE and order.side == codes.SELL):
            reject = self._market_reject(order, limit_ticks)
        if reject:
            del order.account.orders[order.order_id]
            self._tell_order(records.REJECTED, order, reject)
            return

        self._tell(records.ACCEPTED, order.order_id, order.account.account_id)
        end = codes.NO_REASON
        if order.type == codes.FOK_BUDGET or order.tif == codes.FOK:
            end = self._all_or_nothing_end(order, limit_ticks)
        if end:
            self._end(order, end)
        else:
            self._take_and_rest(order, limit_ticks, order.stp)

    def _meets(self, order: Order) -> bool:
        opposite = order.symbol.resting[1 - order.side]
        return bool(opposite) and order.reaches(order.price_ticks, opposite[0].price_ticks)

    def _market_reject(self, order: Order, limit_ticks: int) -> int:
        symbol = order.symbol
        reference = symbol.reference_ticks
        if order.type == codes.MARKET and reference and symbol.notional(reference, order.open_lots) < symbol.listing["min_notional_atoms"]:
            return codes.NOTIONAL
        if order.type == codes.MARKET and order.side == codes.SELL:
            return codes.NO_REASON
        walk = self._walk(order, limit_ticks)
        if walk.too_long:
            return codes.WALK_TOO_LONG
        if order.side == codes.BUY:
            too_little = walk.ticks_lots * symbol.tick_lot_atoms > order.budget_atoms
        else:
            too_little = walk.short_of_lots
        return codes.INSUFFICIENT_BALANCE if too_little else codes.NO_REASON

    def _all_or_nothing_end(self, order: Order, limit_ticks: int) -> int:
        walk = self._walk(order, limit_ticks)
        if walk.too_long:
            return codes.WALK_TOO_LONG
        whole = walk.lots == order.open_lots
        if order.type == codes.FOK_BUDGET:
            quote_atoms = walk.ticks_lots * order.symbol.tick_lot_atoms
            in_budget = quote_atoms <= order.budget_atoms if order.side == codes.BUY else quote_atoms >= order.budget_atoms
            whole = whole and in_budget
        return codes.NO_REASON if whole else codes.UNFILLED

    def _walk(self, taker: Order, limit_ticks: int) -> Walk:
        walk = Walk()
        wanted = taker.open_lots
        has_quota = taker.type == codes.MARKET_QUOTE  # a seller's; it looks on after its last lot, for what it could not take
        quota = taker.budget_atoms // taker.symbol.tick_lot_atoms
        looked_at: set[int] = set()  # prices with NONE, else orders
        for maker in taker.symbol.resting[1 - taker.side]:
            price = maker.price_ticks
            if not taker.reaches(limit_ticks, price):
                break
            room = (quota - walk.ticks_lots) // price
            if (has_quota and room == 0) or (not has_quota and wanted == 0):
                break
            looked_at.add(price if taker.stp == codes.STP_NONE else maker.order_id)
            if len(looked_at) > WALK_MAX:
                walk.too_long = True
                break
            if maker.account is taker.account and taker.stp != codes.STP_NONE:
                if taker.stp in (codes.EXPIRE_TAKER, codes.EXPIRE_BOTH):
                    break
                if taker.stp == codes.DECREMENT:
                    wanted -= min(wanted, maker.open_lots)
                    if wanted == 0:
                        break
                continue
            can_take = min(maker.open_lots, room) if has_quota else maker.open_lots
            lots = min(wanted, can_take)
            wanted -= lots
            walk.lots += lots
            walk.ticks_lots += lots * price
            if has_quota and lots < maker.open_lots:  # it would end here, for want of lots or because the rest of the budget buys no lot
                walk.short_of_lots = lots < can_take
                break
        return walk

    # Trading.

    def _take_and_rest(self, order: Order, limit_ticks: int, stp: int) -> None:
        """Trade as far as the limit; then rest, expire, or be full already."""
        expired = self._take(order, limit_ticks, stp)
        if order.open_lots == 0:
            return
        symbol = order.symbol
        level_orders_max = symbol.listing["level_orders_max"]
        if expired:
            self._end(order, codes.SELF_TRADE)
        elif not order.may_rest:
            self._end(order, codes.UNFILLED)
        elif level_orders_max and len(symbol.level(order.side, order.price_ticks)) >= level_orders_max:
            self._end(order, codes.LEVEL_FULL)
        else:
            symbol.arrivals += 1
            order.arrival = symbol.arrivals
            insort(symbol.resting[order.side], order, key=Order.rank)
            self._tell_book(order, order.open_lots)

    def _take(self, taker: Order, limit_ticks: int, stp: int) -> bool:
        """True when self-trade prevention ended the taker. It may be full then or not, and makers may have gone."""
        opposite = taker.symbol.resting[1 - taker.side]
        while taker.open_lots and opposite and taker.reaches(limit_ticks, opposite[0].price_ticks):
            maker = opposite[0]
            lots = min(taker.open_lots, maker.open_lots)
            if taker.type == codes.MARKET_QUOTE:
                quota_left = taker.budget_atoms // taker.symbol.tick_lot_atoms - taker.traded_ticks_lots
                lots = min(lots, quota_left // maker.price_ticks)
                if lots == 0:
                    return False
            if maker.account is taker.account and stp != codes.STP_NONE:
                if self._prevent_self_trade(taker, maker, stp):
                    return True
            else:
                self._trade(taker, maker, lots)
        return False

    def _prevent_self_trade(self, taker: Order, maker: Order, stp: int) -> bool:
        """True when the taker is to expire."""
        match stp:
            case codes.EXPIRE_TAKER:
                return True
            case codes.EXPIRE_MAKER:
                self._leave_and_end(maker, codes.SELF_TRADE)
                return False
            case codes.EXPIRE_BOTH:
                self._leave_and_end(maker, codes.SELF_TRADE)
                return True
        assert stp == codes.DECREMENT, "a mode that does not exist is refused"
        if maker.open_lots > taker.open_lots:
            self._shrink(maker, taker.open_lots, codes.SELF_TRADE)
            return True
        by_lots = maker.open_lots
        self._leave_and_end(maker, codes.SELF_TRADE)
        if by_lots == taker.open_lots:
            return True
        taker.open_lots -= by_lots
        self._tell_order(records.REDUCED, taker, codes.SELF_TRADE)
        return False

    def _trade(self, taker: Order, maker: Order, lots: int) -> None:
        symbol = taker.symbol
        symbol.trades += 1
        symbol.reference_ticks = maker.price_ticks
        maker_open_lots = maker.open_lots - lots
        self._tell(
            records.TRADE, symbol.trades, self._symbol_side(taker), maker.price_ticks, lots, taker.order_id, maker.order_id,
            taker.account.account_id, maker.account.account_id, maker_open_lots,
            symbol.level_lots(maker.side, maker.price_ticks) - lots,
        )  # fmt: skip
        self._settle(taker, maker.price_ticks, lots, taker.account.taker_ppm, is_taker=1)
        self._settle(maker, maker.price_ticks, lots, maker.account.maker_ppm, is_taker=0)
        if maker.open_lots == 0:
            symbol.resting[maker.side].remove(maker)

    def _settle(self, order: Order, price_ticks: int, lots: int, fee_ppm: int, is_taker: int) -> None:
        """One side of a trade. What it froze and no longer needs is released by the order being smaller."""
        account = order.account.account_id
        quote_atoms = order.symbol.notional(price_ticks, lots)
        base_atoms = lots * order.symbol.lot_atoms
        paid, got = (quote_atoms, base_atoms) if order.side == codes.BUY else (base_atoms, quote_atoms)
        fee = got * fee_ppm // codes.PPM
        self._pay(order.pays, account, codes.CLEARING, paid)
        self._pay(order.gets, codes.CLEARING, account, got - fee)
        self._pay(order.gets, codes.CLEARING, codes.FEES, fee)
        order.open_lots -= lots
        order.traded_ticks_lots += price_ticks * lots
        if order.open_lots == 0:
            del order.account.orders[order.order_id]
        self._tell(
            records.FILL, order.order_id, account, order.terms, is_taker, order.symbol.trades, price_ticks, lots, fee, order.open_lots,
            *self.balance(account, order.pays), *self.balance(account, order.gets), self.balance(codes.FEES, order.gets)[0],
        )  # fmt: skip

    def _end(self, order: Order, reason: int) -> None:
        del order.account.orders[order.order_id]
        self._tell_order(records.DONE, order, reason)

    def _leave(self, order: Order) -> None:
        order.symbol.resting[order.side].remove(order)
        self._tell_book(order, 0)

    def _leave_and_end(self, order: Order, reason: int) -> None:
        self._leave(order)
        self._end(order, reason)

    def _shrink(self, order: Order, by_lots: int, reason: int) -> None:
        order.open_lots -= by_lots
        self._tell_book(order, order.open_lots)
        self._tell_order(records.REDUCED, order, reason)

    # Cancel, reduce, move.

    def _cancel(self, fields: Fields) -> None:
        symbol, account = self._symbol_and_account(fields)
        self._cancel_order(self._find(fields, account, symbol), client_of(fields, NEW_CLIENT))

    def _symbol_and_account(self, fields: Fields, with_stp: bool = False) -> tuple[Symbol, Account]:
        """What every command about an open order checks first. A refusal carries the order id that the command has, if any."""
        order_id = fields.get("order_id", 0)
        self._check_deadline(fields, order_id)
        symbol = self._symbol(fields["terms"], order_id)
        require(not with_stp or fields["terms"] >> 24 & 0xFF <= codes.STP_MAX, codes.BAD_TERMS, order_id)
        return symbol, self._user(fields["account"], order_id)

    def _find(self, fields: Fields, account: Account, symbol: Symbol) -> Order:
        """The open order that a command names, by its id, by its client id, or by both if both fit."""
        order_id, client = fields["order_id"], client_of(fields, CLIENT)
        order = account.orders.get(order_id) if order_id else account.with_client(client)
        if order is None or order.symbol is not symbol or (is_given(client) and client != order.client):
            raise Refused(codes.UNKNOWN_ORDER, order_id)
        return order

    def _cancel_order(self, order: Order, new_client: Client) -> None:
        if is_given(new_client):
            self._tell(records.CANCEL_ADMITTED, order.order_id, order.account.account_id, *new_client)
        self._leave_and_end(order, codes.BY_OWNER)

    def _cancel_all(self, fields: Fields) -> None:
        symbol, account = self._symbol_and_account(fields)
        orders = account.open_on(symbol)
        require(bool(orders), codes.UNKNOWN_ORDER)
        self._tell(records.CANCEL_ALL_ADMITTED, account.account_id, symbol.listing["symbol"], len(orders))
        for order in sorted(orders, key=lambda order: order.order_id, reverse=True):
            self._cancel_order(order, client_of(fields, NEW_CLIENT))

    def _reduce(self, fields: Fields) -> None:
        symbol, account = self._symbol_and_account(fields)
        order = self._find(fields, account, symbol)
        require(fields["by_lots"] >= 1, codes.BAD_AMOUNT, order.order_id)
        if fields["by_lots"] >= order.open_lots:
            self._leave_and_end(order, codes.BY_OWNER)
        else:
            self._shrink(order, fields["by_lots"], codes.BY_OWNER)

    def _move(self, fields: Fields) -> None:
        symbol, account = self._symbol_and_account(fields, with_stp=True)
        self._check_may_trade(account, fields["order_id"])
        order = self._find(fields, account, symbol)
        price_ticks = fields["price_ticks"]
        require(order.type in PRICED, codes.BAD_TERMS, order.order_id)  # it is open still where the engine has not answered yet
        require(symbol.price_fits(price_ticks), codes.PRICE_FILTER, order.order_id)
        require(symbol.notional_fits(symbol.notional(price_ticks, order.open_lots)), codes.NOTIONAL, order.order_id)
        self._check_no_amendment(order)
        dearer = order.side == codes.BUY and price_ticks > order.price_ticks
        if dearer:
            more_atoms = symbol.notional(price_ticks - order.price_ticks, order.open_lots)
            require(more_atoms <= self.balance(account.account_id, order.pays)[0], codes.INSUFFICIENT_BALANCE, order.order_id)

        if dearer:
            order.frozen_ticks = price_ticks
            self._tell_order(records.MOVE_ADMITTED, order, price_ticks)
        self._engine_move(order, price_ticks, fields["terms"] >> 24 & 0xFF)

    def _check_no_amendment(self, order: Order) -> None:
        """Here a move is answered before anything else is asked."""

    def _engine_move(self, order: Order, price_ticks: int, stp: int) -> None:
        symbol = order.symbol
        band_low, band_high = symbol.band()
        order.frozen_ticks = 0
        if symbol.status != codes.TRADING:
            self._tell_order(records.MOVE_REJECTED, order, codes.MARKET_CLOSED)
        elif not band_low <= price_ticks <= band_high:
            self._tell_order(records.MOVE_REJECTED, order, codes.PRICE_BAND)
        else:
            self._leave(order)
            order.price_ticks = price_ticks
            self._tell_order(records.MOVED, order, price_ticks)
            self._take_and_rest(order, price_ticks, stp)

    def _cancel_replace(self, fields: Fields) -> None:
        symbol, account = self._symbol_and_account(fields)
        self._check_may_trade(account, fields["order_id"])
        require(fields["mode"] in (codes.STOP_ON_FAILURE, codes.ALLOW_FAILURE), codes.BAD_TERMS, fields["order_id"])
        try:
            order = self._find(fields, account, symbol)
        except Refused as refused:
            if fields["mode"] == codes.STOP_ON_FAILURE:
                raise
            self._tell_refused(records.CANCEL_REPLACE, refused, fields)
        else:
            self._cancel_order(order, client_of(fields, NEW_CLIENT))
        self._admit(fields, client_of(fields, ORDER_CLIENT))

    # Control.

    def _tick(self, fields: Fields) -> None:
        """It has raised now, as any command does."""

    def _checkpoint(self, fields: Fields) -> None:
        self._account_events.append({"kind": records.CHECKPOINTED, "cause": self.sequence, "time_us": self.now_us})

    def _set_core_version(self, fields: Fields) -> None:
        assert fields["version"] == CORE_VERSION, "this core knows one version"
        self._tell(records.VERSION_SET, fields["version"])
