"""
The store in SQLite: a batch and the position after it are one transaction, so a batch is there whole or not at all, and once.

    Batch --> Translator --> rows --+
                       position ----+--> one transaction --> settled.db (WAL) --> History, in other processes, meanwhile

Each commit is synced (synchronous=FULL), a little at a time: left to the checkpoints, a sync of hundreds of megabytes would hold up that of
the log on the same disk. So what is written is durable, and the log may be pruned up to there.

Always true: what is in the file is what a single run over the log up to `position` would have written. One process writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

import apsw

from zerosum.settlement.batch import Batch, Position
from zerosum.settlement.errors import NotARecord, SettlementFailed, WrittenElsewhere
from zerosum.settlement.klines import STORED_US
from zerosum.settlement.rows import BalanceRow, KlineRow, MarketRow, OrderRow, SymbolRow
from zerosum.settlement.schema import migrate
from zerosum.settlement.translator import Translator

__all__ = ["Batch", "Position", "SqliteStore"]

SHARED_MEMORY_BYTES: Final = 32 << 10  # what SQLite's file beside the WAL grows by
BUSY_MS: Final = 10_000  # how long to wait for another's lock: a reader that ends a WAL, a backup
PRAGMAS: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 65536;
PRAGMA cache_size = -32768;
PRAGMA temp_store = MEMORY;
"""

