"""Small real Apis, servers that always stop, and clients that say what they please over a real socket."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import pytest

from tests.support.secured import Secured
from zerosum.gateway.messages import Reply, ReplyText, Request, Response, RestApi, Session, WebSocketApi
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.gateway.transport.rest import RestServer
from zerosum.gateway.transport.websocket import WebSocketServer
from zerosum.net.listener import bind
from zerosum.net.tls import ServerTls

WS_PATH = "/ws-api/v3"


secured: Secured | None = None
"""What servers and clients speak: see conftest."""


def server_tls() -> ServerTls | None:
    return secured.server if secured is not None else None


def client_tls() -> ssl.SSLContext | None:
    return secured.client if secured is not None else None


def url(scheme: str, port: int, path: str) -> str:
    """Of http or ws, or their secure kinds."""
    return f"{scheme}{'s' if secured is not None else ''}://127.0.0.1:{port}{path}"


def http_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=client_tls() or True)


plain = pytest.mark.parametrize("secured", ["plain"], indirect=True)


@dataclass
class RestEcho:
    """Answers at once with the path; /fails raises; what it was asked is kept."""

    asked: list[Request] = field(default_factory=list)

    def handle(self, request: Request, reply: Reply) -> None:
        self.asked.append(request)
        if request.path == "/fails":
            raise RuntimeError("the Api has a bug")
        size = int(request.query[5:]) if request.query.startswith(b"size=") else 0
        reply(Response(200, b"x" * size or request.path.encode(), ((b"x-mbx-used-weight-1m", b"7"),)))


@dataclass
class RestLater:
    """Answers when told to."""

    asked: list[tuple[Request, Reply]] = field(default_factory=list)

    def handle(self, request: Request, reply: Reply) -> None:
        self.asked.append((request, reply))

    def answer(self, at: int = 0) -> None:
        request, reply = self.asked.pop(at)
        reply(Response(200, request.path.encode()))


@dataclass
class TextEcho:
    """Answers at once with the text, or as many bytes as the text asks for; b"fails" raises."""

    asked: list[bytes] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)

    def handle_ws(self, text: bytes, session: Session, reply: ReplyText) -> None:
        self.asked.append(text)
        if session not in self.sessions:
            self.sessions.append(session)
        if text == b"fails":
            raise RuntimeError("the Api has a bug")
        reply(b"y" * int(text[5:]) if text.startswith(b"size=") else text)


@dataclass
class TextLater:
    """Answers when told to, the oldest first."""

    asked: list[tuple[bytes, ReplyText]] = field(default_factory=list)
    most: int = 0

    def handle_ws(self, text: bytes, session: Session, reply: ReplyText) -> None:
        self.asked.append((text, reply))
        self.most = max(self.most, len(self.asked))

    def answer(self) -> None:
        text, reply = self.asked.pop(0)
        reply(text)


@asynccontextmanager
async def rest_server(
    api: RestApi, *, trusted_proxies: frozenset[str] = frozenset(), **bounds: Any
) -> AsyncIterator[tuple[RestServer, int]]:
    """The server and its port."""
    listener = bind("127.0.0.1", 0, setting="rest")
    port = listener.getsockname()[1]
    all_bounds = RestBounds(**{"shutdown_timeout_s": 0.2} | bounds)
    server = RestServer(api, listener, all_bounds, trusted_proxies=trusted_proxies, tls=server_tls())
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop()


@asynccontextmanager
async def websocket_server(
    api: WebSocketApi, *, trusted_proxies: frozenset[str] = frozenset(), **bounds: Any
) -> AsyncIterator[tuple[WebSocketServer, int]]:
    """The server and its port."""
    listener = bind("127.0.0.1", 0, setting="websocket")
    port = listener.getsockname()[1]
    all_bounds = WebSocketBounds(**{"shutdown_timeout_s": 0.2} | bounds)
    server = WebSocketServer({WS_PATH: api}.get, listener, all_bounds, trusted_proxies=trusted_proxies, tls=server_tls())
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop()


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait until it holds; TimeoutError when it does not come to."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


@contextmanager
def memory_peak() -> Iterator[Callable[[], int]]:
    """Gives a function: how many bytes Python has held at most since entering, above what it held then."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, port: int, *, source: str = "127.0.0.1") -> AsyncIterator[Self]:
        """From the address `source`, any of 127.0.0.0/8."""
        async with cls.over(client_tls(), port, source) as client:
            yield client

    @classmethod
    @asynccontextmanager
    async def over(cls, tls: ssl.SSLContext | None, port: int, source: str = "127.0.0.1") -> AsyncIterator[Self]:
        """With None it is TCP, whatever the server speaks."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), ssl=tls))
        try:
            yield client
        finally:
            client.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def flood(self, start: bytes, more: bytes, times: int) -> None:
        """Send without end, as far as the server bears it."""
        self.writer.write(start)
        for _ in range(times):
            self.writer.write(more)
            try:
                await self.writer.drain()
            except ConnectionError:
                return

    async def response(self) -> tuple[int, bytes]:
        """Status and body of the next HTTP response."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            return status, await self.reader.readexactly(length)

    def end(self) -> None:
        """Say nothing more; over TLS, also hear nothing more."""
        if secured is None:
            self.writer.write_eof()
        else:
            self.writer.close()

    async def is_closed(self, timeout_s: float = 5.0) -> bool:
        """Whether the server closes it without saying anything more."""
        async with asyncio.timeout(timeout_s):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True


class WsClient(Client):
    """A WebSocket that sends any frame, well formed or not, and reads only when told to."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, port: int, path: str = WS_PATH, headers: str = "", *, source: str = "127.0.0.1") -> AsyncIterator[Self]:
        async with super().connect(port, source=source) as client:
            await client.send(handshake(path, headers))
            async with asyncio.timeout(5):
                head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head
            yield client

    async def frame(self) -> tuple[int, bytes]:
        """First byte and payload of the next frame."""
        async with asyncio.timeout(5):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return first, await self.reader.readexactly(length)

    async def text(self) -> bytes:
        first, payload = await self.frame()
        assert first == 0x81, (hex(first), payload)
        return payload

    async def close_code(self) -> int:
        """That of the closing frame; whatever comes before it is passed over."""
        while True:
            first, payload = await self.frame()
            if first == 0x88:
                return int.from_bytes(payload[:2])


def handshake(path: str = WS_PATH, headers: str = "") -> bytes:
    lines = f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{headers}"
    return f"{lines}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()


def frame(payload: bytes, *, opcode: int = 1, fin: bool = True, rsv: int = 0, length: int | None = None) -> bytes:
    """A client's frame. `length` is what its head says, where that is not the truth."""
    said = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if said < 126:
        head += bytes([0x80 | said])
    elif said < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack(">H", said)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", said)
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
