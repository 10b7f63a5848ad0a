"""
A gateway's end of the cluster: commands out, events in.

    submit --> gathered, some milliseconds --> commands.<shard>        (offset, index) --> place: who waits for which events
    account events of every shard ----> views, answers, barriers
    market events of every engine ----> views

A command that could not be delivered may be there all the same: its sender is told that this is not known, and nothing is sent again. By
its deadline, and a read behind a barrier, the sender can find out for certain.

Always true: an event is shown by the views before anything is answered from it; a barrier is passed once the views show all that its shard
had been sent, here or by other gateways, when it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, final

from zerosum.gateway.entry import Answer, Busy, Event, Lost, Passed, unheard
from zerosum.log.messages import RECORDS_BYTES_MAX, pack, position
from zerosum.log.streams import DeliveryFailed, Stream, Writer
from zerosum.services.cluster.answering import Answering
from zerosum.services.cluster.following import follow
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.settlement.row_store import RowStore, StoreFailed
from zerosum.views.events import unpacked
from zerosum.views.views import Views

SEQUENCE: Final = 1  # words of an event
CAUSE: Final = 2


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    linger_s: float = 0.002  # how long commands are gathered
    pending_max: int = 50_000  # commands under way, after which the gateway is busy
    answer_s: float = 10.0  # after which a command's fate is not known to its sender
    barrier_s: float = 10.0
    settled_poll_s: float = 0.05
    writer: int = 0


@dataclass(slots=True, eq=False)
class Waiting:
    """A command under way, from the moment it is submitted. `place` is 0 until it is known."""

    command: bytes
    answer: Answer
    lost: Lost
    answering: Answering
    timer: asyncio.TimerHandle | None = None
    place: int = 0


@dataclass(slots=True, eq=False)
class Barrier:
    passed: Passed
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Unclaimed:
    """Events of a command that is another gateway's, or whose place is not known yet. `sent`: messages had been sent when the last came."""

    sent: int
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class ShardEnd:
    """What a gateway keeps of one shard. `upto`: the views show all that its commands before this position caused."""

    stream: Stream
    writer: Writer
    upto: int = 0
    gathered: list[Waiting] = field(default_factory=list)
    gathered_bytes: int = 0
    sends: dict[int, asyncio.Task[None]] = field(default_factory=dict)  # messages under way, by their number
    sent: int = 0  # the number of the last message
    by_place: dict[int, Waiting] = field(default_factory=dict)
    to_be_applied: dict[int, Waiting] = field(default_factory=dict)  # those of them that wait for nothing more, by place
    unclaimed: dict[int, Unclaimed] = field(default_factory=dict)  # by place
    asked: list[Barrier] = field(default_factory=list)  # for the next note of the stream's end
    noting: bool = False
    noted: list[tuple[int, Barrier]] = field(default_factory=list)  # with the position that they wait for

    def answered_up_to(self, sequence: int) -> int:
        """The last event, of those up to `sequence`, before which no answer is waited for: an answer may look up what its events ended."""
        waited_for = (waiting.answering.events for waiting in self.by_place.values())
        unclaimed = (each.events for each in self.unclaimed.values())
        return min([sequence, *(events[0][SEQUENCE] - 1 for events in (*waited_for, *unclaimed) if events)])


