"""
The WebSocket listener: each text message of a connection is handed to its Api, in order, and the answers are sent, those of one turn of
the event loop in one write.

    frames --> whole texts --> inbox --> Api.handle_ws --> ... --> answer --> frames of this turn --> socket
                                 |                                                    |
                                 +-- is not emptied while too much is in flight, or unread by the client

Always true of a connection:
  - at most in_flight_max of its texts are with the Api; while more wait, nothing is read from its socket
  - at most unread_bytes_max (and one answer) wait to be read by its client: past that it is closed, and what waited is let fall
  - its client is pinged every ping_interval_s, and closed when it is silent for pong_timeout_s
  - it is closed with a code that says why; a client that does not take it is cut off CLOSE_TIMEOUT_S later
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, final

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
from picows.picows import WSAutoPingStrategy, WSProtocol

from zerosum.gateway.messages import Session, WebSocketApi
from zerosum.gateway.transport.bounds import WebSocketBounds
from zerosum.gateway.transport.listener import SparingLog, Visits, client_address

CLOSE_TIMEOUT_S: Final = 1.0
"""What a client has to take its last bytes, and to answer that it is being closed."""

_TEXTS_PER_TURN: Final = 64
"""Handed over before another connection has its turn."""

_RECEIVE_BUFFER_BYTES: Final = 128 << 10
"""
Of the kernel, for one connection. picows doubles its own buffer whenever one read fills it, and never makes it smaller: this bounds what one
read can bring.
"""

_UNDECIDED_MAX: Final = 64
"""Connections past connections_max that are let in to be told so."""

_FULL: Final = b'{"code":-1008,"msg":"Server is currently overloaded with other requests. Please try again in a few minutes."}'

_TEXT = WSMsgType.TEXT
_CONTINUATION = WSMsgType.CONTINUATION
_PING = WSMsgType.PING
_PONG = WSMsgType.PONG
_CLOSE = WSMsgType.CLOSE

_FIN_TEXT: Final = 0x81
_FIN_PONG: Final = 0x8A
_FIN_PING: Final = 0x89


@final
@dataclass(slots=True)
class WebSocketCounters:
    """Since the start."""

    connections: int = 0
    connections_refused: int = 0  # past connections_max
    messages: int = 0  # handed to the Api
    sent: int = 0  # answers and events
    slow_clients: int = 0  # closed because they did not read
    protocol_errors: int = 0  # closed for what they sent: its size, its rate, its form
    silent_clients: int = 0  # closed because no pong came
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

    def __init__(self, server: WebSocketServer, api: WebSocketApi, session_of: Callable[[WSTransport, _Connection], Session]) -> None:
        self._server = server
        self._api = api
        self._session_of = session_of
        self._bounds = server.bounds
        self._counters = server.counters
        self._loop = asyncio.get_running_loop()
        self._ws: WSTransport
        self._stream: asyncio.Transport
        self.session: Session
        # in
        self._inbox: deque[bytes] = deque()
        self._fragments: list[bytes] | None = None  # of a message whose last frame is yet to come
        self._fragment_bytes = 0
        self._frames_left = self._bounds.messages_per_s_max  # in this second
        self._reading = True
        self._handing_over = False  # another turn is scheduled
        self.in_flight = 0
        self._answered_at = 0.0
        # out
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flushing = False
        self._unread_pause_bytes = self._bounds.unread_bytes_max // 4
        # life
        self._opened_at = self._loop.time()
        self._frames_since = self._opened_at
        self._ping_at = self._opened_at + self._bounds.ping_interval_s
        self._pinged_at = 0.0  # and no pong since; 0.0: none is owed
        self._stopping = False
        self._closing_at = 0.0  # when to cut it off; 0.0: it is open

    # -- called by picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._ws = transport
        self._stream = transport.underlying_transport
        self._stream.set_write_buffer_limits(high=self._unread_pause_bytes)
        self.session = self._session_of(transport, self)
        self._server.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._closing_at:
            if frame.msg_type == _CLOSE:
                transport.disconnect()
            return
        self._frames_left -= 1
        if self._frames_left < 0:
            self._protocol_error(WSCloseCode.POLICY_VIOLATION, f"more than {self._bounds.messages_per_s_max} messages in a second")
            return
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._protocol_error(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        elif kind == _TEXT and frame.fin and self._fragments is None:
            self._take(frame.get_payload_as_bytes())
        elif kind == _TEXT or kind == _CONTINUATION:
            self._take_fragment(frame)
        elif kind == _PING:
            self._send(_FIN_PONG, frame.get_payload_as_bytes())
        elif kind == _PONG:
            self._pinged_at = 0.0
        elif kind == _CLOSE:
            self._close(WSCloseCode.OK, "")
            transport.disconnect()
        else:
            self._protocol_error(WSCloseCode.UNSUPPORTED_DATA, "texts only")
        if frame.last_in_buffer:
            self._hand_over()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._closing_at = self._closing_at or self._loop.time()
        self._inbox.clear()
        self._out.clear()
        self._server.ended(self)
        session = self.session
        session.closed = True
        while session.on_closed:
            session.on_closed.pop()()

    def pause_writing(self) -> None:
        """The client reads too slowly: nothing more is handed over (see `_ready`) until it has caught up."""

    def resume_writing(self) -> None:
        self._hand_over_later()

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
        starts = frame.msg_type == _TEXT
        if starts == (self._fragments is not None):
            self._protocol_error(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if self._fragments is None:
            self._fragments = []
            self._fragment_bytes = 0
        self._fragment_bytes += frame.payload_size
        if self._fragment_bytes > self._bounds.message_bytes_max:
            self._protocol_error(WSCloseCode.MESSAGE_TOO_BIG, f"more than {self._bounds.message_bytes_max} bytes")
            return
        if frame.payload_size:
            self._fragments.append(frame.get_payload_as_bytes())
        if frame.fin:
            text = b"".join(self._fragments)
            self._fragments = None
            self._take(text)

    def _ready(self) -> bool:
        """Whether the Api may be given another text."""
        return self.in_flight < self._bounds.in_flight_max and self._unread_bytes() <= self._unread_pause_bytes and not self._closing_at

    def _hand_over(self) -> None:
        inbox = self._inbox
        turns = _TEXTS_PER_TURN
        while inbox and turns and self._ready():
            turns -= 1
            self._ask(inbox.popleft())
        if inbox and not turns:
            self._hand_over_later()
        if self._closing_at:
            return
        if inbox:
            if self._reading:
                self._reading = False
                self._stream.pause_reading()
        elif not self._reading:
            self._reading = True
            self._stream.resume_reading()

    def _hand_over_later(self) -> None:
        if self._inbox and not self._handing_over:
            self._handing_over = True
            self._loop.call_soon(self._hand_over_now)

    def _hand_over_now(self) -> None:
        self._handing_over = False
        self._hand_over()

    def _ask(self, text: bytes) -> None:
        if self.in_flight == 0:
            self._answered_at = self._loop.time()
        self.in_flight += 1
        self._counters.messages += 1
        failed = True
        try:
            self._api.handle_ws(text, self.session, partial(self._answer, time.perf_counter_ns()))
            failed = False
        finally:
            if failed:  # the exception goes on, to be logged
                self._close(WSCloseCode.INTERNAL_ERROR, "internal error")

    def _answer(self, asked_ns: int, text: bytes) -> None:
        self.in_flight -= 1
        assert self.in_flight >= 0, "a text is answered once"
        self._server.measure_us((time.perf_counter_ns() - asked_ns) // 1_000)
        self._answered_at = self._loop.time()
        self._send(_FIN_TEXT, text)
        self._hand_over_later()
        if self._stopping and self.in_flight == 0:
            self._close(WSCloseCode.GOING_AWAY, "the server stops")

    # -- out

    def send(self, text: bytes) -> None:
        """For the session."""
        self._send(_FIN_TEXT, text)

    def _unread_bytes(self) -> int:
        return self._out_bytes + self._stream.get_write_buffer_size()

    def _send(self, first_byte: int, payload: bytes) -> None:
        if self._closing_at:
            return
        if self._unread_bytes() > self._bounds.unread_bytes_max:
            self._counters.slow_clients += 1
            self._out.clear()
            self._out_bytes = 0
            self._close(WSCloseCode.POLICY_VIOLATION, "too slow: more waits to be read than is kept")
            return
        self._counters.sent += 1
        header = _frame_header(first_byte, len(payload))
        self._out.append(header)
        self._out.append(payload)
        self._out_bytes += len(header) + len(payload)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._out:
            # Written past picows, which would write each frame alone.
            self._stream.write(b"".join(self._out))
            self._out.clear()
            self._out_bytes = 0

    # -- life

    def visit(self, now: float) -> None:
        bounds = self._bounds
        if now - self._frames_since >= 1.0:
            self._frames_since = now
            self._frames_left = bounds.messages_per_s_max
        if self._closing_at:
            if now > self._closing_at:
                self._ws.disconnect(graceful=False)
        elif self._pinged_at and now - self._pinged_at > bounds.pong_timeout_s:
            self._counters.silent_clients += 1
            self._close(WSCloseCode.GOING_AWAY, f"no pong within {bounds.pong_timeout_s:g} s")
        elif now - self._opened_at > bounds.lifetime_s:
            self._close(WSCloseCode.GOING_AWAY, f"open for {bounds.lifetime_s:g} s: connect anew")
        elif self.in_flight and now - self._answered_at > bounds.reply_timeout_s:
            self._counters.unanswered += 1
            self._close(WSCloseCode.INTERNAL_ERROR, "not answered in time: the outcome is not known")
        elif now >= self._ping_at:
            self._ping_at = now + bounds.ping_interval_s
            self._pinged_at = self._pinged_at or now
            self._send(_FIN_PING, b"%d" % (time.time_ns() // 1_000_000))

    def stop(self) -> None:
        """Hand over nothing more, and close when what is under way is answered."""
        self._stopping = True
        self._inbox.clear()
        self._hand_over()  # reads again: to hear the client's side of the closing
        if self.in_flight == 0:
            self._close(WSCloseCode.GOING_AWAY, "the server stops")

    def abort(self) -> None:
        self._ws.disconnect(graceful=False)

    def _protocol_error(self, code: WSCloseCode, reason: str) -> None:
        self._counters.protocol_errors += 1
        self._close(code, reason)

    def _close(self, code: WSCloseCode, reason: str) -> None:
        """Send what is to be sent, and why nothing more will be. From here on nothing is sent, and what comes in is let fall."""
        if self._closing_at:
            return
        self._flush()
        self._closing_at = self._loop.time() + CLOSE_TIMEOUT_S
        self._inbox.clear()
        self._fragments = None
        if code != WSCloseCode.OK:
            self._server.log.warning("websocket.closed", code=int(code.value), reason=reason, client=self.session.client)
        self._ws.send_close(code, reason)
        if not self._reading:
            self._reading = True
            self._stream.resume_reading()


@final
class _Protocol(WSProtocol):  # type: ignore[misc]  # picows does not export it with its types
    """picows' protocol, counted from the moment that a client is connected, and deaf once it is being closed."""

    def __init__(self, server: WebSocketServer) -> None:
        super().__init__(
            None,  # host and port, path: a client's
            None,
            False,  # is a client
            server.listener_for,
            server.picows_log,
            True,  # disconnects on an exception
            None,  # handshake timeout: kept by `visit`, because picows leaves an exception behind that nobody retrieves
            False,  # pings
            0,
            0,
            WSAutoPingStrategy.PING_PERIODICALLY,
            False,  # pongs: they count, like all else that is sent
            server.bounds.message_bytes_max,
            None,  # extra headers
            4_096,  # its buffer, at first
        )
        self._server = server
        self._stream: asyncio.Transport | None = None
        self._admitted = False
        self._connected_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        server = self._server
        self._stream = transport
        self._connected_at = asyncio.get_running_loop().time()
        self._admitted = server.connected(self)
        if self._admitted:
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._admitted:
            self._server.lost(self)
            super().connection_lost(exc)

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        # After an error in a frame's head picows goes on to read that frame, however long, until it disconnects a little later.
        if self.transport.is_close_frame_sent and self.listener is None:
            self._stream.pause_reading()

    def visit(self, now: float) -> None:
        assert self._stream is not None
        if self.listener is None and now - self._connected_at > self._server.bounds.handshake_timeout_s:
            self._stream.abort()


class _PicowsLog(logging.LoggerAdapter[logging.Logger]):
    """Lets fall what picows says of clients' faults, which are counted here and logged sparingly; what is our fault is passed on."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


@final
class WebSocketServer:
    """
    Serves WebSockets at a listening socket, from `start` to `stop`. Made in the event loop that it runs in.

    `route` gives the Api for a path, such as {"/ws-api/v3": api}.get; other paths are answered with 404. `measure_us` is given how long each
    text was with its Api.
    """

    def __init__(
        self,
        route: Callable[[str], WebSocketApi | None],
        listener: socket.socket,
        bounds: WebSocketBounds | None = None,
        *,
        trusted_proxies: frozenset[str] = frozenset(),
        measure_us: Callable[[int], None] = _unmeasured,
    ) -> None:
        self._route = route
        self._listener = listener
        self._trusted_proxies = trusted_proxies
        self.bounds: Final = bounds if bounds is not None else WebSocketBounds()
        self.counters: Final = WebSocketCounters()
        self.measure_us: Final = measure_us
        self.log: Final = SparingLog("gateway.websocket")
        self.picows_log: Final = _PicowsLog(logging.getLogger("picows"))
        self._protocols: set[_Protocol] = set()
        self._open: set[_Connection] = set()
