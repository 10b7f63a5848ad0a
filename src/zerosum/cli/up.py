"""
`zerosum up`: the embedded exchange in the foreground, with a small demo market if asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop
from rich.console import Console

from zerosum.cli.demo import DemoMarket
from zerosum.cli.door import DEFAULT_DATA
from zerosum.errors import ZerosumError
from zerosum.gateway.keys import create_master_key, load_master_key
from zerosum.gateway.limits import Allowance
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.gateway.transport.listener import listen
from zerosum.ops import logging
from zerosum.ops.descriptors import ensure_descriptors
from zerosum.ops.health import LoopDelay, Readiness
from zerosum.ops.metrics import Metrics
from zerosum.ops.operations import OperationsServer
from zerosum.ops.settings import load
from zerosum.ops.settings_model import Settings
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded, EmbeddedSettings
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.shard import Limits, Shard

MASTER_KEY_NAME = "master.key"
SETTINGS_NAME = "zerosum.toml"
STOP_S = 90.0

log = structlog.get_logger("exchange")

PortOption = Annotated[int | None, typer.Option(help="Overrides the settings; 0 takes any free port.", min=0, max=65_535)]


class Stopped(ZerosumError):
    """The exchange can't go on, and why."""


def up_command(
    data: Annotated[Path | None, typer.Option("--data", help="The data directory.", envvar="ZEROSUM_DATA")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings in TOML. Default: zerosum.toml in the data directory.")] = None,
    demo: Annotated[bool | None, typer.Option("--demo/--no-demo", help="List three symbols and let bots trade them.")] = None,
    rest_port: PortOption = None,
    websocket_port: PortOption = None,
    operations_port: PortOption = None,
    ready_file: Annotated[Path | None, typer.Option(help="Written once the exchange serves: its ports and process ids, as JSON.")] = None,
) -> None:
    """
    Run the exchange until Ctrl-C: gateway, core and durable log in one process, its follower in another.

    The next start goes on where this one ended. The first start makes the data directory and its master key.
    Settings: docs/reference/configuration.md.
    """
    settings = load_settings(data, config, {"rest": rest_port, "websocket": websocket_port, "operations": operations_port}, demo)
    logging.configure(level=settings.logging.level, format=settings.logging.format, lines_max=settings.logging.lines_max)
    ensure_descriptors(settings)
    settings.data_directory.mkdir(parents=True, exist_ok=True)
    uvloop.run(run(settings, ready_file))


def load_settings(data: Path | None, config: Path | None, ports: dict[str, int | None], demo: bool | None) -> Settings:
    """From the file, the environment and the command line, the last of which goes first."""
    if config is None:
        default = (data or DEFAULT_DATA) / SETTINGS_NAME
        config = default if default.exists() else None
    environment = {name: value for name, value in os.environ.items() if name != "ZEROSUM_DATA"}
    settings = load(config, environment)
    if data is not None or "data_directory" not in settings.model_fields_set:
        settings = settings.model_copy(update={"data_directory": data or DEFAULT_DATA})
    if demo is not None:
        settings = settings.model_copy(update={"demo": settings.demo.model_copy(update={"enabled": demo})})
    for section, port in ports.items():
        if port is not None:
            settings = settings.model_copy(update={section: getattr(settings, section).model_copy(update={"port": port})})
    return settings


def embedded_settings(settings: Settings) -> EmbeddedSettings:
    data = DataDir(settings.data_directory)
    archive = settings.archive.directory or data.archive
    return EmbeddedSettings(
        data=data,
        master_key=master_key_of(settings),
        segment_bytes=settings.log.segment_bytes,
        limits=Limits(settings.log.group_bytes_max, settings.log.pending_max, settings.follower.unsettled_max),
        snapshots=SnapshotPolicy(settings.snapshots.every_records, settings.snapshots.keep),
        prunes=settings.archive.policy != "keep",
        archive=archive if settings.archive.policy == "archive" else None,
        rest=RestBounds.of(settings.rest),
        websocket=WebSocketBounds.of(settings.websocket),
        allowance=Allowance(
            settings.allowance.weight_per_minute, settings.allowance.orders_per_10_seconds, settings.allowance.orders_per_day
        ),
        trusted_proxies=frozenset(settings.gateway.trusted_proxies),
    )


def master_key_of(settings: Settings) -> bytes:
    """From the settings or its file, which the first start makes."""
    if settings.master_key is not None:
        return bytes.fromhex(settings.master_key.get_secret_value())
    file = settings.master_key_file or settings.data_directory / MASTER_KEY_NAME
    if settings.master_key_file is None and not file.exists():
        create_master_key(file)
    return load_master_key(file)


async def run(settings: Settings, ready_file: Path | None) -> None:
    console = Console(stderr=True, highlight=False)
    sections = {"rest": settings.rest, "websocket": settings.websocket, "operations": settings.operations}
    sockets = {name: listen(section.host, section.port, setting=name) for name, section in sections.items()}
    embedded = Embedded(
        embedded_settings(settings), sockets["rest"], sockets["websocket"], report=lambda line: log.info("start", detail=line)
    )
    await embedded.start()
    metrics = metrics_of(embedded)
    delay = LoopDelay(metrics.histogram("zerosum_loop_delay_seconds", "How late the event loop is.", LOOP_BUCKETS_US, unit=1e-6).observe)
    operations = OperationsServer(sockets["operations"], readiness_of(embedded.shard), metrics)
    await operations.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ports = {name: sock.getsockname()[1] for name, sock in sockets.items()}
    show_addresses(console, settings, ports)
    market = None
    if settings.demo.enabled:
        market = DemoMarket(embedded, settings.rest.host, ports["rest"], ports["websocket"], console)
        await market.start()
    if ready_file is not None:
        ready = {**ports, "pid": os.getpid(), "follower_pid": embedded.follower.pid}
        draft = ready_file.with_name(ready_file.name + ".tmp")
        draft.write_text(json.dumps(ready))
        draft.rename(ready_file)

    failed = asyncio.create_task(embedded.failed())
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([failed, waiting], return_when=asyncio.FIRST_COMPLETED)
    console.print("stopping ...")
    if market is not None:
        await market.stop()
    delay.stop()
    await operations.stop()
    async with asyncio.timeout(STOP_S):
        await embedded.stop()
    if failed.done():
        raise Stopped(f"The exchange stopped by itself: {failed.result()!r}") from failed.result()
    failed.cancel()
    console.print("stopped cleanly")


def show_addresses(console: Console, settings: Settings, ports: dict[str, int]) -> None:
    console.print("[bold green]zerosum is up[/]. Ctrl-C ends it; the next start goes on from there.")
    console.print(f"  REST                 http://{settings.rest.host}:{ports['rest']}/api/v3")
    console.print(f"  WebSocket API        ws://{settings.websocket.host}:{ports['websocket']}/ws-api/v3")
    console.print(f"  health, metrics      http://{settings.operations.host}:{ports['operations']}/readyz, /metrics")


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
