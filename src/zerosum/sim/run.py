"""
One run of the simulator: a world from a plan, to the end, and what is found.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, final

import structlog

from zerosum.sim import checks, embedded_checks
from zerosum.sim.cluster import Cluster
from zerosum.sim.embedded import EmbeddedWorld
from zerosum.sim.loop import SimLoop, Stuck, TooLong
from zerosum.sim.plan import EMBEDDED, Plan
from zerosum.sim.workload import Workload
from zerosum.sim.world import World

RUN_S: Final = 3600.0  # of simulated time
FAULTY_S: Final = 120.0  # how long things may fail: a world that gets nowhere for them has shown what it can
HEAL_S: Final = 120.0  # by when everything must have finished once nothing fails any more and nobody asks for anything
QUIET_S: Final = 0.1


@final
@dataclass(slots=True)
class Result:
    """`steps`: records that roles have taken. `failure`: '' when nothing was found."""

    plan: Plan
    failure: str = ""
    steps: int = 0
    simulated_s: float = 0.0
    faults: int = 0
    met: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


class NotFinished(Exception):
    """All is healed, and something does not come to its end."""


def run(plan: Plan) -> Result:
    loop = SimLoop()
    loop.until_s = RUN_S
    world: World = EmbeddedWorld(loop, plan) if plan.world == EMBEDDED else Cluster(loop, plan)
    result = Result(plan)
    try:
        with unlogged():
            result.failure = loop.run(live(world))
    except (Stuck, TooLong, NotFinished) as error:
        result.failure = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001  a failure of the simulator is one of the run
        result.failure = "".join(traceback.format_exception(error))
    finally:
        if isinstance(world, EmbeddedWorld):
            world.remove()
    result.steps = world.steps()
    result.simulated_s = loop.now_s
    result.faults = world.faults.count
    result.met = world.faults.met
    result.trace = list(world.trace)
    return result


@contextmanager
def unlogged() -> Iterator[None]:
    """What roles log is not told: faults are what worlds are made of, and what should not be is found otherwise."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


async def live(world: World) -> str:
    """The first thing that was found, or ''."""
    story = asyncio.get_running_loop().create_task(story_of(world))
    awaited: list[asyncio.Future[Any]] = [story, world.failed]
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    world.is_over = True
    if isinstance(world, Cluster) and world.noticed:
        return ""  # as it must be
    if isinstance(world, Cluster) and world.lost and not world.noticed_by:
        return f"{world.lost} lost a message that it had acknowledged, and nobody noticed"
    if world.failed.done():
        story.cancel()
        return "".join(traceback.format_exception(world.failed.result()))
    return story.result()


async def story_of(world: World) -> str:
    world.start()
    workload = Workload(world)
    await workload.set_up()
    if isinstance(world, Cluster) and (found := list(checks.repeats(world))):
        return "\n".join(found)
    world.begin_faults()
    working = asyncio.get_running_loop().create_task(workload.run())
    await asyncio.wait([working], timeout=FAULTY_S)
    world.heal()
    await working
    await finish(world)
    return "\n".join(list(findings(world))[:20])


def findings(world: World) -> Iterable[str]:
    if isinstance(world, Cluster):
        return checks.findings(world, world.history)
    assert isinstance(world, EmbeddedWorld), "there are two kinds"
    return embedded_checks.findings(world, world.history)


async def finish(world: World) -> None:
    """Everything that is under way comes to its end, or NotFinished."""
    until = world.loop.time() + HEAL_S
    while open_ends := list(world.unfinished()):
        if world.loop.time() > until:
            raise NotFinished("; ".join(open_ends[:5]))
        await asyncio.sleep(QUIET_S)
