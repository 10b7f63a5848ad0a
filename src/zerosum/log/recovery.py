"""
Is this log whole? And if its last stop was not clean: what of its tail is kept?

                        every group valid and linked          first place without a valid group
    closed segments     up to the end                         damage: refused
    the tail            up to here                            zeros: nothing was lost
                                                              torn: a write that a crash cut short; dropped and reported
                                                              else: damage: refused

A torn write and damage are told apart by what a crash can leave (docs/internals/log-format.md names the assumption):
  - a sector of the cut write that never reached the disk still holds the zeros that the segment was made with. A group that
    is invalid although each of its sectors was written was not cut short: it is damaged
  - each group says up to where the file was synced when it was written. A later group that says "past here" proves that what
    is missing here was durable once: it is damaged

`survey` only reads. `mend` makes a surveyed log fit to be written: the tail's valid groups go to a new file that is synced and
renamed over the old one, since after a crash the page cache may show groups that the disk does not have, and since nothing may
be written over a torn group, whose remains could pass for damage at the next start.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from zerosum.log.cursor import NOTHING_THERE, SegmentCursor, open_segment, segment_missing, verify_closed
from zerosum.log.disk import Disk, DiskFile
from zerosum.log.errors import LogDamaged
from zerosum.log.layout import (
    GROUP_HEADER_BYTES,
    GROUP_MAGIC,
    GROUP_OVERHEAD_BYTES,
    KIND_SEAL,
    SEGMENT_HEADER_BYTES,
    GroupHeader,
    SegmentHeader,
    check_seed,
    pack_end,
    parse_group_header,
)
from zerosum.log.segments import NEXT_NAME, End, end_offset, install, preallocate, segment_name, segment_sequences

SECTOR_BYTES: Final = 512  # the least that a disk writes whole or not at all


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What opening a log found. `dropped_*` is what stood after the last valid group of the tail and was never acknowledged."""

    clean: bool  # sealed by a clean stop: nothing to mend
    last_sequence: int
    tail: Path
    tail_bytes: int  # of the tail, header and valid groups
    dropped_bytes: int
    dropped_groups: int  # group headers that can still be read among them
    dropped_up_to: int  # the highest sequence that they name, 0 when there is none

    def __str__(self) -> str:
        if self.clean:
            return f"{self.tail}: clean, up to sequence {self.last_sequence}"
        kept = f"{self.tail}: not stopped cleanly, kept up to sequence {self.last_sequence}"
        if not self.dropped_bytes:
            return f"{kept}, nothing dropped"
        if not self.dropped_groups:
            return f"{kept}, dropped {self.dropped_bytes} bytes of a torn write"
        return f"{kept}, dropped {self.dropped_bytes} bytes: torn or unsynced groups up to sequence {self.dropped_up_to}"


@dataclass(frozen=True, slots=True)
class Tail:
    """The segment that is written to, and where its valid groups end."""

    header: SegmentHeader
    path: Path
    offset: int
    head: bytes
    next_sequence: int
    sealed: bool  # the last valid group is a seal
    settled: bool  # durable as it is: sealed or empty, and zeros follow


@dataclass(frozen=True, slots=True)
class Survey:
    """A log that is whole."""

    sequences: tuple[int, ...]  # the first of each segment
    tail: Tail
    report: RecoveryReport
    missing_end: bytes  # of the last segment but one, when a crash came between making the tail and closing that one; else empty


def survey(
    disk: Disk, folder: Path, *, verify_after: int = 0, progress: Callable[[int, int], None] = lambda read, segments: None
) -> Survey:
    """
    Verify a log that nobody writes. LogDamaged, LogTooNew or LogMissing when it is not whole; nothing is changed.

    Closed segments that end at `verify_after` or before are only looked at where they meet: for what a verified snapshot covers.
    `progress` is told how many of how many segments are read.
    """
    sequences = segment_sequences(disk, folder)
    log_id: bytes | None = None
    end: End | None = None
    missing_end = b""
    unclosed: LogDamaged | None = None
    for read, first_sequence in enumerate(sequences[:-1]):
        progress(read, len(sequences))
        if unclosed is not None:
            raise unclosed
        with closing(_open_next(disk, folder, first_sequence, log_id, end)) as cursor:
            log_id = cursor.header.log_id
            end = cursor.end()
            if end is None or end.next_sequence - 1 > verify_after:
                end = verify_closed(cursor)
            if end is None:
                unclosed = _not_closed(cursor)
                seed = check_seed(log_id)
                missing_end, digest = pack_end(seed, next_sequence=cursor.next_sequence, offset=cursor.offset, previous=cursor.head)
                end = End(cursor.next_sequence, cursor.head, digest)
    if unclosed is not None and end is not None and end.next_sequence != sequences[-1]:
        raise unclosed
    with closing(_open_next(disk, folder, sequences[-1], log_id, end)) as cursor:
        tail, report = _survey_tail(folder, cursor)
        if unclosed is not None and (cursor.offset != SEGMENT_HEADER_BYTES or report.dropped_bytes):
            raise unclosed  # only an empty tail may follow a segment without an end
    return Survey(tuple(sequences), tail, replace(report, clean=report.clean and not missing_end), missing_end)


