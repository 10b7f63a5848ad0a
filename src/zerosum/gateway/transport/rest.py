"""
The REST listener: each HTTP request becomes a Request, is handed to the Api, and its Response is sent.

    BoundedHttp --> uvicorn --> _Application --> Api.handle --> ... --> reply --> uvicorn --> client

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
from typing import Any, Final, cast, final

import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from zerosum.gateway.messages import Request, Response, RestApi
from zerosum.gateway.transport.bounds import RestBounds
from zerosum.gateway.transport.http import CONTENT_TYPE, LINGER_S, OVERLOADED, UNKNOWN_OUTCOME, BoundedHttp, HttpCounters, Refusal
from zerosum.gateway.transport.listener import BACKLOG, SparingLog, Visits, client_address


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
        self, api: RestApi, bounds: RestBounds, counters: RestCounters, trusted_proxies: frozenset[str], measure_us: Callable[[int], None]
    ) -> None:
        self._api = api
        self._bounds = bounds
        self._counters = counters
        self._trusted_proxies = trusted_proxies
        self._measure_us = measure_us
        self._loop = asyncio.get_running_loop()
        self._pending: dict[asyncio.Future[Response], float] = {}  # oldest first

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
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
            path=scope["path"],
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

    `trusted_proxies` are the addresses whose X-Forwarded-For is believed. `measure_us` is given how long each request was with the Api.
    """

    def __init__(
        self,
        api: RestApi,
        listener: socket.socket,
        bounds: RestBounds | None = None,
        *,
        trusted_proxies: frozenset[str] = frozenset(),
        measure_us: Callable[[int], None] = _unmeasured,
    ) -> None:
        self._listener = listener
        self._bounds: Final = bounds if bounds is not None else RestBounds()
        self.counters: Final = RestCounters()
        self.http_counters: Final = HttpCounters()
        self._log = SparingLog("gateway.rest")
        self._application = _Application(api, self._bounds, self.counters, trusted_proxies, measure_us)
        protocol = partial(BoundedHttp, bounds=self._bounds, counters=self.http_counters, log=self._log)
        self._config = uvicorn.Config(
            self._application,
            http=cast("Any", protocol),  # uvicorn calls it and nothing else, though it says that it wants a class
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=cast("int", self._bounds.keep_alive_s),  # handed to call_later
        )
        self._server = uvicorn.Server(self._config)
        self._ticking: asyncio.Task[None]
        self._visits: list[Visits] = []

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._server.server_state.connections)

    async def start(self) -> None:
        """Serve from here on."""
        # What uvicorn's own serve() does, without its signal handlers: signals are the service's. So is `stop`, for uvicorn looks every
        # 0.1 s whether it is to stop, and at its end gives no answer to what is under way.
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[self._listener])
        self._ticking = asyncio.create_task(self._server.main_loop())  # keeps the Date header
        timeouts_s = (self._bounds.request_timeout_s, self._bounds.send_timeout_s, self._bounds.reply_timeout_s)
        self._visits.append(Visits(self._visit, min(LINGER_S, *timeouts_s) / 4))
        self._visits.append(Visits(lambda _now: self._log.refill(), 1.0))

    async def stop(self) -> None:
        """Take no more requests, answer those under way, close: within shutdown_timeout_s and a little."""
        self._ticking.cancel()
        for server in self._server.servers:
            server.close()
        for connection in self._connections():
            connection.shutdown()
        if not await self._idle_within(self._bounds.shutdown_timeout_s):
            for task in list(self._server.server_state.tasks):
                task.cancel()  # it answers that the outcome is unknown
            await self._idle_within(0.2)
            for connection in self._connections():
                connection.abort()
        for visits in self._visits:
            visits.stop()

    async def _idle_within(self, timeout_s: float) -> bool:
        """Wait until nobody is connected and nothing is under way; False when that takes too long."""
        state = self._server.server_state
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while state.connections or state.tasks:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def _visit(self, now: float) -> None:
        self._application.visit(now)
        for connection in self._connections():
            connection.visit(now)

    def _connections(self) -> list[BoundedHttp]:
        return cast("list[BoundedHttp]", list(self._server.server_state.connections))
