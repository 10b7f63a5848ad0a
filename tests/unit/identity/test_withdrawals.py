"""What an account may take out in a day, whoever else counts at the same time; the rules as they are set; deposits as they are reported."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import pytest

from zerosum.identity.day_totals import DAY_S, DayRecord
from zerosum.identity.identities import Identities
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import (
    DAYS,
    DEPOSITS,
    DepositRecord,
    Rule,
    WithdrawalBook,
    WithdrawalRefused,
    rule_text,
)

ANN = 1001
RULE = Rule(per_day=100, approval=10, two=50)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(identities: Identities, clock: Clock) -> WithdrawalBook:
    return WithdrawalBook(identities.vault, 0.0, clock)


def counted(identities: Identities) -> int:
    held: Held[DayRecord] | None = identities.vault.get(DAYS, str(ANN), "BTC")
    assert held is not None
    return held.record.atoms


def test_of_two_who_count_at_a_time_both_are_counted(
    identities: Identities, opened: Callable[[], Identities], book: WithdrawalBook, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process counts between what this one has read and what it writes."""
    other, vault, read = WithdrawalBook(opened().vault, 0.0, clock), identities.vault, identities.vault.get
    book.count(ANN, "BTC", 10, RULE)

    def get(*place: str) -> object:
        found: object = read(*place)  # type: ignore[arg-type]  # of any kind
        monkeypatch.undo()
        other.count(ANN, "BTC", 40, RULE)
        return found

    monkeypatch.setattr(vault, "get", get)
    book.count(ANN, "BTC", 30, RULE)
    assert counted(identities) == 80
    with pytest.raises(WithdrawalRefused, match="limit of the day"):
        book.count(ANN, "BTC", 21, RULE)
    book.count(ANN, "BTC", 20, RULE)


def test_a_day_begins_with_nothing_and_takes_nothing_back_of_the_day_before(
    identities: Identities, book: WithdrawalBook, clock: Clock
) -> None:
    before = book.count(ANN, "BTC", 100, RULE)
    clock.now_s += DAY_S
    today = book.count(ANN, "BTC", 60, RULE)
    assert today == before + 1
    book.uncount(ANN, "BTC", 100, before)
    assert counted(identities) == 60
    book.uncount(ANN, "BTC", 60, today)
    assert counted(identities) == 0


def test_an_asset_and_an_account_count_by_themselves(book: WithdrawalBook) -> None:
    for account, asset in ((ANN, "BTC"), (ANN, "ETH"), (ANN + 1, "BTC")):
        book.count(account, asset, 100, RULE)


@pytest.mark.parametrize(("atoms", "approvals"), [(10, 0), (11, 1), (50, 1), (51, 2)])
def test_more_is_approved_by_more(atoms: int, approvals: int) -> None:
    assert RULE.approvals(atoms) == approvals


def test_a_rule_is_in_the_assets_own_units() -> None:
    assert rule_text("BTC:10:0.5:2").of(8) == Rule(10 * 10**8, 5 * 10**7, 2 * 10**8)


@pytest.mark.parametrize(
    "text", ["BTC", "BTC:1:2", "BTC:1:2:3:4", "btc:1:0:0", "BTC:x:0:0", "BTC:NaN:0:0", "BTC:-1:0:0", "BTC:1:3:2", ":1:0:0"]
)
def test_a_rule_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        rule_text(text)


def test_a_rule_keeps_its_numbers() -> None:
    assert rule_text("USDT:1000000:0:0")[1:] == (Decimal(1_000_000), Decimal(0), Decimal(0))


def test_a_report_keeps_its_reference_and_when_it_came_first(identities: Identities, book: WithdrawalBook, clock: Clock) -> None:
    """Again, later, it is the same deposit; of another amount it is not."""
    first_us = book.now_us()
    book.report("txid:0", ANN, "BTC", 5)
    clock.now_s += 3_600
    book.report("txid:0", ANN, "BTC", 5)
    (held,) = identities.vault.every(DEPOSITS)
    assert held.record == DepositRecord(ANN, "BTC", 5, "txid:0", first_us)
    for other in ((ANN + 1, "BTC", 5), (ANN, "USDT", 5), (ANN, "BTC", 6)):
        with pytest.raises(WithdrawalRefused, match="reported for another"):
            book.report("txid:0", *other)
