"""
Copies of a machine put out the same, byte for byte: this one's own events against those in the stream, whoever wrote them.

    ours     ... 41 42 43 44 45          made here
    theirs       41 42 43                read                 the same as far as both go, or Diverged
"""

from __future__ import annotations

from typing import final

from zerosum.errors import ZerosumError
from zerosum.log.sequences import after, last_sequence, sequence_at


class Diverged(ZerosumError):
    """The stream holds other events than this copy of the machine makes of the same input."""


@final
class Twins:
    """Either side may be ahead; what has been compared is forgotten. `read_up_to`: the number of the last event read."""

    def __init__(self, name: str) -> None:
        self.compared_bytes = 0
        self.read_up_to = 0
        self._name = name
        self._ours = b""
        self._theirs = b""

    @property
    def waiting_bytes(self) -> int:
        """Read, and not made here yet."""
        return len(self._theirs)

    def made(self, events: bytes) -> None:
        self._ours += events
        self._compare()

    def read(self, events: bytes) -> None:
        """
        The next message of the stream; repeats are dropped. A copy begins to read near the stream's end, and if one that lags wrote there,
        more than was seen stands before: what follows a hole is compared from there on. Whoever reads a stream whole notices lost events.
        """
        new = after(events, self.read_up_to)
        if not new:
            return
        if sequence_at(new, 0) > self.read_up_to + 1:
            self._theirs = b""
        self._theirs += new
        self.read_up_to = last_sequence(new)
        self._compare()

    def _compare(self) -> None:
        if not self._ours or not self._theirs:
            return
        ours = after(self._ours, sequence_at(self._theirs, 0) - 1)  # the reading began later, or the snapshot is older
        theirs = after(self._theirs, sequence_at(ours, 0) - 1) if ours else self._theirs
        both = min(len(ours), len(theirs))
        if ours[:both] != theirs[:both]:
            raise Diverged(
                f"{self._name}: from event {sequence_at(ours, 0)} on, the stream holds other events than this copy makes of the same input."
                " Keep both as they are, start no further copy, and look at them with `zerosum audit`."
            )
        self.compared_bytes += both
        self._ours, self._theirs = ours[both:], theirs[both:]
