"""
`zerosum account`: open, show, suspend and close accounts, and set their fees.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from zerosum.cli.directory import existing
from zerosum.cli.door import Door, Refused, door_to
from zerosum.cli.options import DataOption, JsonOption
from zerosum.cli.refusals import do, find_account, no_account
from zerosum.cli.report import report
from zerosum.cli.tables import show_table
from zerosum.core import codes, records
from zerosum.services.amounts import grouped

cli = typer.Typer(no_args_is_help=True, help="Open, show, suspend and close accounts.")

AccountArgument = Annotated[int, typer.Argument(help="The account's number.", min=codes.FIRST_USER, max=codes.ACCOUNT_MAX)]
AnyAccountArgument = Annotated[
    int, typer.Argument(help="The account's number; 1 to 4 are the exchange's own, 2 has its fees.", min=1, max=codes.ACCOUNT_MAX)
]

HOUSE: Final = {codes.OUTSIDE: " outside", codes.FEES: " fees", codes.CLEARING: " clearing", codes.WITHDRAWALS: " on its way out"}
AMOUNTS: Final = ("available", "frozen", "withdrawing")
STATUSES: Final = {"active": codes.ACTIVE, "suspended": codes.SUSPENDED, "closed": codes.CLOSED}


@cli.command("open")
def open_account(
    account: AccountArgument,
    maker_ppm: Annotated[int, typer.Option(help="Maker's fee in parts per million.", min=0, max=codes.PPM)] = 1000,
    taker_ppm: Annotated[int, typer.Option(help="Taker's fee in parts per million.", min=0, max=codes.PPM)] = 1000,
    orders_max: Annotated[int, typer.Option(help="Open orders at most, over all symbols.", min=1, max=codes.AMOUNT_MAX)] = 1000,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open an account with its fees."""
    with door_to(existing(data)) as door:
        events = do(door, records.command(records.OPEN_ACCOUNT, 0, account, maker_ppm, taker_ppm, orders_max))
    report(events, f"account {account} is open: maker {maker_ppm} ppm, taker {taker_ppm} ppm", as_json)


@cli.command("show")
def show_account(account: AnyAccountArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show an account: its status, fees, open orders and balances, what is set aside to be withdrawn, and its funding wallet."""
    with door_to(existing(data), only_asks=True) as door:
        found = known_account(door, account)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(
        f"account {account} is {found['status']}: maker {found['maker_ppm']} ppm, taker {found['taker_ppm']} ppm,"
        f" {found['open_orders']:,} of {found['orders_max']:,} open orders"
    )
    show_table(("asset", *AMOUNTS), balance_rows(found["balances"]))
    if found["funding"]:
        show_table(("asset", *AMOUNTS), balance_rows(found["funding"]), title="in its funding wallet")


def balance_rows(balances: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(balance["asset"], *(grouped(balance[name]) for name in AMOUNTS)) for balance in balances]


@cli.command("list")
def list_accounts(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all accounts, the exchange's own first."""
    with door_to(existing(data), only_asks=True) as door:
        found = all_accounts(door)
    if as_json:
        typer.echo(json.dumps(found))
        return
    columns = ("account", "status", "maker_ppm", "taker_ppm", "open_orders", "orders_max")
    rows = [[str(account[column]) for column in columns] for account in found]
    for row, account in zip(rows, found, strict=True):
        row[0] += (
            f" funding of {account['account'] & codes.ACCOUNT_MAX}" if account["status"] == "wallet" else HOUSE.get(account["account"], "")
        )
    show_table([column.replace("_", " ") for column in columns], rows)


@cli.command("fees")
def account_fees(
    account: AccountArgument,
    maker_ppm: Annotated[
        int | None, typer.Option(help="Maker's fee in parts per million. Default: as it is.", min=0, max=codes.PPM)
    ] = None,
    taker_ppm: Annotated[
        int | None, typer.Option(help="Taker's fee in parts per million. Default: as it is.", min=0, max=codes.PPM)
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set an account's fees, for trades from now on."""
    if maker_ppm is None and taker_ppm is None:
        raise typer.BadParameter("give --maker-ppm, --taker-ppm or both.")
    with door_to(existing(data)) as door:
        now = known_account(door, account)
        maker = now["maker_ppm"] if maker_ppm is None else maker_ppm
        taker = now["taker_ppm"] if taker_ppm is None else taker_ppm
        events = do(door, records.command(records.SET_ACCOUNT_FEES, 0, account, maker, taker))
    report(events, f"account {account}: maker {maker} ppm, taker {taker} ppm", as_json)


@cli.command("status")
def account_status(
    account: AccountArgument,
    status: Annotated[str, typer.Argument(help="active, suspended (cancels only) or closed (only when empty).")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suspend an account, make it active again, or close it for good."""
    code = chosen(status, STATUSES, "status")
    with door_to(existing(data)) as door:
        events = do(door, records.command(records.SET_ACCOUNT_STATUS, 0, account, code))
    report(events, f"account {account} is {status}", as_json)


def known_account(door: Door, account: int) -> dict[str, Any]:
    """Refused where there is none."""
    found = find_account(door, account)
    if found is None:
        raise Refused(f"{no_account(account)}: open it with `zerosum account open`.")
    return found


def all_accounts(door: Door) -> list[dict[str, Any]]:
    """By number."""
    found: list[dict[str, Any]] = []
    place: int | None = 0
    while place is not None:
        page = door.ask(**{"show": "accounts", "from": place})
        found += page["accounts"]
        place = page["next"]
    return sorted(found, key=lambda account: account["account"])


def chosen(name: str, table: dict[str, int], what: str) -> int:
    if name not in table:
        raise Refused(f"{what} {name!r} is none of {', '.join(table)}.")
    return table[name]
