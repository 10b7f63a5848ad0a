"""
`zerosum e2e`: the whole exchange in real processes, 100,000 orders to settled trades, killed twice, and audited.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from zerosum.bench.cluster.e2e import ClusterPlan
from zerosum.bench.e2e import EndToEnd, EndToEndPlan, EndToEndRun
from zerosum.bench.e2e_orders import OrderSet, read_order_set
from zerosum.cli.e2e_cluster import rows_of_cluster, run_cluster_end_to_end, show_cluster
from zerosum.cli.e2e_generated import generate
from zerosum.cli.options import BrokersOption, JsonOption
from zerosum.errors import ConfigError
from zerosum.services.datadir import DataDir


def e2e_command(
    orders: Annotated[Path | None, typer.Option(help="CSV, as `zerosum replay` reads it.", exists=True, dir_okay=False)] = None,
    balances: Annotated[Path | None, typer.Option(help="CSV of what users begin with.", exists=True, dir_okay=False)] = None,
    trades: Annotated[Path | None, typer.Option(help="CSV of the trades to expect.", exists=True, dir_okay=False)] = None,
    count: Annotated[int, typer.Option(help="Orders to generate.", min=1)] = 100_000,
    users: Annotated[int, typer.Option(help="Users to generate, each with a key and deposits.", min=2)] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the orders, the traders and the moments of the kills.")] = 1,
    traders: Annotated[int, typer.Option(help="Clients over HTTP around each kill.", min=1)] = 8,
    seconds: Annotated[float | None, typer.Option(help="Of trading around each kill: 6. With --cluster of each load: 30.", min=0.5)] = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="Of a cluster on a real Kafka and a real Cassandra.")] = False,
    runs: Annotated[int, typer.Option(help="With --cluster: how often from nothing.", min=1)] = 3,
    rate: Annotated[float, typer.Option(help="With --cluster: requests a second of the load.", min=1)] = 1_000.0,
    workers: Annotated[int, typer.Option(help="With --cluster: connections that send them.", min=1)] = 10,
    brokers: BrokersOption = 1,
    pipe: Annotated[bool, typer.Option("--pipe/--no-pipe", help="With --cluster: the orders through one connection, at last.")] = True,
    data: Annotated[Path | None, typer.Option(help="A new directory, kept. Default: a temporary one, kept on failure.")] = None,
    report: Annotated[Path | None, typer.Option(help="Add what was seen to this file, as a dated Markdown table.")] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Run everything on fresh data, in real processes, and hold it to its promises. Exit code 0 only if all of them hold.

    1. Orders through one pipelined WebSocket connection, in file order: the settled trades are the expected ones, and what all hold
       together is what was deposited. The orders are made from the seed and the slow model of the core says what is expected;
       `--orders F --balances F --trades F` takes recorded ones, as `zerosum replay` does.
    2. Clients over HTTP, `kill -9` of the exchange, restart: every order that was acknowledged is there as it was acknowledged,
       every unknown one is wholly there or not at all.
    3. The same with `kill -9` of the follower, which no client notices.
    4. The audit of the data directory.

    With --cluster: servers and services from nothing, a mixed load over the signed WebSocket API, and then all is held against all: what
    was answered, what gateways show, what the database has, what a replay of every machine gives; logs, memory, health. Several times; at
    last the orders through one connection, into one shard.
    """
    if data is not None and data.exists():
        raise ConfigError(f"{data} exists: --data takes a new directory.")
    if cluster:
        cluster_plan = ClusterPlan(seconds or 30.0, rate, workers, seed, brokers=brokers)
        with bars(as_json) as progress:
            watch = Watch(progress)
            order_set = chosen_orders(orders, balances, trades, count, users, seed, watch) if pipe else None
            return end_to_end_of_cluster(cluster_plan, runs, order_set, data, report, as_json, watch)
    with bars(as_json) as progress:
        watch = Watch(progress)
        order_set = chosen_orders(orders, balances, trades, count, users, seed, watch)
        plan = EndToEndPlan(order_set, seed, traders, seconds or 6.0)
        folder = data or Path(tempfile.mkdtemp(prefix="zerosum-e2e-"))
        try:
            seen = EndToEndRun(DataDir(folder), plan, watch).run()
        except BaseException:
            progress.console.print(f"The data directory is kept, as it is: {folder}")
            raise
    if data is None:
        shutil.rmtree(folder)
    rows = rows_of(seen)
    if report is not None:
        add_report(report, rows, seed)
    if as_json:
        typer.echo(json.dumps({"holds": True, **asdict(seen), "audit": [verdict._asdict() for verdict in seen.audit]}))
    else:
        show(rows)


