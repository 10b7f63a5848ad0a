"""Connections that only read a settled record, refused with a clear error where there is none that this program can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import apsw

from zerosum.settlement.errors import NotARecord, NothingSettled, SchemaTooNew, SettlementFailed
from zerosum.settlement.schema import VERSION, found_version, require_current

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


def read_position(path: Path) -> tuple[int, bytes]:
    """How far a record is, and the id of its log, whatever the version of its tables. NotARecord, SchemaTooNew, SettlementFailed."""
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(BUSY_MS)
            version = found_version(connection, path)
            if version > VERSION:
                raise SchemaTooNew(path, found=version, known=VERSION)
            if version == 0:
                return 0, b""
            sequence, log_id = connection.execute("SELECT sequence, log_id FROM settlement_state").get
            return int(sequence), bytes(log_id)
    except apsw.NotADBError as error:
        raise NotARecord(path, str(error)) from error
    except (apsw.Error, TypeError) as error:
        raise SettlementFailed(path, str(error)) from error


@contextmanager
def one_state(path: Path) -> Iterator[apsw.Connection]:
    """The record as it is now, for as long as it is read, whatever is written meanwhile. Errors as those of `connect`."""
    connection = connect(path)
    try:
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()
