"""
A gateway's commands to one shard: gathered, sent, and answered by the events that they cause.

    submit --> gathered, while the last message is young --> a message --> its offset, and so the place of each command in it
    the shard's events --> by their cause, a command's place --> who waits for them

A command that could not be delivered may be there all the same: its sender is told that this is not known, and nothing is sent again. What
comes after it waits until everything of the session that failed has come to its end, and goes out in a new one: so what is answered stands
in the stream in the order in which it was submitted.
Events may come before their command's place is known: while messages are under way, what nobody claims is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, final

from zerosum.gateway.entry import Answer, Event, Lost
from zerosum.log.messages import RECORDS_BYTES_MAX, pack, position
from zerosum.log.streams import DeliveryFailed, Stream
from zerosum.services.cluster.answering import Answering

SEQUENCE: Final = 1  # words of an event
CAUSE: Final = 2

Start = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task, and keeps it until it is done."""


@dataclass(frozen=True, slots=True)
class SendSettings:
    linger_s: float = 0.002  # between two messages, while commands are gathered
    answer_s: float = 10.0  # after which a command's fate is not known to its sender
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


@dataclass(slots=True)
class Unclaimed:
    """Events of a command that is another gateway's, or whose place is not known yet. `sent`: messages had been sent when the last came."""

    sent: int
    events: list[Event] = field(default_factory=list)


@final
class ShardEnd:
    """`upto`: what the shard's commands before this position caused has been taken. `under_way`: commands that are not answered."""

    def __init__(self, number: int, shards: int, stream: Stream, settings: SendSettings, start: Start) -> None:
        self.upto = 0
        self.under_way = 0
        self.lost = 0  # commands whose fate was not told
        self.stream = stream
        self._number = number
        self._shards = shards
        self._settings = settings
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._writer = stream.writer()
        self._has_failed = False  # the session: a new one begins once nothing of it is under way
        self._gathered: list[Waiting] = []
        self._gathered_bytes = 0
        self._flushed_at = 0.0
        self._sends: dict[int, asyncio.Task[None]] = {}  # messages under way, by their number
        self._sent = 0  # the number of the last message
        self._by_place: dict[int, Waiting] = {}
        self._to_be_applied: dict[int, Waiting] = {}  # those of them that wait for nothing more, by place
        self._unclaimed: dict[int, Unclaimed] = {}  # by place

    # ------------------------------------------------------------------ out

    def submit(self, command: bytes, answer: Answer, lost: Lost) -> None:
        self.under_way += 1
        waiting = Waiting(command, answer, lost, Answering(command))
        waiting.timer = self._loop.call_later(self._settings.answer_s, self._lose, waiting)
        if not self._gathered:
            self._loop.call_later(max(0.0, self._flushed_at + self._settings.linger_s - self._loop.time()), self.flush)
        self._gathered.append(waiting)
        self._gathered_bytes += len(command)
        if self._gathered_bytes >= RECORDS_BYTES_MAX // 2:
            self.flush()

    def flush(self) -> None:
        """Send what is gathered, unless it has to wait for a session that has failed."""
        if self._gathered and not self._has_failed:
            if not self._sends:
                self._writer = self.stream.writer()  # the session may have failed with what others sent
            self._flushed_at = self._loop.time()
            taken, self._gathered, self._gathered_bytes = self._gathered, [], 0
            self._sent += 1
            self._sends[self._sent] = self._start(self._send(taken, self._sent))

    async def sent(self) -> None:
        """Until each command submitted before has its place, or has failed."""
        while self._gathered or self._sends:
            self.flush()
            waits_again = bool(self._gathered)
            await asyncio.wait(list(self._sends.values()))
            if not waits_again:
                return

    async def _send(self, taken: list[Waiting], number: int) -> None:
        data = pack(b"".join([waiting.command for waiting in taken]), writer=self._settings.writer)
        try:
            offset = await self._writer.append(data)
        except DeliveryFailed:
            self._has_failed = True
            for waiting in taken:
                self._lose(waiting)
        else:
            for index, waiting in enumerate(taken):
                if waiting.timer is not None:
                    self._claim(position(offset, index), waiting)
        finally:
            del self._sends[number]
            self._forget_unclaimed()
            if self._has_failed and not self._sends:
                self._has_failed = False
                self.flush()

    def _claim(self, at: int, waiting: Waiting) -> None:
        """The command's place is known: its events may have come before."""
        waiting.place = at * self._shards + self._number
        self._by_place[waiting.place] = waiting
        if not waiting.answering.waits_for_engine:
            self._to_be_applied[waiting.place] = waiting
        unclaimed = self._unclaimed.pop(waiting.place, None)
        for event in unclaimed.events if unclaimed is not None else ():
            waiting.answering.take(event)
        self._answer_if_whole(waiting)

    def _forget_unclaimed(self) -> None:
        """What came while messages were under way that have all come to their end was another gateway's."""
        oldest = min(self._sends, default=self._sent + 1)
        self._unclaimed = {place: each for place, each in self._unclaimed.items() if each.sent >= oldest}

    # ------------------------------------------------------------------ in

    def take(self, events: list[Event], upto: int) -> None:
        """The shard's next events. The views show them already."""
        self.upto = max(self.upto, upto)
        touched: dict[int, Waiting] = {}
        for event in events:
            waiting = self._by_place.get(event[CAUSE])
            if waiting is not None:
                waiting.answering.take(event)
                touched[event[CAUSE]] = waiting
            elif self._sends:
                unclaimed = self._unclaimed.setdefault(event[CAUSE], Unclaimed(self._sent))
                unclaimed.events.append(event)
                unclaimed.sent = self._sent
        for waiting in (*touched.values(), *self._to_be_applied.values()):
            if waiting.timer is not None:
                self._answer_if_whole(waiting)

    def answered_up_to(self, sequence: int) -> int:
        """The last event, of those up to `sequence`, before which no answer is waited for: an answer may look up what its events ended."""
        waited_for = (waiting.answering.events for waiting in self._by_place.values())
        unclaimed = (each.events for each in self._unclaimed.values())
        return min([sequence, *(events[0][SEQUENCE] - 1 for events in (*waited_for, *unclaimed) if events)])

    def _answer_if_whole(self, waiting: Waiting) -> None:
        is_applied = self.upto > waiting.place // self._shards
        if waiting.answering.whole or (is_applied and not waiting.answering.waits_for_engine):
            self._finish(waiting)
            waiting.answer(waiting.answering.events)

    def _lose(self, waiting: Waiting) -> None:
        if waiting.timer is not None:
            self._finish(waiting)
            self.lost += 1
            waiting.lost()

    def _finish(self, waiting: Waiting) -> None:
        assert waiting.timer is not None, "a command is finished once"
        waiting.timer.cancel()
        waiting.timer = None
        self._by_place.pop(waiting.place, None)
        self._to_be_applied.pop(waiting.place, None)
        self.under_way -= 1
