"""
Attacked: the frames of a WebSocket: those that break the protocol, those that never end, and very many of them.

Must hold: what breaks a rule closes its connection with the code that says which, or closes it; what is only much is slowed; no frame costs
more than it has bytes, whatever it claims.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.support import CLOSE, PATIENCE_S, Target, WebSocket
from tests.security.test_floods import growing_little
from tests.unit.transport.support import frame

PING, PONG, CONTINUATION, BINARY = 9, 10, 0, 2
ASK = frame(b'{"id":1,"method":"ping"}')

BROKEN = {
    "not masked": (1002, b"\x81\x02{}"),
    "first reserved bit": (1002, frame(b"{}", rsv=4)),
    "second reserved bit": (1002, frame(b"{}", rsv=2)),
    "third reserved bit": (1002, frame(b"{}", rsv=1)),
    **{f"opcode {opcode}": (1002, frame(b"", opcode=opcode)) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "binary": (1003, frame(b"{}", opcode=BINARY)),
    "a ping too long": (1002, frame(b"x" * 126, opcode=PING)),
    "a ping in fragments": (1002, frame(b"x", opcode=PING, fin=False)),
    "a closing frame in fragments": (1002, frame(b"", opcode=CLOSE, fin=False)),
    "a closing frame too long": (1002, frame(b"\x03\xe8" + b"x" * 124, opcode=CLOSE)),
    "a fragment of nothing": (1002, frame(b"x", opcode=CONTINUATION)),
    "a text within a text": (1002, frame(b"{", fin=False) + frame(b"}")),
    "not UTF-8": (1007, frame(b"\xff\xfe")),
    "half a character": (1007, frame(b"\xc3")),
    "overlong": (1007, frame(b"\xc0\xaf")),
    "a surrogate": (1007, frame(b"\xed\xa0\x80")),
    "not UTF-8 in fragments": (1007, frame(b"\xc3", fin=False) + frame(b"\x28", opcode=CONTINUATION)),
    "too long": (1009, frame(b"x" * 65_537)),
    "too long in fragments": (1009, frame(b"x" * 60_000, fin=False) + frame(b"x" * 6_000, opcode=CONTINUATION, fin=False)),
    "a claim of 1 TB": (1009, frame(b"", length=1 << 40)),
    "a claim of 2^63 - 1": (1009, frame(b"", length=(1 << 63) - 1)),
    "a claim of 2^63": (1002, frame(b"", length=1 << 63)),
    "a claim of 2^64 - 1": (1002, frame(b"", length=(1 << 64) - 1)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_frame_that_breaks_a_rule_closes_its_connection_with_the_reason(target: Target, name: str) -> None:
    code, said = BROKEN[name]
    with WebSocket.opened(target) as client:
        client.connection.sendall(said + ASK)
        assert client.close_code() == code
        assert 0x81 not in client.reads_to_its_end(), "what came behind it is not answered"


@pytest.mark.parametrize("payload", [b"", b"\x03", *(struct.pack(">H", code) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 65_535)),
                                     b"\x03\xe8\xff"])  # fmt: skip
def test_any_closing_frame_closes(target: Target, payload: bytes) -> None:
    with WebSocket.opened(target) as client:
        client.connection.sendall(frame(payload, opcode=CLOSE))
        assert client.close_code() in (1000, 1002, 1005, 1007, 0)
        client.reads_to_its_end()


def test_a_message_in_very_many_empty_fragments_costs_nothing(target: Target) -> None:
    with growing_little(target), WebSocket.opened(target) as client:
        client.connection.sendall(frame(b'{"id":1,', fin=False))
        for _ in range(10):
            client.connection.sendall(frame(b"", opcode=CONTINUATION, fin=False) * 1_000)
        client.connection.sendall(frame(b'"method":"ping"}', opcode=CONTINUATION))
        first, payload = client.frame()
        assert (first, json.loads(payload)["status"]) == (0x81, 200)


def test_a_flood_of_pings_is_answered_or_slowed(target: Target) -> None:
    with growing_little(target), WebSocket.opened(target) as client:
        client.connection.sendall(frame(b"p" * 125, opcode=PING) * 3_000)
        for _ in range(3_000):
            assert client.frame() == (0x80 | PONG, b"p" * 125)


def test_pongs_that_nobody_asked_for_and_closing_frames_behind_each_other_harm_nobody(target: Target) -> None:
    with WebSocket.opened(target) as client:
        client.connection.sendall(frame(b"x" * 125, opcode=PONG) * 2_000)
        assert client.ask({"id": 1, "method": "ping"})["status"] == 200
        client.connection.sendall(frame(b"\x03\xe8", opcode=CLOSE) * 100 + ASK * 100)
        assert client.close_code() in (1000, 1002)
        assert 0x81 not in client.reads_to_its_end()


def test_a_frame_that_is_claimed_and_does_not_come_is_waited_for_without_its_room(target: Target) -> None:
    with growing_little(target), contextlib.ExitStack() as held:
        for _ in range(20):
            client = held.enter_context(WebSocket.opened(target))
            client.connection.sendall(frame(b"x", length=65_536))
        target.assert_serves()


KEYS = st.sampled_from(["id", "method", "params", "apiKey", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
FRAMES = st.builds(
    frame,
    st.binary(max_size=200),
    opcode=st.integers(0, 15),
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    length=st.none() | st.integers(0, (1 << 64) - 1),
)
ONCE_AND_THE_SAME = settings(
    max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ONCE_AND_THE_SAME
@given(said=st.lists(FRAMES | st.binary(max_size=100), max_size=8), cut=st.integers(0, 20))
def test_any_frames_are_answered_or_closed(plain: Target, said: list[bytes], cut: int) -> None:
    whole = b"".join(said)
    with WebSocket.opened(plain) as client:
        with contextlib.suppress(OSError):
            client.connection.sendall(whole[: len(whole) - cut])
            client.connection.sendall(frame(b"\x03\xe8", opcode=CLOSE))
        client.connection.settimeout(0.05)
        deadline = time.monotonic() + PATIENCE_S
        with contextlib.suppress(OSError):
            while True:
                assert time.monotonic() < deadline, "it is heard without an end"
                first, _ = client.frame()
                assert first in (0x81, 0x80 | PONG, 0x80 | CLOSE)


@ONCE_AND_THE_SAME
@given(text=JSON)
def test_any_json_is_answered_once(plain: Target, text: object) -> None:
    with WebSocket.opened(plain) as client:
        client.connection.sendall(frame(json.dumps(text).encode()))
        first, payload = client.frame()
        assert first == 0x81
        assert 200 <= json.loads(payload)["status"] < 500
        assert client.ask({"id": os.urandom(4).hex(), "method": "ping"})["status"] == 200
