"""
What the gateway reads of the settled record: orders that have ended, trades, klines, balances. It can't write.

    orders, user trades, trades    ascending by id: with a first id or a start time the oldest from there on, else the newest
    times                          inclusive, in microseconds since 1970

Time never goes back from one id to the next within a symbol, so a time is found by halving the ids, and needs no index of its own.

Always true: a read sees whole batches. An order that is still open is as it was after the last of them; views know it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, final

from zerosum.settlement.batch import Position
from zerosum.settlement.klines import DAY_US, EPOCH_DAY, INTERVALS, Interval, Kline
from zerosum.settlement.reading import connect
from zerosum.settlement.rows import AssetRow, BalanceRow, KlineRow, OrderRow, TradeRow, UserTradeRow
from zerosum.settlement.sqlite import POSITION

ID_MAX: Final = (1 << 63) - 1
TIME_US_MAX: Final = (date(9999, 12, 1).toordinal() - EPOCH_DAY) * DAY_US - 1  # calendars go no further than its next month

Row = TypeVar("Row", OrderRow, UserTradeRow, TradeRow)

# By key, ids between two bounds, and what more a statement says; in both directions.
ORDERS: Final = (
    "SELECT * FROM orders WHERE account = :account AND symbol = :symbol AND order_id BETWEEN :first AND :last"
    " UNION ALL SELECT * FROM active_orders WHERE account = :account AND symbol = :symbol AND order_id BETWEEN :first AND :last"
    " ORDER BY order_id"
)
ORDERS_NEWEST: Final = f"{ORDERS} DESC"
USER_TRADES: Final = (
    "SELECT * FROM user_trades WHERE account = :account AND symbol = :symbol AND trade_id BETWEEN :first AND :last ORDER BY trade_id, side"
)
USER_TRADES_NEWEST: Final = USER_TRADES.replace("trade_id, side", "trade_id DESC, side DESC")
# An order is of one account and symbol. Said all the same: nobody may ask for another's.
ORDER_TRADES: Final = (
    "SELECT * FROM user_trades INDEXED BY user_trades_by_order WHERE order_id = :order_id AND account = :account AND symbol = :symbol"
    " AND trade_id BETWEEN :first AND :last ORDER BY trade_id"
)
ORDER_TRADES_NEWEST: Final = f"{ORDER_TRADES} DESC"
TRADES: Final = "SELECT * FROM trades WHERE symbol = :symbol AND trade_id BETWEEN :first AND :last ORDER BY trade_id"
TRADES_NEWEST: Final = f"{TRADES} DESC"
KLINES: Final = (
    "SELECT * FROM klines WHERE symbol = :symbol AND interval_us = :interval_us AND open_us BETWEEN :first AND :last ORDER BY open_us"
)
KLINES_NEWEST: Final = f"{KLINES} DESC"

ORDER_BY_ID: Final = (
    "SELECT * FROM orders WHERE account = :account AND symbol = :symbol AND order_id = :order_id"
    " UNION ALL SELECT * FROM active_orders WHERE account = :account AND symbol = :symbol AND order_id = :order_id"
)
# An open order's client id is no other open order's, so it is the newest to have it.
ACTIVE_BY_CLIENT_ID: Final = "SELECT * FROM active_orders WHERE account = :account AND symbol = :symbol AND client_id = :client_id"
ORDER_BY_CLIENT_ID: Final = (
    "SELECT * FROM orders WHERE account = :account AND client_id = :client_id AND client_id <> '' AND symbol = :symbol"
    " ORDER BY order_id DESC LIMIT 1"
)
BALANCES: Final = "SELECT * FROM balances WHERE account = :account ORDER BY asset"

# The next id from one on, and its time: what `_first_since` halves by.
ORDER_TIME: Final = (
    "SELECT order_id, created_us FROM orders WHERE account = :account AND symbol = :symbol AND order_id >= :id"
    " UNION ALL SELECT order_id, created_us FROM active_orders WHERE account = :account AND symbol = :symbol AND order_id >= :id"
    " ORDER BY order_id LIMIT 1"
)
TRADE_TIME: Final = "SELECT trade_id, time_us FROM trades WHERE symbol = :symbol AND trade_id >= :id ORDER BY trade_id LIMIT 1"


class Candle(NamedTuple):
    """What was traded in an interval, `end_us` not included."""

    open_us: int
    end_us: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    quote_atoms: int
    trades: int
    taker_buy_lots: int
    taker_buy_quote_atoms: int


@final
class History:
    """
    A connection of its own to the record. Any thread may use it, one at a time.

    NothingSettled if there is no record yet; NotARecord, SchemaTooNew or SchemaTooOld if it is not one that this program reads.
    """

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)

    def interrupt(self) -> None:
        """Let a read that is under way in another thread fail."""
        self._connection.interrupt()

    def close(self) -> None:
        self._connection.close()

    def position(self) -> Position:
        return Position(*self._connection.execute(POSITION).get)

    def assets(self) -> list[AssetRow]:
        """What is listed, by number."""
        return [AssetRow._make(row) for row in self._connection.execute("SELECT * FROM assets ORDER BY asset")]

    # ------------------------------------------------------------------ orders

    def order(self, account: int, symbol: int, *, order_id: int | None = None, client_id: str | None = None) -> OrderRow | None:
        """By id, or by client id: then the newest that had it. With both, both must fit."""
        key: dict[str, Any] = {"account": account, "symbol": symbol, "order_id": order_id, "client_id": client_id}
        if order_id is not None:
            found = self._order(ORDER_BY_ID, key)
            return found if found is not None and client_id in (None, found.client_id) else None
        if not client_id:
            return None
        return self._order(ACTIVE_BY_CLIENT_ID, key) or self._order(ORDER_BY_CLIENT_ID, key)

    def _order(self, statement: str, key: dict[str, Any]) -> OrderRow | None:
        row = next(self._connection.execute(statement, key), None)
        return None if row is None else OrderRow._make(row)

    def all_orders(
        self,
        account: int,
        symbol: int,
        *,
        from_order_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int,
    ) -> list[OrderRow]:
        """Every order of the account, those that were rejected after admission too. Times are those of placing."""
        key = {"account": account, "symbol": symbol}
        oldest = from_order_id is not None or start_us is not None
        key |= self._range(ORDER_TIME, key, from_order_id, start_us, end_us)
        return self._ascending(OrderRow, ORDERS if oldest else ORDERS_NEWEST, key, oldest, limit)

    # ------------------------------------------------------------------ trades

    def user_trades(
        self,
        account: int,
        symbol: int,
        *,
        order_id: int | None = None,
        from_trade_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int,
    ) -> list[UserTradeRow]:
        """An account's own side of its trades; a trade with itself gives both. With `order_id`, that order's only."""
        key: dict[str, Any] = {"account": account, "symbol": symbol}
        oldest = from_trade_id is not None or start_us is not None
        key |= self._range(TRADE_TIME, key, from_trade_id, start_us, end_us)
        if order_id is None:
            return self._ascending(UserTradeRow, USER_TRADES if oldest else USER_TRADES_NEWEST, key, oldest, limit)
        key["order_id"] = order_id
        return self._ascending(UserTradeRow, ORDER_TRADES if oldest else ORDER_TRADES_NEWEST, key, oldest, limit)

    def trades(
        self, symbol: int, *, from_trade_id: int | None = None, start_us: int | None = None, end_us: int | None = None, limit: int
    ) -> list[TradeRow]:  # fmt: skip
        key = {"symbol": symbol}
        oldest = from_trade_id is not None or start_us is not None
        key |= self._range(TRADE_TIME, key, from_trade_id, start_us, end_us)
        return self._ascending(TradeRow, TRADES if oldest else TRADES_NEWEST, key, oldest, limit)

    # ------------------------------------------------------------------ klines, balances

    def klines(
        self, symbol: int, interval: str, *, start_us: int | None = None, end_us: int | None = None, limit: int
    ) -> list[Candle]:  # fmt: skip
        """`interval`: a key of INTERVALS. Those that open in start..end, and have a trade."""
        kind = INTERVALS[interval]
        first, last = 0, TIME_US_MAX
        if start_us is not None:
            start_us = max(0, min(start_us, TIME_US_MAX))
            open_us = kind.open_us(start_us)
            first = open_us if open_us == start_us else kind.end_us(open_us)
        if end_us is not None:
            end_us = max(-1, min(end_us, TIME_US_MAX))
            last = kind.end_us(kind.open_us(end_us)) - 1
        key = {"symbol": symbol, "interval_us": kind.stored_us, "first": first, "last": last}
        rows = map(KlineRow._make, self._connection.execute(KLINES if start_us is not None else KLINES_NEWEST, key))
        candles = list(islice(joined(rows, kind), limit))
        return candles if start_us is not None else candles[::-1]

    def balances(self, account: int) -> list[BalanceRow]:
        return [BalanceRow._make(row) for row in self._connection.execute(BALANCES, {"account": account})]

    # ------------------------------------------------------------------ steps

    def _ascending(self, row_type: type[Row], statement: str, key: dict[str, Any], oldest: bool, limit: int) -> list[Row]:
        rows = [row_type._make(row) for row in islice(self._connection.execute(statement, key), limit)]
        return rows if oldest else rows[::-1]

    def _range(self, statement: str, key: dict[str, Any], from_id: int | None, start_us: int | None, end_us: int | None) -> dict[str, int]:
        """The first and the last id that are asked for."""
        first = from_id if from_id is not None else 0
        last = ID_MAX
        if start_us is not None:
            first = max(first, self._first_since(statement, key, start_us))
        if end_us is not None:
            last = self._first_since(statement, key, end_us + 1) - 1
        return {"first": first, "last": last}

    def _first_since(self, statement: str, key: dict[str, Any], time_us: int) -> int:
        """An id: all those below it are older than `time_us`, and none of the others."""
        low, high = 0, ID_MAX
        while low < high:
            row = self._connection.execute(statement, {**key, "id": (low + high) // 2}).get
            if row is not None and row[1] < time_us:
                low = row[0] + 1
            else:
                high = (low + high) // 2
        return low


def joined(rows: Iterator[KlineRow], interval: Interval) -> Iterator[Candle]:
    """Longer klines of stored ones that come in order of time, or from the newest back."""
    for open_us, group in groupby(rows, lambda row: interval.open_us(row.open_us)):
        first, *others = sorted(group, key=lambda row: row.open_us)
        kline = Kline.of(first)
        for row in others:
            kline.add(Kline.of(row))
        yield Candle(
            open_us, interval.end_us(open_us), kline.open_ticks, kline.high_ticks, kline.low_ticks, kline.close_ticks, kline.volume_lots,
            kline.quote_atoms, kline.trades, kline.taker_buy_lots, kline.taker_buy_quote_atoms,
        )  # fmt: skip
