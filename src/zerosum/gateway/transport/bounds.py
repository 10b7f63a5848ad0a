"""
How much one client may ask of a listener, and all of them together.

The defaults are those of the settings `rest` and `websocket`, where each is explained.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self, final

from zerosum.net.http import HttpBounds


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RestBounds(HttpBounds):
    """Of the REST listener: those of HTTP, and of the requests with the Api."""

    in_flight_max: int = 10_000
    reply_timeout_s: float = 30.0

    @classmethod
    def of(cls, section: object) -> Self:
        """From any object that has these attributes, such as the settings `rest`."""
        return cls(**{field.name: getattr(section, field.name) for field in fields(cls)})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketBounds:
    """Of the WebSocket listener; all but the first two are for one connection."""

    connections_max: int = 1_000
    connections_per_address_max: int = 250
    message_bytes_max: int = 65_536
    messages_per_s_max: int = 20_000
    in_flight_max: int = 1_000
    unread_bytes_max: int = 1 << 20
    handshake_timeout_s: float = 5.0
    reply_timeout_s: float = 30.0
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 60.0
    lifetime_s: float = 86_400.0
    shutdown_timeout_s: float = 10.0

    @classmethod
    def of(cls, section: object) -> Self:
        """From any object that has these attributes, such as the settings `websocket`."""
        return cls(**{field.name: getattr(section, field.name) for field in fields(cls)})
