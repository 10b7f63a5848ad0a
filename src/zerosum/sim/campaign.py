"""
Many runs, on all cores, seed after seed from the first, until enough role steps are done or one run fails.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final, final

from zerosum.sim.plan import Plan
from zerosum.sim.run import Result, run

COMMANDS: Final = 1000  # of a run
AHEAD: Final = 2  # runs given to each process at a time


@final
@dataclass(slots=True)
class Tally:
    """`met`: (fault, kind of process, state) -> how often, in all runs. `failed`: the first run that did."""

    runs: int = 0
    steps: int = 0
    faults: int = 0
    simulated_s: float = 0.0
    seconds: float = 0.0
    met: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failed: Result | None = None

    def add(self, result: Result) -> None:
        self.runs += 1
        self.steps += result.steps
        self.faults += result.faults
        self.simulated_s += result.simulated_s
        self.met.update(result.met)
        if result.failure and self.failed is None:
            self.failed = result

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.seconds else 0.0


def run_seed(seed: int, commands: int) -> Result:
    return run(Plan.of(seed, commands))


def campaign(
    first_seed: int, *, steps: int = 0, seconds: float = 0.0, commands: int = COMMANDS, jobs: int = 1,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:  # fmt: skip
    """Until so many steps are done or so many seconds have passed, whichever is given."""
    tally, start = Tally(), time.monotonic()

    def goes_on() -> bool:
        tally.seconds = time.monotonic() - start
        enough = (steps and tally.steps >= steps) or (seconds and tally.seconds >= seconds)
        return tally.failed is None and not enough

    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        under_way: set[Future[Result]] = set()
        seed = first_seed
        while goes_on():
            while len(under_way) < jobs * AHEAD:
                under_way.add(pool.submit(run_seed, seed, commands))
                seed += 1
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                tally.add(future.result())
            progress(tally)
        for future in under_way:
            future.cancel()
    tally.seconds = time.monotonic() - start
    return tally
