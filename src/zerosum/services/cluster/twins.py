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
    """
    Either side may be ahead; what has been compared is forgotten. `read_up_to`, `made_up_to` and `compared_up_to`: the numbers of the last
    events that were.
    """

    def __init__(self, name: str) -> None:
        self.read_up_to = 0
        self.made_up_to = 0
        self.compared_up_to = 0
        self._name = name
        self._ours = bytearray()
        self._theirs = bytearray()

    def begin(self, sequence: int) -> None:
        """The next event that is made has the number after this one; earlier ones are of no interest."""
        self.read_up_to = self.made_up_to = self.compared_up_to = sequence

    @property
    def read_bytes(self) -> int:
        """Read, and not made here yet."""
        return len(self._theirs)

    @property
    def made_bytes(self) -> int:
        """Made here, and not read yet."""
        return len(self._ours)

    def made(self, events: bytes, up_to: int) -> None:
        """The next events made here, the last of which has the number `up_to`."""
        self._ours += events
        self.made_up_to = up_to
        self._compare()

    def read(self, events: bytes) -> None:
        """
        The next message of the stream; repeats are dropped. Where a stream was pruned, the reading begins behind a hole: what follows it is
        compared. Whoever reads a stream whole notices lost events.
        """
        new = after(events, self.read_up_to)
        if not new:
            return
        if sequence_at(new, 0) > self.read_up_to + 1:
            self._theirs.clear()
        self._theirs += new
        self.read_up_to = last_sequence(new)
        self._compare()

    def _compare(self) -> None:
        ours, theirs = self._ours, self._theirs
        if ours and theirs:
            drop_up_to(ours, sequence_at(theirs, 0) - 1)
        if ours and theirs:
            drop_up_to(theirs, sequence_at(ours, 0) - 1)
        both = min(len(ours), len(theirs))
        if not both:
            return
        if ours[:both] != theirs[:both]:
            raise Diverged(
                f"{self._name}: from event {sequence_at(ours, 0)} on, the stream holds other events than this copy makes of the same input."
                " Keep its snapshots and the stream as they are, and start no further copy: one of the two was made by other code, by"
                " damaged memory, or with another decision about a record."
            )
        del ours[:both], theirs[:both]
        self.compared_up_to = self.read_up_to if not theirs else self.made_up_to


def drop_up_to(events: bytearray, sequence: int) -> None:
    at = 0
    while at < len(events) and sequence_at(events, at) <= sequence:
        at += int.from_bytes(events[at + 2 : at + 4], "little") * 8
    del events[:at]
