"""
A signed request in other hands: sent again, sent to somewhere else, cut in another place, its signature written in another way. What is
refused, and what is not: a user's request names neither method nor path (as at Binance), and counts as often as it comes within its window.
So whoever could read it, where TLS is not spoken, could do this much with it and no more.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.security.test_tampering import KINDS, ORDER, made, other_signature
from tests.support.money import ADDRESS, BTC, RULES, START, Program, free, with_address
from tests.support.signing import Answer, Signer, by_hmac, by_private_key, clock_ms, pem_of, private_keys, rest, websocket
from tests.support.venue import ANN, Venue, endpoints, open_venue
from zerosum.console.access import OfKey
from zerosum.console.doors import WithdrawalSettings
from zerosum.gateway.api import ROUTES
from zerosum.identity.keys import DEPOSIT, NOBODY, PAYOUT, READ, TRADE, WITHDRAW, Wanted

SIGNATURE, TIME, ILLEGAL = -1022, -1021, -1100
WITHDRAWAL: Final = {"coin": "BTC", "network": "BITCOIN", "address": ADDRESS, "amount": "0.1"}
PARAMS: Final[dict[str, dict[str, str]]] = {
    "place": ORDER,
    "test": ORDER,
    "order": {"symbol": "BTCUSDT", "origClientOrderId": "mine"},
    "cancel": {"symbol": "BTCUSDT", "origClientOrderId": "mine"},
    "amend": {"symbol": "BTCUSDT", "origClientOrderId": "mine", "newQty": "0.5"},
    "openOrders": {"symbol": "BTCUSDT"},
    "cancelAll": {"symbol": "BTCUSDT"},
    "allOrders": {"symbol": "BTCUSDT"},
    "userTrades": {"symbol": "BTCUSDT"},
    "account": {},
    "POST /sapi/v1/capital/withdraw/apply": WITHDRAWAL,
    "GET /sapi/v1/capital/withdraw/history": {"coin": "BTC"},
    "POST /sapi/v1/asset/transfer": {"type": "MAIN_FUNDING", "asset": "BTC", "amount": "1"},
    "POST /sapi/v1/asset/get-funding-asset": {"asset": "BTC"},
}
"""A good request of each operation that is signed."""
CHANGING: Final = ("place", "cancel", "cancelAll", "amend", "POST /sapi/v1/capital/withdraw/apply", "POST /sapi/v1/asset/transfer")
TAKEN_FOR_ANOTHER: Final = {
    ("test", "place"), ("order", "cancel"),
    ("openOrders", "cancelAll"), ("allOrders", "cancelAll"), ("userTrades", "cancelAll"),
}  # fmt: skip
"""What a request for the first is good for besides, with a key that may do the second: their parameters are the same."""


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data", withdrawals=WithdrawalSettings(RULES, cool_down_s=0.0, second_factor=False)) as found:
        yield found


async def key_of(venue: Venue, *permissions: str) -> Signer:
    wanted = Wanted(ANN, permissions, addresses=("127.0.0.1",))
    key = await asyncio.to_thread(venue.identities.keys.create, wanted)
    await asyncio.to_thread(venue.identities.ring.refresh)
    return by_hmac(*key)


def signed_routes(venue: Venue) -> dict[str, tuple[str, str]]:
    """Method and path, by operation: those of the exchange's own API, and those of the console that are signed by the same rule."""
    api = venue.embedded.api
    found = {
        name: (method, path)
        for path, methods in ROUTES.items() for method, name in methods.items() if api.routes[path][method].security
    }  # fmt: skip
    return found | {
        f"{each.method} {each.path}": (each.method, each.path) for _, each in endpoints(venue) if isinstance(each.access, OfKey)
    }


# ---------------------------------------------------------------------- sent to somewhere else


