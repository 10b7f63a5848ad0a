"""
Attacked: every listener, by whoever opens many connections, or holds few for long: half a handshake, half a request, an answer unread.

Must hold: others come in meanwhile, whoever holds on is closed in the time that the settings give, and nothing grows without a bound.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.security.support import PATIENCE_S, Target, WebSocket, get, parsed, query, to_the_end
from tests.unit.transport.support import frame, handshake

PUBLIC = ("rest", "websocket")
GROWTH_BYTES = 60 << 20


def resident_bytes(target: Target) -> int:
    return int(Path(f"/proc/{target.exchange.process.pid}/statm").read_text().split()[1]) * 4_096


@contextlib.contextmanager
def growing_little(target: Target) -> Iterator[None]:
    before = resident_bytes(target)
    yield
    assert resident_bytes(target) - before < GROWTH_BYTES


def are_closed(connections: list[socket.socket]) -> None:
    """By the server, each of them, in good time."""
    for connection in connections:
        to_the_end(connection)


@pytest.mark.parametrize("listener", PUBLIC)
def test_connections_from_one_address_leave_room_for_others(target: Target, listener: str) -> None:
    with ExitStack() as held, growing_little(target):
        connections = [held.enter_context(target.tcp(listener)) for _ in range(300)]
        target.assert_serves()
        are_closed(connections)


def test_the_operators_page_is_reached_through_a_flood(plain: Target) -> None:
    with ExitStack() as held:
        for _ in range(200):
            held.enter_context(plain.tcp("operations"))
        plain.assert_serves()


@pytest.mark.parametrize("listener", PUBLIC)
def test_connections_that_come_and_go_leave_nothing_behind(target: Target, listener: str) -> None:
    with growing_little(target):
        for _ in range(400):
            with target.tcp(listener):
                pass
        for _ in range(60):
            with target.connected(listener, "127.0.0.2") as connection, contextlib.suppress(OSError):
                connection.sendall(b"x")
    deadline = time.monotonic() + PATIENCE_S
    while "zerosum_rest_connections 0.0" not in target.exchange.metrics():
        assert time.monotonic() < deadline, "a connection is still counted"
        time.sleep(0.05)


SLOW = {
    "nothing": ("rest", []),
    "head": ("rest", [b"GET /api", *[b"x"] * 400]),
    "headers": ("rest", [b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 40]),
    "body": ("rest", [b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n", *[b"x"] * 400]),
    "chunks": ("rest", [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 400]),
    "chunk size": ("rest", [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", *[b"x"] * 400]),
    "line ends": ("rest", [b"\r\n"] * 400),
    "websocket nothing": ("websocket", []),
    "websocket handshake": ("websocket", [handshake()[:-2], *[b"A: b\r\n"] * 40]),
}


@pytest.mark.parametrize("name", SLOW)
def test_whoever_sends_slowly_is_closed_in_time(target: Target, name: str) -> None:
    listener, parts = SLOW[name]
    with target.connected(listener) as connection:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(0.05)
                if time.monotonic() - began > PATIENCE_S:
                    pytest.fail("it is still heard")
        to_the_end(connection)


def slowly_greeting(connection: socket.socket) -> None:
    """A handshake of TLS, a byte at a time."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    began = time.monotonic()
    with contextlib.suppress(OSError):
        for byte in outgoing.read():
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
            if time.monotonic() - began > PATIENCE_S:
                pytest.fail("it is still heard")


