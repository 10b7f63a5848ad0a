"""
The operators' listener, on a port of its own that no client is to reach.

    /healthz   200 while the event loop turns: a process that does not answer here is to be restarted
    /readyz    200 when all is well, else 503, and what each check says: a process to send no orders to
    /metrics   for Prometheus

Always true: it is bounded as the listeners for clients are, and a probe gets through however many connections are held open: when there is
no room, the oldest that is not being answered goes.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final, final

import orjson
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from zerosum.net.http import HttpBounds, HttpCounters
from zerosum.net.http_server import HttpServer
from zerosum.ops.health import Readiness
from zerosum.ops.metrics import Metrics

CONNECTIONS_MAX: Final = 64
BOUNDS: Final = HttpBounds(
    connections_max=CONNECTIONS_MAX,
    connections_per_address_max=CONNECTIONS_MAX,  # whoever asks here, may ask from one address
    pipelined_max=4,
    url_bytes_max=1_024,
    header_bytes_max=8_192,
    headers_max=64,
    body_bytes_max=0,  # there is nothing to send
    request_timeout_s=5.0,
    send_timeout_s=10.0,
    keep_alive_s=60.0,
    shutdown_timeout_s=0.5,  # nobody here has anything to lose
)

_JSON: Final = "application/json"


@final
class OperationsServer:
    """Serves at a listening socket, from `start` to `stop`. Made in the event loop that it is to report on."""

    def __init__(self, listener: socket.socket, readiness: Readiness, metrics: Metrics, bounds: HttpBounds = BOUNDS) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._server = HttpServer(self._answer, listener, bounds, name="operations", makes_room=True)

    @property
    def http_counters(self) -> HttpCounters:
        return self._server.counters

    @property
    def connections(self) -> int:
        """How many there are now."""
        return self._server.connections

    async def start(self) -> None:
        """Serve from here on."""
        await self._server.start()

    async def stop(self) -> None:
        """Answer what is under way, and close."""
        await self._server.stop()

    async def _answer(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        status, content_type, body = self._page(scope["raw_path"].decode("ascii"), dict(scope["headers"]))
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
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
