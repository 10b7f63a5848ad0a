"""
Messages: how records travel in a stream, many at a time.

    | header, 40 bytes | records | trailer, which few have |

    header   magic, format  WRITER  COUNT  UPTO  SEQUENCE  CHECK  TRAILER     CHECK: CRC-32 of all before it and the records: what a stream
                                                                              has damaged is noticed
    trailer  TRAILER bytes, 0 or TRAILER_BYTES: who signed it, and the signature, of which the services know more

Where a message begins and ends means nothing to a machine. UPTO and SEQUENCE are for whoever reads a stream that one role alone writes:
with this message, all that the records of its input before position UPTO cause has come out, in the streams that it shares with others too,
and all of its own records up to number SEQUENCE. A message without records says only that: it marks progress.

A record's position in a stream: (offset of its message + 1) << 16 | its index there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

from zerosum.log.errors import MessageDamaged, NotAMessage
from zerosum.log.layout import count_records

FORMAT: Final = 1
MAGIC: Final = b"ZSMS"
_HEADER: Final = struct.Struct("<4sHHIIqqII")
_UNCHECKED: Final = struct.Struct("<4sHHIIqq")
HEADER_BYTES: Final = _HEADER.size
TRAILER_BYTES: Final = 72
TRAILER_AT: Final = HEADER_BYTES - 4
INDEX_BITS: Final = 16
RECORDS_MAX: Final = 1 << INDEX_BITS
RECORDS_BYTES_MAX: Final = 900_000  # with its header, below what brokers take by default; of the shortest records, too few for the index


class Message(NamedTuple):
    """`writer`: who sent it, to tell copies apart; nothing that a machine makes depends on it."""

    writer: int
    upto: int
    sequence: int
    records: bytes


def position(offset: int, index: int = 0) -> int:
    """Of a record in a stream; never 0."""
    return (offset + 1) << INDEX_BITS | index


def end_of(next_offset: int) -> int:
    """Where a stream ends: the position before which everything in it is. Nothing is in an empty one."""
    return position(next_offset) if next_offset else 0


def offset_of(position: int) -> int:
    """Of the message that a position is in."""
    return (position >> INDEX_BITS) - 1


def pack(records: bytes, *, writer: int = 0, upto: int = 0, sequence: int = 0) -> bytes:
    count = count_records(records)
    assert 0 <= count <= RECORDS_MAX, "a message holds whole records, and not too many"
    unchecked = _UNCHECKED.pack(MAGIC, FORMAT, HEADER_BYTES, writer, count, upto, sequence)
    return b"".join((unchecked, struct.pack("<I4x", crc32(records, crc32(unchecked))), records))


def unpack(data: bytes, where: str) -> Message:
    """MessageDamaged, with `where` it stands in its stream; NotAMessage."""
    if len(data) < HEADER_BYTES:
        wrong = MessageDamaged if data.startswith(MAGIC) else NotAMessage
        raise wrong(where, f"it has {len(data)} bytes, and a header alone {HEADER_BYTES}")
    magic, found, header_bytes, writer, count, upto, sequence, check, trailer_bytes = _HEADER.unpack_from(data)
    if trailer_bytes not in (0, TRAILER_BYTES) or len(data) < HEADER_BYTES + trailer_bytes:
        wrong = MessageDamaged if magic == MAGIC else NotAMessage
        raise wrong(where, f"its trailer would have {trailer_bytes} bytes")
    end = len(data) - trailer_bytes
    if magic != MAGIC:
        # One of which only these bytes are damaged is whole with the right ones in their place.
        is_damaged = crc32(data[HEADER_BYTES:end], crc32(MAGIC + data[len(MAGIC) : _UNCHECKED.size])) == check
        raise (MessageDamaged if is_damaged else NotAMessage)(where, "it does not begin as a message does")
    if found != FORMAT or header_bytes != HEADER_BYTES:
        raise MessageDamaged(where, f"it is of format {found}, and this program knows {FORMAT}")
    records = data[HEADER_BYTES:end]
    if crc32(records, crc32(data[: _UNCHECKED.size])) != check:
        raise MessageDamaged(where, "its checksum is another than its bytes give")
    if count_records(records) != count:
        raise MessageDamaged(where, f"its records are not {count} whole ones")
    return Message(writer, upto, sequence, records)


class NotSigned(Exception):
    """A message without a trailer."""


def with_trailer(data: bytes, trailer_bytes: int) -> bytes:
    """A message whose header says that a trailer of so many bytes follows."""
    return data[:TRAILER_AT] + trailer_bytes.to_bytes(4, "little") + data[HEADER_BYTES:]


def signed_parts(data: bytes, signature_bytes: int) -> tuple[bytes, bytes, bytes]:
    """Of a whole message: what was signed, the signature, and who signed. NotSigned."""
    if int.from_bytes(data[TRAILER_AT:HEADER_BYTES], "little") != TRAILER_BYTES:
        raise NotSigned
    end = len(data) - TRAILER_BYTES
    return data[:end], data[end : end + signature_bytes], data[end + signature_bytes :]


def count_in(data: bytes) -> int:
    """How many records a message says that it has."""
    return int(_HEADER.unpack_from(data)[4]) if len(data) >= HEADER_BYTES else 0


def cut(records: bytes, bytes_max: int = RECORDS_BYTES_MAX) -> Iterator[bytes]:
    """Records in pieces that each fit in a message; nothing for none."""
    start = at = 0
    while len(records) - start > bytes_max:
        size = int.from_bytes(records[at + 2 : at + 4], "little") * 8
        if at + size - start > bytes_max and at > start:
            yield records[start:at]
            start = at
        at += size
    if start < len(records):
        yield records[start:]
