"""
Random programs: commands without end, the same for the same seed, made to reach the states where a core is most easily wrong.

    model ──► what exists and what is possible ──► the next command ──► model
                                                        └── now and then one field is spoiled

    USUAL    small numbers: caps, bands, exact balances and exactly possible orders are met all the time
    EXTREME  listings, supplies and rates at their bounds, where a product or a sum would leave 63 bits if it could
    SWEEP    thousands of tiny resting orders, then one command that takes, expires or cancels them

A program is longer or shorter only at its end: its first commands depend on the seed alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random
from typing import Final, TypeVar, final

from zerosum.core import codes, records
from zerosum.core.records import CLIENT, NEW_CLIENT, ORDER_CLIENT, text_words
from zerosum.sim.model import Account, Client, Event, Fields, Model, Order, Symbol

T = TypeVar("T")

USUAL: Final = "usual"
EXTREME: Final = "extreme"
SWEEP: Final = "sweep"

START_US: Final = 1_700_000_000_000_000
WORD_MIN: Final = -(1 << 63)
WORD_MAX: Final = (1 << 63) - 1
EXTREMES: Final = (0, 1, -1, (1 << 61) - 1, 1 << 61, (1 << 61) + 1, (1 << 62) - 1, 1 << 62, WORD_MAX, WORD_MIN)
RATES_PPM: Final = (0, 0, 1, 250, 1_000, 333_333, 999_999, codes.PPM)
CLIENTS: Final = tuple(
    [text_words(name, len(CLIENT)) for name in ("a", "b", "c", "twelve-order", "an-order-id-of-exactly-forty-characters!")]
    + [(0, 0, 0, 0, 1), (-1, 0, 0, 0, 0), (1, 0, 0, 0, 0)]
)
NO_CLIENT: Final = (0,) * len(CLIENT)
SYMBOLS_MAX: Final = 5  # with more, each sees too few commands
SWEEP_MAKERS: Final = 5
SWEEP_ORDERS: Final = 3_300  # past three slices of 1,024 outcomes
SPOILED_PER_MILLE: Final = 25


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and all the events that it must make."""

    command: bytes
    account_events: list[Event]
    market_events: list[Event]


def random_program(seed: int, length: int, flavour: str = USUAL) -> Iterator[bytes]:
    program = Program(seed, flavour)
    return (step.command for step in islice(program, length))


