"""
The WebSocket listener: each text message of a connection is handed to its Api, in order, and what is sent to it in one turn of the event
loop is sent in one write.

    frames --> whole texts --> inbox --> Api.handle_ws --> ... --> answer --> frames of this turn --> socket
                                 |                                                    |
                                 +-- waits while too much is in flight, or unread by the client, or came in a second

Always true of a connection:
  - at most in_flight_max of its texts are with the Api; while others wait for that, nothing is read from its socket, and neither is it
    once more than messages_per_s_max frames came in a second: a client is slowed, not closed
  - at most unread_bytes_max (and one answer) wait to be read by its client: past that it is closed, and what waited is let fall
  - its client is pinged every ping_interval_s, and closed when no pong comes for pong_timeout_s
  - it is closed with a code that says why; a client that does not answer that is cut off CLOSE_TIMEOUT_S later
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast, final

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSAutoPingStrategy, WSProtocol  # type: ignore[attr-defined]  # not in its stubs

from zerosum.gateway.messages import Session, WebSocketApi
from zerosum.gateway.transport.bounds import WebSocketBounds
from zerosum.net.address import AddressCounts, addresses, client_address, peer_of
from zerosum.net.handshakes import Handshakes
from zerosum.net.headers import security_head
from zerosum.net.http import INTERNAL, OVERLOADED, Refusal
from zerosum.net.listener import BACKLOG, Visits
from zerosum.net.sparing_log import SparingLog
from zerosum.net.tls import ServerTls

CLOSE_TIMEOUT_S: Final = 1.0
"""What a client has to take its last bytes, and to answer that it is being closed."""

_TEXTS_PER_TURN: Final = 64
"""Handed over before other connections have their turn."""

_READ_BYTES: Final = 16 << 10
"""By one read. picows doubles its buffer whenever a read fills it, and never gives it back: it would grow to all that a kernel holds."""

_KERNEL_RECEIVE_BYTES: Final = 256 << 10
"""Held by the kernel for a connection that is not being read."""

_MARGIN: Final = 64
"""Connections past connections_max, and past connections_per_address_max, that are let in to be told so."""

_REFUSALS: Final = {
    refusal.status: refusal
    for refusal in (
        Refusal(400, b'{"code":-1000,"msg":"Malformed WebSocket handshake."}'),
        Refusal(404, b'{"code":-1000,"msg":"There is nothing at this path."}'),
        INTERNAL,
        OVERLOADED,
    )
}
"""Of handshakes."""

_TEXT = WSMsgType.TEXT
_CONTINUATION = WSMsgType.CONTINUATION
_PING = WSMsgType.PING
_PONG = WSMsgType.PONG
_CLOSE = WSMsgType.CLOSE

_TEXT_FRAME: Final = 0x81
_PING_FRAME: Final = 0x89
_PONG_FRAME: Final = 0x8A


@final
@dataclass(slots=True)
class WebSocketCounters:
    """Since the start."""

    connections: int = 0
    connections_refused: int = 0  # past connections_max, or that of their address
    messages: int = 0  # handed to the Api
    sent: int = 0  # answers, events, pings, pongs
    slow_clients: int = 0  # closed because they did not read
    silent_clients: int = 0  # closed because no pong came
    protocol_errors: int = 0  # closed for what they sent: its size, its form
    unanswered: int = 0  # connections closed because the Api did not answer in time


def _unmeasured(_elapsed_us: int) -> None:
    """Nobody wants to know."""


def _frame_header(first_byte: int, length: int) -> bytes:
    """Of a frame from the server, which is not masked."""
    if length < 126:
        return bytes((first_byte, length))
    if length < 1 << 16:
        return bytes((first_byte, 126)) + length.to_bytes(2)
    return bytes((first_byte, 127)) + length.to_bytes(8)


@final
class _Connection(WSListener):
    """One client, from the end of its opening handshake on."""

    def __init__(self, server: WebSocketServer, api: WebSocketApi) -> None:
        self._server = server
        self._api = api
        self._bounds = server.bounds
        self._counters = server.counters
        self._loop = asyncio.get_running_loop()
        self._ws: WSTransport
        self._stream: asyncio.Transport
        self._session: Session
        # In.
        self._inbox: deque[bytes] = deque()
        self._fragments: list[bytes] | None = None  # of a message whose last frame is yet to come
        self._fragment_bytes = 0
        self._frames_left = float(self._bounds.messages_per_s_max)  # that may come at once; each second gives as many again
        self._reading = True
        self._resumes = False  # a call of _resume is scheduled
        self._in_flight = 0
        self._answered_at = 0.0
        # Out.
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flushes = False  # a call of _flush is scheduled
        self._unread_pause_bytes = self._bounds.unread_bytes_max // 4
        # Life.
        self._opened_at = self._loop.time()
        self._frames_allowed_at = self._opened_at
        self._ping_at = self._opened_at + self._bounds.ping_interval_s
        self._pinged_at = 0.0  # without a pong since; 0.0: none is owed
        self._stopping = False
        self._cut_at = 0.0  # when a connection that is being closed is cut off; 0.0: it is open

    # -- called by picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._ws = transport
        self._stream = cast("_Opening", transport.underlying_transport).stream
        self._stream.set_write_buffer_limits(high=self._unread_pause_bytes)
        self._session = self._server.session_for(transport, self.send)
        self._server.opened(self, self._session.client)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if self._cut_at:
            if kind == _CLOSE:
                transport.disconnect()
            return
        self._frames_left -= 1
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._protocol_error(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        elif kind == _TEXT and frame.fin and self._fragments is None:
            self._take(frame.get_payload_as_bytes())
        elif kind in (_TEXT, _CONTINUATION):
            self._take_fragment(frame)
        elif kind == _PING:
            self._send(_PONG_FRAME, frame.get_payload_as_bytes())
        elif kind == _PONG:
            self._pinged_at = 0.0
        elif kind == _CLOSE:
            self._close(WSCloseCode.OK, "")
            transport.disconnect()
        else:
            self._protocol_error(WSCloseCode.UNSUPPORTED_DATA, "only texts are taken")
        if frame.last_in_buffer:
            self._hand_over()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._let_fall()
        session = self._session
        self._server.ended(self, session.client)
        session.closed = True
        for callback in session.on_closed:
            callback()
        session.on_closed.clear()

    def pause_writing(self) -> None:
        """The client reads too slowly: `_ready` says no until it has caught up."""

    def resume_writing(self) -> None:
        self._resume_soon()

    # -- in

    def _take(self, text: bytes) -> None:
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                self._protocol_error(WSCloseCode.INVALID_TEXT, "not UTF-8")
                return
        if not self._stopping:
            self._inbox.append(text)

    def _take_fragment(self, frame: WSFrame) -> None:
        first = frame.msg_type == _TEXT
        if first == (self._fragments is not None):
            self._protocol_error(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if self._fragments is None:
            self._fragments = []
            self._fragment_bytes = 0
        self._fragment_bytes += frame.payload_size
        if self._fragment_bytes > self._bounds.message_bytes_max:
            self._protocol_error(WSCloseCode.MESSAGE_TOO_BIG, f"more than {self._bounds.message_bytes_max} bytes")
            return
        if frame.payload_size:  # others would take room, and count for nothing
            self._fragments.append(frame.get_payload_as_bytes())
        if frame.fin:
            text = b"".join(self._fragments)
            self._fragments = None
            self._take(text)

    def _ready(self) -> bool:
        """Whether the Api may be given another text."""
        return self._in_flight < self._bounds.in_flight_max and self._unread_bytes() <= self._unread_pause_bytes

    def _hand_over(self) -> None:
        """Empty the inbox as far as may be, and read on once it is empty and the client has not sent too much."""
        inbox = self._inbox
        turns = _TEXTS_PER_TURN
        while inbox and turns and self._ready():
            turns -= 1
            self._ask(inbox.popleft())
        if inbox:
            if not turns:
                self._resume_soon()
            self._read_no_more()
        elif self._frames_left <= 0:
            self._read_no_more()
        else:
            self._read_on()

    def _resume_soon(self) -> None:
        if self._inbox and not self._resumes:
            self._resumes = True
            self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._resumes = False
        self._hand_over()

    def _read_no_more(self) -> None:
        if self._reading:
            self._reading = False
            self._stream.pause_reading()

    def _read_on(self) -> None:
        if not self._reading:
            self._reading = True
            self._stream.resume_reading()

    def _ask(self, text: bytes) -> None:
        if self._in_flight == 0:
            self._answered_at = self._loop.time()
        self._in_flight += 1
        self._counters.messages += 1
        failed = True
        try:
            self._api.handle_ws(text, self._session, partial(self._answer, time.perf_counter_ns()))
            failed = False
        finally:
            if failed:  # the exception goes on, to where it is logged
                self._close(WSCloseCode.INTERNAL_ERROR, "internal error")

    def _answer(self, asked_ns: int, text: bytes) -> None:
        assert self._in_flight > 0, "a text is answered once"
        self._in_flight -= 1
        self._answered_at = self._loop.time()
        self._server.measure_us((time.perf_counter_ns() - asked_ns) // 1_000)
        self._send(_TEXT_FRAME, text)
        if self._stopping and self._in_flight == 0:
            self._close(WSCloseCode.GOING_AWAY, "the server stops")

    # -- out

    def send(self, text: bytes) -> None:
        self._send(_TEXT_FRAME, text)

    def _unread_bytes(self) -> int:
        return self._out_bytes + self._stream.get_write_buffer_size()

    def _send(self, first_byte: int, payload: bytes) -> None:
        if self._cut_at:
            return
        # What waits already is what counts: a single answer may be larger than the bound.
        if self._unread_bytes() > self._bounds.unread_bytes_max:
            self._counters.slow_clients += 1
            self._out.clear()
            self._out_bytes = 0
            self._fault(WSCloseCode.POLICY_VIOLATION, "too slow: more waits to be read than is kept")
            return
        self._counters.sent += 1
        header = _frame_header(first_byte, len(payload))
        self._out.append(header)
        self._out.append(payload)
        self._out_bytes += len(header) + len(payload)
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        if self._out:
            # Written past picows, which would write each frame alone.
            self._stream.write(b"".join(self._out))
            self._out.clear()
            self._out_bytes = 0
            self._resume_soon()  # what was answered or written may have been waited for

    # -- life

    def visit(self, now: float) -> None:
        bounds = self._bounds
        if self._cut_at:
            if now > self._cut_at:
                self.abort()
            return
        self._allow_frames(now)
        if self._pinged_at and now - self._pinged_at > bounds.pong_timeout_s:
            self._counters.silent_clients += 1
            self._fault(WSCloseCode.GOING_AWAY, f"no pong within {bounds.pong_timeout_s:g} s")
        elif self._in_flight and now - self._answered_at > bounds.reply_timeout_s:
            self._counters.unanswered += 1
            self._fault(WSCloseCode.INTERNAL_ERROR, "not answered in time: the outcome is not known")
        elif now - self._opened_at > bounds.lifetime_s:
            self._close(WSCloseCode.GOING_AWAY, f"open for {bounds.lifetime_s:g} s: connect anew")
        elif now >= self._ping_at:
            self._ping_at = now + bounds.ping_interval_s
            self._pinged_at = self._pinged_at or now
            self._send(_PING_FRAME, b"%d" % (time.time_ns() // 1_000_000))

    def _allow_frames(self, now: float) -> None:
        per_s = self._bounds.messages_per_s_max
        self._frames_left = min(per_s, self._frames_left + per_s * (now - self._frames_allowed_at))
        self._frames_allowed_at = now
        if self._frames_left > 0 and not self._inbox:
            self._read_on()

    def stop(self) -> None:
        """Hand over nothing more, and close once what is under way is answered."""
        self._stopping = True
        self._inbox.clear()
        self._read_on()  # to hear the client's side of the closing
        if self._in_flight == 0:
            self._close(WSCloseCode.GOING_AWAY, "the server stops")

    def abort(self) -> None:
        self._ws.disconnect(graceful=False)

    def closed_by_picows(self) -> None:
        """It has found a fault in the form of a frame, and has sent the closing frame itself."""
        if not self._cut_at:
            self._counters.protocol_errors += 1
            sent = self._ws.close_handshake.sent
            assert sent is not None
            self._log_closing(sent.code, sent.reason)
            self._let_fall()

    def _protocol_error(self, code: WSCloseCode, reason: str) -> None:
        self._counters.protocol_errors += 1
        self._fault(code, reason)

    def _fault(self, code: WSCloseCode, reason: str) -> None:
        self._log_closing(code, reason)
        self._close(code, reason)

    def _log_closing(self, code: WSCloseCode, reason: str) -> None:
        self._server.log.warning("websocket.closed", code=int(cast("int", code)), reason=reason, client=self._session.client)

    def _close(self, code: WSCloseCode, reason: str) -> None:
        """Send what is to be sent, and why nothing more will be."""
        if not self._cut_at:
            self._flush()
            self._ws.send_close(code, reason)
            self._let_fall()
            self._read_on()

    def _let_fall(self) -> None:
        """From here on nothing is sent, and what comes in is not looked at."""
        self._cut_at = self._cut_at or self._loop.time() + CLOSE_TIMEOUT_S
        self._inbox.clear()
        self._fragments = None
        self._out.clear()
        self._out_bytes = 0


@final
class _Opening:
    """
    A connection as picows has it. A handshake that is accepted gets the headers that every answer has; what picows says when it refuses one
    is not sent, for it quotes the client and our own errors: only its status counts. All that is sent later is written past it.
    """

    __slots__ = ("_secure", "_shaken", "abort", "close", "get_extra_info", "get_write_buffer_size", "is_closing", "stream")

    def __init__(self, stream: asyncio.Transport, secure: bool) -> None:
        self.stream = stream
        self._secure = secure
        self._shaken = False
        self.abort = stream.abort
        self.close = stream.close
        self.get_extra_info = stream.get_extra_info
        self.get_write_buffer_size = stream.get_write_buffer_size
        self.is_closing = stream.is_closing

    def write(self, data: bytes) -> None:
        if not self._shaken:
            self._shaken = True
            status_line, _, rest = bytes(data).partition(b"\r\n")
            status = int(status_line.split(b" ")[1])
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                data = b"%s\r\n%s%s" % (status_line, security_head(self._secure), rest)
            else:
                data = _REFUSALS[status].encoded(self._secure)
        self.stream.write(data)


@final
class _Protocol(WSProtocol):  # type: ignore[misc]  # typed as Any
    """picows' protocol, counted from the moment that a client connects, and with bounds on its buffer and on its patience."""

    def __init__(self, server: WebSocketServer) -> None:
        super().__init__(
            None,  # host and port, path: of a client
            None,
            False,  # is a client
            self._listener_for,
            server.picows_log,
            True,  # disconnects on an exception
            None,  # time limit of the handshake: kept by `visit`, for picows leaves an exception behind that nobody retrieves
            False,  # pings by itself
            0,
            0,
            WSAutoPingStrategy.PING_PERIODICALLY,
            False,  # answers pings by itself: they count, like all that is sent
            server.bounds.message_bytes_max,
            None,  # headers to add
            _READ_BYTES,
        )
        self._server = server
        self._stream: asyncio.Transport
        self.peer = ""
        self._admitted = False
        self._connected_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._stream = transport
        self._connected_at = asyncio.get_running_loop().time()
        self.peer = peer_of(transport)
        self._admitted = self._server.connected(self)
        if self._admitted:
            super().connection_made(_Opening(transport, self._server.is_secure))
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._admitted:
            self._server.lost(self)
            super().connection_lost(exc)

    def _listener_for(self, request: WSUpgradeRequest) -> _Connection | WSUpgradeResponseWithListener | None:
        return self._server.listener_for(request, self.peer)

    def get_buffer(self, sizehint: int) -> memoryview:
        return cast("memoryview", super().get_buffer(sizehint)[:_READ_BYTES])

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        if self.transport.is_close_frame_sent:
            self.listener.closed_by_picows()

    def visit(self, now: float) -> None:
        if self.listener is None and now - self._connected_at > self._server.bounds.handshake_timeout_s:
            self._stream.abort()

    def abort(self) -> None:
        self._stream.abort()


