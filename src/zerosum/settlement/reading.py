"""Connections that only read a settled record, refused with a clear error where there is none that this program can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from zerosum.settlement.errors import NotARecord, NothingSettled
from zerosum.settlement.schema import require_current

BUSY_MS: Final = 10_000


def connect(path: Path) -> apsw.Connection:
    """NothingSettled if there is no record; NotARecord, SchemaTooNew or SchemaTooOld if it is not one that this program reads."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(BUSY_MS)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # or a statement is planned anew for each set of values
        connection.execute("PRAGMA query_only = ON; PRAGMA cache_size = -65536")
        require_current(connection, path)
    except apsw.CantOpenError as error:
        raise NothingSettled(path) from error
    except apsw.NotADBError as error:
        raise NotARecord(path, str(error)) from error
    return connection


@contextmanager
def one_state(path: Path) -> Iterator[apsw.Connection]:
    """The record as it is now, for as long as it is read, whatever is written meanwhile. Errors as those of `connect`."""
    connection = connect(path)
    try:
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()
