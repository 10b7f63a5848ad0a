"""
`zerosum state`: balances and books as they were at a past sequence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from zerosum.cli.door import ArchiveOption, JsonOption
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.services.past import balances_of, machine_at


def state_command(
    directory: Annotated[Path, typer.Argument(help="A data directory.", exists=True, file_okay=False)],
    at: Annotated[int | None, typer.Option("--at", help="A sequence of the log. Default: its end.")] = None,
    depth: Annotated[int, typer.Option(help="Price levels a side.")] = 10,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every balance and book as they were after a command of the log: amounts in atoms, prices in ticks, quantities in lots."""
    machine = machine_at(DataDir(directory), at, archive=archive)
    state = state_of(machine, depth)
    if as_json:
        typer.echo(json.dumps(state))
        return
    console = Console()
    balances = Table("account", "asset", "available", "frozen", title=f"balances after sequence {state['sequence']}")
    for row in state["balances"]:
        balances.add_row(str(row["account"]), row["asset"], f"{row['available_atoms']:,}", f"{row['frozen_atoms']:,}")
    console.print(balances)
    for book in state["books"]:
        table = Table("side", "price", "lots", "orders", title=book["symbol"])
        for side, rows in (("ask", reversed(book["asks"])), ("bid", book["bids"])):
            for price, lots, orders in rows:
                table.add_row(side, f"{price:,}", f"{lots:,}", str(orders))
        console.print(table)
    console.print(f"state hash {state['state_hash']}")


def state_of(machine: Machine, depth: int) -> dict[str, Any]:
    ubscore = machine.exchange.ubscore
    names = [asset.name for asset in ubscore.listings.assets]
    balances = [
        {"account": account, "asset": names[asset], "available_atoms": available, "frozen_atoms": frozen}
        for (account, asset), (available, frozen) in balances_of(machine).items()
    ]
    books = [
        {"symbol": symbol.name, "bids": book.bids.depth()[:depth], "asks": book.asks.depth()[:depth]}
        for symbol, book in zip(ubscore.listings.listed, machine.exchange.matching.books, strict=True)
    ]
    state_hash = "".join(f"{part & (1 << 64) - 1:016x}" for part in machine.exchange.state_hash())
    return {"sequence": machine.sequence, "balances": balances, "books": books, "state_hash": state_hash}
