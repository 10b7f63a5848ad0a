"""What each event becomes in the settled record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.settlement.support import (
    ALICE,
    BASE,
    BOB,
    CAROL,
    FUNDS_ATOMS,
    LOT_ATOMS,
    MAKER_PPM,
    QUOTE,
    START_US,
    SYMBOL,
    TAKER_PPM,
    TICK_LOT_ATOMS,
    Run,
    opened_market,
    read,
    settled,
)  # fmt: skip
from zerosum.core import codes, records
from zerosum.core.codes import BUY, FEES, OUTSIDE, SELL
from zerosum.core.records import text_words
from zerosum.settlement.rows import (
    CANCELED,
    DEPOSIT,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FEE,
    FILLED,
    KINDS,
    MOVED,
    NEW,
    PARTIALLY_FILLED,
    PAY,
    RECEIVE,
    REJECTED,
    TRANSFER,
    WITHDRAWAL,
    BalanceRow,
    LedgerRow,
    OrderRow,
)  # fmt: skip
from zerosum.settlement.verify import verify


@pytest.fixture
def run() -> Run:
    return opened_market()


def order(path: Path, order_id: int) -> tuple[str, OrderRow]:
    """The table that an order is in, and its row."""
    found = [
        (table, OrderRow._make(row))
        for table in ("orders", "active_orders")
        for row in read(path, f"SELECT * FROM {table} WHERE order_id = ?", order_id)  # noqa: S608
    ]
    assert len(found) == 1, "an order is in one table"
    return found[0]


Script = Callable[[Run], None]


def rests(run: Run) -> None:
    run.place(ALICE, BUY, 100, 5, client="first")


def is_partly_filled(run: Run) -> None:
    run.place(ALICE, BUY, 100, 5)
    run.place(BOB, SELL, 90, 2)


def is_filled_below_its_price(run: Run) -> None:
    run.place(BOB, SELL, 90, 2)
    run.place(BOB, SELL, 95, 3)
    run.place(ALICE, BUY, 100, 5)


def is_canceled(run: Run) -> None:
    is_partly_filled(run)
    run.cancel(ALICE, 1)


def is_immediate_or_cancel(run: Run) -> None:
    run.place(BOB, SELL, 100, 2)
    run.place(ALICE, BUY, 100, 5, tif=codes.IOC)


def would_take(run: Run) -> None:
    run.place(BOB, SELL, 100, 2)
    run.place(ALICE, BUY, 100, 5, order_type=codes.LIMIT_MAKER)


def meets_itself(run: Run) -> None:
    run.place(ALICE, SELL, 100, 2)
    run.place(ALICE, BUY, 100, 5, stp=codes.EXPIRE_TAKER)


def loses_to_itself(run: Run) -> None:
    run.place(ALICE, SELL, 100, 2)
    run.place(ALICE, BUY, 100, 5, stp=codes.DECREMENT)
    run.place(BOB, SELL, 100, 1)


def is_reduced(run: Run) -> None:
    is_partly_filled(run)
    run.reduce(ALICE, 1, 1)


def is_reduced_to_nothing(run: Run) -> None:
    is_partly_filled(run)
    run.reduce(ALICE, 1, 3)


def is_moved(run: Run) -> None:
    run.place(ALICE, BUY, 100, 5)
    run.move(ALICE, 1, 120)


def is_moved_into_the_book(run: Run) -> None:
    run.place(BOB, SELL, 110, 5)
    run.place(ALICE, BUY, 100, 5)
    run.move(ALICE, 2, 120)


def move_is_rejected(run: Run) -> None:
    run.place(ALICE, BUY, 100, 5)
    run.do(records.SET_SYMBOL_STATUS, SYMBOL, codes.HALT)
    run.move(ALICE, 1, 120)


def has_a_budget(run: Run) -> None:
    run.place(BOB, SELL, 100, 5)
    run.place(ALICE, BUY, 0, 0, order_type=codes.MARKET_QUOTE, budget=3_505)


@pytest.mark.parametrize(
    ("script", "order_id", "table", "expected"),
    [
        (rests, 1, "active_orders", {"status": NEW, "client_id": "first", "qty_lots": 5, "frozen_atoms": 5_000, "price_ticks": 100}),
        (
            is_partly_filled, 1, "active_orders",
            {"status": PARTIALLY_FILLED, "executed_lots": 2, "quote_atoms": 2_000, "frozen_atoms": 3_000, "first_trade_id": 1},
        ),
        (is_partly_filled, 2, "orders", {"status": FILLED, "executed_lots": 2, "reason": 0, "price_ticks": 90, "quote_atoms": 2_000}),
        (
            is_filled_below_its_price, 3, "orders",
            {"status": FILLED, "quote_atoms": 4_650, "first_trade_id": 1, "last_trade_id": 2, "frozen_atoms": 0},
        ),
        (is_canceled, 1, "orders", {"status": CANCELED, "reason": codes.BY_OWNER, "qty_lots": 5, "executed_lots": 2, "frozen_atoms": 0}),
        (is_immediate_or_cancel, 2, "orders", {"status": EXPIRED, "reason": codes.UNFILLED, "executed_lots": 2, "tif": codes.IOC}),
        (would_take, 2, "orders", {"status": REJECTED, "reason": codes.WOULD_TAKE, "executed_lots": 0, "type": codes.LIMIT_MAKER}),
        (meets_itself, 2, "orders", {"status": EXPIRED_IN_MATCH, "reason": codes.SELF_TRADE, "prevented_lots": 5, "executed_lots": 0}),
        (meets_itself, 1, "active_orders", {"status": NEW, "prevented_lots": 0}),
        (loses_to_itself, 1, "orders", {"status": EXPIRED_IN_MATCH, "prevented_lots": 2}),
        (loses_to_itself, 2, "active_orders", {"status": PARTIALLY_FILLED, "prevented_lots": 2, "executed_lots": 1, "qty_lots": 5}),
        (is_reduced, 1, "active_orders", {"status": PARTIALLY_FILLED, "qty_lots": 4, "executed_lots": 2, "frozen_atoms": 2_000}),
        (is_reduced_to_nothing, 1, "orders", {"status": CANCELED, "qty_lots": 5, "executed_lots": 2}),
        (is_moved, 1, "active_orders", {"status": NEW, "price_ticks": 120, "frozen_atoms": 6_000}),
        (is_moved_into_the_book, 2, "orders", {"status": FILLED, "price_ticks": 120, "quote_atoms": 5_500}),
        (move_is_rejected, 1, "active_orders", {"status": NEW, "price_ticks": 100, "frozen_atoms": 5_000}),
        (has_a_budget, 2, "orders", {"status": EXPIRED, "budget_atoms": 3_505, "quote_atoms": 3_000, "executed_lots": 3, "price_ticks": 0}),
    ],
)  # fmt: skip
def test_last_state_of_an_order(
    run: Run, tmp_path: Path, script: Script, order_id: int, table: str, expected: dict[str, Any]
) -> None:  # fmt: skip
    script(run)
    path = settled(tmp_path / "settled.db", run)
    found, row = order(path, order_id)
    assert found == table
    assert {name: getattr(row, name) for name in expected} == expected
    assert verify(path) == []


def test_order_times_are_of_placing_and_of_the_last_change(run: Run, tmp_path: Path) -> None:
    run.place(ALICE, BUY, 100, 5, after_us=100)
    placed_us = run.time_us
    run.place(BOB, SELL, 100, 2, after_us=100)
    _, row = order(settled(tmp_path / "settled.db", run), 1)
    assert (row.created_us, row.updated_us) == (placed_us, placed_us + 100)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (text_words("x" * 40, 5), "x" * 40),
        ((0, 0, 0, 0, 1), ""),  # none, as the core has it
        ((-1, 0, 0, 0, 0), "\xff" * 8),
        ((1, 0, 0, 0, 0), "\x01"),
    ],
)
def test_any_client_id_that_the_log_has_can_be_settled(run: Run, tmp_path: Path, words: tuple[int, ...], expected: str) -> None:
    run.do(records.PLACE, ALICE, records.terms(SYMBOL, BUY, codes.LIMIT), 100, 5, 0, 0, *words)
    assert order(settled(tmp_path / "settled.db", run), 1)[1].client_id == expected


def test_legs_of_a_trade_have_the_balances_after_them_and_sum_to_zero(run: Run, tmp_path: Path) -> None:
    """Bob sells 100 lots to Alice's resting bid at 90: 1,000 base atoms for 90,000 quote atoms; 1 % and 2 % go to FEES."""
    run.place(ALICE, BUY, 90, 100)
    run.place(BOB, SELL, 90, 100)
    path = settled(tmp_path / "settled.db", run)
    base, quote = 100 * LOT_ATOMS, 90 * 100 * TICK_LOT_ATOMS
    alice_fee, bob_fee = base * MAKER_PPM // 1_000_000, quote * TAKER_PPM // 1_000_000
    funds = FUNDS_ATOMS
    legs = [LedgerRow._make(row) for row in read(path, "SELECT * FROM balance_ledger WHERE symbol = 0 ORDER BY entry")]
    assert [(leg.account, leg.asset, leg.kind, leg.delta_atoms, leg.available_atoms, leg.frozen_atoms) for leg in legs] == [
        (BOB, BASE, PAY, -base, funds - base, 0),
        (BOB, QUOTE, RECEIVE, quote, funds + quote, 0),
        (BOB, QUOTE, FEE, -bob_fee, funds + quote - bob_fee, 0),
        (FEES, QUOTE, FEE, bob_fee, bob_fee, 0),
        (ALICE, QUOTE, PAY, -quote, funds - quote, 0),
        (ALICE, BASE, RECEIVE, base, funds + base, 0),
        (ALICE, BASE, FEE, -alice_fee, funds + base - alice_fee, 0),
        (FEES, BASE, FEE, alice_fee, alice_fee, 0),
    ]
    assert {(leg.cause, leg.reference, leg.time_us) for leg in legs} == {(run.exchange.sequence, 1, run.time_us)}
    assert [leg.entry & 7 for leg in legs] == [0, 1, 2, 3] * 2


