"""The WebSocket listener over real sockets: order, bounds, and what a careless or hostile client can and cannot do."""

import asyncio
import logging
import random
import socket
import time
from contextlib import AsyncExitStack

import pytest
import structlog
import websockets

from tests.support.secured import Secured
from tests.unit.transport.support import (
    WS_PATH,
    Client,
    TextEcho,
    TextLater,
    WsClient,
    client_tls,
    frame,
    handshake,
    memory_peak,
    until,
    url,
    websocket_server,
)
from zerosum.gateway.messages import ReplyText, Session
from zerosum.net.headers import security_headers

PING, PONG, CLOSE = 9, 10, 8


async def test_an_ordinary_client_is_answered_text_by_text() -> None:
    api = TextEcho()
    async with websocket_server(api) as (server, port):
        async with websockets.connect(url("ws", port, f"{WS_PATH}?timeUnit=microsecond"), ssl=client_tls()) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            await client.send(["frag", "men", "ted"])
            assert await client.recv() == "fragmented"
            await client.send("é" * 30_000)
            assert await client.recv() == "é" * 30_000
            await client.send("size=65536")
            assert len(await client.recv()) == 65_536
            pong = await client.ping()
            await asyncio.wait_for(pong, 5)
            (session,) = api.sessions
            assert (session.client, session.path, session.query) == ("127.0.0.1", WS_PATH, b"timeUnit=microsecond")
        assert client.close_code == 1000
        await until(lambda: not server.connections)
        assert server.counters.messages == 4


async def test_what_was_not_asked_for_can_be_sent_until_the_session_ends() -> None:
    api = TextEcho()
    ended: list[str] = []
    async with websocket_server(api) as (server, port):
        async with WsClient.connect(port) as client:
            await client.send(frame(b"a"))
            assert await client.text() == b"a"
            (session,) = api.sessions
            session.on_closed += [lambda: ended.append("one"), lambda: ended.append("two")]
            session.send(b"event 1")
            session.send(b"event 2")
            assert [await client.text(), await client.text()] == [b"event 1", b"event 2"]
        await until(lambda: not server.connections)
        session.send(b"event 3")
        assert session.closed
    assert ended == ["one", "two"]


@pytest.mark.parametrize("path", ["/", "/ws-api/v2", "/ws-api/v3/", "/stream"])
async def test_other_paths_are_404(path: str) -> None:
    async with websocket_server(TextEcho()) as (_, port), Client.connect(port) as client:
        await client.send(handshake(path))
        assert await client.response() == (404, b'{"code":-1000,"msg":"There is nothing at this path."}')
        assert await client.is_closed()


@pytest.mark.parametrize(
    "sent", [b"GET /ws-api/v3 HTTP/1.1\r\nHost: h\r\n\r\n", b"POST /ws-api/v3 HTTP/1.1\r\nHost: h\r\n\r\n", b"nonsense\r\n\r\n"]
)
async def test_what_is_no_websocket_handshake_is_400(sent: bytes) -> None:
    async with websocket_server(TextEcho()) as (_, port), Client.connect(port) as client:
        await client.send(sent)
        assert await client.response() == (400, b'{"code":-1000,"msg":"Malformed WebSocket handshake."}'), "which quotes nobody"
        assert await client.is_closed()


async def test_every_answer_to_a_handshake_has_the_headers_that_keep_browsers_off(secured: Secured | None) -> None:
    async with websocket_server(TextEcho(), connections_max=2) as (_, port):
        heads = []
        async with Client.connect(port) as one, Client.connect(port) as other, Client.connect(port) as refused:
            for client, said in ((one, handshake()), (other, handshake("/")), (refused, b"nonsense\r\n\r\n")):
                await client.send(said)
                heads.append(await client.reader.readuntil(b"\r\n\r\n"))
    assert [head.split(b" ")[1] for head in heads] == [b"101", b"404", b"400"]
    for name, value in security_headers(secured is not None):
        assert [head.count(f"\r\n{name}: {value}\r\n".encode()) for head in heads] == [1, 1, 1]


