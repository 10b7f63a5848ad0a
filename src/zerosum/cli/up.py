"""
`zerosum up`: the embedded exchange in the foreground, with a small demo market if asked for.

    certificate --> listen --> operations --> embedded exchange --> demo market --> ready file ... Ctrl-C: the same backwards

Always true: nothing is made before every port is had, and whatever was started is stopped, however this comes to its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
import typer
import uvloop

from zerosum.cli.demo import DemoMarket
from zerosum.cli.directory import make_directory, master_key, settings_to_start
from zerosum.cli.door import is_listening
from zerosum.cli.master_key import follow_master_key
from zerosum.cli.measures import LOOP_BUCKETS_US, add_checks, add_metrics
from zerosum.cli.options import ConfigOption, DataOption
from zerosum.cli.secure import add_tls_metrics, server_tls
from zerosum.cli.terminal import tell
from zerosum.console.doors import WithdrawalSettings
from zerosum.errors import ConfigError, ZerosumError
from zerosum.gateway.limits import Allowance
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.identity.withdrawals import rule_text
from zerosum.log.segments import held_still
from zerosum.net.listener import ListenFailed, bind
from zerosum.ops import logging
from zerosum.ops.descriptors import ensure_descriptors
from zerosum.ops.hardening import harden
from zerosum.ops.health import LoopDelay, Readiness
from zerosum.ops.metrics import Metrics
from zerosum.ops.operations import OperationsServer
from zerosum.ops.settings import Given, Resolved
from zerosum.ops.settings_model import Settings
from zerosum.services import admin
from zerosum.services.collector import keep_collections_short
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded, EmbeddedSettings, Listeners
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.shard import Limits

STOP_S: Final = 90.0
LISTENERS: Final = ("rest", "websocket", "operations", "admin")

log = structlog.get_logger("exchange")

PortOption = Annotated[int | None, typer.Option(help="Overrides the settings; 0 takes any free port.", min=0, max=65_535)]


class Stopped(ZerosumError):
    """The exchange can't go on, and why."""


def up_command(
    data: DataOption = None,
    config: ConfigOption = None,
    demo: Annotated[bool | None, typer.Option("--demo/--no-demo", help="List three symbols and let bots trade them.")] = None,
    rest_port: PortOption = None,
    websocket_port: PortOption = None,
    operations_port: PortOption = None,
    admin_port: PortOption = None,
    ready_file: Annotated[Path | None, typer.Option(help="There while the exchange serves: its ports and process ids, as JSON.")] = None,
) -> None:
    """
    Run the exchange until Ctrl-C: gateway, core and durable log in one process, its follower in another.

    The next start goes on where this one ended. The first start makes the data directory and its master key, and a demo market in it; in a
    directory with a market of its own there is no demo. Settings: docs/reference/configuration.md.
    """
    ports = {"rest.port": rest_port, "websocket.port": websocket_port, "operations.port": operations_port, "admin.port": admin_port}
    options = {name: Given(port, f"--{name.replace('.', '-')}") for name, port in ports.items() if port is not None}
    if demo is not None:
        options["demo.enabled"] = Given(demo, "--demo" if demo else "--no-demo")
    start = settings_to_start(data, config, options, "up")
    settings = start.settings
    if ready_file is not None:
        check_ready_file(ready_file)
    harden(settings.profile)
    logging.configure(level=settings.logging.level, format=settings.logging.format, lines_max=settings.logging.lines_max)
    warn_of(start)
    ensure_descriptors(settings)
    uvloop.run(run(settings, ready_file))


def warn_of(start: Resolved) -> None:
    """What somebody has set that is not safe: profile prod would have refused it."""
    for risk in start.risks:
        if risk.is_told_at_start:
            log.warning("attention", detail=" ".join(risk.warning.split()))


def withdrawal_settings(settings: Settings) -> WithdrawalSettings:
    withdrawals = settings.withdrawals
    return WithdrawalSettings(tuple(map(rule_text, withdrawals.rules)), withdrawals.cool_down_s, withdrawals.second_factor)


