"""
`zerosum bench flood`: what a flood from one address costs the others.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from zerosum.bench.flood import FloodPlan, run
from zerosum.cli.options import JsonOption
from zerosum.cli.tables import show_table

DEFAULT = FloodPlan()


def flood(
    pairs: Annotated[int, typer.Option(help="Of a quiet and a flooded phase.", min=1)] = DEFAULT.pairs,
    seconds: Annotated[float, typer.Option(help="Of each phase.", min=0.5)] = DEFAULT.seconds,
    rate: Annotated[int, typer.Option(help="Honest orders a second.", min=1, max=90)] = DEFAULT.rate,
    flood_rate: Annotated[int, typer.Option(help="Requests a second of the flood.", min=1)] = DEFAULT.flood_rate,
    connections: Annotated[int, typer.Option(help="Of the flood.", min=1)] = DEFAULT.connections,
    as_json: JsonOption = False,
) -> None:
    """
    The latency of orders from one address, without and with a flood from another, in turns, on a fresh exchange with its default
    allowances.

    The flood is soon past its allowance, and then banned: from there on it is answered 418. Latencies are open-loop; medians of the pairs.
    """
    plan = FloodPlan(pairs, seconds, rate, flood_rate, connections)
    with Console(stderr=True).status("starting the exchange ...") as status:
        result = run(plan, lambda what: status.update(f"{what} ..."))
    if as_json:
        typer.echo(json.dumps(result))
        return
    rows = [(name, *(f"{result[name][each]:,.2f}" for each in ("quiet_ms", "flooded_ms", "share"))) for name in ("p50", "p99")]
    show_table(("latency", "quiet ms", "flooded ms", "flooded / quiet"), rows)
    answers = ", ".join(f"{number:,} times {status}" for status, number in result["flood_answers"].items())
    typer.echo(f"the flood: {result['flood_per_second']:,.0f} a second; answered {answers}")
