"""The operators' console of a real cluster: what is done there holds on every gateway, within a second."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster.support import a_program, a_user, logged_in, made
from tests.support.browser import PASSWORD, Browser
from tests.support.money import asks, at, with_address
from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.market import ACCOUNTS, BTC, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.process import clean_environment
from zerosum.devcluster.services import Service
from zerosum.services.amounts import decimal_text
from zerosum.services.statement import moment

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "9.00"}
ORDERS_PER_DAY = 160
WITHDRAWALS = """
[withdrawals]
rules = ["BTC:10:0.5:2"]
cool_down_s = 0.001
second_factor = false
"""
SETTLED_S = 60.0


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    settings = f"[allowance]\norders_per_day = {ORDERS_PER_DAY}\n{WITHDRAWALS}"
    shape = Shape(shards=2, partitions=2, gateways=2, consoles=1, audits=False, settings=settings)
    with DevDeployment(tmp_path_factory.mktemp("console"), shape).running(keeps=False) as found:
        yield found


@pytest.fixture(scope="module")
def users(deployment: DevDeployment) -> list[User]:
    return asyncio.run(found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM))


@pytest.fixture
async def gateways(deployment: DevDeployment) -> AsyncIterator[list[WebSocketConnection]]:
    services: list[Service] = deployment.of_role("gateway")
    connections = [await WebSocketConnection.open(HOST, service.ports()["websocket"]) for service in services]
    yield connections
    for connection in connections:
        await connection.close()


async def test_a_revoked_key_is_refused_on_every_gateway_within_a_second(
    deployment: DevDeployment, users: list[User], gateways: list[WebSocketConnection]
) -> None:
    support = await logged_in(deployment, "sue", "support")
    user = users[2]
    for gateway in gateways:
        await asked(gateway, user, "account.status")
    assert (await support.send("DELETE", f"/keys/{user.api_key}", {"reason": "lost"})).status_code == 200
    revoked_at = time.monotonic()
    for gateway in gateways:
        while True:
            try:
                await asked(gateway, user, "account.status")
            except DoesNotHold as refused:
                assert "-1022" in str(refused)  # noqa: PT017  what it was refused with is the point
                break
            assert time.monotonic() < revoked_at + 30
            await asyncio.sleep(0.02)
    await support.http.aclose()


async def test_an_account_and_the_market_are_blocked_whatever_gateway_orders_came_through(
    deployment: DevDeployment, users: list[User], gateways: list[WebSocketConnection]
) -> None:
    support, market = await logged_in(deployment, "sam", "support"), await logged_in(deployment, "max", "market")
    ann, bob = users[:2]
    for gateway in gateways:
        for user in (ann, bob):
            await asked(gateway, user, "order.place", **ORDER)
            await asked(gateway, user, "order.place", **(ORDER | {"symbol": "ETHUSDT"}))
    assert (await support.send("POST", f"/accounts/{ann.account}/block", {})).json() == {"canceled": 4, "left": 0}
    for gateway in gateways:
        assert await asked(gateway, ann, "openOrders.status") == []
        with pytest.raises(DoesNotHold):
            await asked(gateway, ann, "order.place", **ORDER)
    assert len(await asked(gateways[0], bob, "openOrders.status")) == 4
    assert (await market.send("POST", "/market/block", {})).json() == {"canceled": 4, "left": 0}
    with pytest.raises(DoesNotHold):
        await asked(gateways[1], bob, "order.place", **ORDER)
    assert {each["status"] for each in (await market.send("GET", "/symbols")).json()["symbols"]} == {"halt"}
    assert (await market.send("POST", "/market/unblock", {})).json() == {"symbols": 3}
    await asked(gateways[0], bob, "order.place", **ORDER)
    trail = made(deployment, "trail", "verify")
    assert trail["number"] > 10
    for browser in (support, market):
        await browser.http.aclose()


async def test_a_user_logs_in_at_any_gateway(deployment: DevDeployment, users: list[User]) -> None:
    password = (await asyncio.to_thread(made, deployment, "user", "create", "ann", str(users[0].account)))["temporary_password"]
    services = deployment.of_role("gateway")
    one, other = (Browser(f"http://{HOST}:{service.ports()['rest']}", "/account/v1") for service in services)
    assert (await one.log_in("ann", password)).status_code == 200
    assert (await one.send("POST", "/password", {"password": password, "new_password": PASSWORD})).status_code == 200
    other.http.cookies, other.csrf = one.http.cookies, one.csrf
    assert (await other.send("GET", "/session")).json()["person"]["account"] == users[0].account
    assert (await other.send("POST", "/logout")).status_code == 200
    assert (await one.send("GET", "/session")).status_code == 401
    for browser in (one, other):
        await browser.http.aclose()


async def test_a_statement_is_held_against_the_record_and_what_the_console_knows(
    deployment: DevDeployment, users: list[User], tmp_path: Path
) -> None:
    """Of accounts of both shards, from the database: deposits, one of which was taken back, and a withdrawal."""
    user, other = users[1:3]
    depositor, payer = await a_program(deployment, "deposits"), await a_program(deployment, "payouts")
    begun = moment(time.time_ns() // 1_000)
    numbers = {}
    for account, amount, reference in ((user.account, "2", "txid:0"), (other.account, "1.25", "txid:1"), (other.account, "3", "txid:2")):
        body = json.dumps({"account": account, "asset": "BTC", "amount": amount, "reference": reference}).encode()
        reported = await depositor.own("POST", "/admin/v1/deposits", body)
        assert reported.status_code == 200, reported.text
        numbers[reference] = reported.json()["id"]
    one, two = await logged_in(deployment, "tom", "treasury"), await logged_in(deployment, "tess", "treasury")
    proposed = await one.send("POST", f"/deposits/{other.account}/{numbers['txid:2']}/reverse", {"reason": "the chain reorganised"})
    approved = await two.send("POST", f"/proposals/{proposed.json()['proposal']}/approve")
    assert approved.json()["result"]["reversed"], approved.text

    browser = await a_user(deployment, "bob", user.account)
    await with_address(browser)
    asked_for = (await asks(browser, "0.5")).json()
    for step, body in (("send", b""), ("settle", b'{"reference":"txid:7"}')):
        done = await payer.own("POST", f"/admin/v1/payouts/{at(asked_for)}/{step}", body)
        assert done.status_code == 200, done.text

    statement = tmp_path / "custodian.csv"
    held = decimal_text(3 * FUNDS[BTC] + 275 * 10**6, 8)
    header, lines = "type,reference,asset,amount\n", [
        "deposit,txid:0,BTC,2\n", "deposit,txid:1,BTC,1.25\n", "withdrawal,txid:7,BTC,0.5\n", f"balance,,BTC,{held}\n",
    ]  # fmt: skip

    def reconciled(*stated: str) -> dict[str, Any]:
        """As whoever runs the console: the database lets them read what they need."""
        statement.write_text(header + "".join(stated))
        of = ("--since", begun, "--cluster", "--config", str(deployment.config), "--json")
        command = [sys.executable, "-m", "zerosum.cli.main", "reconcile", str(statement), *of]
        environment = clean_environment() | deployment.environment("admin")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (1 if found["differences"] else 0)
        return found

    deadline = time.monotonic() + SETTLED_S
    while (found := await asyncio.to_thread(reconciled, *lines))["differences"]:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)
    assert found == {"lines": 4, "agree": 4, "counts": {}, "differences": []}
    found = await asyncio.to_thread(reconciled, "deposit,txid:1,BTC,1.2\n", "deposit,txid:2,BTC,3\n", "balance,,BTC,1\n", lines[2])
    assert [(each["kind"], each["reference"], each["account"]) for each in found["differences"]] == [
        ("amount", "txid:1", other.account), ("reversed_here", "txid:2", other.account), ("balance", None, None),
        ("missing_there", "txid:0", user.account),
    ]  # fmt: skip
    of_cluster = ("--cluster", "--config", str(deployment.config), "--json")
    (gone,) = json.loads(await asyncio.to_thread(deployment.zerosum, "withdrawal", "list", str(user.account), *of_cluster))
    assert (gone["amount"], gone["state"], gone["ledger"], gone["reference"]) == ("0.5", "settled", "settled", "txid:7")
    came = json.loads(await asyncio.to_thread(deployment.zerosum, "account", "deposits", str(other.account), *of_cluster))
    assert [(each["amount"], each["state"], each["reference"]) for each in came if each["reference"]] == [
        ("1.25", "credited", "txid:1"), ("3", "reversed", "txid:2"),
    ]  # fmt: skip
    for each in (one, two, browser):
        await each.http.aclose()


async def test_limits_hold_for_all_gateways_together(
    deployment: DevDeployment, users: list[User], gateways: list[WebSocketConnection]
) -> None:
    """But for what is asked between two messages of theirs, and the small counts that they keep to themselves."""
    key = await asyncio.to_thread(made, deployment, "key", "create", str(ACCOUNTS[2]))
    user = User(ACCOUNTS[2], key["api_key"], key["secret"], {})
    placed, refused = 0, ""
    for _ in range(ORDERS_PER_DAY):
        for gateway in gateways:
            try:
                await asked(gateway, user, "order.place", **ORDER)
                placed += 1
            except DoesNotHold as error:
                refused = str(error)
        await asyncio.sleep(0.02)
    assert f"current limit is {ORDERS_PER_DAY} orders per 1 DAY" in refused
    assert ORDERS_PER_DAY <= placed < 1.5 * ORDERS_PER_DAY
