"""
`zerosum soak`: a steady load for a while, and whether the memory of exchange and follower stays flat.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from zerosum.bench.soak import FLAT_BYTES, Soaked, soak
from zerosum.cli.options import JsonOption
from zerosum.cli.soak_cluster import soak_of_cluster


def soak_command(
    minutes: Annotated[float, typer.Option(help="How long.", min=0.05)] = 10.0,
    rate: Annotated[int, typer.Option(help="Orders a second.", min=1)] = 1_500,
    flat_bytes: Annotated[float, typer.Option(help="Bytes that an order may leave behind, in each process.")] = FLAT_BYTES,
    cluster: Annotated[bool, typer.Option("--cluster", help="A cluster, of which something is killed or stopped all the time.")] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Load a fresh exchange at a steady rate and watch the memory of its two processes.

    Flat means: the line nearest to the samples (least squares, the first third left out) rises by less than 16 bytes an order,
    which is less than the smallest thing that could be kept of it. Exit code 0 only if both are flat.

    With --cluster: Kafka, Cassandra and two copies of each machine under load; in turn each is killed with -9, or stopped and woken up.
    After each, what was answered, the database, the gateways and a replay of every machine must agree. Exit code 0 only if they do.
    """
    if cluster:
        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
            doing = progress.add_task("starting", total=minutes * 60)
            soak_of_cluster(minutes, as_json, lambda seconds, what: progress.update(doing, completed=seconds, description=what))
        return
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        task = progress.add_task("loading", total=minutes * 60)
        result = soak(minutes, rate, flat_bytes, lambda seconds: progress.update(task, completed=seconds))
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        show(result)
    if not all(grown.is_flat for grown in result.memory.values()):
        raise typer.Exit(1)


def show(result: Soaked) -> None:
    table = Table("process", "after warm-up", "at the end", "bytes an order", "")
    for part, grown in result.memory.items():
        sizes = (f"{size / 1e6:,.1f} MB" for size in (grown.first_bytes, grown.last_bytes))
        table.add_row(part, *sizes, f"{grown.bytes_per_order:.1f}", "[green]flat[/]" if grown.is_flat else "[bold red]GROWS[/]")
    console = Console()
    console.print(table)
    console.print(
        f"{result.orders:,} orders in {result.seconds:.0f} s, {result.refused} refused, worst p99 {result.latency_ms_p99_worst:.1f} ms,"
        f" all settled {result.settled_after_s:.2f} s after the last"
    )
