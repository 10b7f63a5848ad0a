"""The REST listener over real sockets: what reaches the Api, and what a careless or hostile client can and cannot do."""

import asyncio
import json
import logging
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from tests.unit.transport.support import Client, RestEcho, RestLater, client_tls, http_client, memory_peak, plain, rest_server, until, url
from zerosum.gateway.messages import Request

GET = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"
GET_AND_CLOSE = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def code(body: bytes) -> int:
    return int(json.loads(body)["code"])


async def test_a_request_reaches_the_api_as_sent_and_its_response_comes_back() -> None:
    api = RestEcho()
    async with rest_server(api) as (server, port), http_client() as client:
        response = await client.post(
            url("http", port, "/api/v3/order?symbol=BTC%55SDT&a=%20"),
            content=b"side=BUY&x=%31",
            headers={"X-MBX-APIKEY": "key", "X-MBX-TIME-UNIT": "MICROSECOND", "Content-Type": "application/json"},
        )
        assert server.counters.requests == 1
    assert (response.status_code, response.content) == (200, b"/api/v3/order")
    assert response.headers["content-type"] == "application/json;charset=UTF-8"
    assert response.headers["x-mbx-used-weight-1m"] == "7"
    (asked,) = api.asked
    assert asked.received_us > 1_700_000_000_000_000
    asked.received_us = 0
    assert asked == Request(
        method="POST",
        path="/api/v3/order",
        query=b"symbol=BTC%55SDT&a=%20",
        body=b"side=BUY&x=%31",
        api_key="key",
        time_unit="MICROSECOND",
        client="127.0.0.1",
        received_us=0,
    )


async def test_a_path_is_handed_on_as_it_was_sent() -> None:
    """Unpacked, /api%2Fv3%2Forder would be an order to us, and no business of a proxy that watches over /api/v3/order."""
    api = RestEcho()
    async with rest_server(api) as (_, port), Client.connect(port) as client:
        await client.send(GET % b"a%2Fb%2e%41?c=%2F")
        assert await client.response() == (200, b"/a%2Fb%2e%41")


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with rest_server(RestEcho()) as (_, port), Client.connect(port) as client:
        for name in (b"a", b"b"):
            await client.send(GET % name)
            assert await client.response() == (200, b"/" + name)


async def test_an_answer_may_come_later_and_twice_is_once() -> None:
    api = RestLater()
    async with rest_server(api) as (_, port), Client.connect(port) as client:
        await client.send(GET % b"a")
        await until(lambda: api.asked)
        again = api.asked[0]
        api.answer()
        api.asked.append(again)
        api.answer()
        assert await client.response() == (200, b"/a")
        await client.send(GET % b"b")
        await until(lambda: api.asked)
        api.answer()
        assert await client.response() == (200, b"/b")


async def test_what_the_api_raises_is_500_for_its_client_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with rest_server(RestEcho()) as (server, port), Client.connect(port) as client, Client.connect(port) as other:
        with caplog.at_level(logging.ERROR):
            await client.send(GET % b"fails")
            assert (await client.response())[0] == 500
        assert "the Api has a bug" in caplog.text
        assert server.counters.in_flight == 0
        await other.send(GET % b"a")
        assert await other.response() == (200, b"/a")


# -- size


