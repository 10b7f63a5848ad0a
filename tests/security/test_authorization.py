"""
Every route and every method, asked by everybody who may not: without a key, with one that is unknown, revoked, expired, of too little, from
elsewhere, with another one's signature. A route that is not asked so fails the suite.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import pytest

from tests.security.support import Target, get
from tests.support.browser import PASSWORD
from tests.support.money import BTC, RULES, START, Program, asks, at, free, with_address
from tests.support.signing import Answer, Signer, by_hmac, clock_ms, rest, websocket
from tests.support.venue import ANN, BOB, Venue, endpoints, filled, open_venue
from zerosum.console.access import OfKey, OfService
from zerosum.console.doors import WithdrawalSettings
from zerosum.gateway.api import METHODS, NONE, ROUTES
from zerosum.identity.keys import DEPOSIT, KEYS, NOBODY, PAYOUT, READ, TRADE, WITHDRAW, Made, Wanted

PUBLIC: Final = {
    "GET /api/v3/ping", "GET /api/v3/time", "GET /api/v3/exchangeInfo", "GET /api/v3/depth", "GET /api/v3/trades",
    "ping", "time", "exchangeInfo", "depth", "trades.recent",
}  # fmt: skip
"""What anybody may ask. Whatever else there is needs a key."""

UNKNOWN: Final = "k" * 64

FORMAT, SIGNATURE, REJECTED, MISSING = -2014, -1022, -2015, -1102
REFUSALS: Final = {FORMAT, SIGNATURE, REJECTED}


class Keys(NamedTuple):
    good: Signer
    others: Signer
    reads: Signer
    trades: Signer
    withdraws: Signer
    revoked: Signer
    expired: Signer
    elsewhere: Signer

    @property
    def unknown(self) -> Signer:
        return Signer(UNKNOWN, self.good.sign)

    @property
    def forged(self) -> Signer:
        """A key of Ann's, with Bob's secret."""
        return Signer(self.good.api_key, self.others.sign)


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data") as found:
        yield found


@pytest.fixture
async def keys(venue: Venue) -> Keys:
    return await asyncio.to_thread(made_keys, venue)


def made_keys(venue: Venue) -> Keys:
    identities = venue.identities

    def made(account: int, *permissions: str, addresses: tuple[str, ...] = ("127.0.0.0/8",)) -> Made:
        return identities.keys.create(Wanted(account, permissions, addresses=addresses))

    every = (READ, TRADE, WITHDRAW)
    revoked, expired = made(ANN, *every), made(ANN, *every)
    identities.keys.revoke(revoked.api_key)
    identities.vault.change(KEYS, expired.api_key, "", lambda record: msgspec.structs.replace(record, expires_us=1))
    found = [made(ANN, *every), made(BOB, *every), made(ANN, READ), made(ANN, TRADE), made(ANN, WITHDRAW), revoked, expired]
    found.append(made(ANN, *every, addresses=("10.0.0.1",)))
    identities.ring.refresh()
    return Keys(*(by_hmac(*each) for each in found))


Asks = Callable[[Signer | None, bool], Awaitable[Answer]]
"""With a key or without; with its signature or without."""


class Route(NamedTuple):
    name: str
    security: str
    asks: Asks


def routes(venue: Venue) -> Iterator[Route]:
    """All that the exchange's own API serves, by both doors, from the tables that it is served from."""
    api = venue.embedded.api
    for path, methods in api.routes.items():
        for method, operation in methods.items():
            yield Route(f"{method} {path}", operation.security, by_rest(venue.public, method, path))
    for name, operation in api.methods.items():
        yield Route(name, operation.security, by_websocket(venue.websocket, name))


def by_rest(url: str, method: str, path: str) -> Asks:
    async def asks(signer: Signer | None, signs: bool) -> Answer:
        query = signer.query({}) if signer is not None and signs else f"timestamp={clock_ms()}"
        return await rest(url, method, path, query, signer.api_key if signer is not None else None)

    return asks


def by_websocket(url: str, name: str) -> Asks:
    async def asks(signer: Signer | None, signs: bool) -> Answer:
        frame: dict[str, Any]
        if signer is None:
            frame = {"id": 1, "method": name, "params": {"timestamp": str(clock_ms())}}
        else:
            frame = signer.frame(name, {})
            if not signs:
                del frame["params"]["signature"]
        return (await websocket(url, frame))[0]

    return asks


async def codes(asks: Asks, *signers: Signer | None) -> list[int]:
    return [(await asks(signer, True)).code for signer in signers]