async def test_a_handshake_that_does_not_end_is_cut_off() -> None:
    async with (
        websocket_server(TextEcho(), handshake_timeout_s=0.2) as (_, port),
        Client.connect(port) as silent,
        Client.connect(port) as slow,
    ):
        await slow.send(handshake()[:-2])
        assert await silent.is_closed(1.0)
        assert await slow.is_closed(1.0)


@pytest.mark.parametrize(
    ("code", "frames"),
    [
        (1009, [frame(b"x" * 101)]),
        (1009, [frame(b"", length=1 << 40)]),
        (1009, [frame(b"x" * 60, fin=False), frame(b"x" * 41, opcode=0)]),
        (1009, [frame(b"x" * 60, fin=False), frame(b"x" * 41, opcode=0, fin=False)]),
        (1003, [frame(b"binary", opcode=2)]),
        (1003, [frame(b"binary", opcode=2, fin=False)]),
        (1007, [frame(b"\xff")]),
        (1007, [frame(b"\xc3", fin=False), frame(b"\x28", opcode=0)]),
        (1002, [frame(b"a", rsv=4)]),
        (1002, [frame(b"a", opcode=3)]),
        (1002, [frame(b"a", opcode=0)]),
        (1002, [frame(b"a", fin=False), frame(b"b")]),
        (1002, [frame(b"a", opcode=PING, fin=False)]),
        (1002, [frame(b"a" * 126, opcode=PING)]),
        (1002, [b"\x81\x01a"]),  # not masked
    ],
)
async def test_a_frame_that_breaks_a_rule_closes_its_connection_with_the_reason(code: int, frames: list[bytes]) -> None:
    api = TextEcho()
    async with websocket_server(api, message_bytes_max=100) as (server, port), WsClient.connect(port) as client:
        await client.send(b"".join(frames) + frame(b"after"))
        assert await client.close_code() == code
        await client.send(frame(code.to_bytes(2), opcode=CLOSE))
        assert await client.is_closed()
        assert server.counters.protocol_errors == 1
    assert api.asked == []


async def test_a_message_of_just_the_bound_is_taken_whole_or_in_parts() -> None:
    async with websocket_server(TextEcho(), message_bytes_max=70_000) as (_, port), WsClient.connect(port) as client:
        await client.send(frame(b"x" * 70_000))
        assert await client.text() == b"x" * 70_000
        parts = [frame(b"\xc3", fin=False), *[frame(b"\xa9\xc3", opcode=0, fin=False)] * 100, frame(b"", opcode=0, fin=False)]
        await client.send(b"".join(parts) + frame(b"in between", opcode=PING) + frame(b"\xa9", opcode=0))
        assert await client.frame() == (0x80 | PONG, b"in between")
        assert await client.text() == "é".encode() * 101


async def test_an_endless_frame_or_message_takes_no_memory() -> None:
    async with websocket_server(TextEcho()) as (server, port):
        for start in (frame(b"", length=1 << 40), frame(b"x", fin=False)):
            async with WsClient.connect(port) as client:
                more = frame(b"x" * 60_000, opcode=0, fin=False)
                with memory_peak() as peak:
                    await client.flood(start, more, 300)
                    await until(lambda: not server.connections)
                assert peak() < 4 << 20


async def test_empty_fragments_take_no_memory() -> None:
    async with websocket_server(TextEcho(), messages_per_s_max=10**9) as (_, port), WsClient.connect(port) as client:
        await client.send(frame(b"a", fin=False))
        fragments = frame(b"", opcode=0, fin=False) * 20_000
        with memory_peak() as peak:
            for _ in range(20):
                await client.send(fragments)
                await asyncio.sleep(0)
            await client.send(frame(b"b", opcode=0))
            assert await client.text() == b"ab"
            assert peak() < 1 << 20


def connected(port: int) -> socket.socket:
    client, tls = socket.create_connection(("127.0.0.1", port)), client_tls()
    return client if tls is None else tls.wrap_socket(client, server_hostname="127.0.0.1")


