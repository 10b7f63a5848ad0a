"""
Signed clients with many requests under way on one connection. Each answer goes to the callback that was given with its request.

    Signer --rest, websocket--> signed request --send--> ... --> answered(status, body)

    RestConnection        HTTP/1.1, kept alive and pipelined: answers come in the order of requests
    WebSocketConnection   the WebSocket API, on picows: answers are told apart by their ids

Always true: every request is answered once. A request whose connection ended before its answer is answered LOST: what became of it is not
known.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, cast, final

import msgspec
import orjson
import picows

from zerosum.errors import ZerosumError

LOST: Final = 0
"""The status of a request that was not answered."""

Answered = Callable[[int, bytes], None]
"""Takes the status of an answer and its JSON: of a WebSocket answer, what is under `result` or `error`."""

Params = Mapping[str, str]

WEBSOCKET_PATH: Final = "/ws-api/v3"
TEXT_FRAME: Final = 0x81

_content_length: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class BadAnswer(ZerosumError):
    """A server's answer is not one that this client can read."""


# ---------------------------------------------------------------------- requests


@final
class Signer:
    """An API key with its secret."""

    __slots__ = ("_mac", "api_key")

    def __init__(self, api_key: str, secret: str) -> None:
        self.api_key: Final = api_key
        self._mac = hmac.new(secret.encode(), digestmod=sha256)

    def signature(self, payload: str) -> str:
        mac = self._mac.copy()
        mac.update(payload.encode())
        return mac.hexdigest()

    def rest(self, method: str, path: str, params: Params, now_ms: int) -> bytes:
        """A whole request, its parameters in the query."""
        query = "".join([f"{name}={value}&" for name, value in params.items()])
        query = f"{query}timestamp={now_ms}"
        return (
            f"{method} {path}?{query}&signature={self.signature(query)} HTTP/1.1\r\n"
            f"host: localhost\r\nx-mbx-apikey: {self.api_key}\r\ncontent-length: 0\r\n\r\n"
        ).encode()

    def websocket(self, request_id: int, method: str, params: Params, now_ms: int) -> bytes:
        """The text of a request."""
        sent = {**params, "apiKey": self.api_key, "timestamp": str(now_ms)}
        sent["signature"] = self.signature("&".join([f"{name}={value}" for name, value in sorted(sent.items())]))
        return orjson.dumps({"id": request_id, "method": method, "params": sent})


# ---------------------------------------------------------------------- REST


@final
class RestConnection(asyncio.Protocol):
    """Reads answers that say their length, as this exchange's do; BadAnswer in the event loop for another."""

    def __init__(self) -> None:
        self.closed: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._waiting: deque[Answered] = deque()
        self._unread = b""

    @classmethod
    async def open(cls, host: str, port: int, *, tls: ssl.SSLContext | None = None, source: str = "") -> RestConnection:
        """`source`: the address to come from. OSError when nobody listens there."""
        local = (source, 0) if source else None
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port, ssl=tls, local_addr=local)
        return connection

    @property
    def under_way(self) -> int:
        return len(self._waiting)

    def send(self, request: bytes, answered: Answered) -> None:
        if self.closed.done():
            return answered(LOST, b"")
        self._waiting.append(answered)
        self._transport.write(request)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and JSON of the answer."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.send(request, lambda status, body: settle(answer, (status, body)))
        return await answer

    async def close(self) -> None:
        self._transport.close()
        await self.closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        at = 0
        while (head_end := data.find(b"\r\n\r\n", at)) >= 0:
            length = _content_length.search(data, at, head_end)
            if length is None:
                self._transport.abort()
                raise BadAnswer(f"an answer without content-length: {data[at:head_end]!r}")
            end = head_end + 4 + int(length[1])
            if len(data) < end:
                break
            self._waiting.popleft()(int(data[at + 9 : at + 12]), data[head_end + 4 : end])
            at = end
        self._unread = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)
        while self._waiting:
            self._waiting.popleft()(LOST, b"")


# ---------------------------------------------------------------------- WebSocket


class _Answer(msgspec.Struct):
    id: int
    status: int
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode


@final
class WebSocketConnection(picows.WSListener):
    """What is sent in one turn of the event loop is sent in one write."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self.why_closed = ""
        self._loop = asyncio.get_running_loop()
        self._transport: picows.WSTransport
        self._waiting: dict[int, Answered] = {}
        self._last_id = 0
        self._out: list[bytes] = []

    @classmethod
    async def open(
        cls, host: str, port: int, query: str = "returnRateLimits=false", *, tls: ssl.SSLContext | None = None
    ) -> WebSocketConnection:  # fmt: skip
        """OSError or picows' WSError when nobody listens there, or it is no WebSocket."""
        scheme = "ws" if tls is None else "wss"
        _, connection = await picows.ws_connect(cls, f"{scheme}://{host}:{port}{WEBSOCKET_PATH}?{query}", ssl_context=tls)
        return cast("WebSocketConnection", connection)

    @property
    def under_way(self) -> int:
        return len(self._waiting)

    def next_id(self) -> int:
        """For the next request: ids are this connection's own."""
        self._last_id += 1
        return self._last_id

    def send(self, request_id: int, text: bytes, answered: Answered) -> None:
        if self.closed.done():
            return answered(LOST, b"")
        self._waiting[request_id] = answered
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(masked_frame(text))

    async def ask(self, signer: Signer, method: str, params: Params, now_ms: int) -> tuple[int, bytes]:
        """Status and result, or error, of the answer."""
        answer: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        request_id = self.next_id()
        text = signer.websocket(request_id, method, params, now_ms)
        self.send(request_id, text, lambda status, body: settle(answer, (status, body)))
        return await answer

    async def close(self) -> None:
        if not self.closed.done():
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect()
        await self.closed

    def _flush(self) -> None:
        if not self.closed.done():
            self._transport.underlying_transport.write(b"".join(self._out))
        self._out.clear()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            answer = _decode_answer(frame.get_payload_as_bytes())
            self._waiting.pop(answer.id)(answer.status, bytes(answer.result) or bytes(answer.error))
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self.why_closed = (frame.get_close_message() or b"").decode("utf-8", "replace")
            transport.disconnect()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.closed.set_result(None)
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            answered(LOST, b"")


def settle(answer: asyncio.Future[tuple[int, bytes]], value: tuple[int, bytes]) -> None:
    if not answer.done():  # whoever asked may have given up
        answer.set_result(value)


def masked_frame(text: bytes) -> bytes:
    """A text as a client's frame."""
    size = len(text)
    if size < 126:
        head = bytes((TEXT_FRAME, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((TEXT_FRAME, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((TEXT_FRAME, 0x80 | 127)) + size.to_bytes(8)
    mask = os.urandom(4)
    repeated = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(text) ^ int.from_bytes(repeated)).to_bytes(size)
