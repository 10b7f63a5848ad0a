"""
A steady load for a long time, and whether memory stays as it is.

    burst --> load, open loop --> exchange, follower --every SAMPLE_S--> resident bytes --least squares--> bytes that an order leaves behind

**Flat** means: an order leaves less than FLAT_BYTES behind, in either process. That is the size of the smallest object that Python makes:
whatever keeps a thing of each order, however small, is not flat.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from zerosum.bench.gateway import CONNECTIONS, RATE_MAX, UNDER_WAY, BenchFailed, LoadProcess, loaded_exchange
from zerosum.bench.gateway_load import REST, WEBSOCKET, Phase
from zerosum.bench.gateway_process import ExchangeProcess, usage
from zerosum.services.datadir import DataDir

FLAT_BYTES: Final = 16.0
SAMPLE_S: Final = 0.5
WARM_UP: Final = 1 / 3  # of the time: pools, caches and the first snapshots find their size
PHASE_S: Final = 5.0


class Sample(NamedTuple):
    at_s: float
    orders: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Grown:
    """How one process's memory went, after the warm-up."""

    samples: int
    bytes_per_order: float
    first_bytes: int
    last_bytes: int
    is_flat: bool


@dataclass(frozen=True, slots=True)
class Soaked:
    orders: int
    seconds: float
    rate: int
    refused: int
    latency_ms_p99_worst: float  # of one turn at one door
    settled_after_s: float
    memory: dict[str, Grown]


@final
class Sampler:
    """Reads the memory of both processes in a thread."""

    def __init__(self, exchange: ExchangeProcess) -> None:
        self.samples: dict[str, list[Sample]] = {"exchange": [], "follower": []}
        self.orders = 0
        self._pids = {"exchange": exchange.ready.pid, "follower": exchange.ready.follower_pid}
        self._stop = threading.Event()
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="sampler")
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            for part, pid in self._pids.items():
                self.samples[part].append(Sample(time.monotonic() - self._began_s, self.orders, usage(pid).resident_bytes))


def soak(minutes: float, rate: int, flat_bytes: float = FLAT_BYTES, progress: Callable[[float], None] = lambda seconds: None) -> Soaked:
    """Half of the time over HTTP, half over WebSockets, in turns. BenchFailed when an order is not answered."""
    with tempfile.TemporaryDirectory(prefix="zerosum-soak-") as folder, loaded_exchange(DataDir(Path(folder))) as (exchange, load):
        sampler = Sampler(exchange)
        try:
            began = time.monotonic()
            refused, worst_ms = 0, 0.0
            doors = (REST, WEBSOCKET)
            for door in doors:  # what is sized by the worst moment is to have seen one
                sampler.orders += run_phase(load, door, 0, min(PHASE_S, minutes * 6))["answered"]
            turn = 0
            while (elapsed_s := time.monotonic() - began) < minutes * 60:
                progress(elapsed_s)
                measured = run_phase(load, doors[turn % 2], rate, min(PHASE_S, minutes * 30))
                turn += 1
                sampler.orders += measured["answered"]
                refused += measured["refused"]
                worst_ms = max(worst_ms, measured["latency_ms"]["p99"])
            seconds = time.monotonic() - began
        finally:
            sampler.close()
        settled_after_s = exchange.wait_until_settled()
        memory = {part: grown(samples, flat_bytes) for part, samples in sampler.samples.items()}
        return Soaked(sampler.orders, round(seconds, 1), rate, refused, worst_ms, round(settled_after_s, 3), memory)


def run_phase(load: LoadProcess, door: str, rate: int, seconds: float) -> dict[str, Any]:
    """At a rate, or with 0 as many as are answered."""
    load.prepare(Phase(door, rate, seconds, CONNECTIONS[door], UNDER_WAY[door], int(RATE_MAX * seconds)))
    measured = load.run()
    if measured["lost"]:
        raise BenchFailed(f"{measured['lost']} of {measured['answered']} requests were not answered.")
    return measured


def grown(samples: Sequence[Sample], flat_bytes: float) -> Grown:
    """By the samples after the warm-up."""
    counted = [sample for sample in samples if sample.at_s >= WARM_UP * samples[-1].at_s]
    slope = slope_of([(sample.orders, sample.resident_bytes) for sample in counted])
    return Grown(len(counted), round(slope, 2), counted[0].resident_bytes, counted[-1].resident_bytes, slope < flat_bytes)


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line nearest to the points, by least squares; 0 where they stand above one another."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
