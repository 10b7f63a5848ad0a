"""
The log's bytes: segment headers and groups, packed and parsed. Pure: no file is touched here.

    segment   | segment header | group | group | ... | zeros ... | end |
    group     | header, 136 bytes | records | digest, 32 bytes |

    digest    SHA-256 over header and records; the next group repeats it as `previous`, so the groups form one chain
    check     CRC-32 of the header, seeded with the log's id: a header is known for this log's own without its records

Always true:
  - groups follow each other without a gap, each a multiple of 8 bytes
  - a group begins with its magic and ends with its digest, neither of them zeros: where a sector of one is zeros from end to end,
    that sector was never written (see recovery.py)
  - in every format version the first 8 bytes of a header are magic, version, header length, and its check stands last
docs/internals/log-format.md has the tables.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

FORMAT: Final = 1

GROUP_MAGIC: Final = b"ZSGR"
KIND_RECORDS: Final = 1
KIND_SEAL: Final = 2  # a clean stop: everything before it is synced
KIND_END: Final = 3  # in a segment's last bytes: closed, the next segment exists

DIGEST_BYTES: Final = 32
_GROUP: Final = struct.Struct("<8sIIqqqqqq32s32sII")
_GROUP_UNCHECKED: Final = struct.Struct("<8sIIqqqqqq32s32sI")
_CHECK: Final = struct.Struct("<I")
GROUP_HEADER_BYTES: Final = _GROUP.size
GROUP_OVERHEAD_BYTES: Final = GROUP_HEADER_BYTES + DIGEST_BYTES
_GROUP_PREFIX: Final = GROUP_MAGIC + struct.pack("<HH", FORMAT, GROUP_HEADER_BYTES)

SEGMENT_MAGIC: Final = b"ZSSG"
_SEGMENT: Final = struct.Struct("<8s16sqq32s")
SEGMENT_HEADER_BYTES: Final = _SEGMENT.size + DIGEST_BYTES
_SEGMENT_PREFIX: Final = SEGMENT_MAGIC + struct.pack("<HH", FORMAT, SEGMENT_HEADER_BYTES)
SEGMENT_BYTES_STEP: Final = 4096  # so that the end, in the last bytes, never straddles two sectors
SEGMENT_BYTES_MAX: Final = 1 << 30

LOG_ID_BYTES: Final = 16
_PREFIX: Final = struct.Struct("<4sHH")


class Attestation(NamedTuple):
    """
    What the live machine had put out when the group was written: after input `input_sequence`, so many account and market
    events, and the head of its output chain. A follower that has applied the same input compares. A seal attests all of it.
    Opaque to the log.
    """

    input_sequence: int
    account_sequence: int
    market_sequence: int
    chain_head: bytes


NOTHING_ATTESTED: Final = Attestation(0, 0, 0, bytes(DIGEST_BYTES))


class GroupHeader(NamedTuple):
    """A group less its records. `synced_offset`: everything before it in the file was synced when the group was written."""

    prefix: bytes
    kind: int
    record_count: int
    first_sequence: int
    synced_offset: int
    time_us: int
    input_sequence: int
    account_sequence: int
    market_sequence: int
    chain_head: bytes
    previous: bytes
    payload_bytes: int
    check: int


class SegmentHeader(NamedTuple):
    """What a segment says of itself. `previous` is the digest of the group before its first one."""

    log_id: bytes
    first_sequence: int
    segment_bytes: int
    previous: bytes


def check_seed(log_id: bytes) -> int:
    """What the log's header checks start from, so that a foreign or embedded group is never taken for one of ours."""
    return crc32(log_id)


def genesis(log_id: bytes) -> bytes:
    """The `previous` of a log's first group."""
    return hashlib.sha256(b"zerosum log genesis " + log_id).digest()


