"""The operators' console of a real cluster: what is done there holds on every gateway, within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.cluster.support import logged_in, made
from tests.support.browser import PASSWORD, Browser
from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.services import Service

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "9.00"}
ORDERS_PER_DAY = 160


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    settings = f"[allowance]\norders_per_day = {ORDERS_PER_DAY}\n"
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
