"""What travels in a stream: whole, or known to be damaged."""

from __future__ import annotations

import struct

import pytest

from zerosum.log.errors import MessageDamaged, NotAMessage
from zerosum.log.messages import HEADER_BYTES, count_in, cut, offset_of, pack, position, unpack
from zerosum.log.sequences import Gap, Sequence, after, last_sequence

WORDS = 5


def record(number: int, words: int = WORDS) -> bytes:
    return struct.pack(f"<{words}q", 70 | 1 << 8 | words << 16 | 3 << 32, number, *range(words - 2))


def run_of(first: int, last: int) -> bytes:
    return b"".join(record(number) for number in range(first, last + 1))


def test_a_message_comes_back_as_it_was_packed() -> None:
    data = pack(run_of(7, 9), writer=4, upto=position(12), sequence=9)
    assert unpack(data, "here") == (4, position(12), 9, run_of(7, 9))
    assert count_in(data) == 3
    assert unpack(pack(b"", upto=5), "here").records == b""


def test_every_flipped_bit_is_noticed() -> None:
    data = pack(run_of(1, 2), writer=1, upto=77, sequence=2)
    unused = range(HEADER_BYTES - 4, HEADER_BYTES)
    for at in range(len(data)):
        if at not in unused:
            for bit in range(8):
                with pytest.raises(MessageDamaged, match="here") as caught:
                    unpack(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], "here")
                assert caught.type is MessageDamaged, "it is a message, and damaged"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"side": "BUY", "symbol": "BTCUSDT", "quantity": "1.00"}', bytes(HEADER_BYTES), b"\xff" * 100]
)
def test_what_never_was_a_message_is_told_apart(data: bytes) -> None:
    with pytest.raises(NotAMessage, match="here"):
        unpack(data, "here")


def test_a_message_cut_short_is_noticed() -> None:
    data = pack(run_of(1, 3))
    for size in range(len(data)):
        with pytest.raises(MessageDamaged):
            unpack(data[:size], "here")


def test_a_position_names_a_message_and_a_place_in_it() -> None:
    assert position(0) > 0
    assert position(3, 5) < position(3, 6) < position(4)
    assert offset_of(position(3, 5)) == 3


@pytest.mark.parametrize("bytes_max", [1, WORDS * 8, WORDS * 8 + 1, 3 * WORDS * 8, 10**6])
def test_pieces_are_whole_records_in_order(bytes_max: int) -> None:
    whole = run_of(1, 10)
    pieces = list(cut(whole, bytes_max))
    assert b"".join(pieces) == whole
    assert all(len(piece) <= max(bytes_max, WORDS * 8) for piece in pieces)
    assert list(cut(b"")) == []


def test_repeats_are_dropped_record_by_record_and_a_gap_is_an_error() -> None:
    sequence = Sequence("a stream")
    assert sequence.take(run_of(1, 4)) == run_of(1, 4)
    assert sequence.take(run_of(3, 6)) == run_of(5, 6)
    assert sequence.take(run_of(2, 5)) == b""
    assert sequence.last == last_sequence(run_of(5, 6)) == 6
    with pytest.raises(Gap, match="a stream: record 7 is missing: 8 comes instead"):
        sequence.take(run_of(8, 9))
    assert after(run_of(1, 3), 0) == run_of(1, 3)
