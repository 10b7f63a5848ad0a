"""What the gateway asks of the settled record: orders that ended long ago, and trades. The rows are settlement's own."""

from __future__ import annotations

from typing import Protocol

from zerosum.settlement.rows import OrderRow, UserTradeRow


class History(Protocol):
    """
    Rows come in ascending order of their ids. With a first id or a start time they are the oldest from there on, else the newest. Times are
    inclusive. Called in a thread of the executor that the Api was given.
    """

    def order(self, account: int, symbol: int, *, order_id: int | None, client_id: str | None) -> OrderRow | None:
        """By id, or by client id: then the newest that had it. With both, both must fit."""

    def all_orders(
        self, account: int, symbol: int, *, from_order_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[OrderRow]: ...

    def user_trades(
        self, account: int, symbol: int, *, order_id: int | None, from_trade_id: int | None, start_us: int | None, end_us: int | None,
        limit: int,
    ) -> list[UserTradeRow]: ...  # fmt: skip