async def test_a_request_for_one_thing_is_good_for_another_where_its_parameters_are_and_nowhere_else(venue: Venue) -> None:
    """Every signed operation against every one that changes something; with a key that only reads, none."""
    await with_address(await venue.user("ann", ANN))
    routes = signed_routes(venue)
    assert set(routes) == set(PARAMS), "all that are signed"
    may, reads = await key_of(venue, READ, TRADE, WITHDRAW), await key_of(venue, READ)
    found = set()
    for to in CHANGING:
        method, path = routes[to]
        for of in [each for each in PARAMS if each != to]:
            await rest(venue.public, "POST", "/api/v3/order", may.query(ORDER), may.api_key)
            answer = await rest(
                venue.public, method, path, may.query(PARAMS[of] | ({"newClientOrderId": "new"} if of == "test" else {})), may.api_key
            )
            if answer.status == 200:
                found.add((of, to))
            assert (await rest(venue.public, method, path, reads.query(PARAMS[of]), reads.api_key)).status != 200, (of, to)
    assert found == TAKEN_FOR_ANOTHER


# ---------------------------------------------------------------------- sent again


async def twice(venue: Venue, signer: Signer, path: str, params: dict[str, str]) -> list[Answer]:
    query = signer.query(params)
    return [await rest(venue.public, "POST", path, query, signer.api_key) for _ in range(2)]


async def test_an_order_that_is_sent_again_once_it_has_ended_is_a_new_one(venue: Venue) -> None:
    """A client's own id stands once among open orders; while it does, the order is refused (test_tampering.py)."""
    signer = await key_of(venue, READ, TRADE)
    first = signer.query({**ORDER, "timeInForce": "IOC"})
    answers = [await rest(venue.public, "POST", "/api/v3/order", first, signer.api_key) for _ in range(2)]
    assert [(answer.status, answer.body["status"]) for answer in answers] == 2 * [(200, "EXPIRED")]
    assert answers[0].body["orderId"] != answers[1].body["orderId"]
    nameless = {name: value for name, value in ORDER.items() if name != "newClientOrderId"}
    answers = await twice(venue, signer, "/api/v3/order", nameless)
    assert answers[0].body["orderId"] != answers[1].body["orderId"], "and one without a name counts each time"


async def test_a_withdrawal_that_has_a_name_is_made_once_and_one_without_each_time(venue: Venue) -> None:
    """To an address of the account's own book, and within the limit of the day: as much as its owner may."""
    await with_address(await venue.user("ann", ANN))
    signer, path = await key_of(venue, READ, WITHDRAW), "/sapi/v1/capital/withdraw/apply"
    named = await twice(venue, signer, path, {**WITHDRAWAL, "withdrawOrderId": "rent"})
    assert named[0].body == named[1].body
    assert free(venue, ANN) == START - BTC // 10
    nameless = await twice(venue, signer, path, WITHDRAWAL)
    assert nameless[0].body != nameless[1].body
    assert free(venue, ANN) == START - 3 * BTC // 10
    large = await twice(venue, signer, path, {**WITHDRAWAL, "amount": "6"})
    assert [answer.status for answer in large] == [200, 400], "10 a day"
    assert free(venue, ANN) == START - 63 * BTC // 10


async def test_a_transfer_between_wallets_counts_each_time_and_stays_the_accounts(venue: Venue) -> None:
    signer = await key_of(venue, READ, TRADE)
    answers = await twice(venue, signer, "/sapi/v1/asset/transfer", {"type": "MAIN_FUNDING", "asset": "BTC", "amount": "1"})
    assert [answer.status for answer in answers] == [200, 200]
    assert free(venue, ANN) == START - 2 * BTC


