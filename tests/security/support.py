"""Attackers, who say what they please over real sockets, and an honest client, who must not notice them."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.support.running import Running
from tests.unit.transport.support import frame, handshake

PATIENCE_S = 10.0  # for what must come; who waits that long for a server has lost it
HONEST = "127.0.0.9"  # not the address that attacks
CLOSE = 8

# Small, so that few connections are many and a second is long. No honest client is to be held up by limits of its own.
SETTINGS = {
    "ZEROSUM_REST_CONNECTIONS_MAX": "60",
    "ZEROSUM_REST_CONNECTIONS_PER_ADDRESS_MAX": "40",
    "ZEROSUM_REST_PIPELINED_MAX": "8",
    "ZEROSUM_REST_REQUEST_TIMEOUT_S": "2.0",
    "ZEROSUM_REST_SEND_TIMEOUT_S": "2.0",
    "ZEROSUM_WEBSOCKET_CONNECTIONS_MAX": "60",
    "ZEROSUM_WEBSOCKET_CONNECTIONS_PER_ADDRESS_MAX": "40",
    "ZEROSUM_WEBSOCKET_HANDSHAKE_TIMEOUT_S": "2.0",
    "ZEROSUM_ALLOWANCE_WEIGHT_PER_MINUTE": "1000000000",
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Target:
    """A process that serves, plain or over TLS."""

    exchange: Running

    @property
    def is_secure(self) -> bool:
        return self.exchange.tls is not None

    @contextmanager
    def tcp(self, listener: str, source: str = "127.0.0.1") -> Iterator[socket.socket]:
        """A connection that speaks no TLS, whatever the listener does."""
        port = self.exchange.ports[listener]
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S, source_address=(source, 0)) as connection:
            yield connection

    @contextmanager
    def connected(self, listener: str, source: str = "127.0.0.1") -> Iterator[socket.socket]:
        with self.tcp(listener, source) as tcp:
            if self.exchange.tls is None or listener == "operations":
                yield tcp
            else:
                with self.exchange.tls.client.wrap_socket(tcp, server_hostname="127.0.0.1") as tls:
                    yield tls

    def said(self, listener: str, data: bytes, *, ends: bool = True) -> bytes:
        """All that is answered to it, up to the end; `ends`: nothing more is said after it, where that can be told."""
        with self.connected(listener) as connection:
            try:
                connection.sendall(data)
                if ends and not isinstance(connection, ssl.SSLSocket):
                    connection.shutdown(socket.SHUT_WR)
            except OSError:  # it was closed before all was sent: what it answered is still there
                pass
            return to_the_end(connection)

    def answers(self, data: bytes, listener: str = "rest") -> list[Answer]:
        return parsed(self.said(listener, data))

    def assert_serves(self) -> None:
        """Every listener answers an honest client, with what it asked for."""
        began_ms = time.time_ns() // 1_000_000
        with self.connected("rest", HONEST) as connection:
            connection.sendall(b"GET /api/v3/time HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            (answer,) = parsed(to_the_end(connection))
            assert answer.status == 200, answer
            assert began_ms - 1_000 <= json.loads(answer.body)["serverTime"] <= time.time_ns() // 1_000_000 + 1_000
        with WebSocket.opened(self, HONEST) as client:
            assert client.ask({"id": "honest", "method": "ping"})["status"] == 200
        with self.connected("operations", HONEST) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            (answer,) = parsed(to_the_end(connection))
            assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
        assert self.exchange.process.poll() is None


def to_the_end(connection: socket.socket) -> bytes:
    """What comes until the server closes; TimeoutError when it does not."""
    read = b""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < deadline, "it is not closed"
        try:
            data = connection.recv(65_536)
        except (ConnectionError, ssl.SSLError):
            return read
        if not data:
            return read
        read += data


def parsed(data: bytes) -> list[Answer]:
    """HTTP responses, one after the other; nothing between them or behind."""
    found = []
    while data:
        head, found_end, data = data.partition(b"\r\n\r\n")
        assert found_end, ("half a response", head[:200])
        status_line, *lines = head.decode("ascii").split("\r\n")
        assert status_line.startswith("HTTP/1.1 "), status_line
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name == name.strip().lower() or name in {"Connection", "Content-Length", "Content-Type", "Sec-WebSocket-Accept",
                                                             "Upgrade", "Sec-WebSocket-Protocol"}, line  # fmt: skip
            assert name.lower() not in headers, line
            headers[name.lower()] = value
        status = int(status_line.split(" ")[1])
        length = int(headers.get("content-length", "0"))
        assert len(data) >= length, "a body that is cut short"
        found.append(Answer(status, headers, data[:length]))
        data = data[length:]
    return found


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def query(**parameters: Any) -> bytes:
    return urllib.parse.urlencode(parameters).encode()


class WebSocket:
    """One that sends any bytes, and reads frames when told to."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._read = b""

    @classmethod
    @contextmanager
    def opened(cls, target: Target, source: str = "127.0.0.1", headers: str = "") -> Iterator[WebSocket]:
        with target.connected("websocket", source) as connection:
            client = cls(connection)
            connection.sendall(handshake(headers=headers))
            client.head = client._until(b"\r\n\r\n")
            assert client.head.startswith(b"HTTP/1.1 101 "), client.head
            yield client

    head: bytes

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Its answer, whatever comes before that."""
        self.connection.sendall(frame(json.dumps(message).encode()))
        while True:
            first, payload = self.frame()
            if first == 0x81:
                answer: dict[str, Any] = json.loads(payload)
                assert answer["id"] == message["id"]
                return answer

    def frame(self) -> tuple[int, bytes]:
        first, length = self._exactly(2)
        if length == 126:
            (length,) = struct.unpack(">H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._exactly(8))
        return first, self._exactly(length)

    def close_code(self) -> int:
        """That of the closing frame, whatever comes before it. ConnectionError when it is closed without one."""
        while True:
            first, payload = self.frame()
            if first == 0x80 | CLOSE:
                return int.from_bytes(payload[:2])

    def reads_to_its_end(self) -> list[int]:
        """The first bytes of the frames that come until it is closed. TimeoutError when it is not."""
        found = []
        try:
            while True:
                found.append(self.frame()[0])
        except (ConnectionError, ssl.SSLError):
            return found

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            self._more()
        found, _, self._read = self._read.partition(end)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            self._more()
        found, self._read = self._read[:count], self._read[count:]
        return found

    def _more(self) -> None:
        data = self.connection.recv(65_536)
        if not data:
            raise ConnectionError("closed")
        self._read += data
