"""
Documents in a cluster's database: what every gateway reads, and whoever manages identities writes.

    documents, console_documents              by (kind, part of the owners): version, body      replaced by a light-weight transaction
    document_changes, console_changes         by hour: when, and which                          (IF version = ?)

Kinds that are the console's alone are in tables of their own, so that the database lets nobody else write them.

Always true: a change is told of before and after it is made, so that whoever dies between has told of it; who reads of one looks at what is
there. Clocks of who writes and who reads may be OVERLAP apart.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, Final, TypeVar, final
from zlib import crc32

from zerosum.identity.documents import CONSOLES, Changed, Changes, DocumentsFailed, Place, Stored
from zerosum.settlement.cql.schema import require_current
from zerosum.settlement.cql.session import CqlSettings, Session
from zerosum.settlement.row_store import StoreFailed

PARTS: Final = 64  # that a kind's documents are spread over: a transaction waits for another one of the same part
AT_A_TIME: Final = 16  # parts that are read at a time
OVERLAP_US: Final = 600_000_000
HOUR_US: Final = 3_600_000_000
WAIT_S: Final = 15.0  # more than a request to the database may take


TABLES: Final = (("documents", "document_changes"), ("console_documents", "console_changes"))
"""Everybody's, and the console's: so are all statements."""
WHICH: Final = "WHERE kind = ? AND part = ? AND owner = ? AND name = ?"
GET: Final = tuple(f"SELECT owner, name, version, body FROM {table} {WHICH}" for table, _ in TABLES)
OF_OWNER: Final = tuple(f"SELECT owner, name, version, body FROM {table} WHERE kind = ? AND part = ? AND owner = ?" for table, _ in TABLES)
OF_PART: Final = tuple(f"SELECT owner, name, version, body FROM {table} WHERE kind = ? AND part = ?" for table, _ in TABLES)
INSERT: Final = tuple(
    f"INSERT INTO {table} (kind, part, owner, name, version, body) VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?"
    for table, _ in TABLES
)
UPDATE: Final = tuple(f"UPDATE {table} USING TTL ? SET version = ?, body = ? {WHICH} IF version = ?" for table, _ in TABLES)
REMOVE: Final = tuple(f"DELETE FROM {table} {WHICH} IF EXISTS" for table, _ in TABLES)
TELL: Final = tuple(f"INSERT INTO {changes} (hour, changed_us, kind, owner, name) VALUES (?, ?, ?, ?, ?)" for _, changes in TABLES)
CHANGES: Final = tuple(f"SELECT changed_us, kind, owner, name FROM {changes} WHERE hour = ? AND changed_us >= ?" for _, changes in TABLES)


def whose(kind: str) -> int:
    """Which of TABLES."""
    return int(kind.startswith(CONSOLES))


T = TypeVar("T")


@final
class Reader:
    """How far who follows the changes of a kind is."""

    def __init__(self) -> None:
        self._mark = 0
        self._told: set[tuple[int, Place]] = set()  # by the last call, which the next one shows to have been dealt with, or not
        self._seen: set[tuple[int, Place]] = set()

    def told(self, found: set[tuple[int, Place]], mark: int) -> Changes:
        if mark == 0:
            self._seen = found
        elif mark == self._mark:
            self._seen = self._told
        self._told = found
        self._mark += 1
        return Changes([place for _, place in sorted(found - self._seen)], self._mark)


@final
class CqlDocuments:
    """
    Made with `connect`. It has an event loop of its own, in a thread, because the driver needs one: callers wait, whatever thread they are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, session: Session) -> None:
        self._loop = loop
        self._thread = thread
        self._session = session
        self._readers: dict[str, Reader] = defaultdict(Reader)  # by kind

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
        rows = self._wait(self._session.execute(GET[whose(kind)], (kind, part_of(owner), owner, name)))
        return Stored(*rows[0]) if rows else None

    def of_owner(self, kind: str, owner: str) -> list[Stored]:
        rows = self._wait(self._session.execute(OF_OWNER[whose(kind)], (kind, part_of(owner), owner)))
        return [Stored(*row) for row in rows]

    def every(self, kind: str) -> list[Stored]:
        return self._wait(self._every(kind))

    async def _every(self, kind: str) -> list[Stored]:
        found: list[Stored] = []
        for first in range(0, PARTS, AT_A_TIME):
            reads = [self._session.execute(OF_PART[whose(kind)], (kind, part)) for part in range(first, first + AT_A_TIME)]
            for rows in await asyncio.gather(*reads):
                found += [Stored(*row) for row in rows]
        return found

    def put(self, kind: str, owner: str, name: str, body: bytes, version: int, *, lives_s: int = 0) -> None:
        self._wait(self._put(Place(kind, owner, name), body, version, lives_s))

    async def _put(self, place: Place, body: bytes, version: int, lives_s: int) -> None:
        kind, owner, name = place
        await self._tell(place)
        if version == 0:
            rows = await self._session.execute(INSERT[whose(kind)], (kind, part_of(owner), owner, name, 1, body, lives_s))
        else:
            values = (lives_s, version + 1, body, kind, part_of(owner), owner, name, version)
            rows = await self._session.execute(UPDATE[whose(kind)], values)
        if not rows[0][0]:
            raise Changed
        await self._tell(place)

    async def _tell(self, place: Place) -> None:
        now_us = clock_us()
        await self._session.execute(TELL[whose(place.kind)], (now_us // HOUR_US, now_us, *place))

    def remove(self, kind: str, owner: str, name: str) -> None:
        self._wait(self._session.execute(REMOVE[whose(kind)], (kind, part_of(owner), owner, name)))

    # ------------------------------------------------------------------ what has changed

    def changes(self, kind: str, mark: int) -> Changes:
        """
        By the clock, and looking back by what clocks may differ; what was dealt with is not told again. One reader of a kind, therefore.
        """
        return self._readers[kind].told(self._wait(self._changes(kind)), mark)

    async def _changes(self, kind: str) -> set[tuple[int, Place]]:
        since = clock_us() - OVERLAP_US
        found: set[tuple[int, Place]] = set()
        for hour in range(since // HOUR_US, (since + 2 * OVERLAP_US) // HOUR_US + 1):
            rows = await self._session.execute(CHANGES[whose(kind)], (hour, since))
            found |= {(changed_us, Place(of_kind, *which)) for changed_us, of_kind, *which in rows if of_kind == kind}
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
