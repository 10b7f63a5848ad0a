"""A log of what strangers cause, which they can't flood: so many lines of each event in a while, and then how many were left out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, final

import structlog


@final
class SparingLog:
    """At most `lines_max` lines of each event in `period_s`: the first one after that says how many were left out."""

    def __init__(
        self, name: str, *, lines_max: int = 10, period_s: float = 1.0, clock_s: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._log: Any = structlog.get_logger(name)
        self._lines_max: Final = lines_max
        self._period_s: Final = period_s
        self._clock_s: Final = clock_s
        self._began_s = clock_s()
        self._lines: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, **fields: object) -> None:
        if self._has_room(event):
            self._log.warning(event, **fields, **self._missing(event))

    def error(self, event: str, **fields: object) -> None:
        if self._has_room(event):
            self._log.error(event, **fields, **self._missing(event))

    def _has_room(self, event: str) -> bool:
        now_s = self._clock_s()
        if now_s - self._began_s >= self._period_s:
            self._began_s = now_s
            self._lines.clear()
        lines = self._lines.get(event, 0)
        if lines < self._lines_max:
            self._lines[event] = lines + 1
            return True
        self._left_out[event] = self._left_out.get(event, 0) + 1
        return False

    def _missing(self, event: str) -> dict[str, int]:
        left_out = self._left_out.pop(event, 0)
        return {"left_out": left_out} if left_out else {}
