"""
Work away from the event loop, one job after the other, and what comes of each told in the loop.

    loop --post(job)--> | job | job | --thread--> result or error --loop--> done(...)

The seam that lets the same services run on threads, and in a simulator where there are none.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, final

Done = Callable[[Any, BaseException | None], None]
"""Given what the job returned, or what it raised."""


class Worker(Protocol):
    def post(self, job: Callable[[], Any], done: Done) -> None:
        """Have a job done after those posted before; `done` is called in the event loop."""

    async def close(self) -> None:
        """Once every job posted is done. To be awaited once."""


@final
class ThreadWorker:
    """One thread, started with the first job: whoever never posts one costs nothing."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_started = False

    def post(self, job: Callable[[], Any], done: Done) -> None:
        if not self._is_started:
            self._is_started = True
            self._thread.start()
        self._jobs.put((job, done))

    def _run(self) -> None:
        while (posted := self._jobs.get()) is not None:
            job, done = posted
            try:
                result, error = job(), None
            except BaseException as raised:  # noqa: BLE001  whatever it is, the loop is told
                result, error = None, raised
            self._loop.call_soon_threadsafe(done, result, error)

    async def close(self) -> None:
        if self._is_started:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
