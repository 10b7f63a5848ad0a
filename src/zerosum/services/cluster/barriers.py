"""
Reads that must be current: each waits until the views show what its shard had been sent when it was asked for, here or by other gateways.

    ask --> what was submitted here is sent, and has its place --> the stream's end is noted --> the views are past it: passed

Reads that come while a note is under way share the next one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import final

from zerosum.gateway.entry import Passed
from zerosum.log.messages import end_of
from zerosum.services.cluster.shard_end import ShardEnd, Start


@dataclass(slots=True, eq=False)
class Barrier:
    """`timer` is None once it is passed, or given up."""

    passed: Passed
    timer: asyncio.TimerHandle | None = None


@final
class Barriers:
    """Of one shard. Each is passed, or given up after `timeout_s`, once."""

    def __init__(self, end: ShardEnd, timeout_s: float, start: Start) -> None:
        self._end = end
        self._timeout_s = timeout_s
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._asked: list[Barrier] = []  # for the next note of the stream's end
        self._is_noting = False
        self._noted: list[tuple[int, Barrier]] = []  # with the position that they wait for

    def ask(self, passed: Passed) -> None:
        barrier = Barrier(passed)
        barrier.timer = self._loop.call_later(self._timeout_s, self._give_up, barrier)
        self._asked.append(barrier)
        if not self._is_noting:
            self._is_noting = True
            self._start(self._note_end())

    def shown(self) -> None:
        """The views have gone on."""
        waiting, self._noted = self._noted, []
        for end, barrier in waiting:
            if barrier.timer is None:
                continue
            if end <= self._end.upto:
                barrier.timer.cancel()
                barrier.timer = None
                barrier.passed(True)
            else:
                self._noted.append((end, barrier))

    async def _note_end(self) -> None:
        try:
            while self._asked:
                self._end.flush()
                asked, self._asked = self._asked, []
                await self._end.sent()
                end = end_of((await self._end.stream.ends()).next)
                self._noted += [(end, barrier) for barrier in asked if barrier.timer is not None]
                self.shown()
        finally:
            self._is_noting = False

    def _give_up(self, barrier: Barrier) -> None:
        barrier.timer = None
        barrier.passed(False)
