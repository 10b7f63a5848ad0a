"""
What every simulated world has: time, processes, faults, clients' history, and a story of what happened.

    Plan --> World: processes, their doors for clients --> faults strike while clients trade --> healed --> all finished, and right
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Final, final

from zerosum.gateway.api import Api
from zerosum.gateway.entry import Entry
from zerosum.gateway.history import History as SettledHistory
from zerosum.services.cluster.topology import Topology
from zerosum.sim.chance import Chance
from zerosum.sim.coverage import EXPECTED
from zerosum.sim.faults import Faults
from zerosum.sim.history import History
from zerosum.sim.keys import SimKeys
from zerosum.sim.loop import CURRENT, SimLoop
from zerosum.sim.plan import Plan
from zerosum.sim.process import Died, Life, Process
from zerosum.sim.recorder import Recorder
from zerosum.views.views import Views

TRACE_LINES: Final = 400
RESTART_S: Final = 0.05
PASSING: Final = frozenset({"restoring", "catching up", "emitting", "writing", "closing"})  # states that last some milliseconds
AIMED: Final = 0.3  # of the faults in time, at one of these
WAIT_S: Final = 0.0005  # between two looks at a process that is aimed at
WAIT_TRIES: Final = 1000


@final
class Door:
    """What clients reach of a process while it lives: the API, and behind it the Entry, which an operator's commands come in by."""

    def __init__(
        self, name: str, life: Life, entry: Entry, views: Views, settled: SettledHistory, world: World, is_current: Callable[[], bool],
        answer_s: float = 0.0,
    ) -> None:  # fmt: skip
        self.name = name
        self.life = life
        self.entry = entry
        self.views = views
        self.is_current = is_current
        self.recorder = Recorder(name, life, entry, world.history, world.topology, world.loop, answer_s=answer_s, fail=world.fail)
        self.api = Api(self.recorder, views, settled, SimKeys())
        self.under_way: dict[asyncio.Future[Any], None] = {}  # of clients that wait, in the order in which they began
        self.is_closed = False  # nobody comes in any more

    @property
    def is_open(self) -> bool:
        return self.life.is_alive and self.is_current() and not self.is_closed


class World(ABC):
    """`failed` is set by the first thing that may not be."""

    def __init__(self, loop: SimLoop, plan: Plan) -> None:
        self.loop = loop
        self.plan = plan
        self.chance = Chance(plan.seed)
        self.faults = Faults(self.chance, plan.without, plan.off)
        self.topology = Topology(plan.shards, plan.partitions)
        self.history = History()
        self.failed: asyncio.Future[BaseException] = loop.create_future()
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.doors: dict[str, Door] = {}
        self.processes: list[Process] = []
        self.is_over = False  # nothing that happens now is part of the story
        self.random = self.chance.source("world")
        loop.set_exception_handler(self._unheard)

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def strike(self, kind: str, process: Process, random: Random) -> None:
        """One fault of a kind in time. `process`: drawn, for those that strike a process."""

    @abstractmethod
    def lead_to(self, process: Process, state: str) -> None:
        """Do what makes a process pass through a state, if that takes something."""

    @abstractmethod
    def heal(self) -> None:
        """From here on nothing fails, and whatever stands still goes on."""

    @abstractmethod
    def unfinished(self) -> Iterable[str]:
        """What has not come to its end."""

    @abstractmethod
    def steps(self) -> int:
        """Records that roles have taken."""

    # ------------------------------------------------------------------ the story

    def note(self, what: str) -> None:
        if not self.is_over:
            self.trace.append(f"{self.loop.now_s:10.6f}  {what}")

    def fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a task or a callback raised that nobody waits for: of a process that is dead, or a bug."""
        error = context.get("exception")
        life = CURRENT.get()
        if error is None or isinstance(error, Died) or (life is not None and not life.is_alive):
            return
        self.fail(error)

    # ------------------------------------------------------------------ processes

    def restart_later(self, process: Process, restart: Callable[[Process], None]) -> None:
        self.loop.world_later(RESTART_S + self.random.expovariate(5), restart, process)

    def close_door(self, name: str) -> None:
        """Its process is gone: whoever waits for an answer sees the connection break, a little later."""
        door = self.doors.pop(name, None)
        for future in door.under_way if door is not None else ():
            self.loop.world_later(self.random.uniform(0, 0.01), break_off, future)

    # ------------------------------------------------------------------ faults in time

    def begin_faults(self) -> None:
        self.faults.active = True
        for kind, period_s in self.faults.periods_s.items():
            self._later(kind, period_s, self.chance.source(f"times of {kind}"))

    def _later(self, kind: str, period_s: float, random: Random) -> None:
        self.loop.world_later(random.expovariate(1 / period_s), self._strike, kind, period_s, random)

    def _strike(self, kind: str, period_s: float, random: Random) -> None:
        if not self.faults.active:
            return
        self._later(kind, period_s, random)
        places = [(process, state) for process in self.processes for of, state in EXPECTED[kind] if of == process.kind and state in PASSING]
        if places and random.random() < AIMED:
            process, state = random.choice(places)
            self.lead_to(process, state)
            self._strike_when(kind, process, state, random, WAIT_TRIES)
        else:
            self.strike(kind, random.choice(self.processes), random)

    def _strike_when(self, kind: str, process: Process, state: str, random: Random, tries: int) -> None:
        """Once the process is in a state that it is soon out of again."""
        if self.faults.active and process.state() == state:
            self.strike(kind, process, random)
        elif self.faults.active and tries:
            self.loop.world_later(WAIT_S, self._strike_when, kind, process, state, random, tries - 1)

    def hold(self, process: Process, random: Random) -> None:
        if process.is_alive and self.faults.meet("process held", process):
            process.held_until_s = self.loop.now_s + random.choice((0.05, 0.5, 2.0))
            self.note(f"{process.name} is held until {process.held_until_s:.3f}, {process.state()}")


def break_off(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
