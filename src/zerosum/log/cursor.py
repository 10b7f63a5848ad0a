"""
One segment's groups, one after the other, each verified.

    segment header | group | group | group ...
                           ^ offset, head (digest of the group before), next_sequence

A cursor moves only over a group that is whole, links to the one before and begins with the next sequence; else it stays and
`fault` says why. Whether that is the log's end, a torn write or damage is for its users to decide (recovery.py, reader.py).
"""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple, final

from zerosum.log.disk import Disk, DiskFile
from zerosum.log.errors import LogDamaged, LogTooNew
from zerosum.log.layout import (
    DIGEST_BYTES,
    FORMAT,
    GROUP_HEADER_BYTES,
    GROUP_OVERHEAD_BYTES,
    KIND_RECORDS,
    KIND_SEAL,
    SEGMENT_HEADER_BYTES,
    Attestation,
    GroupHeader,
    SegmentHeader,
    check_seed,
    genesis,
    newer_group_format,
    parse_group_header,
)
from zerosum.log.segments import End, end_offset, read, read_end, read_segment_header, segment_name

_BLOCK_BYTES_MIN: Final = 64 << 10  # what a poll costs when little is new
_BLOCK_BYTES_MAX: Final = 4 << 20


class Group(NamedTuple):
    """Records that were appended, and became durable, together. `records` stays valid for as long as it is held."""

    kind: int
    first_sequence: int
    record_count: int
    time_us: int
    attestation: Attestation
    records: memoryview

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.record_count - 1


class Fault(NamedTuple):
    """Why there is no group at the cursor: `could_be_torn` unless a torn write cannot look like this."""

    found: str
    expected: str
    could_be_torn: bool


NOTHING_THERE: Final = Fault("zeros", "a group", could_be_torn=True)
NOT_YET: Final = Fault("a group that ends later", "none", could_be_torn=False)  # step was told to stop before it

SEQUENCE_MAX: Final = (1 << 63) - 1


