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
from rich.table import Table

import zerosum
from zerosum.bench.exchange_core import BOOK_SHA256, COMMANDS
from zerosum.cli import bench_gateway
from zerosum.errors import ZerosumError

cli = typer.Typer(no_args_is_help=True, help="Measure this machine.")
cli.command("gateway")(bench_gateway.gateway)

PURE_COMMANDS: Final = 200_000
PACKAGE: Final = Path(zerosum.__file__).parent


class BenchFailed(ZerosumError):
    """A measurement did not come to its end, or came to a wrong one."""


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "zerosum"


@cli.command("core")
def core(
    commands: Annotated[int, typer.Option(help="Commands of the workload to time, after 1,000 of prefill.")] = COMMANDS,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 3,
    pure_commands: Annotated[int, typer.Option(help="Commands on the plain build; 0 leaves it out.")] = PURE_COMMANDS,
    growth: Annotated[str, typer.Option(help="Open orders to grow to, each over 1 and 1,000 symbols.")] = "1000,100000,1000000",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """
    Commands per CPU second of the whole core, with both event streams written.

    The workload is exchange-core's single-pair one, generated from seed 1 and cached; its final book must have the published hash, and
    every asset must sum to zero. Latency is open-loop: against the time at which each command was due.
    """
    sizes = [int(size) for size in growth.split(",") if size]
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
    console = Console()
    table = Table("build", "commands", "per CPU second", "at", "p50 µs", "p99 µs", "p99.9 µs", title="exchange-core workload")
    for build in ("compiled", "pure"):
        if build in result:
            row = result[build]
            latencies = [str(row[f"latency_us_{name}"]) for name in ("p50", "p99", "p99_9")]
            table.add_row(build, f"{row['commands']:,}", f"{row['commands_per_cpu_second']:,}", f"{row['rate_per_s']:,}/s", *latencies)
    console.print(table)
    growth = Table("open orders", "symbols", "per CPU second", "worst stall ms", "bytes an order", title="growth, compiled")
    for row in result["compiled"]["growth"]:
        growth.add_row(
            f"{row['open_orders']:,}", f"{row['symbols']:,}", f"{row['commands_per_cpu_second']:,}", str(row["worst_stall_ms"]),
            str(row["bytes_per_open_order"]),
        )  # fmt: skip
    console.print(growth)
    console.print(f"final book {result['book_sha256']}, every asset sums to zero")