async def test_what_is_not_public_is_answered_to_the_right_key_alone(venue: Venue, keys: Keys) -> None:
    asked = set()
    for route in routes(venue):
        asked.add(route.name)
        assert (route.security == NONE) == (route.name in PUBLIC), f"{route.name}: who may ask is to be said"
        if route.security == NONE:
            assert (await route.asks(None, False)).code not in REFUSALS
            continue
        assert await codes(route.asks, None) == [FORMAT], route.name
        assert (await route.asks(keys.good, False)).code == MISSING, route.name
        assert await codes(route.asks, keys.unknown, keys.forged, keys.revoked, keys.expired) == 4 * [SIGNATURE], route.name
        lesser = keys.trades if route.security == READ else keys.reads
        assert await codes(route.asks, keys.elsewhere, lesser, keys.withdraws) == 3 * [REJECTED], route.name
        assert (await route.asks(keys.good, True)).code not in REFUSALS, route.name
    tables = {f"{method} {path}" for path, methods in ROUTES.items() for method in methods} | set(METHODS)
    assert asked == tables, "all that is served"


async def test_programs_of_users_do_what_their_key_is_for_and_no_other(venue: Venue, keys: Keys) -> None:
    by_permission = {READ: keys.reads, TRADE: keys.trades, WITHDRAW: keys.withdraws}
    asked = 0
    for url, endpoint in endpoints(venue):
        if not isinstance(endpoint.access, OfKey):
            continue
        asked += 1
        asks = by_rest(url, endpoint.method, filled(endpoint.path))
        assert [(await asks(signer, False)).code for signer in (None, keys.good)] == 2 * [MISSING], endpoint.path
        assert await codes(asks, keys.unknown, keys.forged, keys.revoked, keys.expired) == 4 * [SIGNATURE], endpoint.path
        lesser = [signer for permission, signer in by_permission.items() if permission != endpoint.access.permission]
        assert await codes(asks, keys.elsewhere, *lesser) == 3 * [REJECTED], endpoint.path
        assert (await asks(by_permission[endpoint.access.permission], True)).code not in REFUSALS, endpoint.path
    assert asked == 4


async def test_programs_of_the_venue_do_one_work_each_and_users_keys_none(venue: Venue, keys: Keys) -> None:
    def made(permission: str, address: str) -> Signer:
        key = venue.identities.service_keys.create(Wanted(NOBODY, (permission,), addresses=(address,)))
        return by_hmac(*key)

    places = [(permission, address) for permission in (DEPOSIT, PAYOUT) for address in ("127.0.0.1", "10.0.0.1")]
    depositor, far_depositor, payer, far_payer = [await asyncio.to_thread(made, *place) for place in places]
    await asyncio.to_thread(venue.identities.service_ring.refresh)
    asked = 0
    for url, endpoint in endpoints(venue):
        if not isinstance(endpoint.access, OfService):
            continue
        asked += 1
        path = filled(endpoint.path)

        async def code(signer: Signer, url: str = url, method: str = endpoint.method, path: str = path) -> int:
            query = f"timestamp={clock_ms()}"
            payload = b"\n".join((f"{method} {path}".encode(), query.encode(), b""))
            return (await rest(url, method, path, f"{query}&signature={signer.sign(payload)}", signer.api_key)).code

        right, wrong = (depositor, payer) if endpoint.access.permission == DEPOSIT else (payer, depositor)
        far = far_depositor if right is depositor else far_payer
        assert [await code(signer) for signer in (wrong, far)] == 2 * [REJECTED], path
        forged = Signer(right.api_key, wrong.sign)
        assert [await code(signer) for signer in (keys.good, keys.unknown, forged)] == 3 * [SIGNATURE], path
        assert await code(right) not in REFUSALS, path
        assert (await rest(venue.public, endpoint.method, path, "", None)).status == 404, "clients do not come near"
    assert asked == 5


async def test_a_key_of_the_venues_programs_opens_no_users_door(venue: Venue) -> None:
    key = await asyncio.to_thread(venue.identities.service_keys.create, Wanted(NOBODY, (DEPOSIT,), addresses=("127.0.0.1",)))
    signer = by_hmac(*key)
    for route in routes(venue):
        if route.security:
            assert (await route.asks(signer, True)).code == SIGNATURE, route.name


