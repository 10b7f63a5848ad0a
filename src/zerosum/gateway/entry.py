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

Lost = Callable[[], None]
"""Called in the event loop when whether a command was done can't be known: its sender is to look later, or to repeat it by its own id."""

Passed = Callable[[bool], None]


def unheard() -> None:
    """Nobody wants to know."""


class Busy(Exception):
    """Nothing is taken now; the text says why (settlement is behind, the disk is full, keys can't be read). Nothing was submitted."""


class Entry(Protocol):
    """Takes commands and answers them once they are durable and applied."""

    def submit(self, command: bytes, answer: Answer, lost: Lost = unheard) -> None:
        """
        Hand over one command, its TIME left 0: the log stamps it. An account's commands are applied in the order of these calls. Raises
        Busy, and then nothing was submitted. Calls `lost` instead of `answer` where it can't be known whether the command is in the log;
        the same goes for a process that ends before either.
        """

    def barrier(self, account_id: int, passed: Passed) -> None:
        """
        Call `passed(True)` once every command for the account that was durable, or submitted here, before this call is applied: at once if
        there is none under way. `passed(False)` if that takes too long.
        """

    def settled(self, account_id: int, passed: Passed, timeout_s: float) -> None:
        """Call `passed(True)` once the settled record holds what was applied of the account; `passed(False)` if that takes too long."""

    def now_us(self) -> int:
        """The clock that commands are stamped by, in microseconds since 1970."""
