"""`zerosum reconcile` on an exchange that runs: what came in and went out through its doors, against a custodian's statement."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.money import RULES, Program, asks, at, with_address
from tests.support.venue import ANN, Venue, open_venue
from zerosum.cli.main import cli
from zerosum.console.doors import WithdrawalSettings
from zerosum.identity.keys import DEPOSIT, PAYOUT

HEAD = "type,reference,asset,amount\n"
GOOD = "deposit,in1,BTC,1.5\ndeposit,in2,USDT,20\nwithdrawal,out1,BTC,0.4\n"


async def reconciled(venue: Venue, statement: str, *options: str) -> tuple[int, dict[str, Any]]:
    file = venue.embedded.data.root / "statement.csv"
    file.write_text(HEAD + statement)
    arguments = ["reconcile", str(file), "--data", str(venue.embedded.data.root), "--json", *options]
    done = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.usefixtures("master_key")
async def test_a_statement_is_held_against_what_came_in_and_went_out(tmp_path: Path) -> None:
    settings = WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)
    async with open_venue(tmp_path / "data", withdrawals=settings) as venue:
        began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))  # of whole seconds, after what there is
        await asyncio.sleep(1.1)
        depositor, payer = await Program.of(venue, venue.admin, 0, DEPOSIT), await Program.of(venue, venue.admin, 0, PAYOUT)
        for asset, amount, reference in (("BTC", "1.5", "in1"), ("USDT", "20", "in2")):
            form = {"account": ANN, "asset": asset, "amount": amount, "reference": reference}
            for _ in range(2):
                assert (await depositor.own("POST", "/admin/v1/deposits", json.dumps(form).encode())).status_code == 200
        user = await venue.user("ann", ANN)
        await with_address(user)
        order = (await asks(user, "0.4")).json()
        await payer.own("POST", f"/admin/v1/payouts/{at(order)}/send")
        await payer.own("POST", f"/admin/v1/payouts/{at(order)}/settle", b'{"reference":"out1"}')
        await until_settled(venue)

        assert await reconciled(venue, GOOD, "--since", began) == (0, {"alike": 3, "differences": []})
        owed = {"BTC": "20001.1", "USDT": "20020"}  # of two accounts, what they had to begin with among it
        balances = "".join(f"balance,,{asset},{amount}\n" for asset, amount in owed.items())
        assert await reconciled(venue, GOOD + balances, "--since", began) == (0, {"alike": 5, "differences": []})

        code, found = await reconciled(venue, GOOD.replace("1.5", "1.6").replace("in2", "in3"), "--since", began)
        assert code == 1
        assert [(each["what"], each["reference"]) for each in found["differences"]] == [
            ("unlike", "in1"), ("missing_there", "in2"), ("missing_here", "in3"),
        ]  # fmt: skip
        code, found = await reconciled(venue, GOOD, "--until", began)
        assert {each["what"] for each in found["differences"]} == {"no_reference", "missing_here"}, "what was deposited by command before"
        assert len([each for each in found["differences"] if each["what"] == "no_reference"]) == 4


async def until_settled(venue: Venue) -> None:
    deadline = time.monotonic() + 60
    while venue.embedded.shard.settled_sequence < venue.embedded.shard.applied_sequence:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.fixture
def master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the venue."""
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", "0" * 64)


def test_what_is_no_statement_is_told(tmp_path: Path) -> None:
    said = CliRunner().invoke(cli, ["reconcile", str(tmp_path / "gone.csv"), "--data", str(tmp_path)])
    assert said.exit_code != 0
    assert "can't be read" in str(said.exception)
    said = CliRunner().invoke(cli, ["reconcile", str(tmp_path / "gone.csv"), "--since", "yesterday"])
    assert "write a day as 2026-11-01" in str(said.exception)
