"""
Applies durable groups through the machines, shows the events to the views, answers. A turn of the event loop at a time.

    group, durable --> steps --> machines --> events --> views --> answers, barriers
                        |  one step: up to a barrier, or to what one call of the core puts out

Always true:
  - commands are applied in the order of the log, and a step is applied and shown whole before any of it is answered: an answer that fails
    can't come between the log and the state
  - a barrier is passed when every command before it is applied and answered, and none after it: a read sees what was sent before it
  - a turn ends after TURN_BYTES of events, so that one command through a million resting orders does not keep the loop from all else
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, final

from zerosum.gateway.entry import Answer, Event
from zerosum.services.machine import Machine, Output
from zerosum.views.events import unpacked

TURN_BYTES: Final = 1 << 20


class Reader(Protocol):
    """Whoever builds views from the events, in the same process."""

    def apply(self, account_events: list[Event], market_events: bytes) -> None: ...


@dataclass(slots=True)
class Group:
    records: bytes
    count: int
    answers: list[Answer]
    last_sequence: int = 0
    applied_bytes: int = 0


@final
class Applier:
    """`applied_sequence`: everything up to there is applied and answered."""

    def __init__(self, machine: Machine, reader: Reader, *, whole: Callable[[], None], broken: Callable[[BaseException], None]) -> None:
        """`whole` is called after each group; `broken`, once, when the state is not to be trusted any more: nothing more is applied."""
        self.applied_sequence = machine.sequence
        self._machine = machine
        self._reader = reader
        self._whole = whole
        self._broken = broken
        self._is_broken = False
        self._loop = asyncio.get_running_loop()
        self._groups: deque[Group] = deque()
        self._steps: Iterator[Output] | None = None  # of the part of the first group up to the next barrier
        self._part_bytes = 0
        self._caused: list[Event] = []  # by the command that is not finished yet
        self._barriers: deque[tuple[int, Callable[[], None]]] = deque()

    def take(self, group: Group) -> None:
        """A group that is durable, after all those before it."""
        if not self._is_broken:
            self._groups.append(group)
            if len(self._groups) == 1:
                self._turn()

    def barrier(self, sequence: int, passed: Callable[[], None]) -> None:
        """Call `passed` when everything up to `sequence`, and nothing after it, is applied and answered: now, if it is so now."""
        if sequence <= self.applied_sequence:
            passed()
        else:
            self._barriers.append((sequence, passed))

    def give_up(self) -> None:
        """Apply nothing more."""
        self._is_broken = True
        self._groups.clear()

    def _turn(self) -> None:
        room = TURN_BYTES
        try:
            while self._groups and room > 0:
                room -= self._step()
        except BaseException as error:  # noqa: BLE001  a broken invariant above all: the state is not to be trusted
            self.give_up()
            self._broken(error)
        if self._groups:
            self._loop.call_soon(self._turn)

    def _step(self) -> int:
        """Apply, show and answer what comes next; how many bytes of events that were."""
        group = self._groups[0]
        if self._steps is None:
            until = self._until(group)
            self._part_bytes = until - group.applied_bytes
            self._steps = self._machine.steps(group.records[group.applied_bytes : until])
        output = next(self._steps, None)
        if output is not None:
            events = unpacked(output.account_events)
            self._reader.apply(events, output.market_events)
            self._answer(group, events, output)
            return len(output.account_events) + len(output.market_events)
        self._steps = None
        group.applied_bytes += self._part_bytes
        self._pass_barriers()
        if group.applied_bytes == len(group.records):
            assert self.applied_sequence == group.last_sequence, "the machines are where the log is"
            self._groups.popleft()
            self._whole()
        return 0

    def _until(self, group: Group) -> int:
        """Where in the group's bytes the next barrier stands; its end if there is none before."""
        if not self._barriers or self._barriers[0][0] >= group.last_sequence:
            return len(group.records)
        at = group.applied_bytes
        for _ in range(self._barriers[0][0] - self.applied_sequence):
            at += int.from_bytes(group.records[at + 2 : at + 4], "little") * 8
        return at

    def _answer(self, group: Group, events: list[Event], output: Output) -> None:
        first = self.applied_sequence + 1
        caused: list[list[Event]] = [[] for _ in range(first, output.last_sequence + 1)]
        caused[0] = self._caused
        for event in events:
            caused[event[2] - first].append(event)
        self._caused = [] if output.finished else caused.pop()
        at = first - (group.last_sequence - group.count + 1)
        self.applied_sequence += len(caused)
        for answer, answered in zip(group.answers[at : at + len(caused)], caused, strict=True):
            self._guarded(answer, answered)

    def _pass_barriers(self) -> None:
        while self._barriers and self._barriers[0][0] <= self.applied_sequence:
            self._guarded(self._barriers.popleft()[1])

    def _guarded(self, callback: Callable[..., None], *arguments: object) -> None:
        """One client's fault is not to take the others' answers."""
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001
            self._loop.call_exception_handler({"message": "an answer raised", "exception": error})