def test_a_leg_without_a_fee_is_not_written(run: Run, tmp_path: Path) -> None:
    """One lot's fee rounds to nothing for the buyer; FEES is not touched by it."""
    run.place(ALICE, BUY, 1, 1)
    run.place(BOB, SELL, 1, 1)
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT count(*) FROM balance_ledger WHERE kind = ?", FEE) == [(0,)]
    assert read(path, "SELECT count(*) FROM balances WHERE account = ?", FEES) == [(0,)]


def test_both_sides_of_a_trade(run: Run, tmp_path: Path) -> None:
    run.place(ALICE, BUY, 90, 100)
    run.place(BOB, SELL, 80, 100)
    path = settled(tmp_path / "settled.db", run)
    time_us = run.time_us
    assert read(path, "SELECT * FROM user_trades ORDER BY account") == [
        (ALICE, SYMBOL, 1, BUY, 1, 0, 90, 100, 90_000, 10, BASE, time_us),
        (BOB, SYMBOL, 1, SELL, 2, 1, 90, 100, 90_000, 1_800, QUOTE, time_us),
    ]
    ((*trade, sequence),) = read(path, "SELECT * FROM trades")
    assert trade == [SYMBOL, 1, 90, 100, 90_000, 2, 1, ALICE, BOB, 0, time_us]
    assert sequence == run.exchange.market_events.stream.sequence


