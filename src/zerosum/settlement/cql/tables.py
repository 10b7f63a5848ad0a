"""
Which rows go where. A partition is what one node has together, and must not grow without end:

    orders, user_trades    of an account and symbol, by the hour            order_hours, user_trade_hours: which hours there are
    trades, klines         of a symbol, by pages of their ids or times
    balance_ledger         of a stream, by pages of its events
    the rest               of an account, or one row each

`stream` is in a key where the house's accounts, which every shard has, could meet. What every shard tells of (assets, symbols) is written
from the first one's stream alone.

Always true: a row has one writer, and where it goes is a function of the row: written again it is the same row. Of one batch no two rows
have one key: written at the same time, neither would be the later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, final

from zerosum.settlement.cql.session import varint
from zerosum.settlement.rows import (
    LEG_BITS,
    AccountRow,
    AdjustmentRow,
    ArrivalRow,
    AssetRow,
    BalanceRow,
    CheckpointRow,
    EndRow,
    KlineRow,
    LedgerRow,
    MarketRow,
    MovementRow,
    OrderRow,
    Rows,
    SymbolRow,
    TradeRow,
    TransferRow,
    UserTradeRow,
)

HOUR_US: Final = 3_600_000_000
TRADES_BITS: Final = 15  # trades of a page
EVENTS_BITS: Final = 13  # events of a page of the ledger: some ten thousands of legs
KLINES_OF_PAGE: Final = 4_096
HOME: Final = "account-events.0"

Row = Sequence[Any]

CREATED_US: Final = OrderRow._fields.index("created_us")
TRADED_US: Final = UserTradeRow._fields.index("time_us")
CLIENT_ID: Final = OrderRow._fields.index("client_id")
LEG_SYMBOL: Final = LedgerRow._fields.index("symbol")
OPENED_US: Final = AccountRow._fields.index("opened_us")


@final
class Table:
    """
    Columns of a table, written together. `partition`, `key`: how many of the first are the partition's key, and the row's. `first_wins`:
    what was there before stays. `insert`, `select`: statements, the latter for all rows.
    """

    def __init__(self, name: str, columns: tuple[str, ...], partition: int, key: int, *, first_wins: bool = False) -> None:
        self.name = name
        self.partition = partition
        self.key = key
        self.first_wins = first_wins
        self.insert = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        self.select = f"SELECT {', '.join(columns)} FROM {name}"


class Write(NamedTuple):
    """Rows of one partition."""

    table: Table
    rows: list[Row]


ORDERS: Final = Table("orders", ("account", "symbol", "hour", *OrderRow._fields[2:]), 3, 4)
ORDER_HOURS: Final = Table("order_hours", ("account", "symbol", "hour", "first_id"), 2, 3, first_wins=True)
CLIENT_IDS: Final = Table("orders_by_client", ("account", "client_id", "symbol", "order_id"), 2, 3)
TRADES: Final = Table("trades", ("symbol", "page", *TradeRow._fields[1:]), 2, 3)
USER_TRADES: Final = Table("user_trades", ("account", "symbol", "hour", *UserTradeRow._fields[2:]), 3, 5)
USER_TRADE_HOURS: Final = Table("user_trade_hours", ("account", "symbol", "hour", "first_id"), 2, 3, first_wins=True)
LEGS: Final = Table("balance_ledger", ("stream", "page", *LedgerRow._fields), 2, 3)
LEGS_OF_MOVEMENTS: Final = Table("balance_ledger", ("stream", "page", *(name for name in LedgerRow._fields if name != "symbol")), 2, 3)
BALANCES: Final = Table("balances", ("account", "asset", "stream", *BalanceRow._fields[2:]), 1, 3)
KLINES: Final = Table("klines", ("symbol", "interval_us", "page", *KlineRow._fields[2:]), 3, 4)
ASSETS: Final = Table("assets", AssetRow._fields, 1, 1)
SYMBOLS: Final = Table("symbols", SymbolRow._fields, 1, 1)
MARKETS: Final = Table("markets", MarketRow._fields, 1, 1)
ACCOUNTS: Final = Table("accounts", tuple(name for name in AccountRow._fields if name != "opened_us"), 1, 1)
ACCOUNTS_OPENED: Final = Table("accounts", ("account", "opened_us"), 1, 1, first_wins=True)
DEPOSITS: Final = Table("deposits", ("account", "transfer_id", "stream", *MovementRow._fields[2:]), 1, 3)
WITHDRAWALS: Final = Table("withdrawals", ("account", "transfer_id", "stream", *MovementRow._fields[2:]), 1, 3)
WITHDRAWAL_REQUESTS: Final = Table("withdrawal_requests", ("account", "transfer_id", "stream", *MovementRow._fields[2:]), 1, 3)
MOVEMENT_ENDS: Final = Table("movement_ends", ("account", "transfer_id", "stream", *EndRow._fields[2:]), 1, 3)
ADJUSTMENTS: Final = Table("adjustments", ("account", "transfer_id", "stream", *AdjustmentRow._fields[2:]), 1, 3)
TRANSFERS: Final = Table("transfers", ("from_account", "transfer_id", "stream", *TransferRow._fields[2:]), 1, 3)
ARRIVALS: Final = Table("arrivals", ArrivalRow._fields, 1, 3)
CHECKPOINTS: Final = Table("checkpoints", ("stream", "page", *CheckpointRow._fields), 2, 3)


ALL: Final = (
    ORDERS, ORDER_HOURS, CLIENT_IDS, TRADES, USER_TRADES, USER_TRADE_HOURS, LEGS, BALANCES, KLINES, ASSETS, SYMBOLS, MARKETS, ACCOUNTS,
    ACCOUNTS_OPENED, DEPOSITS, WITHDRAWALS, WITHDRAWAL_REQUESTS, MOVEMENT_ENDS, ADJUSTMENTS, TRANSFERS, ARRIVALS, CHECKPOINTS,
)  # fmt: skip
"""To read them by; legs of movements are legs."""


def writes(stream: str, rows: Rows) -> Iterator[Write]:
    """All that a batch of a stream has, in whatever order."""
    yield from of_orders(rows)
    yield from grouped(USER_TRADES, rows.user_trades, by_hour(TRADED_US))
    yield from grouped(USER_TRADE_HOURS, rows.user_trades, hour_of(TRADED_US))
    yield from grouped(TRADES, rows.trades, lambda row: (row[0], row[1] >> TRADES_BITS, *row[1:]))
    yield from of_ledger(stream, rows)
    yield from grouped(BALANCES, rows.balances, lambda row: (row[0], row[1], stream, *row[2:]))
    yield from grouped(KLINES, rows.klines, kline_values)
    yield from grouped(MARKETS, rows.markets, tuple)
    yield from of_accounts(stream, rows)
    if stream == HOME:
        yield from grouped(ASSETS, rows.assets, tuple)
        yield from grouped(SYMBOLS, rows.symbols, tuple)
    yield from grouped(CHECKPOINTS, rows.checkpoints, lambda row: (stream, row[0] >> EVENTS_BITS, *row))


def grouped(table: Table, rows: Iterable[Row], values: Callable[[Any], Row]) -> Iterator[Write]:
    """By partition. Of several rows of one key the last counts, or the first where that wins."""
    partitions: dict[Row, dict[Row, Row]] = {}
    for row in rows:
        found = values(row)
        partition = partitions.setdefault(found[: table.partition], {})
        if not (table.first_wins and found[: table.key] in partition):
            partition[found[: table.key]] = found
    for partition in partitions.values():
        yield Write(table, list(partition.values()))


# ------------------------------------------------------------------ orders and trades of accounts


def of_orders(rows: Rows) -> Iterator[Write]:
    """An order is in one table here, open or ended: open orders are never read from a table that lives by deletes."""
    orders = sorted([*rows.active_orders, *rows.orders], key=order_id)  # the lowest id of an hour first
    yield from grouped(ORDERS, orders, by_hour(CREATED_US))
    yield from grouped(ORDER_HOURS, orders, hour_of(CREATED_US))
    stored = {key[2] for key in rows.ended_orders}  # when they were open, and their client ids with them
    named = [row for row in orders if row[CLIENT_ID] and row[2] not in stored]
    yield from grouped(CLIENT_IDS, named, lambda row: (row[0], row[CLIENT_ID], row[1], row[2]))


def order_id(row: Row) -> int:
    found: int = row[2]
    return found


def by_hour(time_at: int) -> Callable[[Row], Row]:
    """Behind account and symbol, and before the id."""
    return lambda row: (row[0], row[1], row[time_at] // HOUR_US, *row[2:])


def hour_of(time_at: int) -> Callable[[Row], Row]:
    """With the lowest id of the hour, which comes first: ids rise with time."""
    return lambda row: (row[0], row[1], row[time_at] // HOUR_US, row[2])


# ------------------------------------------------------------------ money and the rest


def of_ledger(stream: str, rows: Rows) -> Iterator[Write]:
    def values(row: Row) -> Row:
        return (stream, row[0] >> EVENTS_BITS + LEG_BITS, *row)

    def without_symbol(row: Row) -> Row:
        return (*values(row[:LEG_SYMBOL]), *row[LEG_SYMBOL + 1 :])

    yield from grouped(LEGS, (row for row in rows.balance_ledger if row[LEG_SYMBOL] is not None), values)
    # A null that is written is a tombstone.
    yield from grouped(LEGS_OF_MOVEMENTS, (row for row in rows.balance_ledger if row[LEG_SYMBOL] is None), without_symbol)


def kline_values(row: KlineRow) -> Row:
    page = row.open_us // (row.interval_us * KLINES_OF_PAGE)
    sums = {name: varint(int(getattr(row, name))) for name in ("volume_lots", "quote_atoms", "taker_buy_lots", "taker_buy_quote_atoms")}
    as_written: Row = row._replace(**sums)  # type: ignore[arg-type]  # the driver takes a varint's bytes
    return (row.symbol, row.interval_us, page, *as_written[2:])


def of_accounts(stream: str, rows: Rows) -> Iterator[Write]:
    yield from grouped(ACCOUNTS, rows.accounts, lambda row: (*row[:OPENED_US], *row[OPENED_US + 1 :]))
    yield from grouped(ACCOUNTS_OPENED, rows.accounts, lambda row: (row.account, row.opened_us))
    yield from grouped(DEPOSITS, rows.deposits, lambda row: (row.account, row.transfer_id, stream, *row[2:]))
    yield from grouped(WITHDRAWALS, rows.withdrawals, lambda row: (row.account, row.transfer_id, stream, *row[2:]))
    for table, found in (
        (WITHDRAWAL_REQUESTS, rows.withdrawal_requests), (MOVEMENT_ENDS, rows.movement_ends), (ADJUSTMENTS, rows.adjustments),
    ):  # fmt: skip
        yield from grouped(table, found, lambda row: (row[0], row[1], stream, *row[2:]))
    yield from grouped(TRANSFERS, rows.transfers, lambda row: (row.from_account, row.transfer_id, stream, *row[2:]))
    yield from grouped(ARRIVALS, rows.arrivals, tuple)
