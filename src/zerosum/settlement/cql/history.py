"""
What the gateway reads of the record in a CQL database: orders and trades of an account. See zerosum.gateway.history for what is promised.

    hours of the account and symbol, from the oldest or the newest --> rows of one after another, until there are enough

Called in threads; each call is run in the event loop that the session belongs to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, NamedTuple, TypeVar, final

from zerosum.settlement.cql.session import Session
from zerosum.settlement.cql.tables import HOUR_US
from zerosum.settlement.rows import OrderRow, UserTradeRow

ID_MAX: Final = (1 << 63) - 1
TIME_US_MAX: Final = ID_MAX
PAGE: Final = 1_000

T = TypeVar("T")
Row = TypeVar("Row", OrderRow, UserTradeRow)

ORDER: Final = f"SELECT {', '.join(OrderRow._fields)} FROM orders WHERE account = ? AND symbol = ? AND hour = ? AND order_id = ?"
ORDER_OF_CLIENT_ID: Final = "SELECT order_id FROM orders_by_client WHERE account = ? AND client_id = ? AND symbol = ?"


class Table(NamedTuple):
    """One that is parted by hours."""

    hours: str
    oldest: str
    newest: str
    id_at: int
    time_at: int


def table(name: str, hours: str, fields: tuple[str, ...], key: str, order: str, time: str) -> Table:
    select = f"SELECT {', '.join(fields)} FROM {name} WHERE account = ? AND symbol = ? AND hour = ? AND {key} >= ? AND {key} <= ?"
    return Table(
        f"SELECT hour, first_id FROM {hours} WHERE account = ? AND symbol = ?",
        f"{select} ORDER BY {order.format('ASC')} LIMIT {PAGE}",
        f"{select} ORDER BY {order.format('DESC')} LIMIT {PAGE}",
        fields.index(key),
        fields.index(time),
    )


ORDERS: Final = table("orders", "order_hours", OrderRow._fields, "order_id", "order_id {0}", "created_us")
USER_TRADES: Final = table("user_trades", "user_trade_hours", UserTradeRow._fields, "trade_id", "trade_id {0}, side {0}", "time_us")


class Range(NamedTuple):
    """What is asked for: ids and times, both inclusive; from the `oldest` on, or from the newest back."""

    first_id: int
    last_id: int
    start_us: int
    end_us: int
    oldest: bool


@final
class CqlHistory:
    def __init__(self, session: Session) -> None:
        """In the event loop of the session."""
        self._session = session
        self._loop = asyncio.get_running_loop()

    def order(self, account: int, symbol: int, *, order_id: int | None, client_id: str | None) -> OrderRow | None:
        return self._run(self._find_order(account, symbol, order_id, client_id))

    def all_orders(
        self, account: int, symbol: int, *, from_order_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[OrderRow]:  # fmt: skip
        asked = range_of(from_order_id, start_us, end_us)
        return [OrderRow._make(row) for row in self._run(self._rows(ORDERS, account, symbol, asked, limit))]

    def user_trades(
        self, account: int, symbol: int, *, order_id: int | None, from_trade_id: int | None, start_us: int | None, end_us: int | None,
        limit: int,
    ) -> list[UserTradeRow]:  # fmt: skip
        asked = range_of(from_trade_id, start_us, end_us)
        if order_id is None:
            found = self._run(self._rows(USER_TRADES, account, symbol, asked, limit))
        else:
            found = self._run(self._trades_of_order(account, symbol, order_id, asked, limit))
        return [UserTradeRow._make(row) for row in found]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # ------------------------------------------------------------------ in the event loop

    async def _find_order(self, account: int, symbol: int, order_id: int | None, client_id: str | None) -> OrderRow | None:
        if order_id is None:
            rows = await self._session.execute(ORDER_OF_CLIENT_ID, (account, client_id, symbol)) if client_id else []
            if not rows:
                return None
            order_id = rows[0][0]
        found = await self._order(account, symbol, order_id)
        return found if found is not None and client_id in (None, found.client_id) else None

    async def _order(self, account: int, symbol: int, order_id: int) -> OrderRow | None:
        for hour, first_id in await self._session.execute(ORDERS.hours, (account, symbol)):
            if first_id <= order_id:
                rows = await self._session.execute(ORDER, (account, symbol, hour, order_id))
                return OrderRow._make(rows[0]) if rows else None
        return None

    async def _trades_of_order(self, account: int, symbol: int, order_id: int, asked: Range, limit: int) -> list[tuple[Any, ...]]:
        order = await self._order(account, symbol, order_id)
        if order is None or not order.first_trade_id:
            return []
        asked = asked._replace(
            first_id=max(asked.first_id, order.first_trade_id), last_id=min(asked.last_id, order.last_trade_id),
            start_us=max(asked.start_us, order.created_us),
        )  # fmt: skip
        at = UserTradeRow._fields.index("order_id")
        return await self._rows(USER_TRADES, account, symbol, asked, limit, lambda row: row[at] == order_id)

    async def _rows(
        self, table: Table, account: int, symbol: int, asked: Range, limit: int, wanted: Any = lambda row: True
    ) -> list[tuple[Any, ...]]:  # fmt: skip
        """Ascending by id."""
        found: list[tuple[Any, ...]] = []
        async for row in self._all(table, account, symbol, asked):
            if wanted(row):
                found.append(row)
                if len(found) == limit:
                    break
        return found if asked.oldest else found[::-1]

    async def _all(self, table: Table, account: int, symbol: int, asked: Range) -> AsyncIterator[tuple[Any, ...]]:
        for hour in await self._hours(table, account, symbol, asked):
            first, last = asked.first_id, asked.last_id
            while True:
                rows = await self._session.execute(table.oldest if asked.oldest else table.newest, (account, symbol, hour, first, last))
                is_last = len(rows) < PAGE
                for row in rows:
                    # The last id of a full page may have another row in the next, which begins with it.
                    if asked.start_us <= row[table.time_at] <= asked.end_us and (is_last or row[table.id_at] != rows[-1][table.id_at]):
                        yield row
                if is_last:
                    break
                if asked.oldest:
                    first = rows[-1][table.id_at]
                else:
                    last = rows[-1][table.id_at]

    async def _hours(self, table: Table, account: int, symbol: int, asked: Range) -> list[int]:
        """Those in which there may be something, in the order in which they are to be read."""
        hours: list[int] = []
        for hour, first_id in await self._session.execute(table.hours, (account, symbol)):  # the newest first
            if hour <= asked.end_us // HOUR_US and first_id <= asked.last_id:
                hours.append(hour)
            if hour <= asked.start_us // HOUR_US or first_id <= asked.first_id:
                break  # all before it is older
        return hours[::-1] if asked.oldest else hours


def range_of(from_id: int | None, start_us: int | None, end_us: int | None) -> Range:
    return Range(
        from_id if from_id is not None else 0, ID_MAX, start_us if start_us is not None else 0,
        end_us if end_us is not None else TIME_US_MAX, from_id is not None or start_us is not None,
    )  # fmt: skip