def test_a_trade_with_oneself_has_two_sides(run: Run, tmp_path: Path) -> None:
    run.place(ALICE, BUY, 90, 100)
    run.place(ALICE, SELL, 90, 100)
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT side, order_id FROM user_trades WHERE account = ? AND trade_id = 1 ORDER BY side", ALICE) == [
        (BUY, 1),
        (SELL, 2),
    ]
    assert verify(path) == []


def test_balances_are_those_of_the_exchange(run: Run, tmp_path: Path) -> None:
    loses_to_itself(run)
    run.place(CAROL, SELL, 150, 7)
    path = settled(tmp_path / "settled.db", run)
    rows = [BalanceRow._make(row) for row in read(path, "SELECT * FROM balances")]
    assert {row.account for row in rows} >= {ALICE, BOB, CAROL, OUTSIDE}
    for row in rows:
        assert (row.available_atoms, row.frozen_atoms) == run.exchange.balance(row.account, row.asset)


def test_version_counts_the_events_that_stated_a_balance(run: Run, tmp_path: Path) -> None:
    run.place(ALICE, BUY, 100, 5)
    run.cancel(ALICE, 1)
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT asset, version FROM balances WHERE account = ?", ALICE) == [(BASE, 1), (QUOTE, 3)]


def test_money_that_comes_goes_and_is_passed_on(run: Run, tmp_path: Path) -> None:
    run.place(ALICE, BUY, 100, 5)
    run.do(records.WITHDRAW, ALICE, 1_001, QUOTE, 100)
    withdrawn = (run.time_us, run.exchange.sequence)
    run.do(records.TRANSFER, ALICE, 1_002, QUOTE, 200, BOB)
    passed_on = (run.time_us, run.exchange.sequence)
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT * FROM withdrawals") == [(ALICE, 1_001, QUOTE, 100, *withdrawn)]
    assert read(path, "SELECT * FROM transfers") == [(1_002, ALICE, BOB, QUOTE, 200, *passed_on, MOVED)]
    assert read(path, "SELECT account, asset, atoms FROM deposits WHERE account = ?", ALICE) == [
        (ALICE, BASE, FUNDS_ATOMS), (ALICE, QUOTE, FUNDS_ATOMS),
    ]  # fmt: skip
    left = FUNDS_ATOMS - 5_000 - 300
    assert read(
        path,
        "SELECT account, kind, delta_atoms, available_atoms, frozen_atoms FROM balance_ledger WHERE reference > 1000 ORDER BY entry",
    ) == [
        (ALICE, WITHDRAWAL, -100, left + 200, 5_000),
        (OUTSIDE, WITHDRAWAL, 100, -3 * FUNDS_ATOMS + 100, 0),
        (ALICE, TRANSFER, -200, left, 5_000),
        (BOB, TRANSFER, 200, FUNDS_ATOMS + 200, 0),
    ]
    assert read(path, "SELECT sum(delta_atoms) FROM balance_ledger WHERE kind = ?", DEPOSIT) == [(0,)]
    assert verify(path) == []