async def test_what_a_program_of_the_venue_sent_again_changes_nothing_more(venue: Venue) -> None:
    """Taking a payout, and saying how it ended."""
    user = await venue.user("ann", ANN)
    await with_address(user)
    bot = await key_of(venue, READ, WITHDRAW)
    asked_for = await rest(venue.public, "POST", "/sapi/v1/capital/withdraw/apply", bot.query(WITHDRAWAL), bot.api_key)
    payer = await Program.of(venue, venue.admin, 0, PAYOUT)
    at = f"/admin/v1/payouts/{ANN}/{asked_for.body['id']}"
    assert [(await payer.own("POST", f"{at}/send")).status_code for _ in range(2)] == [200, 400]
    settled = [await payer.own("POST", f"{at}/settle", b'{"reference":"txid:7"}') for _ in range(2)]
    assert [each.status_code for each in settled] == [200, 200]
    assert (await payer.own("POST", f"{at}/settle", b'{"reference":"txid:8"}')).status_code == 400
    assert free(venue, ANN) == START - BTC // 10


# ---------------------------------------------------------------------- cut in another place


async def test_where_the_query_ends_and_the_body_begins_makes_no_other_order(venue: Venue) -> None:
    """The two are signed one behind the other, without anything between them: each place to cut is tried."""
    signer = await key_of(venue, READ, TRADE)
    nameless = {name: value for name, value in ORDER.items() if name != "newClientOrderId"} | {"quantity": "12", "price": "34"}
    text = urlencode({**nameless, "timestamp": clock_ms(), "recvWindow": "60000"})
    signature = signer.sign(text.encode())
    taken = 0
    for at in range(1, len(text)):
        query, body = text[:at], f"{text[at:]}&signature={signature}"
        said = await rest(venue.public, "POST", "/api/v3/order", query, signer.api_key, body.encode())
        if said.status != 200:
            assert said.code < 0, (query, said)
            continue
        taken += 1
        assert {name: said.body[name] for name in ("side", "price", "origQty")} == {
            "side": "BUY", "price": "34.00000000", "origQty": "12.00000000",
        }, query  # fmt: skip
        cancel = signer.query({"symbol": "BTCUSDT", "orderId": str(said.body["orderId"])})
        assert (await rest(venue.public, "DELETE", "/api/v3/order", cancel, signer.api_key)).status == 200
    assert taken == 2 * text.count("&"), "before and behind each of them"


async def test_two_parameters_that_run_together_are_not_one(venue: Venue) -> None:
    """What a frame signs is the same whether a value ends before an ampersand or goes on behind it."""
    signer = await key_of(venue, READ, TRADE)
    frame = signer.frame("order.place", ORDER)
    params = {name: value for name, value in sorted(frame["params"].items()) if name != "signature"}
    names, frames = list(params), []
    for one, other in pairwise(names):
        merged: dict[str, Any] = {name: value for name, value in params.items() if name != other}
        merged[one] = f"{params[one]}&{other}={params[other]}"
        frames.append({**frame, "params": {**merged, "signature": frame["params"]["signature"]}})
    answers = await websocket(venue.websocket, *frames, frame)
    assert all(answer.code < 0 for answer in answers[:-1])
    assert answers[-1].status == 200


# ---------------------------------------------------------------------- signatures that are written in other ways


ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


def other_ways(kind: str, signature: str) -> dict[str, str]:
    """To write the same signature, or what passes for it where one is careless."""
    if kind == "HMAC":
        return {"base64": base64.b64encode(bytes.fromhex(signature)).decode(), "shorter": signature[:62], "nothing": "0" * 64}
    raw = base64.b64decode(signature)
    alphabet = f"{ascii_uppercase}{ascii_lowercase}{digits}+/"
    unpadded, padding = signature.rstrip("="), signature.count("=")
    found = {"hexadecimal": raw.hex(), "without its padding": unpadded, "nothing": base64.b64encode(bytes(len(raw))).decode()}
    if padding:
        found["with bits behind the last byte"] = unpadded[:-1] + alphabet[alphabet.index(unpadded[-1]) + 1] + "=" * padding
    if kind == "ED25519":
        scalar = int.from_bytes(raw[32:], "little") + ED25519_ORDER
        found["by another scalar"] = base64.b64encode(raw[:32] + scalar.to_bytes(32, "little")).decode()
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_signature_is_written_in_one_way(venue: Venue, kind: str) -> None:
    """But for HMAC's digits, of which both cases are taken."""
    signer = await asyncio.to_thread(made, venue, ANN, kind)
    text = urlencode({**ORDER, "timestamp": clock_ms()})
    signature = signer.sign(text.encode())
    for way, written in other_ways(kind, signature).items():
        said = await rest(venue.public, "POST", "/api/v3/order", f"{text}&signature={quote(written, safe='')}", signer.api_key)
        assert said.code in (SIGNATURE, ILLEGAL), (way, said.body)
    written = signature.upper() if kind == "HMAC" else signature
    said = await rest(venue.public, "POST", "/api/v3/order", f"{text}&signature={quote(written, safe='')}", signer.api_key)
    assert said.status == 200, said.body


