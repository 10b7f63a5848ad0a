"""
The clock that commands are stamped by, and whether it can be believed.

Always true: a clock that was set to another time while the exchange runs, or that is behind the time of the log, is noticed; one that is
corrected a little, again and again, is not in the way. Time in the log never goes back: one wrong stamp, years ahead, would have every
later deadline passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, final

JUMP_MAX_S: Final = 10.0  # between two looks. What a clock is corrected by without being set is a second or less
_SINCE_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while a laptop sleeps


def since_boot_ns() -> int:
    return time.clock_gettime_ns(_SINCE_BOOT)


@final
class Clock:
    def __init__(self, now_ns: Callable[[], int] = time.time_ns, since_boot_ns: Callable[[], int] = since_boot_ns) -> None:
        self._now_ns = now_ns
        self._since_boot_ns = since_boot_ns
        self._set_by_us = self._offset_us()

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return self._now_ns() // 1000

    def fault(self, log_us: int) -> str:
        """Why nothing may be stamped by it now, or ''. `log_us` is the time of the last command."""
        offset_us = self._offset_us()
        jump_s = (offset_us - self._set_by_us) / 1e6
        if abs(jump_s) > JUMP_MAX_S:
            return f"the system's clock was set by {jump_s:+,.0f} s: set it right, or restart the exchange if it is right now"
        self._set_by_us = offset_us
        ahead_s = (log_us - self.now_us()) / 1e6
        if ahead_s > JUMP_MAX_S:
            return f"the log is {ahead_s:,.0f} s ahead of the system's clock: set the clock right"
        return ""

    def _offset_us(self) -> int:
        return self.now_us() - self._since_boot_ns() // 1000