async def test_a_flood_of_small_frames_takes_no_memory() -> None:
    """The library doubles its buffer when a read fills it; with a thousand clients that do this, it must not."""

    class Silent:
        def handle_ws(self, text: bytes, session: Session, reply: ReplyText) -> None:
            """Nothing comes back that would have to be read."""

    async with websocket_server(Silent(), messages_per_s_max=10**9, in_flight_max=10**9) as (server, port):
        with await asyncio.to_thread(connected, port) as client:
            client.sendall(handshake())
            flood = frame(b"") * 100_000
            with memory_peak() as peak:
                await asyncio.to_thread(client.sendall, flood)
                await until(lambda: server.counters.messages == 100_000, 10.0)
                assert peak() < 350_000


async def test_a_client_that_does_not_answer_the_closing_is_cut_off() -> None:
    async with websocket_server(TextEcho()) as (server, port), WsClient.connect(port) as client:
        await client.send(frame(b"", opcode=2))
        assert await client.close_code() == 1003
        await until(lambda: not server.connections, timeout_s=3.0)


@pytest.mark.parametrize("opcode", [1, PING])
async def test_more_frames_in_a_second_than_allowed_are_read_later(opcode: int) -> None:
    """A client that pipelines is slowed by its own socket, and loses nothing."""
    per_s, count = 2_000, 6_000  # one read may bring some hundreds at once
    payload = b"a" * 50
    async with websocket_server(TextEcho(), messages_per_s_max=per_s) as (server, port), WsClient.connect(port) as client:
        began = asyncio.get_running_loop().time()
        client.writer.write(frame(payload, opcode=opcode) * count)
        await until(lambda: server.counters.sent >= per_s)
        at_once = server.counters.sent
        for _ in range(count):
            assert (await client.frame())[1] == payload
        took = asyncio.get_running_loop().time() - began
    assert at_once < per_s + 1_000
    assert took > 0.9 * (count - per_s - 1_000) / per_s


# -- flow


@pytest.mark.parametrize("in_flight_max", [1, 7, 1_000])
async def test_a_flood_is_answered_whole_and_in_order(in_flight_max: int) -> None:
    """Whatever is held back by a bound must go on by itself, or a client hangs."""
    async with (
        websocket_server(TextEcho(), in_flight_max=in_flight_max, messages_per_s_max=10**6) as (server, port),
        WsClient.connect(port) as client,
    ):
        count = 20_000
        client.writer.write(b"".join(frame(b"%d" % n) for n in range(count)))
        for n in range(count):
            assert await client.text() == b"%d" % n
        assert server.counters.messages == count


async def test_no_more_than_the_bound_are_with_the_api_and_the_rest_waits() -> None:
    api = TextLater()
    async with websocket_server(api, in_flight_max=5) as (_, port), WsClient.connect(port) as client, WsClient.connect(port) as other:
        client.writer.write(b"".join(frame(b"%d" % n) for n in range(1_000)))
        await until(lambda: len(api.asked) == 5)
        await asyncio.sleep(0.05)
        assert api.most == 5
        await other.send(frame(b"other"))
        await until(lambda: len(api.asked) == 6)
        api.asked.insert(0, api.asked.pop())
        api.answer()
        assert await other.text() == b"other"
        for n in range(1_000):
            await until(lambda: api.asked)
            api.answer()
            assert await client.text() == b"%d" % n
        assert api.most <= 6


async def test_a_flood_that_waits_takes_no_memory() -> None:
    """What the bound holds back stays with the sender: the socket is not read."""
    api = TextLater()
    async with websocket_server(api, in_flight_max=5) as (_, port), WsClient.connect(port) as client:
        text = frame(b"x" * 1_000) * 100
        with memory_peak() as peak:
            stuck = False
            for _ in range(300):  # 30 MB
                client.writer.write(text)
                try:
                    await asyncio.wait_for(client.writer.drain(), 0.3)
                except TimeoutError:
                    stuck = True
                    break
            assert stuck
            assert peak() < 2 << 20


