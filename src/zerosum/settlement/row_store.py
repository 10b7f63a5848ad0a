"""
Where a cluster's record is written: rows that overwrite older ones of the same key, each stream's apart.

    write(stream, rows, settled)    every row of the batch, in whatever order; then, when all are there, the stream's position

Each row has one stream that it comes from, so no two writers meet. MemoryRowStore keeps rows as a CQL database does: of two versions of a
row the one that was written with the higher number stays, whichever came first.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol, final

from zerosum.settlement.errors import SettlementError
from zerosum.settlement.rows import AccountRow, Rows

KEY_COLUMNS: Final = {
    "assets": 1, "symbols": 1, "markets": 1, "accounts": 1, "orders": 3, "trades": 2, "user_trades": 4, "balance_ledger": 1, "balances": 2,
    "klines": 3, "deposits": 2, "withdrawals": 2, "withdrawal_requests": 2, "movement_ends": 2,
    "adjustments": 2, "transfers": 2, "arrivals": 3, "checkpoints": 1,
}  # fmt: skip
"""How many of a row's first columns name it, within its stream."""

OPENED: Final = AccountRow._fields.index("opened_us")


class StoreFailed(SettlementError):
    """Some, all or nothing of a batch was written: which, is not known."""


class Settled(NamedTuple):
    """How far a stream is settled: the number of the last event, and the head of the chain over all of them."""

    sequence: int
    chain: bytes


Value = int | str | bytes | None
Key = tuple[str, tuple[Value, ...]]


class RowStore(Protocol):
    async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
        """StoreFailed: the same call is to be made again."""

    async def settled(self, stream: str) -> Settled: ...

    def forget(self) -> None:
        """What of the record is remembered here: it may not be there any more."""


def written(rows: Rows) -> list[tuple[str, tuple[Value, ...]]]:
    """
    (table, row) of everything in a batch: of several of one key the last, for all are written as of the batch's end. An order is in one
    table here, open or ended: a cluster's open orders are read from views, never from a table that lives by deletes.
    """
    found: list[tuple[str, tuple[Value, ...]]] = [("orders", row) for row in rows.active_orders]
    for table in KEY_COLUMNS:
        found += [(table, row) for row in getattr(rows, table)]
    last: dict[tuple[str, tuple[Value, ...]], tuple[Value, ...]] = {}
    for table, row in found:
        key = table, key_of(table, row)
        last[key] = opened_as(last[key], row) if table == "accounts" and key in last else row
    return [(table, row) for (table, _), row in last.items()]


def opened_as(first: tuple[Value, ...], row: tuple[Value, ...]) -> tuple[Value, ...]:
    """An account's row, opened when its first one says."""
    return (*row[:OPENED], first[OPENED], *row[OPENED + 1 :])


def key_of(table: str, row: tuple[Value, ...]) -> tuple[Value, ...]:
    if table == "transfers":
        return row[1], row[0]  # of the account that pays
    return row[: KEY_COLUMNS[table]]


@final
class MemoryRowStore:
    """`rows`: by stream, table and key: (number, row)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, tuple[Value, ...]], tuple[int, tuple[Value, ...]]] = {}
        self.positions: dict[str, Settled] = {}

    async def write(self, stream: str, rows: Rows, settled: Settled) -> None:
        self.put_all(stream, rows, settled)

    def put_all(self, stream: str, rows: Rows, settled: Settled) -> None:
        for table, row in written(rows):
            self.put(stream, table, row, settled.sequence)
        self.finish(stream, settled)

    def put(self, stream: str, table: str, row: tuple[Value, ...], number: int) -> None:
        key = stream, table, key_of(table, row)
        found = self.rows.get(key)
        if table == "accounts" and found is not None:
            row = (*row[:OPENED], min(int(str(row[OPENED])), int(str(found[1][OPENED]))), *row[OPENED + 1 :])
            if found[0] > number:
                row = (*found[1][:OPENED], row[OPENED], *found[1][OPENED + 1 :])
        if found is None or found[0] <= number or table == "accounts":
            self.rows[key] = max(number, found[0] if found is not None else 0), row

    def finish(self, stream: str, settled: Settled) -> None:
        if settled.sequence >= self.positions.get(stream, Settled(0, b"")).sequence:
            self.positions[stream] = settled

    def forget(self) -> None:
        """Nothing is remembered."""

    async def settled(self, stream: str) -> Settled:
        return self.positions.get(stream, Settled(0, b""))