@final
class SegmentCursor:
    """A place in a segment, between two groups."""

    def __init__(self, file: DiskFile, path: Path, header: SegmentHeader) -> None:
        self.path = path
        self.header = header
        self.offset = SEGMENT_HEADER_BYTES
        self.head = header.previous
        self.next_sequence = header.first_sequence
        self.fault = NOTHING_THERE
        self._file = file
        self._seed = check_seed(header.log_id)
        self._end_offset = end_offset(header)
        self._block = memoryview(b"")
        self._block_offset = 0
        self._block_bytes = _BLOCK_BYTES_MIN

    def step(self, *, verify_after: int = 0, up_to_sequence: int = SEQUENCE_MAX) -> Group | None:
        """
        Move over the next group and return it; None when no valid one is here (see `fault`).

        Of a group that ends at `verify_after` or before only header and links are looked at: for skipping. One that ends
        after `up_to_sequence` is left where it is (NOT_YET).
        """
        at = self.offset - self._block_offset
        header = parse_group_header(self._block, at, self._seed)
        if header is None:
            at = self._read_block(GROUP_HEADER_BYTES)
            header = parse_group_header(self._block, at, self._seed)
            if header is None:
                self.fault = self._no_header(at)
                return None
        if header.previous != self.head or header.first_sequence != self.next_sequence:
            self.fault = self._not_next(header)
            return None
        if not self._is_sane(header):
            self.fault = Fault(
                f"a header of kind {header.kind}, {header.record_count} records, {header.payload_bytes} bytes", "a group", False
            )
            return None
        last_sequence = header.first_sequence + header.record_count - 1
        if last_sequence > up_to_sequence:
            self.fault = NOT_YET
            return None
        size = GROUP_OVERHEAD_BYTES + header.payload_bytes
        if at + size > len(self._block):
            at = self._read_block(size)
        digest_at = at + size - DIGEST_BYTES
        digest = bytes(self._block[digest_at : at + size])
        if last_sequence > verify_after and hashlib.sha256(self._block[at:digest_at]).digest() != digest:
            self.fault = Fault("a group that does not match its digest", "one that does", could_be_torn=True)
            return None
        self.offset += size
        self.head = digest
        self.next_sequence = last_sequence + 1
        return Group(
            header.kind,
            header.first_sequence,
            header.record_count,
            header.time_us,
            Attestation(header.input_sequence, header.account_sequence, header.market_sequence, header.chain_head),
            self._block[at + GROUP_HEADER_BYTES : digest_at],
        )

    def end(self) -> End | None:
        """The segment's end, None while it is not closed."""
        return read_end(self._file, self.path, self.header)

    def rest(self) -> bytes:
        """Everything from here to the segment's last byte."""
        return read(self._file, self.path, self.header.segment_bytes - self.offset, self.offset, self.next_sequence)

    def refresh(self) -> None:
        """Forget what was read ahead: the writer may have written there since."""
        self._block = memoryview(b"")
        self._block_bytes = _BLOCK_BYTES_MIN

    def move_to(self, replacement: "SegmentCursor") -> None:
        """Go on at the same place in the file of `replacement`, which has taken the place of the one that was open."""
        self._file.close()
        self._file = replacement._file
        self.header = replacement.header  # a tail without records may have been replaced by a larger one
        self._end_offset = replacement._end_offset
        self.refresh()

    def close(self) -> None:
        self._file.close()

    def damage(self) -> LogDamaged:
        """The fault, as an error to raise."""
        return LogDamaged(
            file=self.path, offset=self.offset, sequence=self.next_sequence, found=self.fault.found, expected=self.fault.expected
        )

    def _read_block(self, needed_bytes: int) -> int:
        """Read on from `offset`, at least `needed_bytes` where the room for groups has them; where in the block `offset` then is."""
        count = min(max(self._block_bytes, needed_bytes), self._end_offset - self.offset)
        self._block = memoryview(read(self._file, self.path, count, self.offset, self.next_sequence))
        self._block_offset = self.offset
        self._block_bytes = min(self._block_bytes * 2, _BLOCK_BYTES_MAX)
        return 0

    def _is_sane(self, header: GroupHeader) -> bool:
        """Whether the fields, which the check vouches for, are of a group that this version writes here."""
        if self.offset + GROUP_OVERHEAD_BYTES + header.payload_bytes > self._end_offset:
            return False
        if header.kind == KIND_RECORDS:
            return 0 < header.record_count <= header.payload_bytes // 8 and header.payload_bytes % 8 == 0
        return header.kind == KIND_SEAL and header.record_count == 0 and header.payload_bytes == 0

    def _no_header(self, at: int) -> Fault:
        here = self._block[at : at + GROUP_HEADER_BYTES]
        if not any(here):
            return NOTHING_THERE
        newer = newer_group_format(self._block, at, self._seed)
        if newer is not None:
            raise LogTooNew(file=self.path, offset=self.offset, found=newer, known=FORMAT)
        return Fault("no valid group header", "one that matches its own check", could_be_torn=True)

    def _not_next(self, header: GroupHeader) -> Fault:
        if header.first_sequence != self.next_sequence:
            return Fault(f"a group that begins with sequence {header.first_sequence}", f"sequence {self.next_sequence}", False)
        return Fault("a group that links to another one than the group before it", "a link to that group's digest", False)


def open_segment(disk: Disk, folder: Path, first_sequence: int, *, log_id: bytes | None = None, after: End | None = None) -> SegmentCursor:
    """
    The segment that begins with `first_sequence`, at its beginning.

    LogDamaged when it is not what it should be: of the log `log_id`, continuing the segment that ended with `after`.
    """
    path = folder / segment_name(first_sequence)
    file = disk.open(path)
    try:
        header = read_segment_header(file, path, first_sequence, log_id)
        if first_sequence == 1 and header.previous != genesis(header.log_id):
            raise LogDamaged(file=path, offset=0, sequence=1, found="a link to a group before it", expected="the log's beginning")
        if after is not None and header.previous != after.digest:
            raise LogDamaged(
                file=path,
                offset=0,
                sequence=first_sequence,
                found="a link to another group",
                expected="a link to the end of the segment before it",
            )
    except BaseException:
        file.close()
        raise
    return SegmentCursor(file, path, header)


def verify_closed(cursor: SegmentCursor) -> End | None:
    """Read a segment through, up to its end; None when it has none. LogDamaged when its groups do not lead there."""
    while cursor.step() is not None:
        pass
    end = cursor.end()
    if end is not None and (end.next_sequence, end.previous) != (cursor.next_sequence, cursor.head):
        raise cursor.damage()
    return end


def segment_missing(folder: Path, first_sequence: int) -> LogDamaged:
    """A segment that another one says is there is not."""
    return LogDamaged(
        file=folder / segment_name(first_sequence),
        offset=0,
        sequence=first_sequence,
        found="no such file",
        expected="the segment that follows the one before it, which is closed",
    )
