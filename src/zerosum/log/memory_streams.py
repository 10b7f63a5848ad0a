"""
A stream in one process's memory: for a cluster within one process, and for tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

from zerosum.log.streams import Appended, Ends, StreamPruned

READ_MAX: Final = 256  # messages at a time


@final
class MemoryStream:
    def __init__(self, name: str, now_us: Callable[[], int]) -> None:
        self.name = name
        self._now_us = now_us
        self._first = 0
        self._messages: list[Appended] = []
        self._more = asyncio.Event()

    @property
    def next_offset(self) -> int:
        return self._first + len(self._messages)

    def writer(self) -> MemoryStream:
        return self

    async def append(self, data: bytes) -> int:
        offset = self.next_offset
        self._messages.append(Appended(offset, self._now_us(), data))
        self._more.set()
        return offset

    async def read(self, offset: int) -> list[Appended]:
        while True:
            if offset < self._first:
                raise StreamPruned(self.name, offset, self._first)
            at = offset - self._first
            if at < len(self._messages):
                return self._messages[at : at + READ_MAX]
            self._more.clear()
            await self._more.wait()

    async def ends(self) -> Ends:
        return Ends(self._first, self.next_offset)

    def prune(self, before: int) -> None:
        """Let messages before an offset go."""
        del self._messages[: max(0, before - self._first)]
        self._first = max(self._first, before)
