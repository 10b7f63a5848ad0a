"""
When a command of a cluster is answered: its events come one by one, some from UBSCore at once, some when the engine has answered.

    PLACE           REFUSED | ADMITTED ... until that order rests or has ended
    CANCEL          REFUSED | DONE | CANCEL_REJECTED
    REDUCE          REFUSED | REDUCED | DONE | CANCEL_REJECTED
    MOVE            REFUSED | MOVE_REJECTED | MOVED ... until the order rests again or has ended
    CANCEL_ALL      REFUSED | CANCEL_ALL_ADMITTED(n), and n of DONE and CANCEL_REJECTED
    CANCEL_REPLACE  what becomes of the cancel, and then, unless that stops it, as PLACE
    others          once UBSCore has applied it

All events that a command caused bear its place as their cause. Some of them are other orders': of makers, and of orders that self-trade
prevention ended. Pure: knows nothing of streams.
"""

from __future__ import annotations

from typing import Final, final

from zerosum.core import records
from zerosum.core.codes import STOP_ON_FAILURE, UNKNOWN_ORDER
from zerosum.gateway.entry import Event

KIND_MASK: Final = 0xFF
ORDER_ID: Final = 4
FILL_OPEN_LOTS: Final = 12
REFUSED_REASON: Final = 5
CANCEL_ALL_ORDERS: Final = 6
MODE_BYTES: Final = slice(records.MODE_AT * 8, (records.MODE_AT + 1) * 8)

OF_ENGINES: Final = frozenset({records.PLACE, records.CANCEL, records.REDUCE, records.MOVE, records.CANCEL_ALL, records.CANCEL_REPLACE})


@final
class Answering:
    """One command under way. `events`: those it has caused so far; `whole`: no more are to come that its answer needs."""

    __slots__ = ("_cancels", "_kind", "_order_id", "_stops_on_failure", "events", "whole")

    def __init__(self, command: bytes) -> None:
        self.events: list[Event] = []
        self.whole = False
        self._kind = command[0]
        self._order_id = 0  # the order whose rest or end is waited for
        self._cancels = 1  # answers of the engine that are waited for
        self._stops_on_failure = False
        if self._kind == records.CANCEL_REPLACE:
            self._stops_on_failure = int.from_bytes(command[MODE_BYTES], "little", signed=True) == STOP_ON_FAILURE

    @property
    def waits_for_engine(self) -> bool:
        """Whether there is more to wait for than that UBSCore applies the command."""
        return self._kind in OF_ENGINES

    def take(self, event: Event) -> None:
        self.events.append(event)
        kind = event[0] & KIND_MASK
        if self._kind == records.PLACE:
            self._take_placed(event, kind)
        elif self._kind == records.MOVE:
            self._take_moved(event, kind)
        elif self._kind == records.CANCEL_REPLACE:
            self._take_replaced(event, kind)
        elif self._kind in OF_ENGINES:
            self._take_canceled(event, kind)

    def _take_placed(self, event: Event, kind: int) -> None:
        if kind == records.REFUSED:
            self.whole = True
        elif kind == records.ADMITTED:
            self._order_id = event[ORDER_ID]
        else:
            self._end_if_settled(event, kind)

    def _take_moved(self, event: Event, kind: int) -> None:
        if kind in (records.REFUSED, records.MOVE_REJECTED):
            self.whole = True
        elif kind == records.MOVED:
            self._order_id = event[ORDER_ID]
        else:
            self._end_if_settled(event, kind)

    def _end_if_settled(self, event: Event, kind: int) -> None:
        """The order that is waited for rests, or has ended."""
        if event[ORDER_ID] == self._order_id:
            ended = kind in (records.RESTED, records.DONE, records.REJECTED)
            self.whole = ended or (kind == records.FILL and event[FILL_OPEN_LOTS] == 0)

    def _take_canceled(self, event: Event, kind: int) -> None:
        if kind == records.REFUSED:
            self.whole = True
        elif kind == records.CANCEL_ALL_ADMITTED:
            self._cancels = event[CANCEL_ALL_ORDERS]
        elif kind in (records.DONE, records.CANCEL_REJECTED, records.REDUCED):
            self._cancels -= 1
            self.whole = self._cancels == 0

    def _take_replaced(self, event: Event, kind: int) -> None:
        """First the cancel (`_cancels` is 1), then the replacement."""
        if self._cancels:
            if kind == records.REFUSED:
                self._cancels = 0
                self.whole = self._stops_on_failure or event[REFUSED_REASON] != UNKNOWN_ORDER
            elif kind in (records.DONE, records.CANCEL_REJECTED):
                self._cancels = 0
        else:
            self._take_placed(event, kind)
