"""
A database that fails on purpose: a write that was not done, done by half, done and not acknowledged, or done much later.

The rows themselves are in a MemoryRowStore, which keeps the later of two versions as a CQL database does.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, final

from zerosum.settlement.row_store import MemoryRowStore, Settled, StoreFailed, written
from zerosum.settlement.rows import Rows
from zerosum.sim.chance import delay_s
from zerosum.sim.faults import Faults
from zerosum.sim.loop import SimLoop
from zerosum.sim.process import Died, Life

WRITE_S: Final = 0.002
LATE_S: Final = 2.0


@final
class SimRowStore:
    """As one process has it. `rows` is the world's."""

    def __init__(self, rows: MemoryRowStore, life: Life, loop: SimLoop, faults: Faults, random: Random) -> None:
        self._rows = rows
        self._life = life
        self._loop = loop
        self._faults = faults
        self._random = random

    async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
        await self._life.pause()
        await asyncio.sleep(delay_s(self._random, WRITE_S))
        await self._life.pause()
        if self._faults.happens("crash at a store write", self._life):
            self._put_some(stream, rows, settled)
            self._life.process.crash()
            raise Died
        if self._faults.happens("store write fails", self._life):
            self._put_some(stream, rows, settled)
            raise StoreFailed(f"{stream}: the write up to {settled.sequence} failed.")
        if self._faults.happens("store write late", self._life):
            self._loop.world_later(self._random.uniform(0, LATE_S), self._rows.put_all, stream, rows, settled)
            raise StoreFailed(f"{stream}: the write up to {settled.sequence} timed out, and is done later.")
        self._rows.put_all(stream, rows, settled)
        await asyncio.sleep(delay_s(self._random, WRITE_S))
        await self._life.pause()
        if self._faults.happens("store write times out", self._life):
            raise StoreFailed(f"{stream}: the write up to {settled.sequence} timed out.")

    def forget(self) -> None:
        """Nothing is remembered."""

    async def settled(self, stream: str) -> Settled:
        await self._life.pause()
        await asyncio.sleep(delay_s(self._random, WRITE_S))
        await self._life.pause()
        if self._faults.happens("store read fails", self._life):
            raise StoreFailed(f"{stream}: how far it is settled could not be read.")
        return await self._rows.settled(stream)

    def _put_some(self, stream: str, rows: Rows, settled: Settled) -> None:
        """Any of the rows, and not the position."""
        share = self._random.random()
        for table, row in written(rows):
            if self._random.random() < share:
                self._rows.put(stream, table, row, settled.sequence)
