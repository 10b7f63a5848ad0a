"""
The cluster, end to end, from nothing: one iteration, and what must hold of several.

    servers, services, in order --> health of each --> users, deposits --> a fixed sequence of orders --> load --> settled
    --> clean audit: every machine replayed, every row compared --> answers = database = gateways --> processes, logs, memory --> stopped

Of several iterations the fixed sequence makes the same trades. At last the pipelined orders: one shard, one connection, expected trades.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, final

import uvloop

from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.checks import check_accepted, check_logs, check_open, check_orders, order_rows
from zerosum.bench.cluster.load import Load
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, UNBOUND, found_cluster_market
from zerosum.bench.cluster.readable import Readable
from zerosum.bench.cluster.settled import until_settled
from zerosum.bench.cluster.watch import Process, Watch
from zerosum.bench.gateway_load import PERCENTILES, percentile
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.services.audit import Verdict
from zerosum.services.cluster.audit import verdict
from zerosum.settlement.cql.session import Session

LOAD_NAME: Final = "load-"
FIXED_NAME: Final = "fixed-"
FIXED_SYMBOL: Final = "ETHBTC"
FIXED_ORDERS: Final = 300
FIXED_SEED: Final = 5
GROWTH_MAX_BYTES_PER_S: Final = 1 << 20

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """`seconds`, `rate`: of the load, in requests a second; `brokers`: of Kafka, 1 or 3."""

    seconds: float = 30.0
    rate: float = 1_000.0
    workers: int = 10
    seed: int = 1
    gateways: int = 2
    brokers: int = 1


@dataclass(slots=True)
class Iteration:
    """What was seen. `fixed_trades`: of the fixed sequence: id, price, quantity, taker's and maker's client ids."""

    verdicts: list[Verdict] = field(default_factory=list)
    fixed_trades: list[tuple[Any, ...]] = field(default_factory=list)
    started_s: float = 0.0
    requests: int = 0
    requests_per_second: int = 0
    trades: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    answer_ms: dict[str, float] = field(default_factory=dict)
    readable_ms: dict[str, float] = field(default_factory=dict)
    readable_samples: int = 0
    processes: list[Process] = field(default_factory=list)
    load_s: float = 0.0
    settled_after_s: float = 0.0

    @property
    def holds(self) -> bool:
        return all(each.holds for each in self.verdicts)


@final
class ClusterIteration:
    """Run in a process's main thread: see devcluster/process.py."""

    def __init__(self, folder: Path, plan: ClusterPlan, report: Report) -> None:
        """`folder` is fresh."""
        self._plan = plan
        self._report = report
        self._seen = Iteration()
        self._deployment = DevDeployment(folder, Shape(gateways=plan.gateways, brokers=plan.brokers, settings=UNBOUND), report)

    def run(self) -> Iteration:
        """ServerFailed, NotFounded where it does not come so far."""
        deployment, seen = self._deployment, self._seen
        began = time.monotonic()
        with deployment.running():
            seen.started_s = time.monotonic() - began
            seen.verdicts.append(self._check_health())
            watch = uvloop.run(self._trade())
            self._report("auditing ...")
            audit = json.loads(deployment.zerosum("cluster", "audit", "--config", str(deployment.config), "--json", can_fail=True))
            seen.verdicts += [Verdict(f"audit: {each['check']}", each["holds"], each["detail"]) for each in audit["checks"]]
            seen.verdicts.append(self._check_auditor())
            seen.verdicts.append(verdict("every process is alive, from start to end", watch.ended(), f"{len(watch.processes)} processes"))
            self._report("stopping ...")
        codes = [f"{service.name}: exit code {service.exit_code}" for service in deployment.services if service.exit_code != 0]
        seen.verdicts.append(verdict("every service stops cleanly", codes, f"{len(deployment.services)} services, exit code 0"))
        logs = [service.log for service in deployment.services], [server.log for server in deployment.servers.servers]
        seen.verdicts.append(check_logs(*logs))
        return seen

    # ------------------------------------------------------------------ trading

    async def _trade(self) -> Watch:
        deployment, plan, seen = self._deployment, self._plan, self._seen
        self._report("making users ...")
        users = await found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM)
        session = await Session.connect(deployment.cql_settings())
        try:
            self._report("a fixed sequence of orders ...")
            seen.fixed_trades = await fixed_trades(deployment, users)
            watch = Watch(deployment)
            load = Load(users, deployment.of_role("gateway"), workers=plan.workers, rate=plan.rate, seed=plan.seed, name=LOAD_NAME)
            readable = Readable(session, load.traded)
            watching = [asyncio.create_task(work) for work in (watch.run(), readable.run())]
            self._report(f"load: {plan.rate:,.0f} requests a second for {plan.seconds:g} s ...")
            seen.load_s = await load.run(plan.seconds)
            watch.end()
            seen.settled_after_s, behind = await until_settled(deployment)
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
            self._note(load, readable, watch)
            seen.verdicts.append(
                verdict("no backlog is left", [f"{behind:,.0f} messages"] if behind else [], "every input is taken to its end")
            )
            await self._check_answers(load, users, session)
        finally:
            await session.close()
        return watch

    def _note(self, load: Load, readable: Readable, watch: Watch) -> None:
        seen, requests = self._seen, load.requests
        answers_ms = sorted((each.answered_s - each.planned_s) * 1000 for each in requests if each.status)
        seen.requests = len(requests)
        seen.requests_per_second = round(len(requests) / seen.load_s)
        seen.kinds = dict(Counter(each.kind for each in requests))
        seen.refused = dict(Counter(f"{each.kind} {each.code}" for each in requests if each.code))
        seen.answer_ms = {name: percentile(answers_ms, share) for name, share in PERCENTILES.items()}
        readable.latencies_ms.sort()
        seen.readable_ms = {name: percentile(readable.latencies_ms, share) for name, share in PERCENTILES.items()}
        seen.readable_samples = len(readable.latencies_ms)
        seen.processes = watch.processes
        growing = [
            f"{each.name}: {each.growth_bytes_per_s() / 1e6:.1f} MB/s"
            for each in watch.processes
            if each.growth_bytes_per_s() > GROWTH_MAX_BYTES_PER_S and each.name in {service.name for service in self._deployment.services}
        ]
        most = max((each.growth_bytes_per_s() for each in watch.processes[: len(self._deployment.services)]), default=0.0)
        seen.verdicts.append(
            verdict("memory of the services is flat", growing, f"at most {most / 1e3:,.0f} kB/s, in the load's second half")
        )

    async def _check_answers(self, load: Load, users: list[User], session: Session) -> None:
        seen = self._seen
        rows = await order_rows(session, ACCOUNTS)
        unknown = [f"{each.kind} of {each.client}" for each in load.requests if each.is_unknown]
        seen.verdicts.append(verdict("every request is answered", unknown, f"{seen.requests:,} requests"))
        seen.verdicts.append(check_accepted(load.requests))
        seen.verdicts.append(check_orders(load.requests, rows, LOAD_NAME))
        wrong: list[str] = []
        for gateway in self._deployment.of_role("gateway"):
            connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
            for user in users:
                shown = await asked(connection, user, "openOrders.status")
                wrong += check_open(shown, user.account, rows, gateway.name)
            await connection.close()
        (count,) = (await session.execute("SELECT count(*) FROM trades"))[0]
        seen.trades = count
        open_orders = sum(row.status in ("NEW", "PARTIALLY_FILLED") for row in rows.values())
        seen.verdicts.append(verdict("every gateway shows the open orders of the database", wrong, f"{open_orders:,} open orders"))

    # ------------------------------------------------------------------ services

    def _check_health(self) -> Verdict:
        wrong = []
        for service in self._deployment.services:
            health = service.health()
            if not health["ready"]:
                wrong.append(f"{service.name}: {health}")
        return verdict("every health endpoint says ready", wrong, f"{len(self._deployment.services)} services")

    def _check_auditor(self) -> Verdict:
        (auditor,) = self._deployment.of_role("auditor")
        audits = auditor.metric("zerosum_audits_total")
        return verdict(
            "the auditor never objected", [] if auditor.is_running and audits else [auditor.last_words()], f"{audits:,.0f} cuts in order"
        )


async def fixed_trades(deployment: DevDeployment, users: list[User]) -> list[tuple[Any, ...]]:
    """Orders one after another, each once the one before is answered: what they trade is the same at each run."""
    random = Random(FIXED_SEED)
    connections = [await WebSocketConnection.open(HOST, gateway.ports()["websocket"]) for gateway in deployment.of_role("gateway")]
    traded: list[tuple[Any, ...]] = []
    for number in range(FIXED_ORDERS):
        user = users[random.randrange(len(users))]
        order = {
            "symbol": FIXED_SYMBOL, "side": random.choice(("BUY", "SELL")), "type": "LIMIT", "timeInForce": "GTC",
            "price": f"{0.05 + random.randint(-40, 40) / 100_000:.5f}", "quantity": f"{random.randint(1, 200) / 10:.1f}",
            "newClientOrderId": f"{FIXED_NAME}{number}",
        }  # fmt: skip
        answer = await asked(connections[number % len(connections)], user, "order.place", **order)
        traded += [(fill["tradeId"], fill["price"], fill["qty"], order["newClientOrderId"], user.account) for fill in answer["fills"]]
    for connection in connections:
        await connection.close()
    return traded
