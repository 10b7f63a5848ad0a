"""Three brokers, one of which is killed under load: what was told holds, and how long nothing was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from zerosum.bench.cluster.chaos import BROKER, KILL, Chaos, Disturbed
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, UNBOUND, found_cluster_market
from zerosum.devcluster.deployment import DevDeployment, Shape


def test_one_of_three_brokers_is_killed_under_load(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with DevDeployment(tmp_path, Shape(shards=1, partitions=1, brokers=3, settings=UNBOUND)).running(keeps=False) as deployment:
        seen = asyncio.run(disturbed(deployment))
    record_property("told at the end", f"kill -9 of one of three brokers: no request succeeded for {seen.pause_s:.1f} s")
    assert seen.holds, [each for each in seen.verdicts if not each.holds]


async def disturbed(deployment: DevDeployment) -> Disturbed:
    users = await found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM)
    return await Chaos(deployment, users).disturb(BROKER, KILL)