def end_to_end_of_cluster(
    plan: ClusterPlan, runs: int, orders: OrderSet | None, data: Path | None, report: Path | None, as_json: bool, watch: Watch
) -> None:  # fmt: skip
    folder = data or Path(tempfile.mkdtemp(prefix="zerosum-e2e-"))
    try:
        seen = run_cluster_end_to_end(folder, plan, runs, orders, watch)
    except BaseException:
        watch.note(f"What there is, is kept: {folder}")
        raise
    if report is not None:
        add_report(report, [(what, found if holds else f"FAILS: {found}") for holds, what, found in rows_of_cluster(seen)], plan.seed)
    if as_json:
        typer.echo(json.dumps(seen.as_json()))
    else:
        watch.close()
        show_cluster(seen)
    if not seen.holds:
        watch.note(f"Data and logs of what does not hold are kept: {folder}")
        raise typer.Exit(1)
    shutil.rmtree(folder)


def chosen_orders(
    orders: Path | None, balances: Path | None, trades: Path | None, count: int, users: int, seed: int, watch: Watch
) -> OrderSet:  # fmt: skip
    if orders is not None and balances is not None and trades is not None:
        return read_order_set(orders, balances, trades)
    if orders is not None or balances is not None or trades is not None:
        raise ConfigError("--orders, --balances and --trades belong together: give all three, or none to have orders made from the seed.")
    return generate(seed, count, users, lambda done: watch("making orders, and their trades by the model", done, count))


def bars(hidden: bool) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), disable=hidden)


@final
class Watch:
    """A bar for each thing that is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._what = ""
        self._task = TaskID(0)

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            if self._what:
                self._finish()
            self._what = what
            self._task = self._progress.add_task(what, total=total or None)
        if total:
            self._progress.update(self._task, completed=done, total=total)

    def note(self, line: str) -> None:
        self._progress.console.print(line)

    def close(self) -> None:
        """Before what is to be shown below the bars."""
        if self._what:
            self._finish()
        self._progress.stop()

    def _finish(self) -> None:
        task = self._progress.tasks[self._task]
        self._progress.update(self._task, total=task.total or 1, completed=task.total or 1)


def rows_of(seen: EndToEnd) -> list[tuple[str, str]]:
    piped, exchange, follower = seen.piped, seen.exchange_killed, seen.follower_killed
    return [
        ("orders through one connection", f"{piped.orders:,}: {piped.accepted:,} accepted, {piped.rejected:,} rejected"),
        ("trades settled, all as expected", f"{piped.trades:,}"),
        ("orders a second", f"{piped.orders_per_second:,}"),
        ("latency with 1,000 under way", latency(piped.latency_ms)),
        ("settlement behind at the end", f"{piped.unsettled_at_end:,} commands, {piped.settled_after_s:.2f} s"),
        ("memory after these", f"exchange {megabytes(piped.exchange_bytes)}, follower {megabytes(piped.follower_bytes)}"),
        ("HTTP requests until the exchange was killed", rate(exchange.traded.requests, exchange.killed_after_s)),
        ("  latency", latency(exchange.traded.latency_ms)),
        ("  taking orders again after", f"{exchange.again_after_s:.2f} s"),
        ("  answered, all as told", f"{exchange.checked.acknowledged:,} acknowledged, {exchange.checked.refused:,} refused"),
        ("  not answered", f"{exchange.checked.unknown:,}: {exchange.checked.unknown_there:,} orders wholly there, the others not at all"),
        ("HTTP requests while the follower was killed", rate(follower.traded.requests, follower.traded.seconds)),
        ("  latency", latency(follower.traded.latency_ms)),
        ("  all settled after the last", f"{follower.settled_after_s:.2f} s"),
        ("memory at the end", f"exchange {megabytes(seen.exchange_bytes)}, follower {megabytes(seen.follower_bytes)}"),
        *((f"audit: {verdict.check}", verdict.detail) for verdict in seen.audit),
        ("in all", f"{seen.seconds:.0f} s"),
    ]


def rate(requests: int, seconds: float) -> str:
    return f"{requests:,}, {requests / seconds:,.0f}/s"


def latency(latency_ms: dict[str, float]) -> str:
    return f"p50 {latency_ms['p50']:.1f} ms, p99 {latency_ms['p99']:.1f} ms, p99.9 {latency_ms['p99_9']:.1f} ms"


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def show(rows: list[tuple[str, str]]) -> None:
    table = Table("everything holds", "")
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)


def add_report(path: Path, rows: list[tuple[str, str]], seed: int) -> None:
    now = datetime.now(UTC)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [f"\n## {now:%Y-%m-%d %H:%M} UTC\n", f"{machine}; seed {seed}.\n", "| what | seen |", "|---|---|"]
    lines += [f"| {name.strip()} | {value} |" for name, value in rows]
    title = "" if path.exists() else "# End-to-end runs\n"
    with path.open("a") as out:
        out.write(title + "\n".join(lines) + "\n")
