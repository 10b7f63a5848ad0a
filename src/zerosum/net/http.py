"""
One HTTP connection: uvicorn's protocol, and the bounds that it does not keep itself.

    bytes --> count, time --> parser --> request --> its turn --> application
                  |             |                       |
                  +-------------+-- refuse: answer with the error, and hear nothing more of this client

Always true:
  - a request larger than the bounds is refused before it is held in memory
  - a client that takes too long over a request or a response, or sends nothing, is closed
  - a client that ends its own side of the connection is still answered; over TLS, where nobody can end one side alone, it has left
  - a refusal never overtakes the answers to earlier requests of the connection: these are sent, then it is closed
  - what is refused here was never handed to the application
  - after the last answer the client is heard out, unheeded, so that no reset comes between it and the answer
  - past the bounds on connections a new one is refused; or, where `makes_room`, the oldest that is not being answered goes in its stead
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast, final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from zerosum.net.address import AddressCounts, canonical
from zerosum.net.headers import security_head
from zerosum.net.sparing_log import SparingLog
from zerosum.net.tls_transport import unsent_bytes

CONTENT_TYPE: Final = (b"content-type", b"application/json;charset=UTF-8")

# After its last answer a connection stays half open for this long, unless the client closes it before: closed at once, with bytes of the
# client unread or on their way, it would be reset, and many clients would report that instead of reading the answer.
LINGER_S: Final = 1.0
LINGERING_MAX: Final = 64  # connections past connections_max that are heard out; of more, some may miss why they were refused

_VERSIONS: Final = ("1.0", "1.1")

# A body in chunks of one byte each is this many times its size, and a little more.
_CHUNKED_FACTOR: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """How much one client may ask of a listener, and all of them together."""

    connections_max: int = 1_000
    connections_per_address_max: int = 250
    pipelined_max: int = 32
    url_bytes_max: int = 16_384
    header_bytes_max: int = 16_384
    headers_max: int = 64
    body_bytes_max: int = 65_536
    request_timeout_s: float = 10.0
    send_timeout_s: float = 30.0
    keep_alive_s: float = 60.0
    shutdown_timeout_s: float = 10.0


class Refusal(NamedTuple):
    """An answer that is given before the application is asked."""

    status: int
    body: bytes

    def encoded(self, secure: bool) -> bytes:
        name, value = CONTENT_TYPE
        head = b"%s%s%s: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        return head % (STATUS_LINE[self.status], security_head(secure), name, value, len(self.body)) + self.body


OVERLOADED: Final = Refusal(
    503, b'{"code":-1008,"msg":"Server is currently overloaded with other requests. Please try again in a few minutes."}'
)
STOPPING: Final = Refusal(503, b'{"code":-1016,"msg":"This service is no longer available."}')
MALFORMED: Final = Refusal(400, b'{"code":-1000,"msg":"Malformed HTTP request."}')
_TOO_SLOW: Final = Refusal(408, b'{"code":-1000,"msg":"The request was not sent in time."}')
_URL_TOO_LONG: Final = Refusal(414, b'{"code":-1000,"msg":"The URL is too long."}')
_HEADERS_TOO_LARGE: Final = Refusal(431, b'{"code":-1000,"msg":"The headers are too many or too large."}')
_BODY_TOO_LARGE: Final = Refusal(413, b'{"code":-1000,"msg":"The request body is too large."}')
INTERNAL: Final = Refusal(500, b'{"code":-1000,"msg":"An unknown error occurred while processing the request."}')


class _Refused(Exception):
    """Raised in a callback of the parser, to stop it."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


@final
@dataclass(slots=True)
class HttpCounters:
    """Since the start."""

    connections: int = 0
    connections_refused: int = 0  # past connections_max, or that of their address
    connections_evicted: int = 0  # to make room
    requests_refused: int = 0  # malformed, too large or too slow
    connections_aborted: int = 0  # the client did not take what was sent to it


