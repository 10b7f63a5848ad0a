"""
What both servers need: a socket to listen on, a client's address, a visit to every connection now and then, and a log that no stranger
can flood.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, final

import structlog

from zerosum.errors import ZerosumError

BACKLOG: Final = 1_024


class ListenFailed(ZerosumError):
    """An address cannot be listened on."""


def listen(host: str, port: int, *, setting: str) -> socket.socket:
    """
    A socket that listens at `host` and `port` (0: any free one). ListenFailed names the section `setting` where both are set.

    From here on the kernel accepts connections; they wait until a server takes the socket.
    """
    try:
        ((family, kind, protocol, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ListenFailed(
            f"{host}:{port} cannot be listened on: {error.strerror or error}.\n"
            f"  Stop what holds it, or set {setting}.host and {setting}.port."
        ) from error
    return listener


def client_address(peer: str, forwarded_for: Iterable[str], trusted_proxies: frozenset[str]) -> str:
    """
    The address that a client's limits count by: its own, or what the trusted proxy in front says it is.

    `forwarded_for` holds the values of X-Forwarded-For, in order. A client can write there what it likes, and each proxy adds what it saw
    at the end: so the last one that is no proxy of ours is the client.
    """
    if peer not in trusted_proxies:
        return peer
    for hop in reversed([hop.strip() for value in forwarded_for for hop in value.split(",")]):
        if hop and hop not in trusted_proxies:
            return hop
    return peer


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


@final
class SparingLog:
    """Warnings about clients, at most `lines_per_s_max` of each event: the next one then says how many were left out."""

    def __init__(self, name: str, *, lines_per_s_max: int = 10) -> None:
        self._log: Any = structlog.get_logger(name)
        self._lines_per_s_max = lines_per_s_max
        self._left: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, **fields: object) -> None:
        left = self._left.get(event, self._lines_per_s_max)
        if left == 0:
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return
        self._left[event] = left - 1
        left_out = self._left_out.pop(event, 0)
        if left_out:
            fields["left_out"] = left_out
        self._log.warning(event, **fields)

    def refill(self) -> None:
        """A second has passed."""
        self._left.clear()