@pytest.mark.parametrize("seed", range(3))
async def test_answers_of_any_size_reach_a_reader_of_any_speed(seed: int) -> None:
    """Back-pressure at every stage, in every order: nothing is lost, out of order or stuck."""
    rng = random.Random(seed)
    sizes = [rng.choice([1, 100, 5_000, 70_000, 400_000]) for _ in range(300)]
    async with websocket_server(TextEcho(), unread_bytes_max=200_000, in_flight_max=rng.choice([2, 50])) as (server, port):
        async with WsClient.connect(port) as client:
            client.writer.write(b"".join(frame(b"size=%d" % size) for size in sizes))
            for size in sizes:
                if rng.random() < 0.05:
                    await asyncio.sleep(0.02)
                assert await client.text() == b"y" * size
        assert server.counters.slow_clients == 0


async def test_requests_of_a_client_that_does_not_read_are_not_taken_any_more() -> None:
    """A client that asks for much and reads nothing keeps to itself what it asks for."""
    api = TextEcho()
    async with websocket_server(api, unread_bytes_max=400_000) as (server, port), WsClient.connect(port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with memory_peak() as peak:
            client.writer.write(frame(b"size=50000") * 2_000)  # 100 MB
            await asyncio.sleep(0.5)
            taken = len(api.asked)
            assert taken < 500
            assert peak() < 4 << 20
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(2_000):
            assert len(await client.text()) == 50_000
        assert (len(api.asked), server.counters.slow_clients) == (2_000, 0)


async def test_events_for_a_client_that_does_not_read_close_it() -> None:
    api = TextEcho()
    ended: list[bool] = []
    async with websocket_server(api, unread_bytes_max=300_000) as (server, port), WsClient.connect(port) as client:
        await client.send(frame(b"a"))
        assert await client.text() == b"a"
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (session,) = api.sessions
        session.on_closed.append(lambda: ended.append(True))
        with memory_peak() as peak:
            for _ in range(20_000):  # 200 MB
                session.send(b"e" * 10_000)
                await asyncio.sleep(0)
            assert peak() < 2 << 20
        assert server.counters.slow_clients == 1
        await until(lambda: ended)  # it does not take the closing frame either, and is cut off
        assert session.closed


async def test_pings_of_a_client_that_does_not_read_the_pongs_close_it() -> None:
    async with (
        websocket_server(TextEcho(), unread_bytes_max=50_000, messages_per_s_max=10**9) as (server, port),
        WsClient.connect(port) as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        pings = frame(b"p" * 125, opcode=PING) * 1_000
        with memory_peak() as peak:
            for _ in range(300):
                client.writer.write(pings)
                try:
                    await client.writer.drain()
                except ConnectionError:
                    break
            await until(lambda: not server.connections)
            assert peak() < 4 << 20
        assert server.counters.slow_clients == 1


async def test_one_answer_larger_than_the_bound_is_delivered() -> None:
    async with websocket_server(TextEcho(), unread_bytes_max=10_000) as (_, port), WsClient.connect(port) as client:
        await client.send(frame(b"size=5000000") + frame(b"next"))
        assert len(await client.text()) == 5_000_000
        assert await client.text() == b"next"


async def test_a_flood_on_one_connection_does_not_hold_up_another() -> None:
    class Slow(TextEcho):
        def handle_ws(self, text: bytes, session: Session, reply: ReplyText) -> None:
            time.sleep(0.000_2)  # what an order costs, and more
            reply(text)

    async with (
        websocket_server(Slow(), messages_per_s_max=10**6) as (_, port),
        WsClient.connect(port) as flood,
        WsClient.connect(port) as other,
    ):
        flood.writer.write(frame(b"x") * 20_000)  # four seconds' worth
        await flood.text()
        loop = asyncio.get_running_loop()
        for _ in range(10):
            began = loop.time()
            await other.send(frame(b"other"))
            assert await other.text() == b"other"
            assert loop.time() - began < 0.25


async def test_what_is_sent_in_one_turn_is_written_at_once() -> None:
    """A write is a system call: a hundred for a hundred answers would be most of what they cost."""
    api = TextLater()
    async with websocket_server(api) as (server, port), WsClient.connect(port) as client:
        await client.send(frame(b"a") * 100)
        await until(lambda: len(api.asked) == 100)
        for _ in range(100):
            api.answer()
        assert server.counters.sent == 100
        assert await client.reader.read(1_000) == b"\x81\x01a" * 100


# -- life


async def test_pings_are_sent_and_a_client_without_pongs_is_closed() -> None:
    async with (
        websocket_server(TextEcho(), ping_interval_s=0.1, pong_timeout_s=0.4) as (server, port),
        WsClient.connect(port) as lively,
        WsClient.connect(port) as silent,
    ):
        for _ in range(8):
            first, payload = await lively.frame()
            assert first == 0x80 | PING
            await lively.send(frame(payload, opcode=PONG))
        assert await silent.close_code() == 1001
        assert server.counters.silent_clients == 1
        await lively.send(frame(b"a"))
        while (await lively.frame())[0] != 0x81:
            pass


async def test_a_connection_is_closed_at_the_end_of_its_lifetime() -> None:
    async with websocket_server(TextEcho(), lifetime_s=0.3) as (_, port), WsClient.connect(port) as client:
        assert await client.close_code() == 1001


async def test_a_text_that_is_never_answered_closes_its_connection() -> None:
    async with websocket_server(TextLater(), reply_timeout_s=0.3) as (server, port), WsClient.connect(port) as client:
        await client.send(frame(b"a"))
        assert await client.close_code() == 1011
        assert server.counters.unanswered == 1


async def test_what_the_api_raises_closes_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with websocket_server(TextEcho()) as (_, port), WsClient.connect(port) as client, WsClient.connect(port) as other:
        with caplog.at_level(logging.ERROR):
            await client.send(frame(b"fails"))
            assert await client.close_code() == 1011
        assert "the Api has a bug" in caplog.text
        await other.send(frame(b"a"))
        assert await other.text() == b"a"


async def test_what_the_api_raises_on_a_text_that_had_to_wait_closes_its_connection_too() -> None:
    raised: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(str(context["exception"])))
    async with websocket_server(TextEcho()) as (server, port), WsClient.connect(port) as client:
        await client.send(frame(b"a") * 200 + frame(b"fails") + frame(b"b"))
        assert await client.close_code() == 1011
        assert server.counters.messages == 201
    assert raised == ["the Api has a bug"]


async def test_an_answer_for_a_client_that_has_left_is_let_fall() -> None:
    api = TextLater()
    async with websocket_server(api) as (server, port):
        async with WsClient.connect(port) as client:
            await client.send(frame(b"a"))
            await until(lambda: api.asked)
        await until(lambda: not server.connections)
        api.answer()


async def test_a_second_answer_to_one_text_is_a_bug() -> None:
    api = TextLater()
    async with websocket_server(api) as (_, port), WsClient.connect(port) as client:
        await client.send(frame(b"a"))
        await until(lambda: api.asked)
        again = api.asked[0]
        api.answer()
        api.asked.append(again)
        with pytest.raises(AssertionError, match="answered once"):
            api.answer()


async def test_past_the_bound_a_connection_is_told_so_and_room_is_given_back() -> None:
    async with websocket_server(TextEcho(), connections_max=2) as (server, port):
        async with WsClient.connect(port), WsClient.connect(port), Client.connect(port) as third:
            await third.send(handshake())
            status, body = await third.response()
            assert (status, b"-1008" in body) == (503, True)
        await until(lambda: not server.connections)
        async with WsClient.connect(port) as client:
            await client.send(frame(b"a"))
            assert await client.text() == b"a"
        assert server.counters.connections_refused == 1


async def test_connections_without_a_handshake_are_bounded_too() -> None:
    """Each holds a file descriptor, and when there are none left the log cannot make its next segment."""
    async with websocket_server(TextEcho(), connections_max=1) as (server, port), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client.over(None, port)) for _ in range(80)]
        await until(lambda: server.counters.connections_refused)
        closed = await asyncio.gather(*(is_closed_within(client, 0.3) for client in clients))
        assert sum(closed) == 80 - 65
        assert server.counters.connections_refused == 15


