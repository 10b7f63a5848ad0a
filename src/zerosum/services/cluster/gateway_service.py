"""
A gateway of a cluster on one page: the front that it shares with the console, and the doors that clients come through.

    REST, WebSocket: the same as the embedded exchange's; users' pages on the first of them
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from zerosum.console.desk import Desk, keep_finishing
from zerosum.console.doors import WithdrawalSettings, operator_console, operator_server, treasury_of, user_console
from zerosum.console.machines import Machines
from zerosum.gateway.api import Api
from zerosum.gateway.limits import Allowance
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.gateway.transport.rest import RestServer
from zerosum.gateway.transport.websocket import WebSocketServer
from zerosum.identity.payouts import Payouts
from zerosum.services import admin
from zerosum.services.admin import AdminDoor
from zerosum.services.cluster.front import Front, clock_us
from zerosum.services.cluster.overview import ClusterOverview
from zerosum.services.cluster.usage import USAGE, Usage
from zerosum.settlement.cql.history import CqlHistory
from zerosum.settlement.cql.session import Session

READERS: Final = 8  # reads of the record at a time


@dataclass(frozen=True, slots=True)
class GatewayDoors:
    """What clients are allowed."""

    rest: RestBounds = field(default_factory=RestBounds)
    websocket: WebSocketBounds = field(default_factory=WebSocketBounds)
    allowance: Allowance = field(default_factory=Allowance)
    trusted_proxies: frozenset[str] = frozenset()
    withdrawals: WithdrawalSettings = field(default_factory=WithdrawalSettings)


@final
class GatewayService:
    """Made in the event loop that it runs in."""

    def __init__(self, front: Front, session: Session, rest: socket.socket, websocket: socket.socket, doors: GatewayDoors) -> None:
        self.front = front
        self._executor = ThreadPoolExecutor(READERS, "history")
        ring, proxies = front.identities.ring, doors.trusted_proxies
        api = Api(front.entry, front.views, CqlHistory(session), ring, allowance=doors.allowance, executor=self._executor)
        self._usage = Usage(front.link.stream(USAGE), api.limits, clock_us)
        treasury = treasury_of(Machines(front.entry, front.views), front.identities, doors.withdrawals)
        users = user_console(treasury, front.identities, api.limits, proxies, doors.withdrawals)
        front.running.callback(users.close)
        self.rest = RestServer(api, rest, doors.rest, pages=users, trusted_proxies=proxies, tls=front.tls)
        self.websocket = WebSocketServer({"/ws-api/v3": api}.get, websocket, doors.websocket, trusted_proxies=proxies, tls=front.tls)

    async def start(self) -> None:
        """Returns once it serves."""
        self.front.running.callback(self._executor.shutdown, wait=False, cancel_futures=True)
        self.front.work("usage", self._usage.run())
        await self.front.start((self.rest, self.websocket), self.front.identities.ring)


@final
class ConsoleService:
    """
    The operators' console and, in `folder`, the socket of their commands; nothing that clients come through. Made in the event loop that it
    runs in.
    """

    def __init__(
        self, front: Front, session: Session, listener: socket.socket, trusted_proxies: frozenset[str], folder: Path,
        withdrawals: WithdrawalSettings,
    ) -> None:  # fmt: skip
        self.front = front
        treasury = treasury_of(Machines(front.entry, front.views), front.identities, withdrawals)
        self._desk = Desk(treasury, Payouts(front.identities.vault), front.identities.operators)
        console = operator_console(self._desk, front.identities, trusted_proxies)
        front.running.callback(console.close)
        self._socket = AdminDoor(front.entry, ClusterOverview(front.entry, front.views, session).answer, folder / admin.NAME)
        self.listener = operator_server(console, listener, trusted_proxies, front.tls)

    async def start(self) -> None:
        """Returns once it serves."""
        await self.front.start((self._socket, self.listener), self.front.identities.service_ring)
        self.front.work("withdrawals", keep_finishing(self._desk))
