"""What is written of a batch: rows as of its end, each once."""

from __future__ import annotations

from zerosum.settlement.row_store import written
from zerosum.settlement.rows import RETURNED, SENT, AccountRow, MarketRow, Rows, TransferRow


def test_of_several_rows_of_one_key_the_last_is_written() -> None:
    """All bear the batch's number: an earlier one, alone written before a crash, would stay where the next batch ends before it."""
    rows = Rows()
    rows.markets += [MarketRow(0, 1, 100, 10, 5), MarketRow(1, 1, 7, 10, 6), MarketRow(0, 2, 100, 10, 7)]
    rows.transfers += [
        TransferRow(9, 16, 17, 0, 5, 1, 1, SENT),
        TransferRow(9, 16, 17, 0, 5, 2, 1, RETURNED),
        TransferRow(9, 18, 17, 0, 5, 2, 1, SENT),
    ]
    found = written(rows)
    assert len(found) == 4
    assert ("markets", rows.markets[2]) in found
    assert ("transfers", rows.transfers[1]) in found
    assert ("transfers", rows.transfers[2]) in found, "another account's, of the same id"


def test_an_account_stays_opened_when_it_was() -> None:
    rows = Rows()
    rows.accounts += [AccountRow(16, 1, 10, 20, 5, 1_000, 1_000), AccountRow(16, 1, 11, 21, 5, 2_000, 2_000)]
    assert written(rows) == [("accounts", AccountRow(16, 1, 11, 21, 5, 1_000, 2_000))]
