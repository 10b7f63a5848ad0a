"""
Machines that have stopped taking their input: what is sent to them would only pile up.

    the end of a machine's input, asked once a second     how far its events say that it has come
    behind, and no further than a second ago --> stalled, since then
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

from zerosum.log.messages import end_of
from zerosum.log.streams import Stream

WATCH_S: Final = 1.0


@final
class Stall:
    """Of one machine, by its input. `upto`: the position before which it has taken everything, as far as is known."""

    def __init__(self, source: Stream, upto: Callable[[], int]) -> None:
        self.name = source.name
        self._source = source
        self._upto = upto
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """For how long it has taken nothing, though there is something to be taken."""
        return self._loop.time() - self._since if self._since is not None else 0.0

    async def watch(self) -> None:
        seen = -1
        while True:
            at = self._upto()
            if at >= end_of((await self._source.ends()).next):
                self._since = None
            elif at != seen or self._since is None:
                self._since = self._loop.time()
            seen = at
            await asyncio.sleep(WATCH_S)
