"""
The settled record of a simulated embedded exchange: the real one, in a file of this machine, at which processes die.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import apsw

from zerosum.settlement.batch import Batch, Position
from zerosum.settlement.errors import SettlementFailed
from zerosum.settlement.history import History
from zerosum.settlement.rows import OrderRow, UserTradeRow
from zerosum.settlement.sqlite import SqliteStore
from zerosum.sim.faults import Faults
from zerosum.sim.process import Died, Life


@final
class SimStore:
    """The real store, with a process that dies at its writes, and writes that have to wait."""

    def __init__(self, path: Path, life: Life, faults: Faults) -> None:
        self._store = SqliteStore(path)
        self._path = path
        self._life = life
        self._faults = faults

    def position(self) -> Position:
        return self._store.position()

    def log_id(self) -> bytes:
        return self._store.log_id()

    def belong_to(self, log_id: bytes) -> None:
        self._life.check()
        self._store.belong_to(log_id)

    def write(self, batch: Batch) -> None:
        self._life.check()
        if self._faults.happens("store write fails", self._life):
            raise SettlementFailed(self._path, "another program holds it locked", can_wait=True)
        self._crash_if()
        self._store.write(batch)
        self._crash_if()

    def _crash_if(self) -> None:
        if self._faults.happens("crash at a store write", self._life):
            self._life.process.crash()
            raise Died

    def fold(self) -> None:
        self._life.check()
        self._store.fold()

    def close(self) -> None:
        self._store.close()


@final
class LateHistory:
    """The settled record as the API reads it, opened when it is first asked for: the follower makes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: History | None = None

    def order(self, account: int, symbol: int, *, order_id: int | None, client_id: str | None) -> OrderRow | None:
        return self._history().order(account, symbol, order_id=order_id, client_id=client_id)

    def all_orders(
        self, account: int, symbol: int, *, from_order_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[OrderRow]:  # fmt: skip
        return self._history().all_orders(account, symbol, from_order_id=from_order_id, start_us=start_us, end_us=end_us, limit=limit)

    def user_trades(
        self, account: int, symbol: int, *, order_id: int | None, from_trade_id: int | None, start_us: int | None, end_us: int | None,
        limit: int,
    ) -> list[UserTradeRow]:  # fmt: skip
        return self._history().user_trades(
            account, symbol, order_id=order_id, from_trade_id=from_trade_id, start_us=start_us, end_us=end_us, limit=limit
        )

    def _history(self) -> History:
        if self._opened is None:
            self._opened = History(self._path)
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


def dump(path: Path) -> dict[str, list[str]]:
    """Every row of every table."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        tables = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        return {table: sorted(repr(row) for row in connection.execute(f"SELECT * FROM {table}")) for table in tables}  # noqa: S608
    finally:
        connection.close()
