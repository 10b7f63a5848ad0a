"""Money in and out of an exchange that runs: what users ask for, what operators decide, what the venue's own programs report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.support.browser import PASSWORD, PASSWORD_2
from tests.support.money import (
    ADDRESS,
    BTC,
    RULES,
    START,
    TO,
    Program,
    approves,
    asks,
    at,
    counted,
    free,
    until_counted,
    until_free,
    until_state,
    with_address,
)
from tests.support.serving import ask
from tests.support.venue import ANN, BOB, Venue, open_venue
from zerosum.console.doors import WithdrawalSettings
from zerosum.core import records
from zerosum.core.codes import WALLET_BIT
from zerosum.gateway.entry import Busy
from zerosum.identity.keys import DEPOSIT, KEYS, PAYOUT, READ, TRADE, WITHDRAW
from zerosum.identity.people import USERS
from zerosum.identity.withdrawals import ADDRESSES, ORDERS, OrderRecord


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data", withdrawals=WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)) as found:
        yield found


# ---------------------------------------------------------------------- out


async def test_a_small_withdrawal_is_set_aside_sent_and_settled(venue: Venue) -> None:
    user, program = await venue.user("ann", ANN), await Program.of(venue, venue.admin, 0, PAYOUT)
    await with_address(user)
    asked = (await asks(user, "0.5")).json()
    assert (asked["state"], asked["needs"], asked["atoms"]) == ("approved", 0, BTC // 2)
    assert free(venue, ANN) == START - BTC // 2
    balances = (await user.send("GET", "/balances")).json()
    assert balances["trading"][0] == {"asset": "BTC", "free": "9999.50000000", "locked": "0.00000000", "withdrawing": "0.50000000"}

    (payout,) = (await program.own("GET", "/admin/v1/payouts")).json()["payouts"]
    assert (payout["address"], payout["amount"], payout["state"]) == (ADDRESS, "0.50000000", "approved")
    path = f"/admin/v1/payouts/{at(payout)}"
    assert "that was handed out" in (await program.own("POST", f"{path}/settle", b'{"reference":"tx1"}')).json()["msg"]
    assert (await program.own("POST", f"{path}/send")).json()["state"] == "sending"
    assert "would have to be approved" in (await program.own("POST", f"{path}/send")).json()["msg"], "one takes it, and one alone"
    assert "would have to be" in (await user.send("DELETE", f"/withdrawals/{at(payout)}")).json()["msg"]
    for unfit in (b"", b"x" * 129, rb"tx\n1"):
        refused = await program.own("POST", f"{path}/settle", b'{"reference":"%s"}' % unfit)
        assert "1 to 128 characters that can be printed" in refused.json()["msg"], unfit
    for _ in range(2):
        settled = (await program.own("POST", f"{path}/settle", b'{"reference":"tx1"}')).json()
        assert (settled["state"], settled["reference"]) == ("settled", "tx1")
    assert "another reference" in (await program.own("POST", f"{path}/settle", b'{"reference":"tx2"}')).json()["msg"]
    account = venue.embedded.views.account(ANN)
    assert account is not None
    assert account.pending == {}
    assert free(venue, ANN) == START - BTC // 2
    outcomes = [(by.split()[0], action) for by, action, _ in venue.actions() if action.startswith("withdrawal.")]
    assert ("user", "withdrawal.request") in outcomes
    assert ("key", "withdrawal.send") in outcomes


async def test_a_larger_one_waits_for_an_operator_and_a_large_one_for_two(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    one, other, viewer = [await venue.operator(name, role) for name, role in (("tom", "treasury"), ("tess", "treasury"), ("vic", "viewer"))]
    await with_address(user)
    middle, large = (await asks(user, "2")).json(), (await asks(user, "2.00000001")).json()
    assert [(each["state"], each["needs"]) for each in (middle, large)] == [("pending", 1), ("pending", 2)]
    assert (await approves(viewer, middle)).status_code == 403
    assert (await approves(one, middle)).json()["state"] == "approved"
    assert (await approves(one, large)).json()["state"] == "pending"
    assert "somebody else is to" in (await approves(one, large)).json()["msg"]
    done = (await approves(other, large)).json()
    assert (done["state"], done["approved_by"]) == ("approved", ["tom", "tess"])
    listed = (await viewer.send("GET", "/withdrawals")).json()["withdrawals"]
    assert [each["id"] for each in listed] == [middle["id"], large["id"]]


async def test_what_is_canceled_or_refused_is_given_back_and_counts_no_more(venue: Venue) -> None:
    user, treasurer = await venue.user("ann", ANN), await venue.operator("tom", "treasury")
    await with_address(user)
    ones = [(await asks(user, "5")).json() for _ in range(2)]
    assert free(venue, ANN) == START - 10 * BTC
    assert "limit of the day" in (await asks(user, "0.00000001")).json()["msg"]
    assert (await user.send("DELETE", f"/withdrawals/{at(ones[0])}")).json()["state"] == "canceled"
    refused = await treasurer.send("POST", f"/withdrawals/{at(ones[1])}/refuse", {"reason": "called, it was not them"})
    assert (refused.json()["state"], refused.json()["reason"]) == ("refused", "called, it was not them")
    await until_free(venue, ANN, START)
    assert "would have to be" in (await approves(treasurer, ones[1])).json()["msg"]
    assert (await asks(user, "10")).status_code == 200


async def test_what_could_not_be_sent_is_given_back(venue: Venue) -> None:
    user, program = await venue.user("ann", ANN), await Program.of(venue, venue.admin, 0, PAYOUT)
    await with_address(user)
    asked = (await asks(user, "0.1")).json()
    path = f"/admin/v1/payouts/{at(asked)}"
    await program.own("POST", f"{path}/send")
    assert (await program.own("POST", f"{path}/return", b'{"reason":"no such address"}')).json()["state"] == "returned"
    assert free(venue, ANN) == START
    assert (await program.own("POST", f"{path}/return", b'{"reason":"again"}')).status_code == 400


async def test_a_withdrawal_goes_to_an_address_of_the_book_of_an_asset_that_can_and_by_who_knows_the_password(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    assert "not in the account's address book" in (await asks(user, "0.1")).json()["msg"]
    await with_address(user)
    for wrong, said in (
        ({"address": "bc1qother"}, "address book"), ({"memo": "7"}, "address book"), ({"network": "ETHEREUM"}, "address book"),
        ({"asset": "USDT"}, "can't be withdrawn"), ({"asset": "DOGE"}, "not listed"), ({"password": "wrong"}, ""),
        ({"wallet": "other"}, "wallet"), ({"account": BOB}, "unknown field"),
    ):  # fmt: skip
        refused = await asks(user, "0.1", **wrong)
        assert refused.status_code in (400, 401), wrong
        assert said in refused.json()["msg"], (wrong, refused.text)
    for amount in ("0", "-1", "1e3", "0.000000001", "99999999999999999999", "NaN", ""):
        assert (await asks(user, amount)).status_code == 400, amount
    assert free(venue, ANN) == START
    (address,) = (await user.send("GET", "/addresses")).json()["addresses"]
    assert (await user.send("DELETE", f"/addresses/{address['name']}")).status_code == 200
    assert "address book" in (await asks(user, "0.1")).json()["msg"]


async def test_more_than_an_account_has_is_not_set_aside_nor_counted(venue: Venue) -> None:
    """Also of several that ask for the same at a time: none of them takes back what another has counted."""
    poor = 1003
    await ask(venue.embedded, records.command(records.OPEN_ACCOUNT, 0, poor))
    await ask(venue.embedded, records.command(records.DEPOSIT, 0, poor, 1, 0, 5 * BTC))
    user = await venue.user("cat", poor)
    await with_address(user)
    assert (await asks(user, "5")).status_code == 200
    for burst in range(3):
        answers = await asyncio.gather(*(asks(user, "5", order_id=f"mine {burst}") for _ in range(6)))
        assert {each.status_code for each in answers} <= {400, 409}
        assert "INSUFFICIENT_BALANCE" in "".join(each.text for each in answers)
    assert counted(venue, poor) == 5 * BTC
    assert "INSUFFICIENT_BALANCE" in (await asks(user, "5", order_id="mine 0")).text, "it is the same, and has failed"
    await ask(venue.embedded, records.command(records.DEPOSIT, 0, poor, 2, 0, 10 * BTC))
    assert (await asks(user, "5")).status_code == 200
    assert counted(venue, poor) == 10 * BTC


async def test_what_the_exchange_has_no_room_for_is_not_made(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await venue.user("ann", ANN)
    await with_address(user)

    def full(command: bytes) -> None:
        raise Busy("settlement is behind")

    treasury = venue.embedded.desk.treasury
    with monkeypatch.context() as patch:
        patch.setattr(treasury.machines, "do", full)
        refused = await asks(user, "1", order_id="mine")
        assert (refused.status_code, counted(venue, ANN)) == (503, 0)
        await asyncio.sleep(2.5)  # what is undone is looked at meanwhile
    assert "settlement is behind" in (await asks(user, "1", order_id="mine")).text
    assert free(venue, ANN) == START
    assert (await asks(user, "1")).status_code == 200


async def test_money_is_given_back_once_the_exchange_has_room_again(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await venue.user("ann", ANN)
    await with_address(user)
    asked = (await asks(user, "1")).json()
    treasury = venue.embedded.desk.treasury
    with monkeypatch.context() as patch:

        def broken(command: bytes) -> None:
            raise RuntimeError("whatever it is")

        patch.setattr(treasury.machines, "do", broken)
        await user.send("DELETE", f"/withdrawals/{at(asked)}")
        await asyncio.sleep(2.5)
        assert free(venue, ANN) == START - BTC
    await until_free(venue, ANN, START)
    await until_counted(venue, ANN, 0)


async def test_money_that_was_set_aside_for_one_that_failed_is_given_back(venue: Venue) -> None:
    """Of two that ask for the same, one is refused, and the other is not: a deposit came in between."""
    user = await venue.user("ann", ANN)
    await with_address(user)
    asked = (await asks(user, "1")).json()
    book, vault = venue.embedded.desk.treasury.book, venue.identities.vault

    def failed() -> None:
        held = book.get(ANN, asked["id"])
        assert held is not None
        vault.put(ORDERS, held.owner, held.name, msgspec.structs.replace(held.record, state="failed"), held.version)

    await asyncio.to_thread(failed)
    await until_free(venue, ANN, START)


async def test_money_that_is_set_aside_after_all_was_given_back_is_given_back_too(venue: Venue) -> None:
    """Whoever asked for it was slow: the order had been refused before its request came to the ledger."""
    user, treasurer = await venue.user("ann", ANN), await venue.operator("tom", "treasury")
    await with_address(user)
    book, number = venue.embedded.desk.treasury.book, 77
    record = OrderRecord(asset="BTC", atoms=BTC, amount="1", network="BITCOIN", address=ADDRESS, memo="", state="requested", needs=1, day=1)
    await asyncio.to_thread(book.open_order, ANN, number, record)
    refused = await treasurer.send("POST", f"/withdrawals/{ANN}/{number}/refuse", {"reason": "called, it was not them"})
    assert refused.json()["state"] == "refused"
    await ask(venue.embedded, records.command(records.REQUEST_WITHDRAWAL, 0, ANN, number, 0, BTC))
    assert free(venue, ANN) == START - BTC
    await asyncio.to_thread(book.undo, ANN, number)  # as who asked for it does then
    await until_free(venue, ANN, START)


async def test_what_was_set_aside_around_the_book_is_seen_and_given_back_by_two(venue: Venue) -> None:
    one, other = await venue.operator("tom", "treasury"), await venue.operator("tess", "treasury")
    await ask(venue.embedded, records.command(records.REQUEST_WITHDRAWAL, 0, ANN, 5, 0, BTC))
    (found,) = (await one.send("GET", "/withdrawals")).json()["unrecorded"]
    assert (found["holder"], found["id"], found["atoms"]) == (ANN, 5, BTC)
    proposed = (await one.send("POST", f"/withdrawals/{ANN}/5/return", {"reason": "nobody asked for it"})).json()
    assert (await other.send("POST", f"/proposals/{proposed['proposal']}/approve")).json()["result"]["returned"] is True
    assert free(venue, ANN) == START
    assert (await one.send("GET", "/withdrawals")).json()["unrecorded"] == []


async def test_the_same_name_for_a_withdrawal_is_the_same_withdrawal(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    await with_address(user)
    first, again = [(await asks(user, "0.25", order_id="rent")).json() for _ in range(2)]
    assert first == again
    assert free(venue, ANN) == START - BTC // 4
    lightning = {"network": "LIGHTNING"}
    assert (await user.send("POST", "/addresses", {**TO, **lightning, "password": PASSWORD})).status_code == 200
    for differs in ({"amount": "0.26"}, lightning, {"wallet": "funding"}):
        assert "another withdrawal" in (await asks(user, "0.25", order_id="rent", **differs)).json()["msg"]
    both = await asyncio.gather(*(asks(user, "0.25", order_id="both") for _ in range(2)))
    assert {each.status_code for each in both} <= {200, 409}
    assert free(venue, ANN) == START - BTC // 2


async def test_requests_at_a_time_count_together(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    await with_address(user)
    answers = await asyncio.gather(*(asks(user, "4") for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [200, 200, 400, 400]
    assert free(venue, ANN) == START - 8 * BTC


async def test_after_a_change_nothing_goes_out_for_a_while(tmp_path: Path) -> None:
    settings = WithdrawalSettings(RULES, cool_down_s=3_600.0, second_factor=False)
    async with open_venue(tmp_path / "data", withdrawals=settings) as venue:
        user = await venue.user("ann", ANN)
        await with_address(user)
        assert "changed in the last 1 hours" in (await asks(user, "0.1")).json()["msg"]
        bot = await Program.of(venue, venue.public, ANN, WITHDRAW)
        params = {"coin": "BTC", "network": "BITCOIN", "address": ADDRESS, "amount": "0.1"}
        assert "changed in the last" in (await bot.user("POST", "/sapi/v1/capital/withdraw/apply", **params)).json()["msg"]
        assert free(venue, ANN) == START


async def test_a_changed_password_or_a_new_key_holds_up_what_other_keys_take_out(tmp_path: Path) -> None:
    async with open_venue(tmp_path / "data", withdrawals=WithdrawalSettings(RULES, cool_down_s=3_600.0, second_factor=False)) as venue:
        user = await venue.user("ann", ANN)
        await with_address(user)
        bot = await Program.of(venue, venue.public, ANN, WITHDRAW)
        params = {"coin": "BTC", "network": "BITCOIN", "address": ADDRESS, "amount": "0.1"}

        async def takes_out() -> str:
            return (await bot.user("POST", "/sapi/v1/capital/withdraw/apply", **params)).text

        vault = venue.identities.vault

        def long_ago() -> None:
            for key in vault.every(KEYS):
                vault.change(KEYS, key.owner, key.name, lambda record: msgspec.structs.replace(record, created_us=1))
            vault.change(USERS, "ann", "", lambda record: msgspec.structs.replace(record, secured_us=1))
            for address in vault.every(ADDRESSES):
                vault.change(ADDRESSES, address.owner, address.name, lambda record: msgspec.structs.replace(record, added_us=1))

        assert "changed in the last" in await takes_out()
        await asyncio.to_thread(long_ago)
        assert '"id"' in await takes_out()
        await Program.of(venue, venue.public, ANN, READ, TRADE)
        assert '"id"' in await takes_out(), "a key that can't take out anything"
        await Program.of(venue, venue.public, ANN, WITHDRAW)
        assert "changed in the last" in await takes_out()
        await asyncio.to_thread(long_ago)
        assert '"id"' in await takes_out()
        assert (await user.send("POST", "/password", {"password": PASSWORD, "new_password": PASSWORD_2})).status_code == 200
        assert "changed in the last" in await takes_out()


async def test_only_who_has_a_second_factor_takes_money_out(tmp_path: Path) -> None:
    async with open_venue(tmp_path / "data", withdrawals=WithdrawalSettings(RULES, cool_down_s=0.0)) as venue:
        user = await venue.user("ann", ANN)
        key = {"permissions": ["READ", "WITHDRAW"], "addresses": ["127.0.0.1"], "password": PASSWORD}
        for path, form in (("/addresses", TO), ("/withdrawals", TO | {"amount": "0.1"}), ("/keys", key)):
            refused = await user.send("POST", path, {**form, "password": PASSWORD})
            assert (refused.status_code, "second factor" in refused.json()["msg"]) == (403, True), path
        assert (await user.send("POST", "/keys", {"password": PASSWORD})).status_code == 200, "that trades"
        await user.set_second_factor()
        for path, form in (("/addresses", TO), ("/keys", key)):
            assert (await user.send("POST", path, {**form, "password": PASSWORD, "code": user.recovery_codes.pop()})).status_code == 200
        asked = await user.send("POST", "/withdrawals", {**TO, "amount": "0.1", "password": PASSWORD, "code": user.recovery_codes.pop()})
        assert asked.json()["state"] == "approved"
        bot = await Program.of(venue, venue.public, ANN, WITHDRAW)
        params = {"coin": "BTC", "network": "BITCOIN", "address": ADDRESS, "amount": "0.1"}
        assert "id" in (await bot.user("POST", "/sapi/v1/capital/withdraw/apply", **params)).json()
        removed = await user.send("DELETE", "/second-factor", {"password": PASSWORD, "code": user.recovery_codes.pop()})
        assert removed.status_code == 200, removed.text
        refused = await bot.user("POST", "/sapi/v1/capital/withdraw/apply", **params)
        assert (refused.status_code, refused.json()["code"]) == (403, -2017), "nor by a key"


async def test_what_a_process_that_died_left_half_done_is_finished(venue: Venue) -> None:
    """The money was set aside, and that it was has not been written; and one that can't be finished does not hold up the others."""
    user = await venue.user("ann", ANN)
    await with_address(user)
    book, vault = venue.embedded.desk.treasury.book, venue.identities.vault
    hopeless, asked = [(await asks(user, "1")).json() for _ in range(2)]

    def as_it_died(number: int, asset: str) -> None:
        held = book.get(ANN, number)
        assert held is not None
        record = msgspec.structs.replace(held.record, state="requested", asset=asset, requested_us=held.record.requested_us - 120_000_000)
        vault.put(ORDERS, held.owner, held.name, record, held.version)

    await asyncio.to_thread(as_it_died, hopeless["id"], "DOGE")
    await asyncio.to_thread(as_it_died, asked["id"], "BTC")
    await until_state(venue, asked, "pending")
    assert free(venue, ANN) == START - 2 * BTC


