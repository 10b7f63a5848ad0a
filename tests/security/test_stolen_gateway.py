"""
A gateway that was stolen has the master key, and writes what it likes where documents of users are. What money that moves, when operators
and the venue's programs go on as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.money import ADDRESS, BTC, RULES, START, Program, approves, asks, at, free, until_free, until_state, with_address
from tests.support.serving import ask
from tests.support.venue import ANN, BOB, Venue, open_venue
from zerosum.console import desk
from zerosum.console.doors import WithdrawalSettings
from zerosum.core import records
from zerosum.core.codes import FEES
from zerosum.core.records import text_words
from zerosum.identity.day_totals import DayTotals
from zerosum.identity.keys import PAYOUT
from zerosum.identity.payouts import PAYOUT_DAYS
from zerosum.identity.withdrawals import DAYS, ORDERS, UNDONE, OrderRecord, UndoneRecord

ELSEWHERE = {"address": "bc1qthief"}


@pytest.fixture
async def venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Venue]:
    monkeypatch.setattr(desk, "LEFT_US", 1_000_000)  # what is half done is another's for a second
    async with open_venue(tmp_path / "data", withdrawals=WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)) as found:
        yield found


@pytest.fixture
async def program(venue: Venue) -> Program:
    return await Program.of(venue, venue.admin, 0, PAYOUT)


async def asked_for(venue: Venue, amount: str) -> dict[str, Any]:
    user = await venue.user("ann", ANN)
    await with_address(user)
    order: dict[str, Any] = (await asks(user, amount)).json()
    return order


async def rewrite(venue: Venue, order: dict[str, Any], **fields: Any) -> None:
    """As who holds the master key can."""

    def changed(record: OrderRecord) -> OrderRecord:
        return msgspec.structs.replace(record, **fields)

    assert await asyncio.to_thread(venue.identities.vault.change, ORDERS, str(order["holder"]), str(order["id"]), changed) is not None


async def payouts(program: Program) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await program.own("GET", "/admin/v1/payouts")).json()["payouts"]
    return found


async def told(program: Program, order: dict[str, Any], what: str, body: bytes = b"") -> str:
    """Why it is refused."""
    answer = await program.own("POST", f"/admin/v1/payouts/{at(order)}/{what}", body)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["msg"])


async def test_a_withdrawal_that_says_it_is_approved_is_not(venue: Venue, program: Program) -> None:
    order = await asked_for(venue, "3")
    await rewrite(venue, order, state="approved", needs=0, approved_by=("tom", "tess"))
    assert await payouts(program) == []
    assert await told(program, order, "send") == "it needs 2 to approve it as it is, and has 0."
    treasurer, other = await venue.operator("tom", "treasury"), await venue.operator("tess", "treasury")
    (shown,) = (await treasurer.send("GET", "/withdrawals")).json()["withdrawals"]
    assert shown["lacks"] == "it needs 2 to approve it as it is, and has 0."
    assert (await approves(treasurer, order)).json()["state"] == "pending", "it is approved by those who do, whatever it says"
    assert "you have approved it already" in (await approves(treasurer, order)).json()["msg"]
    assert (await approves(other, order)).json()["state"] == "approved"
    assert [each["id"] for each in await payouts(program)] == [order["id"]]


@pytest.mark.parametrize("fields", [ELSEWHERE, {"memo": "7"}, {"network": "OTHER"}])
async def test_one_that_is_changed_after_it_was_approved_is_approved_no_more(
    fields: dict[str, str], venue: Venue, program: Program
) -> None:  # fmt: skip
    order, treasurer = await asked_for(venue, "1"), await venue.operator("tom", "treasury")
    assert (await approves(treasurer, order)).json()["state"] == "approved"
    assert [each["id"] for each in await payouts(program)] == [order["id"]]
    await rewrite(venue, order, **fields)
    assert await payouts(program) == []
    assert await told(program, order, "send") == "it needs 1 to approve it as it is, and has 0."


async def test_what_was_shown_is_what_is_approved(venue: Venue) -> None:
    order, treasurer = await asked_for(venue, "1"), await venue.operator("tom", "treasury")
    (shown,) = (await treasurer.send("GET", "/withdrawals")).json()["withdrawals"]
    await rewrite(venue, order, **ELSEWHERE)
    answer = await treasurer.send("POST", f"/withdrawals/{at(order)}/approve", {"what": shown["what"]})
    assert (answer.status_code, "look again" in answer.json()["msg"]) == (400, True)


async def test_no_more_is_sent_than_the_ledger_has_set_aside(venue: Venue, program: Program) -> None:
    order = await asked_for(venue, "0.4")
    await rewrite(venue, order, atoms=BTC // 2, amount="0.5")
    assert await payouts(program) == []
    assert "the ledger has not set aside" in await told(program, order, "send")
    await rewrite(venue, order, asset="USDT", atoms=4 * BTC // 10)
    assert "the ledger has not set aside" in await told(program, order, "send")


async def test_what_is_told_to_programs_and_operators_is_what_the_ledger_has(venue: Venue, program: Program) -> None:
    order = await asked_for(venue, "0.4")
    await rewrite(venue, order, amount="9000")
    assert await payouts(program) == []
    assert "the ledger has not set aside" in await told(program, order, "send")
    await rewrite(venue, order, amount="0.40")
    assert [each["amount"] for each in await payouts(program)] == ["0.40000000"]


async def test_nothing_is_handed_out_twice_nor_given_back_meanwhile(venue: Venue, program: Program) -> None:
    order, treasurer = await asked_for(venue, "0.5"), await venue.operator("tom", "treasury")
    assert (await program.own("POST", f"/admin/v1/payouts/{at(order)}/send")).json()["state"] == "sending"
    await rewrite(venue, order, state="approved")
    assert "was handed out" in await told(program, order, "send")
    refused = await treasurer.send("POST", f"/withdrawals/{at(order)}/refuse", {"reason": "it looks new"})
    assert "was handed out" in refused.json()["msg"]
    for state in ("canceled", "returned", "settled", "failed"):
        await rewrite(venue, order, state=state, **ELSEWHERE)
        (out,) = await payouts(program)
        assert (out["id"], out["state"], out["address"]) == (order["id"], "sending", ADDRESS), "as it was handed out"
        await until_state(venue, order, "sending")
        assert free(venue, ANN) == START - BTC // 2
    settled = await program.own("POST", f"/admin/v1/payouts/{at(order)}/settle", b'{"reference":"tx1"}')
    assert settled.json()["state"] == "settled"
    for state in ("canceled", "approved", "sending"):
        await rewrite(venue, order, state=state)
        assert await payouts(program) == []
        assert free(venue, ANN) == START - BTC // 2


async def test_of_giving_back_and_handing_out_one_comes_first(venue: Venue, program: Program) -> None:
    """The order is flipped between canceled and approved while it is given back, and while a program takes it."""
    order, treasurer = await asked_for(venue, "0.5"), await venue.operator("tom", "treasury")
    refused = await treasurer.send("POST", f"/withdrawals/{at(order)}/refuse", {"reason": "it looks new"})
    assert refused.json()["state"] == "refused"
    await rewrite(venue, order, state="approved")
    answer = await program.own("POST", f"/admin/v1/payouts/{at(order)}/send")
    assert answer.status_code == 400, "its money was given back"
    await until_free(venue, ANN, START)
    await asyncio.to_thread(venue.embedded.desk.treasury.book.undo, order["holder"], order["id"])
    await until_state(venue, order, "returned")


async def test_one_whose_order_is_gone_is_settled_all_the_same(venue: Venue, program: Program) -> None:
    sent, failed = await asked_for(venue, "0.4"), (await asks(venue.browsers[-1], "0.3")).json()
    for order in (sent, failed):
        assert (await program.own("POST", f"/admin/v1/payouts/{at(order)}/send")).status_code == 200
        await asyncio.to_thread(venue.identities.vault.remove, ORDERS, str(order["holder"]), str(order["id"]))
        await asyncio.to_thread(venue.identities.vault.remove, UNDONE, "", f"{order['holder']}.{order['id']}")
    assert [each["amount"] for each in await payouts(program)] == ["0.40000000", "0.30000000"], "who was killed finds them"
    settled = await program.own("POST", f"/admin/v1/payouts/{at(sent)}/settle", b'{"reference":"tx1"}')
    returned = await program.own("POST", f"/admin/v1/payouts/{at(failed)}/return", b'{"reason":"no such address"}')
    assert (settled.json()["state"], returned.json()["state"]) == ("settled", "returned")
    assert await payouts(program) == []
    assert free(venue, ANN) == START - 4 * BTC // 10
    account = venue.embedded.views.account(ANN)
    assert account is not None
    assert account.pending == {}


async def test_the_limit_is_given_back_as_it_was_taken(venue: Venue, program: Program) -> None:
    order = await asked_for(venue, "0.5")
    assert (await program.own("POST", f"/admin/v1/payouts/{at(order)}/send")).status_code == 200
    await rewrite(venue, order, atoms=10**15)
    total = DayTotals(venue.identities.vault, PAYOUT_DAYS)
    assert not await asyncio.to_thread(total.has_room, ANN, "BTC", 10 * BTC, 10 * BTC)
    await asyncio.to_thread(total.count, ANN, "BTC", BTC, 10 * BTC)
    assert (await program.own("POST", f"/admin/v1/payouts/{at(order)}/return", b'{"reason":"no"}')).json()["state"] == "returned"
    assert await asyncio.to_thread(total.has_room, ANN, "BTC", 9 * BTC, 10 * BTC)
    assert not await asyncio.to_thread(total.has_room, ANN, "BTC", 9 * BTC + 1, 10 * BTC), "what else went out is still counted"


async def test_what_makes_no_sense_holds_up_nobody(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    await with_address(user)
    await ask(venue.embedded, records.command(records.ADJUST, 0, BOB, 901, 0, BTC, FEES, *text_words("fees", 2)))
    poison, house, never, honest = [(await asks(user, "0.6")).json() for _ in range(4)]
    await rewrite(venue, poison, state="requested", atoms=2**63, requested_us=1)
    await rewrite(venue, never, state="requested", requested_us=2**62)

    def of_the_house() -> None:
        vault = venue.identities.vault
        held = vault.get(ORDERS, str(ANN), str(house["id"]))
        assert held is not None
        vault.put(ORDERS, "2", "7", msgspec.structs.replace(held.record, state="requested", requested_us=1))
        vault.put(UNDONE, "", "2.7", UndoneRecord(2, 7, 1))

    await asyncio.to_thread(of_the_house)
    assert (await user.send("DELETE", f"/withdrawals/{at(honest)}")).json()["state"] == "canceled"
    await until_free(venue, ANN, START - 18 * BTC // 10)
    await until_state(venue, {"holder": 2, "id": 7}, "failed")
    await until_state(venue, never, "pending")
    await ask(venue.embedded, records.command(records.ADJUST, 0, FEES, 902, 0, BTC, BOB, *text_words("fees", 2)))
    assert free(venue, BOB) == START, "nothing of the house's was set aside"
    treasurer = await venue.operator("tom", "treasury")
    assert (await treasurer.send("POST", f"/withdrawals/{at(poison)}/refuse", {"reason": "it makes no sense"})).json()["state"] == "refused"
    await until_free(venue, ANN, START - 12 * BTC // 10)


async def test_a_blocked_account_and_approvals_of_who_was_put_out_send_nothing(venue: Venue, program: Program) -> None:
    order, small = await asked_for(venue, "3"), (await asks(venue.browsers[-1], "0.1")).json()
    one, other, support = [await venue.operator(*who) for who in (("tom", "treasury"), ("tess", "treasury"), ("sue", "support"))]
    assert (await approves(one, order)).json()["state"] == "pending"
    await asyncio.to_thread(venue.identities.operators.set_active, "tom", False)
    assert (await approves(other, order)).json()["state"] == "pending"
    assert await told(program, order, "send") in ("it is pending, and would have to be approved.",)
    assert [each["id"] for each in await payouts(program)] == [small["id"]]
    await support.send("POST", f"/accounts/{ANN}/block", {"reason": "stolen"})
    assert await payouts(program) == []
    assert await told(program, small, "send") == "its account is blocked or closed."


async def test_one_that_says_it_is_being_sent_or_was_is_not(venue: Venue, program: Program) -> None:
    order = await asked_for(venue, "3")
    for state in ("sending", "settled"):
        await rewrite(venue, order, state=state)
        assert await payouts(program) == []
        assert "that was handed out" in await told(program, order, "settle", b'{"reference":"tx1"}')
        await until_state(venue, order, "pending")


@pytest.mark.parametrize("is_gone", [True, False])
async def test_one_whose_order_is_gone_or_says_it_has_ended_is_seen_and_given_back_by_two(venue: Venue, is_gone: bool) -> None:
    order = await asked_for(venue, "3")
    if is_gone:
        await asyncio.to_thread(venue.identities.vault.remove, ORDERS, str(order["holder"]), str(order["id"]))
    else:
        await asyncio.to_thread(venue.identities.vault.remove, UNDONE, "", f"{order['holder']}.{order['id']}")
        await rewrite(venue, order, state="canceled", changed_us=1)
    one, other = await venue.operator("tom", "treasury"), await venue.operator("tess", "treasury")
    (found,) = (await one.send("GET", "/withdrawals")).json()["unrecorded"]
    proposed = await one.send("POST", f"/withdrawals/{found['holder']}/{found['id']}/return", {"reason": "its order is gone"})
    assert (await other.send("POST", f"/proposals/{proposed.json()['proposal']}/approve")).status_code == 200
    await until_free(venue, ANN, START)


async def test_what_goes_out_unseen_is_bounded_by_the_day_whatever_the_gateway_has_counted(venue: Venue, program: Program) -> None:
    user = await venue.user("ann", ANN)
    await with_address(user)
    for _ in range(20):
        order = (await asks(user, "0.5")).json()
        assert (await program.own("POST", f"/admin/v1/payouts/{at(order)}/send")).status_code == 200
    await asyncio.to_thread(venue.identities.vault.remove, DAYS, str(ANN), "BTC")
    order = (await asks(user, "0.5")).json()
    assert order["state"] == "approved"
    assert "an operator is to approve this one" in await told(program, order, "send")
    assert order["id"] not in [each["id"] for each in await payouts(program)], "programs are not asked to try"
    treasurer = await venue.operator("tom", "treasury")
    assert (await approves(treasurer, order)).json()["approved_by"] == ["tom"]
    assert (await program.own("POST", f"/admin/v1/payouts/{at(order)}/send")).json()["state"] == "sending"