class _PicowsLog(logging.LoggerAdapter[logging.Logger]):
    """Lets fall what picows says of faults in frames: these are counted here, and logged sparingly. What it says of exceptions passes."""

    def error(self, msg: object, *args: Any, **kwargs: Any) -> None:
        if not str(msg).startswith("WS parser error"):
            super().error(msg, *args, **kwargs)


@final
class WebSocketServer:
    """
    Serves WebSockets at a listening socket, from `start` to `stop`. Made in the event loop that it runs in.

    `route` gives the Api for a path, such as {"/ws-api/v3": api}.get; where it gives None the client reads 404. With `tls` it speaks TLS,
    and nothing else. `measure_us` is given how long each text was with its Api.
    """

    def __init__(
        self,
        route: Callable[[str], WebSocketApi | None],
        listener: socket.socket,
        bounds: WebSocketBounds | None = None,
        *,
        trusted_proxies: frozenset[str] = frozenset(),
        tls: ServerTls | None = None,
        measure_us: Callable[[int], None] = _unmeasured,
    ) -> None:
        self._route = route
        self._listener = listener
        self.is_secure: Final = tls is not None
        self._trusted_proxies = addresses(trusted_proxies)
        self.bounds: Final = bounds if bounds is not None else WebSocketBounds()
        self._peers = AddressCounts(self.bounds.connections_per_address_max + _MARGIN, self._trusted_proxies)
        self._clients = AddressCounts(self.bounds.connections_per_address_max, self._trusted_proxies)
        self.counters: Final = WebSocketCounters()
        self.measure_us: Final = measure_us
        self.log: Final = SparingLog("gateway.websocket")
        self.picows_log: Final = _PicowsLog(logging.getLogger("picows"))
        self._handshakes: Final = self._handshakes_of(tls) if tls is not None else None
        self._protocols: set[_Protocol] = set()
        self._open: set[_Connection] = set()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._visits: Visits
        self._server: asyncio.Server

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._open)

    @property
    def handshakes_failed(self) -> int:
        """Of TLS, since the start."""
        return self._handshakes.failed if self._handshakes is not None else 0

    def _handshakes_of(self, tls: ServerTls) -> Handshakes:
        connections_max = self.bounds.connections_max
        return Handshakes(
            tls, partial(_Protocol, self), self._peers, self.log, partial(self._refuse, connections_max=connections_max),
            connections_max=connections_max + _MARGIN, told_max=0, timeout_s=self.bounds.handshake_timeout_s,
        )  # fmt: skip

    async def start(self) -> None:
        """Serve from here on."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_RECEIVE_BYTES)  # connections inherit it
        loop = asyncio.get_running_loop()
        make = self._handshakes if self._handshakes is not None else partial(_Protocol, self)
        self._server = await loop.create_server(make, sock=self._listener, backlog=BACKLOG)
        bounds = self.bounds
        timeouts_s = (bounds.handshake_timeout_s, bounds.ping_interval_s, bounds.pong_timeout_s, bounds.reply_timeout_s, bounds.lifetime_s)
        self._visits = Visits(self._visit, min(CLOSE_TIMEOUT_S, *timeouts_s) / 4)

    async def stop(self) -> None:
        """Take no more texts, answer those under way, close: within shutdown_timeout_s."""
        self._server.close()
        if self._handshakes is not None:
            self._handshakes.stop()
        for connection in list(self._open):
            connection.stop()
        for protocol in list(self._protocols):
            if protocol.listener is None:
                protocol.abort()
        try:
            async with asyncio.timeout(self.bounds.shutdown_timeout_s):
                await self._nobody.wait()
        except TimeoutError:
            for protocol in list(self._protocols):
                protocol.abort()
            await self._nobody.wait()
        self._visits.stop()

    # -- called by the connections

    def connected(self, protocol: _Protocol) -> bool:
        """Whether it is let in at all. How many its client has already is known once its handshake says who that is."""
        if self._peers.total >= self.bounds.connections_max + _MARGIN:
            self._refuse(protocol.peer, connections_max=self.bounds.connections_max)
            return False
        if not self._peers.has_room(protocol.peer):
            self._refuse(protocol.peer, connections_per_address_max=self.bounds.connections_per_address_max)
            return False
        self._peers.take(protocol.peer)
        self._protocols.add(protocol)
        self._nobody.clear()
        return True

    def lost(self, protocol: _Protocol) -> None:
        self._peers.give_back(protocol.peer)
        self._protocols.discard(protocol)
        if not self._protocols:
            self._nobody.set()

    def listener_for(self, request: WSUpgradeRequest, peer: str) -> _Connection | WSUpgradeResponseWithListener | None:
        api = self._route(_split(request)[0])
        if api is None:
            return None  # picows answers 404
        client = self._client(request, peer)
        if len(self._open) >= self.bounds.connections_max:
            self._refuse(client, connections_max=self.bounds.connections_max)
        elif not self._clients.has_room(client):
            self._refuse(client, connections_per_address_max=self.bounds.connections_per_address_max)
        else:
            return _Connection(self, api)
        response = WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE)
        return WSUpgradeResponseWithListener(response, None)

    def session_for(self, transport: WSTransport, send: Callable[[bytes], None]) -> Session:
        path, query = _split(transport.request)
        client = self._client(transport.request, peer_of(transport.underlying_transport))
        return Session(client=client, path=path, query=query, send=send)

    def opened(self, connection: _Connection, client: str) -> None:
        self.counters.connections += 1
        self._clients.take(client)
        self._open.add(connection)

    def ended(self, connection: _Connection, client: str) -> None:
        self._clients.give_back(client)
        self._open.discard(connection)

    def _client(self, request: WSUpgradeRequest, peer: str) -> str:
        return client_address(peer, request.headers.getall("x-forwarded-for", []), self._trusted_proxies)

    def _refuse(self, client: str, **bound: int) -> None:
        self.counters.connections_refused += 1
        self.log.warning("websocket.connection_refused", client=client, **bound)

    def _visit(self, now: float) -> None:
        for connection in list(self._open):
            connection.visit(now)
        for protocol in list(self._protocols):
            protocol.visit(now)


def _split(request: WSUpgradeRequest) -> tuple[str, bytes]:
    """Path and query, as sent."""
    path, _, query = request.path.partition(b"?")
    return path.decode("latin-1"), query