@final
class _HalfClosing:
    """A connection as a request has it: to close it is to say nothing more."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, connection: BoundedHttp) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.say_no_more


@final
class BoundedHttp(HttpToolsProtocol):
    """
    Relies on these of its base: `cycle` (the newest request), `pipeline` (requests that wait for their turn, newest first),
    `_start_asgi_task` (a request's turn) and a request's `transport`. The tests over real sockets fail if an upgrade of uvicorn changes
    what they mean.
    """

    def __init__(
        self, *, bounds: HttpBounds, addresses: AddressCounts, makes_room: bool, counters: HttpCounters, log: SparingLog, **uvicorn: Any
    ) -> None:
        super().__init__(**uvicorn)
        self._bounds = bounds
        self._addresses = addresses
        self._makes_room = makes_room
        self._counters = counters
        self._log = log
        self._peer = ""
        self._secure = False
        self._number = 0  # of this connection, since the start
        self._counts = False  # it has one of its address's places
        self._running: RequestResponseCycle | None = None  # whose turn it is, or was last
        self._received: RequestResponseCycle | None = None  # whose head is complete, and whose body is not
        self._deaf = False  # nothing that comes in is looked at any more
        self._in_head = False
        self._in_request = False
        self._completed = False  # a request was, by the bytes at hand
        self._raw_bytes = 0  # of the request being received, as far as it began in earlier reads
        self._head_bytes = 0
        self._body_bytes = 0
        self._receiving_since = 0.0  # and 0.0 where nothing is awaited
        self._unwritable_since = 0.0
        self._lingers = False  # everything was said, and the client is heard out
        self._ended_since = 0.0  # since that, or since it is being closed

    # -- connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._half_closing = _HalfClosing(self)
        self._secure = self.scheme == "https"
        self._peer = canonical(self.client[0]) if self.client is not None else ""
        self._counters.connections += 1
        self._number = self._counters.connections
        self._receiving_since = self.loop.time()
        # By the places taken, not by what is connected: those that are refused hear so for a while, and take nothing from others.
        if self._makes_room and self._addresses.total >= self._bounds.connections_max:
            self._make_room()
        if self._addresses.total >= self._bounds.connections_max:
            self._refuse_connection(connections_max=self._bounds.connections_max)
        elif not self._addresses.has_room(self._peer):
            self._refuse_connection(connections_per_address_max=self._bounds.connections_per_address_max)
        else:
            self._addresses.take(self._peer)
            self._counts = True

    def _refuse_connection(self, **bound: int) -> None:
        self._counters.connections_refused += 1
        self._log.warning("http.connection_refused", client=self._peer, **bound)
        self.transport.write(OVERLOADED.encoded(self._secure))
        if len(self.connections) - self._addresses.total <= LINGERING_MAX:
            self.say_no_more()
        else:
            self._deaf = True
            self.transport.close()

    def _make_room(self) -> None:
        """Cut off whoever has been here the longest and is not being answered, if there is one."""
        others = cast("set[BoundedHttp]", self.connections - {self})
        idle = [one for one in others if one._counts and (one._running is None or one._running.response_complete)]
        if idle:
            oldest = min(idle, key=lambda one: one._number)
            self._counters.connections_evicted += 1
            self._log.warning("http.connection_evicted", client=oldest._peer, connections_max=self._bounds.connections_max)
            oldest._give_up_place()  # at once: its end comes a turn of the loop later
            oldest.abort()

    def _give_up_place(self) -> None:
        self.connections.discard(self)
        if self._counts:
            self._counts = False
            self._addresses.give_back(self._peer)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._completed = False
        self._raw_bytes += len(data)
        if not self._receiving_since:
            self._receiving_since = self.loop.time()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Upgrades are declined by answering the request as if none had been asked for. The parser is of no use after that.
            self._hear_no_more()
        except httptools.HttpParserError as error:
            self._refuse(self._why(error))
        else:
            if not self._in_request:
                if self._completed:
                    self._receiving_since = 0.0
            elif self._raw_bytes > self._raw_bytes_max():
                self._refuse(_HEADERS_TOO_LARGE if self._in_head else _BODY_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends nothing more, and may still read. Whether the connection stays: until all that it asked is answered."""
        if self._lingers:
            return False  # it was waited for
        if not self._deaf and self._in_request:
            self._refuse(MALFORMED)  # the rest of it will not come
        elif not self._deaf:
            self._hear_no_more()
        return not self._secure and self._last_unanswered() is not None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # it tells the newest request alone
        self._give_up_place()
        if self._running is not None:
            self._running.disconnected = True

    def pause_writing(self) -> None:
        self._unwritable_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unwritable_since = 0.0
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        if not self._in_request:  # one that is, has its own time limit
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Answer what is under way, then close."""
        if self._in_request:
            self._refuse(STOPPING)
        elif self._hear_no_more() is None:
            self.say_no_more()

    def say_no_more(self) -> None:
        """Send what is to be sent and the end, and hear the client out for a while."""
        if not self._lingers and not self.transport.is_closing():
            self._deaf = self._lingers = True
            self._receiving_since = 0.0
            self._ended_since = self.loop.time()
            if self._secure:
                self.transport.close()  # which waits for the client's own end
            else:
                self.transport.write_eof()

    def visit(self, now: float) -> None:
        """Close what has taken too long."""
        bounds = self._bounds
        unsent = unsent_bytes(self.transport)
        if self.transport.is_closing() and not self._ended_since:
            self._ended_since = now
        if unsent and self._unwritable_since and now - self._unwritable_since > bounds.send_timeout_s:
            self._abort()
        elif self._ended_since:
            # Closing waits until everything is sent, for as long as the client leaves it unread; and over TLS for the client's own end.
            if unsent:
                if now - self._ended_since > bounds.send_timeout_s:
                    self._abort()
            elif now - self._ended_since > LINGER_S:
                self.transport.abort()
        elif self.flow.read_paused:
            self._receiving_since = self._receiving_since and now  # it is us who keep the client waiting
        elif self._receiving_since and now - self._receiving_since > bounds.request_timeout_s:
            if self._in_request or self._raw_bytes:
                self._refuse(_TOO_SLOW)
            else:
                self.transport.close()  # it never said anything

    def abort(self) -> None:
        self.transport.abort()

    # -- parser

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self._bounds.pipelined_max:
            raise _Refused(OVERLOADED)
        super().on_message_begin()
        self._in_request = self._in_head = True
        self._receiving_since = self.loop.time()
        self._raw_bytes = self._head_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self._bounds.url_bytes_max:
            raise _Refused(_URL_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if len(self.headers) > self._bounds.headers_max or self._head_bytes > self._bounds.header_bytes_max:
            raise _Refused(_HEADERS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._in_head = False
        # Also without: an absolute URL, which is for proxies; CONNECT, whose URL has no path; and `*`.
        if not self.url.startswith(b"/") or not self.url.isascii():
            raise _Refused(MALFORMED)
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise _Refused(MALFORMED)
        hosts = 0
        for name, value in self.headers:
            hosts += name == b"host"
            if name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
                raise _Refused(MALFORMED)  # its end is where others in between may not see it; and nothing is unpacked here
            if name == b"content-length" and int(value) > self._bounds.body_bytes_max:
                raise _Refused(_BODY_TOO_LARGE)
            if name in (b"content-length", b"transfer-encoding") and self.parser.should_upgrade():
                raise _Refused(MALFORMED)  # the parser would take the body for the other protocol
        if hosts > 1:
            raise _Refused(MALFORMED)
        super().on_headers_complete()
        self._received = self.cycle

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._bounds.body_bytes_max:
            raise _Refused(_BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._received = None
        self._in_request = False
        self._completed = True

    # -- turns and refusals

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        cycle.transport = cast("asyncio.Transport", self._half_closing)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if not self._lingers:  # otherwise no request has its turn any more
            super().on_response_complete()

    def _last_unanswered(self) -> RequestResponseCycle | None:
        """The last of the requests that were received whole and are not answered yet."""
        waiting = [cycle for cycle, _ in self.pipeline]  # newest first
        if self._running is not None and not self._running.response_complete:
            waiting.append(self._running)
        return next((cycle for cycle in waiting if not cycle.more_body), None)

    def _hear_no_more(self) -> RequestResponseCycle | None:
        """Look at nothing more from this client, and close once the last unanswered request is answered; that one, if there is one."""
        self._deaf = True
        self._in_request = False
        self._receiving_since = 0.0
        last = self._last_unanswered()
        if last is not None:
            last.keep_alive = False
        return last

    def _refuse(self, refusal: Refusal) -> None:
        """Give up the request being received, and with it the connection."""
        if self._deaf:
            return
        self._counters.requests_refused += 1
        self._log.warning("http.request_refused", status=refusal.status, client=self._peer)
        if self._received is not None and self._received is not self._running:
            newest, _ = self.pipeline.popleft()
            assert newest is self._received, "what is being received is the newest"
        if self._hear_no_more() is None and not self.transport.is_closing() and not self._lingers:
            # One that was answered before all of it had come has its answer: another would be taken for that of the next request.
            if self._received is None or not self._received.response_started:
                self.transport.write(refusal.encoded(self._secure))
            self.say_no_more()

    def _why(self, error: httptools.HttpParserError) -> Refusal:
        cause = error.__context__
        if isinstance(cause, _Refused):
            return cause.refusal
        if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(cause, httptools.HttpParserError):
            self.logger.error("A callback of the HTTP parser failed", exc_info=cause)
            return INTERNAL
        return MALFORMED

    def _raw_bytes_max(self) -> int:
        head = self._bounds.url_bytes_max + self._bounds.header_bytes_max + 4 * self._bounds.headers_max
        if self._in_head:
            return head
        return head + _CHUNKED_FACTOR * (self._bounds.body_bytes_max + 512)

    def _abort(self) -> None:
        self._counters.connections_aborted += 1
        self._log.warning("http.connection_aborted", client=self._peer, send_timeout_s=self._bounds.send_timeout_s)
        self.transport.abort()