def test_kinds_of_legs_have_names(run: Run, tmp_path: Path) -> None:
    assert dict(read(settled(tmp_path / "settled.db", run), "SELECT * FROM ledger_kinds")) == KINDS
    assert {PAY, RECEIVE, FEE, DEPOSIT, WITHDRAWAL, TRANSFER} < KINDS.keys()
    assert len(set(KINDS.values())) == len(KINDS)


def test_listings_and_accounts(run: Run, tmp_path: Path) -> None:
    run.do(records.SET_ACCOUNT_FEES, ALICE, 1, 2)
    run.do(records.SET_SYMBOL_STATUS, SYMBOL, codes.BREAK)
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT asset, name, decimals FROM assets") == [(BASE, "BTC", 3), (QUOTE, "USDT", 5)]
    assert read(path, "SELECT name, lot_atoms, tick_lot_atoms, status FROM symbols") == [
        ("BTCUSDT", LOT_ATOMS, TICK_LOT_ATOMS, codes.TRADING)
    ]
    assert read(path, "SELECT symbol, status, reference_ticks, tick_lot_atoms, changed_us FROM markets") == [
        (SYMBOL, codes.BREAK, 0, TICK_LOT_ATOMS, run.time_us)
    ]
    ((status, maker_ppm, taker_ppm, opened_us, changed_us),) = read(
        path, "SELECT status, maker_ppm, taker_ppm, opened_us, changed_us FROM accounts WHERE account = ?", ALICE
    )
    assert (status, maker_ppm, taker_ppm) == (codes.ACTIVE, 1, 2)
    assert START_US < opened_us < changed_us == run.time_us - 1
    assert read(path, "SELECT account FROM accounts WHERE status = ?", codes.HOUSE) == [(1,), (2,), (3,), (4,)]


