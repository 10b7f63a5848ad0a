"""
What a machine has put out and its streams are not known to have. Pure: it sends nothing.

    machine --put--> | output | output | output |  --due--> sent by whoever emits it
                       ^ dropped once the machine's own stream is seen to have come as far: by this copy's doing, or another's

The own stream is written last: what stands there says up to where everything is out, in the shared streams too. So one rule serves a
restart (emit again what may be missing, and little else), a standby (which emits nothing while another does) and a take-over.

Always true: outputs leave in the order in which they were made, and none is dropped before the own stream has been seen past it.
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
    """What to emit: `shared` first, and `own` once all of that is durable."""

    upto: int
    own_sequence: int
    shared: dict[int, bytes]
    own: bytes


@final
class Outbox:
    def __init__(self) -> None:
        self.seen = Seen(0, 0)
        self.bytes = 0
        self._waiting: deque[tuple[float, Output]] = deque()  # with the time at which each was put

    def put(self, output: Output, now: float) -> None:
        if not self._is_out(output):
            self._waiting.append((now, output))
            self.bytes += size_of(output)

    def see(self, upto: int, own_sequence: int) -> None:
        """The own stream has come as far."""
        self.seen = Seen(max(self.seen.upto, upto), max(self.seen.own_sequence, own_sequence))
        while self._waiting and self._is_out(self._waiting[0][1]):
            self.bytes -= size_of(self._waiting.popleft()[1])

    def waits_since(self) -> float | None:
        """When the oldest output that is not out was put."""
        return self._waiting[0][0] if self._waiting else None

    def due(self) -> Due:
        """All that is not out. It stays here until it is seen."""
        shared: dict[int, bytearray] = {}
        own = bytearray()
        for _, output in self._waiting:
            if output.upto > self.seen.upto:
                for destination, records in output.shared:
                    shared.setdefault(destination, bytearray()).extend(records)
            own += after(output.own, self.seen.own_sequence)
        last = self._waiting[-1][1]
        return Due(last.upto, last.own_sequence, {to: bytes(records) for to, records in shared.items()}, bytes(own))

    def _is_out(self, output: Output) -> bool:
        return output.upto <= self.seen.upto and output.own_sequence <= self.seen.own_sequence


def size_of(output: Output) -> int:
    return len(output.own) + sum(len(records) for _, records in output.shared)
