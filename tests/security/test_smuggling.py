"""
Attacked: what stands between our parser and another in front of it. A request whose end the two see in different places carries a second
one within it, which the one in front has never looked at.

Must hold: whatever can be read in two ways is refused, and the connection closed: never two answers where one request was asked, never
what one client has sent in another's answer.
"""

from __future__ import annotations

import pytest

from tests.security.support import PATIENCE_S, Target, get, parsed, to_the_end
from tests.unit.transport.support import handshake

HIDDEN = b"GET /api/v3/time HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
PATHS = {"rest": b"/api/v3/ping", "websocket": b"/ws-api/v3", "operations": b"/healthz", "admin": b"/admin/v1/session"}


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"POST @ HTTP/1.1\r\nHost: h\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def line(text: bytes, after: bytes = b"") -> bytes:
    return text + b"\r\nHost: h\r\n\r\n" + after


# Read in two ways, or not at all: refused, and closed. The path is put for @.
AMBIGUOUS = {
    "length, then chunked": post(b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n" + HIDDEN),
    "chunked, then length": post(CHUNKED, b"Content-Length: 60", body=b"0\r\n\r\n" + HIDDEN),
    "chunked twice": post(CHUNKED, CHUNKED, body=b"0\r\n\r\n" + HIDDEN),
    "chunked and identity": post(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + HIDDEN),
    "identity": post(b"Transfer-Encoding: identity", body=HIDDEN),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + HIDDEN),
    "chunked, gzip": post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n" + HIDDEN),
    "chunked behind a tab": post(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n" + HIDDEN),
    "chunked before a tab": post(b"Transfer-Encoding: chunked\t", body=b"0\r\n\r\n" + HIDDEN),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n" + HIDDEN),
    "chunked with a space before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + HIDDEN),
    "chunked in HTTP/1.0": b"POST @ HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n" + HIDDEN,
    "length twice": post(b"Content-Length: 4", b"Content-Length: 4", body=b"abcd" + HIDDEN),
    "two lengths": post(b"Content-Length: 4", b"Content-Length: 40", body=b"abcd" + HIDDEN),
    "length as a list": post(b"Content-Length: 4, 4", body=b"abcd" + HIDDEN),
    "length with a plus": post(b"Content-Length: +4", body=b"abcd" + HIDDEN),
    "length with a minus": post(b"Content-Length: -4", body=b"abcd" + HIDDEN),
    "length with an underscore": post(b"Content-Length: 0_4", body=b"abcd" + HIDDEN),
    "length in hex": post(b"Content-Length: 0x4", body=b"abcd" + HIDDEN),
    "length with a space": post(b"Content-Length: 4 4", body=b"abcd" + HIDDEN),
    "length of nothing": post(b"Content-Length: ", body=HIDDEN),
    "length past 64 bits": post(b"Content-Length: 18446744073709551620", body=b"abcd" + HIDDEN),
    "length in fullwidth digits": post("Content-Length: \uff14".encode(), body=b"abcd" + HIDDEN),
    "length with a space before the colon": post(b"Content-Length : 4", body=b"abcd" + HIDDEN),
    "a folded header": post(b"A: b\r\n c", body=HIDDEN),
    "a folded length": post(b"Content-Length:\r\n 4", body=b"abcd" + HIDDEN),
    "chunked in a fold": post(b"A: b\r\n " + CHUNKED, body=b"0\r\n\r\n" + HIDDEN),
    "bare line feeds": b"GET @ HTTP/1.1\nHost: h\n\n" + HIDDEN,
    "a bare line feed in the head": b"GET @ HTTP/1.1\r\nHost: h\nA: b\r\n\r\n",
    "a bare carriage return in the head": b"GET @ HTTP/1.1\r\nHost: h\rA: b\r\n\r\n",
    "a head that ends in line feeds": b"GET @ HTTP/1.1\r\nHost: h\n\n" + HIDDEN,
    "an extension that ends in a line feed": post(CHUNKED, body=b"0;a\n\r\n\r\n" + HIDDEN),
    "an extension with a line end in quotes": post(CHUNKED, body=b'1;a="\r\nx\r\n0\r\n\r\n' + HIDDEN),
    "a chunk past 64 bits": post(CHUNKED, body=b"ffffffffffffffff1\r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk of 64 bits": post(CHUNKED, body=b"ffffffffffffffff\r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk with a minus": post(CHUNKED, body=b"-1\r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk with a plus": post(CHUNKED, body=b"+1\r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk with an underscore": post(CHUNKED, body=b"1_0\r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk in 0x": post(CHUNKED, body=b"0x1\r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk behind a space": post(CHUNKED, body=b" 1\r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk before a space": post(CHUNKED, body=b"1 \r\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk that ends in a line feed": post(CHUNKED, body=b"1\nx\r\n0\r\n\r\n" + HIDDEN),
    "a chunk longer than it says": post(CHUNKED, body=b"1\r\nxyz0\r\n\r\n" + HIDDEN),
    "a trailer about the body": post(CHUNKED, body=b"0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN),
    "NUL in a name": post(b"A\x00: b", body=HIDDEN),
    "NUL in a value": post(b"A: b\x00c", body=HIDDEN),
    "a control byte in a name": post(b"A\x01: b", body=HIDDEN),
    "a control byte in a value": post(b"A: b\x01c", body=HIDDEN),
    "DEL in a value": post(b"A: b\x7fc", body=HIDDEN),
    "a tab in a name": post(b"A\tB: c", body=HIDDEN),
    "a space in a name": post(b"A B: c", body=HIDDEN),
    "no name": post(b": c", body=HIDDEN),
    "no colon": post(b"nonsense", body=HIDDEN),
    "a name that is not ASCII": post("\xe9: c".encode(), body=HIDDEN),
    "an absolute URL": line(b"GET http://h@ HTTP/1.1", HIDDEN),
    "CONNECT": line(b"CONNECT h:80 HTTP/1.1", HIDDEN),
    "no path but a host": line(b"GET h:80 HTTP/1.1", HIDDEN),
    "the server itself": line(b"OPTIONS * HTTP/1.1", HIDDEN),
    "an upgrade with a body": post(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: 4", body=b"abcd" + HIDDEN),
    "HTTP/0.9": b"GET @\r\n\r\n" + HIDDEN,
    "HTTP/0.9 before another": b"GET @\r\n" + HIDDEN,
    "HTTP/1.2": line(b"GET @ HTTP/1.2", HIDDEN),
    "HTTP/2.0": line(b"GET @ HTTP/2.0", HIDDEN),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 4,
    "http in small letters": line(b"GET @ http/1.1", HIDDEN),
    "a method in small letters": line(b"get @ HTTP/1.1", HIDDEN),
    "tabs in the first line": line(b"GET\t@\tHTTP/1.1", HIDDEN),
    "a version twice": line(b"GET @ HTTP/1.1 HTTP/1.1", HIDDEN),
    "a space before the method": b" " + HIDDEN,
    "NUL in the path": line(b"GET @\x00 HTTP/1.1", HIDDEN),
    "a path without a slash": line(b"GET \\api HTTP/1.1", HIDDEN),
    "two hosts": b"GET @ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + HIDDEN,
}

# Read in one way: each answered once, in order.
PLAIN = {
    "a length with zeros before it": (post(b"Content-Length: 0004", body=b"abcd") + HIDDEN, 2),
    "chunked in another case": (post(b"tRANSFER-eNCODING: cHuNkEd", body=b"0\r\n\r\n") + HIDDEN, 2),
    "an extension": (post(CHUNKED, body=b'1;a=b;c="d"\r\nx\r\n0\r\n\r\n') + HIDDEN, 2),
    "a request in the body of another": (b"GET @ HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN, 1),
    "line ends before a request": (b"\r\n\r\n" + HIDDEN, 1),
    "a request behind an upgrade": (line(b"GET @ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c", HIDDEN), 1),
    "HTTP/1.0 with another behind it": (b"GET @ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + HIDDEN, 1),
    "the end asked for, with another behind it": (get(b"@") + HIDDEN, 1),
}


@pytest.mark.parametrize("listener", ["rest", "operations", "admin"])
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused_once(plain: Target, listener: str, name: str) -> None:
    (answer,) = plain.answers(AMBIGUOUS[name].replace(b"@", PATHS[listener]), listener)
    if answer.status == 405:
        return  # before the body, of which nothing that comes after is looked at
    assert answer.status in (400, 413), answer
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("end", [b"x", b"ffffffffffffffffff\r\n", b"4\r\nab"])
def test_a_request_that_was_answered_before_its_end_has_no_second_answer(plain: Target, end: bytes) -> None:
    """Whatever becomes of the rest of its body: whoever stands in between would take it for the answer to the next request."""
    with plain.connected("rest") as connection:
        connection.sendall(post(CHUNKED).replace(b"@", b"/account/v1/session"))
        connection.settimeout(PATIENCE_S)
        first = connection.recv(65_536)
        connection.sendall(end)
        (answer,) = parsed(first + to_the_end(connection))
        assert answer.status == 405


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_over_tls_and_at_websockets_too(secure: Target, name: str) -> None:
    for listener in ("rest", "websocket"):
        (answer,) = secure.answers(AMBIGUOUS[name].replace(b"@", PATHS[listener]), listener)
        assert answer.status in (400, 404, 408, 413), answer  # 408: there the rest of a body is waited for


@pytest.mark.parametrize("name", PLAIN)
def test_what_can_be_read_in_one_way_is_answered_as_often_as_it_asks(plain: Target, name: str) -> None:
    said, count = PLAIN[name]
    answers = plain.answers(said.replace(b"@", PATHS["rest"]))
    assert len(answers) == count
    if count == 2:
        assert b"serverTime" in answers[1].body


def test_what_is_left_of_a_refused_request_is_in_nobody_elses_answer(target: Target) -> None:
    """The bytes behind it wait in the same process as those of the next client."""
    for _ in range(20):
        with target.connected("rest") as attacker, target.connected("rest") as other:
            attacker.sendall(AMBIGUOUS["length, then chunked"].replace(b"@", b"/api/v3/ping"))
            other.sendall(get(b"/api/v3/time"))
            (answer,) = parsed(to_the_end(other))
            assert (answer.status, b"serverTime" in answer.body) == (200, True)
            (refused,) = parsed(to_the_end(attacker))
            assert refused.status == 400


@pytest.mark.parametrize(
    "changed",
    [
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: Upgrade", b"Connection: close"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 12"),
        (b"AAAAAAAAAAAAAAAAAAAAAA==", b"AAAA"),
        (b"AAAAAAAAAAAAAAAAAAAAAA==", b"\xff\xfe"),
        (b"Host: h", b"Host: h\r\nContent-Length: 5"),
        (b"Host: h", b"Host: h\r\nTransfer-Encoding: chunked"),
        (b"GET /ws-api/v3", b"GET //ws-api/v3"),
        (b"GET /ws-api/v3", b"GET /ws-api/v3/../v3"),
        (b"GET /ws-api/v3", b"GET /%77s-api/v3"),
        (b"GET /ws-api/v3", b"GET http://h/ws-api/v3"),
    ],
)
def test_a_websocket_handshake_that_is_not_quite_one_is_refused(plain: Target, changed: tuple[bytes, bytes]) -> None:
    assert changed[0] in handshake()
    (answer,) = plain.answers(handshake().replace(*changed), "websocket")
    assert answer.status in (400, 404), answer
