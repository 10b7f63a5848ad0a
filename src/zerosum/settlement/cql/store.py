"""
A RowStore in a CQL database.

    write --> the rows by partition, many under way at a time --> when all are acknowledged, the stream's position

Rows are written at a time that is no clock's: epoch << 40 | the number of the last event they follow from. So of two versions of a row the
later event's stays, whichever was written last. Where the first is to stay, the numbers run backwards. A restore to an earlier point opens
another epoch, whose rows go before all of the old one's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, final

from zerosum.settlement.cql.session import Session
from zerosum.settlement.cql.tables import Write, writes
from zerosum.settlement.row_store import Settled
from zerosum.settlement.rows import Rows

NUMBER_BITS: Final = 40
ROWS_MAX: Final = 100  # of one request
UNDER_WAY_MAX: Final = 32  # requests

POSITION: Final = "INSERT INTO settlement_state (stream, sequence, chain) VALUES (?, ?, ?)"
SETTLED: Final = "SELECT sequence, chain FROM settlement_state WHERE stream = ?"


@final
class CqlRowStore:
    def __init__(self, session: Session, epoch: int) -> None:
        self._session = session
        self._epoch = epoch

    async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
        """StoreFailed: the same call is to be made again."""
        pieces = iter([piece for write in writes(stream, rows) for piece in pieces_of(write)])
        done = await asyncio.gather(
            *(self._write_some(pieces, settled.sequence) for _ in range(UNDER_WAY_MAX)), return_exceptions=True
        )  # fmt: skip
        for error in done:
            if error is not None:
                raise error
        await self._session.execute(POSITION, (stream, *settled), timestamp=self._time(settled.sequence))

    async def settled(self, stream: str) -> Settled:
        rows = await self._session.execute(SETTLED, (stream,))
        return Settled(*rows[0]) if rows else Settled(0, b"")

    async def _write_some(self, pieces: Iterator[Write], number: int) -> None:
        for table, rows in pieces:
            time = self._time_backwards(number) if table.first_wins else self._time(number)
            if len(rows) == 1:
                await self._session.execute(table.insert, rows[0], timestamp=time)
            else:
                await self._session.batch(table.insert, rows, time)

    def _time(self, number: int) -> int:
        return self._epoch << NUMBER_BITS | number

    def _time_backwards(self, number: int) -> int:
        return self._epoch << NUMBER_BITS | (1 << NUMBER_BITS) - 1 - number


def pieces_of(write: Write) -> Iterator[Write]:
    for at in range(0, len(write.rows), ROWS_MAX):
        yield write._replace(rows=write.rows[at : at + ROWS_MAX])
