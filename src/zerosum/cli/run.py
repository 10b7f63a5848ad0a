"""
`zerosum run`: one service of a cluster, until it is told to end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import typer

from zerosum.cli.cluster_settings import (
    front_settings,
    gateway_doors,
    operators_of,
    role_settings,
    signers_of,
    signing_key,
    snapshot_settings,
)
from zerosum.cli.master_key import follow_master_key
from zerosum.cli.options import ConfigOption, DataOption
from zerosum.cli.secure import add_tls_metrics
from zerosum.cli.service import Frame, run_service
from zerosum.cli.up import PortOption, withdrawal_settings
from zerosum.errors import ConfigError
from zerosum.identity.keyring import KeyRing
from zerosum.log.disk import OsDisk
from zerosum.ops.metrics import Metrics
from zerosum.ops.settings import Given
from zerosum.ops.settings_model import Settings
from zerosum.services.cluster.auditor import Auditor
from zerosum.services.cluster.copies import Copies, Copy, Kept
from zerosum.services.cluster.front import Front
from zerosum.services.cluster.gateway_service import ConsoleService, GatewayService
from zerosum.services.cluster.settlement import Settlement
from zerosum.services.cluster.signing import guarded
from zerosum.services.cluster.topology import Streams
from zerosum.services.cluster.wiring import Wiring
from zerosum.settlement.cql.session import Session
from zerosum.settlement.cql.store import CqlRowStore

AUDITOR_PATIENCE_S: Final = 0.25  # see KafkaSettings

cli = typer.Typer(no_args_is_help=True, help="Run one service of a cluster, until it is told to end.")

NumbersOption = Annotated[
    str | None, typer.Option("--partitions", help="Which it owns, such as 0,2-5. Default: all.", metavar="NUMBERS")
]  # fmt: skip
ReadyFileOption = Annotated[Path | None, typer.Option(help="There while it serves: its ports and process id, as JSON.")]
CopyOption = Annotated[
    int,
    typer.Option(
        "--copy", help="Its number among the copies of one role: of two that put out the same, the higher stands by.", min=0, max=65_535
    ),
]


@cli.command("ubscore")
def ubscore(
    partitions: NumbersOption = None,
    copy: CopyOption = 0,
    data: DataOption = None,
    config: ConfigOption = None,
    operations_port: PortOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """
    Run UBSCore: the shards that admit orders, hold every balance, and settle.

    A second copy of the same shards stands by, and goes on where the first is late: nothing has to be told to either.
    """

    async def start(frame: Frame) -> asyncio.Future[Any]:
        numbers, wired = numbers_of(partitions, frame.topology.shards, "partitions"), wiring(frame, "ubscore")
        return run_copies(frame, [partial(shard, frame, wired, number, copy) for number in numbers])

    run_service("ubscore", start, data, config, ports(operations=operations_port), ready_file)


@cli.command("matching")
def matching(
    partitions: NumbersOption = None,
    copy: CopyOption = 0,
    data: DataOption = None,
    config: ConfigOption = None,
    operations_port: PortOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """
    Run the matching engine: the partitions that keep the books.

    A second copy of the same partitions stands by, and goes on where the first is late: nothing has to be told to either.
    """

    async def start(frame: Frame) -> asyncio.Future[Any]:
        numbers, wired = numbers_of(partitions, frame.topology.partitions, "partitions"), wiring(frame, "matching")
        return run_copies(frame, [partial(engine, frame, wired, number, copy) for number in numbers])

    run_service("matching", start, data, config, ports(operations=operations_port), ready_file)


@cli.command("settlement")
def settlement(
    shards: Annotated[
        str | None, typer.Option(help="Whose account events it settles, such as 0,2-5. Default: all.", metavar="NUMBERS")
    ] = None,
    partitions: Annotated[
        str | None, typer.Option(help="Whose market events it settles; `none` for none. Default: all.", metavar="NUMBERS")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    operations_port: PortOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Run settlement: the durable, queryable record in the database. One copy for each stream of events."""

    async def start(frame: Frame) -> asyncio.Future[Any]:
        session, deployment = await frame.database()
        store, wired = CqlRowStore(session, deployment.epoch), wiring(frame)
        accounts = [
            partial(account_settlement, frame, wired, number, store) for number in numbers_of(shards, frame.topology.shards, "shards")
        ]
        markets = [
            partial(market_settlement, frame, wired, number, store)
            for number in numbers_of(partitions, frame.topology.partitions, "partitions")
        ]
        return run_copies(frame, [*accounts, *markets])

    def patience_s(settings: Settings) -> float:
        return settings.cluster.settle_gather_s

    run_service("settlement", start, data, config, ports(operations=operations_port), ready_file, patience_s=patience_s)


