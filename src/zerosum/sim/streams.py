"""
Streams that fail on purpose, as far as `zerosum.log.streams` allows it.

    append --delay--> lands --> readable --delay--> acknowledged
              |         |                      '--> or not: the writer is told that it failed, and it is there
              |         '--> a second time, or in two pieces (never what a gateway sends)
              '--> never lands, or seconds later

A stream's leader changes: for a while nothing is taken, of what was on its way some writers' messages are lost, and the clock that stamps
them is another machine's. What was acknowledged stays.

A writer that was told of a failure, or whose process has died, has no more messages land but those on their way, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final, final

from zerosum.log.messages import count_in, pack, unpack
from zerosum.log.streams import Appended, DeliveryFailed, Ends, StreamPruned
from zerosum.sim.chance import delay_s
from zerosum.sim.faults import Faults
from zerosum.sim.loop import SimLoop
from zerosum.sim.process import Died, Life

READ_MAX: Final = 64
NEXT_S: Final = 1e-9  # between two messages of a writer: of timers for the same time any may ring first
TIMEOUT_S: Final = 0.5  # after which a writer is told that its message failed
LATE_S: Final = 3.0  # by how much later a message may land that has failed


@final
class SimStream:
    """The stream itself, in the world. Processes have an end of it each (`of`)."""

    def __init__(self, name: str, loop: SimLoop, faults: Faults, random: Random) -> None:
        self.name = name
        self.kind = "stream"
        self.first = 0
        self.log: list[Appended] = []  # all that ever landed, pruned or not
        self.clock_offset_us = 0
        self.cut_until_s = 0.0
        self.leaders = 1  # that there have been
        self.records_read = 0  # by all who read it
        self.loses: Callable[[SimStream, bytes], bool] = lambda stream, data: False  # against its promise: an acknowledged message
        self.loop = loop
        self.faults = faults
        self.random = random
        self._waiters: deque[asyncio.Future[None]] = deque()

    def state(self) -> str:
        """What it carries."""
        return self.name.partition(".")[0]

    def of(self, life: Life) -> SimStreamEnd:
        return SimStreamEnd(self, life)

    def land(self, data: bytes) -> int:
        offset = len(self.log)
        self.log.append(Appended(offset, self.loop.now_us() + self.clock_offset_us, data))
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
        return offset

    async def more(self) -> None:
        """Until something lands."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def change_leader(self, clock_offset_us: int) -> None:
        self.leaders += 1
        self.clock_offset_us = clock_offset_us
        self.cut_until_s = max(self.cut_until_s, self.loop.now_s + self.random.uniform(0.02, 0.3))

    def prune(self, before: int) -> None:
        self.first = max(self.first, before)


@final
class SimStreamEnd:
    """A stream, as one process has it."""

    def __init__(self, stream: SimStream, life: Life) -> None:
        self.name = stream.name
        self._stream = stream
        self._life = life

    def writer(self) -> SimWriter:
        return SimWriter(self._stream, self._life)

    async def read(self, offset: int) -> list[Appended]:
        stream, faults = self._stream, self._stream.faults
        await self._wait()
        while offset >= len(stream.log):
            await stream.more()
            await self._wait()
        if offset < stream.first:
            raise StreamPruned(self.name, offset, stream.first)
        count = READ_MAX
        if faults.happens("reading by bits", self._life):
            count = stream.random.randint(1, 3)
        found = stream.log[offset : offset + count]
        stream.records_read += sum(count_in(each.data) for each in found)
        if faults.happens("message damaged", self._life):
            found[-1] = found[-1]._replace(data=with_a_bit_flipped(found[-1].data, stream.random))
        return found

    async def ends(self) -> Ends:
        await self._wait()
        return Ends(self._stream.first, len(self._stream.log))

    async def _wait(self) -> None:
        """For the broker's answer."""
        stream = self._stream
        await self._life.pause()
        wait_s = delay_s(stream.random, stream.faults.read_s)
        if stream.faults.happens("slow read", self._life):
            wait_s += stream.random.uniform(0.05, 0.5)
        await asyncio.sleep(max(wait_s, stream.cut_until_s - stream.loop.time()))
        await self._life.pause()