async def test_nobody_reaches_another_ones_order_whatever_it_is_called(venue: Venue, keys: Keys) -> None:
    """With another one's order id or client id the answer is that of one that does not exist, and nothing happens to it."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "10"}
    placed = await rest(venue.public, "POST", "/api/v3/order", keys.good.query({**order, "newClientOrderId": "anns"}), keys.good.api_key)
    assert placed.status == 200, placed.body
    ids = ({"orderId": str(placed.body["orderId"])}, {"origClientOrderId": "anns"})
    gone = ({"orderId": "999999999"}, {"origClientOrderId": "nobodys"})
    more = {
        "cancel": {}, "order": {}, "amend": {"newQty": "0.5"},
    }  # fmt: skip
    for path, method, name in [(path, method, name) for path, methods in ROUTES.items() for method, name in methods.items()]:
        if name not in more:
            continue
        for mine, nobodys in zip(ids, gone, strict=True):
            answers = []
            for which in (mine, nobodys):
                query = keys.others.query({"symbol": "BTCUSDT", **which, **more[name]})
                answers.append(await rest(venue.public, method, path, query, keys.others.api_key))
            assert answers[0] == answers[1], (name, which)
            assert answers[0].status == 400, (name, which)
    for name in ("allOrders", "myTrades"):
        found = await rest(venue.public, "GET", f"/api/v3/{name}", keys.others.query({"symbol": "BTCUSDT"}), keys.others.api_key)
        assert found.body == [], name
    for method in ("GET", "DELETE"):
        await rest(venue.public, method, "/api/v3/openOrders", keys.others.query({"symbol": "BTCUSDT"}), keys.others.api_key)
    still = await rest(venue.public, "GET", "/api/v3/openOrders", keys.good.query({"symbol": "BTCUSDT"}), keys.good.api_key)
    assert [(each["clientOrderId"], each["origQty"]) for each in still.body] == [("anns", "1.00000000")]


async def test_nobody_reaches_what_is_anothers_by_the_console_whatever_it_is_called(tmp_path: Path) -> None:
    """Each of the users' endpoints that names something, with another user's: the answer is that of one that does not exist."""
    settings = WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)
    async with open_venue(tmp_path / "data", withdrawals=settings) as venue:
        ann, bob, other = await venue.user("ann", ANN), await venue.user("bob", BOB), venue.browser()
        await other.log_in("ann")
        await with_address(ann)
        order, key = (await asks(ann, "1")).json(), (await ann.send("POST", "/keys", {"password": PASSWORD})).json()["key"]
        (address,) = (await ann.send("GET", "/addresses")).json()["addresses"]
        session = next(each["id"] for each in (await ann.send("GET", "/sessions")).json()["sessions"] if not each["this"])
        anns = {
            "/sessions/{id}": session, "/keys/{key}": key, "/addresses/{name}": address["name"],
            "/withdrawals/{holder:number}/{id:number}": at(order),
        }  # fmt: skip
        nobodys = {path: "7" if "number" not in path else f"{BOB}/7" for path in anns}
        asked = set()
        for url, endpoint in endpoints(venue):
            if url != venue.public or "{" not in endpoint.path:
                continue
            path = endpoint.path.removeprefix("/account/v1")
            asked.add(path)
            begin = path[: path.index("{")]
            answers = [await bob.send(endpoint.method, begin + which[path]) for which in (anns, nobodys)]
            assert answers[0].status_code == 404, path
            assert "number" in path or answers[0].json() == answers[1].json(), path
        assert asked == set(anns), "all endpoints that name something"
        assert (await other.send("GET", "/session")).status_code == 200
        assert [each["key"] for each in (await ann.send("GET", "/keys")).json()["keys"] if each["revoked_ms"] is None] == [key]
        assert [each["state"] for each in (await ann.send("GET", "/withdrawals")).json()["withdrawals"]] == ["pending"]
        assert len((await ann.send("GET", "/addresses")).json()["addresses"]) == 1


async def test_no_method_reaches_another_ones_order_either(venue: Venue, keys: Keys) -> None:
    """Every method of the WebSocket API that names an order, or a place to go on from."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "10"}
    (placed,) = await websocket(venue.websocket, keys.good.frame("order.place", {**order, "newClientOrderId": "anns"}))
    assert placed.status == 200, placed.body
    number = str(placed.body["result"]["orderId"])
    named = {
        name for name, operation in venue.embedded.api.methods.items() if operation.accepted & {"orderId", "origClientOrderId", "fromId"}
    }
    assert named == {"order.cancel", "order.status", "order.amend.keepPriority", "allOrders", "myTrades"}
    for name in sorted(named):
        more = {"newQty": "0.5"} if "amend" in name else {}
        pairs = [({"orderId": number}, {"orderId": "999999999"})]
        if "origClientOrderId" in venue.embedded.api.methods[name].accepted:
            pairs.append(({"origClientOrderId": "anns"}, {"origClientOrderId": "nobodys"}))
        for mine, nobodys in pairs:
            frames = [keys.others.frame(name, {"symbol": "BTCUSDT", **which, **more}) for which in (mine, nobodys)]
            hers, none = [(answer.status, answer.code, answer.body.get("result")) for answer in await websocket(venue.websocket, *frames)]
            assert hers == none, (name, mine)
            assert hers[0] == 400 or hers[2] == [], (name, mine)
    (still,) = await websocket(venue.websocket, keys.good.frame("openOrders.status", {}))
    assert [(each["clientOrderId"], each["origQty"]) for each in still.body["result"]] == [("anns", "1.00000000")]