@cli.command("auditor")
def auditor(
    data: DataOption = None, config: ConfigOption = None, operations_port: PortOption = None, ready_file: ReadyFileOption = None
) -> None:  # fmt: skip
    """Run the auditor, which finds all the time that nothing is made or lost between the shards. It ends where something is."""

    async def start(frame: Frame) -> asyncio.Future[Any]:
        watch = Auditor(streams_of(frame, None), report=frame.warn)
        frame.metrics.read_counter("zerosum_audits_total", "How often all was found in order.", lambda: watch.checks)
        frame.metrics.read_counter("zerosum_foreign_records_total", "From nobody who may send them.", lambda: watch.foreign)
        frame.readiness.add("audited", lambda: None if watch.checks else f"it is catching up: {watch.behind:,} messages behind")
        frame.metrics.read_gauge(
            "zerosum_copy_behind_messages", "Messages of its input not taken.", lambda: watch.behind, {"copy": "auditor"}
        )
        return asyncio.create_task(watch.run())

    run_service(
        "auditor", start, data, config, ports(operations=operations_port), ready_file, patience_s=lambda settings: AUDITOR_PATIENCE_S
    )


@cli.command("gateway")
def gateway(
    data: DataOption = None,
    config: ConfigOption = None,
    rest_port: PortOption = None,
    websocket_port: PortOption = None,
    operations_port: PortOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Run a gateway: REST and the WebSocket API for clients."""

    async def start(frame: Frame) -> asyncio.Future[Any]:
        settings, sockets = frame.settings, frame.sockets
        session, front = await front_of(frame, "gateway")
        service = GatewayService(front, session, sockets["rest"], sockets["websocket"], gateway_doors(settings))
        await service.start()
        add_front(frame, front, front.identities.ring)
        frame.metrics.read_gauge("zerosum_rest_connections", "REST connections.", lambda: service.rest.connections)
        frame.metrics.read_gauge("zerosum_websocket_connections", "WebSocket connections.", lambda: service.websocket.connections)
        add_tls_metrics(frame.metrics, frame.tls, rest=service.rest, websocket=service.websocket)
        return front.stopped

    options = ports(rest=rest_port, websocket=websocket_port, operations=operations_port)
    run_service("gateway", start, data, config, options, ready_file, ("rest", "websocket", "operations"))


@cli.command("admin")
def admin(
    data: DataOption = None,
    config: ConfigOption = None,
    admin_port: PortOption = None,
    operations_port: PortOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Run the operators' console, on a listener that no client is to reach, and the socket of their commands. One or several."""

    async def start(frame: Frame) -> asyncio.Future[Any]:
        settings = frame.settings
        session, front = await front_of(frame, "admin")
        service = ConsoleService(
            front, session, frame.sockets["admin"], frozenset(settings.gateway.trusted_proxies), settings.data_directory,
            withdrawal_settings(settings),
        )  # fmt: skip
        await service.start()
        add_front(frame, front, front.identities.service_ring)
        add_tls_metrics(frame.metrics, frame.tls, admin=service.listener)
        return front.stopped

    options = ports(admin=admin_port, operations=operations_port)
    run_service("admin", start, data, config, options, ready_file, ("admin", "operations"))


async def front_of(frame: Frame, role: Literal["gateway", "admin"]) -> tuple[Session, Front]:
    """Stopped with the service."""
    session, deployment = await frame.database()
    key = signing_key(frame.settings, role)
    front = Front(front_settings(frame.settings), frame.link, session, deployment, frame.say, frame.tls, key)
    frame.running.push_async_callback(front.stop)
    frame.also_renewed.append(front.renew)
    frame.running.callback(frame.also_renewed.clear)  # before it stops
    return session, front


# ------------------------------------------------------------------ copies


def shard(frame: Frame, wired: Wiring, number: int, copy: int) -> Copy:
    return wired.shard(number, role_settings(frame.settings, f"ubscore.{number}", copy), OsDisk())


def engine(frame: Frame, wired: Wiring, number: int, copy: int) -> Copy:
    return wired.partition(number, role_settings(frame.settings, f"matching.{number}", copy), OsDisk())


def account_settlement(frame: Frame, wired: Wiring, number: int, store: CqlRowStore) -> Copy:
    snapshots = snapshot_settings(frame.settings, f"settlement.account.{number}")
    return wired.account_settlement(number, store, snapshots, OsDisk(), frame.settings.cluster.settle_gather_s)


def market_settlement(frame: Frame, wired: Wiring, number: int, store: CqlRowStore) -> Copy:
    snapshots = snapshot_settings(frame.settings, f"settlement.market.{number}")
    return wired.market_settlement(number, store, snapshots, OsDisk(), frame.settings.cluster.settle_gather_s)


def wiring(frame: Frame, role: str | None = None) -> Wiring:
    """`role`: one that signs what it sends."""
    return Wiring(frame.topology, streams_of(frame, role), frame.warn, operators=operators_of(frame.settings))


def streams_of(frame: Frame, role: str | None) -> Streams:
    key = signing_key(frame.settings, role) if role is not None else None
    return guarded(Streams(frame.topology, frame.link.stream), key, signers_of(frame.settings), frame.warn)


def run_copies(frame: Frame, makes: list[Callable[[], Copy]]) -> asyncio.Future[Any]:
    copies = Copies(frame.link.probe, makes, frame.warn)
    frame.readiness.add("copies", copies.fault)
    for kept in copies.kept:
        add_copy_metrics(frame.metrics, kept)
    running = asyncio.create_task(copies.run())

    async def end() -> None:
        running.cancel()
        await asyncio.wait([running])

    frame.running.push_async_callback(end)
    return running


def add_copy_metrics(metrics: Metrics, kept: Kept) -> None:
    labels = {"copy": kept.copy.name}
    metrics.read_gauge("zerosum_copy_behind_messages", "Messages of its input not taken.", lambda: kept.behind, labels)
    metrics.read_gauge("zerosum_copy_emits", "Whether it puts out what it makes, or stands by.", lambda: int(kept.copy.emits), labels)
    metrics.read_counter("zerosum_copy_restarts_total", "How often it was started again.", lambda: kept.restarts, labels)
    metrics.read_counter("zerosum_copy_messages_total", "Messages of its input taken.", lambda: kept.copy.next_offset, labels)
    if isinstance(kept.copy, Settlement):
        metrics.read_counter("zerosum_settled_trades_total", "Trades written by it.", lambda: cast("Settlement", kept.copy).trades, labels)
        metrics.read_counter(
            "zerosum_database_failures_total", "Reads and writes not done.", lambda: cast("Settlement", kept.copy).failures, labels
        )


def add_front(frame: Frame, front: Front, ring: KeyRing) -> None:
    """Checks and metrics of a gateway and of the console, and the file of the master key. `ring`: of those who come through its doors."""
    following = asyncio.create_task(follow_master_key(frame.settings, front.identities))
    frame.running.callback(following.cancel)
    frame.readiness.add("keys", ring.unreadable)
    frame.readiness.add("clock", front.clock_fault)
    frame.readiness.add("machines", front.entry.all_stalled)
    metrics = frame.metrics
    metrics.read_gauge("zerosum_commands_under_way", "Commands submitted and not answered.", lambda: front.entry.under_way)
    for stall in front.entry.stalls:
        metrics.read_gauge(
            "zerosum_machine_stalled_seconds", "Since a machine takes nothing of what it is sent.", partial(getattr, stall, "seconds"),
            {"input": stall.name},
        )  # fmt: skip
    metrics.read_counter("zerosum_commands_lost_total", "Commands whose fate was not told.", lambda: front.entry.lost)
    metrics.read_gauge("zerosum_clock_ahead_seconds", "This clock less the broker's.", lambda: front.link.clock_ahead_us / 1e6)


# ------------------------------------------------------------------ options


def ports(**given: int | None) -> dict[str, Given]:
    return {f"{name}.port": Given(port, f"--{name}-port") for name, port in given.items() if port is not None}


def numbers_of(text: str | None, count: int, what: str) -> list[int]:
    """`0,2-5` as numbers below `count`; all of them for None. ConfigError."""
    if text is None:
        return list(range(count))
    if text == "none":
        return []
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip())
        if match is None:
            raise ConfigError(f"--{what} {text}: write numbers, and ranges of them, such as 0,2-5.")
        first = int(match[1])
        found |= set(range(first, int(match[2] or first) + 1))
    if not found or max(found) >= count:
        raise ConfigError(f"--{what} {text}: the deployment has {count}, which are numbered 0 to {count - 1}.")
    return sorted(found)