def with_a_bit_flipped(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


@final
class SimWriter:
    """One session. Landing keeps the order of the calls."""

    def __init__(self, stream: SimStream, life: Life) -> None:
        self._stream = stream
        self._life = life
        self._lands_at_s = 0.0
        self._failed = False
        self._broken = False  # with its process, or a leader: what is on its way is lost from some message on
        self._leaders = stream.leaders  # that it has survived
        self._doubts = life.process.kind != "gateway"  # what gateways send is not numbered: their sessions repeat nothing

    async def append(self, data: bytes) -> int:
        stream, faults, life = self._stream, self._stream.faults, self._life
        life.check()
        self._crash_if("crash before an append")
        if self._failed:
            raise self._delivery_failed("the session has failed before")
        landed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._send(data, landed)
        self._crash_if("crash after an append")
        done, _ = await asyncio.wait([landed], timeout=TIMEOUT_S)
        await life.pause()
        if not done or faults.happens("acknowledgement lost", life):
            self._failed = True
            raise self._delivery_failed(f"no acknowledgement in {TIMEOUT_S:g} s")
        await asyncio.sleep(delay_s(stream.random, faults.append_s))
        await life.pause()
        return landed.result()

    def _delivery_failed(self, why: str) -> DeliveryFailed:
        self._life.delivery_failed_at_s = self._stream.loop.now_s
        return DeliveryFailed(f"{self._stream.name}: {why}")

    def _crash_if(self, kind: str) -> None:
        if self._stream.faults.happens(kind, self._life):
            self._life.process.crash()
            raise Died

    def _send(self, data: bytes, landed: asyncio.Future[int]) -> None:
        stream, faults = self._stream, self._stream.faults
        now = stream.loop.time()
        takes_s = delay_s(stream.random, faults.append_s)
        if faults.happens("slow append", self._life):
            takes_s += stream.random.uniform(0.05, 1.0)
        leaves_s = max(now, self._life.held_until_s)
        self._lands_at_s = max(self._lands_at_s + NEXT_S, leaves_s + takes_s, stream.cut_until_s)
        if faults.happens("delivery lost", self._life):
            self._failed = True  # this one and all after it
            if faults.happens("delivery late", self._life):
                stream.loop.world_later(self._lands_at_s - now + stream.random.uniform(0, LATE_S), self._land, data, landed, True)
            return
        stream.loop.world_later(self._lands_at_s - now, self._land, data, landed, False)

    def _land(self, data: bytes, landed: asyncio.Future[int], late: bool) -> None:
        stream, faults = self._stream, self._stream.faults
        if not late:
            self._break_by_chance()
        if self._broken:
            return  # none is there without those before it
        if self._doubts and stream.loses(stream, data):
            offset = len(stream.log)
        elif self._doubts and faults.happens("message split", self._life):
            offset = self._land_in_pieces(data)
        else:
            offset = stream.land(data)
        if self._doubts and faults.happens("message repeated", self._life):
            stream.land(data)
        if not landed.done():
            landed.set_result(offset)

    def _break_by_chance(self) -> None:
        stream = self._stream
        in_doubt = not self._life.is_alive or self._leaders < stream.leaders
        self._leaders = stream.leaders
        if in_doubt and stream.random.random() < 0.5:
            self._broken = self._failed = True

    def _land_in_pieces(self, data: bytes) -> int:
        """As if the records had been sent in two messages. The first says nothing of what is out."""
        stream = self._stream
        message = unpack(data, "a message of the simulator")
        ends: list[int] = []
        at = 0
        while at < len(message.records):
            at += int.from_bytes(message.records[at + 2 : at + 4], "little") * 8
            ends.append(at)
        if len(ends) < 2:
            return stream.land(data)
        cut = stream.random.choice(ends[:-1])
        stream.land(pack(message.records[:cut], writer=message.writer))
        return stream.land(pack(message.records[cut:], writer=message.writer, upto=message.upto, sequence=message.sequence))