async def test_an_account_is_the_keys_or_the_sessions_and_nobody_names_another(tmp_path: Path) -> None:
    """By no parameter and no header; a holder of another's is none to whoever asks, also to the venue's own programs."""
    settings = WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)
    async with open_venue(tmp_path / "data", withdrawals=settings) as venue:
        ann, bob = await venue.user("ann", ANN), await venue.user("bob", BOB)
        await with_address(ann)
        order = (await asks(ann, "1")).json()
        keys = await asyncio.to_thread(made_keys, venue)
        for name in ("account", "accountId", "account_id", "user", "holder", "uid", "email", "subAccount"):
            query = keys.others.query({name: str(ANN)})
            for path in ("/api/v3/account", "/api/v3/openOrders", "/sapi/v1/capital/withdraw/history"):
                said = await rest(venue.public, "GET", path, query, keys.others.api_key)
                assert said.code in (-1104, -1100), (name, path, said.body)
            assert (
                await bob.send("POST", "/wallet-transfers", {"asset": "BTC", "amount": "1", "to": "funding", name: ANN})
            ).status_code == 400
            found = await bob.send("GET", f"/balances?{name}={ANN}", None, **{"x-account": str(ANN), f"x-{name}": str(ANN)})
            assert found.status_code == 400, name
        payer = await Program.of(venue, venue.admin, 0, PAYOUT)
        treasurer = await venue.operator("tom", "treasury")
        for holder, number in ((BOB, order["id"]), (ANN, order["id"] + 1), (ANN | 1 << 40, order["id"]), (0, order["id"])):
            for step, body in (("send", b""), ("settle", b'{"reference":"r"}'), ("return", b'{"reason":"r"}')):
                said_to = await payer.own("POST", f"/admin/v1/payouts/{holder}/{number}/{step}", body)
                assert said_to.status_code in (400, 404), (holder, number, step)
            for step, form in (("approve", {"what": "x"}), ("refuse", {})):
                assert (await treasurer.send("POST", f"/withdrawals/{holder}/{number}/{step}", form)).status_code in (400, 404)
        assert [each["state"] for each in (await ann.send("GET", "/withdrawals")).json()["withdrawals"]] == ["pending"]
        assert (free(venue, ANN), free(venue, BOB)) == (START - BTC, START)


async def test_who_is_believed_to_be_where_is_not_what_a_client_says(venue: Venue, keys: Keys) -> None:
    """A key that is good from another address is good from there alone, whatever a header says, at each door."""
    headers = {"X-MBX-APIKEY": keys.elsewhere.api_key, "X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
    async with httpx.AsyncClient(base_url=venue.public, timeout=60, headers=headers) as http:
        for path in ("/api/v3/account", "/sapi/v1/capital/withdraw/history"):
            said = await http.get(f"{path}?{keys.elsewhere.query({})}")
            assert said.json()["code"] == REJECTED, path


OPERATIONS: Final = ("/healthz", "/readyz", "/metrics")
"""What whoever reaches that listener may see, and nobody is to reach it but monitoring."""


def test_the_operations_listener_has_its_pages_and_nothing_that_changes_anything(plain: Target) -> None:
    (nowhere,) = plain.answers(get(b"/nowhere"), "operations")
    assert tuple(json.loads(nowhere.body)["pages"]) == OPERATIONS
    before = {page: plain.answers(get(page.encode()), "operations")[0] for page in ("/healthz", "/readyz")}
    for path in [*OPERATIONS, *ROUTES, "/admin/v1/session", "/account/v1/session", "/admin/v1/market/block"]:
        for method in (b"POST", b"PUT", b"DELETE", b"PATCH"):
            (answer,) = plain.answers(method + get(path.encode(), b"Cookie: zerosum-operator=x")[3:], "operations")
            assert answer.status in (200, 405) if path in OPERATIONS else answer.status == 404, (method, path)
    after = {page: plain.answers(get(page.encode()), "operations")[0] for page in ("/healthz", "/readyz")}
    assert [(each.status, each.body) for each in after.values()] == [(each.status, each.body) for each in before.values()]
