"""The log's bytes: what is packed is parsed back, and nothing else is taken for it."""

import struct
from zlib import crc32

import pytest

from tests.support.log_records import record, records
from zerosum.log.layout import (
    DIGEST_BYTES,
    FORMAT,
    GROUP_HEADER_BYTES,
    GROUP_OVERHEAD_BYTES,
    KIND_RECORDS,
    SEGMENT_HEADER_BYTES,
    Attestation,
    SegmentHeader,
    check_seed,
    count_records,
    newer_group_format,
    newer_segment_format,
    pack_group,
    pack_segment_header,
    parse_group_header,
    parse_segment_header,
    split_records,
)

SEED = check_seed(b"l" * 16)
ATTESTATION = Attestation(5, 6, 7, b"c" * 32)
SEGMENT = SegmentHeader(b"l" * 16, 12, 8192, b"p" * 32)


def a_group() -> bytes:
    group, _ = pack_group(
        SEED,
        KIND_RECORDS,
        count=2,
        first_sequence=3,
        synced_offset=112,
        time_us=1_700_000_000_000_000,
        attestation=ATTESTATION,
        previous=b"p" * 32,
        records=records(3, 2),
    )
    return group


def test_layout_sizes_are_the_documented_ones() -> None:
    """docs/internals/log-format.md states them, and files have them for ever."""
    assert (SEGMENT_HEADER_BYTES, GROUP_HEADER_BYTES, GROUP_OVERHEAD_BYTES) == (104, 136, 168)


def test_a_group_is_parsed_back() -> None:
    header = parse_group_header(memoryview(b"before  " + a_group()), 8, SEED)
    assert header is not None
    assert header[1:10] == (KIND_RECORDS, 2, 3, 112, 1_700_000_000_000_000, 5, 6, 7, b"c" * 32)
    assert (header.previous, header.payload_bytes) == (b"p" * 32, 48)


def test_each_flipped_bit_of_a_group_header_is_noticed_by_its_check() -> None:
    group = a_group()
    for bit in range(GROUP_HEADER_BYTES * 8):
        flipped = bytearray(group)
        flipped[bit // 8] ^= 1 << bit % 8
        assert parse_group_header(memoryview(flipped), 0, SEED) is None
        assert newer_group_format(memoryview(flipped), 0, SEED) is None, "a flipped version is damage, not a later version"


def test_another_logs_group_is_not_ours() -> None:
    """So that a group inside a record, or in a block reused by the file system, is never taken for one of this log."""
    assert parse_group_header(memoryview(a_group()), 0, check_seed(b"m" * 16)) is None


def test_a_group_header_cut_short_is_none() -> None:
    assert parse_group_header(memoryview(a_group())[: GROUP_HEADER_BYTES - 1], 0, SEED) is None


def test_a_segment_header_is_parsed_back_and_each_flipped_bit_noticed() -> None:
    packed = pack_segment_header(SEGMENT)
    assert parse_segment_header(packed + b"groups") == SEGMENT
    for bit in range(len(packed) * 8):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        assert parse_segment_header(bytes(flipped)) is None
        assert newer_segment_format(bytes(flipped)) is None


def test_later_formats_are_known_for_what_they_are() -> None:
    """In every format a header begins with magic, version, length and ends with its check or digest."""
    later = b"ZSGR" + struct.pack("<HH", FORMAT + 1, 160) + bytes(148)
    later += struct.pack("<I", crc32(later, SEED))
    assert newer_group_format(memoryview(later), 0, SEED) == FORMAT + 1
    assert parse_group_header(memoryview(later), 0, SEED) is None


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        (b"", 0),
        (record(1), 1),
        (record(1, 2) + record(2, 9) + record(3, 3), 3),
        (record(1) + b"\x01", -1),  # a part of a word
        (record(1)[:-8], -1),  # cut short
        (record(1) + bytes(8), -1),  # a record of no words
    ],
)
def test_records_are_counted_by_the_lengths_in_their_first_words(payload: bytes, count: int) -> None:
    assert count_records(payload) == count


def test_records_are_split_by_the_lengths_in_their_first_words() -> None:
    expected = [record(1, 2), record(2, 300), record(3, 3)]
    assert [bytes(one) for one in split_records(memoryview(b"".join(expected)))] == expected


def test_digest_is_over_header_and_records() -> None:
    group = a_group()
    _, digest = pack_group(
        SEED,
        KIND_RECORDS,
        count=2,
        first_sequence=3,
        synced_offset=112,
        time_us=1_700_000_000_000_000,
        attestation=ATTESTATION,
        previous=b"p" * 32,
        records=records(3, 2),
    )
    assert group[-DIGEST_BYTES:] == digest
