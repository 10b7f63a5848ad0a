"""
A simulated process: what runs in it ends with it, at any await and at any of its operations on the world.

    start --> life 1 --crash--> nothing of it has an effect any more --start--> life 2, with the disk that life 1 left behind

A crash cancels the tasks, as nothing real does: until they are gone, whatever they still try to do to the world raises Died. So no
clean-up of theirs can be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, final

from zerosum.sim.disk import SimDisk
from zerosum.sim.loop import CURRENT, SimLoop


class Died(BaseException):
    """The process that does this has crashed."""


@final
class Life:
    """One run of a process, from its start to its end."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_alive = True
        self.context = copy_context()  # what runs in it is this life's
        self.tasks: dict[asyncio.Task[Any], None] = {}  # a set's order would be another story each time
        self.delivery_failed_at_s = -1.0  # the last time

    @property
    def kind(self) -> str:
        return self.process.kind

    @property
    def held_until_s(self) -> float:
        return self.process.held_until_s

    def state(self) -> str:
        return self.process.state()

    def check(self) -> None:
        if not self.is_alive:
            raise Died(self.process.name)

    async def pause(self) -> None:
        """Nothing goes on while the process is held still; and nothing once it is dead."""
        self.check()
        while (left := self.process.held_until_s - self.process.loop.time()) > 0:  # noqa: ASYNC110  it may be held for longer meanwhile
            await asyncio.sleep(left)
        self.check()


@final
class Process:
    """`state`: what the process is at, for the account of which faults met it how."""

    def __init__(self, loop: SimLoop, name: str, kind: str, run: Callable[[Process, Life], Coroutine[Any, Any, None]]) -> None:
        self.loop = loop
        self.name = name
        self.kind = kind
        self.disk = SimDisk()
        self.held_until_s = 0.0
        self.lives = 0
        self.life: Life | None = None
        self.state: Callable[[], str] = down
        self.ended: Callable[[Process, BaseException | None], None] = lambda process, error: None
        self.crashed: Callable[[Process, bool], None] = lambda process, power: None
        self._run = run

    @property
    def is_alive(self) -> bool:
        return self.life is not None

    def start(self) -> None:
        assert self.life is None, "a process is started once it has ended"
        self.lives += 1
        self.state = starting
        life = self.life = Life(self)
        life.context.run(CURRENT.set, life)
        self.loop.create_task(self._live(life), context=life.context)

    async def _live(self, life: Life) -> None:
        error: BaseException | None = None
        try:
            await self._run(self, life)
        except BaseException as caught:  # noqa: BLE001  whatever ends it, the world is told
            error = caught
        if life.is_alive:
            self._end(life)
            self.ended(self, error)

    def crash(self, *, power: bool = False) -> None:
        """It ends here and now. With `power`, what its disk had not synced is at the mercy of chance."""
        if self.life is not None:
            self.crashed(self, power)
            self._end(self.life)

    def _end(self, life: Life) -> None:
        life.is_alive = False
        self.life = None
        self.state = down
        self.held_until_s = 0.0
        for task in list(life.tasks):
            task.cancel()


def starting() -> str:
    return "starting"


def down() -> str:
    return "down"