async def test_there_is_nothing_more_to_do_about_what_has_ended(venue: Venue) -> None:
    user, program = await venue.user("ann", ANN), await Program.of(venue, venue.admin, 0, PAYOUT)
    await with_address(user)
    sent, canceled, waits = [(await asks(user, amount)).json() for amount in ("0.1", "0.6", "0.7")]
    await program.own("POST", f"/admin/v1/payouts/{at(sent)}/send")
    await program.own("POST", f"/admin/v1/payouts/{at(sent)}/settle", b'{"reference":"tx1"}')
    await user.send("DELETE", f"/withdrawals/{at(canceled)}")
    await until_free(venue, ANN, START - 8 * BTC // 10)
    book = venue.embedded.desk.treasury.book
    deadline = time.monotonic() + 30
    while [int(held.name) for held in await asyncio.to_thread(book.undone)] != [waits["id"]]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert len(await asyncio.to_thread(book.every)) == 3


# ---------------------------------------------------------------------- in


async def test_a_deposit_is_credited_once_however_often_it_is_reported(venue: Venue) -> None:
    program = await Program.of(venue, venue.admin, 0, DEPOSIT)
    body = b'{"account":%d,"asset":"BTC","amount":"1.5","reference":"txid:0"}' % ANN
    answers = [(await program.own("POST", "/admin/v1/deposits", body)).json() for _ in range(3)]
    assert [each["new"] for each in answers] == [True, False, False]
    assert free(venue, ANN) == START + 3 * BTC // 2
    elsewhere = {b'"1.5"': b'"1.6"', b"1001": b"1002", b'"BTC"': b'"USDT"', b'"reference"': b'"wallet":"funding","reference"'}
    for this, other in elsewhere.items():
        refused = await program.own("POST", "/admin/v1/deposits", body.replace(this, other))
        assert "reported for another" in refused.json()["msg"], other
    for wrong in (b"1003", b"0", b"-1", b"4", b"%d" % (ANN | WALLET_BIT)):
        refused = await program.own("POST", "/admin/v1/deposits", body.replace(b"1001", wrong).replace(b"txid:0", b"txid:1"))
        assert refused.status_code == 400, wrong
    assert (await program.own("POST", "/admin/v1/deposits", body.replace(b"txid:0", b"txid:1"))).json()["new"], "it is free again"
    assert free(venue, ANN) == START + 3 * BTC


async def test_the_venues_programs_do_what_their_key_is_for_from_where_it_is_good_and_nothing_else(venue: Venue) -> None:
    depositor, elsewhere = (
        await Program.of(venue, venue.admin, 0, DEPOSIT),
        await Program.of(venue, venue.admin, 0, DEPOSIT, addresses=("10.0.0.1",)),
    )
    users_own = await Program.of(venue, venue.admin, ANN, READ, TRADE, WITHDRAW)
    body = b'{"account":1001,"asset":"BTC","amount":"1","reference":"r"}'
    assert (await depositor.own("GET", "/admin/v1/payouts")).status_code == 403
    assert (await elsewhere.own("POST", "/admin/v1/deposits", body)).status_code == 403
    assert (await users_own.own("POST", "/admin/v1/deposits", body)).json()["code"] == -1022, "of users' keys it knows nothing here"
    forged = Program(venue.admin, depositor._key, "x" * 64)
    assert (await forged.own("POST", "/admin/v1/deposits", body)).json()["code"] == -1022
    assert (await depositor.own("POST", "/admin/v1/deposits", body, signed_path="/admin/v1/payouts")).json()["code"] == -1022
    other = Program(venue.public, depositor._key, depositor._secret)
    for path in ("/api/v3/account", "/sapi/v1/capital/withdraw/history"):
        assert (await other.user("GET", path)).json()["code"] == -1022, "clients' doors know nothing of it"
    assert free(venue, ANN) == START


async def test_a_deposit_is_reversed_by_two_and_once(venue: Venue) -> None:
    one, other = await venue.operator("tom", "treasury"), await venue.operator("tess", "treasury")
    program = await Program.of(venue, venue.admin, 0, DEPOSIT)
    made = (await program.own("POST", "/admin/v1/deposits", b'{"account":1001,"asset":"BTC","amount":"2","reference":"r"}')).json()
    reverse = f"/deposits/{ANN}/{made['id']}/reverse"
    for again in (False, True):
        proposed = (await one.send("POST", reverse, {"reason": "the chain reorganised"})).json()
        assert "it is your own" in (await one.send("POST", f"/proposals/{proposed['proposal']}/approve")).json()["msg"]
        done = (await other.send("POST", f"/proposals/{proposed['proposal']}/approve")).json()
        assert ("reversed before" in done["msg"]) if again else done["result"]["reversed"]
        assert free(venue, ANN) == START


async def test_an_adjustment_takes_two_and_names_its_ticket(venue: Venue) -> None:
    one, other = await venue.operator("tom", "treasury"), await venue.operator("tess", "treasury")
    form = {
        "id": 77,
        "source": ANN,
        "target": BOB,
        "asset": "BTC",
        "amount": "3",
        "ticket": "SUP-1042",
        "reason": "sent to the wrong account",
    }
    proposed = (await one.send("POST", "/adjustments", form)).json()
    assert free(venue, BOB) == START
    done = await other.send("POST", f"/proposals/{proposed['proposal']}/approve")
    assert done.json()["result"] == {"id": 77, "from": ANN, "to": BOB, "asset": "BTC", "atoms": 3 * BTC}
    again = (await one.send("POST", "/adjustments", form | {"ticket": "SUP-1043"})).json()
    assert "made before" in (await other.send("POST", f"/proposals/{again['proposal']}/approve")).json()["msg"]
    assert {each["id"]: each["state"] for each in (await one.send("GET", "/proposals")).json()["proposals"]}[again["proposal"]] == "failed"
    assert (free(venue, ANN), free(venue, BOB)) == (START - 3 * BTC, START + 3 * BTC)


# ---------------------------------------------------------------------- wallets, and a user's own programs


async def test_money_moves_between_an_account_and_its_wallet(venue: Venue) -> None:
    user, bot = await venue.user("ann", ANN), await Program.of(venue, venue.public, ANN, READ, TRADE)
    assert "tranId" in (await user.send("POST", "/wallet-transfers", {"asset": "BTC", "amount": "2", "to": "funding"})).json()
    moved = await bot.user("POST", "/sapi/v1/asset/transfer", type="FUNDING_MAIN", asset="BTC", amount="0.5")
    assert "tranId" in moved.json(), moved.text
    (funding,) = (await bot.user("POST", "/sapi/v1/asset/get-funding-asset", asset="BTC")).json()
    assert (funding["free"], funding["withdrawing"]) == ("1.50000000", "0.00000000")
    assert (free(venue, ANN), free(venue, ANN | WALLET_BIT)) == (START - 3 * BTC // 2, 3 * BTC // 2)
    refused = await bot.user("POST", "/sapi/v1/asset/transfer", type="MAIN_UMFUTURE", asset="BTC", amount="0.5")
    assert "MAIN_FUNDING" in refused.json()["msg"]
    too_much = await user.send("POST", "/wallet-transfers", {"asset": "BTC", "amount": "2", "to": "trading"})
    assert too_much.status_code == 400
    await with_address(user)
    assert (await asks(user, "0.5", wallet="funding")).json()["holder"] == ANN | WALLET_BIT
    assert free(venue, ANN | WALLET_BIT) == BTC


async def test_a_bot_withdraws_as_at_binance(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    await with_address(user)
    bot, reader = await Program.of(venue, venue.public, ANN, READ, WITHDRAW), await Program.of(venue, venue.public, ANN, READ, TRADE)
    params = {"coin": "BTC", "network": "BITCOIN", "address": ADDRESS, "amount": "0.1", "withdrawOrderId": "w1"}
    assert (await reader.user("POST", "/sapi/v1/capital/withdraw/apply", **params)).status_code == 403
    made = [(await bot.user("POST", "/sapi/v1/capital/withdraw/apply", **params)).json() for _ in range(2)]
    assert made[0] == made[1]
    (shown,) = (await reader.user("GET", "/sapi/v1/capital/withdraw/history", coin="BTC")).json()
    assert (shown["id"], shown["status"], shown["amount"], shown["walletType"]) == (made[0]["id"], 4, "0.1", 0)
    assert (await reader.user("GET", "/sapi/v1/capital/withdraw/history", coin="USDT")).json() == []
    assert free(venue, ANN) == START - BTC // 10


async def test_nobody_sees_or_cancels_another_ones(venue: Venue) -> None:
    ann, bob = await venue.user("ann", ANN), await venue.user("bob", BOB)
    await with_address(ann)
    asked = (await asks(ann, "1")).json()
    assert (await bob.send("GET", "/withdrawals")).json() == {"withdrawals": []}
    assert (await bob.send("GET", "/addresses")).json() == {"addresses": []}
    assert (await bob.send("DELETE", f"/withdrawals/{at(asked)}")).status_code == 404
    for holder in (BOB, BOB | WALLET_BIT, BOB | 1 << 50, ANN | 1 << 50):
        assert (await bob.send("DELETE", f"/withdrawals/{holder}/{asked['id']}")).status_code in (400, 404)
    (address,) = (await ann.send("GET", "/addresses")).json()["addresses"]
    assert (await bob.send("DELETE", f"/addresses/{address['name']}")).status_code == 404
    assert "address book" in (await asks(bob, "0.1")).json()["msg"], "another's address is not in the book"
    assert (await ann.send("GET", "/withdrawals")).json()["withdrawals"][0]["state"] == "pending"
