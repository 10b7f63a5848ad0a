"""
The embedded exchange on one page: one process and its follower, joined by the log.

    1 log        open it, mend its tail, refuse it if it ends before what is settled
    2 machines   the newest good snapshot, and the rest of the log
    3 follower   a process of its own: settles, snapshots, compares
    4 shard      from here on commands are taken
    5 doors      the operator's socket, REST, WebSocket, the operators' console; with TLS, if there is a certificate

They stop in the opposite order, so that nothing that was answered is lost on the way down.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, final

from zerosum.console.desk import Desk, keep_finishing
from zerosum.console.doors import WithdrawalSettings, operator_console, operator_server, tell_of_trail, treasury_of, user_console
from zerosum.console.machines import Machines
from zerosum.gateway.api import Api
from zerosum.gateway.limits import Allowance
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.gateway.transport.rest import RestServer
from zerosum.gateway.transport.websocket import WebSocketServer
from zerosum.identity.identities import Identities
from zerosum.identity.payouts import Payouts
from zerosum.identity.sealing import MasterKey
from zerosum.identity.sqlite import SqliteDocuments
from zerosum.log.disk import OsDisk
from zerosum.log.file_log import SEGMENT_BYTES
from zerosum.net.http_server import HttpServer
from zerosum.net.tls import ServerTls
from zerosum.services import admin
from zerosum.services.admin import AdminDoor, asked_of
from zerosum.services.checkpoints import Checkpoints
from zerosum.services.datadir import DataDir
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.follower_link import FollowerLink
from zerosum.services.opening import open_log, restore
from zerosum.services.pruning import Pruning
from zerosum.services.shard import Limits, Shard
from zerosum.settlement.history import History


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """What the composition needs of the settings, as plain values."""

    data: DataDir
    master_key: MasterKey
    segment_bytes: int = SEGMENT_BYTES
    limits: Limits = field(default_factory=Limits)
    snapshots: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    prunes: bool = False  # whether segments go that no kept snapshot needs
    archive: Path | None = None  # where they are copied to first
    rest: RestBounds = field(default_factory=RestBounds)
    websocket: WebSocketBounds = field(default_factory=WebSocketBounds)
    allowance: Allowance = field(default_factory=Allowance)
    trusted_proxies: frozenset[str] = frozenset()
    withdrawals: WithdrawalSettings = field(default_factory=WithdrawalSettings)


class Listeners(NamedTuple):
    """Sockets that nobody has listened at yet."""

    rest: socket.socket
    websocket: socket.socket
    admin: socket.socket


def unheard(line: str) -> None:
    """Nobody wants to know."""


@final
class Embedded:
    """
    Made by `start`, in the event loop that it runs in. `report` is told how the start goes on, `warn` what an operator should look after.
    """

    def __init__(
        self, settings: EmbeddedSettings, listeners: Listeners, *, tls: ServerTls | None = None,
        report: Callable[[str], None] = unheard, warn: Callable[[str], None] = unheard,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.data = settings.data
        self._listeners = listeners
        self.tls = tls
        self._report = report
        self._warn = warn
        self._running = AsyncExitStack()  # how to stop what is running, last first
        self._open_doors: list[AdminDoor | RestServer | WebSocketServer | HttpServer] = []

    async def start(self) -> None:
        """Everything up, or an error that says what is wrong, and nothing left running."""
        try:
            await self._start()
        except BaseException:
            await self._running.aclose()
            raise

    async def _start(self) -> None:
        data, running = self.data, self._running
        OsDisk().make_directory(data.root)
        # In a thread, for both take their time: meanwhile the loop tells who asks that the exchange starts.
        self.log = await asyncio.to_thread(open_log, data, self.settings.segment_bytes, self._report)
        self._report(str(self.log.recovery))
        with ExitStack() as undo:
            undo.callback(self.log.close)
            self.machine, self.views = await asyncio.to_thread(restore, data, self.log.log_id, self.log.durable_sequence, self._report)
            self.follower = FollowerLink(data, self.settings.snapshots, self.settled_up_to, self.snapshots_from, self._warn)
            running.push_async_callback(self.follower.stop)  # after the shard: there is nothing more to settle then
            self.shard = Shard(self.machine, self.log, self.views, limits=self.settings.limits)
            running.push_async_callback(self.shard.close)
            undo.pop_all()  # the log is the shard's now
        self.checkpoints = Checkpoints(self.shard)
        running.push_async_callback(self.checkpoints.last)
        self.pruning = Pruning(data.log, self.settings.archive, self.shard.prune, self._warn)
        running.push_async_callback(self.pruning.stop)
        self.shard.on_durable = self.follower.durable
        self.follower.durable(self.log.durable_sequence)
        await self.follower.start()
        self.identities = Identities(SqliteDocuments(data.identities), self.settings.master_key, tell=tell_of_trail)
        running.callback(self.identities.close)
        self.identities.follow(self.identities.ring, self.identities.service_ring)
        self.history = History(data.settled)
        running.callback(self.history.close)
        self.executor = ThreadPoolExecutor(1, "history")
        running.push_async_callback(self._end_reads)
        self.api = Api(
            self.shard, self.views, self.history, self.identities.ring, allowance=self.settings.allowance, executor=self.executor
        )
        self.admin = AdminDoor(self.shard, asked_of(self.shard, self.views), data.root / admin.NAME)
        proxies = self.settings.trusted_proxies
        treasury = treasury_of(Machines(self.shard, self.views), self.identities, self.settings.withdrawals)
        users = user_console(treasury, self.identities, self.api.limits, proxies, self.settings.withdrawals)
        running.callback(users.close)
        self.desk = Desk(treasury, Payouts(self.identities.vault), self.identities.operators)
        operators = operator_console(self.desk, self.identities, proxies)
        running.callback(operators.close)
        finishing = asyncio.create_task(keep_finishing(self.desk), name="withdrawals")
        running.callback(finishing.cancel)
        self.rest = RestServer(self.api, self._listeners.rest, self.settings.rest, pages=users, trusted_proxies=proxies, tls=self.tls)
        self.console = operator_server(operators, self._listeners.admin, proxies, self.tls)
        routes = {"/ws-api/v3": self.api}
        self.websocket = WebSocketServer(
            routes.get, self._listeners.websocket, self.settings.websocket, trusted_proxies=proxies, tls=self.tls
        )
        if self.tls is not None:
            self.tls.start()
            running.callback(self.tls.stop)
        running.push_async_callback(self._close_doors)
        for door in (self.admin, self.rest, self.websocket, self.console):
            await door.start()
            self._open_doors.append(door)

    def settled_up_to(self, sequence: int) -> None:
        self.shard.settled_up_to(sequence)
        self.checkpoints.if_due()
        self.views.forget_settled(min(sequence, self.shard.applied_sequence))  # what is being answered is still looked up

    def snapshots_from(self, sequence: int) -> None:
        if self.settings.prunes:
            self.pruning.snapshots_from(sequence)

    async def failed(self) -> BaseException:
        """Waits for what makes it impossible to go on, and returns it."""
        await asyncio.wait([self.shard.stopped, self.follower.fault], return_when=asyncio.FIRST_COMPLETED)
        error = self.follower.fault.result() if self.follower.fault.done() else self.shard.stopped.result()
        assert error is not None, "a shard that stops by itself says why"
        return error

    async def stop(self) -> None:
        """Answer what is under way, seal the log, let the follower settle it all and take a snapshot."""
        await self._running.aclose()

    async def _end_reads(self) -> None:
        """The doors are closed: nobody waits for what is still read."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.history.interrupt()
        await asyncio.to_thread(self.executor.shutdown)

    async def _close_doors(self) -> None:
        await asyncio.gather(*(door.stop() for door in self._open_doors))
