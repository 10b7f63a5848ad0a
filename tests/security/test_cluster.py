"""
A real cluster attacked, through its gateways and its console: what is refused at one is refused at all, what was done at one is not done
again at another, and a flood at one is not noticed at the other.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Final

import httpx
import pytest

from tests.integration.cluster.support import a_program, a_user, logged_in, made
from tests.security.test_authorization import PUBLIC
from tests.security.test_consoles import by_the_page
from tests.support.browser import Browser
from tests.support.signing import Answer, Signer, by_hmac, clock_ms, rest, websocket
from tests.support.venue import filled
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.gateway.api import METHODS, ROUTES

ORDER: Final = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "9.00"}
ORDERS_PER_DAY: Final = 40
SETTINGS: Final = f"""
[allowance]
orders_per_day = {ORDERS_PER_DAY}
[rest]
connections_max = 60
connections_per_address_max = 40
request_timeout_s = 2.0
"""
REVOKED_WITHIN_S: Final = 1.0
PATIENCE_S: Final = 30.0
FORMAT, SIGNATURE = -2014, -1022


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    shape = Shape(shards=1, partitions=1, gateways=2, consoles=1, audits=False, settings=SETTINGS)
    with DevDeployment(tmp_path_factory.mktemp("attacked"), shape).running(keeps=False) as found:
        yield found


@pytest.fixture(scope="module")
def users(deployment: DevDeployment) -> list[User]:
    return asyncio.run(found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM))


@pytest.fixture
def gateways(deployment: DevDeployment, users: list[User]) -> list[str]:
    return [f"http://{HOST}:{service.ports()['rest']}" for service in deployment.of_role("gateway")]


@pytest.fixture
def websockets(deployment: DevDeployment, users: list[User]) -> list[str]:
    return [f"ws://{HOST}:{service.ports()['websocket']}/ws-api/v3" for service in deployment.of_role("gateway")]


def signer_of(user: User) -> Signer:
    return by_hmac(user.api_key, user.secret)


async def placed(gateway: str, signer: Signer, **params: str) -> Answer:
    return await rest(gateway, "POST", "/api/v3/order", signer.query({**ORDER, **params}), signer.api_key)


async def seen(gateway: str, signer: Signer) -> list[str]:
    """Client ids of the open orders."""
    found = await rest(gateway, "GET", "/api/v3/openOrders", signer.query({}), signer.api_key)
    return sorted(each["clientOrderId"] for each in found.body)


async def test_what_is_not_public_is_answered_to_nobody_at_any_gateway(
    gateways: list[str], websockets: list[str], users: list[User]
) -> None:
    """Every route and method: without a key, and with one of somebody else's secret."""
    forged = Signer(users[0].api_key, signer_of(users[1]).sign)
    for gateway in gateways:
        for path, methods in ROUTES.items():
            for method in methods:
                if f"{method} {path}" not in PUBLIC:
                    assert (await rest(gateway, method, path, f"timestamp={clock_ms()}", None)).code == FORMAT, path
                    assert (await rest(gateway, method, path, forged.query({}), forged.api_key)).code == SIGNATURE, path
    which = [method for method in METHODS if method not in PUBLIC]
    for address in websockets:
        answers = await websocket(address, *(forged.frame(method, {}) for method in which))
        assert [answer.code for answer in answers] == len(which) * [SIGNATURE]


