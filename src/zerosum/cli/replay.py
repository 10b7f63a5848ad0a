"""
`zerosum replay`: a file of orders through log, core and follower, and the result from the database.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from zerosum.cli.door import JsonOption, Refused
from zerosum.services.replay import Replay, rows_of
from zerosum.settlement.export import write_balances_csv, write_trades_csv


def replay_command(
    orders: Annotated[Path, typer.Option(help="CSV, gzip or plain: order_id,user_id,side,price,qty, or with `action` after user_id.")],
    balances: Annotated[Path, typer.Option(help="CSV: user_id,asset_id,avail,frozen,version; asset 1 is the base, 2 the quote.")],
    out: Annotated[Path, typer.Option(help="A new directory: gets trades.csv, balances.csv and the data directory.")],
    listing: Annotated[Path | None, typer.Option(help="A listing in TOML; its first symbol is the one. Default: the golden set's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Replay a file of orders and write its trades and balances from the settled record.

    Orders are applied in file order, each settled before the next is admitted. With an `action` column a row
    with action `cancel` cancels an order, if it is open. An order that the balance does not cover is rejected and counted.
    """
    if (out / "data").exists():
        raise Refused(f"{out} holds an earlier replay: name a new directory for --out.")
    table: dict[str, Any] | None = tomllib.loads(listing.read_text()) if listing is not None else None
    replay = Replay(out, table)
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        total = sum(1 for _ in rows_of(orders, ("order_id",)))
        replay.balances(balances)
        task = progress.add_task("log and core", total=total)
        replay.orders(orders, lambda rows: progress.update(task, completed=rows))
        task = progress.add_task("follower", total=total)
        replay.settle(lambda sequence: progress.update(task, completed=min(total, sequence)))
    replay.check()
    users = {account: user for user, account in replay.accounts.items()}
    with (out / "trades.csv").open("w", newline="") as trades_csv:
        write_trades_csv(replay.data.settled, trades_csv, symbol=0, account_name=users.__getitem__)
    with (out / "balances.csv").open("w", newline="") as balances_csv:
        asset_names = {replay.symbol.base: "1", replay.symbol.quote: "2"}
        write_balances_csv(
            replay.data.settled, balances_csv, account_name=users.__getitem__, asset_name=asset_names.__getitem__, decimals={}
        )
    summary = dataclasses.asdict(replay.summary)
    if as_json:
        typer.echo(json.dumps(summary))
        return
    shown = Table("accepted", "rejected", "canceled", "trades", "seconds")
    shown.add_row(*(f"{summary[name]:,}" for name in ("accepted", "rejected", "canceled", "trades")), f"{summary['seconds']:.1f}")
    Console().print(shown)
    typer.echo(f"{out}/trades.csv and {out}/balances.csv are written from {replay.data.settled}")
