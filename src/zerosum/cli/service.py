"""
What every service of a cluster has around it: its settings checked, its operators' listener, its connection to Kafka, its end.

    settings --> listener for health, metrics --> Kafka, its topics --start(frame)--> the service --> ready --> SIGTERM, or a failure

    a password or certificates written anew, in a file that a setting names --> used from now on, without a stop
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import structlog
import uvloop
from confluent_kafka import KafkaException

from zerosum.cli.cluster_settings import cql_settings, kafka_settings, replication_of, topology_of
from zerosum.cli.directory import make_directory, settings_to_start
from zerosum.cli.measures import LOOP_BUCKETS_US, resident_bytes
from zerosum.cli.secure import server_tls
from zerosum.cli.terminal import tell
from zerosum.cli.up import Stopped, asked_to_stop, check_ready_file, listener, warn_of, write_ready_file
from zerosum.errors import ZerosumError
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.kafka.settings import KafkaSettings
from zerosum.log.kafka.topics import Topics
from zerosum.net.tls import ServerTls
from zerosum.net.watched import watch
from zerosum.ops import logging
from zerosum.ops.descriptors import ensure_descriptors
from zerosum.ops.hardening import harden
from zerosum.ops.health import LoopDelay, Readiness
from zerosum.ops.logging import LogWriter
from zerosum.ops.metrics import Metrics
from zerosum.ops.operations import OperationsServer
from zerosum.ops.roles import Role
from zerosum.ops.settings import Given
from zerosum.ops.settings_model import Settings
from zerosum.services.cluster.joining import Deployment, database_of, take_directory, topics_of
from zerosum.services.collector import keep_collections_short
from zerosum.settlement.cql.session import CqlSettings, Session

SILENT_MAX_S: Final = 5.0  # without a word from any broker, or an acknowledgement
HEARTBEAT_S: Final = 1.0
READY_POLL_S: Final = 0.05
RENEW_S: Final = 0.5
RENEW_S_MAX: Final = 10.0

log = structlog.get_logger("service")


@final
class Frame:
    """`running`: how to stop what was started, last first. `topics`: their ids. `patience_s`: see KafkaSettings."""

    def __init__(
        self, settings: Settings, sockets: dict[str, socket.socket], running: AsyncExitStack, patience_s: float, tls: ServerTls | None
    ) -> None:  # fmt: skip
        self.settings = settings
        self.tls = tls
        self.patience_s = patience_s
        self.sockets = sockets
        self.running = running
        self.topology = topology_of(settings)
        self.metrics = Metrics()
        self.readiness = Readiness()
        self.topics: dict[str, str] = {}
        self.also_renewed: list[Callable[[CqlSettings], Awaitable[None]]] = []  # connections to the database beside the service's own
        self._renewals: dict[str, int] = {}  # by section
        self.link: KafkaLink

    def say(self, line: str) -> None:
        log.info("start", detail=line)

    def warn(self, line: str) -> None:
        log.warning("attention", detail=line)

    async def join(self) -> None:
        """NotThere, TopicsWrong, OtherDeployment, DirectoryTaken."""
        kafka, settings = self.settings.kafka, self._kafka_settings()
        if kafka.user is None:
            self.warn("kafka.user is not set: whoever reaches the brokers can trade and deposit as anybody")
        if kafka.ca_file is None:
            self.warn("kafka.ca_file is not set: whoever is on the network between here and the brokers can read and change what is said")
        self.topics = await topics_of(settings, self.topology, replication_of(self.settings), self.settings.cluster.wait_s, self.say)
        make_directory(self.settings.data_directory)
        self.running.callback(take_directory(self.settings.data_directory, self.topics).release)
        self.link = KafkaLink(settings, self.warn)
        self.running.push_async_callback(self.link.close)
        self._follow("kafka", (kafka.password_file, kafka.ca_file), self._renew_kafka)
        heartbeat = asyncio.create_task(self._hear_of_kafka())
        self.running.callback(heartbeat.cancel)
        self.readiness.add("kafka", self._kafka_fault)
        self.metrics.read_gauge(
            "zerosum_kafka_unacknowledged_seconds", "Since nothing that was sent is acknowledged.", lambda: self.link.unacknowledged_s
        )
        self.metrics.read_counter("zerosum_kafka_failures_total", "Messages not delivered.", lambda: self.link.failures)
        self.metrics.read_gauge("zerosum_kafka_silent_seconds", "Since a broker was last heard of.", lambda: self.link.silent_s)

    async def database(self) -> tuple[Session, Deployment]:
        """Closed with the service. NotThere, DatabaseRefused, CqlSchemaWrong, OtherDeployment."""
        database = self.settings.database
        if database.user is None:
            self.warn("database.user is not set: whoever reaches the database can change the record, and make API keys")
        if database.ca_file is None:
            self.warn(
                "database.ca_file is not set: whoever is on the network between here and the database can read and change what is said"
            )
        wait_s = self.settings.cluster.wait_s
        session, deployment = await database_of(cql_settings(self.settings), self.topology, self.topics, wait_s, self.say)
        self.running.push_async_callback(session.close)

        async def renew() -> None:
            settings = cql_settings(self.settings)
            for each in (session.renew, *self.also_renewed):
                await each(settings)

        self._follow("database", (database.password_file, database.ca_file), renew)
        return session, deployment

    def _kafka_settings(self) -> KafkaSettings:
        return replace(kafka_settings(self.settings), patience_s=self.patience_s)

    async def _renew_kafka(self) -> None:
        """ConfigError, KafkaException, KafkaRefused."""
        settings = self._kafka_settings()
        if settings.ca != self.link.settings.ca:  # nothing goes on with certificates that the brokers do not have
            await Topics(settings, {}, replication_of(self.settings)).answers()
        await self.link.renew(settings)

    def _follow(self, section: str, files: Iterable[Path | None], renew: Callable[[], Awaitable[None]]) -> None:
        named = [file for file in files if file is not None]
        self._renewals[section] = 0
        self.metrics.read_counter(
            "zerosum_renewals_total",
            "Changed passwords and certificates gone on with.",
            lambda: self._renewals[section],
            {"section": section},
        )
        if named:
            task = asyncio.create_task(watch(named, partial(self._until_renewed, section, renew)))
            self.running.callback(task.cancel)

    async def _until_renewed(self, section: str, renew: Callable[[], Awaitable[None]]) -> None:
        """A file may be there before the server knows what is in it, or another one of it: so it is tried again."""
        wait_s = RENEW_S
        while True:
            try:
                await renew()
            except (ZerosumError, KafkaException) as error:
                self.warn(
                    f"a file that [{section}] names has changed, and can't be gone on with: {error} It is tried again; until then"
                    " what was there before counts."
                )
            else:
                self._renewals[section] += 1
                log.info("renewed", section=section)
                return
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RENEW_S_MAX)

    async def _hear_of_kafka(self) -> None:
        """Also while nothing is said in any stream."""
        control = self.link.stream("control")
        while True:
            await control.ends()
            await asyncio.sleep(HEARTBEAT_S)

    def _kafka_fault(self) -> str | None:
        if self.link.silent_s > SILENT_MAX_S:
            return f"no broker has answered for {self.link.silent_s:.0f} s"
        if self.link.unacknowledged_s > SILENT_MAX_S:
            return f"nothing that was sent has been acknowledged for {self.link.unacknowledged_s:.0f} s"
        return None


Start = Callable[[Frame], Awaitable["asyncio.Future[Any]"]]
"""Starts the service, and returns what is done when it can't go on: with why."""