def pack_group(
    seed: int,
    kind: int,
    *,
    count: int,
    first_sequence: int,
    synced_offset: int,
    time_us: int,
    attestation: Attestation,
    previous: bytes,
    records: bytes,
) -> tuple[bytes, bytes]:
    """A whole group, and its digest."""
    unchecked = _GROUP_UNCHECKED.pack(
        _GROUP_PREFIX, kind, count, first_sequence, synced_offset, time_us, *attestation, previous, len(records)
    )
    header = unchecked + _CHECK.pack(crc32(unchecked, seed))
    hasher = hashlib.sha256(header)
    hasher.update(records)
    digest = hasher.digest()
    return b"".join((header, records, digest)), digest


def parse_group_header(buffer: memoryview, at: int, seed: int) -> GroupHeader | None:
    """The header at `at`, or None: these bytes are not a whole header of this format and this log."""
    if len(buffer) - at < GROUP_HEADER_BYTES:
        return None
    header = GroupHeader._make(_GROUP.unpack_from(buffer, at))
    if header.prefix != _GROUP_PREFIX or crc32(buffer[at : at + GROUP_HEADER_BYTES - _CHECK.size], seed) != header.check:
        return None
    return header


def newer_group_format(buffer: memoryview, at: int, seed: int) -> int | None:
    """The format of the group at `at` when it is a whole header of this log in a later format."""
    if len(buffer) - at < _PREFIX.size:
        return None
    magic, found, header_bytes = _PREFIX.unpack_from(buffer, at)
    check_at = at + header_bytes - _CHECK.size
    if magic != GROUP_MAGIC or found <= FORMAT or header_bytes < _PREFIX.size + _CHECK.size or check_at + _CHECK.size > len(buffer):
        return None
    return int(found) if _CHECK.unpack_from(buffer, check_at)[0] == crc32(buffer[at:check_at], seed) else None


def pack_end(seed: int, *, next_sequence: int, offset: int, previous: bytes) -> tuple[bytes, bytes]:
    """A segment's end and its digest: a function of the groups before it, so that recovery can write it again."""
    return pack_group(
        seed,
        KIND_END,
        count=0,
        first_sequence=next_sequence,
        synced_offset=offset,
        time_us=0,
        attestation=NOTHING_ATTESTED,
        previous=previous,
        records=b"",
    )


def pack_segment_header(header: SegmentHeader) -> bytes:
    packed = _SEGMENT.pack(_SEGMENT_PREFIX, *header)
    return packed + hashlib.sha256(packed).digest()


def parse_segment_header(data: bytes) -> SegmentHeader | None:
    """None: these bytes are not a whole segment header of this format."""
    if len(data) < SEGMENT_HEADER_BYTES or not data.startswith(_SEGMENT_PREFIX):
        return None
    packed, digest = data[: _SEGMENT.size], data[_SEGMENT.size : SEGMENT_HEADER_BYTES]
    if hashlib.sha256(packed).digest() != digest:
        return None
    return SegmentHeader._make(_SEGMENT.unpack(packed)[1:])


def newer_segment_format(data: bytes) -> int | None:
    """The format of a segment header that is whole, in a later format."""
    if len(data) < _PREFIX.size:
        return None
    magic, found, header_bytes = _PREFIX.unpack_from(data)
    packed_bytes = header_bytes - DIGEST_BYTES
    if magic != SEGMENT_MAGIC or found <= FORMAT or packed_bytes < _PREFIX.size:
        return None
    return int(found) if hashlib.sha256(data[:packed_bytes]).digest() == data[packed_bytes:header_bytes] else None


def count_records(records: bytes | memoryview) -> int:
    """How many records stand in `records`, or -1 when they do not fill it exactly."""
    at, count, end = 0, 0, len(records)
    while at + 8 <= end:
        size = (records[at + 2] | records[at + 3] << 8) * 8  # the length in words is the second half word of the first word
        if size == 0:
            return -1
        at += size
        count += 1
    return count if at == end else -1


def split_records(records: memoryview) -> Iterator[memoryview]:
    """Each record of a group, in order."""
    at = 0
    while at < len(records):
        size = (records[at + 2] | records[at + 3] << 8) * 8
        yield records[at : at + size]
        at += size
