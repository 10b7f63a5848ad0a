"""The record as CSV."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from tests.unit.settlement.support import ALICE, BASE, BOB, QUOTE, SYMBOL, opened_market, settled
from zerosum.core.codes import BUY, SELL
from zerosum.settlement.errors import ExportFailed, NothingSettled
from zerosum.settlement.export import write_balances_csv, write_trades_csv


@pytest.fixture
def path(tmp_path: Path) -> Path:
    run = opened_market()
    run.place(ALICE, BUY, 12_345, 3, client="first")  # rests, partly filled
    run.place(BOB, SELL, 12_345, 1, client="second")
    run.place(BOB, SELL, 20_000, 2, client="third")
    run.place(ALICE, BUY, 20_001, 2, client="fourth")
    return settled(tmp_path / "settled.db", run)


def name(account: int) -> str:
    return {ALICE: "alice", BOB: "bob"}.get(account, str(account))


def test_trades(path: Path) -> None:
    """Prices are in hundredths, lots in hundredths of a coin, quote atoms in hundred-thousandths: 123.45 × 0.01 is 1.23 rounded down."""
    out = StringIO()
    assert write_trades_csv(path, out, symbol=SYMBOL, account_name=name) == 2
    assert out.getvalue() == (
        "trade_id,taker_order_id,maker_order_id,buyer_user_id,seller_user_id,taker_side,price,qty,quote_amount\n"
        "1,second,first,alice,bob,sell,12345,1000000,123\n"
        "2,fourth,third,alice,bob,buy,20000,2000000,400\n"
    )


def test_balances(path: Path) -> None:
    out = StringIO()
    assert write_balances_csv(path, out, account_name=name, asset_name=lambda asset: f"a{asset}", decimals={BASE: 8}) == 6
    header, *lines = out.getvalue().splitlines()
    assert header == "user_id,asset_id,avail,frozen,version"
    frozen = 2 * 12_345 * 10
    spent = 12_345 * 10 + 2 * 20_000 * 10
    assert lines[:2] == [f"alice,a0,{1_000_030 * 10**5},0,3", f"alice,a1,{1_000_000 - frozen - spent},{frozen},5"]


def test_what_does_not_fit_is_refused(path: Path) -> None:
    with pytest.raises(ExportFailed, match="the price of trade 1 does not fit 1 decimals: ask for 2"):
        write_trades_csv(path, StringIO(), symbol=SYMBOL, account_name=name, price_decimals=1)
    with pytest.raises(ExportFailed, match=f"asset {QUOTE} does not fit 1 decimals"):
        write_balances_csv(path, StringIO(), account_name=name, asset_name=str, decimals={QUOTE: 1})
    with pytest.raises(ExportFailed, match="symbol 9 is not listed"):
        write_trades_csv(path, StringIO(), symbol=9, account_name=name)
    with pytest.raises(NothingSettled):
        write_trades_csv(path.with_name("nowhere.db"), StringIO(), symbol=SYMBOL, account_name=name)