def run_service(
    name: Role, start: Start, data: Path | None, config: Path | None, options: dict[str, Given], ready_file: Path | None,
    listeners: Sequence[str] = ("operations",), patience_s: Callable[[Settings], float] = lambda settings: 0.0,
) -> None:  # fmt: skip
    """Until SIGTERM, Ctrl-C or the terminal's end. ZerosumError."""
    begun = settings_to_start(data, config, options, name)
    settings = begun.settings
    if ready_file is not None:
        check_ready_file(ready_file)
    harden(settings.profile)
    logs = logging.configure(level=settings.logging.level, format=settings.logging.format, lines_max=settings.logging.lines_max)
    warn_of(begun)
    ensure_descriptors(settings)
    uvloop.run(_run(name, start, settings, listeners, patience_s(settings), logs, ready_file))


async def _run(
    name: str, start: Start, settings: Settings, listeners: Sequence[str], patience_s: float, logs: LogWriter, ready_file: Path | None
) -> None:  # fmt: skip
    tls = server_tls(settings) if {"rest", "admin"} & {*listeners} else None
    async with AsyncExitStack() as running:
        sockets = {each: running.enter_context(closing(listener(settings, each))) for each in listeners}
        frame = Frame(settings, sockets, running, patience_s, tls)
        is_up = False
        frame.readiness.add("serves", lambda: None if is_up else "it is starting, or stopping")
        await _observe(frame, logs)
        stop = asked_to_stop()
        starting = asyncio.create_task(_start(frame, start))
        ends: list[asyncio.Future[Any]] = [starting, stop]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return
        failed = starting.result()
        is_up = True
        ready = asyncio.create_task(_say_ready(frame, name, ready_file))
        running.callback(ready.cancel)
        ends = [failed, stop]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        is_up = False
        if failed.done():
            raise Stopped(f"{name} can't go on: {why(failed)}")
        log.info("stopping", signal=stop.result())
    log.info("stopped")
    tell(f"{name} has stopped")


async def _observe(frame: Frame, logs: LogWriter) -> None:
    """Health and metrics, from the very start."""
    operations = OperationsServer(frame.sockets["operations"], frame.readiness, frame.metrics)
    await operations.start()
    frame.running.push_async_callback(operations.stop)
    delays = frame.metrics.histogram("zerosum_loop_delay_seconds", "How late the event loop is.", LOOP_BUCKETS_US, unit=1e-6)
    frame.running.callback(LoopDelay(delays.observe).stop)
    frame.metrics.read_counter("zerosum_log_errors_total", "Lines of level error or worse.", lambda: logs.errors)
    frame.metrics.read_gauge("zerosum_resident_bytes", "Memory in use.", resident_bytes)


async def _start(frame: Frame, start: Start) -> asyncio.Future[Any]:
    await frame.join()
    return await start(frame)


async def _say_ready(frame: Frame, name: str, ready_file: Path | None) -> None:
    """Once all checks say so."""
    while any(frame.readiness.report().values()):  # noqa: ASYNC110  many things must come together
        await asyncio.sleep(READY_POLL_S)
    keep_collections_short()
    ports = {each: sock.getsockname()[1] for each, sock in frame.sockets.items()}
    log.info("ready", service=name, **ports)
    tell(f"{name} serves; health and metrics: http://{frame.settings.operations.host}:{ports['operations']}/readyz, /metrics")
    if ready_file is not None:
        frame.running.callback(ready_file.unlink, missing_ok=True)
        write_ready_file(ready_file, {**ports, "pid": os.getpid()})


def why(failed: asyncio.Future[Any]) -> str:
    """In an operator's words where it has some."""
    error = failed.exception() if not failed.cancelled() else None
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ZerosumError):
        return str(error)
    return repr(error)
