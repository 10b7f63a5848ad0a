"""
A symbol's entry in a listing file, in decimals, and the Symbol that the core counts with.

    tick = "0.01", max_price = "1000000" --SymbolReader--> tick 1 x 10^-2, 100000000 ticks --symbol_entry--> the same text

Always true: what is read is whole in ticks, lots and atoms, and within the core's bounds; a fault is told in the words of the file.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Literal, NoReturn, final

from zerosum.core.codes import AMOUNT_MAX, BREAK, DECIMALS_MAX, HALT, PPM, PRICE_MAX, TRADING
from zerosum.core.listings import BAND_PPM_MAX, ORDERS_MAX_MAX, Asset, Symbol, scaled
from zerosum.errors import ConfigError
from zerosum.services.amounts import NotDecimal, NotWhole, decimal_text, parsed, units

Entry = dict[str, Any]

KEYS: Final = {
    "name", "base", "quote", "tick", "lot", "min_price", "max_price", "min_qty", "max_qty", "min_notional", "max_notional", "band_down",
    "band_up", "reference", "orders_max", "level_orders_max", "status",
}  # fmt: skip
REQUIRED: Final = ("name", "base", "quote", "tick", "lot", "max_price", "max_qty")
STATUSES: Final = {"trading": TRADING, "halt": HALT, "break": BREAK}
STATUS_NAMES: Final = {code: name for name, code in STATUSES.items()}
PPM_DECIMALS: Final = 6


@final
class SymbolReader:
    """One entry of [[symbols]], with what is listed by then."""

    def __init__(self, entry: Entry, assets: dict[str, Asset], place: str) -> None:
        refuse_unknown(entry, KEYS, place)
        for key in REQUIRED:
            refuse(key not in entry and f"{key} is missing", place)
        self.entry = entry
        self.place = place
        self.base, self.quote = (self._asset(key, assets) for key in ("base", "quote"))
        self.tick, self.tick_decimals = self._step("tick")
        self.lot, self.lot_decimals = self._step("lot")

    def symbol(self, number: int) -> Symbol:
        entry, place, quote = self.entry, self.place, self.quote
        lot_atoms, tick_lot_atoms = self._atoms()
        min_price, max_price = self._range("min_price", "max_price", self.tick, self.tick_decimals, "tick")
        min_qty, max_qty = self._range("min_qty", "max_qty", self.lot, self.lot_decimals, "lot")
        if max_price > PRICE_MAX:
            self._refuse(f"max_price {entry['max_price']} is {max_price} ticks, and at most {PRICE_MAX} are possible")
        if max_qty * lot_atoms > AMOUNT_MAX:
            self._refuse(f"max_qty {entry['max_qty']} is {max_qty * lot_atoms} atoms of {self.base.name}, which passes {AMOUNT_MAX}")
        notional = max_price * max_qty * tick_lot_atoms
        if notional > AMOUNT_MAX:
            product = f"max_price {entry['max_price']} x max_qty {entry['max_qty']}"
            self._refuse(f"{product} is {notional} atoms of {quote.name}, which passes {AMOUNT_MAX}")
        min_notional, max_notional = self._quote_atoms("min_notional"), self._quote_atoms("max_notional")
        if min_notional > (max_notional or AMOUNT_MAX):
            self._refuse(f"min_notional {entry['min_notional']} is above max_notional {entry['max_notional']}")
        band_down, band_up = (self._count(key, PPM_DECIMALS, "millionths") for key in ("band_down", "band_up"))
        if band_down > PPM:
            self._refuse(f"band_down {entry['band_down']} is not in 0..1")
        if band_up != 0 and not PPM <= band_up <= BAND_PPM_MAX:
            self._refuse(f"band_up {entry['band_up']} is neither 0 nor in 1..{BAND_PPM_MAX // PPM}")
        reference = self._count("reference", self.tick_decimals, "ticks", mantissa=self.tick)
        if reference > max_price:
            self._refuse(f"reference {entry['reference']} is above max_price {entry['max_price']}")
        status = entry.get("status", "trading")
        if not isinstance(status, str) or status not in STATUSES:
            self._refuse(f"status {status!r} is none of {', '.join(STATUSES)}")
        return Symbol(
            number, self.base.asset, quote.asset, self.tick, self.tick_decimals, self.lot, self.lot_decimals, min_price, max_price,
            min_qty, max_qty, min_notional, max_notional, band_down, band_up, reference,
            whole_number(entry, "orders_max", 0, ORDERS_MAX_MAX, place), whole_number(entry, "level_orders_max", 0, AMOUNT_MAX, place),
            STATUSES[status], name_of(entry, place),
        )  # fmt: skip

    def _asset(self, key: str, assets: dict[str, Asset]) -> Asset:
        name = self.entry[key]
        if not isinstance(name, str) or name not in assets:
            raise ConfigError(f"{self.place}: {key} {name!r} is no listed asset; listed are {', '.join(assets) or 'none'}.")
        return assets[name]

    def _step(self, key: str) -> tuple[int, int]:
        """0.01 -> (1, 2): a step as an integer and its decimals."""
        value = self.entry[key]
        mantissa, decimals = parsed(self._text(key))
        if mantissa == 0 or decimals > DECIMALS_MAX or mantissa > AMOUNT_MAX:
            self._refuse(f"{key} {value} is not above 0 with at most {DECIMALS_MAX} decimals")
        return mantissa, decimals

    def _atoms(self) -> tuple[int, int]:
        """Of the base in a lot, of the quote in one tick x one lot: both whole, or a trade would round."""
        base, quote, tick, lot = self.base, self.quote, self.entry["tick"], self.entry["lot"]
        lot_atoms, is_whole = scaled(self.lot, base.decimals - self.lot_decimals)
        if not is_whole:
            self._refuse(f"lot {lot} is no whole number of atoms of {base.name}, which has {base.decimals} decimals")
        decimals = self.tick_decimals + self.lot_decimals
        tick_lot_atoms, is_whole = scaled(self.tick * self.lot, quote.decimals - decimals)
        if not is_whole:
            product = decimal_text(self.tick * self.lot, decimals)
            self._refuse(
                f"tick {tick} x lot {lot} = {product} is no whole number of atoms of {quote.name}, which has {quote.decimals} decimals"
            )
        return lot_atoms, tick_lot_atoms

    def _range(self, low_key: str, high_key: str, step: int, decimals: int, unit: str) -> tuple[int, int]:
        """From one step up, in steps."""
        low = self._count(low_key, decimals, f"{unit}s", mantissa=step, default=1)
        high = self._count(high_key, decimals, f"{unit}s", mantissa=step)
        if low < 1:
            self._refuse(f"{low_key} {self.entry[low_key]} is less than one {unit}")
        if high < low:
            self._refuse(f"{high_key} {self.entry[high_key]} is below {low_key}, {decimal_text(low * step, decimals)}")
        return low, high

    def _count(self, key: str, decimals: int, unit: str, *, mantissa: int = 1, default: int = 0) -> int:
        """A value in whole steps of mantissa x 10^-decimals, 0..AMOUNT_MAX."""
        if key not in self.entry:
            return default
        try:
            count = units(self._text(key), decimals, mantissa)
        except NotWhole:
            self._refuse(f"{key} {self.entry[key]} is no whole number of {unit} of {decimal_text(mantissa, decimals)}")
        if count > AMOUNT_MAX:
            self._refuse(f"{key} {self.entry[key]} is {count} {unit}, which passes {AMOUNT_MAX}")
        return count

    def _quote_atoms(self, key: str) -> int:
        return self._count(key, self.quote.decimals, f"atoms of {self.quote.name}")

    def _text(self, key: str) -> str:
        """A decimal number, as text. TOML's own numbers are taken too, as they are written."""
        value = self.entry[key]
        text = f"{Decimal(str(value)):f}" if isinstance(value, int | float) and not isinstance(value, bool) else value
        try:
            parsed(text if isinstance(text, str) else "")
        except NotDecimal:
            self._refuse(f"{key} {value!r} is no decimal number: write it as text, such as '0.01'")
        return str(text)

    def _refuse(self, fault: str) -> NoReturn:
        raise ConfigError(f"{self.place}: {fault}.")


