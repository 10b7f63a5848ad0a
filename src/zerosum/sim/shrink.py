"""
Makes a failing run smaller: fewer commands, fewer faults, a smaller cluster, as long as it fails still.

The same seed with less of something is another story, but most failures need little: what is left in the end is what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from zerosum.sim.plan import LOSSY, Plan
from zerosum.sim.run import Result, run

TRIES_MAX: Final = 120
NO_DIGITS: Final = str.maketrans("", "", "0123456789")


def kind_of(failure: str) -> str:
    """Failures of one kind have one cause, mostly: the last line up to its first colon, where an error's type stands."""
    lines = [line.strip(" |+-") for line in failure.strip().splitlines()]
    told = [line for line in lines if line]
    return told[-1].partition(":")[0] if "Traceback" in failure else told[0].translate(NO_DIGITS) if told else ""


def shrink(result: Result, tried: Callable[[Plan, bool], None] = lambda plan, fails: None, tries: int = TRIES_MAX) -> Result:
    """The smallest that was found to fail in the same way. `tried` is told of each attempt."""
    smallest, kind = result, kind_of(result.failure)
    left = tries
    progress = True
    while progress and left > 0:
        progress = False
        for plan in smaller(smallest):
            if left == 0:
                break
            left -= 1
            attempt = run(plan)
            fails = bool(attempt.failure) and kind_of(attempt.failure) == kind
            tried(plan, fails)
            if fails:
                smallest = attempt
                progress = True
                break
    return smallest


def smaller(result: Result) -> Iterator[Plan]:
    """What to try next, the greatest steps first."""
    plan = result.plan
    for part in (2, 4, 8):
        if plan.commands > part * 10:
            yield plan.but(commands=plan.commands - plan.commands // part)
    if plan.world == LOSSY:
        return
    if plan.shards * plan.partitions > 1:
        yield plan.but(shards=1, partitions=1)
        yield plan.but(shards=2, partitions=1)
        yield plan.but(shards=1, partitions=2)
    for name, least in (("bots", 0), ("workers", 1), ("gateways", 1), ("standbys", False)):
        if getattr(plan, name) != least:
            yield plan.but(**{name: least})
    for kind in sorted({kind for kind, _, _ in result.met} - plan.without):
        yield plan.but(without=plan.without | {kind})
    numbers = [number for number in range(1, result.faults + 1) if number not in plan.off]
    size = len(numbers) // 2
    while size >= 1 and len(numbers) <= 400:
        for start in range(0, len(numbers), size):
            yield plan.but(off=plan.off | frozenset(numbers[start : start + size]))
        size //= 2


def account(result: Result, first: Result) -> str:
    """What failed and how to see it again, for somebody who was not there."""
    faults = "\n".join(f"  {count:4} x {fault}, {process} {state}" for (fault, process, state), count in sorted(result.met.items()))
    return (
        f"Seed {first.plan.seed} fails: {first.plan.text()}\n\n{first.failure}\n\n"
        f"Made smaller, it fails so: {result.plan.text()}\n\n{result.failure}\n\nThe faults of the smaller run:\n{faults or '  none'}\n\n"
        "Its last steps:\n" + "\n".join(result.trace) + f"\n\nTo see it again:\n  zerosum simulate --again '{result.plan.json()}'\n"
    )
