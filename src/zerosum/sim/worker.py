"""
A worker without a thread: jobs are done in the loop, each after a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final, final

from zerosum.services.worker import Done
from zerosum.sim.chance import delay_s
from zerosum.sim.faults import Faults
from zerosum.sim.loop import SimLoop
from zerosum.sim.process import Died, Life

JOB_S: Final = 0.0005
SLOW_S: Final = 0.5


@final
class SimWorker:
    def __init__(self, life: Life, loop: SimLoop, faults: Faults, random: Random) -> None:
        self._life = life
        self._loop = loop
        self._faults = faults
        self._random = random
        self._jobs: deque[tuple[Callable[[], Any], Done]] = deque()
        self._closed = loop.create_future()
        self._closing = False

    def post(self, job: Callable[[], Any], done: Done) -> None:
        self._jobs.append((job, done))
        if len(self._jobs) == 1:
            self._begin()

    def _begin(self) -> None:
        takes_s = delay_s(self._random, JOB_S)
        if self._faults.happens("slow disk", self._life):
            takes_s += self._random.uniform(0, SLOW_S)
        held_s = self._life.process.held_until_s - self._loop.time()
        self._loop.call_later(max(takes_s, held_s), self._do)

    def _do(self) -> None:
        job, done = self._jobs[0]
        result, error = None, None
        try:
            result = job()
        except Died:
            return
        except BaseException as raised:  # noqa: BLE001  as a thread's worker does
            error = raised
        self._loop.call_later(delay_s(self._random, JOB_S), self._tell, done, result, error)

    def _tell(self, done: Done, result: Any, error: BaseException | None) -> None:
        self._jobs.popleft()
        if self._jobs:
            self._begin()
        elif self._closing and not self._closed.done():
            self._closed.set_result(None)
        done(result, error)

    async def close(self) -> None:
        self._closing = True
        if self._jobs:
            await self._closed