def change_fault(symbol: Symbol, listed: Symbol, assets: list[Asset]) -> str:
    """Why a listed symbol can't be changed so, or ''."""
    was, wanted = (symbol_entry(each, assets) for each in (listed, symbol))
    for key in ("base", "quote", "tick", "lot", "max_price"):
        if was[key] != wanted[key]:
            return f"{key} of {listed.name} is {was[key]} and can't become {wanted[key]}: list a new symbol"
    return ""


def symbol_entry(symbol: Symbol, assets: list[Asset]) -> Entry:
    """A listed symbol as a file would have it."""
    quote = assets[symbol.quote]

    def price(ticks: int) -> str:
        return decimal_text(ticks * symbol.tick, symbol.tick_decimals)

    def qty(lots: int) -> str:
        return decimal_text(lots * symbol.lot, symbol.lot_decimals)

    entry: Entry = {
        "name": symbol.name,
        "base": assets[symbol.base].name,
        "quote": quote.name,
        "tick": price(1),
        "lot": qty(1),
        "min_price": price(symbol.min_price_ticks),
        "max_price": price(symbol.max_price_ticks),
        "min_qty": qty(symbol.min_qty_lots),
        "max_qty": qty(symbol.max_qty_lots),
        "min_notional": decimal_text(symbol.min_notional_atoms, quote.decimals),
        "max_notional": decimal_text(symbol.max_notional_atoms, quote.decimals),
        "band_down": decimal_text(symbol.band_down_ppm, PPM_DECIMALS),
        "band_up": decimal_text(symbol.band_up_ppm, PPM_DECIMALS),
        "reference": price(symbol.reference_ticks),
        "orders_max": symbol.orders_max,
        "level_orders_max": symbol.level_orders_max,
        "status": STATUS_NAMES[symbol.status],
    }
    return entry


def name_of(entry: Entry, place: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"{place}: name is missing." if name is None else f"{place}: name must be text, not {name!r}.")
    return name


def whole_number(entry: Entry, key: str, default: int, most: int, place: str) -> int:
    value = entry.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ConfigError(f"{place}: {key} {value!r} is no whole number in 0..{most}.")
    return value


def refuse_unknown(entry: Entry, known: set[str], place: str, *, what: str = "setting") -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"{place}: {key} is no such {what}; there are {', '.join(sorted(known))}.")


def refuse(fault: str | Literal[False], place: str) -> None:
    if fault:
        raise ConfigError(f"{place}: {fault}.")
