"""
The copies of roles that one process runs: started, watched, started again where the streams or the database failed them.

    make() --> a copy --run()--> ends: what carries it failed --> after a while, make() again
                                       anything else          --> the process ends, and says why

How far each is behind its input is asked once a second; that also shows whether Kafka still answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, final

from zerosum.log.streams import DeliveryFailed, Stream

RESTART_S: Final = 0.2
RESTART_S_MAX: Final = 5.0
PROBE_S: Final = 1.0
BEHIND_MAX: Final = 1_000  # messages: a copy that is further behind has yet to catch up
STUCK_S: Final = 10.0


class Copy(Protocol):
    """
    A Role or a Settlement. `emits`: whether it puts out what it makes, or stands by. `is_verified`: whether it has made what was out when
    it started, and found it the same: it emits nothing before that.
    """

    state: str
    emits: bool
    source: Stream

    @property
    def name(self) -> str: ...

    @property
    def next_offset(self) -> int: ...

    @property
    def is_verified(self) -> bool: ...

    async def run(self) -> None: ...


@final
class Kept:
    """A copy, and those that come after it. `behind`: messages of its input that it has not taken, as far as is known."""

    def __init__(self, make: Callable[[], Copy]) -> None:
        self.make = make
        self.copy = make()
        self.restarts = 0
        self.behind = 0
        self.has_caught_up = False
        self._seen = -1
        self._seen_at = 0.0

    def see(self, next_of_source: int, now: float) -> None:
        self.behind = max(0, next_of_source - self.copy.next_offset)
        if self.behind <= BEHIND_MAX and self.copy.state != "restoring":
            self.has_caught_up = True
        if self.behind == 0 or self.copy.next_offset != self._seen:
            self._seen, self._seen_at = self.copy.next_offset, now

    def fault(self, now: float) -> str | None:
        """Why it does not serve."""
        if self.copy.state == "restoring":
            return "it is restoring"
        if not self.has_caught_up:
            return f"it is catching up: {self.behind:,} messages behind"
        if not self.copy.is_verified:
            return "its input does not give what stands in its own stream: was one of them, or a decision about a record, changed?"
        if self.behind and now - self._seen_at > STUCK_S:
            return f"it has stood still for {now - self._seen_at:.0f} s, {self.behind:,} messages behind"
        return None


@final
class Copies:
    def __init__(self, stream: Callable[[str], Stream], makes: list[Callable[[], Copy]], report: Callable[[str], None]) -> None:
        """`stream` makes streams, which are only asked where they end."""
        self.kept = [Kept(make) for make in makes]
        self._stream = stream
        self._report = report
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Until one ends of something that starting again does not mend."""
        async with asyncio.TaskGroup() as tasks:
            for kept in self.kept:
                tasks.create_task(self._keep(kept))
                tasks.create_task(self._probe(kept))

    async def _keep(self, kept: Kept) -> None:
        wait_s = RESTART_S
        while True:
            began = self._loop.time()
            try:
                await kept.copy.run()
            except* DeliveryFailed as failed:
                self._report(f"{kept.copy.name}: {first_of(failed)} It is started again.")
            if self._loop.time() - began > RESTART_S_MAX:
                wait_s = RESTART_S
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RESTART_S_MAX)
            kept.restarts += 1
            kept.has_caught_up = False
            kept.copy = kept.make()

    async def _probe(self, kept: Kept) -> None:
        source = self._stream(kept.copy.source.name)
        while True:
            kept.see((await source.ends()).next, self._loop.time())
            await asyncio.sleep(PROBE_S)

    def fault(self) -> str | None:
        """What is not as it should be, of all of them."""
        now = self._loop.time()
        faults = [f"{kept.copy.name}: {why}" for kept in self.kept if (why := kept.fault(now)) is not None]
        return "; ".join(faults) or None


def first_of(group: BaseExceptionGroup[DeliveryFailed]) -> BaseException:
    """One of what is in it: they all tell of one failure."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
