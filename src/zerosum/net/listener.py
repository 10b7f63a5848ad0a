"""A socket to listen on, and a visit to every connection now and then."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, final

from zerosum.errors import ZerosumError

BACKLOG: Final = 1_024


class ListenFailed(ZerosumError):
    """An address cannot be listened on."""


def bind(host: str, port: int, *, setting: str) -> socket.socket:
    """
    A socket for a server to listen at, bound to `host` and `port` (0: any free one). ListenFailed names the section `setting` where both
    are set.

    Until the server starts, clients are refused rather than kept waiting.
    """
    try:
        ((family, kind, protocol, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        raise ListenFailed(
            f"{host}:{port} cannot be listened on: {getattr(error, 'strerror', None) or error}.\n"
            f"  Stop what holds it, or set {setting}.host and {setting}.port."
        ) from error
    return listener


@final
class Visits:
    """Calls `visit(now)` every `interval_s` in the event loop, until stopped. `now` is the loop's time."""

    def __init__(self, visit: Callable[[float], None], interval_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._visit = visit
        self._interval_s = interval_s
        self._next = self._loop.call_later(interval_s, self._run)

    def _run(self) -> None:
        self._next = self._loop.call_later(self._interval_s, self._run)
        self._visit(self._loop.time())

    def stop(self) -> None:
        self._next.cancel()
