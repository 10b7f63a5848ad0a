"""
`zerosum withdrawal list` and `zerosum account deposits`: what has gone out and come in, and by which reference it is found outside.

They only look: what operators do about a withdrawal they do in their console.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from zerosum.cli import trail
from zerosum.cli.identities import ClusterOption
from zerosum.cli.options import ConfigOption, DataOption, JsonOption
from zerosum.cli.record import account_text, orders_of, record_and_book, wallet_of
from zerosum.cli.tables import show_table
from zerosum.core import codes
from zerosum.services import money_lists
from zerosum.services.amounts import grouped
from zerosum.services.money_lists import Deposited, Withdrawn
from zerosum.services.statement import moment

withdrawal = typer.Typer(no_args_is_help=True, help="List withdrawals. What is to be done about one is done in the console.")

ListedArgument = Annotated[
    int | None,
    typer.Argument(
        metavar="[ACCOUNT]", help="Of this account and its funding wallet only.", min=codes.FIRST_USER, max=codes.ACCOUNT_MAX
    ),
]  # fmt: skip


@withdrawal.command("list")
def list_withdrawals(
    account: ListedArgument = None,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """List withdrawals, the oldest first: how far each is, and what the ledger has of it."""
    record, book = record_and_book(data, config, cluster)
    found = money_lists.withdrawals(orders_of(data, config, cluster), book, record, account)
    if as_json:
        typer.echo(json.dumps([built(each) for each in found]))
        return
    columns = ("account", "id", "asset", "amount", "state", "ledger", "reference", "address", "asked for")
    rows = [
        (
            account_text(each.holder), str(each.id), plain(each.asset), grouped(each.amount), plain(each.state), each.ledger,
            each.reference, plain(each.address), trail.moment(each.time_us),
        )
        for each in found
    ]  # fmt: skip
    show_table(columns, rows)


def list_deposits(
    account: ListedArgument = None,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """List deposits, the oldest first, with the references that they were reported by."""
    record, book = record_and_book(data, config, cluster)
    found = money_lists.deposits(book, record, account)
    if as_json:
        typer.echo(json.dumps([built(each) for each in found]))
        return
    rows = [
        (account_text(each.holder), str(each.id), each.asset, grouped(each.amount), each.state, each.reference, trail.moment(each.time_us))
        for each in found
    ]
    show_table(("account", "id", "asset", "amount", "state", "reference", "time"), rows)


def plain(text: str) -> str:
    """What a gateway wrote, for a terminal: one that was stolen writes what it likes."""
    return text if text.isprintable() else ascii(text)


def built(each: Withdrawn | Deposited) -> dict[str, Any]:
    fields = {name: value for name, value in each._asdict().items() if name not in ("holder", "time_us")}
    return {"account": each.holder & codes.ACCOUNT_MAX, "wallet": wallet_of(each.holder), **fields, "time": moment(each.time_us)}
