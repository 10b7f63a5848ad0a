"""
Numbered records of one origin, as they are read from a stream: repeats are dropped, a gap is an error.
"""

from __future__ import annotations

from typing import final

from zerosum.errors import ZerosumError

WORD_BYTES = 8


class Gap(ZerosumError):
    """A numbered record is missing from a stream."""

    def __init__(self, stream: str, expected: int, found: int) -> None:
        super().__init__(f"{stream}: record {expected} is missing: {found} comes instead. Put the stream back from a replica that has it.")


def sequence_at(records: bytes | bytearray, at: int) -> int:
    return int.from_bytes(records[at + WORD_BYTES : at + 2 * WORD_BYTES], "little")


def after(records: bytes, last: int) -> bytes:
    """Records less those numbered up to `last`, of records whose numbers rise."""
    if not records or sequence_at(records, 0) > last:
        return records
    at = 0
    while at < len(records) and sequence_at(records, at) <= last:
        at += int.from_bytes(records[at + 2 : at + 4], "little") * WORD_BYTES
    return records[at:]


def last_sequence(records: bytes) -> int:
    """Of records that are numbered densely; 0 for none."""
    if not records:
        return 0
    last, at = sequence_at(records, 0) - 1, 0
    while at < len(records):
        at += int.from_bytes(records[at + 2 : at + 4], "little") * WORD_BYTES
        last += 1
    return last


@final
class Sequence:
    """`last`: the number of the last record taken."""

    __slots__ = ("last", "stream")

    def __init__(self, stream: str, last: int = 0) -> None:
        self.stream = stream
        self.last = last

    def take(self, records: bytes) -> bytes:
        """What of a message is new. Gap."""
        new = after(records, self.last)
        at = 0
        while at < len(new):
            found = sequence_at(new, at)
            if found != self.last + 1:
                raise Gap(self.stream, self.last + 1, found)
            self.last = found
            at += int.from_bytes(new[at + 2 : at + 4], "little") * WORD_BYTES
        return new
