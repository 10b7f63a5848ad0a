"""
A listing as an operator writes it, in decimals, and the commands that list it.

    [[assets]]                      [[symbols]]
    name = "BTC"                    name = "BTCUSDT"      base = "BTC"          quote = "USDT"
    decimals = 8                    tick = "0.01"         lot = "0.000001"      max_price = "1000000"   max_qty = "40000"
                                    (and what SYMBOL_KEYS names; docs/reference/listing.md says what each is for)

Always true: a listing that is returned was checked as the core will check it, so it is listed whole or refused here with the numbers that
show why.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from zerosum.core import records
from zerosum.core.codes import AMOUNT_MAX, BREAK, HALT, PPM, TRADING
from zerosum.core.listings import Asset, Symbol, asset_fault, symbol_fault
from zerosum.errors import ConfigError

ASSET_KEYS: Final = {"name", "decimals"}
SYMBOL_KEYS: Final = {
    "name", "base", "quote", "tick", "lot", "min_price", "max_price", "min_qty", "max_qty", "min_notional", "max_notional", "band_down",
    "band_up", "reference", "orders_max", "level_orders_max", "status",
}  # fmt: skip
REQUIRED: Final = ("name", "base", "quote", "tick", "lot", "max_price", "max_qty")
STATUSES: Final = {"trading": TRADING, "halt": HALT, "break": BREAK}


@dataclass(frozen=True, slots=True)
class Listing:
    assets: list[Asset]
    symbols: list[Symbol]

    def commands(self) -> list[bytes]:
        """TIME is left for the log to stamp."""
        assets = [
            records.command(records.LIST_ASSET, 0, asset.asset, asset.decimals, *records.text_words(asset.name, 2)) for asset in self.assets
        ]
        symbols = [records.command(records.LIST_SYMBOL, 0, *symbol[:-1], *records.text_words(symbol.name, 3)) for symbol in self.symbols]
        return assets + symbols


def load_listing(table: dict[str, Any], where: str, *, assets: list[Asset] | None = None, symbols: list[Symbol] | None = None) -> Listing:
    """Read a listing to be added to what is listed already. ConfigError names the file, the entry and the key."""
    known_assets = list(assets or [])
    known_symbols = list(symbols or [])
    new_assets: list[Asset] = []
    new_symbols: list[Symbol] = []
    for entry in table.get("assets", []):
        place = f"{where}: asset {entry.get('name', '?')}"
        refuse_unknown(entry, ASSET_KEYS, place)
        asset = Asset(len(known_assets), int(entry.get("decimals", 8)), str(entry.get("name", "")))
        refuse(asset_fault(asset, known_assets), place)
        known_assets.append(asset)
        new_assets.append(asset)
    for entry in table.get("symbols", []):
        place = f"{where}: symbol {entry.get('name', '?')}"
        symbol = read_symbol(entry, len(known_symbols), {asset.name: asset for asset in known_assets}, place)
        refuse(symbol_fault(symbol, known_assets, known_symbols), place)
        known_symbols.append(symbol)
        new_symbols.append(symbol)
    return Listing(new_assets, new_symbols)


def read_symbol(entry: dict[str, Any], number: int, assets: dict[str, Asset], place: str) -> Symbol:
    refuse_unknown(entry, SYMBOL_KEYS, place)
    for key in REQUIRED:
        if key not in entry:
            raise ConfigError(f"{place}: {key} is missing.")
    for key in ("base", "quote"):
        if entry[key] not in assets:
            raise ConfigError(f"{place}: {key} {entry[key]!r} is no listed asset; listed are {', '.join(assets) or 'none'}.")
    if entry.get("status", "trading") not in STATUSES:
        raise ConfigError(f"{place}: status {entry['status']!r} is none of {', '.join(STATUSES)}.")
    tick, tick_decimals = mantissa(entry["tick"], f"{place}: tick")
    lot, lot_decimals = mantissa(entry["lot"], f"{place}: lot")
    step, size = Decimal(tick).scaleb(-tick_decimals), Decimal(lot).scaleb(-lot_decimals)
    quote_decimals = assets[entry["quote"]].decimals

    def steps(key: str, of: Decimal, default: str) -> int:
        value = entry.get(key, default)
        return whole(number_of(value, f"{place}: {key}") / of, f"{place}: {key} {value} in steps of {of}")

    def atoms(key: str) -> int:
        return whole(number_of(entry.get(key, 0), f"{place}: {key}").scaleb(quote_decimals), f"{place}: {key} in atoms of {entry['quote']}")

    def ppm(key: str) -> int:
        return whole(number_of(entry.get(key, 0), f"{place}: {key}") * PPM, f"{place}: {key} in millionths")

    return Symbol(
        number, assets[entry["base"]].asset, assets[entry["quote"]].asset, tick, tick_decimals, lot, lot_decimals,
        steps("min_price", step, str(step)), steps("max_price", step, "0"), steps("min_qty", size, str(size)), steps("max_qty", size, "0"),
        atoms("min_notional"), atoms("max_notional"), ppm("band_down"), ppm("band_up"), steps("reference", step, "0"),
        int(entry.get("orders_max", 0)), int(entry.get("level_orders_max", 0)), STATUSES[entry.get("status", "trading")],
        str(entry["name"]),
    )  # fmt: skip


def number_of(value: Any, place: str) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ConfigError(f"{place}: {value!r} is no decimal number; write it as text, such as '0.01'.") from None
    if not number.is_finite() or number < 0 or number > AMOUNT_MAX:
        raise ConfigError(f"{place}: {value!r} is not in 0..{AMOUNT_MAX}.")
    return number


def whole(number: Decimal, place: str) -> int:
    if number != number.to_integral_value():
        raise ConfigError(f"{place}: {number} is not whole.")
    return int(number)


def mantissa(value: Any, place: str) -> tuple[int, int]:
    """0.01 -> (1, 2): a step as an integer and its decimals."""
    number = number_of(value, place).normalize()
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "a finite number has an exponent"
    decimals = max(0, -exponent)
    return int(number.scaleb(decimals)), decimals


def refuse_unknown(entry: dict[str, Any], known: set[str], place: str) -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"{place}: {key} is no such setting; there are {', '.join(sorted(known))}.")


def refuse(fault: str, place: str) -> None:
    if fault:
        raise ConfigError(f"{place}: {fault}.")