def test_a_symbol_listed_again_keeps_status_and_time_of_listing(run: Run, tmp_path: Path) -> None:
    limits = (1, 1_000_000, 1, 777, 0, 0, 0, 0, 55, 0, 0, codes.HALT)
    run.do(records.LIST_SYMBOL, SYMBOL, BASE, QUOTE, 1, 2, 1, 2, *limits, *text_words("BTCUSDT", 3))
    path = settled(tmp_path / "settled.db", run)
    said = read(path, "SELECT max_qty_lots, status, reference_ticks, listed_us FROM symbols")
    assert said == [(777, codes.TRADING, 0, START_US + 3)]


def test_checkpoints_are_kept(run: Run, tmp_path: Path) -> None:
    run.do(records.CHECKPOINT)
    state_hash = b"".join(word.to_bytes(8, "little", signed=True) for word in run.exchange.state_hash())
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT sequence, state_hash FROM checkpoints") == [(run.exchange.sequence, state_hash)]


def test_what_changes_nothing_leaves_no_row_but_moves_the_position(run: Run, tmp_path: Path) -> None:
    before = settled(tmp_path / "before.db", run)
    run.do(records.PLACE, 999)  # refused
    run.do(records.TICK)
    after = settled(tmp_path / "after.db", run)
    assert read(before, "SELECT sequence, account_sequence FROM settlement_state") != read(
        after, "SELECT sequence, account_sequence FROM settlement_state"
    )
    assert read(before, "SELECT count(*) FROM balance_ledger") == read(after, "SELECT count(*) FROM balance_ledger")
    assert read(after, "SELECT count(*) FROM orders") == [(0,)]


# ---------------------------------------------------------------------- money in steps


def test_a_withdrawal_is_requested_and_then_settled_or_returned(run: Run, tmp_path: Path) -> None:
    run.do(records.REQUEST_WITHDRAWAL, ALICE, 501, QUOTE, 100)
    run.do(records.REQUEST_WITHDRAWAL, ALICE, 502, QUOTE, 30)
    run.do(records.REQUEST_WITHDRAWAL, BOB, 501, QUOTE, 7)
    run.do(records.SETTLE_WITHDRAWAL, ALICE, 501)
    run.do(records.RETURN_WITHDRAWAL, ALICE, 502)
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT account, transfer_id, asset, atoms FROM withdrawal_requests") == [
        (ALICE, 501, QUOTE, 100), (ALICE, 502, QUOTE, 30), (BOB, 501, QUOTE, 7),
    ]  # fmt: skip
    assert read(path, "SELECT account, transfer_id, state, atoms FROM movement_ends") == [
        (ALICE, 501, "SETTLED", 100), (ALICE, 502, "RETURNED", 30),
    ]  # fmt: skip
    assert read(path, "SELECT available_atoms FROM balances WHERE account = 4") == [(7,)]
    kinds = "SELECT name, sum(delta_atoms), count(*) FROM balance_ledger JOIN ledger_kinds USING (kind) WHERE kind > 6 GROUP BY kind"
    assert read(path, kinds) == [("WITHDRAWAL_REQUESTED", 0, 6), ("WITHDRAWAL_SETTLED", 0, 2), ("WITHDRAWAL_RETURNED", 0, 2)]
    assert verify(path) == []


def test_reversals_adjustments_and_wallets_are_in_the_record(run: Run, tmp_path: Path) -> None:
    wallet = ALICE | codes.WALLET_BIT
    run.do(records.DEPOSIT, ALICE, 601, QUOTE, 100)
    run.do(records.REVERSE_DEPOSIT, ALICE, 601)
    run.do(records.TRANSFER, ALICE, 602, QUOTE, 40, wallet)
    run.do(records.ADJUST, wallet, 603, QUOTE, 15, BOB, *records.text_words("ticket 77", 2))
    path = settled(tmp_path / "settled.db", run)
    assert read(path, "SELECT transfer_id, state FROM movement_ends") == [(601, "REVERSED")]
    assert read(path, "SELECT account, transfer_id, to_account, asset, atoms, reason FROM adjustments") == [
        (wallet, 603, BOB, QUOTE, 15, "ticket 77"),
    ]  # fmt: skip
    assert read(path, "SELECT available_atoms FROM balances WHERE account = ?", wallet) == [(25,)]
    assert read(path, "SELECT status FROM accounts WHERE account = ?", wallet) == [(codes.WALLET,)]
    assert verify(path) == []
