"""
Stands between a gateway's API and its Entry, and writes down what passes.

    Api --command--> Recorder --> Entry           each command, and its answer, in the history
                        '-- may_doubt: whether what is answered now may be "status unknown"

In a cluster it writes a number of its own into each command's TIME, which machines there do not look at: so the command can be found in its
stream again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, final

from zerosum.gateway.entry import Answer, Busy, Entry, Event, Lost, Passed, unheard
from zerosum.services.cluster.topology import Topology
from zerosum.sim.findings import RunFailed
from zerosum.sim.history import ANSWERED, BUSY, LOST, Asked, History
from zerosum.sim.loop import SimLoop
from zerosum.sim.process import Life

TIME: Final = slice(8, 16)
ROUNDING_S: Final = 1e-6


@final
class Recorder:
    def __init__(
        self, name: str, life: Life, entry: Entry, history: History, topology: Topology, loop: SimLoop, *, answer_s: float,
        fail: Callable[[BaseException], None],
    ) -> None:  # fmt: skip
        """`answer_s`: after which the Entry gives up; 0 for one that loses nothing."""
        self.may_doubt = False
        self.under_way: dict[int, Asked] = {}  # commands not answered, by number
        self.session = f"{name}, life {life.process.lives}"
        self._life = life
        self._answer_s = answer_s
        self._fail = fail
        self._entry = entry
        self._history = history
        self._topology = topology
        self._loop = loop

    def submit(self, command: bytes, answer: Answer, lost: Lost = unheard) -> None:
        if self._answer_s:
            command = command[: TIME.start] + (len(self._history.asked) + 1).to_bytes(8, "little") + command[TIME.stop :]
        asked = self._history.ask(command, self._topology.shard_of_command(command), self.session, self._loop.time())
        self.under_way[asked.number] = asked

        def answered(events: list[Event]) -> None:
            asked.events = list(events)
            self._finish(asked, ANSWERED)
            answer(events)

        def gone() -> None:
            self._finish(asked, LOST)
            waited_s = self._loop.now_s - asked.asked_s
            if waited_s < self._answer_s - ROUNDING_S and self._life.delivery_failed_at_s < asked.asked_s:
                self._fail(RunFailed(f"command {asked.number} of {self.session} was told to be lost, and no delivery had failed"))
            with self._doubt():
                lost()

        try:
            self._entry.submit(command, answered, gone)
        except Busy:
            self._finish(asked, BUSY)
            raise

    def _finish(self, asked: Asked, outcome: str) -> None:
        asked.outcome, asked.told_s = outcome, self._loop.time()
        del self.under_way[asked.number]

    def barrier(self, account_id: int, passed: Passed) -> None:
        self._entry.barrier(account_id, self._noting(passed))

    def settled(self, account_id: int, passed: Passed, timeout_s: float) -> None:
        self._entry.settled(account_id, self._noting(passed), timeout_s)

    def now_us(self) -> int:
        return self._entry.now_us()

    def _noting(self, passed: Passed) -> Passed:
        def note(in_time: bool) -> None:
            if in_time:
                return passed(True)
            with self._doubt():
                passed(False)

        return note

    @contextmanager
    def _doubt(self) -> Iterator[None]:
        self.may_doubt = True
        try:
            yield
        finally:
            self.may_doubt = False
