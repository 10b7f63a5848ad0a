"""
Between two turns of a loop that is busy some time passes, in which more is gathered: what is sent or written costs by the message, far more
than by the record. A loop that has been idle takes its turn at once, and so does one that has gathered as much as it may.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import final


@final
class Pace:
    def __init__(self, gap_s: float) -> None:
        """`gap_s`: between the beginnings of two turns; 0: none."""
        self._gap_s = gap_s
        self._loop = asyncio.get_running_loop()
        self._next = 0.0

    async def rest(self, unless: asyncio.Event | None = None) -> None:
        """Until the next turn may begin, or must."""
        left_s = self._next - self._loop.time()
        if left_s <= 0:
            return
        if unless is None:
            return await asyncio.sleep(left_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await unless.wait()

    def begin(self) -> None:
        """A turn begins now."""
        self._next = self._loop.time() + self._gap_s
