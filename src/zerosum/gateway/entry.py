"""
The door that orders leave the gateway by: what a gateway needs of whatever carries commands to the machines.

    gateway --submit(command)--> Entry ... durable ... applied ... --answer(events)--> gateway

Embedded, the shard in the same process is the Entry; in a cluster a log's producer is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Event = tuple[int, ...]
"""An event's words: see zerosum.core.records."""

Answer = Callable[[list[Event]], None]
"""Called in the event loop, with every account event that the command caused, in order. It does not raise."""


class Busy(Exception):
    """Nothing is taken now; the text says why (settlement is behind, the disk is full, keys can't be read). Nothing was submitted."""


class Entry(Protocol):
    """Takes commands and answers them once they are durable and applied."""

    def submit(self, command: bytes, answer: Answer) -> None:
        """
        Hand over one command, its TIME left 0: the log stamps it. Commands are applied in the order of these calls. Raises Busy, and then
        nothing was submitted. If the process ends before the answer, whether the command is in the log is not known: -1007 to a client.
        """

    def barrier(self, passed: Callable[[], None]) -> None:
        """Call `passed` once every command submitted before this call is applied: at once if there is none under way."""

    def settled(self, passed: Callable[[bool], None], timeout_s: float) -> None:
        """Call `passed(True)` once the settled record holds everything applied before this call; `passed(False)` if that takes too long."""

    def now_us(self) -> int:
        """The clock that commands are stamped by, in microseconds since 1970."""
