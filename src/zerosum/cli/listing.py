"""
`zerosum listing`: what is traded, by which rules, and whether it is traded now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from zerosum.cli.account import chosen
from zerosum.cli.directory import existing
from zerosum.cli.door import Door, Refused, door_to
from zerosum.cli.options import DataOption, JsonOption
from zerosum.cli.refusals import do
from zerosum.cli.report import report
from zerosum.cli.tables import show_table
from zerosum.core import records
from zerosum.core.listings import Asset, Symbol
from zerosum.services.listing_entry import STATUSES, symbol_entry
from zerosum.services.listing_file import Listing, load_listing, read_listing

cli = typer.Typer(no_args_is_help=True, help="List and show assets and symbols, halt and resume trading.")


@cli.command("add")
def add_listing(
    file: Annotated[Path, typer.Argument(help="A TOML file with [[assets]] and [[symbols]]; see docs/reference/listing.md.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Add the assets and symbols of a file to what is listed. A symbol that is listed already gets the rules that the file has.

    What can't be is refused with the numbers that show why, before anything of the file is listed.
    """
    with door_to(existing(data)) as door:
        assets, symbols = listed(door)
        listing = load_listing(read_listing(file), str(file), assets=assets, symbols=symbols)
        events = [event for command in listing.commands() for event in do(door, command)]
    report(events, summary(listing), as_json)


def summary(listing: Listing) -> str:
    parts = [
        f"{what} {', '.join(names)}"
        for what, names in (
            ("listed the assets", [asset.name for asset in listing.assets]),
            ("listed the symbols", [symbol.name for symbol in listing.symbols]),
            ("changed the symbols", [symbol.name for symbol in listing.changed]),
            ("left as they are", listing.unchanged),
        )
        if names
    ]
    return "; ".join(parts) or "all of it was listed before"


@cli.command("show")
def show_listing(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what is listed; with --json in the form of a listing file, status included."""
    with door_to(existing(data), only_asks=True) as door:
        assets, symbols = listed(door)
    entries = [symbol_entry(symbol, assets) for symbol in symbols]
    if as_json:
        typer.echo(json.dumps({"assets": [{"name": asset.name, "decimals": asset.decimals} for asset in assets], "symbols": entries}))
        return
    show_table(("asset", "decimals"), [(asset.name, str(asset.decimals)) for asset in assets])
    typer.echo()
    columns = ("name", "status", "tick", "lot", "min_price", "max_price", "min_qty", "max_qty", "min_notional")
    headings = ["symbol", *(column.replace("_", " ") for column in columns[1:])]
    show_table(headings, [[str(entry[column]) for column in columns] for entry in entries])


@cli.command("status")
def symbol_status(
    symbol: Annotated[str, typer.Argument(help="The symbol's name, such as BTCUSDT.")],
    status: Annotated[str, typer.Argument(help="trading, halt or break.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Halt trading in a symbol, or let it go on. Cancels pass at all times."""
    code = chosen(status, STATUSES, "status")
    with door_to(existing(data)) as door:
        found = find_symbol(door, symbol)
        do(door, records.command(records.SET_SYMBOL_STATUS, 0, found.symbol, code))
    typer.echo(json.dumps({"symbol": found.name, "status": status}) if as_json else f"{found.name}: {status}")


def find_symbol(door: Door, name: str) -> Symbol:
    _, symbols = listed(door)
    for symbol in symbols:
        if symbol.name == name.upper():
            return symbol
    raise Refused(f"{name.upper()} is not listed; listed are {', '.join(symbol.name for symbol in symbols) or 'none'}.")


def listed(door: Door) -> tuple[list[Asset], list[Symbol]]:
    found: dict[str, Any] = door.ask(show="listings")
    assets = [Asset(**{name: asset[name] for name in Asset._fields}) for asset in found["assets"]]
    return assets, [Symbol(**symbol) for symbol in found["symbols"]]
