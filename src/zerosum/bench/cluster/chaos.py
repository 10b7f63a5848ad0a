"""
What becomes of a cluster under load when something of it is killed, or stopped for a while: all that was told holds, and how long nothing
was answered.

    load --> kill -9, and start again | SIGSTOP, and SIGCONT --> load goes on --> settled --> answers = database = gateways --> audit

A process that was stopped wakes up where it was, when the copy beside it has taken over: then two emit.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final

from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.checks import check_open, check_orders, order_rows
from zerosum.bench.cluster.load import Load, Request
from zerosum.bench.cluster.market import ACCOUNTS, UNBOUND, cql_of
from zerosum.bench.cluster.settled import until_settled
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.server import Server
from zerosum.devcluster.services import Service
from zerosum.services.audit import Verdict
from zerosum.services.cluster.audit import verdict
from zerosum.settlement.cql.session import Session

KILL: Final = "kill -9"
STOP: Final = "SIGSTOP"
AWAY_S: Final = {KILL: 0.5, STOP: 3.0}
WORKERS: Final = 6
BEFORE: Final = 100  # requests, and then something happens
AFTER: Final = 100  # of them, that are answered as they should be once it is over
LIMIT_S: Final = 60.0

SHAPE: Final = Shape(gateways=2, copies=2, settings=UNBOUND)
BROKER: Final = "Kafka broker 1"
DATABASE: Final = "Cassandra"
KILLED: Final = ("ubscore1", "matching1", "settlement1", "gateway1", BROKER, DATABASE)
STOPPED: Final = ("ubscore2", "matching2", "settlement1", "gateway2", BROKER, DATABASE)
ALL: Final = [(victim, KILL) for victim in KILLED] + [(victim, STOP) for victim in STOPPED]
"""Of a deployment of that shape. A second copy that has taken over is the one to be stopped."""


@dataclass(frozen=True, slots=True)
class Disturbed:
    """What was seen. `pause_s`: the longest time in which no request succeeded; `unknown`: requests whose outcome was not told."""

    victim: str
    how: str
    pause_s: float
    requests: int
    unknown: int
    busy: int
    verdicts: list[Verdict]

    @property
    def holds(self) -> bool:
        return all(each.holds for each in self.verdicts)


@final
class Chaos:
    def __init__(self, deployment: DevDeployment, users: list[User]) -> None:
        self._deployment = deployment
        self._users = users
        self._count = 0

    async def disturb(self, victim: str, how: str) -> Disturbed:
        """`victim`: a process of the deployment, by its name. DoesNotHold where orders are not taken again."""
        process = next(each for each in self._deployment.processes if each.name == victim)
        return await self.during(victim, how, lambda: self._do(process, how))

    async def during(self, victim: str, how: str, work: Callable[[], Awaitable[None]]) -> Disturbed:
        """The same, of whatever is done to it."""
        deployment = self._deployment
        await self._clear()
        self._count += 1
        load = Load(
            self._users, deployment.of_role("gateway"), workers=WORKERS, rate=0, seed=self._count, name=f"chaos{self._count}-"
        )  # fmt: skip
        running = asyncio.create_task(load.run())
        try:
            await until(lambda: len(load.requests) > BEFORE, load)
            at = len(load.requests)
            await work()
            await until(lambda: succeeded(load.requests[at:]) > AFTER, load)
        finally:
            load.stop()
            await running
        _, behind = await until_settled(deployment)
        verdicts = [verdict("no backlog is left", [f"{behind:,.0f} messages"] if behind else [], "every input is taken to its end")]
        verdicts += await self._check(load)
        codes = Counter(request.code for request in load.requests)
        unknown = sum(request.is_unknown for request in load.requests)
        return Disturbed(victim, how, pause_of(load.requests), len(load.requests), unknown, codes[-1008], verdicts)

    async def _clear(self) -> None:
        """What the last load left open would in time be as much as an account may have."""
        connection = await WebSocketConnection.open(HOST, self._deployment.of_role("gateway")[0].ports()["websocket"])
        for user in self._users:
            for symbol in {order["symbol"] for order in await asked(connection, user, "openOrders.status")}:
                await asked(connection, user, "openOrders.cancelAll", symbol=symbol)
        await connection.close()

    async def _do(self, process: Service | Server, how: str) -> None:
        if how == KILL:
            process.kill()
            await asyncio.sleep(AWAY_S[how])
            process.start()
            await asyncio.to_thread(process.wait)
        else:
            process.signal(signal.SIGSTOP)
            await asyncio.sleep(AWAY_S[how])
            process.signal(signal.SIGCONT)

    async def _check(self, load: Load) -> list[Verdict]:
        deployment = self._deployment
        session = await Session.connect(cql_of(deployment))
        try:
            rows = await order_rows(session, ACCOUNTS)
        finally:
            await session.close()
        shown: list[str] = []
        for gateway in deployment.of_role("gateway"):
            connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
            for user in self._users:
                shown += check_open(await asked(connection, user, "openOrders.status"), user.account, rows, gateway.name)
            await connection.close()
        ended = [f"{each.name} has ended\n{each.last_words()}" for each in deployment.processes if not each.is_running]
        arguments = ("cluster", "audit", "--config", str(deployment.config), "--json")
        audit = json.loads(await asyncio.to_thread(deployment.zerosum, *arguments, can_fail=True))
        return [
            check_orders(load.requests, rows, load.name),
            verdict("every gateway shows the open orders of the database", shown, f"{len(rows):,} orders"),
            verdict("every process is alive", ended, f"{len(deployment.processes)} processes"),
            *(Verdict(f"audit: {each['check']}", each["holds"], each["detail"]) for each in audit["checks"]),
        ]


async def until(holds: Callable[[], bool], load: Load) -> None:
    """DoesNotHold."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        await asyncio.sleep(0.05)
        if time.monotonic() > deadline:
            answers = Counter(request.code or request.status for request in load.requests)
            raise DoesNotHold(
                f"Orders are not taken (again): in {LIMIT_S:.0f} s these were the answers, by code or status: {dict(answers)}."
            )


def succeeded(requests: list[Request]) -> int:
    return sum(request.status == 200 for request in requests)


def pause_of(requests: list[Request]) -> float:
    """The longest time between two requests that succeeded."""
    times = sorted(request.answered_s for request in requests if request.status == 200)
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
