"""
A connection over TLS, as a protocol has it: what waits to be sent is counted, and waits here.

    protocol --write--> pieces --> TLS --> TCP --> the system
                          |         ^
                          +- wait --+-- once TCP has room again

Left to itself the event loop's TLS transport encrypts all that it is given, hands it to TCP, and counts it no more: a client that reads
nothing would seem to have read everything. So it is given a piece only while TCP takes it.

Always true:
  - the protocol is told to pause once more than its limit waits, and to go on once a quarter of that is left
  - closing sends first what waits
  - there is no `write_eof`: in TLS, who says no more closes, and hears what the client still sends unheeded
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, cast, final

WAITING_BYTES: Final = 64 << 10  # each way: for a client that does not read, and for a protocol that does not
_PIECE_BYTES: Final = 16 << 10  # a record of TLS, at most


@final
class TlsTransport:
    """Between the event loop's transport `tls`, which it is the protocol of, and `protocol`, which it is the transport of."""

    def __init__(self, raw: asyncio.Transport, tls: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
        self._raw: asyncio.Transport | None = raw
        self._tls: asyncio.Transport | None = tls
        self._protocol = protocol
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._blocked = False
        self._paused = False  # the protocol is
        self._closing = False
        self._high = WAITING_BYTES
        raw.set_write_buffer_limits(high=0)  # whatever TCP does not take at once blocks
        tls.set_write_buffer_limits(high=1)
        cast("Any", tls).set_read_buffer_limits(high=WAITING_BYTES)
        # What comes in goes straight through.
        self.eof_received = cast("asyncio.Protocol", protocol).eof_received
        if isinstance(protocol, asyncio.BufferedProtocol):
            self.get_buffer = protocol.get_buffer
            self.buffer_updated = protocol.buffer_updated
        else:
            self.data_received = cast("asyncio.Protocol", protocol).data_received

    def begin(self) -> None:
        assert self._tls is not None
        self._tls.set_protocol(cast("asyncio.BaseProtocol", self))
        self._protocol.connection_made(cast("asyncio.Transport", self))

    # -- of the protocol's transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._tls is None or self.is_closing():
            return
        if not self._blocked and len(data) <= _PIECE_BYTES:
            self._tls.write(data)
        else:
            view = memoryview(bytes(data))
            self._waiting.extend(view[start : start + _PIECE_BYTES] for start in range(0, len(view), _PIECE_BYTES))
            self._waiting_bytes += len(view)
            self._send()
        if not self._paused and self.get_write_buffer_size() > self._high:
            self._paused = True
            self._protocol.pause_writing()

    def _send(self) -> None:
        """What waits, as far as TCP takes it."""
        while self._tls is not None and self._waiting and not self._blocked:
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            self._tls.write(piece)

    def get_write_buffer_size(self) -> int:
        """What is not with TCP yet."""
        return self._waiting_bytes + (self._tls.get_write_buffer_size() if self._tls is not None else 0)

    def unsent_bytes(self) -> int:
        """What is not with the system yet."""
        return self.get_write_buffer_size() + (self._raw.get_write_buffer_size() if self._raw is not None else 0)

    def set_write_buffer_limits(self, high: int) -> None:
        self._high = high

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls.get_extra_info(name, default) if self._tls is not None else default

    def pause_reading(self) -> None:
        if self._tls is not None:
            self._tls.pause_reading()

    def resume_reading(self) -> None:
        if self._tls is not None and not self._closing:
            self._tls.resume_reading()

    def is_closing(self) -> bool:
        return self._closing or self._tls is None or self._tls.is_closing()

    def close(self) -> None:
        """Send what waits, then the end, and wait for the client's own; what it sends before that is not heard."""
        if self._tls is not None and not self.is_closing():
            self._closing = True
            if self._waiting:
                self._tls.pause_reading()
            else:
                self._tls.close()

    def abort(self) -> None:
        self._closing = True
        self._forget_waiting()
        if self._tls is not None:
            self._tls.abort()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    # -- of the TLS transport's protocol

    def connection_lost(self, exc: Exception | None) -> None:
        # Protocols and their requests hold each other until the garbage collector finds them, which may be late: TLS's buffers go now.
        self._closing = True
        self._forget_waiting()
        self._raw = self._tls = None
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._send()
        if self._paused and self.get_write_buffer_size() <= self._high // 4:
            self._paused = False
            self._protocol.resume_writing()
        if self._tls is not None and self._closing and not self._waiting:
            self._tls.close()


def unsent_bytes(transport: asyncio.Transport | TlsTransport) -> int:
    """Written to a transport of either kind, and not yet with the system."""
    return transport.unsent_bytes() if isinstance(transport, TlsTransport) else transport.get_write_buffer_size()
