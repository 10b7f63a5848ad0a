"""
Money in and out of a real cluster: users ask at gateways, operators decide and programs report at the console, each process as its role's
users of Kafka and the database; and a custodian's statement is held against it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.cluster.support import a_program, a_user, logged_in, made
from tests.support.browser import PASSWORD, Browser
from tests.support.money import Program
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.devcluster.deployment import DevDeployment, Shape

SETTINGS: Final = '\n[withdrawals]\nrules = ["BTC:10:0.5:2"]\ncool_down_s = 0.001\nsecond_factor = false\n'
TO: Final = {"asset": "BTC", "network": "BITCOIN", "address": "bc1qexample"}
ANN: Final = ACCOUNTS[0]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    shape = Shape(shards=2, partitions=1, gateways=1, consoles=1, audits=True, settings=SETTINGS)
    with DevDeployment(tmp_path_factory.mktemp("money"), shape).running(keeps=False) as found:
        asyncio.run(found_cluster_market(found, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM))
        yield found


@pytest.fixture
async def user(deployment: DevDeployment) -> AsyncIterator[Browser]:
    browser = await a_user(deployment, "ann", ANN)
    yield browser
    await browser.http.aclose()


async def told(program: Program, method: str, path: str, form: dict[str, Any] | None = None) -> Any:
    said = await program.own(method, path, json.dumps(form).encode() if form is not None else b"")
    assert said.status_code == 200, said.text
    return said.json()


async def free(user: Browser) -> str:
    (found,) = [each for each in (await user.send("GET", "/balances")).json()["trading"] if each["asset"] == "BTC"]
    return str(found["free"])


async def until(what: str, asks: Any, wanted: Any) -> None:
    deadline = time.monotonic() + 60
    while (found := await asks()) != wanted:
        assert time.monotonic() < deadline, f"{what}: {found}, not {wanted}"
        await asyncio.sleep(0.1)


async def test_money_comes_in_goes_out_and_is_reconciled(deployment: DevDeployment, user: Browser, tmp_path: Path) -> None:
    began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
    await asyncio.sleep(1.1)
    depositor, payer = [await a_program(deployment, work) for work in ("deposits", "payouts")]
    one, other = [await logged_in(deployment, name, "treasury") for name in ("tom", "tess")]
    report = {"account": ANN, "asset": "BTC", "amount": "1.5", "reference": "in1"}
    for new in (True, False):
        assert (await told(depositor, "POST", "/admin/v1/deposits", report))["new"] is new
    await until("the deposit", lambda: free(user), "10001.50000000")

    assert (await user.send("POST", "/addresses", {**TO, "password": PASSWORD})).status_code == 200
    small, large, canceled = [
        (await user.send("POST", "/withdrawals", {**TO, "amount": amount, "password": PASSWORD})).json() for amount in ("0.5", "3", "1")
    ]
    assert [order["state"] for order in (small, large, canceled)] == ["approved", "pending", "pending"]
    await until("what is set aside", lambda: free(user), "9997.00000000")
    for operator in (one, other):
        listed = (await operator.send("GET", "/withdrawals")).json()["withdrawals"]
        what = next(each["what"] for each in listed if each["id"] == large["id"])
        answer = await operator.send("POST", f"/withdrawals/{ANN}/{large['id']}/approve", {"what": what})
        assert answer.status_code == 200, answer.text
    assert (await user.send("DELETE", f"/withdrawals/{ANN}/{canceled['id']}")).json()["state"] == "canceled"
    await until("what is given back", lambda: free(user), "9998.00000000")

    assert [each["id"] for each in (await told(payer, "GET", "/admin/v1/payouts"))["payouts"]] == [small["id"], large["id"]]
    for order, reference in ((small, "out1"), (large, "out2")):
        path = f"/admin/v1/payouts/{ANN}/{order['id']}"
        assert (await told(payer, "POST", f"{path}/send"))["state"] == "sending"
        assert (await told(payer, "POST", f"{path}/settle", {"reference": reference}))["state"] == "settled"

    statement = tmp_path / "statement.csv"
    statement.write_text(
        "type,reference,asset,amount\ndeposit,in1,BTC,1.5\nwithdrawal,out1,BTC,0.5\nwithdrawal,out2,BTC,3\nbalance,,BTC,29998\n"
    )
    command = ("reconcile", str(statement), "--since", began, "--cluster", "--config", str(deployment.config), "--json")

    async def reconciled() -> Any:
        return json.loads(await asyncio.to_thread(deployment.zerosum, *command, can_fail=True))

    await until("the statement", reconciled, {"lines": 4, "agree": 4, "counts": {}, "differences": []})
    assert made(deployment, "trail", "verify")["number"] > 10
    assert made(deployment, "trail", "verify", "--users")["number"] > 5
    for browser in (one, other):
        await browser.http.aclose()
    audited = json.loads(await asyncio.to_thread(deployment.zerosum, "cluster", "audit", "--config", str(deployment.config), "--json"))
    assert audited["holds"], audited
