"""What the gateway asks of the record, and that it asks it of an index."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import apsw
import pytest

from tests.unit.settlement.support import ALICE, BASE, BOB, CAROL, FUNDS_ATOMS, QUOTE, SYMBOL, Run, joined, opened_market, settled
from zerosum.core import codes, records
from zerosum.core.codes import BUY, SELL
from zerosum.core.records import text_words
from zerosum.settlement import history as statements
from zerosum.settlement.history import History
from zerosum.settlement.rows import CANCELED, FILLED, NEW, BalanceRow, OrderRow
from zerosum.settlement.sqlite import SqliteStore

OTHER_SYMBOL = 1


@pytest.fixture(scope="module")
def run() -> Run:
    """Two symbols, three accounts, 300 orders: some trade, some are canceled, some rest; and time stands still now and then."""
    run = opened_market()
    limits = (1, 1_000_000, 1, 1_000_000, 0, 0, 0, 0, 0, 0, 0, codes.TRADING)
    run.do(records.LIST_SYMBOL, OTHER_SYMBOL, BASE, QUOTE, 1, 2, 1, 2, *limits, *text_words("BTCUSDT2", 3))
    random = Random(5)
    for number in range(300):
        account = random.choice((ALICE, BOB, CAROL))
        symbol = random.choice((SYMBOL, SYMBOL, OTHER_SYMBOL))
        side = random.randrange(2)
        price = random.randint(90, 110)
        run.place(account, side, price, random.randint(1, 9), client=f"{number:04}", after_us=random.choice((0, 0, 1, 50)), symbol=symbol)
        if random.randrange(4) == 0:
            run.cancel(account, random.randint(1, number + 1))
    return run


@pytest.fixture(scope="module")
def path(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return settled(tmp_path_factory.mktemp("history") / "settled.db", run)


@pytest.fixture(scope="module")
def history(path: Path) -> History:
    return History(path)


@pytest.fixture(scope="module")
def all_orders(history: History) -> list[OrderRow]:
    """Of Alice on the first symbol, by a plain read."""
    connection = apsw.Connection(str(history._connection.filename))
    rows = [
        OrderRow._make(row)
        for row in connection.execute("SELECT * FROM orders UNION ALL SELECT * FROM active_orders")
        if row[:2] == (ALICE, SYMBOL)
    ]
    connection.close()
    rows.sort(key=lambda row: row.order_id)
    assert len(rows) > 40
    assert {NEW, FILLED, CANCELED} <= {row.status for row in rows}
    return rows


def test_orders_from_the_newest_and_from_an_id(history: History, all_orders: list[OrderRow]) -> None:
    assert history.all_orders(ALICE, SYMBOL, limit=1_000) == all_orders
    assert history.all_orders(ALICE, SYMBOL, limit=7) == all_orders[-7:]
    for at in (0, 3, len(all_orders) - 1):
        assert history.all_orders(ALICE, SYMBOL, from_order_id=all_orders[at].order_id, limit=5) == all_orders[at : at + 5]
    between = all_orders[4].order_id + 1
    assert history.all_orders(ALICE, SYMBOL, from_order_id=between, limit=1)[0].order_id >= between
    assert history.all_orders(ALICE, SYMBOL, from_order_id=10_000, limit=5) == []
    assert history.all_orders(999, SYMBOL, limit=5) == []


def test_orders_between_two_times(history: History, all_orders: list[OrderRow]) -> None:
    times = sorted({row.created_us for row in all_orders})
    assert len(times) < len(all_orders), "several orders are of the same time"
    for start_us in (0, *times[::5], times[-1] + 1):
        for end_us in (times[0] - 1, times[3], times[-4] + 1, times[-1]):
            expected = [row for row in all_orders if start_us <= row.created_us <= end_us]
            assert history.all_orders(ALICE, SYMBOL, start_us=start_us, end_us=end_us, limit=1_000) == expected
            assert history.all_orders(ALICE, SYMBOL, start_us=start_us, end_us=end_us, limit=4) == expected[:4]
            until = [row for row in all_orders if row.created_us <= end_us]
            assert history.all_orders(ALICE, SYMBOL, end_us=end_us, limit=4) == until[-4:]


def test_an_order_by_id_client_id_or_both(history: History, all_orders: list[OrderRow]) -> None:
    for row in all_orders:
        assert history.order(ALICE, SYMBOL, order_id=row.order_id) == row
        assert history.order(ALICE, SYMBOL, client_id=row.client_id) == row
        assert history.order(ALICE, SYMBOL, order_id=row.order_id, client_id=row.client_id) == row
        assert history.order(ALICE, SYMBOL, order_id=row.order_id, client_id="other") is None
        assert history.order(BOB, SYMBOL, order_id=row.order_id) is None
        assert history.order(ALICE, OTHER_SYMBOL, client_id=row.client_id) is None
    assert history.order(ALICE, SYMBOL) is None
    assert history.order(ALICE, SYMBOL, client_id="") is None


@pytest.mark.parametrize("ends", [True, False])
def test_of_orders_with_the_same_client_id_the_newest_is_found(tmp_path: Path, ends: bool) -> None:
    """A client id is free again once its order has ended."""
    run = opened_market()
    for order_id in (1, 2, 3):
        run.place(ALICE, BUY, 90, 1, client="again")
        if order_id < 3 or ends:
            run.cancel(ALICE, order_id)
    found = History(settled(tmp_path / "settled.db", run)).order(ALICE, SYMBOL, client_id="again")
    assert found is not None
    assert (found.order_id, found.status) == (3, CANCELED if ends else NEW)


def test_user_trades(history: History) -> None:
    trades = history.user_trades(ALICE, SYMBOL, limit=1_000)
    keys = [(row.trade_id, row.side) for row in trades]
    assert keys == sorted(keys)
    assert len(trades) > 20
    assert len(keys) > len({trade_id for trade_id, _ in keys}), "there are trades of Alice with herself"
    assert history.user_trades(ALICE, SYMBOL, limit=5) == trades[-5:]
    from_id = trades[6].trade_id
    later = [row for row in trades if row.trade_id >= from_id]
    assert history.user_trades(ALICE, SYMBOL, from_trade_id=from_id, limit=4) == later[:4]
    start_us, end_us = trades[5].time_us, trades[-5].time_us
    expected = [row for row in trades if start_us <= row.time_us <= end_us]
    assert history.user_trades(ALICE, SYMBOL, start_us=start_us, end_us=end_us, limit=1_000) == expected
    assert history.user_trades(ALICE, SYMBOL, end_us=end_us, limit=3) == [row for row in trades if row.time_us <= end_us][-3:]


def test_user_trades_of_an_order(history: History, all_orders: list[OrderRow]) -> None:
    trades = history.user_trades(ALICE, SYMBOL, limit=1_000)
    for order in all_orders:
        expected = [row for row in trades if row.order_id == order.order_id]
        assert history.user_trades(ALICE, SYMBOL, order_id=order.order_id, limit=1_000) == expected
        assert sum(row.qty_lots for row in expected) == order.executed_lots
    assert history.user_trades(BOB, SYMBOL, order_id=all_orders[0].order_id, limit=5) == []
    several = max(all_orders, key=lambda order: order.last_trade_id - order.first_trade_id)
    its = history.user_trades(ALICE, SYMBOL, order_id=several.order_id, limit=1_000)
    assert history.user_trades(ALICE, SYMBOL, order_id=several.order_id, from_trade_id=its[-1].trade_id, limit=5) == its[-1:]


def test_trades_of_a_symbol(history: History) -> None:
    trades = history.trades(SYMBOL, limit=1_000)
    assert [row.trade_id for row in trades] == list(range(1, len(trades) + 1))
    assert len(trades) > 30
    assert history.trades(SYMBOL, limit=3) == trades[-3:]
    assert history.trades(SYMBOL, from_trade_id=5, limit=3) == trades[4:7]
    start_us, end_us = trades[5].time_us, trades[-5].time_us
    expected = [row for row in trades if start_us <= row.time_us <= end_us]
    assert history.trades(SYMBOL, start_us=start_us, end_us=end_us, limit=1_000) == expected
    assert history.trades(SYMBOL, end_us=end_us, limit=2) == [row for row in trades if row.time_us <= end_us][-2:]
    assert history.trades(7, limit=5) == []


def test_balances(run: Run, history: History) -> None:
    rows = history.balances(ALICE)
    assert [(row.asset, row.available_atoms, row.frozen_atoms) for row in rows] == [
        (asset, *run.exchange.balance(ALICE, asset)) for asset in (BASE, QUOTE)
    ]
    assert history.balances(999) == []


def test_what_is_written_later_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "settled.db"
    run = opened_market()
    store = SqliteStore(path)
    store.write(joined(run.batches))
    history = History(path)
    assert history.all_orders(ALICE, SYMBOL, limit=5) == []
    assert history.balances(ALICE)[0] == BalanceRow(ALICE, BASE, FUNDS_ATOMS, 0, 1)
    run.place(ALICE, SELL, 90, 1)
    store.write(run.batches[-1])
    (order,) = history.all_orders(ALICE, SYMBOL, limit=5)
    assert order.status == NEW
    assert history.position() == store.position()
    run.cancel(ALICE, 1)
    store.write(run.batches[-1])
    assert history.order(ALICE, SYMBOL, order_id=1) == order._replace(
        status=CANCELED, reason=codes.BY_OWNER, frozen_atoms=0, updated_us=run.time_us
    )
    history.close()
    store.close()


def test_a_record_that_nobody_writes_can_be_read(tmp_path: Path) -> None:
    """Closed well, SQLite removes the WAL; a reader must make do without."""
    path = settled(tmp_path / "settled.db", opened_market())
    assert [each.name for each in tmp_path.iterdir()] == ["settled.db"]
    history = History(path)
    assert len(history.balances(ALICE)) == 2
    history.close()


def test_another_thread_may_read(history: History, all_orders: list[OrderRow]) -> None:
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(history.all_orders, ALICE, SYMBOL, limit=1_000).result() == all_orders


def test_history_can_not_write(path: Path) -> None:
    history = History(path)
    with pytest.raises(apsw.ReadOnlyError):
        history._connection.execute("DELETE FROM orders")
    history.close()


@pytest.mark.parametrize(
    "name",
    [
        "ORDERS", "ORDERS_NEWEST", "USER_TRADES", "USER_TRADES_NEWEST", "TRADES", "TRADES_NEWEST", "KLINES", "KLINES_NEWEST", "ORDER_BY_ID",
        "ACTIVE_BY_CLIENT_ID", "ORDER_BY_CLIENT_ID", "ORDER_TRADES", "ORDER_TRADES_NEWEST", "BALANCES", "ORDER_TIME", "TRADE_TIME",
    ],
)  # fmt: skip
def test_each_read_is_a_range_of_an_index(history: History, name: str) -> None:
    """A scan or a sort would be quick today, and stop the gateway in a year."""
    keys = ("account", "symbol", "first", "last", "order_id", "client_id", "interval_us", "id")
    plan = history._connection.execute(f"EXPLAIN QUERY PLAN {getattr(statements, name)}", dict.fromkeys(keys, 1))
    details = [detail for _, _, _, detail in plan]
    assert any("SEARCH" in detail for detail in details)
    assert [detail for detail in details if "SCAN" in detail or "TEMP B-TREE" in detail or "MATERIALIZE" in detail] == []
