"""
The operators' listener, on a port of its own that no client is to reach.

    /healthz   200 while the event loop turns: a process that does not answer here is to be restarted
    /readyz    200 when all is well, else 503, and what each check says: a process to send no orders to
    /metrics   for Prometheus
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final, cast, final

import orjson
import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zerosum.ops.health import Readiness
from zerosum.ops.metrics import Metrics

CONNECTIONS_MAX: Final = 64
CONNECTION_LIFETIME_S: Final = 30.0

_JSON: Final = "application/json"


@final
class _Connection(HttpToolsProtocol):
    """uvicorn's, bounded in number and in time: what asks here, asks little, and can connect anew."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        self._end = self.loop.call_later(CONNECTION_LIFETIME_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


@final
class OperationsServer:
    """Serves at a listening socket, from `start` to `stop`. Made in the event loop that it is to report on."""

    def __init__(self, listener: socket.socket, readiness: Readiness, metrics: Metrics) -> None:
        self._listener = listener
        self._readiness = readiness
        self._metrics = metrics
        config = uvicorn.Config(
            self._answer,
            http=_Connection,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._ticking: asyncio.Task[None]

    async def start(self) -> None:
        """Serve from here on. Signals are the service's, so uvicorn's own serve() is not used."""
        await self._server.startup(sockets=[self._listener])
        self._ticking = asyncio.create_task(self._server.main_loop())  # keeps the Date header

    async def stop(self) -> None:
        """Close: nobody here has anything to lose."""
        self._ticking.cancel()
        for server in self._server.servers:
            server.close()
        for connection in cast("list[_Connection]", list(self._server.server_state.connections)):
            connection.transport.abort()
        tasks = self._server.server_state.tasks
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    async def _answer(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        status, content_type, body = self._page(scope["path"], dict(scope["headers"]))
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _page(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, str, bytes]:
        if path == "/healthz":
            return 200, _JSON, b'{"status":"ok"}'
        if path == "/readyz":
            report = self._readiness.report()
            ready = not any(report.values())
            answer: dict[str, Any] = {"ready": ready, "checks": {name: why or "ok" for name, why in report.items()}}
            return 200 if ready else 503, _JSON, orjson.dumps(answer)
        if path == "/metrics":
            body, content_type = self._metrics.exposition(headers.get(b"accept", b"").decode("latin-1"))
            return 200, content_type, body
        return 404, _JSON, b'{"pages":["/healthz","/readyz","/metrics"]}'