async def test_a_body_of_just_the_bound_is_taken() -> None:
    api = RestEcho()
    async with rest_server(api, body_bytes_max=70_000) as (_, port), Client.connect(port) as client:
        await client.send(b"POST /a HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000)
        assert (await client.response())[0] == 200
        chunked = b"".join(b"1\r\nx\r\n" for _ in range(70_000)) + b"0\r\n\r\n"
        await client.send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
        assert (await client.response())[0] == 200
    assert [len(request.body) for request in api.asked] == [70_000, 70_000]


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (413, b"POST /a HTTP/1.1\r\nContent-Length: 101\r\n\r\n"),
        (413, b"POST /a HTTP/1.1\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n"),
        (413, b"POST /a HTTP/1.1\r\nContent-Length: 101\r\n\r\n" + b"x" * 300_000),
        (413, b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101),
        (413, b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 300_000),
        (413, b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: " + b"x" * 300_000),
        (414, b"GET /" + b"x" * 200 + b" HTTP/1.1\r\n\r\n"),
        (414, b"GET /" + b"x" * 200),
        (431, b"GET /a HTTP/1.1\r\nA: " + b"x" * 300 + b"\r\n\r\n"),
        (431, b"GET /a HTTP/1.1\r\nA: " + b"x" * 300_000),
        (431, b"GET /a HTTP/1.1\r\n" + b"x" * 300_000),
        (431, b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 11 + b"\r\n"),
        (431, b"GET /a HTTP/1.1\r\n" + b"A:\r\n" * 100_000),
    ],
)
async def test_what_is_too_large_is_refused_and_never_reaches_the_api(status: int, sent: bytes) -> None:
    api = RestEcho()
    bounds: dict[str, Any] = {"body_bytes_max": 100, "url_bytes_max": 150, "header_bytes_max": 250, "headers_max": 10}
    async with rest_server(api, **bounds) as (server, port), Client.connect(port) as client:
        client.writer.write(sent)
        got, body = await client.response()
        assert (got, code(body)) == (status, -1000)
        client.end()
        assert await client.is_closed()
        assert server.http_counters.requests_refused == 1
    assert api.asked == []


@pytest.mark.parametrize("start", [b"GET /a HTTP/1.1\r\nA: ", b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"])
async def test_an_endless_request_takes_no_memory(start: bytes) -> None:
    async with rest_server(RestEcho()) as (server, port), Client.connect(port) as client:
        with memory_peak() as peak:
            await client.flood(start, b"x" * 65_536, 200)
            await until(lambda: not server.connections)
        assert peak() < 4 << 20


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET\r\n\r\n",
        b"GET /a HTTP/9.9\r\n\r\n",
        b"GET /a HTTP/2.0\r\n\r\n",
        b"GET /a\r\n\r\n",  # HTTP/0.9
        b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"BREW /a HTTP/1.1\r\n\r\n",
        b"GET a HTTP/1.1\r\n\r\n",
        b"GET http://h/a HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT h:80 HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET //[ HTTP/1.1\r\n: \r\n\r\n",
        b"POST /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
    ],
)
async def test_what_is_malformed_is_400(sent: bytes) -> None:
    api = RestEcho()
    async with rest_server(api) as (server, port), Client.connect(port) as client:
        await client.send(sent)
        status, body = await client.response()
        assert (status, code(body)) == (400, -1000)
        client.end()
        assert await client.is_closed()
        await until(lambda: not server.connections)
    assert api.asked == []


async def test_an_upgrade_is_declined_by_an_ordinary_answer() -> None:
    async with rest_server(RestEcho()) as (_, port), Client.connect(port) as client:
        await client.send(b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert await client.response() == (200, b"/a")
        assert await client.is_closed()


# -- time


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (408, [b"GET /a HT", b"TP/1.1\r\n", *[b"A: b\r\n"] * 20]),
        (408, [b"POST /a HTTP/1.1\r\nContent-Length: 50\r\n\r\n", *[b"x"] * 20]),
        (408, [b"\r\n"] * 20),
    ],
    ids=["head", "body", "nothing but line ends"],
)
async def test_a_request_sent_too_slowly_is_408(status: int, parts: list[bytes]) -> None:
    async with rest_server(RestEcho(), request_timeout_s=0.3) as (server, port), Client.connect(port) as client:
        for part in parts:
            client.writer.write(part)
            await asyncio.sleep(0.04)
        got, body = await client.response()
        assert (got, code(body)) == (status, -1000)
        assert server.http_counters.requests_refused == 1


async def test_whoever_says_nothing_is_closed() -> None:
    async with rest_server(RestEcho(), request_timeout_s=0.2) as (_, port), Client.connect(port) as client:
        assert await client.is_closed(1.0)


