"""
What becomes of a cluster under load when something of it is killed, or stopped for a while: all that was told holds, and how long nothing
was answered.

    load --> kill -9, and start again | SIGSTOP, and SIGCONT | a tenth of the time | no file may grow any more, and start again
         --> load goes on --> settled --> answers = database = gateways --> audit

A process that was stopped wakes up where it was, when the copy beside it has taken over: then two emit.
"""

from __future__ import annotations

import asyncio
import json
import resource
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
from zerosum.bench.cluster.market import ACCOUNTS, UNBOUND
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
DOUBLE: Final = "a double"
SLOW: Final = "slowness"
FULL: Final = "a full disk"
AWAY_S: Final = {KILL: 0.5, STOP: 3.0, DOUBLE: 2.0, SLOW: 5.0, FULL: 1.0}
SLOW_STOPPED_S: Final = 0.18  # and then it runs for SLOW_RUNS_S, again and again
SLOW_RUNS_S: Final = 0.02
WORKERS: Final = 6
BEFORE: Final = 100  # requests, and then something happens
AFTER: Final = 100  # of them, that are answered as they should be once it is over
LIMIT_S: Final = 60.0
EMITS: Final = "zerosum_copy_emits"

SHAPE: Final = Shape(gateways=2, copies=2, settings=UNBOUND)
BROKER: Final = "Kafka broker 1"
DATABASE: Final = "Cassandra"
ACTIVE: Final = {"active ubscore": "ubscore", "active matching": "matching"}
"""The copies that put out what they make, each beside one that stands by."""
VICTIMS: Final = (*ACTIVE, "settlement1", "gateway1", BROKER, DATABASE)
SLOWED: Final = (*ACTIVE, "settlement1", BROKER, DATABASE)
FILLED: Final = (BROKER, DATABASE)
ALL: Final = [
    *((victim, how) for how in (KILL, STOP) for victim in VICTIMS),
    *((victim, DOUBLE) for victim in ACTIVE),
    *((victim, SLOW) for victim in SLOWED),
    *((victim, FULL) for victim in FILLED),
]
"""Of a deployment of that shape."""


@dataclass(frozen=True, slots=True)
class Disturbed:
    """
    What was seen. `pause_s`: the longest time in which no request succeeded; `unknown`: requests whose outcome was not told;
    `taken_over_s`: until a copy that stood by put out all that the victim had, if it had one.
    """

    victim: str
    how: str
    pause_s: float
    requests: int
    unknown: int
    busy: int
    verdicts: list[Verdict]
    taken_over_s: float | None = None

    @property
    def holds(self) -> bool:
        return all(each.holds for each in self.verdicts)


@final
class Chaos:
    def __init__(self, deployment: DevDeployment, users: list[User]) -> None:
        self._deployment = deployment
        self._users = users
        self._count = 0
        self._taken_over_s: float | None = None

    async def disturb(self, victim: str, how: str) -> Disturbed:
        """`victim`: a process of the deployment, by its name. DoesNotHold where orders are not taken again."""
        process = await self._victim(victim)
        return await self.during(victim, how, lambda: self._do(process, how))

    async def _victim(self, name: str) -> Service | Server:
        if name not in ACTIVE:
            return next(each for each in self._deployment.processes if each.name == name)
        copies = self._deployment.of_role(ACTIVE[name])
        puts_out = [await asyncio.to_thread(copy.metric, EMITS) for copy in copies]
        return copies[puts_out.index(max(puts_out))]

    async def during(self, victim: str, how: str, work: Callable[[], Awaitable[None]]) -> Disturbed:
        """The same, of whatever is done to it."""
        deployment = self._deployment
        await self._clear()
        self._count += 1
        self._taken_over_s = None
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
        pause_s = pause_of(load.requests)
        return Disturbed(victim, how, pause_s, len(load.requests), unknown, codes[-1008], verdicts, self._taken_over_s)

    async def _clear(self) -> None:
        """What the last load left open would in time be as much as an account may have."""
        connection = await WebSocketConnection.open(HOST, self._deployment.of_role("gateway")[0].ports()["websocket"])
        for user in self._users:
            for symbol in {order["symbol"] for order in await asked(connection, user, "openOrders.status")}:
                await asked(connection, user, "openOrders.cancelAll", symbol=symbol)
        await connection.close()

    async def _do(self, process: Service | Server, how: str) -> None:
        if how == DOUBLE:
            assert isinstance(process, Service), "servers have no doubles"
            return await self._double(process)
        if how == SLOW:
            return await slow(process)
        if how == FULL:
            return await self._fill(process)
        if how == KILL:
            process.kill()
        else:
            process.signal(signal.SIGSTOP)
        if isinstance(process, Service) and process.role in ACTIVE.values():
            others = [each for each in self._deployment.of_role(process.role) if each is not process]
            self._taken_over_s = await self._until_taken_over(others)
        await asyncio.sleep(AWAY_S[how])
        if how == KILL:
            process.start()
            await asyncio.to_thread(process.wait)
        else:
            process.signal(signal.SIGCONT)

    async def _double(self, process: Service) -> None:
        """Beside it another process, of the same number, that puts out everything from its start on, late or not."""
        deployment = self._deployment
        environment = {**deployment.environment(process.role), "ZEROSUM_CLUSTER_PATIENCE_S": "0"}
        number = process.name.removeprefix(process.role)
        double = Service(f"double-{self._count}", process.role, deployment.folder, deployment.config, ("--copy", number), environment)
        double.start()
        try:
            await asyncio.to_thread(double.wait)
            await asyncio.sleep(AWAY_S[DOUBLE])
            put_out = [await asyncio.to_thread(each.metric, EMITS) for each in (process, double)]
            if not all(put_out):
                raise DoesNotHold(f"{process.name} and its double did not both put out.\n{double.last_words()}")
        finally:
            double.kill()

    async def _fill(self, process: Service | Server) -> None:
        """
        No file of it may grow any more. It ends of that, as it should: it can't keep what it is told. Then there is room again, and it is
        started. DoesNotHold where it does not notice.
        """
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        began = time.monotonic()
        while process.is_running:
            if time.monotonic() - began > LIMIT_S:
                raise DoesNotHold(f"{process.name} can't write for {LIMIT_S:.0f} s, and does not end.\n{process.last_words()}")
            await asyncio.sleep(0.1)
        await asyncio.sleep(AWAY_S[FULL])
        process.start()
        await asyncio.to_thread(process.wait)

    async def _until_taken_over(self, others: list[Service]) -> float:
        """Seconds until these copies put out everything of the role's. DoesNotHold."""
        began = time.monotonic()
        shape = self._deployment.shape
        machines = shape.shards if others[0].role == "ubscore" else shape.partitions
        while sum([await asyncio.to_thread(each.metric, EMITS) for each in others]) < machines:
            if time.monotonic() - began > LIMIT_S:
                raise DoesNotHold(f"No copy has taken over within {LIMIT_S:.0f} s.")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def _check(self, load: Load) -> list[Verdict]:
        deployment = self._deployment
        session = await Session.connect(deployment.cql_settings())
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


async def slow(process: Service | Server) -> None:
    """It has a tenth of the time, for a while."""
    until_s = time.monotonic() + AWAY_S[SLOW]
    while time.monotonic() < until_s:
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(SLOW_STOPPED_S)
        process.signal(signal.SIGCONT)
        await asyncio.sleep(SLOW_RUNS_S)


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
