"""
The REST listener: each HTTP request becomes a Request, is handed to the Api, and its Response is sent.

    HttpServer --> _Application --> Api.handle --> ... --> reply --> HttpServer --> client

Always true:
  - at most in_flight_max requests are with the Api; past that a client reads 503 and -1008, and nothing was done
  - a request that is not answered within reply_timeout_s, or not before the server has stopped, reads -1007: its outcome is not known
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, final

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from zerosum.gateway.messages import Request, Response, RestApi
from zerosum.gateway.transport.bounds import RestBounds
from zerosum.net.address import addresses, client_address
from zerosum.net.http import CONTENT_TYPE, OVERLOADED, HttpCounters, Refusal
from zerosum.net.http_server import HttpServer
from zerosum.net.listener import Visits
from zerosum.net.tls import ServerTls

PAGES: Final = ("/account/", "/sapi/")

UNKNOWN_OUTCOME: Final = Refusal(
    504, b'{"code":-1007,"msg":"Timeout waiting for response from backend server. Send status unknown; execution status unknown."}'
)


@final
@dataclass(slots=True)
class RestCounters:
    """Since the start, but for `in_flight`."""

    requests: int = 0
    overloaded: int = 0  # answered 503 past in_flight_max
    unanswered: int = 0  # not answered by the Api in time
    client_errors: int = 0  # answered 4xx by the Api
    server_errors: int = 0  # answered 5xx, whoever did
    in_flight: int = 0


def _unmeasured(_elapsed_us: int) -> None:
    """Nobody wants to know."""


@final
class _Application:
    """The ASGI application. Its requests are bounded in size and time by BoundedHttp before they come here."""

    def __init__(
        self, api: RestApi, pages: ASGI3Application | None, bounds: RestBounds, counters: RestCounters, trusted_proxies: frozenset[str],
        measure_us: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._api = api
        self._pages = pages
        self._bounds = bounds
        self._counters = counters
        self._trusted_proxies = trusted_proxies
        self._measure_us = measure_us
        self._loop = asyncio.get_running_loop()
        self._pending: dict[asyncio.Future[Response], float] = {}  # oldest first

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        if self._pages is not None and scope["path"].startswith(PAGES):
            return await self._pages(scope, receive, send)
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone, or was refused
            body += message["body"]
            more = message["more_body"]
        counters = self._counters
        counters.requests += 1
        if len(self._pending) >= self._bounds.in_flight_max:
            counters.overloaded += 1
            response = _response(OVERLOADED)
        else:
            started_ns = time.perf_counter_ns()
            response = await self._ask(self._request(scope, body))
            self._measure_us((time.perf_counter_ns() - started_ns) // 1_000)
        if response.status >= 500:
            counters.server_errors += 1
        elif response.status >= 400:
            counters.client_errors += 1
        headers = [CONTENT_TYPE, (b"content-length", b"%d" % len(response.body)), *response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": response.body, "more_body": False})

    async def _ask(self, request: Request) -> Response:
        """The Api's answer, or that its outcome is not known."""
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._pending[answer] = self._loop.time()
        self._counters.in_flight += 1
        try:
            self._api.handle(request, partial(_reply, answer))
            return await answer
        except asyncio.CancelledError:  # the server stops, and has waited for long enough
            self._counters.unanswered += 1
            return _response(UNKNOWN_OUTCOME)
        finally:
            self._counters.in_flight -= 1
            self._pending.pop(answer, None)

    def _request(self, scope: HTTPScope, body: bytes) -> Request:
        api_key = time_unit = None
        forwarded_for = []
        for name, value in scope["headers"]:
            if name == b"x-mbx-apikey":
                api_key = value.decode("latin-1")
            elif name == b"x-mbx-time-unit":
                time_unit = value.decode("latin-1")
            elif name == b"x-forwarded-for":
                forwarded_for.append(value.decode("latin-1"))
        client = scope["client"]
        return Request(
            method=scope["method"],
            path=scope["raw_path"].decode("ascii"),  # as sent: with %2F or %2E it is another, to us as to a proxy in front
            query=scope["query_string"],
            body=body,
            api_key=api_key,
            time_unit=time_unit,
            client=client_address(client[0] if client is not None else "", forwarded_for, self._trusted_proxies),
            received_us=time.time_ns() // 1_000,
        )

    def visit(self, now: float) -> None:
        """Answer what has waited for too long."""
        overdue = []
        for answer, since in self._pending.items():
            if now - since <= self._bounds.reply_timeout_s:
                break
            overdue.append(answer)
        for answer in overdue:
            del self._pending[answer]
            if not answer.done():
                self._counters.unanswered += 1
                answer.set_result(_response(UNKNOWN_OUTCOME))


def _reply(answer: asyncio.Future[Response], response: Response) -> None:
    if not answer.done():  # it may have been given up
        answer.set_result(response)


def _response(refusal: Refusal) -> Response:
    return Response(refusal.status, refusal.body)


@final
class RestServer:
    """
    Serves REST at a listening socket, from `start` to `stop`. Made in the event loop that it runs in.

    `pages` serve what begins with PAGES. `trusted_proxies` are the addresses whose X-Forwarded-For is believed. `measure_us` is given how
    long each request was with the Api.
    """

    def __init__(
        self,
        api: RestApi,
        listener: socket.socket,
        bounds: RestBounds | None = None,
        *,
        pages: ASGI3Application | None = None,
        trusted_proxies: frozenset[str] = frozenset(),
        tls: ServerTls | None = None,
        measure_us: Callable[[int], None] = _unmeasured,
    ) -> None:
        bounds = bounds if bounds is not None else RestBounds()
        proxies = addresses(trusted_proxies)
        self._reply_timeout_s: Final = bounds.reply_timeout_s
        self.counters: Final = RestCounters()
        self._application = _Application(api, pages, bounds, self.counters, proxies, measure_us)
        self._server = HttpServer(self._application, listener, bounds, name="gateway.rest", trusted_proxies=proxies, tls=tls)
        self._visits: Visits

    @property
    def http_counters(self) -> HttpCounters:
        return self._server.counters

    @property
    def connections(self) -> int:
        """How many there are now."""
        return self._server.connections

    @property
    def handshakes_failed(self) -> int:
        """Of TLS, since the start."""
        return self._server.handshakes_failed

    async def start(self) -> None:
        """Serve from here on."""
        await self._server.start()
        self._visits = Visits(self._application.visit, min(1.0, self._reply_timeout_s) / 4)

    async def stop(self) -> None:
        """Take no more requests, answer those under way, close: within shutdown_timeout_s and a little."""
        await self._server.stop()
        self._visits.stop()