async def test_an_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    async with rest_server(RestEcho(), keep_alive_s=0.2, request_timeout_s=60.0) as (_, port), Client.connect(port) as client:
        await client.send(GET % b"a")
        assert await client.response() == (200, b"/a")
        assert await client.is_closed(1.0)


async def test_slow_senders_do_not_slow_others() -> None:
    async with rest_server(RestEcho(), connections_per_address_max=400) as (_, port), http_client() as client:
        slow = [await asyncio.open_connection("127.0.0.1", port, ssl=client_tls()) for _ in range(300)]
        for _, writer in slow:
            writer.write(b"GET /a HTTP/1.1\r\nA: ")
        loop = asyncio.get_running_loop()
        for _ in range(20):
            for _, writer in slow:
                writer.write(b"x")
            began = loop.time()
            assert (await client.get(url("http", port, "/b"))).status_code == 200
            assert loop.time() - began < 1.0
        for _, writer in slow:
            writer.transport.abort()


async def test_an_answer_that_does_not_come_is_reported_as_an_unknown_outcome() -> None:
    """A client must not hang, and must not take an order for refused that may have been placed."""
    api = RestLater()
    async with rest_server(api, reply_timeout_s=0.2) as (server, port), Client.connect(port) as client:
        await client.send(GET % b"a")
        status, body = await client.response()
        assert (status, code(body)) == (504, -1007)
        assert (server.counters.unanswered, server.counters.in_flight) == (1, 0)
        api.answer()  # too late: let fall
        await client.send(GET % b"b")
        await until(lambda: api.asked)
        api.answer()
        assert await client.response() == (200, b"/b")


