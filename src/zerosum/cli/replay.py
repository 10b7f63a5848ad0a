"""
`zerosum replay`: a file of orders through log, core and follower, and the result from the database.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from zerosum.cli.door import Refused
from zerosum.cli.options import JsonOption
from zerosum.cli.tables import show_table
from zerosum.cli.terminal import somebody_sees_it
from zerosum.services.listing_file import read_listing
from zerosum.services.replay import Replay, Summary, rows_of
from zerosum.settlement.export import write_balances_csv, write_trades_csv

PRICE_DECIMALS, QTY_DECIMALS = 2, 8  # of the integers in trades.csv, or the symbol's own if it has more


def replay_command(
    orders: Annotated[Path, typer.Option(help="CSV, gzip or plain: order_id,user_id,side,price,qty, or with `action` after user_id.")],
    balances: Annotated[
        Path,
        typer.Option(
            help="CSV: user_id,asset_id,avail,frozen,version. Asset 1 is the base, avail in 10^-8 of it; asset 2 the quote, in 10^-2 of it."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new directory: gets trades.csv, balances.csv and the data directory.")],
    listing: Annotated[Path | None, typer.Option(help="A listing in TOML; its first symbol is the one. Default: the golden set's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Replay a file of orders and write its trades and balances from the settled record.

    Orders are applied in file order, each settled before the next is admitted. With an `action` column a row
    with action `cancel` cancels an order, if it is open. An order that the balance does not cover is rejected and counted.

    Prices and quantities are decimals. In trades.csv they are whole numbers of 10^-2 and 10^-8 (of the tick's and lot's decimals, if those
    are more), amounts of 10^-2. balances.csv counts in each asset's own smallest unit: of the golden set, 10^-8 of both.
    A text that a spreadsheet would run as a formula has a ' before it, which is to be taken away again.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refused(f"{out} is not empty: name a new directory for --out.")
    where = "the listing" if listing is None else str(listing)
    replay = Replay(out, None if listing is None else read_listing(listing), where)
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=as_json or not somebody_sees_it()) as progress:
            total = sum(1 for _ in rows_of(orders, ("order_id",)))
            replay.balances(balances)
            task = progress.add_task("log and core", total=total)
            replay.orders(orders, lambda rows: progress.update(task, completed=rows))
            task = progress.add_task("follower", total=total)
            replay.settle(lambda sequence: progress.update(task, completed=min(total, sequence)))
        replay.check()
        write_result(replay, out)
    except BaseException:
        replay.abandon()
        raise
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(replay.summary)))
    else:
        show(replay.summary)
        typer.echo(f"{out}/trades.csv and {out}/balances.csv are written from {replay.data.settled}")


def write_result(replay: Replay, out: Path) -> None:
    symbol, settled = replay.symbol, replay.data.settled
    users = {account: user for user, account in replay.accounts.items()}
    with (out / "trades.csv").open("w", newline="") as trades:
        write_trades_csv(
            settled, trades, symbol=symbol.symbol, account_name=users.__getitem__,
            price_decimals=max(PRICE_DECIMALS, symbol.tick_decimals), qty_decimals=max(QTY_DECIMALS, symbol.lot_decimals),
        )  # fmt: skip
    with (out / "balances.csv").open("w", newline="") as balances:
        names = {symbol.base: "1", symbol.quote: "2"}
        write_balances_csv(settled, balances, account_name=users.__getitem__, asset_name=names.__getitem__, decimals={})


def show(summary: Summary) -> None:
    columns = ("accepted", "rejected", "canceled", "trades", "seconds")
    counts = (f"{count:,}" for count in (summary.accepted, summary.rejected, summary.canceled, summary.trades))
    show_table(columns, [(*counts, f"{summary.seconds:.1f}")])
    for reason, count in sorted(summary.rejected_by_reason.items()):
        typer.echo(f"rejected {reason}: {count:,}")