def check_ready_file(path: Path) -> None:
    """ConfigError where it could not be written."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"--ready-file {path} can't be written: it must be a file in a folder that is there and writable.")


def embedded_settings(settings: Settings) -> EmbeddedSettings:
    data = DataDir(settings.data_directory)
    archive = settings.archive.directory or data.archive
    return EmbeddedSettings(
        data=data,
        master_key=master_key(settings, makes=True),
        segment_bytes=settings.log.segment_bytes,
        limits=Limits(settings.log.group_bytes_max, settings.log.pending_max, settings.follower.unsettled_max),
        snapshots=SnapshotPolicy(settings.snapshots.every_records, settings.snapshots.keep),
        prunes=settings.archive.policy != "keep",
        archive=archive if settings.archive.policy == "archive" else None,
        rest=RestBounds.of(settings.rest),
        websocket=WebSocketBounds.of(settings.websocket),
        allowance=Allowance(**settings.allowance.model_dump()),
        trusted_proxies=frozenset(settings.gateway.trusted_proxies),
        withdrawals=withdrawal_settings(settings),
    )


async def run(settings: Settings, ready_file: Path | None) -> None:
    if is_listening(settings.data_directory / admin.NAME):
        with held_still(DataDir(settings.data_directory).log):  # LogInUse: it says who runs there, before a port is blamed
            pass
    tls = server_tls(settings)
    async with AsyncExitStack() as running:
        sockets = {name: running.enter_context(closing(listener(settings, name))) for name in LISTENERS}
        make_directory(settings.data_directory)
        embedded = Embedded(
            embedded_settings(settings), Listeners(sockets["rest"], sockets["websocket"], sockets["admin"]), tls=tls,
            report=lambda line: log.info("start", detail=line), warn=lambda line: log.warning("attention", detail=line),
        )  # fmt: skip
        metrics, readiness = Metrics(), Readiness()
        serves = False
        readiness.add("serves", lambda: None if serves else "it is starting, or stopping")
        operations = OperationsServer(sockets["operations"], readiness, metrics)
        await operations.start()
        running.push_async_callback(operations.stop)
        delay = LoopDelay(
            metrics.histogram("zerosum_loop_delay_seconds", "How late the event loop is.", LOOP_BUCKETS_US, unit=1e-6).observe
        )
        running.callback(delay.stop)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves, nothing can be lost: Ctrl-C ends even a long replay at once
        await embedded.start()
        keep_collections_short()
        running.push_async_callback(stop_in_time, embedded)
        add_checks(readiness, embedded)
        add_metrics(metrics, embedded)
        following = asyncio.create_task(follow_master_key(settings, embedded.identities))
        running.callback(following.cancel)
        add_tls_metrics(metrics, tls, rest=embedded.rest, websocket=embedded.websocket, admin=embedded.console)
        stop = asked_to_stop()
        ports = {name: sock.getsockname()[1] for name, sock in sockets.items()}
        rest, websocket = urls(settings, ports)
        show_addresses(settings, ports)
        if settings.demo.enabled:
            market = DemoMarket(embedded, rest, websocket, settings.tls.certificate_file)
            running.push_async_callback(market.stop)
            await market.start()
        if ready_file is not None:
            running.callback(ready_file.unlink, missing_ok=True)
            write_ready_file(ready_file, {**ports, "pid": os.getpid(), "follower_pid": embedded.follower.pid})
        serves = True
        failed = asyncio.create_task(embedded.failed())
        running.callback(failed.cancel)
        ends: list[asyncio.Future[Any]] = [failed, stop]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        serves = False
        if failed.done():
            raise Stopped(f"The exchange stopped by itself: {failed.result()!r}") from failed.result()
        log.info("stopping", signal=stop.result())
        tell("stopping ...")
    if embedded.follower.fault.done():  # its last comparison, with what the seal says
        raise Stopped(f"The exchange has stopped, and its follower says: {embedded.follower.fault.result()!r}")
    log.info("stopped")
    tell("stopped cleanly")


def listener(settings: Settings, name: str) -> socket.socket:
    section = getattr(settings, name)
    try:
        return bind(section.host, section.port, setting=name)
    except ListenFailed as error:
        raise ListenFailed(
            f"{error}\n  If another exchange runs there, give this one ports of its own:"
            f" {', '.join(f'--{each}-port' for each in LISTENERS)}; 0 takes any that is free."
        ) from error


def asked_to_stop() -> asyncio.Future[str]:
    """By Ctrl-C, SIGTERM, or the end of the terminal (but for `nohup`, which has that ignored): the signal's name."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[str] = loop.create_future()

    def ask(name: str) -> None:
        if not asked.done():
            asked.set_result(name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, ask, number.name)
    return asked


async def stop_in_time(embedded: Embedded) -> None:
    try:
        async with asyncio.timeout(STOP_S):
            await embedded.stop()
    except TimeoutError as error:
        raise Stopped(f"The exchange did not stop within {STOP_S:g} s. Nothing is lost: the next start mends the log.") from error
    if embedded.shard.unsettled:
        log.warning("unsettled", commands=embedded.shard.unsettled)
        tell(f"the last {embedded.shard.unsettled:,} commands are in the log and not settled yet: the next start settles them")


def write_ready_file(path: Path, ready: dict[str, int]) -> None:
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(json.dumps(ready))
    draft.rename(path)


def urls(settings: Settings, ports: dict[str, int]) -> tuple[str, str]:
    """Of REST and of WebSockets."""
    secure = "s" if settings.tls.certificate_file is not None else ""
    rest, websocket = address(settings.rest.host, ports["rest"]), address(settings.websocket.host, ports["websocket"])
    return f"http{secure}://{rest}", f"ws{secure}://{websocket}"


def show_addresses(settings: Settings, ports: dict[str, int]) -> None:
    rest, websocket = urls(settings, ports)
    tell(
        "zerosum is up. Ctrl-C ends it; the next start goes on from there.\n"
        f"  data directory       {settings.data_directory}\n"
        f"  REST                 {rest}/api/v3\n"
        f"  WebSocket API        {websocket}/ws-api/v3\n"
        f"  health, metrics      http://{address(settings.operations.host, ports['operations'])}/readyz, /metrics\n"
        f"  operators            {rest.partition(':')[0]}://{address(settings.admin.host, ports['admin'])}/admin/v1"
    )


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
