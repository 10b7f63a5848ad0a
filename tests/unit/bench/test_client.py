"""The clients that load and checks are made with: what they send is what a server reads, and every request is answered once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable

import pytest

from zerosum.bench.client import LOST, RestConnection, Signer, WebSocketConnection, masked_frame
from zerosum.gateway.messages import ReplyText, Session
from zerosum.gateway.transport.websocket import WebSocketServer
from zerosum.net.listener import bind

HOST = "127.0.0.1"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answers_of(handler: Handler, count: int) -> list[tuple[int, bytes]]:
    """What is answered to `count` requests, sent at once to a server that does as `handler` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        connection = await RestConnection.open(HOST, server.sockets[0].getsockname()[1])
        found: list[tuple[int, bytes]] = []
        for number in range(count):
            connection.send(b"GET /%d HTTP/1.1\r\n\r\n" % number, lambda status, body: found.append((status, body)))
        await connection.closed
        connection.send(b"GET /late HTTP/1.1\r\n\r\n", lambda status, body: found.append((status, body)))
    return found


@pytest.mark.parametrize("piece", [1, 7, 10_000])
async def test_answers_are_put_together_from_pieces_in_order(piece: int) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\r\n\rHTTP/1.1 400 Bad Request\r\na: b\r\ncontent-length: 0\r\n\r\n"
        for at in range(0, len(text), piece):
            writer.write(text[at : at + piece])
            await writer.drain()
            await asyncio.sleep(0)

    assert await answers_of(handler, 2) == [(200, b"\r\n\r"), (400, b""), (LOST, b"")]


async def test_requests_without_an_answer_are_lost() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{")

    assert await answers_of(handler, 3) == [(200, b"{}"), (LOST, b""), (LOST, b""), (LOST, b"")]


class Answering:
    """Answers a request with its own number, backwards: the first two, and no others."""

    def __init__(self) -> None:
        self.held: list[tuple[bytes, ReplyText]] = []

    def handle_ws(self, text: bytes, session: Session, reply: ReplyText) -> None:
        self.held.append((text, reply))
        if len(self.held) == 2:
            for held, answer in reversed(self.held):
                number = json.loads(held)["id"]
                answer(b'{"id":%d,"status":%d,"%b":{"was":%d}}' % (number, 199 + number, b"result" if number == 1 else b"error", number))


async def test_websocket_answers_find_their_requests_by_id_and_the_rest_is_lost() -> None:
    listener = bind(HOST, 0, setting="websocket")
    port = listener.getsockname()[1]
    server = WebSocketServer({"/ws-api/v3": Answering()}.get, listener)
    await server.start()
    signer = Signer("key", "secret")
    connection = await WebSocketConnection.open(HOST, port)
    found: dict[int, tuple[int, bytes]] = {}
    both = asyncio.Event()
    for _ in range(3):
        number = connection.next_id()

        def take(status: int, body: bytes, number: int = number) -> None:
            found[number] = (status, body)
            if len(found) == 2:
                both.set()

        connection.send(number, signer.websocket(number, "ping", {}, 1), take)
    assert connection.under_way == 3
    await both.wait()
    assert found == {1: (200, b'{"was":1}'), 2: (201, b'{"was":2}')}

    asking = asyncio.create_task(connection.ask(signer, "ping", {}, 1))
    await asyncio.sleep(0)
    await connection.close()
    assert await asking == (LOST, b"")
    assert found[3] == (LOST, b"")
    assert await connection.ask(signer, "ping", {}, 1) == (LOST, b"")
    await connection.close()
    await server.stop()


def test_a_rest_signature_is_over_the_query_before_it() -> None:
    request = Signer("key", "secret").rest("POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "BUY"}, 1_700_000_000_000)
    query, _, signature = request.split(b" ")[1].partition(b"?")[2].partition(b"&signature=")
    assert query == b"symbol=BTCUSDT&side=BUY&timestamp=1700000000000"
    assert signature.decode() == hmac.new(b"secret", query, hashlib.sha256).hexdigest()


def test_a_websocket_signature_is_over_the_sorted_parameters() -> None:
    request = json.loads(Signer("key", "secret").websocket(5, "order.place", {"symbol": "BTCUSDT", "side": "BUY"}, 1_700_000_000_000))
    assert (request["id"], request["method"]) == (5, "order.place")
    payload = b"apiKey=key&side=BUY&symbol=BTCUSDT&timestamp=1700000000000"
    assert request["params"].pop("signature") == hmac.new(b"secret", payload, hashlib.sha256).hexdigest()
    assert request["params"] == {"symbol": "BTCUSDT", "side": "BUY", "apiKey": "key", "timestamp": "1700000000000"}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_001])
def test_a_masked_frame_gives_its_text_back(size: int) -> None:
    text = bytes(number % 251 for number in range(size))
    frame = masked_frame(text)
    head = 2 if size < 126 else 4 if size < 65_536 else 10
    assert frame[0] == 0x81
    assert frame[1] & 0x80, "a client's frames are masked"
    length = frame[1] & 0x7F if head == 2 else int.from_bytes(frame[2:head])
    mask, masked = frame[head : head + 4], frame[head + 4 :]
    assert length == size == len(masked)
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked)) == text
