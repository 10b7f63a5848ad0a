"""A statement from outside beside an exchange that runs: programs report deposits and send withdrawals, operators reverse."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.integration.cli.test_pages import blocks
from tests.support.money import ADDRESS, RULES, Program, asks
from tests.support.operated import MASTER_KEY, pays, reports, reverses, until_settled, zerosum
from tests.support.serving import ask
from tests.support.venue import ANN, BOB, Venue, open_venue
from zerosum.console.doors import WithdrawalSettings
from zerosum.core import records
from zerosum.core.codes import WALLET_BIT
from zerosum.identity.keys import DEPOSIT, PAYOUT
from zerosum.identity.withdrawals import ORDERS
from zerosum.services.statement import moment, time_us

LOOKS = [
    ("account", "show", str(ANN), "--data", "data"),
    ("withdrawal", "list", str(ANN), "--data", "data", "--json"),
    ("account", "deposits", str(ANN), "--data", "data", "--json"),
]
GUIDE = "docs/guides/reconcile.md"
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00")


@pytest.fixture(autouse=True)
def master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that `serving` has."""
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", MASTER_KEY)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def venue(data: Path) -> AsyncIterator[Venue]:
    withdrawals = WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)
    async with open_venue(data, funds=0, withdrawals=withdrawals) as found:
        yield found


async def test_the_guide_says_what_is_said(venue: Venue, tmp_path: Path) -> None:
    """Its statement, beside an exchange that was used as it tells; but for the times, which are those of the test."""
    depositor, payer = [await Program.of(venue, venue.admin, 0, permission) for permission in (DEPOSIT, PAYOUT)]
    await reports(depositor, ANN, "BTC", "2", "8c14f0ca:0")
    await reports(depositor, BOB, "BTC", "1.25", "5df6e0e2:1")
    reversed_one = await reports(depositor, BOB, "USDT", "300", "wire 77120")
    await reports(depositor, BOB, "USDT", "10", "wire 77121")
    await reverses(venue, BOB, reversed_one["id"])
    await pays(venue, payer, "0.5", "ea44e97e:0")
    await ask(venue.embedded, records.command(records.DEPOSIT, 0, ANN, 5, 1, 250 * 10**8))
    await until_settled(venue)
    (statement,), (command,) = blocks(GUIDE, "csv"), blocks(GUIDE)
    (shown,) = blocks(GUIDE, "text")
    (tmp_path / "custodian.csv").write_text(statement)
    assert command == "zerosum reconcile custodian.csv --data DIR\n"
    said = await zerosum(tmp_path, "reconcile", "custodian.csv", "--data", "data")
    assert (said.code, said.err) == (1, "")
    assert TIME.sub("at its time", said.out) == TIME.sub("at its time", shown)


async def test_what_agrees_is_told_by_its_exit_code_and_for_a_program_as_json(venue: Venue, tmp_path: Path) -> None:
    """Also of what was reported again, of a funding wallet's deposit, and of what is set aside to go out."""
    depositor, payer = [await Program.of(venue, venue.admin, 0, permission) for permission in (DEPOSIT, PAYOUT)]
    for new in (True, False):
        assert (await reports(depositor, ANN, "BTC", "2", "txid:0"))["new"] is new
    first = await reports(depositor, ANN, "USDT", "7", "txid:1", wallet="funding")
    await pays(venue, payer, "0.5", "txid:7")
    await ask(venue.embedded, records.command(records.REQUEST_WITHDRAWAL, 0, ANN, 9, 0, 10**7))
    await until_settled(venue)
    statement = tmp_path / "custodian.csv"
    statement.write_text(
        "amount,asset,reference,type,address\n2,BTC,txid:0,deposit,\n7.00,USDT,txid:1,deposit,\n"
        f"0.5,BTC,txid:7,withdrawal,{ADDRESS}\n1.5,BTC,,balance,\n7,USDT,,balance,\n"
    )
    of = ("reconcile", "custodian.csv", "--data", "data")
    assert await zerosum(tmp_path, *of) == (0, "no difference: 5 lines of the statement agree\n", "")
    assert json.loads((await zerosum(tmp_path, *of, "--json")).out) == {"lines": 5, "agree": 5, "counts": {}, "differences": []}

    statement.write_text("amount,asset,reference,type,address\n0.4,BTC,txid:7,withdrawal,bc1qother\n")
    said = await zerosum(tmp_path, *of, "--json", "--asset", "USDT")
    found = json.loads(said.out)
    assert said.code == 1
    assert (found["lines"], found["agree"], found["counts"]) == (1, 0, {"address": 1, "amount": 1, "missing_there": 1})
    amount, address, missing = found["differences"]
    assert (amount["there"], amount["here"]) == ({"asset": "BTC", "amount": "0.4"}, {"asset": "BTC", "amount": "0.5"})
    assert address["why"] == f"to bc1qother there, to {ADDRESS} here"
    assert (missing["reference"], missing["account"], missing["wallet"], missing["id"]) == ("txid:1", ANN, "funding", first["id"])
    at_us = time_us(missing["time"])
    for options, there in (
        (("--since", missing["time"]), True), (("--since", moment(at_us + 1)), False), (("--until", missing["time"]), False),
        (("--until", moment(at_us + 1)), True),
    ):  # fmt: skip
        told = json.loads((await zerosum(tmp_path, *of, "--json", "--asset", "USDT", *options)).out)
        assert ("missing_there" in told["counts"]) is there, options


