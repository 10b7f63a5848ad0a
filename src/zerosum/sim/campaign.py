"""
Many runs, on all cores, seed after seed from the first, until enough role steps are done, one run fails, or somebody has seen enough.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import queue
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

from zerosum.sim.coverage import Met
from zerosum.sim.plan import Plan
from zerosum.sim.run import Result, run

COMMANDS: Final = 1000  # of a run
AHEAD: Final = 2  # runs given to each process at a time
PR_SET_PDEATHSIG: Final = 1


@final
@dataclass(slots=True)
class Tally:
    """`met`: in all runs. `failed`: the first run that did. `was_interrupted`: before there was enough."""

    runs: int = 0
    steps: int = 0
    faults: int = 0
    simulated_s: float = 0.0
    seconds: float = 0.0
    met: Counter[Met] = field(default_factory=Counter)
    failed: Result | None = None
    was_interrupted: bool = False

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


def begin_worker() -> None:
    """Ends with the process that started it, however that ends (on Linux); Ctrl-C is for that one alone to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def campaign(
    first_seed: int, *, steps: int = 0, seconds: float = 0.0, commands: int = COMMANDS, jobs: int = 1,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:  # fmt: skip
    """Until so many steps are done or so many seconds have passed, whichever is given. KeyboardInterrupt only ends it earlier."""
    tally, start = Tally(), time.monotonic()
    done: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()
    with multiprocessing.get_context("spawn").Pool(jobs, begin_worker) as pool:
        seed = first_seed
        for _ in range(jobs * AHEAD):
            pool.apply_async(run_seed, (seed, commands), callback=done.put, error_callback=done.put)
            seed += 1
        try:
            while not tally.failed and not (steps and tally.steps >= steps) and not (seconds and tally.seconds >= seconds):
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                tally.add(result)
                tally.seconds = time.monotonic() - start
                progress(tally)
                pool.apply_async(run_seed, (seed, commands), callback=done.put, error_callback=done.put)
                seed += 1
        except KeyboardInterrupt:
            tally.was_interrupted = True
    return tally
