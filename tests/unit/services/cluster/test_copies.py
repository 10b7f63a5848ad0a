"""Copies that one process runs: what they say of themselves, and when they are started again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from zerosum.log.memory_streams import MemoryStream
from zerosum.log.streams import DeliveryFailed, Stream
from zerosum.services.cluster.copies import BEHIND_MAX, STUCK_S, Copies, Kept
from zerosum.sim.loop import SimLoop


class Played:
    """A copy that does what the test says."""

    name = "ubscore.0"
    emits = True
    is_verified = True

    def __init__(self, source: MemoryStream, ends_with: Exception | None = None) -> None:
        self.state = "serving"
        self.source: Stream = source
        self.next_offset = 0
        self._ends_with = ends_with

    async def run(self) -> None:
        if self._ends_with is None:
            await asyncio.Event().wait()
        else:
            raise ExceptionGroup("of a task group", [self._ends_with])


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    found = SimLoop()
    yield found
    found.close()


def test_a_copy_serves_once_it_has_caught_up_and_not_while_it_stands_still(loop: SimLoop) -> None:
    copy = Played(MemoryStream("commands.0", loop.now_us))
    kept = Kept(lambda: copy)
    copy.state = "restoring"
    assert kept.fault(0.0) == "it is restoring"
    copy.state = "serving"
    kept.see(BEHIND_MAX + 1, 0.0)
    assert kept.fault(0.0) == "it is catching up: 1,001 messages behind"
    copy.next_offset = 1
    kept.see(BEHIND_MAX + 1, 1.0)
    assert kept.fault(1.0) is None
    kept.see(BEHIND_MAX + 1, STUCK_S)
    assert kept.fault(1.0 + STUCK_S) is None
    assert kept.fault(2.0 + STUCK_S) == "it has stood still for 11 s, 1,000 messages behind"
    copy.is_verified = False
    assert "its input does not give what stands in its own stream" in str(kept.fault(1.0 + STUCK_S))
    copy.is_verified = True
    copy.next_offset = BEHIND_MAX + 1
    kept.see(BEHIND_MAX + 1, 2.0 + STUCK_S)
    assert kept.fault(99.0) is None, "nothing is to be done"


def test_a_copy_that_the_streams_failed_is_started_again_after_longer_and_longer_waits(loop: SimLoop) -> None:
    made: list[float] = []
    said: list[str] = []
    source = MemoryStream("commands.0", loop.now_us)

    def make() -> Played:
        made.append(loop.time())
        return Played(source, DeliveryFailed("no broker took it") if len(made) < 7 else None)

    async def story() -> None:
        copies = Copies(lambda name: source, [make], said.append)
        running = loop.create_task(copies.run())
        await asyncio.sleep(30)
        assert not running.done()
        assert copies.kept[0].restarts == 6
        assert copies.fault() is None

    loop.run(story())
    waits = [round(later - earlier, 1) for earlier, later in pairwise(made)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert said == ["ubscore.0: no broker took it It is started again."] * 6


def test_what_starting_again_does_not_mend_ends_them_all(loop: SimLoop) -> None:
    source = MemoryStream("commands.0", loop.now_us)

    async def story() -> None:
        copies = Copies(lambda name: source, [lambda: Played(source), lambda: Played(source, ValueError("broken"))], print)
        with pytest.raises(ExceptionGroup) as caught:
            await copies.run()
        assert caught.group_contains(ValueError, match="broken")

    loop.run(story())
