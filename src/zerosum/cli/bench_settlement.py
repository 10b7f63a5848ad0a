"""
`zerosum bench settlement`: what the settled record costs.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from zerosum.bench.settlement import measure
from zerosum.cli.options import JsonOption


def settlement(
    orders: Annotated[int, typer.Option(help="Random limit orders; half of them trade, a fifth is canceled.", min=1_000)] = 200_000,
    accounts: Annotated[int, typer.Option(help="Of how many accounts.", min=2)] = 1_000,
    symbols: Annotated[int, typer.Option(help="On how many symbols.", min=1)] = 4,
    batch: Annotated[int, typer.Option(help="Commands in a transaction.", min=1)] = 5_000,
    as_json: JsonOption = False,
) -> None:
    """
    Orders settled per CPU second, from event bytes to committed transactions in SQLite.
    """
    with Console(stderr=True).status("Placing and settling ..."):
        result = measure(orders, accounts, symbols, batch)
    if as_json:
        typer.echo(json.dumps(result))
        return
    typer.echo(
        f"{result['orders']:,} orders and {result['trades']:,} trades of {accounts:,} accounts on {symbols} symbols\n"
        f"{result['orders_per_cpu_second']:,} orders per CPU second ({result['cpu_seconds']:.2f} s of CPU in {result['seconds']:.2f} s)\n"
        f"{result['bytes_per_order']:,} bytes an order"
    )
