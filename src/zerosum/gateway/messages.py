"""
What passes between the transport (sockets, bounds) and the Api (parameters, signatures, orders), which knows no sockets.

    REST        Request  --> Api.handle(request, reply)         --> reply(Response), once
    WebSocket   text     --> Api.handle_ws(text, session, reply) --> reply(text), once
                                                                 --> session.send(text), for what was not asked for

Always true:
  - everything here happens in the event loop's thread
  - a reply may come inside the call or later, and after the client has gone: then it is let fall
  - the requests of one WebSocket connection are handed over in the order sent
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, final


@final
@dataclass(slots=True)
class Request:
    """One REST request, whole, with nothing checked but its size."""

    method: str  # as sent: GET, POST ...
    path: str  # percent-decoded
    query: bytes  # as sent, without the "?": signatures are over these bytes
    body: bytes  # as sent
    api_key: str | None  # X-MBX-APIKEY
    time_unit: str | None  # X-MBX-TIME-UNIT
    client: str  # the address that limits count by
    received_us: int  # when its last byte was here, in microseconds since 1970


@final
@dataclass(slots=True)
class Response:
    """The answer to a Request. Content type and length are the transport's to say; `headers` are whatever else."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


Reply = Callable[[Response], None]
"""Takes the answer to a REST request."""

ReplyText = Callable[[bytes], None]
"""Takes the answer to one WebSocket request: a frame's text, in UTF-8."""


@final
class Session:
    """One WebSocket connection as the Api sees it, from its opening handshake to its end."""

    __slots__ = ("client", "closed", "on_closed", "path", "query", "send", "user")

    def __init__(self, *, client: str, path: str, query: bytes, send: ReplyText) -> None:
        self.client: Final = client
        """The address that limits count by."""
        self.path: Final = path
        self.query: Final = query
        """What followed "?" in the opening handshake, as sent."""
        self.send: Final = send
        """Send a text that answers no request. Once the session is closed it is let fall."""
        self.closed = False
        self.on_closed: list[Callable[[], None]] = []
        """Each is called once, when the session has ended."""
        self.user: object = None
        """The Api's own: who is logged on, what is subscribed to."""


class RestApi(Protocol):
    """What REST requests are handed to."""

    def handle(self, request: Request, reply: Reply) -> None: ...


class WebSocketApi(Protocol):
    """What the texts of WebSocket connections are handed to."""

    def handle_ws(self, text: bytes, session: Session, reply: ReplyText) -> None: ...
