"""
The exchange as handlers see it, which run in threads of their own: commands are handed over, and views looked at, in the event loop alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Final, TypeVar, final

from zerosum.core import records
from zerosum.errors import ZerosumError
from zerosum.gateway.entry import Entry, Event
from zerosum.views.reasons import reason_name
from zerosum.views.views import Views

ANSWER_S: Final = 20.0

KIND_MASK: Final = 0xFF

T = TypeVar("T")


class OutcomeUnknown(ZerosumError):
    """A command may have been done or not: whoever asked for it is to look, or to ask for it again."""


class Declined(ZerosumError):
    """The exchange refused a command: nothing was done. `reason`: its code; the text says why."""

    def __init__(self, text: str, reason: int) -> None:
        super().__init__(text)
        self.reason = reason


@final
class Machines:
    """Made in the event loop; asked from other threads."""

    def __init__(self, entry: Entry, views: Views) -> None:
        self._loop = asyncio.get_running_loop()
        self._entry = entry
        self._views = views

    def send(self, command: bytes) -> list[Event]:
        """The account events that it caused, a refusal too. Busy: nothing was done. OutcomeUnknown."""
        answered: Future[list[Event]] = Future()

        def submit() -> None:
            try:
                self._entry.submit(
                    command, answered.set_result, lambda: answered.set_exception(OutcomeUnknown("what became of it is not known."))
                )
            except Exception as error:  # noqa: BLE001  Busy, and whatever else: it is for the thread that waits
                answered.set_exception(error)

        self._loop.call_soon_threadsafe(submit)
        return self._waited(answered)

    def do(self, command: bytes) -> None:
        """As send. Declined, Busy, OutcomeUnknown."""
        for event in self.send(command):
            if event[0] & KIND_MASK == records.REFUSED:
                raise Declined(f"the exchange refused it: {reason_name(event[5])}.", event[5])

    def see(self, look: Callable[[Views], T]) -> T:
        """What `look` finds in the views; it does not wait for anything."""
        seen: Future[T] = Future()

        def in_loop() -> None:
            try:
                seen.set_result(look(self._views))
            except Exception as error:  # noqa: BLE001  it is for the thread that waits
                seen.set_exception(error)

        self._loop.call_soon_threadsafe(in_loop)
        return self._waited(seen)

    def _waited(self, future: Future[T]) -> T:
        try:
            return future.result(ANSWER_S)
        except NotInTime as error:
            raise OutcomeUnknown(f"the exchange did not answer within {ANSWER_S:g} s: what became of it is not known.") from error