async def test_nothing_is_answered_by_the_console_to_who_has_not_logged_in(deployment: DevDeployment, users: list[User]) -> None:
    """Nor to users, of whom no gateway has any endpoint of the operators'."""
    (service,) = deployment.of_role("admin")
    console = f"http://{HOST}:{service.ports()['admin']}"
    user = await a_user(deployment, "uma", users[2].account)
    token = user.http.cookies["zerosum"]
    program = await a_program(deployment, "deposits")
    asked = 0
    async with httpx.AsyncClient(timeout=60) as http:
        for name, who in by_the_page().items():
            method, path = name.split(" ")
            if "anybody" in who:
                continue
            asked += 1
            path = filled(path).replace("/account/", f"/{users[0].account}/").replace("/holder/", f"/{users[0].account}/")
            for headers in ({}, {"cookie": f"zerosum={token}; zerosum-operator={token}", "x-csrf-token": user.csrf}):
                said = await http.request(method, console + path, headers=headers)
                assert said.status_code in ((400, 404) if "a program" in who else (401, 404)), (name, said.text)
            assert (await http.request(method, str(user.http.base_url.copy_with(path=path)))).status_code == 404, name
    assert asked > 40
    assert (await program.own("GET", "/admin/v1/payouts")).status_code == 403
    await user.http.aclose()


async def test_a_revoked_key_is_refused_at_every_gateway_within_a_second(
    deployment: DevDeployment, gateways: list[str], users: list[User]
) -> None:
    """The account's others go on."""
    support = await logged_in(deployment, "sue", "support")
    key = await asyncio.to_thread(made, deployment, "key", "create", str(users[0].account))
    signer, other = by_hmac(key["api_key"], key["secret"]), signer_of(users[0])

    async def codes(signer: Signer) -> set[int]:
        asked = [rest(gateway, "GET", "/api/v3/openOrders", signer.query({}), signer.api_key) for gateway in gateways]
        return {answer.code for answer in await asyncio.gather(*asked)}

    deadline = time.monotonic() + PATIENCE_S
    while await codes(signer) != {0}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert (await support.send("DELETE", f"/keys/{signer.api_key}", {"reason": "lost"})).status_code == 200
    await asyncio.sleep(REVOKED_WITHIN_S)
    assert await codes(signer) == {SIGNATURE}
    assert await codes(other) == {0}
    await support.http.aclose()


async def test_a_session_that_is_ended_is_ended_at_every_gateway(deployment: DevDeployment, gateways: list[str], users: list[User]) -> None:
    """As soon as it was answered: by whoever it is, by a changed password, and by support."""
    support = await logged_in(deployment, "sam", "support")
    browser = await a_user(deployment, "ann", users[0].account)

    async def is_in(gateway: str, token: str) -> bool:
        async with httpx.AsyncClient(timeout=60) as http:
            said = await http.get(f"{gateway}/account/v1/session", headers={"cookie": f"zerosum={token}"})
        return said.status_code == 200

    other = Browser(gateways[1], "/account/v1")

    async def another() -> str:
        assert (await other.log_in("ann")).status_code == 200
        token = other.http.cookies["zerosum"]
        assert [await is_in(gateway, token) for gateway in gateways] == [True, True]
        return token

    token = await another()
    assert (await browser.send("DELETE", "/sessions")).json()["ended"] >= 1
    assert [await is_in(gateway, token) for gateway in gateways] == [False, False]
    token = await another()
    assert (await support.send("POST", "/users/ann/deactivate", {"reason": "looks stolen"})).status_code == 200
    assert [await is_in(gateway, token) for gateway in gateways] == [False, False]
    assert (await other.log_in("ann")).status_code == 401
    for each in (support, browser, other):
        await each.http.aclose()


async def test_what_was_sent_to_one_gateway_does_nothing_more_at_another(
    gateways: list[str], websockets: list[str], users: list[User]
) -> None:
    """A signed request names no gateway: sent again to another while its order is open it is the same order."""
    signer = signer_of(users[1])
    query = signer.query({**ORDER, "newClientOrderId": "once", "recvWindow": "60000"})
    answers = [await rest(gateway, "POST", "/api/v3/order", query, signer.api_key) for gateway in gateways]
    assert [answer.code for answer in answers] == [0, -2010]
    changed = query.replace("quantity=1", "quantity=2")
    for gateway in gateways:
        assert (await rest(gateway, "POST", "/api/v3/order", changed, signer.api_key)).code == SIGNATURE
    frame = signer.frame("order.place", {**ORDER, "newClientOrderId": "twice"})
    answers = [(await websocket(address, frame))[0] for address in websockets]
    assert [answer.code for answer in answers] == [0, -2010]
    assert [await seen(gateway, signer) for gateway in gateways] == 2 * [["once", "twice"]]


