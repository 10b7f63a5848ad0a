"""
`zerosum up`: the embedded exchange in the foreground, with a small demo market if asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from zerosum.cli.door import DEFAULT_DATA, DataOption
from zerosum.errors import ZerosumError
from zerosum.gateway.keys import MASTER_KEY_VARIABLE, create_master_key, load_master_key
from zerosum.gateway.transport.listener import listen
from zerosum.ops.health import LoopDelay, Readiness
from zerosum.ops.metrics import Metrics
from zerosum.ops.operations import OperationsServer
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded, EmbeddedSettings
from zerosum.services.shard import Shard

MASTER_KEY_NAME = "master.key"


class Stopped(ZerosumError):
    """The exchange can't go on, and why."""


def up_command(
    data: DataOption = DEFAULT_DATA,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="List three symbols and let bots trade them.")] = True,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(help="REST.")] = 8700,
    websocket_port: Annotated[int, typer.Option(help="WebSocket API.")] = 8701,
    operations_port: Annotated[int, typer.Option(help="Health and metrics.")] = 8702,
) -> None:
    """
    Run the exchange until Ctrl-C: gateway, core and durable log in one process, its follower in another.

    The next start goes on where this one ended. The first start makes the data directory and its master key.
    """
    data.mkdir(parents=True, exist_ok=True)
    master_key_file = data / MASTER_KEY_NAME
    if MASTER_KEY_VARIABLE not in os.environ and not master_key_file.exists():
        create_master_key(master_key_file)
    settings = EmbeddedSettings(data=DataDir(data), master_key=load_master_key(master_key_file))
    uvloop.run(run(settings, host, (rest_port, websocket_port, operations_port), demo))


async def run(settings: EmbeddedSettings, host: str, ports: tuple[int, int, int], demo: bool) -> None:
    console = Console(stderr=True, highlight=False)
    rest, websocket, operations = (
        listen(host, port, setting=setting) for port, setting in zip(ports, ("rest", "websocket", "operations"), strict=True)
    )
    embedded = Embedded(settings, rest, websocket, report=lambda line: console.print(f"[dim]{line}[/]"))
    await embedded.start()
    readiness, metrics = readiness_of(embedded.shard), metrics_of(embedded)
    delay = LoopDelay(metrics.histogram("zerosum_loop_delay_seconds", "How late the event loop is.", LOOP_BUCKETS_US, unit=1e-6).observe)
    health = OperationsServer(operations, readiness, metrics)
    await health.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    urls = {"REST": rest, "WebSocket API": websocket, "health and metrics": operations}
    console.print("[bold green]zerosum is up[/]. Ctrl-C ends it; the next start goes on from there.")
    for name, sock in urls.items():
        scheme, path = ("ws", "/ws-api/v3") if sock is websocket else ("http", "/api/v3" if sock is rest else "")
        console.print(f"  {name:20} {scheme}://{host}:{sock.getsockname()[1]}{path}")
    failed = asyncio.create_task(embedded.failed())
    waiting = asyncio.create_task(stop.wait())
    market = None
    if demo:
        from zerosum.cli.demo import DemoMarket

        market = DemoMarket(embedded, host, rest.getsockname()[1], websocket.getsockname()[1], console)
        await market.start()
    await asyncio.wait([failed, waiting], return_when=asyncio.FIRST_COMPLETED)
    console.print("stopping ...")
    if market is not None:
        await market.stop()
    delay.stop()
    await health.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(90):
            await embedded.stop()
    if failed.done():
        raise Stopped(f"The exchange stopped by itself: {failed.result()!r}") from failed.result()
    failed.cancel()
    console.print("stopped cleanly")


LOOP_BUCKETS_US = (100, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000)


def readiness_of(shard: Shard) -> Readiness:
    readiness = Readiness()
    readiness.add("disk", lambda: "the disk is full: no order is taken" if shard.disk_is_full else None)
    readiness.add("exchange", lambda: f"stopped: {shard.stopped.result()!r}" if shard.stopped.done() else None)
    readiness.add("settlement", lambda: f"{shard.unsettled} commands behind" if shard.is_behind else None)
    return readiness


def metrics_of(embedded: Embedded) -> Metrics:
    metrics, shard = Metrics(), embedded.shard
    metrics.read_counter("zerosum_commands_applied_total", "Commands applied.", lambda: shard.machine.sequence)
    metrics.read_counter("zerosum_groups_total", "Groups made durable with one sync each.", lambda: shard.groups)
    metrics.read_gauge("zerosum_commands_under_way", "Commands submitted and not yet applied.", lambda: shard.under_way)
    metrics.read_gauge("zerosum_settlement_lag_commands", "Commands applied and not yet settled.", lambda: shard.unsettled)
    metrics.read_counter("zerosum_follower_restarts_total", "How often the follower was started again.", lambda: embedded.follower.restarts)
    metrics.read_gauge("zerosum_open_orders", "Open orders.", lambda: int(shard.machine.exchange.matching.orders.live))
    metrics.read_gauge("zerosum_rest_connections", "REST connections.", lambda: embedded.rest.connections)
    metrics.read_gauge("zerosum_websocket_connections", "WebSocket connections.", lambda: embedded.websocket.connections)
    metrics.read_gauge("zerosum_resident_bytes", "Memory in use.", resident_bytes)
    return metrics


def resident_bytes() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
