"""
`zerosum state`: balances and books as they were at a past sequence.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from zerosum.cli.directory import existing
from zerosum.cli.door import running_end
from zerosum.cli.options import ArchiveOption, DataArgument, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.services.machine import Machine
from zerosum.services.past import balances_of, machine_at


def state_command(
    data: DataArgument = None,
    data_option: DataOption = None,
    at: Annotated[int | None, typer.Option("--at", help="A sequence of the log. Default: its end.", min=0)] = None,
    depth: Annotated[int, typer.Option(help="Price levels a side.", min=1)] = 10,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every balance and book as they were after a command of the log: amounts in atoms, prices in ticks, quantities in lots."""
    directory = existing(data or data_option)
    machine = machine_at(directory, at, archive=archive, end=running_end(directory))
    state = state_of(machine, depth)
    if as_json:
        typer.echo(json.dumps(state))
        return
    rows = [(str(row["account"]), row["asset"], f"{row['available_atoms']:,}", f"{row['frozen_atoms']:,}") for row in state["balances"]]
    show_table(("account", "asset", "available", "frozen"), rows, title=f"balances after sequence {state['sequence']}")
    for book in state["books"]:
        levels = [("ask", *level) for level in reversed(book["asks"])] + [("bid", *level) for level in book["bids"]]
        rows = [(side, f"{price:,}", f"{lots:,}", str(orders)) for side, price, lots, orders in levels]
        show_table(("side", "price", "lots", "orders"), rows, title=book["symbol"])
    typer.echo(f"state hash {state['state_hash']}")


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