async def test_nobody_reaches_another_ones_order_through_another_gateway(gateways: list[str], users: list[User]) -> None:
    """Which would have to believe of an order whose it is what the first has seen."""
    owner, other = signer_of(users[2]), signer_of(users[1])
    order = await placed(gateways[0], owner, newClientOrderId="olivers")
    assert order.status == 200, order.body
    deadline = time.monotonic() + PATIENCE_S
    while "olivers" not in await seen(gateways[1], owner):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    more = {("GET", "/api/v3/order"): {}, ("DELETE", "/api/v3/order"): {}, ("PUT", "/api/v3/order/amend/keepPriority"): {"newQty": "0.5"}}
    for (method, path), also in more.items():
        for mine, nobodys in (("orderId", "999999999"), ("origClientOrderId", "nobodys")):
            value = str(order.body["orderId"]) if mine == "orderId" else "olivers"
            answers = []
            for each in (value, nobodys):
                query = other.query({"symbol": "BTCUSDT", mine: each, **also})
                answers.append(await rest(gateways[1], method, path, query, other.api_key))
            assert answers[0] == answers[1], (method, path, mine)
            assert answers[0].status == 400
    assert "olivers" in await seen(gateways[0], owner)


async def test_a_flood_at_one_gateway_is_not_noticed_at_the_other(gateways: list[str], users: list[User]) -> None:
    """Connections that are held, requests that never end, and many that are wrong, from one address; somebody else trades on."""
    signer = signer_of(users[1])
    port = int(gateways[0].rpartition(":")[2])
    with ExitStack() as held:
        for _ in range(120):
            attacker = held.enter_context(socket.create_connection((HOST, port), timeout=PATIENCE_S))
            with suppress(OSError):  # it may be closed already
                attacker.sendall(b"GET /api/v3/time HTTP/1.1\r\nHost: h\r\nX-")

        async def wrong() -> int:
            found = 0
            for number in range(50):
                try:
                    answer = await rest(gateways[0], "GET", "/api/v3/account", f"timestamp={number}&signature={'0' * 64}", "x" * 64)
                    found += answer.code == SIGNATURE
                except (httpx.HTTPError, ValueError):
                    continue
            return found

        flood = asyncio.gather(*(wrong() for _ in range(4)))
        names = [f"calm-{number}" for number in range(10)]
        answers = [await placed(gateways[1], signer, newClientOrderId=name) for name in names]
        assert [answer.status for answer in answers] == 10 * [200]
        assert set(names) <= set(await seen(gateways[1], signer))
        assert sum(await flood) < 4 * 50, "or it was no flood"
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.9")
    async with httpx.AsyncClient(transport=transport, timeout=60) as http:
        assert (await http.get(f"{gateways[0]}/api/v3/time")).status_code == 200, "and the one that was flooded goes on"
    assert set(names) <= set(await seen(gateways[0], signer))


async def test_orders_are_counted_together_however_they_are_spread(
    gateways: list[str], deployment: DevDeployment, users: list[User]
) -> None:
    """By key after key of one account, at one gateway and the other in turn."""
    account, accepted, codes = str(users[0].account), 0, set[int]()
    keys = [await asyncio.to_thread(made, deployment, "key", "create", account) for _ in range(2)]
    signers = [by_hmac(key["api_key"], key["secret"]) for key in keys]
    await asyncio.sleep(REVOKED_WITHIN_S)
    for number in range(2 * ORDERS_PER_DAY):
        answer = await placed(gateways[number % 2], signers[number // 2 % 2])
        accepted += answer.status == 200
        codes.add(answer.code)
        await asyncio.sleep(0.01)
    assert codes == {0, -1015}
    assert accepted < 1.5 * ORDERS_PER_DAY