# Table by table, in the order in which they are written.
WRITES: Final = (
    ("assets", "INSERT INTO assets VALUES (?, ?, ?, ?)"),
    ("markets", "REPLACE INTO markets VALUES (?, ?, ?, ?, ?)"),
    ("symbols", "REPLACE INTO symbols VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    (
        "accounts",
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET (status, maker_ppm, taker_ppm, orders_max,"
        " changed_us) = (excluded.status, excluded.maker_ppm, excluded.taker_ppm, excluded.orders_max, excluded.changed_us)",
    ),
    ("ended_orders", "DELETE FROM active_orders WHERE account = ? AND symbol = ? AND order_id = ?"),
    ("active_orders", "REPLACE INTO active_orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    ("orders", "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    ("trades", "INSERT INTO trades VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    ("user_trades", "INSERT INTO user_trades VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    ("balance_ledger", "INSERT INTO balance_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    ("balances", "REPLACE INTO balances VALUES (?, ?, ?, ?, ?)"),
    ("klines", "REPLACE INTO klines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    ("deposits", "INSERT INTO deposits VALUES (?, ?, ?, ?, ?, ?)"),
    ("withdrawals", "INSERT INTO withdrawals VALUES (?, ?, ?, ?, ?, ?)"),
    ("withdrawal_requests", "INSERT INTO withdrawal_requests VALUES (?, ?, ?, ?, ?, ?)"),
    ("movement_ends", "INSERT INTO movement_ends VALUES (?, ?, ?, ?, ?, ?, ?)"),
    ("adjustments", "INSERT INTO adjustments VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
    ("transfers", "INSERT INTO transfers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
    ("arrivals", "INSERT INTO arrivals VALUES (?, ?, ?, ?, ?, ?, ?)"),
    ("checkpoints", "INSERT INTO checkpoints VALUES (?, ?, ?)"),
)

POSITION: Final = "SELECT sequence, account_sequence, market_sequence, account_chain, market_chain FROM settlement_state"
GO_ON: Final = "UPDATE settlement_state SET sequence = ?, account_sequence = ?, market_sequence = ?, account_chain = ?, market_chain = ?"


@final
class SqliteRecord:
    """What the file holds, as far as a Translator goes on from it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def position(self) -> Position:
        return Position(*self._connection.execute(POSITION).get)

    def symbols(self) -> Iterator[SymbolRow]:
        return map(SymbolRow._make, self._connection.execute("SELECT * FROM symbols"))

    def markets(self) -> Iterator[MarketRow]:
        return map(MarketRow._make, self._connection.execute("SELECT * FROM markets"))

    def open_orders(self) -> Iterator[OrderRow]:
        return map(OrderRow._make, self._connection.execute("SELECT * FROM active_orders"))

    def balance(self, account: int, asset: int) -> BalanceRow | None:
        row = self._connection.execute("SELECT * FROM balances WHERE account = ? AND asset = ?", (account, asset)).get
        return None if row is None else BalanceRow._make(row)

    def last_trade_ids(self) -> Iterator[tuple[int, int]]:
        for symbol in self.symbols():
            last = self._connection.execute("SELECT max(trade_id) FROM trades WHERE symbol = ?", (symbol.symbol,)).get
            if last is not None:
                yield symbol.symbol, last

    def last_klines(self) -> Iterator[KlineRow]:
        newest = "SELECT * FROM klines WHERE symbol = ? AND interval_us = ? ORDER BY open_us DESC LIMIT 1"
        for symbol in self.symbols():
            for interval_us in STORED_US:
                yield from map(KlineRow._make, self._connection.execute(newest, (symbol.symbol, interval_us)))


@final
class SqliteStore:
    """
    Writes batches. The file is made, or its tables brought up to date, if need be; NotARecord or SchemaTooNew if it is not ours to write.

    One thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            make_private(path)
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_timeout(BUSY_MS)
            self._connection.transaction_mode = "IMMEDIATE"
            self._connection.execute(PRAGMAS).fetchall()  # to the last of them: a statement that returns a row would be the end
            migrate(self._connection, path)
        except apsw.NotADBError as error:
            raise NotARecord(path, str(error)) from error
        except apsw.Error as error:
            raise failed(path, error) from error
        self._record = SqliteRecord(self._connection)
        self._translator: Translator | None = None
        self._position = self._record.position()

    def position(self) -> Position:
        """How far the record is."""
        return self._position

    def log_id(self) -> bytes:
        """The log that it is settled from; empty before that is known."""
        return bytes(self._connection.execute("SELECT log_id FROM settlement_state").get)

    def belong_to(self, log_id: bytes) -> None:
        """From here on it is settled from this log. SettlementFailed."""
        assert self.log_id() in (b"", log_id), "a record is of one log"
        try:
            self._connection.execute("UPDATE settlement_state SET log_id = ?", (log_id,))
        except apsw.Error as error:
            raise failed(self.path, error) from error

    def write(self, batch: Batch) -> None:
        """
        Settle a batch: the events that are next are written, those that the record has are dropped. Raises SettlementGap, SettlementBroken,
        SettlementFailed or WrittenElsewhere, and then nothing of it was written.
        """
        known = self._translator
        self._translator = None  # should anything fail below, the next batch begins from what the file holds
        try:
            self._translator = self._settle(known, batch)
        except apsw.Error as error:
            raise failed(self.path, error) from error
        self._position = self._translator.position

    def _settle(self, known: Translator | None, batch: Batch) -> Translator:
        with self._connection:  # one transaction, rolled back by any exception
            translator = known if known is not None else Translator(self._record)
            if translator.position != self._record.position():
                raise WrittenElsewhere(self.path)
            rows = translator.rows_of(batch)
            if rows is not None:
                self._connection.execute(GO_ON, translator.position)
                # Neighbours in a b-tree together: a tenth less CPU in all.
                for by_account in (rows.orders, rows.active_orders, rows.user_trades, rows.balances):
                    by_account.sort()
                for table, statement in WRITES:
                    self._connection.executemany(statement, getattr(rows, table))
        return translator

    def fold(self) -> None:
        """Fold the WAL into the file, as far as readers allow it: one that holds on to an old state keeps it long, and no more."""
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # another connection does the same now
        except apsw.Error as error:
            raise failed(self.path, error) from error

    def close(self) -> None:
        self._connection.close()


def make_private(path: Path) -> None:
    """What everybody owns and trades is for its owner alone; SQLite gives the files beside it the same mode."""
    with contextlib.suppress(OSError):  # it is there, or SQLite is to say why it can't be
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def failed(path: Path, error: apsw.Error) -> SettlementFailed:
    """What SQLite could not do. On a full disk it may call an I/O error what could not be made larger."""
    full = isinstance(error, apsw.FullError)
    if isinstance(error, apsw.IOError):
        room = os.statvfs(path.parent)
        full = room.f_bavail * room.f_frsize < SHARED_MEMORY_BYTES
    busy = isinstance(error, apsw.BusyError)
    why = "the disk is full" if full else "another program holds it locked" if busy else str(error)
    return SettlementFailed(path, why, can_wait=full or busy)
