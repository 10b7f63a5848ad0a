"""
Measures the embedded exchange from outside: signed orders over HTTP and over WebSockets, durable and settled.

    load process --orders--> exchange process --log--> follower process         on two cores
         '-- latencies, rates      '-- CPU of each, from /proc; how far settlement is behind, from /metrics

    sustained   as many as are answered; if settlement does not keep up, the highest rate at which it does
    burst       a rate above what is sustained, and how long until all of it is answered, and settled
    latency     open loop at a moderate rate: against the time at which each order was due, never the time at which it could be sent

Always true: each order is signed, checked, durable and applied before it is answered; only the allowances per client are lifted.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from zerosum.bench import gateway_mix
from zerosum.bench.gateway_load import REST, WEBSOCKET, Phase
from zerosum.bench.gateway_process import HOST, UNBOUND, ExchangeProcess, usage
from zerosum.bench.gateway_users import found_market
from zerosum.errors import ZerosumError
from zerosum.net.authority import DevAuthority
from zerosum.services.datadir import DataDir

DOORS: Final = {"http": REST, "websocket": WEBSOCKET}
CONNECTIONS: Final = {REST: 64, WEBSOCKET: 8}
UNDER_WAY: Final = {REST: 256, WEBSOCKET: 1_000}
LAG_MAX_S: Final = 1.0
RATE_MAX: Final = 30_000
SLOWER: Final = 0.9
TRIES: Final = 6


class BenchFailed(ZerosumError):
    """A measurement did not come to its end, or an order was not answered."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds of each phase, and its rate in requests a second. 0 seconds leaves a phase out, but not the first."""

    warm_up_s: float = 2.0
    sustained_s: float = 8.0
    burst_s: float = 10.0
    burst_rate: int = 20_000
    latency_s: float = 5.0
    latency_rate: int = 3_000
    cores: int = 2
    tls: bool = False


@final
class LoadProcess:
    """The other end of gateway_load."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zerosum.bench.gateway_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(setup)

    @property
    def pid(self) -> int:
        return self._process.pid

    def prepare(self, phase: Phase) -> None:
        self._say(asdict(phase))
        self._hear()

    def run(self) -> dict[str, Any]:
        self._say({})
        return self._hear()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchFailed(f"The load process ended with exit code {self._process.wait()}.")
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def loaded_exchange(
    data: DataDir, settings: Mapping[str, str] = UNBOUND, **setup: Any
) -> Iterator[tuple[ExchangeProcess, LoadProcess]]:  # fmt: skip
    """A fresh exchange with the mix's market and users, and the process that loads it. `setup`: more for that, see gateway_load."""
    with ExchangeProcess(data, settings) as exchange:
        users = asyncio.run(found_market(data, gateway_mix.LISTING, gateway_mix.funds()))
        keys = [(user.api_key, user.secret) for user in users]
        ports = {REST: exchange.ready.rest, WEBSOCKET: exchange.ready.websocket}
        load = LoadProcess({"seed": gateway_mix.SEED, "keys": keys, "host": HOST, **ports, **setup})
        try:
            yield exchange, load
        finally:
            load.close()


@final
class GatewayBench:
    def __init__(self, plan: Plan, progress: Callable[[str], None] = lambda what: None) -> None:
        self.plan = plan
        self._progress = progress
        self._exchange: ExchangeProcess
        self._load: LoadProcess

    def run(self) -> dict[str, Any]:
        """Everything measured, as one table of numbers. BenchFailed."""
        own_cores = confine(self.plan.cores)
        try:
            with tempfile.TemporaryDirectory(prefix="zerosum-bench-") as folder:
                return self._run(DataDir(Path(folder)))
        finally:
            release(own_cores)

    def _run(self, data: DataDir) -> dict[str, Any]:
        self._progress("making the market")
        secured, setup = self._secured(data) if self.plan.tls else ({}, {})
        with loaded_exchange(data, {**UNBOUND, **secured}, **setup) as (self._exchange, self._load):
            result: dict[str, Any] = {"mix_sha256": gateway_mix.mix_sha256(), "cores": self.plan.cores, "tls": self.plan.tls}
            for name, door in DOORS.items():
                result[name] = self._door(name, door)
            return result

    def _secured(self, data: DataDir) -> tuple[dict[str, str], dict[str, str]]:
        """Settings of the exchange, and for the load whom to believe."""
        authority = DevAuthority(data.root / "authority")
        issued = authority.issue("exchange")
        settings = {"ZEROSUM_TLS_CERTIFICATE_FILE": str(issued.certificate), "ZEROSUM_TLS_KEY_FILE": str(issued.key)}
        return settings, {"ca": str(authority.certificate_file)}

    def _door(self, name: str, door: str) -> dict[str, Any]:
        plan = self.plan
        self._progress(f"{name}: warming up")
        measured: dict[str, Any] = {}
        at_hand = self._phase(door, 0, plan.warm_up_s)["answered_per_second"]
        if plan.sustained_s:
            self._progress(f"{name}: sustained")
            measured["sustained"] = sustained = self._sustained(door, at_hand)
            measured["orders_per_second"] = sustained["answered_per_second"]
        if plan.burst_s:
            self._progress(f"{name}: burst")
            measured["burst"] = self._phase(door, plan.burst_rate, plan.burst_s)
        if plan.latency_s:
            self._progress(f"{name}: latency")
            measured["latency"] = latency = self._phase(door, plan.latency_rate, plan.latency_s)
            measured |= {f"latency_ms_{name}": latency["latency_ms"][name] for name in ("p50", "p99", "p99_9")}
        return measured

    def _sustained(self, door: str, expected_rate: int) -> dict[str, Any]:
        found = self._phase(door, 0, self.plan.sustained_s, rate_max=2 * expected_rate)
        for _ in range(TRIES):
            if max(found["settled_after_s"], found["drained_after_s"]) < LAG_MAX_S and not found["refused"]:
                return found
            found = self._phase(door, int(found["answered_per_second"] * SLOWER), self.plan.sustained_s)
        raise BenchFailed(f"No rate was found at which settlement keeps up: at {found['answered_per_second']}/s it does not.")

    def _phase(self, door: str, rate: int, seconds: float, rate_max: int = RATE_MAX) -> dict[str, Any]:
        """One phase, and after it until everything is settled. `rate_max`: requests are made ready for so many a second."""
        exchange, load = self._exchange, self._load
        load.prepare(Phase(door, rate, seconds, CONNECTIONS[door], UNDER_WAY[door], int(rate_max * seconds)))
        pids = {"exchange": exchange.ready.pid, "follower": exchange.ready.follower_pid, "load": load.pid}
        before = {part: usage(pid).cpu_s for part, pid in pids.items()}
        measured = load.run()
        behind = exchange.unsettled()
        measured["settled_after_s"] = round(exchange.wait_until_settled(), 3)
        measured["unsettled_at_end"] = behind
        used = {part: usage(pid).cpu_s - before[part] for part, pid in pids.items()}
        measured["cpu_us_per_order"] = {part: round(cpu_s * 1e6 / max(1, measured["answered"]), 1) for part, cpu_s in used.items()}
        if measured["lost"]:
            raise BenchFailed(f"{measured['lost']} of {measured['answered']} requests were not answered.\n{exchange.said()}")
        return measured


def confine(cores: int) -> set[int]:
    """Run this process, and those it starts, on so many cores. Returns those it had; where there is no such thing, nothing happens."""
    if not hasattr(os, "sched_setaffinity"):
        return set()
    had = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(had)[:cores])
    return had


def release(cores: set[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)
