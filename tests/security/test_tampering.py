"""What is signed counts as it was signed: each part of a request changed in turn, by each kind of key, at each door; and sent again."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import httpx
import pytest

from tests.support.signing import Signer, by_hmac, by_private_key, clock_ms, pem_of, private_keys, rest, websocket
from tests.support.venue import ANN, BOB, Venue, open_venue
from zerosum.identity.keys import DEPOSIT, NOBODY, READ, TRADE, Wanted

KINDS: Final = ("HMAC", "ED25519", "RSA")
ORDER: Final = {
    "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "10", "newClientOrderId": "mine",
}  # fmt: skip
CHANGES: Final = {
    "symbol": "BTCUSDC", "side": "SELL", "type": "LIMIT_MAKER", "timeInForce": "IOC", "quantity": "2", "price": "11",
    "newClientOrderId": "yours", "recvWindow": "60000",
}  # fmt: skip
WINDOW: Final = {"recvWindow": "5000"}
SIGNATURE, TIME, ILLEGAL = -1022, -1021, -1100


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data") as found:
        yield found


@pytest.fixture(params=KINDS)
async def signer(venue: Venue, request: pytest.FixtureRequest) -> Signer:
    return await asyncio.to_thread(made, venue, ANN, request.param)


def made(venue: Venue, account: int, kind: str) -> Signer:
    key = private_keys().get(kind)
    found = venue.identities.create_key(Wanted(account, (READ, TRADE), public_key=pem_of(key) if key is not None else None))
    return by_hmac(*found) if key is None else by_private_key(found.api_key, key)


def tampered(query: str) -> dict[str, str]:
    """By what was done to it."""
    pairs = parse_qsl(query)
    signature = pairs[-1][1]
    found = {
        f"{name} changed": "&".join([urlencode([(n, CHANGES.get(n, "1") if n == name else v)]) for n, v in pairs]) for name, _ in pairs[:-1]
    }
    found |= {f"{name} left out": urlencode([pair for pair in pairs if pair[0] != name]) for name, _ in pairs[:-1] if name != "timestamp"}
    found |= {
        "one added": f"newOrderRespType=ACK&{query}",
        "one added at the end": f"{query}&newOrderRespType=ACK",
        "turned round": urlencode([*pairs[1:-1], pairs[0], pairs[-1]]),
        "written otherwise": query.replace("BTCUSDT", "%42TCUSDT"),
        "no signature to speak of": urlencode([*pairs[:-1], ("signature", "0")]),
        "a shorter signature": urlencode([*pairs[:-1], ("signature", signature[:-2])]),
        "a longer signature": urlencode([*pairs[:-1], ("signature", f"{signature}00")]),
        "every bit of the signature turned": urlencode([*pairs[:-1], ("signature", other_signature(signature))]),
    }  # fmt: skip
    return found


def other_signature(signature: str) -> str:
    if len(signature) == 64:  # hexadecimal
        return "".join("0123456789abcdef"[15 - int(digit, 16)] for digit in signature)
    return base64.b64encode(bytes(byte ^ 0xFF for byte in base64.b64decode(signature))).decode()


def open_orders(venue: Venue) -> int:
    account = venue.embedded.views.account(ANN)
    assert account is not None
    return len(account.open_orders)


async def test_a_query_counts_as_it_was_signed(venue: Venue, signer: Signer) -> None:
    query = signer.query({**ORDER, **WINDOW})
    changed = tampered(query)
    assert len(changed) == 9 + 8 + 8
    for what, text in changed.items():
        said = await rest(venue.public, "POST", "/api/v3/order", text, signer.api_key)
        assert said.code in ((SIGNATURE, ILLEGAL) if "signature" in what else (SIGNATURE,)), (what, said.body)
    assert open_orders(venue) == 0
    assert (await rest(venue.public, "POST", "/api/v3/order", query, signer.api_key)).status == 200, "as it was signed it is good"


async def test_a_body_counts_as_it_was_signed(venue: Venue, signer: Signer) -> None:
    body = signer.query({**ORDER, **WINDOW})
    for what, text in tampered(body).items():
        said = await rest(venue.public, "POST", "/api/v3/order", "", signer.api_key, text.encode())
        assert said.code in ((SIGNATURE, ILLEGAL) if "signature" in what else (SIGNATURE,)), (what, said.body)
    assert (await rest(venue.public, "POST", "/api/v3/order", "price=11", signer.api_key, body.encode())).code == SIGNATURE
    assert (await rest(venue.public, "POST", "/api/v3/order", "", signer.api_key, body.encode())).status == 200


async def test_what_stands_in_query_and_body_counts_where_it_was_signed(venue: Venue, signer: Signer) -> None:
    head, tail = (
        urlencode({"symbol": "BTCUSDT", "side": "BUY"}),
        urlencode({**{k: v for k, v in ORDER.items() if k not in ("symbol", "side")}}),
    )
    body = f"{tail}&timestamp={clock_ms()}"
    signature = quote(signer.sign((head + body).encode()), safe="")
    changed = (
        (f"{head}&type=LIMIT", body.removeprefix("type=LIMIT&")),
        (head.replace("BUY", "SELL"), body),
        (head, body.replace("=10", "=11")),
        ("", f"{head}&{body}"),
    )
    for query, sent in changed:
        said = await rest(venue.public, "POST", "/api/v3/order", query, signer.api_key, f"{sent}&signature={signature}".encode())
        assert said.code == SIGNATURE, (query, sent)
    said = await rest(venue.public, "POST", "/api/v3/order", head, signer.api_key, f"{body}&signature={signature}".encode())
    assert said.status == 200, said.body


async def test_a_frame_counts_as_it_was_signed(venue: Venue, signer: Signer) -> None:
    good = signer.frame("order.place", {**ORDER, **WINDOW})
    frames: dict[str, dict[str, Any]] = {}
    for name in good["params"]:
        if name not in ("signature", "apiKey"):
            changed = copy.deepcopy(good)
            changed["params"][name] = CHANGES.get(name, "1")
            frames[f"{name} changed"] = changed
            if name != "timestamp":
                frames[f"{name} left out"] = {**good, "params": {each: value for each, value in good["params"].items() if each != name}}
    frames["one added"] = {**good, "params": {**good["params"], "newOrderRespType": "ACK"}}
    frames["another signature"] = {**good, "params": {**good["params"], "signature": other_signature(good["params"]["signature"])}}
    answers = await websocket(venue.websocket, *frames.values(), good)
    assert {what: answer.code for what, answer in zip(frames, answers, strict=False)} == dict.fromkeys(frames, SIGNATURE)
    assert answers[-1].status == 200
    assert open_orders(venue) == 1


async def test_another_ones_key_does_not_go_with_it(venue: Venue, signer: Signer) -> None:
    other = await asyncio.to_thread(made, venue, BOB, "HMAC")
    assert (await rest(venue.public, "POST", "/api/v3/order", signer.query(ORDER), other.api_key)).code == SIGNATURE
    frame = signer.frame("order.place", ORDER)
    frame["params"]["apiKey"] = other.api_key
    assert (await websocket(venue.websocket, frame))[0].code == SIGNATURE


async def test_a_request_is_good_for_its_window_alone(venue: Venue, signer: Signer) -> None:
    for ago_ms, window, code in (
        (6_000, {}, TIME),
        (3_000, {"recvWindow": "2000"}, TIME),
        (61_000, {"recvWindow": "60000"}, TIME),
        (-5_000, {}, TIME),
    ):
        query = signer.query({**ORDER, **window}, now_ms=clock_ms() - ago_ms)
        assert (await rest(venue.public, "POST", "/api/v3/order", query, signer.api_key)).code == code, (ago_ms, window)
        frame = signer.frame("order.place", {**ORDER, **window}, now_ms=clock_ms() - ago_ms)
        assert (await websocket(venue.websocket, frame))[0].code == code
    query = signer.query({**ORDER, "recvWindow": "60001"})
    assert (await rest(venue.public, "POST", "/api/v3/order", query, signer.api_key)).code == -1131
    assert open_orders(venue) == 0


async def test_what_is_sent_again_within_it_does_nothing_more_while_its_order_is_open(venue: Venue, signer: Signer) -> None:
    query = signer.query(ORDER)
    first = await rest(venue.public, "POST", "/api/v3/order", query, signer.api_key)
    again = await rest(venue.public, "POST", "/api/v3/order", query, signer.api_key)
    assert (first.status, again.code, again.body["msg"]) == (200, -2010, "Duplicate order sent.")
    cancel = signer.query({"symbol": "BTCUSDT", "origClientOrderId": "mine"})
    assert (await rest(venue.public, "DELETE", "/api/v3/order", cancel, signer.api_key)).status == 200
    assert (await rest(venue.public, "DELETE", "/api/v3/order", cancel, signer.api_key)).code == -2011


async def test_the_venues_programs_sign_method_path_query_and_body(venue: Venue) -> None:
    key = await asyncio.to_thread(venue.identities.service_keys.create, Wanted(NOBODY, (DEPOSIT,), addresses=("127.0.0.1",)))
    await asyncio.to_thread(venue.identities.service_ring.refresh)
    signer, path = by_hmac(*key), "/admin/v1/deposits"
    body = b'{"account":1001,"asset":"BTC","amount":"1","reference":"r"}'

    async def code(*, method: str = "POST", sent_path: str = path, sent: bytes = body, ago_ms: int = 0, more: str = "") -> int:
        query = f"timestamp={clock_ms() - ago_ms}"
        signature = signer.sign(b"\n".join((f"POST {path}".encode(), query.encode(), body)))
        headers = {"X-MBX-APIKEY": signer.api_key, "content-type": "application/json"}
        async with httpx.AsyncClient(timeout=60) as http:
            url = f"{venue.admin}{sent_path}?{query}{more}&signature={signature}"
            said = await http.request(method, url, content=sent, headers=headers)
        return int(said.json().get("code", 0))

    assert await code(sent=body.replace(b'"1"', b'"2"')) == SIGNATURE
    assert await code(sent=body.replace(b"1001", b"1002")) == SIGNATURE
    assert await code(sent=body + b" ") == SIGNATURE
    assert await code(more="&recvWindow=60000") == SIGNATURE
    assert await code(ago_ms=6_000) == TIME
    for other in ("/admin/v1/payouts", "/admin/v1/payouts/1001/7/settle"):
        assert await code(method="GET" if other.endswith("payouts") else "POST", sent_path=other) in (SIGNATURE, -2015), other
    account = venue.embedded.views.account(ANN)
    assert account is not None
    before = account.balances[0]
    assert [await code(), await code()] == [0, 0]
    assert account.balances[0][0] == before[0] + 10**8, "sent again it is credited once"
