"""Statements held against what the exchange has: what is alike, and each way to differ."""

from __future__ import annotations

from typing import Final

import pytest

from zerosum.errors import ConfigError
from zerosum.services.reconciliation import (
    DEPOSIT,
    WITHDRAWAL,
    Difference,
    Line,
    Movement,
    Outcome,
    between,
    moment_us,
    read_statement,
    reconcile,
)

DECIMALS: Final = {"BTC": 8, "USDT": 2}
HEAD: Final = "type,reference,asset,amount\n"
ONE: Final = 10**8
IN: Final = Movement(DEPOSIT, "tx1", "BTC", ONE, 10, ONE)
OUT: Final = Movement(WITHDRAWAL, "tx2", "USDT", 1250, 20, 1250)
HERE: Final = "deposit of 1.00000000 BTC"
BOTH: Final = "deposit,tx1,BTC,1\nwithdrawal,tx2,USDT,12.50\n"


def held_against(text: str, *movements: Movement, owed: dict[str, int] | None = None) -> Outcome:
    return reconcile(read_statement(HEAD + text, "s.csv", DECIMALS), movements, owed or {}, DECIMALS)


def test_what_is_alike_is_counted() -> None:
    outcome = held_against(BOTH + "balance,,BTC,0.5\nbalance,,USDT,0\n", OUT, IN, owed={"BTC": ONE // 2})
    assert outcome == Outcome(4, [])


@pytest.mark.parametrize(
    ("text", "movements", "expected"),
    [
        (BOTH, [IN], Difference("missing_here", WITHDRAWAL, "tx2", "withdrawal of 12.50 USDT", "")),
        ("deposit,tx1,BTC,1\n", [IN, OUT], Difference("missing_there", WITHDRAWAL, "tx2", "", "withdrawal of 12.50 USDT")),
        ("deposit,tx1,BTC,1.00000001\n", [IN], Difference("unlike", DEPOSIT, "tx1", "deposit of 1.00000001 BTC", HERE)),
        ("deposit,tx1,USDT,1\n", [IN], Difference("unlike", DEPOSIT, "tx1", "deposit of 1.00 USDT", HERE)),
        ("withdrawal,tx1,BTC,1\n", [IN], Difference("unlike", DEPOSIT, "tx1", "withdrawal of 1.00000000 BTC", HERE)),
        (
            "deposit,tx1,BTC,1\ndeposit,tx1,BTC,1\n", [IN],
            Difference("twice_there", DEPOSIT, "tx1", HERE, "as in line 2"),
        ),
        (
            "deposit,tx1,BTC,1\n", [IN._replace(ledgered_atoms=None)],
            Difference("not_in_ledger", DEPOSIT, "tx1", HERE, f"{HERE}, and in the ledger nothing"),
        ),
        (
            "deposit,tx1,BTC,1\n", [IN._replace(ledgered_atoms=5)],
            Difference(
                "not_in_ledger", DEPOSIT, "tx1", HERE, f"{HERE}, and in the ledger one of 0.00000005 BTC"
            ),
        ),
        (
            "deposit,tx1,BTC,1\n", [IN._replace(is_reversed=True)],
            Difference("reversed_here", DEPOSIT, "tx1", HERE, HERE),
        ),
        ("", [IN._replace(reference="")], Difference("no_reference", DEPOSIT, "", "", HERE)),
        ("balance,,BTC,2\n", [], Difference("balance", "balance", "", "balance of 2.00000000 BTC", "owed of 0.00000000 BTC")),
    ],
)  # fmt: skip
def test_each_way_to_differ_is_told(text: str, movements: list[Movement], expected: Difference) -> None:
    assert held_against(text, *movements).differences == [expected]


def test_a_deposit_that_was_reversed_and_is_not_there_is_none() -> None:
    assert held_against("", IN._replace(is_reversed=True), IN._replace(reference="", is_reversed=True)) == Outcome(0, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "s.csv: its first line must name the columns type, reference, asset, amount, and may name time, address; it has none."),
        ("type,reference,asset\n", "it has type, reference, asset."),
        ("type,reference,asset,amount,fee\n", "it has type, reference, asset, amount, fee."),
        ("type,reference,asset,amount,amount\n", "it has type, reference, asset, amount, amount."),
        (HEAD + "deposit,tx1,BTC\n", "s.csv, line 2: it has not as many cells as the first line."),
        (HEAD + "deposit,tx1,BTC,1,2\n", "s.csv, line 2: it has not as many cells as the first line."),
        (HEAD + "transfer,tx1,BTC,1\n", "s.csv, line 2, type: 'transfer' is none of deposit, withdrawal, balance."),
        (HEAD + "deposit,,BTC,1\n", "s.csv, line 2, reference: '' must be empty for a balance, and only there."),
        (HEAD + "balance,tx1,BTC,1\n", "s.csv, line 2, reference: 'tx1' must be empty for a balance, and only there."),
        (HEAD + BOTH + "deposit,tx3,DOGE,1\n", "s.csv, line 4, asset: 'DOGE' is not listed here."),
        (HEAD + "deposit,tx1,BTC,one\n", "s.csv, line 2, amount: 'one' is no number."),
        (HEAD + "deposit,tx1,USDT,1.001\n", "s.csv, line 2, amount: '1.001' must be more than nothing, with 2 decimals at most."),
        (HEAD + "deposit,tx1,USDT,-1\n", "line 2, amount: '-1' must be more than nothing"),
        (HEAD + "deposit,tx1,USDT,0\n", "line 2, amount: '0' must be more than nothing"),
        (HEAD + "deposit,tx1,USDT,NaN\n", "line 2, amount: 'NaN' must be more than nothing"),
        (HEAD + "deposit,tx1,USDT,Infinity\n", "line 2, amount: 'Infinity' must be more than nothing"),
    ],
)
def test_what_can_not_be_read_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_statement(text, "s.csv", DECIMALS)
    assert said in str(raised.value)


def test_columns_may_be_in_any_order_and_blanks_around_cells() -> None:
    assert read_statement("time,asset,type,amount,reference\n2026-11-01, BTC ,deposit, 1 , tx1 \n", "s.csv", DECIMALS) == [
        Line(2, DEPOSIT, "tx1", "BTC", ONE)
    ]


def test_only_what_is_of_the_time_is_looked_for() -> None:
    assert [each.reference for each in between([IN, OUT], 10, 20)] == ["tx1"]
    assert moment_us("2026-11-01") == moment_us("2026-11-01T01:00:00+01:00") == 1_793_491_200_000_000
    with pytest.raises(ValueError, match="yesterday"):
        moment_us("yesterday")
