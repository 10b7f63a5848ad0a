"""
An event loop in simulated time: asyncio as it is, but nothing waits. When no callback is ready, the clock goes to the next timer.

The same coroutines, started in the same order, run in the same order: what is random is drawn by the simulated edges from the run's seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol, TypeVar, final

T = TypeVar("T")

START_US: Final = 1_700_000_000_000_000  # what every clock says at time 0


class Stuck(Exception):
    """Nothing is ready and no timer runs: what is waited for never comes."""


class TooLong(Exception):
    """The run has taken more simulated time than it may."""


class Living(Protocol):
    """A process, as far as a loop needs to know it."""

    is_alive: bool
    tasks: dict[asyncio.Task[Any], None]

    @property
    def held_until_s(self) -> float: ...


CURRENT: ContextVar[Living | None] = ContextVar("life", default=None)
"""Whose code runs: tasks and timers are of the process that makes them."""


@final
class Bell:
    """A timer of a process: rings for nobody once that is dead, and later while it is held still."""

    def __init__(self, loop: SimLoop, life: Living, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.handle: asyncio.TimerHandle | None = None
        self._loop = loop
        self._life = life
        self._callback = callback
        self._args = args

    def ring(self) -> None:
        assert self.handle is not None, "it is set before it rings"
        if not self._life.is_alive or self.handle.cancelled():
            return
        if self._life.held_until_s > self._loop.now_s:
            self._loop.world_later(self._life.held_until_s - self._loop.now_s, self._run_late)
        else:
            self._callback(*self._args)

    def _run_late(self) -> None:
        CURRENT.set(self._life)
        self.ring()


@final
class _NoSelector:
    """There are no sockets: to wait is to let the clock go on."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []

    def close(self) -> None:
        pass


@final
class SimLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.until_s = float("inf")
        self._selector = _NoSelector(self)
        self.broken: BaseException | None = None

    def time(self) -> float:
        return self.now_s

    def now_us(self) -> int:
        """The world's own clock, which nobody sees as it is."""
        return START_US + round(self.now_s * 1e6)

    def pass_time(self, timeout: float | None) -> None:
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self.now_s += timeout
            if self.now_s > self.until_s:
                raise TooLong(f"{self.now_s:.3f} s of simulated time have passed")

    def create_task(self, coro: Coroutine[Any, Any, T], **keywords: Any) -> asyncio.Task[T]:  # type: ignore[override]
        """It ends with the process that it is started in."""
        task = super().create_task(coro, **keywords)
        context = keywords.get("context")
        life = context[CURRENT] if context is not None and CURRENT in context else CURRENT.get()
        if life is not None:
            life.tasks[task] = None
            task.add_done_callback(lambda done: life.tasks.pop(done, None))
        return task

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, **keywords: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """See Bell."""
        life = CURRENT.get()
        if life is None:
            return super().call_at(when, callback, *args, **keywords)
        bell = Bell(self, life, callback, args)
        bell.handle = super().call_at(when, bell.ring, **keywords)
        return bell.handle

    def world_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        """A timer of nobody's: what is on its way in the world goes on, whoever dies."""
        super().call_at(self.now_s + delay_s, callback, *args, context=Context())

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list, "nothing comes from outside"

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """To the end of `main`; what is still under way then is cancelled."""
        try:
            return self.run_until_complete(main)
        finally:
            tasks = asyncio.all_tasks(self)
            for task in tasks:
                task.cancel()
            if tasks:
                self.until_s = float("inf")
                self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.close()
