"""
How much a cluster takes when brokers, database, services and load share one machine.

    one deployment, warmed up --load at rising rates, open loop--> steps, until one does not hold: the one before it is the knee

A step holds if its requests were sent and answered in time (the last within BACKLOG_S of the end), none was refused as busy, and everything
was settled within BACKLOG_S after that.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from zerosum.bench.cluster.load import BUSY_CODE, CROSS, MARKET, PLACE, Load
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.bench.cluster.readable import Readable
from zerosum.bench.cluster.settled import until_settled
from zerosum.bench.cluster.watch import Watch
from zerosum.bench.gateway_load import PERCENTILES, percentile
from zerosum.bench.gateway_process import usage
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.settlement.cql.session import Session

WARM_UP_RATE: Final = 2000
WARM_UP_S: Final = 40.0
BACKLOG_S: Final = 2.5  # as it is asked: once a second, and three times in a row
SENT_MIN: Final = 0.97  # of what was to be sent

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """`orders`: new ones, of all requests. `cpu`: by process, in cores; the load's own under "load"."""

    rate: int
    requests_per_second: int
    orders_per_second: int
    answer_ms: dict[str, float]
    readable_ms: dict[str, float]
    busy: int
    settled_after_s: float
    cpu: dict[str, float]
    holds: bool


def find_knee(folder: Path, shape: Shape, rates: Sequence[int], seconds: float, workers: int, report: Report) -> list[Step]:
    """In a process's main thread; `folder` is fresh. Steps up to the first that does not hold. ServerFailed, NotFounded."""
    deployment = DevDeployment(folder, shape, report)
    with deployment.running(keeps=False):
        return uvloop.run(steps_of(deployment, rates, seconds, workers, report))


async def steps_of(deployment: DevDeployment, rates: Sequence[int], seconds: float, workers: int, report: Report) -> list[Step]:
    users = await found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM)
    session = await Session.connect(deployment.cql_settings())
    steps: list[Step] = []
    try:
        report(f"warming up: {WARM_UP_RATE} requests a second ...")
        await Load(users, deployment.of_role("gateway"), workers=workers, rate=WARM_UP_RATE, seed=0, name="warm-").run(WARM_UP_S)
        for rate in rates:
            report(f"{rate:,} requests a second ...")
            steps.append(await step(deployment, users, session, rate, seconds, workers))
            if not steps[-1].holds:
                break
    finally:
        await session.close()
    return steps


async def step(deployment: DevDeployment, users: list[User], session: Session, rate: int, seconds: float, workers: int) -> Step:
    load = Load(users, deployment.of_role("gateway"), workers=workers, rate=rate, seed=rate, name=f"knee{rate}-")
    watch, own = Watch(deployment), usage_of_this_process()
    readable = Readable(session, load.traded)
    sampling = asyncio.create_task(readable.run())
    took_s = await load.run(seconds)
    watch.end()
    own_s = usage_of_this_process() - own
    settled_after_s, behind = await until_settled(deployment)
    sampling.cancel()
    await asyncio.wait([sampling])
    answers_ms = sorted((each.answered_s - each.planned_s) * 1000 for each in load.requests if each.status)
    kinds, busy = Counter(each.kind for each in load.requests), sum(each.code == BUSY_CODE for each in load.requests)
    unknown = sum(each.is_unknown for each in load.requests)
    readable.latencies_ms.sort()
    in_time = took_s <= seconds + BACKLOG_S and settled_after_s <= BACKLOG_S and not behind
    return Step(
        rate=rate,
        requests_per_second=round(len(load.requests) / took_s),
        orders_per_second=round((kinds[PLACE] + kinds[CROSS] + kinds[MARKET]) / took_s),
        answer_ms={name: percentile(answers_ms, share) for name, share in PERCENTILES.items()},
        readable_ms={name: percentile(readable.latencies_ms, share) for name, share in PERCENTILES.items()},
        busy=busy,
        settled_after_s=round(settled_after_s, 2),
        cpu={each.name: round(each.cpu_s / took_s, 2) for each in watch.processes} | {"load": round(own_s / took_s, 2)},
        holds=in_time and not busy and not unknown and len(load.requests) >= SENT_MIN * rate * seconds,
    )


def usage_of_this_process() -> float:

    return usage(os.getpid()).cpu_s
