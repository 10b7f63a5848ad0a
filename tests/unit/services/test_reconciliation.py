"""Statements, each beside the same exchange, and the differences that it gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from zerosum.identity.payouts import PayoutRecord
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import RETURNED, SENDING, SETTLED, DepositRecord, id_of, reference_name
from zerosum.services.reconciliation import Book, Found, Wanted, reconcile
from zerosum.services.statement import StatementReader
from zerosum.settlement import rows
from zerosum.settlement.movements import End, Id, Listed, Movement, Movements

ANN, BOB = 1001, 1002
BTC, USDT = 0, 1
ONE = 10**8
ASSETS = {BTC: Listed("BTC", 8), USDT: Listed("USDT", 8)}
HEADER = "type,reference,asset,amount,time,address\n"
COMPLETE = """
    deposit,in 1,BTC,2,,
    deposit,in 2,USDT,500,,
    withdrawal,out 1,BTC,0.5,,bc1qann
    balance,,BTC,1.5,,
    balance,,USDT,500,,
"""


class World:
    """Ann's two deposits, one of Bob's that was taken back, a withdrawal that has gone, one that is sent, one that was returned."""

    def __init__(self) -> None:
        self.record = Movements(ASSETS, {}, {}, {}, {}, {})
        self.book = Book([], [])
        self.deposit("in 1", ANN, BTC, 2 * ONE, 100)
        self.deposit("in 2", ANN, USDT, 500 * ONE, 200)
        reversed_key = self.deposit("in 3", BOB, BTC, 7 * ONE, 300)
        self.record.ends[reversed_key] = End(rows.REVERSED, 350)
        self.withdrawal(71, "out 1", BTC, ONE // 2, 400)
        self.withdrawal(72, "", BTC, ONE, 410, SENDING)
        self.withdrawal(73, "", BTC, ONE, 420, RETURNED)
        self.record.ends[ANN, 73] = End(rows.RETURNED, 425)
        self.record.held.update({BTC: 3 * ONE // 2, USDT: 500 * ONE})

    def deposit(self, reference: str, holder: int, asset: int, atoms: int, time_us: int) -> Id:
        report = DepositRecord(holder, ASSETS[asset].name, atoms, reference, time_us - 1)
        self.book.reports.append(Held(reference_name(reference), "", 1, report))
        key = (holder, id_of("deposit", holder, reference))
        self.record.deposits[key] = Movement(*key, asset, atoms, time_us)
        return key

    def withdrawal(self, number: int, reference: str, asset: int, atoms: int, time_us: int, state: str = SETTLED) -> None:
        """Of Ann's, as it stands everywhere."""
        payout = PayoutRecord(
            state=state,
            since_us=time_us - 5,
            reference=reference,
            asset=ASSETS[asset].name,
            atoms=atoms,
            network="BITCOIN",
            address="bc1qann",
        )
        self.book.payouts.append(Held(f"{ANN}.{number}", "", 1, payout))
        self.record.requests[ANN, number] = Movement(ANN, number, asset, atoms, time_us - 10)
        if state == SETTLED:
            self.record.ends[ANN, number] = End(rows.SETTLED, time_us)

    def found(self, text: str, wanted: Wanted | None = None) -> Found:
        stated = HEADER + "\n".join(line.strip() for line in text.strip().splitlines())
        return reconcile(list(StatementReader("f", ASSETS).lines(stated)), self.book, self.record, wanted or Wanted())

    def told(self, text: str, wanted: Wanted | None = None) -> list[str]:
        return [
            " ".join(filter(None, (each.kind, each.reference, f"line {each.line}" if each.line else "")))
            for each in self.found(text, wanted).differences
        ]


@pytest.fixture
def world() -> World:
    return World()


def test_a_complete_statement_has_no_differences(world: World) -> None:
    assert world.found(COMPLETE) == Found([], agree=5)


