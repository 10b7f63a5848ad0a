"""
A RowStore in a CQL database.

    write --> requests of several partitions each, many under way --> when all are acknowledged, the stream's position

Rows are written at a time that is no clock's: epoch << 40 | the number of the last event they follow from. So of two versions of a row the
later event's stays, whichever was written last. Where the first is to stay, the numbers run backwards. A restore to an earlier point opens
another epoch, whose rows go before all of the old one's.

Always true: a row of which the first stays is not written again by whoever has written one of its key: it would be the later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, final

from zerosum.settlement.cql.session import Session
from zerosum.settlement.cql.tables import Row, Write, writes
from zerosum.settlement.row_store import Settled, StoreFailed
from zerosum.settlement.rows import Rows

NUMBER_BITS: Final = 40
ROWS_MAX: Final = 100  # of one request
PARTITIONS_MAX: Final = 10  # of one request: of more, the databases warn
BYTES_MAX: Final = 32 << 10  # of one request, about: of 50 KiB, as they come, Cassandra takes none
CELL_BYTES: Final = 24  # of a cell beside its value, at most, as Cassandra counts
NUMBER_BYTES: Final = 16  # of a value that is no text, at most
UNDER_WAY_MAX: Final = 32  # requests
FIRSTS_MAX: Final = 100_000  # keys that are remembered

POSITION: Final = "INSERT INTO settlement_state (stream, sequence, chain) VALUES (?, ?, ?)"
SETTLED: Final = "SELECT sequence, chain FROM settlement_state WHERE stream = ?"


@final
class CqlRowStore:
    def __init__(self, session: Session, epoch: int) -> None:
        self._session = session
        self._epoch = epoch
        self._firsts: set[tuple[Any, ...]] = set()  # tables and keys of rows that are there, of which the first stays

    async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
        """StoreFailed: the same call is to be made again."""
        found = list(writes(stream, rows))
        firsts = [write for each in found if each.table.first_wins for write in self._new(each)]
        time, backwards = self._time(settled.sequence), self._time_backwards(settled.sequence)
        requests = [(request, backwards) for request in requests_of(firsts)]
        requests += [(request, time) for request in requests_of(each for each in found if not each.table.first_wins)]
        waiting = iter(requests)
        done = await asyncio.gather(*(self._send_some(waiting) for _ in range(UNDER_WAY_MAX)), return_exceptions=True)
        for error in done:
            if error is not None:
                self.forget()  # a database that fails may have lost some
                raise error
        try:
            await self._session.execute(POSITION, (stream, *settled), timestamp=time)
        except StoreFailed:
            self.forget()
            raise
        self._remember(firsts)

    def forget(self) -> None:
        self._firsts.clear()

    async def settled(self, stream: str) -> Settled:
        rows = await self._session.execute(SETTLED, (stream,))
        return Settled(*rows[0]) if rows else Settled(0, b"")

    async def _send_some(self, requests: Iterator[tuple[list[Write], int]]) -> None:
        for request, time in requests:
            first = request[0]
            if len(request) == 1 and len(first.rows) == 1:
                await self._session.execute(first.table.insert, first.rows[0], timestamp=time)
            else:
                await self._session.batch([(table.insert, row) for table, rows in request for row in rows], time)

    def _new(self, write: Write) -> Iterator[Write]:
        rows = [row for row in write.rows if (write.table.name, *row[: write.table.key]) not in self._firsts]
        if rows:
            yield write._replace(rows=rows)

    def _remember(self, firsts: list[Write]) -> None:
        if len(self._firsts) > FIRSTS_MAX:
            self._firsts.clear()
        self._firsts.update((table.name, *row[: table.key]) for table, rows in firsts for row in rows)

    def _time(self, number: int) -> int:
        return self._epoch << NUMBER_BITS | number

    def _time_backwards(self, number: int) -> int:
        return self._epoch << NUMBER_BITS | (1 << NUMBER_BITS) - 1 - number


def requests_of(writes: Iterable[Write]) -> Iterator[list[Write]]:
    """Writes together, as many as go into one request."""
    request: list[Write] = []
    rows = size = 0
    for piece, piece_size in chain.from_iterable(map(pieces_of, writes)):
        if request and (len(request) == PARTITIONS_MAX or rows + len(piece.rows) > ROWS_MAX or size + piece_size > BYTES_MAX):
            yield request
            request, rows, size = [], 0, 0
        request.append(piece)
        rows += len(piece.rows)
        size += piece_size
    if request:
        yield request


def pieces_of(write: Write) -> Iterator[tuple[Write, int]]:
    """Of which each goes into one request, with their sizes; a row that is larger by itself goes alone."""
    piece: list[Row] = []
    size = 0
    for row in write.rows:
        row_size = size_of(row)
        if piece and (len(piece) == ROWS_MAX or size + row_size > BYTES_MAX):
            yield write._replace(rows=piece), size
            piece, size = [], 0
        piece.append(row)
        size += row_size
    if piece:
        yield write._replace(rows=piece), size


def size_of(row: Row) -> int:
    """In bytes, as the databases count a request's, and rather too many."""
    return sum(CELL_BYTES + (len(value) if isinstance(value, (str, bytes)) else NUMBER_BYTES) for value in row)
