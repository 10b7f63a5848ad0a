"""
`zerosum account`, `listing`, `deposit`, `withdraw`: what an operator does to a market, each one command in the log.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from contextlib import closing
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from zerosum.cli.door import DEFAULT_DATA, DataOption, Event, JsonOption, Refused, send
from zerosum.core import codes, records
from zerosum.services.datadir import DataDir
from zerosum.services.listing_file import load_listing

account_cli = typer.Typer(no_args_is_help=True, help="Open, suspend and close accounts.")
listing_cli = typer.Typer(no_args_is_help=True, help="List assets and symbols, halt and resume trading.")

AccountArgument = Annotated[int, typer.Argument(help=f"The account's number, {codes.FIRST_USER} or more.")]
AssetArgument = Annotated[str, typer.Argument(help="The asset's name, such as BTC.")]
AmountArgument = Annotated[str, typer.Argument(help="How much, as a decimal number.")]
IdOption = Annotated[
    int, typer.Option("--id", help="A number of your own for this movement: repeated, it is done once. Default: a random one.")
]

STATUSES = {"active": codes.ACTIVE, "suspended": codes.SUSPENDED, "closed": codes.CLOSED}
SYMBOL_STATUSES = {"trading": codes.TRADING, "halt": codes.HALT, "break": codes.BREAK}


def report(events: list[Event], text: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([{"event": records.kind_name(event[0] & 0xFF), **records.named(event)} for event in events]))
    else:
        typer.echo(text)


@account_cli.command("open")
def open_account(
    account: AccountArgument,
    maker_ppm: Annotated[int, typer.Option(help="Maker's fee in parts per million.")] = 1000,
    taker_ppm: Annotated[int, typer.Option(help="Taker's fee in parts per million.")] = 1000,
    orders_max: Annotated[int, typer.Option(help="Open orders at most, over all symbols.")] = 1000,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Open an account with its fees."""
    events = send(DataDir(data), records.command(records.OPEN_ACCOUNT, 0, account, maker_ppm, taker_ppm, orders_max))
    report(events, f"account {account} is open: maker {maker_ppm} ppm, taker {taker_ppm} ppm", as_json)


@account_cli.command("status")
def account_status(
    account: AccountArgument,
    status: Annotated[str, typer.Argument(help="active, suspended (cancels only) or closed (only when empty).")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Suspend an account, make it active again, or close it for good."""
    code = chosen(status, STATUSES, "status")
    events = send(DataDir(data), records.command(records.SET_ACCOUNT_STATUS, 0, account, code))
    report(events, f"account {account} is {status}", as_json)


def deposit(
    account: AccountArgument, asset: AssetArgument, amount: AmountArgument, transfer_id: IdOption = 0, data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Credit an account with money that has come in."""
    move(records.DEPOSIT, account, asset, amount, transfer_id, data, as_json)


def withdraw(
    account: AccountArgument, asset: AssetArgument, amount: AmountArgument, transfer_id: IdOption = 0, data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Debit an account with money that has gone out."""
    move(records.WITHDRAW, account, asset, amount, transfer_id, data, as_json)


def move(kind: int, account: int, asset: str, amount: str, transfer_id: int, data: Path, as_json: bool) -> None:
    directory = DataDir(data)
    number, decimals = find_asset(directory, asset)
    atoms = atoms_of(amount, decimals, asset)
    transfer_id = transfer_id or secrets.randbelow((1 << 62) - 1) + 1
    events = send(directory, records.command(kind, 0, account, transfer_id, number, atoms))
    verb = "credited with" if kind == records.DEPOSIT else "debited by"
    report(events, f"account {account} is {verb} {amount} {asset.upper()} (movement {transfer_id})", as_json)


def find_asset(data: DataDir, name: str) -> tuple[int, int]:
    """(number, decimals) of a listed asset, from the settled record."""
    from zerosum.settlement.history import History

    with closing(History(data.settled)) as history:
        assets = history.assets()
    for asset in assets:
        if asset.name == name.upper():
            return asset.asset, asset.decimals
    raise Refused(f"{name.upper()} is not listed; listed are {', '.join(asset.name for asset in assets) or 'none'}.")


def atoms_of(amount: str, decimals: int, asset: str) -> int:
    try:
        atoms = Decimal(amount).scaleb(decimals)
    except InvalidOperation:
        raise Refused(f"amount {amount!r} is no decimal number.") from None
    if not atoms.is_finite() or atoms <= 0 or atoms != atoms.to_integral_value():
        raise Refused(f"amount {amount!r} is not a positive number with at most {decimals} decimals, which is what {asset.upper()} has.")
    return int(atoms)


def chosen(name: str, table: dict[str, int], what: str) -> int:
    if name not in table:
        raise Refused(f"{what} {name!r} is none of {', '.join(table)}.")
    return table[name]


@listing_cli.command("add")
def add_listing(
    file: Annotated[Path, typer.Argument(help="A TOML file with [[assets]] and [[symbols]]; see docs/reference/listing.md.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """List the assets and symbols of a file. What can't be listed is refused with the numbers that show why, before anything is."""
    listing = load_listing(tomllib.loads(file.read_text()), str(file))
    events = [event for command in listing.commands() for event in send(DataDir(data), command)]
    names = ", ".join(symbol.name for symbol in listing.symbols)
    report(events, f"listed {len(listing.assets)} assets and the symbols {names}", as_json)


@listing_cli.command("status")
def symbol_status(
    symbol: Annotated[int, typer.Argument(help="The symbol's number.")],
    status: Annotated[str, typer.Argument(help="trading, halt or break.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Halt trading in a symbol, or let it go on. Cancels pass at all times."""
    code = chosen(status, SYMBOL_STATUSES, "status")
    report(send(DataDir(data), records.command(records.SET_SYMBOL_STATUS, 0, symbol, code)), f"symbol {symbol}: {status}", as_json)
