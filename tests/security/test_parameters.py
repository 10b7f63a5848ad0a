"""
Attacked: what a request says: parameters given twice, text that looks like other text, bodies that unpack to much, paths that lead
elsewhere.

Must hold: each is refused with an error of the API, or taken as exactly what it says; none becomes an order that was not meant, an answer
with headers of the attacker's, or a file.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import time
import zlib
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

from tests.security.conftest import Trader
from tests.security.support import Answer, Target, WebSocket, get, query
from tests.unit.transport.support import frame

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001", "price": "100.00"}


def signed(trader: Trader, said: bytes, *, method: bytes = b"POST", path: bytes = b"/api/v3/order", body: bytes = b"") -> Answer:
    """What is answered to `said` as it is, signed by somebody who may."""
    said += b"&timestamp=%d" % (time.time_ns() // 1_000_000)
    signature = hmac.new(trader.key["secret"].encode(), said + body, hashlib.sha256).hexdigest().encode()
    head = b"%s %s?%s&signature=%s HTTP/1.1\r\nHost: h\r\nX-MBX-APIKEY: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (
        method, path, said, signature, trader.key["api_key"].encode(), len(body),
    )  # fmt: skip
    (answer,) = trader.target.answers(head + body)
    return answer


def open_orders(trader: Trader) -> list[dict[str, Any]]:
    answer = signed(trader, b"symbol=BTCUSDT", method=b"GET", path=b"/api/v3/openOrders")
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = json.loads(answer.body)
    return found


def is_refused(answer: Answer) -> None:
    assert 400 <= answer.status < 500, answer
    assert json.loads(answer.body)["code"] < 0


def test_what_is_meant_is_done(trader: Trader) -> None:
    """Or the tests below would prove nothing."""
    before = len(open_orders(trader))
    assert signed(trader, query(**ORDER)).status == 200
    assert len(open_orders(trader)) == before + 1


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("where", ["query", "body"])
def test_a_parameter_given_twice_is_refused(plain: Target, trader: Trader, name: str, where: str) -> None:
    """Else the one that somebody has checked may be the one that does not count."""
    before, twice = open_orders(trader), query(**ORDER) + b"&" + query(**{name: ORDER[name]})
    is_refused(signed(trader, twice) if where == "query" else signed(trader, b"", body=twice))
    assert open_orders(trader) == before


def test_of_a_parameter_in_query_and_body_that_of_the_query_counts(plain: Target, trader: Trader) -> None:
    """As the API says; what is signed is both, one behind the other."""
    answer = signed(trader, query(**ORDER), body=query(price="200.00", quantity="0.002"))
    assert answer.status == 200, answer
    placed = json.loads(answer.body)
    assert (Decimal(placed["price"]), Decimal(placed["origQty"])) == (Decimal(ORDER["price"]), Decimal(ORDER["quantity"]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol", "BTCUSDT%00"),
        ("symbol", "%00BTCUSDT"),
        ("symbol", "BTCUSDT%0d%0aX-Injected:%20yes"),
        ("symbol", "%C0%A2TCUSDT"),  # overlong
        ("symbol", "%ED%A0%80"),  # half of a surrogate pair
        ("symbol", "%FF"),
        ("symbol", quote("\u202eTDSUCTB")),  # right to left
        ("symbol", quote("\u0412TCUSDT")),  # a Cyrillic letter that looks like a B
        ("symbol", quote("\uff22TCUSDT")),
        ("symbol", quote("BTCUSDT\u200b")),
        ("symbol", "btcusdt%20"),
        ("symbol", "BTCUSDT%"),
        ("symbol", "BTCUSDT%u0041"),
        ("side", "BUY%00"),
        ("side", "B%55Y%20"),
        ("quantity", quote("\uff11")),
        ("quantity", quote("\u0661")),
        ("quantity", "1e-3"),
        ("quantity", "0x1"),
        ("quantity", "1_0"),
        ("quantity", "%2B1"),
        ("quantity", "+1"),
        ("quantity", "-1"),
        ("quantity", "NaN"),
        ("quantity", "Infinity"),
        ("quantity", "1%2C0"),
        ("quantity", "1" * 5_000),
        ("quantity", "0." + "0" * 5_000 + "1"),
        ("price", "100.00%00"),
        ("price", "100.00;"),
        ("newClientOrderId", "%0d%0a"),
        ("newClientOrderId", quote("\u202e")),
        ("newClientOrderId", "x" * 5_000),
        ("newClientOrderId", "%3Cscript%3E"),
        ("timeInForce", "gtc%0a"),
    ],
)
def test_text_that_only_looks_like_what_is_allowed_is_refused(plain: Target, trader: Trader, name: str, value: str) -> None:
    before = open_orders(trader)
    said = "&".join(f"{each}={value if each == name else quote(text)}" for each, text in {**ORDER, name: ""}.items())
    answer = signed(trader, said.encode())
    is_refused(answer)
    assert "x-injected" not in answer.headers
    assert open_orders(trader) == before


@pytest.mark.parametrize("names", ["Symbol", "SYMBOL", "symbol%00", "symbol%20", " symbol", "symbol[]", "symbol.x", "%73ymbol;"])
def test_a_name_that_only_looks_like_one_is_not_taken_for_it(plain: Target, trader: Trader, names: str) -> None:
    before = open_orders(trader)
    said = query(**{name: text for name, text in ORDER.items() if name != "symbol"}) + f"&{quote(names, safe='%[];')}=BTCUSDT".encode()
    is_refused(signed(trader, said))
    assert open_orders(trader) == before


@pytest.mark.parametrize("where", ["path", "query", "header"])
def test_line_ends_in_what_is_asked_make_no_header_of_the_answer(target: Target, where: str) -> None:
    injected = b"%0d%0aX-Injected:%20yes%0d%0a%0d%0a<html>"
    said = {
        "path": get(b"/api/v3/time" + injected),
        "query": get(b"/api/v3/depth?symbol=" + injected),
        "header": get(b"/api/v3/account?timestamp=1&signature=1", b"X-MBX-APIKEY: a" + injected),
    }
    (answer,) = target.answers(said[where])
    assert 400 <= answer.status < 500
    assert "x-injected" not in answer.headers
    assert answer.headers["content-type"].startswith("application/json")
    json.loads(answer.body)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"gzip, gzip", b"identity"])
def test_a_body_that_is_packed_is_not_unpacked(plain: Target, trader: Trader, pack: Any, coding: bytes) -> None:
    """A thousandth of what it becomes."""
    before, body = open_orders(trader), pack(query(**ORDER) + b"&x=" + b"0" * 20_000_000)[:60_000]
    head = b"POST /api/v3/order HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    (answer,) = plain.answers(head % (coding, len(body)) + body)
    is_refused(answer)
    assert open_orders(trader) == before


PATHS = [
    b"/../../etc/passwd", b"/api/v3/../../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/..%2f..%2fetc%2fpasswd",
    b"/..%252f..%252fetc/passwd", b"/api/v3/..;/admin", b"//etc/passwd", b"///", b"/api//v3/time", b"/api/v3/time/", b"/api/v3/time/..",
    b"/api/v3/time%2f", b"/api/v3/./time", b"/api%2fv3%2ftime", b"/API/V3/TIME", b"/api/v3/time%00", b"/api/v3/time%00.html",
    b"/api/v3/%C0%AE%C0%AE/time", b"/api/v3/time;a=b", b"/\\..\\..\\etc\\passwd", b"/api/v3/%ff", b"/.git/config", b"/zerosum.toml",
    b"/master.key", b"/metrics/../healthz", b"/healthz/", b"/readyz%00", b"/%72eadyz", b"/health%7A",
    b"/admin/v1/session%0a", b"/admin/v1/users/..%2f..%2fetc/sessions", b"/account/v1/../../admin/v1/session", b"/admin/v1/\\session",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("listener", ["rest", "operations", "websocket", "admin"])
def test_a_path_leads_nowhere_but_where_it_is_written(plain: Target, listener: str, path: bytes) -> None:
    (answer,) = plain.answers(get(path), listener)
    assert 400 <= answer.status < 500, answer
    assert b"root:" not in answer.body


def test_a_websocket_packs_nothing(target: Target) -> None:
    """What a client may send is bounded by its bytes: packed, a frame of 64 KB would be one of 64 MB."""
    with WebSocket.opened(target, headers="Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n") as client:
        assert b"sec-websocket-extensions" not in client.head.lower()
        client.connection.sendall(frame(zlib.compress(b'{"id":1,"method":"ping"}')[2:-4], rsv=4))
        assert client.close_code() == 1002


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":1,"id":2,"method":"ping"}',
        b'{"id":1,"method":"ping","method":"time"}',
        b'{"id":1,"method":"order.place","params":{"symbol":"BTCUSDT","symbol":"ETHUSDT"}}',
        b'{"id":1,"method":"ping","params":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"id":1,"method":"ping","params":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        b'{"id":1,"method":"ping","params":{' + b",".join(b'"a%d":1' % n for n in range(5_000)) + b"}}",
        b'{"id":' + b"9" * 60_000 + b',"method":"ping"}',
        b'{"id":1e400,"method":"ping"}',
        b'{"id":"\\ud800","method":"ping"}',
        b'{"id":"\\u0000","method":"\\u0000"}',
        b'{"id":null,"method":{}}',
        b"[" * 60_000,
        b"null",
        b"0",
        b'"x"',
        b"",
        b"\xef\xbb\xbf{}",
        b'{"id":1,"method":"ping"}{"id":2,"method":"ping"}',
        b'{"id":1,"method":"ping"}\x00',
    ],
    ids=lambda text: repr(text[:40]),
)
def test_json_that_is_deep_wide_or_odd_is_answered_once_and_harms_nobody(plain: Target, text: bytes) -> None:
    with WebSocket.opened(plain) as client:
        client.connection.sendall(frame(text))
        first, payload = client.frame()
        assert first == 0x81
        assert json.loads(payload)["status"] in (200, 400, 401, 404)
        assert client.ask({"id": "after", "method": "ping"})["status"] == 200
