"""
One run of the simulator: a world from a plan, to the end, and what is found.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from zerosum.log.messages import position, unpack
from zerosum.services.cluster.role import Role
from zerosum.sim import checks
from zerosum.sim.cluster import HEAL_S, Cluster
from zerosum.sim.loop import SimLoop, Stuck, TooLong
from zerosum.sim.plan import Plan
from zerosum.sim.streams import SimStream
from zerosum.sim.workload import Workload

RUN_S: Final = 3600.0  # of simulated time
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
    world = Cluster(loop, plan)
    result = Result(plan)
    try:
        result.failure = loop.run(live(world))
    except (Stuck, TooLong, NotFinished) as error:
        result.failure = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001  a failure of the simulator is one of the run
        result.failure = "".join(traceback.format_exception(error))
    result.steps = steps_of(world)
    result.simulated_s = loop.now_s
    result.faults = world.faults.count
    result.met = world.faults.met
    result.trace = list(world.trace)
    return result


async def live(world: Cluster) -> str:
    """The first thing that was found, or ''."""
    story = asyncio.get_running_loop().create_task(story_of(world))
    awaited: list[asyncio.Future[Any]] = [story, world.failed]
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    if world.noticed:
        return ""  # as it must be
    if world.lost:
        return f"{world.lost} lost a message that it had acknowledged, and nobody noticed"
    if world.failed.done():
        story.cancel()
        return "".join(traceback.format_exception(world.failed.result()))
    return story.result()


async def story_of(world: Cluster) -> str:
    world.start()
    workload = Workload(world)
    await workload.set_up()
    if found := list(checks.repeats(world)):
        return "\n".join(found)
    world.begin_faults()
    await workload.run()
    world.heal()
    await finish(world)
    found = list(checks.findings(world, workload.history))
    return "\n".join(found[:20])


async def finish(world: Cluster) -> None:
    """Everything that is under way comes to its end, or NotFinished."""
    until = world.loop.time() + HEAL_S
    while open_ends := list(unfinished(world)):
        if world.loop.time() > until:
            raise NotFinished("; ".join(open_ends[:5]))
        await asyncio.sleep(QUIET_S)


def unfinished(world: Cluster) -> Iterator[str]:
    for process in world.processes:
        if not process.is_alive:
            yield f"{process.name} does not run"
    for name, role in world.roles.items():
        ends = len(role_source(world, role).log)
        if role.machine.next_offset < ends:
            yield f"{name} has taken {role.machine.next_offset} of {ends} messages"
        if role.outbox.waits_since() is not None:
            yield f"{name} has something to emit"
    for kind in ("account", "market"):
        for name, stream in world.streams.items():
            if name.startswith(f"{kind}-events"):
                last = max([unpack(each.data, name).sequence for each in stream.log], default=0)
                settled = world.store.positions.get(name)
                if last and (settled is None or settled.sequence < last):
                    yield f"{name} is settled up to {settled}, of {last}"
    for name, gateway in world.gateways.items():
        if gateway.under_way:
            yield f"{name} owes {len(gateway.under_way)} answers"
        for shard, upto in enumerate(gateway.entry.shown_up_to()):
            if upto < position(len(world.streams[f"commands.{shard}"].log)):
                yield f"{name} has not seen the end of commands.{shard}"


def role_source(world: Cluster, role: Role) -> SimStream:
    kind, number = role.machine.name.split(".")
    return world.streams[f"{'commands' if kind == 'ubscore' else 'orders'}.{number}"]


def steps_of(world: Cluster) -> int:
    """Records that roles have taken."""
    return sum(stream.records_read for stream in world.streams.values())
