"""
Attacked: every listener, with bytes of any kind, and with requests that are nearly good.

Must hold: each connection reads whole answers of HTTP or nothing, none of them an error of ours, and is closed.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.security.support import Target, parsed, to_the_end
from tests.unit.transport.support import handshake

HEADERS = st.sampled_from(
    [
        b"Host: h", b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: Upgrade",
        b"Connection: keep-alive", b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue", b"X-MBX-APIKEY: x", b"Accept: */*",
        b"X-Forwarded-For: 1.1.1.1", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Accept: ;;q=,",
    ]
)  # fmt: skip
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"])
TARGETS = st.sampled_from(
    [b"/api/v3/time", b"/api/v3/order", b"/api/v3/depth?symbol=X", b"/ws-api/v3", b"/metrics", b"/readyz", b"/"]
) | st.binary(max_size=30)
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b""])
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    end = draw(ENDS)
    lines = [
        b" ".join((draw(METHODS), draw(TARGETS), draw(VERSIONS))),
        *draw(st.lists(HEADERS | st.binary(max_size=20), max_size=6)),
        b"",
        b"",
    ]
    return end.join(lines) + draw(st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"]) | st.binary(max_size=30))


SAID = st.lists(requests() | st.binary(max_size=300), min_size=1, max_size=4).map(b"".join)
BOUNDED = settings(
    max_examples=120, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("listener", ["rest", "operations", "websocket"])
@BOUNDED
@given(said=SAID)
@example(said=handshake()[:-1])
def test_any_bytes_are_answered_in_http_or_closed(plain: Target, listener: str, said: bytes) -> None:
    answered = plain.said(listener, said)
    if answered.startswith(b"HTTP/1.1 101 "):
        return  # from there on it is frames
    for answer in parsed(answered):
        assert answer.status < 500 or answer.status == 503, answer  # 503: of readiness, or past the bound on what is pipelined


@pytest.mark.parametrize("listener", ["rest", "websocket"])
@settings(BOUNDED, max_examples=60)
@given(said=st.binary(max_size=600) | st.binary(max_size=600).map(lambda rest: b"\x16\x03\x01" + len(rest).to_bytes(2) + rest))
def test_any_bytes_for_tls_are_closed(secure: Target, listener: str, said: bytes) -> None:
    with secure.tcp(listener) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(said)
            connection.shutdown(1)
        assert b"HTTP" not in to_the_end(connection)
