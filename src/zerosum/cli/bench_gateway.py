"""
`zerosum bench gateway`: signed durable orders a second through both doors, with settlement keeping up, and their latencies.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from zerosum.bench.gateway import DOORS, GatewayBench, Plan
from zerosum.cli.options import JsonOption
from zerosum.cli.tables import show_table

DEFAULT = Plan()


def gateway(
    seconds: Annotated[float, typer.Option(help="Of the sustained rate, for each door.", min=0)] = DEFAULT.sustained_s,
    burst_seconds: Annotated[float, typer.Option(help="Of the burst; 0 leaves it out.", min=0)] = DEFAULT.burst_s,
    burst_rate: Annotated[int, typer.Option(help="Orders a second in the burst.", min=1)] = DEFAULT.burst_rate,
    latency_seconds: Annotated[float, typer.Option(help="Of the latency measurement; 0 leaves it out.", min=0)] = DEFAULT.latency_s,
    latency_rate: Annotated[int, typer.Option(help="Orders a second in the latency measurement.", min=1)] = DEFAULT.latency_rate,
    cores: Annotated[int, typer.Option(help="Cores that exchange, follower and load share.", min=1)] = DEFAULT.cores,
    tls: Annotated[bool, typer.Option("--tls", help="Over TLS, with a development certificate.")] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Orders a second over HTTP and over the WebSocket API, on a fresh exchange with its follower, from a load process of its own.

    Every order is signed, checked, durable and applied before it is answered. The mix (place, cancel, match, market, reject) is made from
    a seed; its hash is printed. The sustained rate counts only if everything is settled within a second of the last answer. Latencies are
    open-loop: from the time at which an order was due, whatever became of those before it.
    """
    plan = Plan(
        sustained_s=seconds, burst_s=burst_seconds, burst_rate=burst_rate, latency_s=latency_seconds, latency_rate=latency_rate,
        cores=cores, tls=tls,
    )  # fmt: skip
    with Console(stderr=True).status("starting the exchange ...") as status:
        result = GatewayBench(plan, lambda what: status.update(f"{what} ...")).run()
    if as_json:
        typer.echo(json.dumps(result))
    else:
        show(result)


def show(result: dict[str, Any]) -> None:
    columns = (
        "door", "phase", "orders", "orders/s", "p50 ms", "p99 ms", "p99.9 ms", "answered after", "settled after", "µs of CPU an order",
    )  # fmt: skip
    rows = []
    for door in DOORS:
        for phase in ("sustained", "burst", "latency"):
            row = result[door].get(phase)
            if row is None:
                continue
            latencies = (f"{row['latency_ms'][name]:,.1f}" for name in ("p50", "p99", "p99_9"))
            cpu = ", ".join(f"{part} {used_us:.0f}" for part, used_us in row["cpu_us_per_order"].items())
            rates = (f"{row['answered']:,}", f"{row['answered_per_second']:,}")
            rows.append((door, phase, *rates, *latencies, f"{row['drained_after_s']:.2f} s", f"{row['settled_after_s']:.2f} s", cpu))
    show_table(columns, rows)
    typer.echo(f"on {result['cores']} cores{', over TLS' if result['tls'] else ''}; mix {result['mix_sha256']}")