@final
class ClusterEntry:
    """The Entry of a gateway in a cluster. `run` feeds it; it is of use once `current` is set: the views have caught up then."""

    def __init__(
        self, topology: Topology, streams: Streams, views: Views, store: RowStore, settings: GatewaySettings, clock_us: Callable[[], int]
    ) -> None:  # fmt: skip
        self.topology = topology
        self.current = asyncio.Event()
        self._streams = streams
        self._views = views
        self._store = store
        self._settings = settings
        self._clock_us = clock_us
        self._loop = asyncio.get_running_loop()
        self._under_way = 0
        self._shards = [ShardEnd(stream, stream.writer()) for stream in streams.commands]
        self._tasks: set[asyncio.Task[None]] = set()
        self._behind = self.topology.shards + self.topology.partitions  # streams not caught up with

    # ------------------------------------------------------------------ Entry

    def submit(self, command: bytes, answer: Answer, lost: Lost = unheard) -> None:
        if self._under_way >= self._settings.pending_max:
            raise Busy(f"{self._settings.pending_max} commands are under way")
        self._under_way += 1
        shard = self._shards[self.topology.shard_of_command(command)]
        waiting = Waiting(command, answer, lost, Answering(command))
        waiting.timer = self._loop.call_later(self._settings.answer_s, self._lose, shard, waiting)
        if not shard.gathered:
            self._loop.call_later(self._settings.linger_s, self._flush, shard)
        shard.gathered.append(waiting)
        shard.gathered_bytes += len(command)
        if shard.gathered_bytes >= RECORDS_BYTES_MAX // 2:
            self._flush(shard)

    def barrier(self, account_id: int, passed: Passed) -> None:
        shard = self._shards[self.topology.shard_of_account(account_id)]
        barrier = Barrier(passed)
        barrier.timer = self._loop.call_later(self._settings.barrier_s, self._give_up, shard, barrier)
        shard.asked.append(barrier)
        if not shard.noting:
            shard.noting = True
            self._start(self._note_end(shard))

    def settled(self, account_id: int, passed: Passed, timeout_s: float) -> None:
        number = self.topology.shard_of_account(account_id)
        self._start(self._wait_for_settlement(number, self._views.shards[number].sequence, passed, timeout_s))

    def now_us(self) -> int:
        return self._clock_us()

    def shown_up_to(self) -> list[int]:
        """By shard: the views show all that its commands before this position caused."""
        return [shard.upto for shard in self._shards]

    # ------------------------------------------------------------------ commands

    def _flush(self, shard: ShardEnd) -> None:
        if shard.gathered:
            taken, shard.gathered, shard.gathered_bytes = shard.gathered, [], 0
            shard.sent += 1
            shard.sends[shard.sent] = self._start(self._send(shard, taken, shard.sent))

    async def _send(self, shard: ShardEnd, taken: list[Waiting], number: int) -> None:
        data = pack(b"".join([waiting.command for waiting in taken]), writer=self._settings.writer)
        try:
            offset = await shard.writer.append(data)
        except DeliveryFailed:
            shard.writer = shard.stream.writer()  # a new session: what comes now has nothing to do with what was lost
            for waiting in taken:
                self._lose(shard, waiting)
        else:
            for index, waiting in enumerate(taken):
                if waiting.timer is not None:
                    self._claim(shard, position(offset, index), waiting)
        finally:
            del shard.sends[number]
            self._forget_unclaimed(shard)

    def _claim(self, shard: ShardEnd, at: int, waiting: Waiting) -> None:
        """The command's place is known: its events may have come before."""
        waiting.place = at * self.topology.shards + self._shards.index(shard)
        shard.by_place[waiting.place] = waiting
        if not waiting.answering.waits_for_engine:
            shard.to_be_applied[waiting.place] = waiting
        unclaimed = shard.unclaimed.pop(waiting.place, None)
        for event in unclaimed.events if unclaimed is not None else ():
            waiting.answering.take(event)
        self._answer_if_whole(shard, waiting)

    def _forget_unclaimed(self, shard: ShardEnd) -> None:
        """What came while messages were under way that have all come to their end was another gateway's."""
        oldest = min(shard.sends, default=shard.sent + 1)
        shard.unclaimed = {place: each for place, each in shard.unclaimed.items() if each.sent >= oldest}

    def _answer_if_whole(self, shard: ShardEnd, waiting: Waiting) -> None:
        is_applied = shard.upto > waiting.place // self.topology.shards
        if waiting.answering.whole or (is_applied and not waiting.answering.waits_for_engine):
            self._finish(shard, waiting)
            waiting.answer(waiting.answering.events)

    def _lose(self, shard: ShardEnd, waiting: Waiting) -> None:
        if waiting.timer is not None:
            self._finish(shard, waiting)
            waiting.lost()

    def _finish(self, shard: ShardEnd, waiting: Waiting) -> None:
        assert waiting.timer is not None, "a command is finished once"
        waiting.timer.cancel()
        waiting.timer = None
        shard.by_place.pop(waiting.place, None)
        shard.to_be_applied.pop(waiting.place, None)
        self._under_way -= 1

    # ------------------------------------------------------------------ barriers

    async def _note_end(self, shard: ShardEnd) -> None:
        """One note of the end serves all who asked before it was begun."""
        try:
            while shard.asked:
                self._flush(shard)
                asked, shard.asked = shard.asked, []
                await self._wait_until_sent(shard)
                end = position((await shard.stream.ends()).next)
                shard.noted += [(end, barrier) for barrier in asked if barrier.timer is not None]
                self._pass_barriers(shard)
        finally:
            shard.noting = False

    async def _wait_until_sent(self, shard: ShardEnd) -> None:
        """What was submitted here before must have its place first."""
        under_way = list(shard.sends.values())
        if under_way:
            await asyncio.wait(under_way)

    def _pass_barriers(self, shard: ShardEnd) -> None:
        waiting = shard.noted
        shard.noted = []
        for end, barrier in waiting:
            if barrier.timer is None:
                continue
            if end <= shard.upto:
                barrier.timer.cancel()
                barrier.timer = None
                barrier.passed(True)
            else:
                shard.noted.append((end, barrier))

    def _give_up(self, shard: ShardEnd, barrier: Barrier) -> None:
        barrier.timer = None
        barrier.passed(False)

    async def _wait_for_settlement(self, number: int, sequence: int, passed: Passed, timeout_s: float) -> None:
        until = self._loop.time() + timeout_s
        stream = self._streams.account_events[number].name
        while (settled := await self._settled_up_to(stream)) < sequence:
            if self._loop.time() >= until:
                return passed(False)
            await asyncio.sleep(self._settings.settled_poll_s)
        self._views.forget_settled_events(number, min(settled, sequence, self._shards[number].answered_up_to(sequence)))
        passed(True)

    async def _settled_up_to(self, stream: str) -> int:
        """0 where the store can't say: it is asked again."""
        try:
            return (await self._store.settled(stream)).sequence
        except StoreFailed:
            return 0

    # ------------------------------------------------------------------ events

    async def run(self) -> None:
        """Follow every stream of events, from its beginning."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.topology.shards):
                tasks.create_task(self._follow_accounts(number))
            for number in range(self.topology.partitions):
                tasks.create_task(self._follow_market(number))

    async def _follow_accounts(self, number: int) -> None:
        async for followed in follow(self._streams.account_events[number], self._caught_up):
            self._take_accounts(number, self._shards[number], unpacked(followed.records), followed.upto)

    def _take_accounts(self, number: int, shard: ShardEnd, events: list[Event], upto: int) -> None:
        self._views.apply_account_events(number, events)
        shard.upto = max(shard.upto, upto)
        touched: dict[int, Waiting] = {}
        for event in events:
            waiting = shard.by_place.get(event[CAUSE])
            if waiting is not None:
                waiting.answering.take(event)
                touched[event[CAUSE]] = waiting
            elif shard.sends:
                unclaimed = shard.unclaimed.setdefault(event[CAUSE], Unclaimed(shard.sent))
                unclaimed.events.append(event)
                unclaimed.sent = shard.sent
        for waiting in (*touched.values(), *shard.to_be_applied.values()):
            if waiting.timer is not None:
                self._answer_if_whole(shard, waiting)
        self._pass_barriers(shard)

    async def _follow_market(self, number: int) -> None:
        async for followed in follow(self._streams.market_events[number], self._caught_up):
            self._views.apply_market_events(number, unpacked(followed.records))

    def _caught_up(self) -> None:
        """With one more of the streams."""
        self._behind -= 1
        if not self._behind:
            self.current.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
