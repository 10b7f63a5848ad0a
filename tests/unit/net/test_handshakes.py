"""The handshake of TLS in front of a server: how many, how long, from whom; and what comes after it."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import structlog

from tests.support.secured import Secured
from tests.unit.transport.support import Client, until
from zerosum.net.headers import SECURITY, STRICT_TRANSPORT
from zerosum.net.http import HttpBounds
from zerosum.net.http_server import HttpServer
from zerosum.net.listener import bind

ASK = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    return Secured(tmp_path_factory.mktemp("tls"))


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """As many bytes as the query says, after so many seconds."""
    size, _, wait_s = (scope["query_string"] or b"2").partition(b",")
    await asyncio.sleep(float(wait_s or 0))
    body = b"x" * int(size)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(secured: Secured, **bounds: Any) -> AsyncIterator[tuple[HttpServer, int]]:
    listener = bind("127.0.0.1", 0, setting="rest")
    bounds = {"shutdown_timeout_s": 0.2} | bounds
    server = HttpServer(answer, listener, HttpBounds(**bounds), name="test", tls=secured.server)
    await server.start()
    try:
        yield server, listener.getsockname()[1]
    finally:
        await server.stop()


def shaken(secured: Secured, port: int, source: str = "127.0.0.1") -> AbstractAsyncContextManager[Client]:
    return Client.over(secured.client, port, source)


def silent(port: int) -> AbstractAsyncContextManager[Client]:
    """Connected, and no handshake begun."""
    return Client.over(None, port)


async def test_what_is_spoken_is_agreed_on(secured: Secured) -> None:
    async with serving(secured) as (_, port), shaken(secured, port) as client:
        await client.send(ASK)
        assert await client.response() == (200, b"xx")
        spoken = client.writer.get_extra_info("ssl_object")
        assert spoken.version() == "TLSv1.3"
        assert spoken.compression() is None
        assert not spoken.session_reused
        assert spoken.session is None or not spoken.session.has_ticket


async def test_a_handshake_that_does_not_end_is_cut_off_and_counts_as_a_connection(secured: Secured) -> None:
    async with serving(secured, request_timeout_s=0.4) as (server, port), silent(port) as mute:
        await until(lambda: server.connections == 1)
        await mute.send(b"\x16\x03\x01\x02\x00")  # the first bytes of a greeting
        assert await mute.is_closed()
        await until(lambda: server.connections == 0)
        assert server.handshakes_failed == 1


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"\x00" * 64, b"\x80\x2e\x01\x00\x02", b"\x15\x03\x01\x00\x02\x02\x28"]
)
async def test_what_is_no_tls_is_closed_and_reaches_no_protocol(secured: Secured, said: bytes) -> None:
    async with serving(secured, request_timeout_s=1.0) as (server, port), silent(port) as client:
        await client.send(said)
        assert await client.is_closed()
        await until(lambda: server.connections == 0)
        assert server.counters.connections == 0
        assert server.handshakes_failed == 1


async def test_handshakes_of_one_address_leave_places_to_others(secured: Secured) -> None:
    """Bytes that cost their sender nothing must not keep everybody else out."""
    async with serving(secured, connections_max=8, connections_per_address_max=4) as (server, port), AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(silent(port))
        await until(lambda: server.connections == 8)
        async with shaken(secured, port) as refused:
            assert (await refused.response())[0] == 503, "told why, over TLS"
        async with shaken(secured, port, "127.0.0.2") as other:
            await other.send(ASK)
            assert await other.response() == (200, b"xx")


async def test_past_those_that_are_told_why_connections_are_cut_off(secured: Secured) -> None:
    async with serving(secured, connections_max=2) as (server, port), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(silent(port)) for _ in range(80)]
        await until(lambda: server.counters.connections_refused == 80 - 64 - 2)
        assert server.connections == 66
        for client in clients[66:]:
            assert await client.is_closed()


async def test_a_place_is_given_back_however_a_handshake_ends(secured: Secured) -> None:
    async with serving(secured, connections_max=1) as (server, port):
        for said in (b"", b"nonsense", b"\x16\x03\x01"):
            async with silent(port) as client:
                await client.send(said)
            await until(lambda: server.connections == 0)
        async with shaken(secured, port) as client:
            await client.send(ASK)
            assert await client.response() == (200, b"xx")


async def test_a_connection_that_is_reset_before_its_handshake_begins_leaves_nothing_behind(secured: Secured) -> None:
    async with serving(secured, request_timeout_s=60.0) as (server, port):
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        async with shaken(secured, port) as after:
            await after.send(ASK)
            assert await after.response() == (200, b"xx")
        await until(lambda: server.connections == 0)


async def test_whoever_ends_before_the_answer_is_no_trouble(secured: Secured, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(secured) as (server, port), shaken(secured, port) as client:
        await client.send(b"GET /?5,0.4 HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.05)
        client.writer.close()  # with an end of TLS
        await until(lambda: server.connections == 0)
        await asyncio.sleep(0.5)
    assert caplog.text == ""


async def test_stopping_cuts_off_handshakes(secured: Secured) -> None:
    async with serving(secured, shutdown_timeout_s=30.0) as (server, port), silent(port) as mute:
        await until(lambda: server.connections == 1)
        await asyncio.wait_for(server.stop(), 5)
        assert await mute.is_closed()


class Stubborn:
    """A client in a thread of its own, that hears of no end unless it reads: bytes in and out of TLS by hand."""

    def __init__(self, secured: Secured, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = secured.client.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._socket.sendall(self._out.read())
                self._in.write(self._socket.recv(65_536))
        self._socket.sendall(self._out.read())

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self._socket.sendall(self._out.read())

    def read_to_the_end(self) -> bytes:
        """Up to the server's end, which must be one of TLS. OSError for any other."""
        read = b""
        while True:
            try:
                data = self.tls.read(65_536)
                if not data:
                    return read
                read += data
            except ssl.SSLZeroReturnError:
                return read
            except ssl.SSLWantReadError:
                received = self._socket.recv(65_536)
                assert received, "the connection ends without an end of TLS: what was read may not be all"
                self._in.write(received)

    def close(self) -> None:
        self._socket.close()


