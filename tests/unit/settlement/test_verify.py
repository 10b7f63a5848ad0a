"""Each rule finds what it is there for: a record is spoiled in one place, and the finding names the rule."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tests.unit.settlement.support import ALICE, BOB, CAROL, Run, opened_market, settled
from zerosum.core import codes, records
from zerosum.core.codes import BUY, SELL
from zerosum.settlement.sqlite import SqliteStore
from zerosum.settlement.verify import FINDINGS_MAX, RULES, verify

EXPLAINS = "the ledger explains every balance, and every asset sums to zero"
POSSIBLE = "only OUTSIDE is negative"
FROZEN = "frozen is what open orders need"
LEGS = "every movement has its legs, which sum to zero"
ORDER_SUM = "an order is the sum of its trades"
OPEN_OR_ENDED = "an order is open or ended"
DENSE = "trade ids are dense"
KLINES = "klines are the sum of their trades"
POSITION = "the position covers every row"
WHOLE = "the file is whole"
PENDING = "what is on its way out is what was requested"


def eventful() -> Run:
    run = opened_market()
    run.place(ALICE, BUY, 90, 100)
    run.place(BOB, SELL, 80, 150)
    run.place(CAROL, BUY, 85, 10)
    run.place(CAROL, BUY, 70, 10)
    run.place(CAROL, SELL, 70, 5, stp=codes.DECREMENT)
    run.cancel(BOB, 2)
    run.do(records.WITHDRAW, CAROL, 1_001, 0, 5)
    run.do(records.TRANSFER, CAROL, 1_002, 0, 5, BOB)
    run.do(records.REQUEST_WITHDRAWAL, CAROL, 1_003, 0, 4)
    run.do(records.REQUEST_WITHDRAWAL, CAROL, 1_004, 0, 6)
    run.do(records.SETTLE_WITHDRAWAL, CAROL, 1_004)
    run.do(records.ADJUST, CAROL, 1_005, 0, 2, BOB, *records.text_words("ticket 7", 2))
    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return settled(tmp_path / "settled.db", eventful())


def spoil(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    assert connection.total_changes() > 0 or "CREATE" in statement, "the statement changes something"
    connection.close()


def test_a_good_record_has_no_findings(path: Path) -> None:
    assert verify(path) == []


def test_an_empty_record_has_no_findings(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "settled.db").close()
    assert verify(tmp_path / "settled.db") == []


SPOILED = [
    ("UPDATE balance_ledger SET delta_atoms = delta_atoms + 1 WHERE entry = (SELECT max(entry) FROM balance_ledger)", {EXPLAINS, LEGS}),
    ("UPDATE balance_ledger SET available_atoms = available_atoms + 1 WHERE kind = 2", {EXPLAINS}),
    ("UPDATE balance_ledger SET account = 18 WHERE account = 16 AND kind = 1", {EXPLAINS, LEGS}),
    ("DELETE FROM balance_ledger WHERE kind = 3", {EXPLAINS, LEGS}),
    ("DELETE FROM balance_ledger WHERE symbol = 0", {EXPLAINS, LEGS}),
    ("DELETE FROM balance_ledger WHERE kind = 6", {EXPLAINS, LEGS}),
    ("UPDATE balances SET available_atoms = available_atoms + 1 WHERE account = 17", {EXPLAINS}),
    ("UPDATE balances SET available_atoms = available_atoms - 5, frozen_atoms = frozen_atoms + 5 WHERE account = 17", {FROZEN}),
    ("DELETE FROM balances WHERE account = 18", {EXPLAINS, FROZEN}),
    ("INSERT INTO balances VALUES (99, 0, -7, 7, 1)", {POSSIBLE, FROZEN}),
    ("UPDATE active_orders SET frozen_atoms = frozen_atoms + 1", {FROZEN}),
    ("UPDATE active_orders SET price_ticks = price_ticks + 1", {FROZEN}),
    ("DELETE FROM active_orders", {FROZEN}),
    ("UPDATE active_orders SET symbol = 9", {FROZEN}),
    ("DELETE FROM trades WHERE trade_id = 1", {DENSE, LEGS, KLINES}),
    ("UPDATE trades SET trade_id = 9 WHERE trade_id = 2", {DENSE, LEGS}),
    ("UPDATE trades SET quote_atoms = quote_atoms + 1 WHERE trade_id = 1", {LEGS, KLINES}),
    ("UPDATE trades SET buyer_account = 18 WHERE trade_id = 1", {LEGS}),
    ("UPDATE trades SET maker_order_id = 3 WHERE trade_id = 1", {LEGS}),
    ("UPDATE trades SET taker_is_buyer = 1 - taker_is_buyer WHERE trade_id = 1", {LEGS}),
    ("UPDATE user_trades SET fee_atoms = fee_atoms + 1 WHERE account = 17", {LEGS}),
    ("UPDATE user_trades SET qty_lots = qty_lots + 1 WHERE account = 16", {LEGS, ORDER_SUM}),
    ("UPDATE user_trades SET order_id = 3 WHERE account = 16", {LEGS, ORDER_SUM}),
    ("DELETE FROM user_trades WHERE account = 16", {LEGS, ORDER_SUM}),
    ("INSERT INTO user_trades SELECT 18, symbol, trade_id, side, 3, 0, 1, 1, 1, 0, 0, time_us FROM user_trades LIMIT 1", {LEGS, ORDER_SUM}),
    ("UPDATE orders SET executed_lots = executed_lots + 1 WHERE order_id = 2", {ORDER_SUM}),
    ("UPDATE orders SET last_trade_id = 7 WHERE order_id = 1", {ORDER_SUM}),
    ("UPDATE orders SET status = 'NEW' WHERE order_id = 2", {OPEN_OR_ENDED}),
    ("UPDATE orders SET status = 'FILLED' WHERE order_id = 2", {OPEN_OR_ENDED}),
    ("UPDATE orders SET frozen_atoms = 1 WHERE order_id = 2", {OPEN_OR_ENDED}),
    ("UPDATE active_orders SET status = 'PARTIALLY_FILLED'", {OPEN_OR_ENDED}),
    ("INSERT INTO orders SELECT * FROM active_orders", {OPEN_OR_ENDED}),
    ("UPDATE deposits SET atoms = atoms + 1 WHERE account = 16", {LEGS}),
    ("DELETE FROM withdrawals", {LEGS}),
    ("UPDATE transfers SET to_account = 16", {LEGS}),
    ("INSERT INTO transfers VALUES (5000, 16, 17, 0, 1, 1, 1, 'MOVED')", {LEGS}),
    ("UPDATE withdrawal_requests SET atoms = atoms + 1 WHERE transfer_id = 1003", {LEGS, PENDING}),
    ("UPDATE movement_ends SET state = 'RETURNED'", {LEGS}),
    ("DELETE FROM movement_ends", {LEGS, PENDING}),
    ("INSERT INTO movement_ends VALUES (18, 1003, 'SETTLED', 0, 4, 1, 1)", {LEGS, PENDING}),
    ("INSERT INTO movement_ends VALUES (18, 999, 'REVERSED', 0, 4, 1, 1)", {LEGS, PENDING}),
    ("UPDATE movement_ends SET account = 17", {PENDING}),
    ("UPDATE adjustments SET to_account = 16", {LEGS}),
    ("DELETE FROM adjustments", {LEGS}),
    ("UPDATE balance_ledger SET kind = 8 WHERE kind = 9 OR kind = 11", {LEGS}),
    ("UPDATE klines SET trades = trades + 1 WHERE interval_us = 60000000", {KLINES}),
    ("UPDATE klines SET volume_lots = '1' WHERE interval_us = 3600000000", {KLINES}),
    ("UPDATE klines SET volume_lots = 'many'", {KLINES}),
    ("DELETE FROM klines", {KLINES}),
    ("UPDATE settlement_state SET sequence = 5", {POSITION}),
    ("UPDATE settlement_state SET account_sequence = 5", {POSITION}),
    ("UPDATE settlement_state SET market_sequence = 1", {POSITION}),
    ("UPDATE settlement_state SET event_format = 9", {POSITION}),
    ("DELETE FROM settlement_state", {POSITION}),
    ("DELETE FROM symbols", {FROZEN, LEGS}),
]


@pytest.mark.parametrize(("statement", "rules"), SPOILED)
def test_what_does_not_add_up_is_found(path: Path, statement: str, rules: set[str]) -> None:
    spoil(path, statement)
    assert {finding.rule for finding in verify(path)} == rules


def test_every_rule_but_that_of_the_file_is_tried_above() -> None:
    assert set.union(*(rules for _, rules in SPOILED)) == set(RULES) - {WHOLE}


def test_a_damaged_page_is_found(path: Path) -> None:
    """A page in the middle of the file is overwritten."""
    data = bytearray(path.read_bytes())
    root = next(apsw.Connection(str(path)).execute("SELECT rootpage FROM sqlite_schema WHERE name = 'trades'"))[0]
    data[(root - 1) * 4096 : (root - 1) * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    findings = verify(path)
    assert WHOLE in {finding.rule for finding in findings}
    assert any("could not be checked" in finding.what for finding in findings)


def test_findings_of_a_rule_are_bounded(tmp_path: Path) -> None:
    run = opened_market()
    for number in range(50):
        run.place(ALICE, BUY, 10 + number, 1)
    path = settled(tmp_path / "settled.db", run)
    spoil(path, "UPDATE active_orders SET frozen_atoms = 1")
    assert len(verify(path)) == FINDINGS_MAX