# ---------------------------------------------------------------------- the venue's programs, who sign method and path too


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_of_what_a_program_of_the_venue_signs_can_be_changed(venue: Venue, kind: str) -> None:
    keys, key = venue.identities.service_keys, private_keys().get(kind)
    wanted = Wanted(NOBODY, (DEPOSIT,), pem_of(key) if key is not None else None, ("127.0.0.1",))
    found = await asyncio.to_thread(keys.create, wanted)
    other = await asyncio.to_thread(keys.create, wanted._replace(public_key=None))
    await asyncio.to_thread(venue.identities.service_ring.refresh)
    signer = by_hmac(*found) if key is None else by_private_key(found.api_key, key)
    path, body = "/admin/v1/deposits", b'{"account":1001,"asset":"BTC","amount":"1","reference":"r"}'
    query = signer.own("POST", path, body)
    text, _, signature = query.rpartition("&signature=")
    head = {"x-mbx-apikey": found.api_key, "content-type": "application/json"}

    async def code(method: str = "POST", to: str = path, query: str = query, body: bytes = body, headers: dict[str, str] = head) -> int:
        async with httpx.AsyncClient(timeout=60, verify=False) as http:  # noqa: S501  there is no TLS here
            said = await http.request(method, f"{venue.admin}{to}?{query}", content=body, headers=headers)
        return int(said.json().get("code", 0))

    before = free(venue, ANN)
    assert await code(to="/admin/v1/%64eposits") == SIGNATURE, "a path counts as it was written"
    assert await code(to="/admin/v1/payouts", method="GET") == SIGNATURE
    assert await code(to=f"/admin/v1/payouts/{ANN}/7/send") == SIGNATURE
    for host in ("elsewhere", "h/admin/v1/deposits?", "h/admin/v1/deposits#", "h@/admin/v1/deposits"):
        assert await code(to=f"/admin/v1/payouts/{ANN}/7/send", headers=head | {"host": host}) in (SIGNATURE, ILLEGAL), host
    for part, becomes in (
        (b"1001", b"1002"),
        (b"BTC", b"USDT"),
        (b'"1"', b'"9"'),
        (b'"r"', b'"s"'),
        (b"}", b',"wallet":"funding"}'),
        (b"{", b" {"),
    ):
        assert await code(body=body.replace(part, becomes)) == SIGNATURE, part
    for changed in (
        f"timestamp={clock_ms() + 1}",
        f"{text}&recvWindow=60000",
        f"recvWindow=60000&{text}",
        f"{text}&",
        text.replace("t", "%74", 1),
    ):
        assert await code(query=f"{changed}&signature={signature}") in (SIGNATURE, ILLEGAL), changed
    for changed in (other_signature(signature) if kind == "HMAC" else "A" * 86 + "==", signature[:-6] + "AAAAAA", "0" * 64):
        assert await code(query=f"{text}&signature={changed}") in (SIGNATURE, ILLEGAL), changed
    assert await code(headers=head | {"x-mbx-apikey": other.api_key}) == SIGNATURE
    late = signer.own("POST", path, body, now_ms=clock_ms() - 6_000)
    assert await code(query=late) == TIME
    assert free(venue, ANN) == before
    assert await code() == 0
    assert free(venue, ANN) == before + BTC