async def test_whoever_still_sends_reads_the_last_answer_and_its_end(secured: Secured) -> None:
    def insists(port: int) -> bytes:
        client = Stubborn(secured, port)
        client.send(b"GET /?300000 HTTP/1.1\r\nConnection: close\r\n\r\n")
        for _ in range(40):
            client.send(b"x" * 500)
            time.sleep(0.005)
        try:
            return client.read_to_the_end()
        finally:
            client.close()

    async with serving(secured) as (server, port):
        read = await asyncio.to_thread(insists, port)
        assert read.endswith(b"\r\n\r\n" + b"x" * 300_000)
        await until(lambda: server.connections == 0)


async def test_the_end_waits_for_what_is_to_be_sent(secured: Secured) -> None:
    def reads_late(port: int) -> int:
        client = Stubborn(secured, port)
        client.send(b"GET /?20000000 HTTP/1.1\r\nConnection: close\r\n\r\n")
        time.sleep(0.5)
        try:
            return len(client.read_to_the_end())
        finally:
            client.close()

    async with serving(secured) as (_, port):
        assert await asyncio.to_thread(reads_late, port) > 20_000_000


async def test_a_connection_that_is_gone_leaves_no_buffers_behind(secured: Secured) -> None:
    """They are a quarter of a megabyte each, and cycles of objects are looked for but rarely."""

    def asks(port: int) -> None:
        client = Stubborn(secured, port)
        client.send(b"GET /?300000 HTTP/1.1\r\nConnection: close\r\n\r\n")
        client.read_to_the_end()
        client.close()

    async with serving(secured) as (server, port):
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await asyncio.to_thread(asks, port)
            await until(lambda: server.connections == 0)
            await asyncio.sleep(0.05)
            assert [thing for thing in gc.get_objects() if type(thing).__name__ == "SSLProtocol"] == []
        finally:
            gc.enable()


async def test_every_answer_has_the_headers_that_tell_browsers_to_keep_off(secured: Secured) -> None:
    async with serving(secured, connections_max=1) as (_, port), shaken(secured, port) as client, shaken(secured, port) as refused:
        await client.send(ASK)
        answered = await client.reader.readuntil(b"\r\n\r\n")
        told = await refused.reader.readuntil(b"\r\n\r\n")
        await client.send(b"nonsense\r\n\r\n")
        await client.reader.readexactly(2)
        malformed = await client.reader.readuntil(b"\r\n\r\n")
    assert [head.split(b" ")[1] for head in (answered, told, malformed)] == [b"200", b"503", b"400"]
    for head in (answered, told, malformed):
        for name, value in (*SECURITY, STRICT_TRANSPORT):
            assert head.count(f"\r\n{name}: {value}\r\n".encode()) == 1, (name, head)


async def test_handshakes_that_fail_do_not_flood_the_log(secured: Secured) -> None:
    with structlog.testing.capture_logs() as said:
        async with serving(secured) as (server, port):
            for _ in range(60):
                async with silent(port) as client:
                    await client.send(b"nonsense, and not TLS")
                    assert await client.is_closed()
            assert server.handshakes_failed == 60
    assert 1 <= sum(line["event"] == "tls.handshake_failed" for line in said) <= 40
