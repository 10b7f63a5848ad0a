"""
What a copy of a machine has put out, and which of it is out already.

    machine --Output--> | waiting ... | --due--> emitted
    own stream --see(upto, own_sequence)--> what is out is let go of, whoever sent it

An output is out once the own stream says that everything up to its mark is, and holds its own events. One of several that a single record
makes has no mark of its own: it is out once the own stream holds its events, for they are sent after what is shared; or the whole record.

Pure: knows nothing of streams.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, final

from zerosum.log.sequences import after
from zerosum.services.cluster.machines import Output


class Seen(NamedTuple):
    """How far the own stream is: see Output. The two are raised together but each on its own."""

    upto: int
    own_sequence: int


class Due(NamedTuple):
    """What to emit: `shared` first, and `own` once all of that is durable. `last`: the number of the last output that is in it."""

    upto: int
    own_sequence: int
    shared: dict[int, bytes]
    own: bytes
    last: int


class Waiting(NamedTuple):
    """`since`: the time at which it was put."""

    number: int
    since: float
    output: Output


@final
class Outbox:
    def __init__(self) -> None:
        self.seen = Seen(0, 0)
        self.bytes = 0
        self._put = 0  # outputs, so far
        self._waiting: deque[Waiting] = deque()

    def put(self, output: Output, now: float) -> None:
        if not self._is_out(output):
            self._put += 1
            self._waiting.append(Waiting(self._put, now, output))
            self.bytes += size_of(output)

    def see(self, upto: int, own_sequence: int) -> None:
        """The own stream has come as far."""
        self.seen = Seen(max(self.seen.upto, upto), max(self.seen.own_sequence, own_sequence))
        while self._waiting and self._is_out(self._waiting[0].output):
            self._let_go()

    def waits_since(self) -> float | None:
        """When the oldest output that is not out was put."""
        return self._waiting[0].since if self._waiting else None

    def due(self) -> Due:
        """All that is not out. It stays here until it is seen, or emitted."""
        shared: dict[int, bytearray] = {}
        own = bytearray()
        for waiting in self._waiting:
            for destination, records in waiting.output.shared:
                shared.setdefault(destination, bytearray()).extend(records)
            own += after(waiting.output.own, self.seen.own_sequence)
        number, _, last = self._waiting[-1]
        return Due(last.upto, last.own_sequence, {to: bytes(records) for to, records in shared.items()}, bytes(own), number)

    def emitted(self, due: Due) -> None:
        """All of it is durable."""
        while self._waiting and self._waiting[0].number <= due.last:
            self._let_go()
        self.see(due.upto, due.own_sequence)

    def _let_go(self) -> None:
        self.bytes -= size_of(self._waiting.popleft().output)

    def _is_out(self, output: Output) -> bool:
        seen = self.seen
        if output.own_sequence > seen.own_sequence:
            return False
        if output.is_partial:
            return bool(output.own) or output.upto < seen.upto
        return output.upto <= seen.upto


def size_of(output: Output) -> int:
    return len(output.own) + sum(len(records) for _, records in output.shared)
