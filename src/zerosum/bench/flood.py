"""
Measures what a flood from one address costs the others: the latency of orders from another address, without it and with it, in turns.

    exchange, its allowances as they are by default (but for how many orders an account may place)
    honest    signed orders, open loop, well within its allowance, from HONEST         flood    see flood_load.py, from FLOODING

Always true: pairs follow each other, so that what else goes on here is in both; shares are of the medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zerosum.bench.gateway import BenchFailed, LoadProcess, loaded_exchange
from zerosum.bench.gateway_load import REST, Phase
from zerosum.services.datadir import DataDir

HONEST: Final = "127.0.0.9"
FLOODING: Final = "127.0.0.1"
CONNECTIONS: Final = 8
# Of an account: the mix has few of them, and what is measured is the flood's address.
SETTINGS: Final = {"ZEROSUM_ALLOWANCE_ORDERS_PER_10_SECONDS": "100000000", "ZEROSUM_ALLOWANCE_ORDERS_PER_DAY": "1000000000"}


@dataclass(frozen=True, slots=True)
class FloodPlan:
    """`rate`: honest requests a second. `flood_rate`, `connections`: of the flood."""

    pairs: int = 5
    seconds: float = 10.0
    rate: int = 50
    flood_rate: int = 5_000
    connections: int = 100


def run(plan: FloodPlan, progress: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """BenchFailed."""
    phase = Phase(REST, plan.rate, plan.seconds, CONNECTIONS, 0, 0)
    quiet, flooded, answers = [], [], Counter[str]()
    with tempfile.TemporaryDirectory(prefix="zerosum-bench-") as folder, loaded_exchange(
        DataDir(Path(folder)), SETTINGS, source=HONEST
    ) as (exchange, load):  # fmt: skip
        for number in range(1, plan.pairs + 1):
            progress(f"pair {number} of {plan.pairs}: quiet")
            quiet.append(latencies(load, phase))
            progress(f"pair {number} of {plan.pairs}: flooded")
            with flood(exchange.ready.rest, plan) as counted:
                flooded.append(latencies(load, phase))
            answers.update(counted)
    result: dict[str, Any] = {"flood_answers": dict(answers), "flood_per_second": sum(answers.values()) / plan.pairs / plan.seconds}
    for name in ("p50", "p99"):
        without, with_it = (statistics.median(each[name] for each in found) for found in (quiet, flooded))
        result[name] = {"quiet_ms": without, "flooded_ms": with_it, "share": round(with_it / without, 3)}
    return result


def latencies(load: LoadProcess, phase: Phase) -> dict[str, float]:
    load.prepare(phase)
    measured = load.run()
    if measured["lost"] or measured["refused"]:
        raise BenchFailed(f"The honest client was refused or lost: {measured['answers']}.")
    found: dict[str, float] = measured["latency_ms"]
    return found


@contextmanager
def flood(port: int, plan: FloodPlan) -> Iterator[dict[str, int]]:
    """It goes on within; then what was answered to it is in the dict."""
    command = [sys.executable, "-m", "zerosum.bench.flood_load", str(port), FLOODING, str(plan.connections), str(plan.flood_rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    counted: dict[str, int] = {}
    try:
        yield counted
        said, _ = process.communicate(timeout=60)
        counted.update(json.loads(said))
    finally:
        process.kill()
        process.wait()