@pytest.mark.parametrize(
    ("line", "other", "told"),
    [
        ("deposit,in 1,BTC,2,,", "deposit,in 1,BTC,2.00000001,,", ["amount in 1 line 2"]),
        ("deposit,in 1,BTC,2,,", "deposit,in 1,USDT,2,,", ["asset in 1 line 2"]),
        ("deposit,in 1,BTC,2,,", "deposit,in 9,BTC,2,,", ["missing_here in 9 line 2", "missing_there in 1"]),
        ("deposit,in 1,BTC,2,,", "deposit,IN 1,BTC,2,,", ["missing_here IN 1 line 2", "missing_there in 1"]),
        ("deposit,in 1,BTC,2,,", "withdrawal,in 1,BTC,2,,", ["missing_here in 1 line 2", "missing_there in 1"]),
        ("deposit,in 1,BTC,2,,", "deposit,in 1,BTC,2,,\ndeposit,in 1,BTC,2,,", ["twice_there in 1 line 3"]),
        ("deposit,in 1,BTC,2,,", "deposit,in 1,BTC,3,,\ndeposit,in 1,BTC,2,,", ["twice_there in 1 line 2"]),
        ("deposit,in 1,BTC,2,,", "deposit,in 1,BTC,3,,\ndeposit,in 1,BTC,4,,", ["amount in 1 line 2", "twice_there in 1 line 3"]),
        ("deposit,in 2,USDT,500,,", "deposit,in 3,BTC,7,,", ["reversed_here in 3 line 3", "missing_there in 2"]),
        ("deposit,in 2,USDT,500,,", "deposit,in 3,BTC,8,,", ["amount in 3 line 3", "reversed_here in 3 line 3", "missing_there in 2"]),
        ("withdrawal,out 1,BTC,0.5,,bc1qann", "withdrawal,out 1,BTC,0.5,,", []),
        ("withdrawal,out 1,BTC,0.5,,bc1qann", "withdrawal,out 1,BTC,0.5,,bc1qeve", ["address out 1 line 4"]),
        ("withdrawal,out 1,BTC,0.5,,bc1qann", "withdrawal,out 1,BTC,0.6,,bc1qann", ["amount out 1 line 4"]),
        ("withdrawal,out 1,BTC,0.5,,bc1qann", "withdrawal,out 2,BTC,0.5,,bc1qann", ["missing_here out 2 line 4", "missing_there out 1"]),
        ("withdrawal,out 1,BTC,0.5,,bc1qann", "", ["missing_there out 1"]),
        ("balance,,BTC,1.5,,", "balance,,BTC,1.50000001,,", ["balance line 5"]),
        ("balance,,BTC,1.5,,", "", []),
    ],
)
def test_a_line_that_is_another_gives_its_difference(world: World, line: str, other: str, told: list[str]) -> None:
    assert line in COMPLETE
    assert world.told(COMPLETE.replace(line, other)) == told


def test_lines_that_agree_are_counted_and_a_line_with_two_differences_counts_once(world: World) -> None:
    assert world.found("deposit,in 3,BTC,8,,\ndeposit,in 1,BTC,2,,\nbalance,,USDT,500,,").agree == 2


def test_one_transaction_may_pay_several_withdrawals(world: World) -> None:
    world.withdrawal(74, "out 1", BTC, 3 * ONE, 500)
    both = "withdrawal,out 1,BTC,3,,\nwithdrawal,out 1,BTC,0.5,,"
    assert world.told(COMPLETE.replace("withdrawal,out 1,BTC,0.5,,bc1qann", both)) == []
    (difference,) = world.found(COMPLETE).differences
    assert (difference.kind, difference.id, difference.why) == ("missing_there", 74, "another one here has its line")


def test_what_was_moved_by_command_is_told_as_without_a_reference(world: World) -> None:
    world.record.deposits[BOB, 5] = Movement(BOB, 5, BTC, ONE, 600)
    world.record.deposits[BOB, 6] = Movement(BOB, 6, BTC, ONE, 601)
    world.record.ends[BOB, 6] = End(rows.REVERSED, 602)
    world.record.withdrawals[BOB, 7] = Movement(BOB, 7, USDT, ONE, 603)
    found = [(each.kind, each.type, each.holder, each.id) for each in world.found(COMPLETE).differences]
    assert found == [("no_reference", "deposit", BOB, 5), ("no_reference", "withdrawal", BOB, 7)]


def test_only_what_is_of_the_time_and_the_asset_is_looked_for_in_the_statement(world: World) -> None:
    world.record.deposits[BOB, 5] = Movement(BOB, 5, USDT, ONE, 600)
    everything = ["missing_there in 1", "missing_there in 2", "missing_there out 1", "no_reference"]
    assert world.told("") == everything
    assert world.told("", Wanted(since_us=200)) == everything[1:]
    assert world.told("", Wanted(since_us=201)) == everything[2:]
    assert world.told("", Wanted(until_us=400)) == everything[:2]
    assert world.told("", Wanted(until_us=401)) == everything[:3]
    assert world.told("", Wanted(assets=frozenset({USDT}))) == ["missing_there in 2", "no_reference"]
    assert world.told("deposit,in 1,BTC,2,,", Wanted(since_us=700)) == [], "a line is looked for in all there is"