async def test_whoever_does_not_read_a_response_is_cut_off() -> None:
    api = RestEcho()
    async with rest_server(api, send_timeout_s=0.3, keep_alive_s=0.1) as (server, port), Client.connect(port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET /a?size=30000000 HTTP/1.1\r\n\r\n")
        await until(lambda: api.asked)
        await until(lambda: not server.connections)
        assert server.http_counters.connections_aborted == 1


async def test_whoever_does_not_read_a_response_is_cut_off_while_it_is_being_sent() -> None:
    async with rest_server(RestEcho(), send_timeout_s=0.3) as (server, port), Client.connect(port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET /a?size=30000000 HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        await until(lambda: server.http_counters.connections_aborted, timeout_s=2.0)
        await until(lambda: server.counters.in_flight == 0)


async def test_a_request_that_waits_behind_another_is_not_too_slow() -> None:
    """While the first one has its turn, it is the server that does not read the second."""
    api = RestLater()
    async with rest_server(api, request_timeout_s=0.3) as (_, port), Client.connect(port) as client:
        await client.send(GET % b"a")
        await until(lambda: api.asked)
        await client.send(b"POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nx")
        await asyncio.sleep(0.6)
        api.answer()
        assert await client.response() == (200, b"/a")
        await asyncio.sleep(0.15)  # its own time begins now
        await client.send(b"x")
        await until(lambda: api.asked)
        api.answer()
        assert await client.response() == (200, b"/b")


async def test_the_keep_alive_time_does_not_cut_a_request_short() -> None:
    api = RestLater()
    async with rest_server(api, keep_alive_s=0.1) as (_, port), Client.connect(port) as client:
        await client.send(GET % b"a" + b"GET /b HT")
        await until(lambda: api.asked)
        api.answer()
        assert await client.response() == (200, b"/a")
        await asyncio.sleep(0.3)
        await client.send(b"TP/1.1\r\n\r\n")
        await until(lambda: api.asked)
        api.answer()
        assert await client.response() == (200, b"/b")


async def test_a_long_lived_connection_may_send_more_than_one_request_may() -> None:
    bounds: dict[str, Any] = {"url_bytes_max": 100, "header_bytes_max": 100, "headers_max": 10, "body_bytes_max": 100}
    async with rest_server(RestEcho(), **bounds) as (_, port), Client.connect(port) as client:
        for _ in range(150):
            client.writer.write(b"POST /a HTTP/1.1\r\nContent-Length: 50\r\n\r\n")
            await asyncio.sleep(0.001)
            client.writer.write(b"x" * 50)
            assert await client.response() == (200, b"/a")


async def test_a_client_that_leaves_before_its_answer_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    api = RestLater()
    async with rest_server(api) as (server, port):
        async with Client.connect(port) as client:
            await client.send(GET % b"a" + GET % b"b")
            await until(lambda: api.asked)
        api.answer()  # the client's end may mean that it sends no more, and still reads
        await until(lambda: not server.connections)
        while api.asked:  # the second may have had its turn before the end was noticed
            api.answer()
        await until(lambda: server.counters.in_flight == 0)
    assert caplog.text == ""


# -- number


async def test_past_the_bound_a_connection_is_told_so_and_room_is_given_back() -> None:
    async with rest_server(RestEcho(), connections_max=2) as (server, port):
        async with Client.connect(port) as one, Client.connect(port) as two:
            await one.send(GET % b"a")
            await two.send(GET % b"a")
            assert (await one.response())[0] == (await two.response())[0] == 200
            async with Client.connect(port) as three:
                status, body = await three.response()
                assert (status, code(body)) == (503, -1008)
                assert await three.is_closed()
        await until(lambda: not server.connections)
        async with Client.connect(port) as four:
            await four.send(GET % b"a")
            assert await four.response() == (200, b"/a")
        assert server.http_counters.connections_refused == 1


async def test_connections_that_are_refused_take_no_place_of_others() -> None:
    """They are heard out for a second, as many as an address likes to open."""
    async with rest_server(RestEcho(), connections_max=4, connections_per_address_max=2) as (server, port), AsyncExitStack() as stack:
        for _ in range(12):
            await stack.enter_async_context(Client.connect(port))
        await until(lambda: server.http_counters.connections_refused == 10)
        async with Client.connect(port, source="127.0.0.2") as other:
            await other.send(GET % b"a")
            assert await other.response() == (200, b"/a")


async def test_one_address_does_not_take_all_connections() -> None:
    """Half-sent requests cost their sender nothing: a thousand of them must not keep everybody else out."""
    async with rest_server(RestEcho(), connections_per_address_max=3) as (server, port), AsyncExitStack() as stack:
        held = [await stack.enter_async_context(Client.connect(port)) for _ in range(3)]
        for client in held:
            await client.send(b"GET /a HT")
        async with Client.connect(port) as fourth:
            status, body = await fourth.response()
            assert (status, code(body)) == (503, -1008)
            assert await fourth.is_closed()
        async with Client.connect(port, source="127.0.0.2") as other:
            await other.send(GET % b"a")
            assert await other.response() == (200, b"/a")
        held[0].writer.transport.abort()
        await until(lambda: server.connections == 2)
        async with Client.connect(port) as again:
            await again.send(GET % b"a")
            assert await again.response() == (200, b"/a")
        assert server.http_counters.connections_refused == 1


async def test_connections_of_a_trusted_proxy_are_not_those_of_one_client() -> None:
    proxies = frozenset({"::ffff:127.0.0.1"})
    async with rest_server(RestEcho(), trusted_proxies=proxies, connections_per_address_max=1) as (_, port), AsyncExitStack() as stack:
        for client in [await stack.enter_async_context(Client.connect(port)) for _ in range(3)]:
            await client.send(GET % b"a")
            assert await client.response() == (200, b"/a")


async def test_past_the_bound_a_request_is_told_so_and_the_connection_goes_on() -> None:
    api = RestLater()
    async with rest_server(api, in_flight_max=2) as (server, port), Client.connect(port) as one, Client.connect(port) as two:
        await one.send(GET % b"a")
        await two.send(GET % b"b")
        await until(lambda: len(api.asked) == 2)
        async with Client.connect(port) as three:
            await three.send(GET % b"c")
            status, body = await three.response()
            assert (status, code(body)) == (503, -1008)
            api.answer()
            assert await one.response() == (200, b"/a")
            await three.send(GET % b"d")
            await until(lambda: len(api.asked) == 2)
            api.answer(at=1)
            assert await three.response() == (200, b"/d")
        api.answer()
        assert await two.response() == (200, b"/b")
        assert server.counters.overloaded == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    api = RestEcho()
    names = [b"%d" % n for n in range(30)]
    async with rest_server(api) as (_, port), Client.connect(port) as client:
        await client.send(b"".join(GET % name for name in names))
        for name in names:
            assert await client.response() == (200, b"/" + name)


async def test_a_flood_of_pipelined_requests_is_cut_short_after_the_bound() -> None:
    """They are answered as far as they were taken, the connection is closed, and what was not answered was not done."""
    api = RestLater()
    async with rest_server(api, pipelined_max=4) as (server, port), Client.connect(port) as client:
        with memory_peak() as peak:
            await client.send(b"".join(GET % b"%d" % n for n in range(20_000)))
            for n in range(5):  # the one whose turn it is, and those that wait
                await until(lambda: api.asked)
                api.answer()
                assert await client.response() == (200, b"/%d" % n)
            assert await client.is_closed()
            assert peak() < 8 << 20
        await until(lambda: not server.connections)
        assert server.counters.requests == 5


@pytest.mark.parametrize(
    "bad", [b"nonsense\r\n\r\n", b"POST /b HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", b"POST /b HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_a_refusal_does_not_overtake_the_answers_before_it(bad: bytes) -> None:
    api = RestLater()
    async with rest_server(api, request_timeout_s=0.2) as (_, port), Client.connect(port) as client:
        await client.send(GET % b"a" + bad)
        await until(lambda: api.asked)
        await asyncio.sleep(0.1)
        api.answer()
        assert await client.response() == (200, b"/a")
        rest = await asyncio.wait_for(client.reader.read(), 5)
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")
    assert api.asked == []


# -- the end


async def test_stopping_answers_what_is_under_way_and_closes_the_rest() -> None:
    api = RestLater()
    async with (
        rest_server(api, shutdown_timeout_s=5.0) as (server, port),
        Client.connect(port) as busy,
        Client.connect(port) as idle,
        Client.connect(port) as half,
    ):
        await idle.send(GET % b"idle")
        await until(lambda: api.asked)
        api.answer()
        assert await idle.response() == (200, b"/idle")
        await half.send(b"POST /half HTTP/1.1\r\nContent-Length: 5\r\n\r\nx")
        await busy.send(GET % b"a" + GET % b"b")
        await until(lambda: api.asked)
        stopping = asyncio.create_task(server.stop())
        assert await idle.is_closed()
        status, body = await half.response()
        assert (status, code(body)) == (503, -1016)
        half.writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await busy.send(GET % b"too-late")
        for name in (b"/a", b"/b"):
            await until(lambda: api.asked)
            api.answer()
            assert await busy.response() == (200, name)
        assert await busy.is_closed()
        await asyncio.wait_for(stopping, 2)
        assert api.asked == []


@pytest.mark.parametrize("stop", [True, False])
async def test_a_client_that_still_sends_gets_its_last_answer(stop: bool) -> None:
    """A reset, which is what sending to a closed connection brings, would have most clients forget an answer that they have not read."""
    api = RestLater()
    async with rest_server(api, shutdown_timeout_s=5.0) as (server, port), Client.connect(port) as client:
        await client.send(GET % b"a" if stop else GET_AND_CLOSE)
        await until(lambda: api.asked)
        stopping = asyncio.create_task(server.stop()) if stop else None
        await asyncio.sleep(0)
        api.answer()
        with suppress(ConnectionError):  # over TLS this client notices the end, and stops
            for _ in range(20):
                await client.send(GET % b"too-late")
                await asyncio.sleep(0.005)
        assert await client.response() == (200, b"/a")
        assert await client.reader.read(1) == b"", "the end, not a reset"
        client.writer.close()
        if stopping is not None:
            await asyncio.wait_for(stopping, 1)
        assert api.asked == [], "what came too late is not executed"


async def test_after_the_last_answer_no_request_has_its_turn() -> None:
    """HTTP/1.0 is answered once, whatever its client says of keeping the connection: what it sent behind must not be executed unheard."""
    api = RestEcho()
    request = b"GET /%s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    async with rest_server(api) as (_, port), Client.connect(port) as client:
        await client.send(request % b"a" + request % b"b")
        assert await client.response() == (200, b"/a")
        assert await client.reader.read(1) == b""
    assert [asked.path for asked in api.asked] == ["/a"]


async def test_a_connection_past_the_bound_that_sends_a_body_reads_why_it_is_refused() -> None:
    async with rest_server(RestEcho(), connections_max=1) as (_, port), Client.connect(port), Client.connect(port) as refused:
        await asyncio.sleep(0.05)
        with suppress(ConnectionError):
            for _ in range(20):
                await refused.send(b"x" * 1_000)
                await asyncio.sleep(0.005)
        status, body = await refused.response()
        assert (status, code(body)) == (503, -1008)
        assert await refused.reader.read(1) == b"", "the end, not a reset"


async def test_whoever_does_not_close_is_closed() -> None:
    """A second after its last answer."""
    async with rest_server(RestEcho()) as (server, port), Client.connect(port) as client:
        await client.send(GET_AND_CLOSE)
        assert await client.response() == (200, b"/a")
        await until(lambda: server.connections == 0)


async def test_stopping_does_not_wait_for_ever_and_tells_that_the_outcome_is_unknown() -> None:
    async with rest_server(RestLater()) as (server, port), Client.connect(port) as client:
        await client.send(GET % b"a")
        await until(lambda: server.counters.in_flight)
        await asyncio.wait_for(server.stop(), 2)
        status, body = await client.response()
        assert (status, code(body)) == (504, -1007)


# -- one side closed


@plain
async def test_a_client_that_says_no_more_is_answered_all_the_same() -> None:
    """What it asked is done: to leave it without the answer would be to leave it with an order that it knows nothing of."""
    api = RestLater()
    async with rest_server(api) as (server, port), Client.connect(port) as client:
        await client.send(GET % b"a" + GET % b"b")
        client.writer.write_eof()
        for path in (b"/a", b"/b"):
            await until(lambda: api.asked)
            await asyncio.sleep(0.02)
            api.answer()
            assert await client.response() == (200, path)
        assert await client.is_closed()
        await until(lambda: server.connections == 0)


@plain
async def test_what_was_answered_before_the_end_is_sent_and_the_connection_closed() -> None:
    async with rest_server(RestEcho()) as (server, port), Client.connect(port) as client:
        await client.send(GET % b"a")
        assert await client.response() == (200, b"/a")
        client.writer.write_eof()
        assert await client.is_closed()
        await until(lambda: server.connections == 0)


@plain
async def test_half_a_request_and_the_end_is_malformed() -> None:
    async with rest_server(RestEcho()) as (_, port), Client.connect(port) as client:
        await client.send(b"GET /a HT")
        client.writer.write_eof()
        status, body = await client.response()
        assert (status, code(body)) == (400, -1000)
        assert await client.is_closed()


# -- who it is


@pytest.mark.parametrize(("trusted", "client"), [({"127.0.0.1"}, "1.1.1.1"), ({"10.0.0.1"}, "127.0.0.1")])
async def test_the_api_is_told_the_address_behind_a_trusted_proxy(trusted: set[str], client: str) -> None:
    api = RestEcho()
    async with rest_server(api, trusted_proxies=frozenset(trusted)) as (_, port), http_client() as http:
        await http.get(url("http", port, "/a"), headers={"X-Forwarded-For": "6.6.6.6, 1.1.1.1"})
    assert api.asked[0].client == client
