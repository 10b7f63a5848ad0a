"""
`zerosum bench`: measure this machine. `bench core` runs the exchange-core workload on the compiled and on the plain core.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

import zerosum
from zerosum.bench.exchange_core import BOOK_SHA256, COMMANDS
from zerosum.cli import bench_cluster, bench_flood, bench_gateway, bench_settlement
from zerosum.cli.options import JsonOption
from zerosum.cli.tables import show_table
from zerosum.errors import ZerosumError

cli = typer.Typer(no_args_is_help=True, help="Measure this machine.")
cli.command("gateway")(bench_gateway.gateway)
cli.command("cluster")(bench_cluster.cluster)
cli.command("flood")(bench_flood.flood)
cli.command("settlement")(bench_settlement.settlement)

PURE_COMMANDS: Final = 200_000
PACKAGE: Final = Path(zerosum.__file__).parent


class BenchFailed(ZerosumError):
    """A measurement did not come to its end, or came to a wrong one."""


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "zerosum"


@cli.command("core")
def core(
    commands: Annotated[int, typer.Option(help="Commands of the workload to time, after 1,000 of prefill.", min=1)] = COMMANDS,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.", min=1)] = 3,
    pure_commands: Annotated[int, typer.Option(help="Commands on the plain build; 0 leaves it out.", min=0)] = PURE_COMMANDS,
    growth: Annotated[str, typer.Option(help="Open orders to grow to, each over 1 and 1,000 symbols.")] = "1000,100000,1000000",
    as_json: JsonOption = False,
) -> None:
    """
    Commands per CPU second of the whole core, with both event streams written.

    The workload is exchange-core's single-pair one, generated from seed 1 and cached; its final book must have the published hash, and
    every asset must sum to zero. Latency is open-loop: against the time at which each command was due.
    """
    sizes = sizes_of(growth)
    console = Console(stderr=True)
    with console.status("Generating the workload and timing the compiled core ..."):
        result: dict[str, Any] = {"compiled": run_worker(PACKAGE.parent, commands, rounds, 1_000_000, sizes)}
    if pure_commands:
        with console.status("Timing the plain core ..."), tempfile.TemporaryDirectory() as folder:
            shutil.copytree(PACKAGE, Path(folder) / "zerosum", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
            result["pure"] = run_worker(Path(folder), pure_commands, 1, 20_000, [])
            same = run_worker(PACKAGE.parent, pure_commands, 1, 20_000, [])
            if same["state_hash"] != result["pure"]["state_hash"]:
                raise BenchFailed(
                    f"After {pure_commands} commands the two builds are in different states: {result['pure']} against {same}."
                )
    result["book_sha256"] = result["compiled"]["book_sha256"]
    if commands == COMMANDS and result["book_sha256"] != BOOK_SHA256:
        raise BenchFailed(f"The workload ended on book {result['book_sha256']}, and should on {BOOK_SHA256}.")
    if any(result["compiled"]["asset_totals"]):
        raise BenchFailed(f"The assets sum to {result['compiled']['asset_totals']}, and should to zero.")
    if as_json:
        typer.echo(json.dumps(result))
    else:
        show(result)


def sizes_of(growth: str) -> list[int]:
    sizes = [size.strip() for size in growth.split(",") if size.strip()]
    if not all(size.isascii() and size.isdigit() and len(size) <= 9 and int(size) > 0 for size in sizes):
        raise typer.BadParameter(f"{growth[:80]!r} is no list of whole numbers above 0, such as 1000,100000.", param_hint="--growth")
    return [int(size) for size in sizes]


def run_worker(path: Path, commands: int, rounds: int, latency_rate: int, growth: list[int]) -> dict[str, Any]:
    """Measure the build that is at `path`, in a process of its own."""
    arguments = [
        sys.executable, "-m", "zerosum.bench.core_worker", "--cache", str(cache_dir()), "--commands", str(commands),
        "--rounds", str(rounds), "--latency-rate", str(latency_rate), "--growth", *map(str, growth),
    ]  # fmt: skip
    done = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(path)}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"The measurement ended with exit code {done.returncode}:\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def show(result: dict[str, Any]) -> None:
    columns: tuple[str, ...] = ("build", "commands", "per CPU second", "at", "p50 µs", "p99 µs", "p99.9 µs")
    rows: list[tuple[str, ...]] = []
    for build in ("compiled", "pure"):
        if build in result:
            row = result[build]
            latencies = [str(row[f"latency_us_{name}"]) for name in ("p50", "p99", "p99_9")]
            rows.append((build, f"{row['commands']:,}", f"{row['commands_per_cpu_second']:,}", f"{row['rate_per_s']:,}/s", *latencies))
    show_table(columns, rows, title="exchange-core workload")
    columns = ("open orders", "symbols", "per CPU second", "worst stall ms", "bytes an order")
    rows = [
        (
            f"{row['open_orders']:,}", f"{row['symbols']:,}", f"{row['commands_per_cpu_second']:,}", str(row["worst_stall_ms"]),
            str(row["bytes_per_open_order"]),
        )
        for row in result["compiled"]["growth"]
    ]  # fmt: skip
    show_table(columns, rows, title="growth, compiled")
    typer.echo(f"final book {result['book_sha256']}, every asset sums to zero")
