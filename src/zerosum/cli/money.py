"""
`zerosum deposit`, `withdraw`, `transfer`: movements of money, each done once however often it is asked for.

Each has a number. It is told before anything is sent, so that whoever does not hear what became of a movement can ask for it again.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from zerosum.cli.account import AccountArgument
from zerosum.cli.directory import existing
from zerosum.cli.door import Door, Event, OutcomeUnknown, Refused, door_to
from zerosum.cli.options import DataOption, JsonOption
from zerosum.cli.refusals import REASON_AT, do
from zerosum.cli.report import report
from zerosum.core import codes, records
from zerosum.services.amounts import NotDecimal, NotWhole, decimal_text, units

PAYER_HELP = f"The account's number, or {codes.FEES} for the fees that the exchange took."
PayerArgument = Annotated[int, typer.Argument(help=PAYER_HELP, min=codes.FEES, max=codes.ACCOUNT_MAX)]
FromArgument = Annotated[int, typer.Argument(metavar="FROM", help=PAYER_HELP, min=codes.FEES, max=codes.ACCOUNT_MAX)]
ToArgument = Annotated[int, typer.Argument(metavar="TO", help="The account's number.", min=codes.FIRST_USER, max=codes.ACCOUNT_MAX)]
AssetArgument = Annotated[str, typer.Argument(help="The asset's name, such as BTC.")]
AmountArgument = Annotated[str, typer.Argument(help="How much, as a decimal number, such as 0.5.")]
IdOption = Annotated[
    int | None,
    typer.Option(
        "--id",
        help="A number of your own for this movement: repeated, it is done once. Default: a random one.",
        min=1,
        max=codes.AMOUNT_MAX,
    ),
]


def deposit(
    account: AccountArgument,
    asset: AssetArgument,
    amount: AmountArgument,
    movement: IdOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Credit an account with money that has come in."""
    text = f"account {account} is credited with {amount} {asset.upper()}"
    move(records.DEPOSIT, account, asset, amount, movement, data, as_json, text)


def withdraw(
    account: PayerArgument,
    asset: AssetArgument,
    amount: AmountArgument,
    movement: IdOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Debit an account with money that has gone out."""
    text = f"account {account} is debited by {amount} {asset.upper()}"
    move(records.WITHDRAW, account, asset, amount, movement, data, as_json, text)


def transfer(
    source: FromArgument,
    target: ToArgument,
    asset: AssetArgument,
    amount: AmountArgument,
    movement: IdOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move money from one account to another."""
    text = f"{amount} {asset.upper()} went from account {source} to account {target}"
    move(records.TRANSFER, source, asset, amount, movement, data, as_json, text, target)


def move(
    kind: int, account: int, asset: str, amount: str, movement: int | None, data: Path | None, as_json: bool, text: str, *to: int
) -> None:
    directory = existing(data)
    with door_to(directory) as door:
        listed = find_asset(door, asset)
        atoms = atoms_of(amount, listed["decimals"], listed["name"])
        number = movement if movement is not None else secrets.randbelow(codes.AMOUNT_MAX) + 1
        if movement is None:
            typer.echo(f"movement {number}", err=True)
        events, done = done_once(door, records.command(kind, 0, account, number, listed["asset"], atoms, *to), number)
    report(events, f"{text}{done} (movement {number})", as_json)


def done_once(door: Door, command: bytes, number: int) -> tuple[list[Event], str]:
    """The movement's events, and what to add of it."""
    try:
        return do(door, command), ""
    except OutcomeUnknown as error:
        raise OutcomeUnknown(f"{error}\n  Repeat it with --id {number}: it is then done once.") from error
    except Refused as refused:
        if refused.event is None or refused.event[REASON_AT] != codes.TRANSFER_REPEATED:
            raise
        return [refused.event], ": that was done before, and is not done again"


def find_asset(door: Door, name: str) -> dict[str, Any]:
    assets: list[dict[str, Any]] = door.ask(show="listings")["assets"]
    for asset in assets:
        if asset["name"] == name.upper():
            return asset
    raise Refused(f"{name.upper()} is not listed; listed are {', '.join(asset['name'] for asset in assets) or 'none'}.")


def atoms_of(amount: str, decimals: int, asset: str) -> int:
    try:
        atoms = units(amount, decimals)
    except NotDecimal:
        if amount.startswith("-"):
            raise Refused(f"amount {shortened(amount)} is below 0: money comes in by `deposit` and goes out by `withdraw`.") from None
        raise Refused(f"amount {shortened(amount)} is no decimal number: write digits, and a point between them, such as 0.5.") from None
    except NotWhole:
        raise Refused(f"amount {amount} has more decimals than {asset}, which has {decimals}.") from None
    if not 1 <= atoms <= codes.AMOUNT_MAX:
        raise Refused(
            f"amount {amount} is not in {decimal_text(1, decimals)}..{decimal_text(codes.AMOUNT_MAX, decimals)} {asset},"
            f" which has {decimals} decimals."
        )
    return atoms


def shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