async def test_one_address_does_not_take_all_connections() -> None:
    async with websocket_server(TextEcho(), connections_per_address_max=2) as (server, port):
        async with WsClient.connect(port), WsClient.connect(port), Client.connect(port) as third:
            await third.send(handshake())
            status, body = await third.response()
            assert (status, b"-1008" in body) == (503, True)
            async with WsClient.connect(port, source="127.0.0.2") as other:
                await other.send(frame(b"a"))
                assert await other.text() == b"a"
        await until(lambda: not server.connections)
        async with WsClient.connect(port) as again:
            await again.send(frame(b"a"))
            assert await again.text() == b"a"
        assert server.counters.connections_refused == 1


async def test_behind_a_trusted_proxy_each_client_has_its_own_bound() -> None:
    proxies = frozenset({"127.0.0.1"})
    one, other = "X-Forwarded-For: 1.1.1.1\r\n", "X-Forwarded-For: ::ffff:2.2.2.2\r\n"
    async with (
        websocket_server(TextEcho(), trusted_proxies=proxies, connections_per_address_max=1) as (_, port),
        WsClient.connect(port, headers=one),
        WsClient.connect(port, headers=other),
        Client.connect(port) as third,
    ):
        await third.send(handshake(headers=one))
        assert (await third.response())[0] == 503