def in_the_middle(connection: socket.socket) -> None:
    """It greets, and never answers what the server says to that."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    connection.sendall(outgoing.read())


@pytest.mark.parametrize("listener", PUBLIC)
@pytest.mark.parametrize("attack", [slowly_greeting, in_the_middle])
def test_a_handshake_of_tls_that_does_not_end_is_closed_in_time(
    secure: Target, listener: str, attack: Callable[[socket.socket], None]
) -> None:
    with ExitStack() as held:
        connections = [held.enter_context(secure.tcp(listener)) for _ in range(10)]
        attack(connections[0])
        for connection in connections[1:]:
            in_the_middle(connection)
        secure.assert_serves()
        are_closed(connections)


def test_many_slow_senders_do_not_hold_up_others(target: Target) -> None:
    with ExitStack() as held:
        for _ in range(30):
            connection = held.enter_context(target.connected("rest"))
            connection.sendall(b"GET /api/v3/time HTTP/1.1\r\nA: ")
        for _ in range(10):
            target.assert_serves()


def never_reads(target: Target) -> None:
    """It asks until nothing more is taken of it, and is then cut off."""
    ask = b"GET /api/v3/exchangeInfo HTTP/1.1\r\nHost: h\r\n\r\n" * 8
    with target.connected("rest") as connection, growing_little(target):
        connection.settimeout(0.5)
        deadline = time.monotonic() + 3 * PATIENCE_S
        while time.monotonic() < deadline:
            try:
                connection.sendall(ask)
            except TimeoutError:
                continue
            except (ConnectionError, ssl.SSLError):
                return
    pytest.fail("it is still heard")


def test_whoever_never_reads_its_answers_is_cut_off(plain: Target, trader: object) -> None:
    never_reads(plain)


def test_whoever_never_reads_its_answers_is_cut_off_over_tls_too(secure: Target) -> None:
    never_reads(secure)


def test_a_websocket_that_never_reads_is_slowed_and_costs_little(target: Target) -> None:
    with WebSocket.opened(target) as client, growing_little(target):
        client.connection.settimeout(1.0)
        flood = frame(b'{"id":1,"method":"exchangeInfo"}') * 1_000
        stuck = False
        for _ in range(400):
            try:
                client.connection.sendall(flood)
            except TimeoutError:
                stuck = True
                break
            except OSError:
                break  # closed, as too slow: as good
        else:
            pytest.fail("it takes all that it is sent")
        if stuck:
            target.assert_serves()


def test_half_open_connections_are_let_go(target: Target) -> None:
    """Their clients are gone without a word, or have said that they say no more."""
    with ExitStack() as held:
        connections = [held.enter_context(target.tcp(listener)) for listener in PUBLIC for _ in range(10)]
        for connection in connections:
            connection.shutdown(socket.SHUT_WR)
        target.assert_serves()
        are_closed(connections)
        for _ in range(20):
            reset = held.enter_context(target.tcp("rest"))
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            reset.sendall(b"GET /api")
            reset.close()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (414, get(b"/" + b"x" * 20_000)),
        (414, get(b"/api/v3/time?" + query(a="x" * 20_000))),
        (431, get(b"/", b"A: " + b"x" * 20_000)),
        (431, get(b"/", *[b"A: b"] * 100)),
        (431, get(b"/", b"A" * 20_000 + b": b")),
        (413, b"POST /api/v3/order HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n"),
        (413, b"POST /api/v3/order HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000),
        (
            413,
            b"POST /api/v3/order HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"10000\r\n"
            + b"x" * 65_536
            + b"\r\n1\r\nx\r\n0\r\n\r\n",
        ),
        (413, b"POST /api/v3/order HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"),
    ],
)
def test_what_is_too_large_is_refused_once(target: Target, status: int, said: bytes) -> None:
    with target.connected("rest") as connection:
        with contextlib.suppress(OSError):
            connection.sendall(said)
        (answer,) = parsed(to_the_end(connection))
        assert answer.status == status


def test_a_handshake_of_a_websocket_that_is_too_large_is_closed(target: Target) -> None:
    with growing_little(target):
        assert len(target.said("websocket", handshake(headers="A: " + "x" * 2_000_000 + "\r\n"))) < 1_000


def test_a_flood_of_pipelined_requests_is_answered_in_part_and_closed(target: Target) -> None:
    with growing_little(target), target.connected("rest") as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: h\r\n\r\n" * 5_000)
        answers = parsed(to_the_end(connection))
        assert 1 <= len(answers) <= 5_000
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"{}")}
