"""
HTTP at a listening socket: uvicorn, one BoundedHttp for each connection, behind a TLS handshake if there is TLS, and an end that answers
what is under way.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any, Final, cast, final

import uvicorn
from uvicorn._types import ASGI3Application

from zerosum.net.address import AddressCounts
from zerosum.net.handshakes import Handshakes
from zerosum.net.headers import security_headers
from zerosum.net.http import LINGER_S, LINGERING_MAX, BoundedHttp, HttpBounds, HttpCounters
from zerosum.net.listener import BACKLOG, Visits
from zerosum.net.sparing_log import SparingLog
from zerosum.net.tls import ServerTls


@final
class HttpServer:
    """
    Serves an application from `start` to `stop`. Made in the event loop that it runs in.

    The application must answer when its task is canceled: `stop` does that once it has waited for long enough. With `makes_room` a listener
    that is full lets its oldest idle connection go rather than refuse a new one. With `tls` it speaks TLS, and nothing else.
    """

    def __init__(
        self, application: ASGI3Application, listener: socket.socket, bounds: HttpBounds, *, name: str, makes_room: bool = False,
        trusted_proxies: frozenset[str] = frozenset(), tls: ServerTls | None = None,
    ) -> None:  # fmt: skip
        self._listener = listener
        self._bounds: Final = bounds
        self.counters: Final = HttpCounters()
        self._log: Final = SparingLog(name)
        self._tls: Final = tls
        self._handshakes: Handshakes | None = None
        self._places: Final = AddressCounts(bounds.connections_per_address_max, trusted_proxies)
        self._bounded: Final = partial(
            BoundedHttp, bounds=bounds, addresses=self._places, makes_room=makes_room, counters=self.counters, log=self._log
        )
        self._config = uvicorn.Config(
            application,
            http=cast("Any", self._protocol),  # uvicorn calls it and nothing else, though it says that it wants a class
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=list(security_headers(tls is not None)),
            backlog=BACKLOG,
            timeout_keep_alive=cast("int", bounds.keep_alive_s),  # handed to call_later
        )
        self._server = uvicorn.Server(self._config)
        self._ticking: asyncio.Task[None]
        self._visits: Visits

    @property
    def connections(self) -> int:
        """How many there are now, those included whose handshake goes on."""
        return len(self._server.server_state.connections) + (len(self._handshakes) if self._handshakes is not None else 0)

    @property
    def handshakes_failed(self) -> int:
        return self._handshakes.failed if self._handshakes is not None else 0

    def _protocol(self, **uvicorn: Any) -> asyncio.Protocol:
        """For a connection that was accepted."""
        if self._tls is None:
            return self._bounded(**uvicorn)
        if self._handshakes is None:
            self._handshakes = Handshakes(
                self._tls, partial(self._bounded, **uvicorn), self._places, self._log, self._cut_off,
                connections_max=self._bounds.connections_max, told_max=LINGERING_MAX, timeout_s=self._bounds.request_timeout_s,
            )  # fmt: skip
        return self._handshakes()

    def _cut_off(self, client: str) -> None:
        self.counters.connections_refused += 1
        self._log.warning("http.connection_refused", client=client, connections_max=self._bounds.connections_max)

    async def start(self) -> None:
        """Serve from here on."""
        # What uvicorn's own serve() does, without its signal handlers: signals are the service's. So is `stop`, for uvicorn looks every
        # 0.1 s whether it is to stop, and at its end gives no answer to what is under way.
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.on_tick(0)  # makes the headers that every answer has
        await self._server.startup(sockets=[self._listener])
        self._ticking = asyncio.create_task(self._server.main_loop())  # keeps the Date header
        self._visits = Visits(self._visit, min(LINGER_S, self._bounds.request_timeout_s, self._bounds.send_timeout_s) / 4)

    async def stop(self) -> None:
        """Take no more requests, answer those under way, close: within shutdown_timeout_s and a little."""
        self._ticking.cancel()
        for server in self._server.servers:
            server.close()
        if self._handshakes is not None:
            self._handshakes.stop()
        for connection in self._connections():
            connection.shutdown()
        if not await self._idle_within(self._bounds.shutdown_timeout_s):
            for task in list(self._server.server_state.tasks):
                task.cancel()
            await self._idle_within(0.2)
            for connection in self._connections():
                connection.abort()
        self._visits.stop()

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
        for connection in self._connections():
            connection.visit(now)

    def _connections(self) -> list[BoundedHttp]:
        return cast("list[BoundedHttp]", list(self._server.server_state.connections))
