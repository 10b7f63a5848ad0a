"""
TLS in front of a protocol: each connection's handshake, bounded as connections are, and then the protocol that it was for.

    accept --> a place --> handshake --> the protocol, on a TlsTransport
                 |             +-- fails, or takes too long: closed, and counted
                 +-- none left: some go on all the same, for the protocol to say why it refuses them; the others are cut off

Always true:
  - a connection has a place of its address from the moment that it is accepted, and the protocol finds that place free
  - no handshake lasts longer than timeout_s
  - what does not speak TLS reaches no protocol
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast, final

from zerosum.net.address import AddressCounts, peer_of
from zerosum.net.sparing_log import SparingLog
from zerosum.net.tls import ServerTls
from zerosum.net.tls_transport import TlsTransport

CLOSING_S: Final = 60.0  # for the client's own end; whoever has a bound for that cuts off sooner


@final
class Handshakes:
    """
    Called by a server for each connection, as a factory of protocols. `make` makes the protocol behind it; `places` are those that it takes
    itself; of those past `connections_max`, `told_max` at a time have their handshake all the same. `refused` is told whom it cut off.
    """

    def __init__(
        self, tls: ServerTls, make: Callable[[], asyncio.BaseProtocol], places: AddressCounts, log: SparingLog,
        refused: Callable[[str], None], *, connections_max: int, told_max: int, timeout_s: float,
    ) -> None:  # fmt: skip
        self.tls: Final = tls
        self.make: Final = make
        self.places: Final = places
        self.log: Final = log
        self.refused: Final = refused
        self.timeout_s: Final = timeout_s
        self.failed = 0
        self._connections_max: Final = connections_max
        self._told_max: Final = told_max
        self._told = 0
        self._under_way: set[_Handshake] = set()

    def __call__(self) -> asyncio.Protocol:
        return _Handshake(self)

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    def stop(self) -> None:
        """Cut off those that are under way."""
        for handshake in list(self._under_way):
            handshake.abort()

    # -- called by the handshakes

    def begun(self, handshake: _Handshake) -> bool:
        """Whether it may go on."""
        if self.places.total < self._connections_max and self.places.has_room(handshake.peer):
            self.places.take(handshake.peer)
            handshake.has_place = True
        elif self._told < self._told_max:
            self._told += 1
        else:
            self.refused(handshake.peer)
            return False
        self._under_way.add(handshake)
        return True

    def ended(self, handshake: _Handshake) -> None:
        self._under_way.discard(handshake)
        if handshake.has_place:
            self.places.give_back(handshake.peer)
        else:
            self._told -= 1


@final
class _Handshake(asyncio.Protocol):
    """One connection, until it is secure."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes
        self._loop = asyncio.get_running_loop()
        self._raw: asyncio.Transport
        self._early = b""
        self._shaking: asyncio.Task[None]  # held, or it might be collected
        self.peer = ""
        self.has_place = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        self.peer = peer_of(transport)
        if self._handshakes.begun(self):
            self._shaking = self._loop.create_task(self._shake())
        else:
            self._raw.abort()

    def data_received(self, data: bytes) -> None:
        """Between the accept and the first step of `_shake`."""
        self._early += data

    async def _shake(self) -> None:
        tls = None
        try:
            tls = await self._secured()
        except OSError as error:
            self._handshakes.failed += 1
            if isinstance(error, ssl.SSLError):  # otherwise it left, or took too long
                self._handshakes.log.warning("tls.handshake_failed", client=self.peer, why=error.reason or str(error))
        finally:
            self._handshakes.ended(self)
        if tls is not None and not tls.is_closing():
            self._acknowledge()
            # In the same turn of the loop: the place is still free, and nothing has been received.
            TlsTransport(self._raw, tls, self._handshakes.make()).begin()

    def _acknowledge(self) -> None:
        """Now. A client that gathers its bytes sends its request only then, and we have nothing to say that would carry it."""
        if hasattr(socket, "TCP_QUICKACK"):  # Linux; elsewhere such clients wait for a delayed one
            self._raw.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def _secured(self) -> asyncio.Transport | None:
        self._loop.call_soon(self._feed)  # after what start_tls does at once, and before what it has done next
        handshakes = self._handshakes
        return await self._loop.start_tls(
            self._raw, self, handshakes.tls.context, server_side=True, ssl_handshake_timeout=handshakes.timeout_s,
            ssl_shutdown_timeout=CLOSING_S,
        )  # fmt: skip

    def _feed(self) -> None:
        """Hand on what came before TLS was there to take it."""
        taker = cast("asyncio.BufferedProtocol", self._raw.get_protocol())
        while self._early:
            buffer = memoryview(taker.get_buffer(len(self._early)))
            taken = min(len(buffer), len(self._early))
            buffer[:taken] = self._early[:taken]
            taker.buffer_updated(taken)
            self._early = self._early[taken:]

    def abort(self) -> None:
        self._raw.abort()