async def test_connections_of_one_address_without_a_handshake_are_bounded_too() -> None:
    async with websocket_server(TextEcho(), connections_per_address_max=1) as (server, port), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client.over(None, port)) for _ in range(80)]
        await until(lambda: server.counters.connections_refused == 80 - 65)
        async with WsClient.connect(port, source="127.0.0.2") as other:
            await other.send(frame(b"a"))
            assert await other.text() == b"a"
        closed = await asyncio.gather(*(is_closed_within(client, 0.3) for client in clients))
        assert sum(closed) == 80 - 65


async def is_closed_within(client: Client, timeout_s: float) -> bool:
    try:
        return await client.is_closed(timeout_s)
    except TimeoutError:
        return False


async def test_stopping_answers_what_is_under_way_and_closes_the_rest() -> None:
    api = TextLater()
    async with (
        websocket_server(api, in_flight_max=2, shutdown_timeout_s=5.0) as (server, port),
        WsClient.connect(port) as busy,
        WsClient.connect(port) as idle,
        Client.connect(port) as half,
    ):
        await half.send(handshake()[:-2])
        await busy.send(frame(b"a") + frame(b"b") + frame(b"c"))  # the third waits for the first two
        await until(lambda: len(api.asked) == 2)
        stopping = asyncio.create_task(server.stop())
        assert await idle.close_code() == 1001
        await idle.send(frame((1001).to_bytes(2), opcode=CLOSE))
        assert await idle.is_closed()
        assert await half.is_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await busy.send(frame(b"too late"))
        api.answer()
        assert await busy.text() == b"a"
        await asyncio.sleep(0.05)
        assert [text for text, _ in api.asked] == [b"b"]
        api.answer()
        assert await busy.text() == b"b"
        assert await busy.close_code() == 1001
        await busy.send(frame((1001).to_bytes(2), opcode=CLOSE))
        await asyncio.wait_for(stopping, 2)
        assert api.asked == []


async def test_stopping_does_not_wait_for_ever() -> None:
    async with websocket_server(TextLater(), shutdown_timeout_s=0.2) as (server, port), WsClient.connect(port) as client:
        await client.send(frame(b"a"))
        await until(lambda: server.counters.messages)
        async with asyncio.timeout(1):
            await server.stop()
        assert server.connections == 0
        assert await client.is_closed()


async def test_the_log_cannot_be_flooded_by_clients() -> None:
    with structlog.testing.capture_logs() as said:
        async with websocket_server(TextEcho()) as (server, port):
            for _ in range(40):
                async with WsClient.connect(port) as client:
                    await client.send(frame(b"", opcode=2))
                    assert await client.close_code() == 1003
            assert server.counters.protocol_errors == 40
    assert 1 <= sum(line["event"] == "websocket.closed" for line in said) <= 20