async def test_an_operator_sees_by_command_what_came_in_and_went_out_and_what_is_set_aside(data: Path, tmp_path: Path) -> None:
    """While the exchange runs, and when it does not."""
    withdrawals = WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)
    async with open_venue(data, funds=0, withdrawals=withdrawals) as venue:
        depositor, payer = [await Program.of(venue, venue.admin, 0, permission) for permission in (DEPOSIT, PAYOUT)]
        await reports(depositor, ANN, "BTC", "3", "txid:0")
        await reports(depositor, ANN, "BTC", "2", "txid:1", wallet="funding")
        user = await pays(venue, payer, "0.5", "txid:7")
        waiting = (await asks(user, "1.25")).json()
        of_wallet = (await asks(user, "0.75", wallet="funding")).json()
        await until_settled(venue)
        shown, listed, came = [await zerosum(tmp_path, *command) for command in LOOKS]
        assert shown.out.splitlines()[1:] == [
            "asset  available  frozen  withdrawing",
            "BTC    1.25       0       1.25",
            "in its funding wallet",
            "asset  available  frozen  withdrawing",
            "BTC    1.25       0       0.75",
        ]
        assert [(row["id"], row["wallet"], row["amount"], row["state"], row["ledger"]) for row in json.loads(listed.out)][1:] == [
            (waiting["id"], "trading", "1.25", "pending", "set aside"), (of_wallet["id"], "funding", "0.75", "pending", "set aside"),
        ]  # fmt: skip
        gone = json.loads(listed.out)[0]
        assert (gone["state"], gone["ledger"], gone["reference"], gone["address"]) == ("settled", "settled", "txid:7", ADDRESS)
        assert [(row["wallet"], row["amount"], row["state"], row["reference"]) for row in json.loads(came.out)] == [
            ("trading", "3", "credited", "txid:0"), ("funding", "2", "credited", "txid:1"),
        ]  # fmt: skip
        table = (await zerosum(tmp_path, "withdrawal", "list", "--data", "data")).out.splitlines()
        assert table[0].split("  ")[0] == "account"
        assert [line.split()[0] for line in table[1:]] == ["1001"] * 3
        ours = venue.embedded.desk.treasury.book.get(ANN, waiting["id"])
        assert ours is not None
        forged = msgspec.structs.replace(ours.record, address="\x1b[2J", amount="\x1b[2J", asset="\x1b[2J")
        await asyncio.to_thread(venue.identities.vault.put, ORDERS, str(BOB), "7", forged)
        hostile = await zerosum(tmp_path, "withdrawal", "list", "--data", "data")
        assert "\x1b" not in hostile.out, "what a stolen gateway wrote does nothing to a terminal"
        assert r"'\x1b[2J'" in hostile.out
        await asyncio.to_thread(venue.identities.vault.remove, ORDERS, str(BOB), "7")
        empty = await zerosum(tmp_path, "withdrawal", "list", str(BOB), "--data", "data", "--json")
        assert json.loads(empty.out) == []
    assert [await zerosum(tmp_path, *command) for command in LOOKS] == [shown, listed, came]
    refused = await zerosum(tmp_path, "account", "status", str(ANN), "closed", "--data", "data")
    assert "has 1.25 BTC, 1.25 BTC in its funding wallet" in refused.err
    assert f"{ANN | WALLET_BIT} funding of {ANN}" in (await zerosum(tmp_path, "account", "list", "--data", "data")).out


@pytest.mark.parametrize(
    ("statement", "options", "told"),
    [
        ("type,reference,asset,amount\ndeposit,a,BTC,1\ndeposit,b,BTC,1.000000001\n", (), "custodian.csv: line 3, column amount: "),
        ("type,reference,asset\n", (), "custodian.csv: line 1: a statement begins with the names of its columns"),
        ("type,reference,asset,amount\n", ("--since", "yesterday"), "--since yesterday: it is no time as ISO 8601 has it"),
        ("type,reference,asset,amount\n", ("--asset", "DOGE"), "--asset DOGE is not listed here; listed are BTC, USDT."),
        (None, (), "custodian.csv can't be read: No such file or directory."),
    ],
)
async def test_what_is_no_statement_is_told(
    venue: Venue, tmp_path: Path, statement: str | None, options: tuple[str, ...], told: str
) -> None:
    await until_settled(venue)
    if statement is not None:
        (tmp_path / "custodian.csv").write_text(statement)
    said = await zerosum(tmp_path, "reconcile", "custodian.csv", "--data", "data", *options)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"ConfigError: {told}")