@pytest.mark.parametrize(
    ("until_us", "btc"), [(100, "0"), (101, "2"), (300, "2"), (301, "9"), (351, "2"), (400, "2"), (401, "1.5"), (430, "1.5"), (601, "0.5")]
)
def test_a_balance_is_as_of_the_end(world: World, until_us: int, btc: str) -> None:
    """Neither what is being sent nor what was returned has gone out."""
    world.record.withdrawals[BOB, 7] = Movement(BOB, 7, BTC, ONE, 600)
    told = world.told(f"balance,,BTC,{btc},,", Wanted(until_us=until_us))
    assert [each for each in told if each.startswith("balance")] == []
    assert "balance line 2" in world.told(f"balance,,BTC,{btc}1,,", Wanted(until_us=until_us))


# ------------------------------------------------------------------ the console's knowledge and the ledger's


def whys(world: World) -> list[tuple[str, str]]:
    found = world.found(COMPLETE).differences
    return [(each.kind, each.why) for each in found]


def test_a_report_that_is_not_credited_is_told_once(world: World) -> None:
    """Whether its line is there or not: nothing of it is here that a statement must have."""
    world.deposit("in 4", BOB, BTC, ONE, 700)
    del world.record.deposits[BOB, id_of("deposit", BOB, "in 4")]
    told = ("book_and_record", "it was reported, and is not credited")
    assert whys(world) == [told]
    assert world.told(COMPLETE + "deposit,in 4,BTC,1,,") == ["book_and_record in 4"]
    assert world.told(COMPLETE, Wanted(until_us=699)) == []


def test_a_deposit_that_is_credited_otherwise_than_reported_is_told(world: World) -> None:
    held = world.book.reports[0]
    world.book.reports[0] = held._replace(record=msgspec.structs.replace(held.record, atoms=ONE))
    assert whys(world) == [("book_and_record", "it was reported as another amount or asset")]


def test_a_withdrawal_that_was_sent_and_is_still_set_aside_is_told(world: World) -> None:
    del world.record.ends[ANN, 71]
    assert whys(world) == [("book_and_record", "it was sent, and in the ledger it is still set aside")]


def test_a_withdrawal_that_was_sent_and_given_back_too_is_told(world: World) -> None:
    world.record.ends[ANN, 71] = End(rows.RETURNED, 400)
    assert whys(world) == [("book_and_record", "it was sent, and in the ledger it is returned")]


def test_a_withdrawal_that_was_sent_and_never_set_aside_is_told(world: World) -> None:
    del world.record.requests[ANN, 71], world.record.ends[ANN, 71]
    assert whys(world) == [("missing_here", ""), ("book_and_record", "it was sent, and never set aside in the ledger")]


def test_a_withdrawal_that_nobody_was_told_to_send_is_told(world: World) -> None:
    """Settled in the ledger by whoever could write there; returned, as it says, by who was to send it."""
    world.record.ends[ANN, 73] = End(rows.SETTLED, 800)
    assert whys(world) == [("book_and_record", "it is settled in the ledger, and nobody was told to send it")]


@pytest.mark.parametrize("change", [{"atoms": 1}, {"asset": "USDT"}])
def test_a_withdrawal_that_was_handed_out_as_another_sum_is_told(world: World, change: dict[str, Any]) -> None:
    place = next(number for number, held in enumerate(world.book.payouts) if held.owner == f"{ANN}.71")
    held = world.book.payouts[place]
    world.book.payouts[place] = held._replace(record=msgspec.structs.replace(held.record, **change))
    assert whys(world) == [("book_and_record", "it was handed out as another amount or asset")]


def test_a_record_that_does_not_know_the_asset_yet_is_behind(world: World) -> None:
    known = replace(world.record, assets={BTC: ASSETS[BTC]}, deposits={})
    (difference, *_) = reconcile([], world.book, known, Wanted(assets=frozenset({BTC}))).differences
    assert (difference.kind, difference.reference) == ("book_and_record", "in 1")
