"""
Documents in a cluster's database: what every gateway reads, and whoever manages identities writes.

    documents         by (kind, part of the owners): version, body               replaced by a light-weight transaction (IF version = ?)
    document_changes  by hour: when, and which

Always true: a change is told of before and after it is made, so that whoever dies between has told of it; who reads of one looks at what is
there. Clocks of who writes and who reads may be OVERLAP apart.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, Final, TypeVar, final
from zlib import crc32

from zerosum.identity.documents import Changed, Changes, DocumentsFailed, Place, Stored
from zerosum.settlement.cql.schema import require_current
from zerosum.settlement.cql.session import CqlSettings, Session
from zerosum.settlement.row_store import StoreFailed

PARTS: Final = 64  # that a kind's documents are spread over: a transaction waits for another one of the same part
AT_A_TIME: Final = 16  # parts that are read at a time
OVERLAP_US: Final = 600_000_000
HOUR_US: Final = 3_600_000_000
WAIT_S: Final = 15.0  # more than a request to the database may take

GET: Final = "SELECT owner, name, version, body FROM documents WHERE kind = ? AND part = ? AND owner = ? AND name = ?"
OF_OWNER: Final = "SELECT owner, name, version, body FROM documents WHERE kind = ? AND part = ? AND owner = ?"
OF_PART: Final = "SELECT owner, name, version, body FROM documents WHERE kind = ? AND part = ?"
INSERT: Final = "INSERT INTO documents (kind, part, owner, name, version, body) VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?"
UPDATE: Final = (
    "UPDATE documents USING TTL ? SET version = ?, body = ? WHERE kind = ? AND part = ? AND owner = ? AND name = ? IF version = ?"
)
REMOVE: Final = "DELETE FROM documents WHERE kind = ? AND part = ? AND owner = ? AND name = ? IF EXISTS"
TELL: Final = "INSERT INTO document_changes (hour, changed_us, kind, owner, name) VALUES (?, ?, ?, ?, ?)"
CHANGES: Final = "SELECT changed_us, kind, owner, name FROM document_changes WHERE hour = ? AND changed_us >= ?"

T = TypeVar("T")


@final
class CqlDocuments:
    """
    Made with `connect`. It has an event loop of its own, in a thread, because the driver needs one: callers wait, whatever thread they are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, session: Session) -> None:
        self._loop = loop
        self._thread = thread
        self._session = session
        self._mark = 0
        self._told: set[tuple[int, Place]] = set()  # by the last call, which the next one shows to have been dealt with, or not
        self._seen: set[tuple[int, Place]] = set()

    @classmethod
    def connect(cls, settings: CqlSettings) -> CqlDocuments:
        """DocumentsFailed, DatabaseRefused, KeyspaceMissing, CqlSchemaWrong."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="identities", daemon=True)
        thread.start()
        try:
            session = waited(connected(settings), loop)
        except BaseException:
            ended(loop, thread)
            raise
        return cls(loop, thread, session)

    @property
    def where(self) -> str:
        return f"the keyspace {self._session.settings.keyspace}"

    async def renew(self, settings: CqlSettings) -> None:
        """From whatever event loop. StoreFailed, DatabaseRefused: it goes on as it was."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._session.renew(settings), self._loop))

    def close(self) -> None:
        self._wait(self._session.close())
        ended(self._loop, self._thread)

    # ------------------------------------------------------------------ documents

    def get(self, kind: str, owner: str, name: str) -> Stored | None:
        rows = self._wait(self._session.execute(GET, (kind, part_of(owner), owner, name)))
        return Stored(*rows[0]) if rows else None

    def of_owner(self, kind: str, owner: str) -> list[Stored]:
        return [Stored(*row) for row in self._wait(self._session.execute(OF_OWNER, (kind, part_of(owner), owner)))]

    def every(self, kind: str) -> list[Stored]:
        return self._wait(self._every(kind))

    async def _every(self, kind: str) -> list[Stored]:
        found: list[Stored] = []
        for first in range(0, PARTS, AT_A_TIME):
            reads = [self._session.execute(OF_PART, (kind, part)) for part in range(first, first + AT_A_TIME)]
            for rows in await asyncio.gather(*reads):
                found += [Stored(*row) for row in rows]
        return found

    def put(self, kind: str, owner: str, name: str, body: bytes, version: int, *, lives_s: int = 0) -> None:
        self._wait(self._put(Place(kind, owner, name), body, version, lives_s))

    async def _put(self, place: Place, body: bytes, version: int, lives_s: int) -> None:
        kind, owner, name = place
        await self._tell(place)
        if version == 0:
            rows = await self._session.execute(INSERT, (kind, part_of(owner), owner, name, 1, body, lives_s))
        else:
            rows = await self._session.execute(UPDATE, (lives_s, version + 1, body, kind, part_of(owner), owner, name, version))
        if not rows[0][0]:
            raise Changed
        await self._tell(place)

    async def _tell(self, place: Place) -> None:
        now_us = clock_us()
        await self._session.execute(TELL, (now_us // HOUR_US, now_us, *place))

    def remove(self, kind: str, owner: str, name: str) -> None:
        self._wait(self._session.execute(REMOVE, (kind, part_of(owner), owner, name)))

    # ------------------------------------------------------------------ what has changed

    def changes(self, mark: int) -> Changes:
        """By the clock, and looking back by what clocks may differ; what was dealt with is not told again. One reader, therefore."""
        found = self._wait(self._changes())
        if mark == 0:
            self._seen = found
        elif mark == self._mark:
            self._seen = self._told
        self._told = found
        self._mark += 1
        return Changes([place for _, place in sorted(found - self._seen)], self._mark)

    async def _changes(self) -> set[tuple[int, Place]]:
        since = clock_us() - OVERLAP_US
        found: set[tuple[int, Place]] = set()
        for hour in range(since // HOUR_US, (since + 2 * OVERLAP_US) // HOUR_US + 1):
            found |= {(row[0], Place(*row[1:])) for row in await self._session.execute(CHANGES, (hour, since))}
        return found

    def fault(self) -> str | None:
        return None  # what can't be read is noticed by whoever follows the changes

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return waited(work, self._loop)


async def connected(settings: CqlSettings) -> Session:
    session = await Session.connect(settings)
    try:
        await require_current(session)
    except BaseException:
        await session.close()
        raise
    return session


def waited(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """What it comes to, done in the loop's thread. DocumentsFailed."""
    doing = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return doing.result(WAIT_S)
    except StoreFailed as error:
        raise DocumentsFailed(str(error)) from error
    except NotInTime as error:
        doing.cancel()
        raise DocumentsFailed(f"the database did not answer within {WAIT_S:g} s.") from error


def ended(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def part_of(owner: str) -> int:
    return crc32(owner.encode()) % PARTS


def clock_us() -> int:
    return time.time_ns() // 1_000
