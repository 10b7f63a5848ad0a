"""
`zerosum key`: API keys, made and revoked by command. A running gateway sees the change within a second.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from zerosum.cli.door import DEFAULT_DATA, DataOption, JsonOption
from zerosum.cli.up import MASTER_KEY_NAME
from zerosum.gateway.auth import TRADE, USER_DATA
from zerosum.gateway.keys import Keys, load_master_key
from zerosum.services.datadir import DataDir

cli = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


def open_keys(data: DataDir) -> Keys:
    return Keys(data.keys, load_master_key(data.root / MASTER_KEY_NAME))


@cli.command("create")
def create(
    account: Annotated[int, typer.Argument(help="The account that the key acts for.")],
    trade: Annotated[bool, typer.Option("--trade/--read-only", help="Whether it may place and cancel orders.")] = True,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Make a key. Its secret is shown this once, and kept encrypted."""
    with closing(open_keys(DataDir(data))) as keys:
        api_key, secret = keys.create(account, (TRADE, USER_DATA) if trade else (USER_DATA,))
    if as_json:
        typer.echo(json.dumps({"api_key": api_key, "secret": secret, "account": account}))
    else:
        typer.echo(f"API key  {api_key}\nsecret   {secret}\nThe secret is not shown again.")


@cli.command("list")
def list_keys(
    account: Annotated[int | None, typer.Option(help="Of this account only.")] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """List keys, never their secrets."""
    with closing(open_keys(DataDir(data))) as keys:
        found = keys.list(account)
    if as_json:
        typer.echo(json.dumps([key._asdict() for key in found]))
        return
    table = Table("API key", "account", "permissions", "state")
    for key in found:
        table.add_row(key.api_key, str(key.account_id), ", ".join(key.permissions), "revoked" if key.revoked_us else "good")
    Console().print(table)


@cli.command("revoke")
def revoke(api_key: Annotated[str, typer.Argument(help="The API key.")], data: DataOption = DEFAULT_DATA) -> None:
    """Revoke a key for good."""
    with closing(open_keys(DataDir(data))) as keys:
        keys.revoke(api_key)
    typer.echo("revoked")
