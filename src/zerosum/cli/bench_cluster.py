"""
`zerosum bench cluster`: how much a whole cluster takes on this machine, with everything on it.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from zerosum.bench.cluster.knee import Step, find_knee
from zerosum.bench.cluster.market import UNBOUND
from zerosum.cli.options import BrokersOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.devcluster.deployment import Shape

RATES: Final = (1_000, 2_000, 3_000, 3_500, 4_000, 4_500, 5_000, 6_000, 7_000, 8_000, 10_000)


def cluster(
    seconds: Annotated[float, typer.Option(help="Of each rate.", min=1)] = 10.0,
    first: Annotated[int, typer.Option(help="The lowest rate that is tried, in requests a second.", min=1)] = 1_000,
    shards: Annotated[int, typer.Option(help="UBSCore shards.", min=1, max=256)] = 1,
    partitions: Annotated[int, typer.Option(help="Engine partitions.", min=1, max=256)] = 1,
    gateways: Annotated[int, typer.Option(help="Gateways.", min=1, max=16)] = 1,
    brokers: BrokersOption = 1,
    workers: Annotated[int, typer.Option(help="Connections that send.", min=1)] = 10,
    as_json: JsonOption = False,
) -> None:
    """
    Load a fresh cluster, with real servers, services and load on this machine, at rising rates, and find the last that it keeps up with.

    First it is warmed up, for as long as Java takes to compile what it runs. A request is an order, an amendment or a cancel, signed,
    over the WebSocket API, in an open loop: latencies count from the time at which it was due. At the knee nothing is refused, and all is
    settled within some two seconds of the end.
    """
    rates = [rate for rate in RATES if rate >= first] or [first]
    shape = Shape(shards=shards, partitions=partitions, gateways=gateways, brokers=brokers, settings=UNBOUND, lasts=True)
    with tempfile.TemporaryDirectory(prefix="zerosum-bench-") as folder, Console(stderr=True).status("starting ...") as status:
        steps = find_knee(Path(folder), shape, rates, seconds, workers, status.update)
    held = [step for step in steps if step.holds]
    if as_json:
        knee = asdict(held[-1]) if held else {"orders_per_second": 0, "requests_per_second": 0}
        typer.echo(json.dumps({**knee, "steps": [asdict(step) for step in steps]}))
    else:
        show(steps)
    if not held:
        raise typer.Exit(1)


def show(steps: list[Step]) -> None:
    columns = ("asked", "requests/s", "new orders/s", "answer p50", "p99", "readable p50", "p99", "settled after", "cores used", "")
    rows = [
        (
            f"{step.rate:,}", f"{step.requests_per_second:,}", f"{step.orders_per_second:,}", milliseconds(step.answer_ms["p50"]),
            milliseconds(step.answer_ms["p99"]), milliseconds(step.readable_ms["p50"]), milliseconds(step.readable_ms["p99"]),
            f"{step.settled_after_s:.1f} s", f"{sum(step.cpu.values()):.2f}", "holds" if step.holds else "too much",
        )
        for step in steps
    ]  # fmt: skip
    show_table(columns, rows, styles=["" if step.holds else "red" for step in steps])
    for step in steps:
        if step.holds:
            typer.echo(f"cores at {step.rate:,}: " + ", ".join(f"{name} {cores:.2f}" for name, cores in step.cpu.items()))


def milliseconds(ms: float) -> str:
    return f"{ms:,.0f} ms"