def mend(disk: Disk, folder: Path, found: Survey) -> DiskFile:
    """
    Make a surveyed log fit to be written: everything that it keeps is durable, and zeros follow. The tail, open.

    DiskFull when there is no room to copy the tail: nothing was changed. Other errors of the disk are OSError.
    """
    if NEXT_NAME in disk.names(folder):
        disk.unlink(folder / NEXT_NAME)
    disk.sync_directory(folder)  # a crash may have come before that of the tail's name, which would then still be in the cache only
    tail = found.tail
    if tail.offset == SEGMENT_HEADER_BYTES and len(found.sequences) > 1:
        # Nothing was appended since the switch to this segment, so the end of the one before may be missing, or in the cache only.
        with closing(disk.open(folder / segment_name(found.sequences[-2]), writable=True)) as closed:
            offset = closed.size() - GROUP_OVERHEAD_BYTES
            closed.pwrite(found.missing_end or closed.pread(GROUP_OVERHEAD_BYTES, offset), offset)
            closed.sync()
    if tail.settled:
        file = disk.open(tail.path, writable=True)
        if tail.sealed:
            # The seal vouches for what is before it. Its own sync may have failed, and left it in the page cache only.
            offset = tail.offset - GROUP_OVERHEAD_BYTES
            file.pwrite(file.pread(GROUP_OVERHEAD_BYTES, offset), offset)
            file.sync()
        return file
    with closing(disk.open(tail.path)) as torn:
        kept = torn.pread(tail.offset, 0)
    file = preallocate(disk, folder / NEXT_NAME, tail.header.segment_bytes, kept)
    install(disk, folder, tail.header.first_sequence)
    return file


def _open_next(disk: Disk, folder: Path, first_sequence: int, log_id: bytes | None, end: End | None) -> SegmentCursor:
    if end is not None and end.next_sequence != first_sequence:
        raise segment_missing(folder, end.next_sequence)
    return open_segment(disk, folder, first_sequence, log_id=log_id, after=end)


def _not_closed(cursor: SegmentCursor) -> LogDamaged:
    if cursor.fault is not NOTHING_THERE:
        return cursor.damage()
    return LogDamaged(
        file=cursor.path,
        offset=end_offset(cursor.header),
        sequence=cursor.next_sequence,
        found="no end",
        expected="one, since another segment follows",
    )


def _survey_tail(folder: Path, cursor: SegmentCursor) -> tuple[Tail, RecoveryReport]:
    """Where the tail's valid groups end, and what stands after them. LogDamaged when no crash could have left it so."""
    sealed = False
    while (group := cursor.step()) is not None:
        sealed = group.kind == KIND_SEAL
    rest = cursor.rest()
    dropped_bytes = len(rest.rstrip(b"\0"))
    dropped = list(_headers_in(rest, check_seed(cursor.header.log_id)))
    if dropped_bytes:
        end = cursor.end()
        if end is not None:
            raise segment_missing(folder, end.next_sequence)
        _refuse_damage(cursor, rest, dropped)
    settled = dropped_bytes == 0 and (sealed or cursor.offset == SEGMENT_HEADER_BYTES)
    report = RecoveryReport(
        clean=settled,
        last_sequence=cursor.next_sequence - 1,
        tail=cursor.path,
        tail_bytes=cursor.offset,
        dropped_bytes=dropped_bytes,
        dropped_groups=len(dropped),
        dropped_up_to=max((header.first_sequence + header.record_count - 1 for _, header in dropped), default=0),
    )
    return Tail(cursor.header, cursor.path, cursor.offset, cursor.head, cursor.next_sequence, sealed, settled), report


def _refuse_damage(cursor: SegmentCursor, rest: bytes, later: list[tuple[int, GroupHeader]]) -> None:
    """Raise LogDamaged unless `rest`, which begins where a group should and does not, can be what a crash left."""

    def damaged(found: str) -> LogDamaged:
        return LogDamaged(
            file=cursor.path,
            offset=cursor.offset,
            sequence=cursor.next_sequence,
            found=f"{cursor.fault.found}: {found}",
            expected=cursor.fault.expected,
        )

    if not cursor.fault.could_be_torn:
        raise cursor.damage()
    header = parse_group_header(memoryview(rest), 0, check_seed(cursor.header.log_id))
    size = GROUP_HEADER_BYTES if header is None else GROUP_OVERHEAD_BYTES + header.payload_bytes
    if not _has_unwritten_sector(rest, cursor.offset, size):
        raise damaged("it was written to its last sector, so no crash cut it short")
    for at, header in later:
        if header.synced_offset > cursor.offset:
            raise damaged(f"the group at offset {cursor.offset + at} was written after this place had been synced")


def _has_unwritten_sector(rest: bytes, offset: int, size: int) -> bool:
    """Whether some sector's share of the group at `offset` is still zeros. `rest` begins at `offset`."""
    at = 0
    while at < size:
        until = min(size, at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES)
        if not any(rest[at:until]):
            return True
        at = until
    return False


def _headers_in(rest: bytes, seed: int) -> Iterator[tuple[int, GroupHeader]]:
    """Every whole header of this log in `rest`, and where."""
    view = memoryview(rest)
    at = rest.find(GROUP_MAGIC)
    while at >= 0:
        header = parse_group_header(view, at, seed)
        if header is not None:
            yield at, header
        at = rest.find(GROUP_MAGIC, at + len(GROUP_MAGIC))
