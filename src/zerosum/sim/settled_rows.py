"""
What a gateway reads of a cluster's settled record, out of the rows in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from zerosum.services.cluster.topology import Topology
from zerosum.settlement.row_store import MemoryRowStore
from zerosum.settlement.rows import OrderRow, UserTradeRow


@final
class SettledRows:
    """A gateway's History."""

    def __init__(self, store: MemoryRowStore, topology: Topology) -> None:
        self._store = store
        self._topology = topology

    def order(self, account: int, symbol: int, *, order_id: int | None, client_id: str | None) -> OrderRow | None:
        fitting = (row for row in self._orders(account, symbol) if order_id in (None, row.order_id) and client_id in (None, row.client_id))
        return max(fitting, key=lambda row: row.order_id, default=None)

    def all_orders(
        self, account: int, symbol: int, *, from_order_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[OrderRow]:  # fmt: skip
        return sorted(self._orders(account, symbol), key=lambda row: row.order_id)[-limit:]

    def user_trades(
        self, account: int, symbol: int, *, order_id: int | None, from_trade_id: int | None, start_us: int | None, end_us: int | None,
        limit: int,
    ) -> list[UserTradeRow]:  # fmt: skip
        stream = self._stream(account)
        rows = [UserTradeRow._make(row) for (of, table, _), (_, row) in self._store.rows.items() if (of, table) == (stream, "user_trades")]
        found = [row for row in rows if (row.account, row.symbol) == (account, symbol) and order_id in (None, row.order_id)]
        return sorted(found, key=lambda row: row.trade_id)[-limit:]

    def _orders(self, account: int, symbol: int) -> Iterator[OrderRow]:
        stream = self._stream(account)
        for (of, table, key), (_, row) in self._store.rows.items():
            if table == "orders" and of == stream and key[:2] == (account, symbol):
                yield OrderRow._make(row)

    def _stream(self, account: int) -> str:
        return f"account-events.{self._topology.shard_of_account(account)}"
