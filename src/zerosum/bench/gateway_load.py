"""
The load of the gateway's benchmark, a process of its own: `python -m zerosum.bench.gateway_load`, driven by lines of JSON.

    {"users": ..., "host": ..., ...}   once: who asks, and where; "ca": by which authority, over TLS; "source": from which address
    {"door": "rest", "rate": 3000, "seconds": 5, ...}  -->  {"prepared": 15000}  <--  {}  -->  {"answered": 15000, ...}

    rate > 0    open loop: each request has its planned time, whatever became of those before it, and its latency counts from then on
    rate = 0    closed loop: `under_way` requests at a time, to see how many a second are answered

Always true: a phase goes on in the mix where the one before ended; what could not be sent in time waits here, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import ssl
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Final, Protocol, final

import uvloop

from zerosum.bench.client import LOST, Answered, RestConnection, Signer, WebSocketConnection
from zerosum.bench.gateway_mix import Wanted, wanted

ORDER_PATH: Final = "/api/v3/order"
RECV_WINDOW: Final = {"recvWindow": "60000"}  # a burst is answered late, and is not to be too late
REST: Final = "rest"
WEBSOCKET: Final = "websocket"
PIPELINED: Final = {REST: 8, WEBSOCKET: 900}  # requests under way on one connection
TURN_S: Final = 0.001
WARM_UP: Final = 0.2  # of a closed loop: the part of it that is not counted
GIVE_UP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Phase:
    door: str
    rate: int  # requests a second; 0: as many as are answered
    seconds: float
    connections: int
    under_way: int  # closed loop: requests at a time
    count_max: int  # closed loop: requests at most


class Lane(Protocol):
    """One connection."""

    @property
    def under_way(self) -> int: ...

    def ask(self, signer: Signer, request: Wanted, answered: Answered) -> None: ...

    async def close(self) -> None: ...


@final
class RestLane:
    def __init__(self, connection: RestConnection) -> None:
        self._connection = connection

    @property
    def under_way(self) -> int:
        return self._connection.under_way

    def ask(self, signer: Signer, request: Wanted, answered: Answered) -> None:
        method = "DELETE" if request.is_cancel else "POST"
        self._connection.send(signer.rest(method, ORDER_PATH, {**request.params, **RECV_WINDOW}, clock_ms()), answered)

    async def close(self) -> None:
        await self._connection.close()


@final
class WebSocketLane:
    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    @property
    def under_way(self) -> int:
        return self._connection.under_way

    def ask(self, signer: Signer, request: Wanted, answered: Answered) -> None:
        method = "order.cancel" if request.is_cancel else "order.place"
        request_id = self._connection.next_id()
        self._connection.send(request_id, signer.websocket(request_id, method, {**request.params, **RECV_WINDOW}, clock_ms()), answered)

    async def close(self) -> None:
        await self._connection.close()


def clock_ms() -> int:
    return time.time_ns() // 1_000_000


@final
class Run:
    """One phase."""

    def __init__(self, phase: Phase, requests: list[Wanted], signers: list[Signer], lanes: list[Lane]) -> None:
        self.phase = phase
        self.requests = requests
        self.signers = signers
        self.lanes = deque(lanes)
        self.depth = PIPELINED[phase.door]
        self.sent = 0
        self.due = 0
        self.answered = 0
        self.answers: Counter[int] = Counter()  # by status; those that are no success by error code
        self.planned_s = array("d", bytes(8 * len(requests)))
        self.answered_s = array("d", bytes(8 * len(requests)))
        self.began_s = 0.0
        self.end_s = 0.0
        self.done = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        self.began_s = time.perf_counter()
        phase = self.phase
        self.end_s = self.began_s + phase.seconds
        if phase.rate:
            while self.due < len(self.requests):
                await asyncio.sleep(TURN_S)
                self.due = min(len(self.requests), int((time.perf_counter() - self.began_s) * phase.rate))
                self.send()
        else:
            self.due = min(phase.under_way, len(self.requests))
            self.send()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(phase.seconds):
                    await self.done.wait()
            self.requests = self.requests[: self.due]
        if self.answered < self.due:
            async with asyncio.timeout(GIVE_UP_S):
                await self.done.wait()
        return self.result()

    def send(self) -> None:
        """What is due, as far as there are connections to take it."""
        room = self.depth * len(self.lanes)
        while self.sent < self.due and self.sent - self.answered < room:
            lane = self.lanes[0]
            self.lanes.rotate(-1)
            if lane.under_way < self.depth:
                self.ask(lane)

    def ask(self, lane: Lane) -> None:
        number = self.sent
        self.sent += 1
        request = self.requests[number]
        rate = self.phase.rate
        self.planned_s[number] = self.began_s + (number + 1) / rate if rate else time.perf_counter()
        lane.ask(self.signers[request.user], request, partial(self.take, lane, number))

    def take(self, lane: Lane, number: int, status: int, body: bytes) -> None:
        now_s = time.perf_counter()
        self.answered_s[number] = now_s
        self.answers[json.loads(body)["code"] if status not in (200, LOST) else status] += 1
        self.answered += 1
        if not self.phase.rate and now_s < self.end_s and self.due < len(self.requests):
            self.due += 1
        if self.sent < self.due and lane.under_way < self.depth:
            self.ask(lane)
        if self.answered == len(self.requests):
            self.done.set()

    def result(self) -> dict[str, Any]:
        count, end_s = self.answered, self.end_s
        last_s = max(self.answered_s[:count], default=self.began_s)
        latencies_ms = sorted(
            (answered - planned) * 1000 for answered, planned in zip(self.answered_s[:count], self.planned_s, strict=False)
        )
        from_s = self.began_s + (0.0 if self.phase.rate else WARM_UP * self.phase.seconds)
        counted_to_s = min(end_s, last_s)
        counted = sum(from_s <= answered < counted_to_s for answered in self.answered_s[:count])
        return {
            "answered": count,
            "answered_per_second": round(counted / (counted_to_s - from_s)) if counted_to_s > from_s else 0,
            "lost": self.answers[LOST],
            "refused": sum(number for code, number in self.answers.items() if code not in EXPECTED),
            "answers": {str(code): number for code, number in sorted(self.answers.items(), reverse=True)},
            "drained_after_s": round(max(0.0, last_s - end_s), 3),
            "latency_ms": {name: percentile(latencies_ms, share) for name, share in PERCENTILES.items()},
        }


# Done; the rejects of the mix; a cancel of what a market order took first.
EXPECTED: Final = (200, -2010, -2011)
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999, "max": 1.0}


def percentile(ascending: list[float], share: float) -> float:
    if not ascending:
        return 0.0
    return round(ascending[min(len(ascending) - 1, int(len(ascending) * share))], 3)


async def open_lanes(phase: Phase, setup: dict[str, Any]) -> list[Lane]:
    host, port = setup["host"], setup[phase.door]
    tls = ssl.create_default_context(cafile=setup["ca"]) if "ca" in setup else None
    lanes: list[Lane] = []
    for _ in range(phase.connections):
        if phase.door == REST:
            lanes.append(RestLane(await RestConnection.open(host, port, tls=tls, source=setup.get("source", ""))))
        else:
            lanes.append(WebSocketLane(await WebSocketConnection.open(host, port, tls=tls)))
    return lanes


async def run_phase(phase: Phase, requests: list[Wanted], signers: list[Signer], setup: dict[str, Any]) -> dict[str, Any]:
    lanes = await open_lanes(phase, setup)
    try:
        return await Run(phase, requests, signers, lanes).run()
    finally:
        for lane in lanes:
            await lane.close()


def serve(lines: Iterator[str]) -> None:
    setup = json.loads(next(lines))
    signers = [Signer(*key) for key in setup["keys"]]
    mix: Iterator[Wanted] = wanted(setup["seed"])
    for line in lines:
        phase = Phase(**json.loads(line))
        requests = list(islice(mix, int(phase.rate * phase.seconds) if phase.rate else phase.count_max))
        gc.collect()
        gc.freeze()
        say({"prepared": len(requests)})
        next(lines)
        result = uvloop.run(run_phase(phase, requests, signers, setup))
        mix = chain(requests[result["answered"] :], mix)
        say(result)
        gc.unfreeze()


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.stdin)
