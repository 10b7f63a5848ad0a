"""
A listing as an operator writes it, in decimals, and the commands that list it.

    [[assets]]                      [[symbols]]
    name = "BTC"                    name = "BTCUSDT"      base = "BTC"          quote = "USDT"
    decimals = 8                    tick = "0.01"         lot = "0.000001"      max_price = "1000000"   max_qty = "40000"
                                    (and what listing_entry.KEYS names; docs/reference/listing.md says what each is for)

Always true: a listing that is returned was checked as the core will check it, so it is listed whole or refused here, in the words of the
file and with the numbers that show why.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from zerosum.core import records
from zerosum.core.codes import DECIMALS_MAX
from zerosum.core.listings import Asset, Symbol, asset_fault, symbol_fault
from zerosum.errors import ConfigError
from zerosum.services.listing_entry import Entry, SymbolReader, change_fault, name_of, refuse, refuse_unknown, whole_number

TABLES: Final = {"assets", "symbols"}
ASSET_KEYS: Final = {"name", "decimals"}


@dataclass(frozen=True, slots=True)
class Listing:
    """What a file adds to what is listed: `changed` are listed symbols with other rules from now on, `unchanged` those that stay."""

    assets: list[Asset]
    symbols: list[Symbol]
    changed: list[Symbol] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    def commands(self) -> list[bytes]:
        """TIME is left for the log to stamp."""
        assets = [
            records.command(records.LIST_ASSET, 0, asset.asset, asset.decimals, *records.text_words(asset.name, 2)) for asset in self.assets
        ]
        symbols = [
            records.command(records.LIST_SYMBOL, 0, *symbol[:-1], *records.text_words(symbol.name, 3))
            for symbol in (*self.symbols, *self.changed)
        ]
        return assets + symbols


def read_listing(path: Path) -> Entry:
    """A file's content, TOML or JSON. ConfigError where it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
        entry: Entry = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        return entry
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or a number of 5,000 digits
        raise ConfigError(f"{path} is neither TOML nor JSON: {error}. What a listing is: docs/reference/listing.md") from error


def load_listing(table: Entry, where: str, *, assets: list[Asset] | None = None, symbols: list[Symbol] | None = None) -> Listing:
    """Read a listing to be added to `assets` and `symbols`, which are listed already. ConfigError names the file, the entry and the key."""
    refuse_unknown(table, TABLES, where, what="table")
    listing = Listing([], [])
    known_assets = list(assets or [])
    listed = {asset.name: asset for asset in known_assets}
    for place, entry in entries(table, "assets", where):
        asset = read_asset(entry, len(known_assets), place)
        if asset.name in listed:
            decimals = listed[asset.name].decimals
            refuse(decimals != asset.decimals and f"it is listed with {decimals} decimals, and can't have {asset.decimals}", place)
            continue
        refuse(asset_fault(asset, known_assets), place)
        known_assets.append(asset)
        listing.assets.append(asset)
    known_symbols = list(symbols or [])
    by_name = {symbol.name: symbol for symbol in known_symbols}
    for place, entry in entries(table, "symbols", where):
        was = by_name.get(name_of(entry, place))
        number = len(known_symbols) if was is None else was.symbol
        reader = SymbolReader(entry, {asset.name: asset for asset in known_assets}, place)
        symbol = reader.symbol(number)
        if was is None:
            refuse(symbol_fault(symbol, known_assets, known_symbols), place)
            known_symbols.append(symbol)
            listing.symbols.append(symbol)
            continue
        symbol = symbol._replace(status=was.status, reference_ticks=was.reference_ticks)  # which listing again leaves as they are
        refuse(change_fault(symbol, was, known_assets) or symbol_fault(symbol, known_assets, known_symbols), place)
        if symbol == was:
            listing.unchanged.append(symbol.name)
        else:
            listing.changed.append(symbol)
    if not any(table.values()):
        raise ConfigError(f"{where}: there is neither an asset nor a symbol in it. What a listing is: docs/reference/listing.md")
    return listing


def entries(table: Entry, key: str, where: str) -> list[tuple[str, Entry]]:
    """The tables of [[assets]] or [[symbols]], each with its place for errors. No two may have one name."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ConfigError(f"{where}: {key} must be tables: write [[{key}]], and below it a line for each of its keys.")
    what = key.removesuffix("s")
    places = [(f"{where}: {what} {entry.get('name', '?')}", entry) for entry in found]
    names = [entry.get("name") for entry in found]
    for place, entry in places:
        refuse(names.count(entry.get("name")) > 1 and "it stands there more than once", place)
    return places


def read_asset(entry: Entry, number: int, place: str) -> Asset:
    refuse_unknown(entry, ASSET_KEYS, place)
    return Asset(number, whole_number(entry, "decimals", 8, DECIMALS_MAX, place), name_of(entry, place))
