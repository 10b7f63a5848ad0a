"""A statement from outside beside an exchange that runs: programs report deposits and send withdrawals, operators reverse."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.cli.test_pages import blocks
from tests.support.money import ADDRESS, RULES, Program, asks, at, with_address
from tests.support.running import ZEROSUM
from tests.support.serving import ask
from tests.support.venue import ANN, BOB, Venue, open_venue
from zerosum.console.doors import WithdrawalSettings
from zerosum.core import records
from zerosum.identity.keys import DEPOSIT, PAYOUT
from zerosum.services.statement import moment, time_us
from zerosum.settlement.reading import read_position

GUIDE = "docs/guides/reconcile.md"
SETTLED_S = 60.0
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00")


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that `serving` has."""
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", "00" * 32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def venue(data: Path) -> AsyncIterator[Venue]:
    withdrawals = WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)
    async with open_venue(data, funds=0, withdrawals=withdrawals) as found:
        yield found


async def zerosum(folder: Path, *arguments: str) -> Said:
    def run() -> Said:
        done = subprocess.run([*ZEROSUM, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
        return Said(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


async def until_settled(venue: Venue) -> None:
    """The record has all that was done."""
    deadline = time.monotonic() + SETTLED_S
    while (await asyncio.to_thread(read_position, venue.embedded.data.settled))[0] < venue.embedded.shard.machine.sequence:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def reports(program: Program, account: int, asset: str, amount: str, reference: str, **also: str) -> dict[str, Any]:
    body = json.dumps({"account": account, "asset": asset, "amount": amount, "reference": reference, **also}).encode()
    made = await program.own("POST", "/admin/v1/deposits", body)
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


async def pays(venue: Venue, program: Program, amount: str, reference: str) -> None:
    """Ann's withdrawal, from the request to its end."""
    user = await venue.user("ann", ANN)
    await with_address(user)
    asked = (await asks(user, amount, order_id="mine")).json()
    for step, body in (("send", b""), ("settle", json.dumps({"reference": reference}).encode())):
        done = await program.own("POST", f"/admin/v1/payouts/{at(asked)}/{step}", body)
        assert done.status_code == 200, done.text


async def reverses(venue: Venue, account: int, number: int) -> None:
    one, other = await venue.operator("tom", "treasury"), await venue.operator("tess", "treasury")
    proposed = await one.send("POST", f"/deposits/{account}/{number}/reverse", {"reason": "the chain reorganised"})
    done = await other.send("POST", f"/proposals/{proposed.json()['proposal']}/approve")
    assert done.json()["result"]["reversed"], done.text


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