@final
class Program:
    """An endless iterator of steps; `model` stands where the last of them left it."""

    def __init__(self, seed: int, flavour: str = USUAL) -> None:
        assert flavour in (USUAL, EXTREME, SWEEP), flavour
        self.model = Model()
        self.flavour = flavour
        self._random = Random(f"{flavour} {seed}")
        self._time_us = START_US
        self._planned: deque[Callable[[], bytes]] = deque()
        self._movements: list[tuple[int, Fields]] = []  # kind and fields of every deposit, withdrawal and transfer asked for
        self._assets_wanted = self._random.randint(2, 4)
        self._symbols_wanted = 1 if flavour == SWEEP else self._random.randint(1, 3)
        self._accounts_wanted = SWEEP_MAKERS + 2 if flavour == SWEEP else self._random.randint(2, 6)

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        command = self._next_command()
        return Step(command, *self.model.apply(command))

    # What comes next.

    def _next_command(self) -> bytes:
        model = self.model
        self._time_us += self._random.choice((0, 1, 1, 7, 1_000))
        if len(model.assets) < self._assets_wanted:
            return self._list_asset()
        if len(model.symbols) < self._symbols_wanted:
            return self._list_symbol()
        if len(self._users()) < self._accounts_wanted:
            return self._open_account()
        if self._planned:
            return self._planned.popleft()()
        if self.flavour == SWEEP and self._chance(3, 2):
            self._plan_sweep()
            return self._planned.popleft()()
        return self._any_command()

    def _any_command(self) -> bytes:
        model = self.model
        kinds: dict[Callable[[], bytes], int] = {
            self._place: 600,
            self._buy_with_the_last_atom: 15,
            self._cancel: 40,
            self._cancel_all: 5,
            self._reduce: 50,
            self._move: 110,
            self._cancel_replace: 60,
            self._deposit: 80,
            self._withdraw: 30,
            self._transfer: 25,
            self._repeat_movement: 15,
            self._use_wallet: 20,
            self._request_withdrawal: 20,
            self._end_withdrawal: 25,
            self._reverse_deposit: 6,
            self._adjust: 10,
            self._set_symbol_status: 18,
            self._set_account_status: 18,
            self._set_account_fees: 10,
            self._close_account: 4,
            self._open_account: 4,
            self._list_symbol_again: 15,
            self._list_symbol: 4 if len(model.symbols) < SYMBOLS_MAX else 0,
            self._list_asset: 2,
            self._control: 5,
        }
        if any(symbol.status != codes.TRADING for symbol in model.symbols):
            kinds[self._set_symbol_status] = 150
        if any(account.status == codes.SUSPENDED for account in model.accounts.values()):
            kinds[self._set_account_status] = 100
        return self._random.choices(list(kinds), list(kinds.values()))[0]()

    def _make(self, kind: int, **fields: int) -> bytes:
        """A command. Fields that are not named are 0, and now and then one of all is spoiled."""
        names = records.COMMANDS[kind][1]
        assert set(fields) <= set(names), f"{kind} has no {set(fields) - set(names)}"
        values = [fields.get(name, 0) for name in names]
        time_us = self._time_us
        if kind != records.SET_CORE_VERSION and self._random.randrange(1000) < SPOILED_PER_MILLE:
            spoiled = self._random.randrange(-1, len(values))
            if spoiled >= 0:
                values[spoiled] = self._spoil(values[spoiled])
            else:
                # Time only goes back: one step far ahead, and every later deadline of the program would have passed.
                time_us = min(time_us, self._spoil(time_us))
        return records.command(kind, time_us, *[max(WORD_MIN, min(WORD_MAX, value)) for value in values])

    def _spoil(self, value: int) -> int:
        return self._pick((*EXTREMES, value - 1, value + 1, value ^ 1 << self._random.randrange(63)))

    # Choosing.

    def _chance(self, of: int, times: int = 1) -> bool:
        """True `times` in `of`."""
        return self._random.randrange(of) < times

    def _pick(self, values: Sequence[T]) -> T:
        return self._random.choice(values)

    def _near(self, value: int) -> int:
        """The value, or one beside it."""
        return value + self._pick((0, 0, 0, 0, 0, 0, -1, 1))

    def _users(self) -> list[Account]:
        return [account for account in self.model.accounts.values() if account.status in (codes.ACTIVE, codes.SUSPENDED)]

    def _account(self) -> int:
        """Nearly always one that may act."""
        if self._chance(30):
            return self._pick((0, codes.OUTSIDE, codes.FEES, codes.CLEARING, codes.FIRST_USER - 1, *self.model.accounts, 999_999))
        active = [account for account in self._users() if account.status == codes.ACTIVE]
        return self._pick(active if active and not self._chance(12) else self._users()).account_id

    def _symbol(self) -> Symbol:
        return self._pick(self.model.symbols)

    def _asset(self) -> int:
        return self._random.randrange(len(self.model.assets)) if not self._chance(40) else len(self.model.assets)

    def _client(self) -> Client:
        return self._pick(CLIENTS) if self._chance(5, 2) else NO_CLIENT

    def _deadline_us(self) -> int:
        if self._chance(10):
            return self.model.now_us + self._pick((-1, 0, 1, 1_000, 5_000_000))
        return 0

    def _available(self, account_id: int, asset: int) -> int:
        account = self.model.accounts.get(account_id)
        if account is None or asset >= len(self.model.assets):
            return 0
        return self.model.balance(account_id, asset)[0]

    # Listings and accounts.

    def _list_asset(self) -> bytes:
        decimals = self._pick((0, 2, 6, 8, 18)) if self.flavour != EXTREME else self._pick((0, 0, 1, 18))
        number = len(self.model.assets)
        names = (f"A{number}", f"A{number}", f"ASSETNUMBER{number:05}", "A0", "", "BAD NAME", "A\0A")
        name = self._pick(names) if self._chance(4) else names[0]
        name_1, name_2 = text_words(name, 2)
        return self._make(records.LIST_ASSET, asset=number, decimals=self._near(decimals), name_1=name_1, name_2=name_2)

    def _list_symbol(self) -> bytes:
        """Often refused: whether the steps fit the assets' decimals is left to luck."""
        base, quote = self._random.sample(range(len(self.model.assets)), 2)
        number = len(self.model.symbols)
        name_1, name_2, name_3 = text_words(self._pick((f"S{number}", f"S{number}", f"SYMBOL{number:018}", "S0")), 3)
        names = {"name_1": name_1, "name_2": name_2, "name_3": name_3}
        steps = self._steps(base, quote)
        if self.flavour == EXTREME:
            bounds = self._extreme_bounds(base, quote, steps)
        elif self.flavour == SWEEP:
            bounds = {"max_price_ticks": 10_000, "max_qty_lots": 1_000_000, "min_price_ticks": 1, "min_qty_lots": 1}
        else:
            max_price = self._pick((20, 100, 300))
            bounds = {"max_price_ticks": max_price, "max_qty_lots": self._pick((5, 20, 100)), **self._rules(max_price)}
        caps = {"orders_max": 5_000} if self.flavour == SWEEP else self._caps()
        reference = self._pick((0, bounds["max_price_ticks"] // 2, bounds["max_price_ticks"]))
        status = self._pick((codes.TRADING, codes.TRADING, codes.TRADING, codes.HALT, codes.BREAK))
        fields = {**names, **steps, **bounds, **caps, "reference_ticks": reference, "status": status}
        if self._chance(4):
            name = self._pick(list(fields))
            fields[name] = self._spoil(fields[name])
        return self._make(records.LIST_SYMBOL, symbol=number, base=base, quote=quote, **fields)

    def _steps(self, base: int, quote: int) -> Fields:
        base_decimals, quote_decimals = self.model.assets[base]["decimals"], self.model.assets[quote]["decimals"]
        lot_decimals = self._random.randint(0, base_decimals)
        tick_decimals = self._random.randint(0, max(0, quote_decimals - lot_decimals))
        tick = self._pick((1, 1, 5, 25, 1_000))
        lot = self._pick((1, 1, 2, 10, 100_000))
        return {"tick": tick, "tick_decimals": tick_decimals, "lot": lot, "lot_decimals": lot_decimals}

    def _rules(self, max_price: int) -> Fields:
        """Those that a later listing may change, but for the caps."""
        return {
            "min_price_ticks": self._pick((1, 1, 2, max_price // 10)),
            "min_qty_lots": self._pick((1, 1, 2)),
            "band_down_ppm": self._pick((0, 0, 500_000, 900_000, codes.PPM)),
            "band_up_ppm": self._pick((0, 0, codes.PPM, 1_100_000, 2_000_000, 100 * codes.PPM)),
        }

    def _caps(self) -> Fields:
        return {"orders_max": self._pick((0, 2, 4, 12, 10_000, self._near(10_000))), "level_orders_max": self._pick((0, 0, 1, 3))}

    def _extreme_bounds(self, base: int, quote: int, steps: Fields) -> Fields:
        """As large as the steps allow, or one more."""
        steps["tick"] = self._pick((1, 1, 3, 1 << 20, 1 << 40))
        steps["lot"] = self._pick((1, 1, 7, 1 << 20, 1 << 39, 1 << 61, codes.AMOUNT_MAX))
        lot_atoms = max(1, steps["lot"] * 10 ** self.model.assets[base]["decimals"] // 10 ** steps["lot_decimals"])
        quote_scale = 10 ** self.model.assets[quote]["decimals"]
        tick_lot = steps["tick"] * steps["lot"] * quote_scale // 10 ** (steps["tick_decimals"] + steps["lot_decimals"])
        tick_lot_atoms = max(1, tick_lot)
        max_price = max(1, min(self._pick((1, 2, 1_000, 1 << 20, codes.PRICE_MAX)), codes.AMOUNT_MAX // tick_lot_atoms))
        max_qty = min(codes.AMOUNT_MAX // (max_price * tick_lot_atoms), codes.AMOUNT_MAX // lot_atoms)
        return {
            "max_price_ticks": max_price,
            "max_qty_lots": self._near(max_qty),
            "min_price_ticks": self._pick((1, 1, max_price)),
            "min_qty_lots": 1,
            "max_notional_atoms": self._pick((0, 0, codes.AMOUNT_MAX)),
            "band_down_ppm": self._pick((0, 0, 1, 999_999)),
            "band_up_ppm": self._pick((0, 0, codes.PPM, 100 * codes.PPM)),
        }

    def _list_symbol_again(self) -> bytes:
        symbol = self._symbol()
        fields = dict(symbol.listing)
        max_price = fields["max_price_ticks"]
        if self._chance(3):
            fields.update(self._caps())
        elif self.flavour == USUAL:
            typical = symbol.notional(max_price // 2, 5)
            fields.update(self._rules(max_price))
            fields["max_qty_lots"] = self._pick((fields["max_qty_lots"], 5, 20, 100))
            fields["min_notional_atoms"] = self._pick((0, typical // 10))
            fields["max_notional_atoms"] = self._pick((0, typical, typical * 10))
        else:
            fields["band_down_ppm"] = self._pick((0, 1, 999_999))
            fields["band_up_ppm"] = self._pick((0, codes.PPM, 100 * codes.PPM))
        if self._chance(8):
            name = self._pick(("base", "quote", "tick", "lot", "lot_decimals", "max_price_ticks", "name_1", "status", "reference_ticks"))
            fields[name] += self._pick((-1, 1))
        return self._make(records.LIST_SYMBOL, **fields)

    def _set_symbol_status(self) -> bytes:
        """Mostly what ends a halt."""
        stopped = [symbol for symbol in self.model.symbols if symbol.status != codes.TRADING]
        if stopped and not self._chance(4):
            return self._make(records.SET_SYMBOL_STATUS, symbol=self._pick(stopped).listing["symbol"], status=codes.TRADING)
        number = self._random.randrange(len(self.model.symbols)) if not self._chance(20) else len(self.model.symbols)
        status = self._pick((codes.TRADING, codes.HALT, codes.BREAK)) if not self._chance(20) else codes.BREAK + 1
        return self._make(records.SET_SYMBOL_STATUS, symbol=number, status=status)

    def _open_account(self) -> bytes:
        account_id = codes.FIRST_USER + len(self.model.accounts) * self._pick((1, 1, 1_000_003))
        if self._chance(15):
            account_id = self._pick((codes.FEES, codes.FIRST_USER - 1, codes.ACCOUNT_MAX, codes.ACCOUNT_MAX + 1, *self.model.accounts))
        orders_max = 5_000 if self.flavour == SWEEP else self._pick((0, 3, 6, 15))
        maker_ppm, taker_ppm = self._pick(RATES_PPM), self._pick(RATES_PPM)
        for asset in range(len(self.model.assets)):
            self._planned.append(partial(self._fund, account_id, asset))
        return self._make(records.OPEN_ACCOUNT, account=account_id, maker_ppm=maker_ppm, taker_ppm=taker_ppm, orders_max=orders_max)

    def _fund(self, account_id: int, asset: int) -> bytes:
        atoms = codes.AMOUNT_MAX // 16 if self.flavour == SWEEP else 10 * self._deposit_atoms(asset)
        return self._movement(records.DEPOSIT, account_id, asset, max(1, min(atoms, codes.AMOUNT_MAX // 8)))

    def _set_account_status(self) -> bytes:
        """Mostly what ends a suspension."""
        suspended = [account for account in self._users() if account.status == codes.SUSPENDED]
        if suspended and not self._chance(4):
            return self._make(records.SET_ACCOUNT_STATUS, account=self._pick(suspended).account_id, status=codes.ACTIVE)
        status = self._pick((codes.ACTIVE, codes.SUSPENDED, codes.SUSPENDED, codes.CLOSED, codes.HOUSE, 0))
        return self._make(records.SET_ACCOUNT_STATUS, account=self._account(), status=status)

    def _set_account_fees(self) -> bytes:
        maker_ppm, taker_ppm = self._pick((*RATES_PPM, -1, codes.PPM + 1)), self._pick(RATES_PPM)
        return self._make(records.SET_ACCOUNT_FEES, account=self._account(), maker_ppm=maker_ppm, taker_ppm=taker_ppm)

    def _close_account(self) -> bytes:
        """Cancels all that it has, withdraws its balances, and closes it. One command each, and any of them may fail."""
        account_id = self._account()
        for number in range(len(self.model.symbols)):
            self._planned.append(partial(self._make, records.CANCEL_ALL, account=account_id, terms=number << 32))
        for asset in range(len(self.model.assets)):
            self._planned.append(partial(self._withdraw_all, account_id, asset))
        self._planned.append(partial(self._make, records.SET_ACCOUNT_STATUS, account=account_id, status=codes.CLOSED))
        return self._make(records.SET_ACCOUNT_STATUS, account=account_id, status=codes.ACTIVE)

    # Money.

    def _movement(self, kind: int, account: int, asset: int, atoms: int, **fields: int) -> bytes:
        fields = {"account": account, "transfer_id": len(self._movements) + 1, "asset": asset, "atoms": atoms, **fields}
        self._movements.append((kind, fields))
        return self._make(kind, **fields)

    def _deposit(self) -> bytes:
        asset = self._asset()
        return self._movement(records.DEPOSIT, self._account(), asset, self._deposit_atoms(asset))

    def _deposit_atoms(self, asset: int) -> int:
        """Enough for a few orders; at the extremes, a large part of what may still come in."""
        if self.flavour == EXTREME:
            left = codes.AMOUNT_MAX + self.model.holdings[asset][codes.OUTSIDE] if asset < len(self.model.assets) else 1
            return self._near(self._pick((left, left // 2, left // 2, left // 3)))
        needs = [10 * symbol.lot_atoms for symbol in self.model.symbols if symbol.listing["base"] == asset]
        needs += [
            symbol.notional(symbol.listing["max_price_ticks"], 5) for symbol in self.model.symbols if symbol.listing["quote"] == asset
        ]
        return self._random.randint(1, 3 * max(needs, default=1_000))

    def _withdraw(self) -> bytes:
        account, asset = self._account() if not self._chance(6) else codes.FEES, self._asset()
        available = self._available(account, asset)
        return self._movement(records.WITHDRAW, account, asset, self._near(self._pick((available, available // 2, available // 9))))

    def _withdraw_all(self, account_id: int, asset: int) -> bytes:
        return self._movement(records.WITHDRAW, account_id, asset, self._available(account_id, asset))

    def _transfer(self) -> bytes:
        account, asset = self._account() if not self._chance(6) else codes.FEES, self._asset()
        available = self._available(account, asset)
        atoms = self._near(self._pick((available, available // 2, available // 9)))
        return self._movement(records.TRANSFER, account, asset, atoms, to_account=self._account())

    def _holder(self) -> int:
        """An account, or its wallet."""
        account = self._account()
        return account | codes.WALLET_BIT if self._chance(3) and account >= 0 else account

    def _use_wallet(self) -> bytes:
        """Between an account and its wallet, or another's."""
        account, asset = self._account(), self._asset()
        payer, receiver = account, account | codes.WALLET_BIT if account >= 0 else account
        if self._chance(2):
            payer, receiver = receiver, payer
        if self._chance(8):
            receiver = self._holder()
        atoms = self._near(max(1, self._available(payer, asset) // self._pick((1, 2, 9))))
        return self._movement(records.TRANSFER, payer, asset, atoms, to_account=receiver)

    def _request_withdrawal(self) -> bytes:
        account, asset = self._holder() if not self._chance(8) else codes.FEES, self._asset()
        available = self._available(account, asset)
        return self._movement(
            records.REQUEST_WITHDRAWAL, account, asset, self._near(self._pick((available, available // 3, available // 9)))
        )

    def _end_withdrawal(self) -> bytes:
        """Mostly of one that is pending, of one that has ended, or of none."""
        kind = self._pick((records.SETTLE_WITHDRAWAL, records.RETURN_WITHDRAWAL))
        known = list(self.model.states) if self._chance(6) else [key for key, state in self.model.states.items() if state == "pending"]
        if not known or self._chance(12):
            known = list(self.model.transfers) or [(self._account(), 1)]
        account, transfer_id = self._pick(known)
        return self._make(kind, account=account, transfer_id=transfer_id)

    def _reverse_deposit(self) -> bytes:
        known = [key for key, done in self.model.transfers.items() if done[0] == records.DEPOSIT or self._chance(30)]
        account, transfer_id = self._pick(known) if known else (self._account(), 1)
        return self._make(records.REVERSE_DEPOSIT, account=account, transfer_id=transfer_id)

    def _adjust(self) -> bytes:
        payer, receiver = (self._holder() if not self._chance(4) else codes.FEES for _ in range(2))
        asset = self._asset()
        available = self._available(payer, asset)
        atoms = self._near(max(1, self._pick((available, available // 2, available // 50))))
        reasons = ("ticket 7", "a", "x" * 16, "", "a\x7f", "two words\0more")
        first, second = records.text_words(self._pick(reasons[:3]) if not self._chance(8) else self._pick(reasons), 2)
        return self._movement(records.ADJUST, payer, asset, atoms, to_account=receiver, reason_1=first, reason_2=second)

    def _repeat_movement(self) -> bytes:
        """One that was done or refused, as it was or changed in one field."""
        if not self._movements:
            return self._deposit()
        kind, fields = self._pick(self._movements)
        fields = dict(fields)
        if self._chance(2):
            name = self._pick(("account", "asset", "atoms", "kind", *(("to_account",) if "to_account" in fields else ())))
            if name == "kind":
                kind = self._pick((records.DEPOSIT, records.WITHDRAW, records.REQUEST_WITHDRAWAL))
                for extra in ("to_account", "reason_1", "reason_2"):
                    fields.pop(extra, None)
            else:
                fields[name] = 0 if name == "to_account" and self._chance(2) else fields[name] + 1
        return self._make(kind, **fields)

    # Placing an order.

    def _place(self) -> bytes:
        account = self._account()
        fields = self._order_fields(account, self._symbol())
        return self._make(records.PLACE, account=account, deadline_us=self._deadline_us(), **fields, **_named(CLIENT, self._client()))

    def _buy_with_the_last_atom(self) -> bytes:
        """Leaves the account what some lots cost, or an atom beside it, and then buys them at the market."""
        account, symbol = self._account(), self._symbol()
        quote, max_price = symbol.listing["quote"], symbol.listing["max_price_ticks"]
        lots = self._qty(account, symbol, codes.BUY, max_price)
        cost = self._ticks_lots_of(symbol, codes.BUY, lots) * symbol.tick_lot_atoms
        available = self._available(account, quote)
        if not 0 < cost < available:
            return self._place()
        terms = records.terms(symbol.listing["symbol"], codes.BUY, codes.MARKET)
        self._planned.append(partial(self._make, records.PLACE, account=account, terms=terms, price_ticks=max_price, qty_lots=lots))
        return self._movement(records.WITHDRAW, account, quote, available - cost + self._pick((-1, 0, 1)))

    def _order_fields(self, account_id: int, symbol: Symbol) -> Fields:
        side = self._pick((codes.BUY, codes.SELL))
        order_type = self._random.choices(
            (codes.LIMIT, codes.LIMIT_MAKER, codes.MARKET, codes.MARKET_QUOTE, codes.FOK_BUDGET), (58, 9, 8, 14, 11)
        )[0]
        tif = self._random.choices((codes.GTC, codes.IOC, codes.FOK), (78, 8, 14))[0] if order_type == codes.LIMIT else codes.GTC
        terms = records.terms(symbol.listing["symbol"], side, order_type, tif, self._stp())
        if self._chance(60):
            terms ^= self._random.randrange(256) << self._pick((0, 8, 16, 24, 32))
        price = self._price(symbol, side)
        qty = self._qty(account_id, symbol, side, price)
        budget = 0
        if order_type == codes.MARKET_QUOTE and side == codes.SELL and self._chance(4):
            qty = self._available(account_id, symbol.listing["base"]) // symbol.lot_atoms + self._pick((-1, 0, 1, 2))
        if order_type in (codes.MARKET_QUOTE, codes.FOK_BUDGET):
            budget = self._quote_atoms_of(symbol, side, qty)
        elif order_type == codes.MARKET and side == codes.BUY:
            price = self._highest_price_to_reckon_with(symbol, qty)
        return {"terms": terms, "price_ticks": price, "qty_lots": qty, "budget_atoms": budget}

    def _stp(self) -> int:
        return self._pick((codes.STP_NONE, codes.STP_NONE, codes.EXPIRE_TAKER, codes.EXPIRE_MAKER, codes.EXPIRE_BOTH, codes.DECREMENT))

    def _price(self, symbol: Symbol, side: int) -> int:
        """Around where the book is, so that about half of the orders meet something."""
        bids, asks = symbol.resting
        max_price = symbol.listing["max_price_ticks"]
        if self._chance(12):
            edge = self._pick((symbol.listing["min_price_ticks"], max_price, *symbol.band()))
            return self._near(edge)
        if self._chance(12):
            return self._random.randint(1, max_price)
        best = [side[0].price_ticks for side in (bids, asks) if side]
        middle = self._pick(best) if best and not self._chance(3) else symbol.reference_ticks or max_price // 2
        spread = max(2, max_price // 20)
        away = self._random.randint(-spread, spread)
        return max(symbol.listing["min_price_ticks"], min(max_price, middle + (away if side == codes.BUY else -away)))

    def _qty(self, account_id: int, symbol: Symbol, side: int, price_ticks: int) -> int:
        min_qty, max_qty = symbol.listing["min_qty_lots"], symbol.listing["max_qty_lots"]
        choice = self._random.randrange(20)
        qty = 0
        if choice < 2 and side == codes.SELL:  # all that the account has
            qty = self._near(self._available(account_id, symbol.listing["base"]) // symbol.lot_atoms)
        elif choice < 2:
            qty = self._near(self._available(account_id, symbol.listing["quote"]) // symbol.notional(max(1, price_ticks), 1))
        elif choice < 6:  # all that can be taken at the price
            qty = self._near(sum(order.open_lots for order in self._takeable(symbol, side, price_ticks)))
        elif choice < 7:
            return self._near(self._pick((min_qty, max_qty)))
        elif choice < 10:
            qty = self._random.randint(1, max_qty)
        if qty < min_qty or (qty > max_qty and not self._chance(8)):
            return self._random.randint(min_qty, max(min_qty, max_qty // 5))
        return qty

    def _takeable(self, symbol: Symbol, side: int, limit_ticks: int) -> list[Order]:
        opposite = symbol.resting[1 - side]
        if side == codes.BUY:
            return [order for order in opposite if order.price_ticks <= limit_ticks]
        return [order for order in opposite if order.price_ticks >= limit_ticks]

    def _ticks_lots_of(self, symbol: Symbol, side: int, lots: int) -> int:
        """The price × quantity of the first `lots` of the opposite side."""
        ticks_lots = 0
        for order in symbol.resting[1 - side]:
            taken = min(lots, order.open_lots)
            lots -= taken
            ticks_lots += taken * order.price_ticks
        return ticks_lots

    def _quote_atoms_of(self, symbol: Symbol, side: int, lots: int) -> int:
        """Exactly what so many lots cost or bring, or a little beside it."""
        atoms = self._ticks_lots_of(symbol, side, lots) * symbol.tick_lot_atoms
        if atoms == 0 or self._chance(6):
            return symbol.notional(self._price(symbol, side), max(1, lots))
        return atoms + self._pick((0, 0, 0, 1, -1, symbol.tick_lot_atoms, -symbol.tick_lot_atoms))

    def _highest_price_to_reckon_with(self, symbol: Symbol, qty_lots: int) -> int:
        if self._chance(3):
            return self._near(symbol.listing["max_price_ticks"])
        average = -(-self._ticks_lots_of(symbol, codes.BUY, qty_lots) // max(1, qty_lots))
        return max(1, self._near(average))

    # Cancel, reduce, move.

    def _target(self) -> tuple[int, Fields]:
        """An account, and the words by which it names one of its open orders: now and then another's, or one that is gone."""
        owners = [account for account in self._users() if account.orders]
        if not owners or self._chance(15):
            symbol, order_id = self._symbol(), self._random.randint(0, self.model.orders_admitted + 1)
            return self._account(), {"order_id": order_id, "terms": self._bare_terms(symbol), **_named(CLIENT, self._client())}
        account = self._pick(owners)
        order = self._pick(list(account.orders.values()))
        symbol = order.symbol if not self._chance(25) else self._symbol()
        how = self._random.randrange(10)
        order_id = order.order_id if how < 6 or order.client == NO_CLIENT else 0
        client = order.client if how > 3 else NO_CLIENT
        if self._chance(20):
            client = self._client()
        account_id = account.account_id if not self._chance(25) else self._account()
        return account_id, {"order_id": order_id, "terms": self._bare_terms(symbol), **_named(CLIENT, client)}

    def _bare_terms(self, symbol: Symbol) -> int:
        stp = self._stp() if not self._chance(40) else codes.STP_MAX + 1
        return records.terms(symbol.listing["symbol"], self._random.randrange(2), 0, 0, stp)

    def _targeted(self, account_id: int, fields: Fields) -> Order | None:
        account = self.model.accounts.get(account_id)
        if account is None:
            return None
        client = tuple(fields[name] for name in CLIENT)
        return account.orders.get(fields["order_id"]) or account.with_client(client)

    def _cancel(self) -> bytes:
        account, target = self._target()
        return self._make(
            records.CANCEL, account=account, deadline_us=self._deadline_us(), **target, **_named(NEW_CLIENT, self._client())
        )  # fmt: skip

    def _cancel_all(self) -> bytes:
        fields = {"account": self._account(), "terms": self._bare_terms(self._symbol()), "deadline_us": self._deadline_us()}
        return self._make(records.CANCEL_ALL, **fields, **_named(NEW_CLIENT, self._client()))

    def _reduce(self) -> bytes:
        account, target = self._target()
        order = self._targeted(account, target)
        open_lots = order.open_lots if order else 1
        by_lots = self._near(self._pick((1, 1, open_lots // 2, open_lots - 1, open_lots)))
        return self._make(records.REDUCE, account=account, deadline_us=self._deadline_us(), **target, by_lots=by_lots)

    def _move(self) -> bytes:
        account, target = self._target()
        order = self._targeted(account, target)
        price = self._price(self._symbol(), self._random.randrange(2))
        if order:
            opposite = order.symbol.resting[1 - order.side]
            far = [resting.price_ticks for resting in (opposite[:1] + opposite[-1:])]
            price = self._pick((order.price_ticks, *far, *far, *[self._price(order.symbol, order.side) for _ in range(3)]))
        return self._make(records.MOVE, account=account, deadline_us=self._deadline_us(), **target, price_ticks=price)

    def _cancel_replace(self) -> bytes:
        account, target = self._target()
        order = self._targeted(account, target)
        symbol = order.symbol if order else self._symbol()
        fields = {**target, **self._order_fields(account, symbol)}
        mode = self._pick((codes.STOP_ON_FAILURE, codes.ALLOW_FAILURE)) if not self._chance(25) else 2
        client = order.client if order and self._chance(4) else self._client()
        return self._make(
            records.CANCEL_REPLACE, account=account, deadline_us=self._deadline_us(), mode=mode, **fields,
            **_named(NEW_CLIENT, self._client()), **_named(ORDER_CLIENT, client),
        )  # fmt: skip

    # Control.

    def _control(self) -> bytes:
        kind = self._pick((records.TICK, records.TICK, records.CHECKPOINT, records.SET_CORE_VERSION))
        return self._make(kind, version=1) if kind == records.SET_CORE_VERSION else self._make(kind)

    # Sweeps.

    def _plan_sweep(self) -> None:
        """Many tiny orders on one side, and then one command after another that meets all of them at once."""
        symbol = self.model.symbols[0]
        side = self._pick((codes.BUY, codes.SELL))
        makers = [account.account_id for account in self._users()][:SWEEP_MAKERS]
        weights = self._pick(((1, 1, 1, 1, 1), (9, 1, 1, 1, 1)))
        if symbol.status != codes.TRADING:
            self._planned.append(partial(self._make, records.SET_SYMBOL_STATUS, symbol=0, status=codes.TRADING))
        middle = max(100, min(9_900, symbol.reference_ticks))
        taker = self._users()[-1].account_id  # with an order that may be moved into all those of the makers
        terms = records.terms(0, 1 - side, codes.LIMIT)
        self._planned.append(partial(self._make, records.PLACE, account=taker, terms=terms, price_ticks=middle, qty_lots=5_000))
        for _ in range(SWEEP_ORDERS):
            maker = self._random.choices(makers, weights[: len(makers)])[0]
            away = self._random.randint(1, 12)
            price = middle + away if side == codes.SELL else middle - away
            terms = records.terms(0, side, codes.LIMIT, codes.GTC, codes.EXPIRE_TAKER)
            qty = self._random.randint(1, 3)
            self._planned.append(partial(self._make, records.PLACE, account=maker, terms=terms, price_ticks=price, qty_lots=qty))
        if self._chance(3):
            self._planned.append(partial(self._cancel_all_of, makers[0]))
        self._planned += [self._sweep, self._sweep, partial(self._make, records.CHECKPOINT)]
        self._planned += [partial(self._cancel_all_of, maker) for maker in makers]

    def _cancel_all_of(self, account_id: int) -> bytes:
        return self._make(records.CANCEL_ALL, account=account_id, terms=0, **_named(NEW_CLIENT, self._client()))

    def _sweep(self) -> bytes:
        symbol = self.model.symbols[0]
        side = self._pick((codes.BUY, codes.SELL)) if not any(symbol.resting) else int(len(symbol.resting[0]) > len(symbol.resting[1]))
        users = self._users()
        account = self._pick(users if self._chance(3) else users[SWEEP_MAKERS:]).account_id
        opposite = symbol.resting[1 - side]
        lots = max(1, sum(order.open_lots for order in opposite))
        edge = opposite[-1].price_ticks if opposite else 5_000
        own = [order for user in users for order in user.open_on(symbol) if order.side == side]
        order_type = self._pick((codes.LIMIT, codes.LIMIT, codes.MARKET, codes.MARKET_QUOTE, codes.FOK_BUDGET))
        if own and self._chance(3):
            order = self._pick(own)
            account = order.account.account_id
            return self._make(records.MOVE, account=account, terms=self._bare_terms(symbol), order_id=order.order_id, price_ticks=edge)
        tif = self._pick((codes.GTC, codes.IOC, codes.FOK)) if order_type == codes.LIMIT else codes.GTC
        price = symbol.listing["max_price_ticks"] if order_type == codes.MARKET else edge
        qty = self._pick((lots, lots - lots // 4, lots + 10 if order_type != codes.FOK_BUDGET else lots))
        return self._make(
            records.PLACE, account=account, terms=records.terms(0, side, order_type, tif, self._stp()), price_ticks=price, qty_lots=qty,
            budget_atoms=self._ticks_lots_of(symbol, side, qty) * symbol.tick_lot_atoms,
        )  # fmt: skip


def _named(names: tuple[str, ...], client: Client) -> Fields:
    return dict(zip(names, client, strict=True))
