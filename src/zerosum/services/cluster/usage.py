"""
A gateway's part in the stream `usage`: what it has counted goes out, what others have counted comes in.

Without Kafka each gateway counts alone, and nothing else changes: whoever can't be told of is not waited for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, final

from zerosum.gateway.limits import Limits
from zerosum.gateway.sharing import Sharing
from zerosum.log.streams import DeliveryFailed, Stream, StreamPruned, Writer
from zerosum.net.sparing_log import SparingLog

USAGE: Final = "usage"
TELL_S: Final = 0.25

_log: Final = SparingLog("gateway.usage")


@final
class Usage:
    def __init__(self, stream: Stream, limits: Limits, clock_us: Callable[[], int]) -> None:
        self._stream = stream
        self._sharing = Sharing(limits, secrets.token_hex(8))
        self._clock_us = clock_us

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            group.create_task(self._hear())

    async def _tell(self) -> None:
        writer: Writer | None = None
        while True:
            await asyncio.sleep(TELL_S)
            said = self._sharing.said(self._clock_us())
            if said is None:
                continue
            try:
                writer = writer or self._stream.writer()
                await writer.append(said)
            except DeliveryFailed as error:
                writer = None
                _log.warning("usage.not_told", error=str(error))

    async def _hear(self) -> None:
        """From now on: what was said before is of windows that are over, or is said again."""
        at = (await self._stream.ends()).next
        while True:
            try:
                for appended in await self._stream.read(at):
                    at = appended.offset + 1
                    self._sharing.take(appended.data, self._clock_us())
            except StreamPruned:
                at = (await self._stream.ends()).next
            except ValueError as error:
                _log.warning("usage.not_understood", error=str(error))
