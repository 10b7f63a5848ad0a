"""
What is not as it should be, by name: asked by /readyz, and by whoever balances load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

Check = Callable[[], str | None]
"""None where all is well; else what is wrong, for an operator's eyes. Called in the event loop, and at once done."""


@final
class Readiness:
    """The checks of a process."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        assert name not in self._checks, "a check has its own name"
        self._checks[name] = check

    def report(self) -> dict[str, str | None]:
        """What each check says now."""
        return {name: check() for name, check in self._checks.items()}


@final
class LoopDelay:
    """
    Measures every INTERVAL_S how late the event loop is: what holds it up, holds up every order.

    `observe_us` is given each delay, such as a histogram's observe.
    """

    INTERVAL_S: Final = 0.25

    def __init__(self, observe_us: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._observe_us = observe_us
        self._due = 0.0
        self._schedule()

    def _schedule(self) -> None:
        self._due = self._loop.time() + self.INTERVAL_S
        self._next = self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        self._observe_us(max(0, int((self._loop.time() - self._due) * 1e6)))
        self._schedule()

    def stop(self) -> None:
        self._next.cancel()
