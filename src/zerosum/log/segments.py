"""
A log's folder: segment files named by their first sequence, made whole before they are used.

    00000000000000000001.seg   closed: ends with an end, which names the sequence that the next segment begins with
    00000000000000070412.seg   the tail: groups, then zeros
    next.tmp                   the next segment: zeros, written and synced ahead of need (or: a mended tail being written)
    lock

A segment is preallocated by writing zeros, not by fallocate: a group then changes no metadata, its sync is one write, and the
disk cannot turn out to be full in the middle of one.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from zerosum.log.disk import Disk, DiskFile, holder_of, is_full
from zerosum.log.errors import DiskFull, LogDamaged, LogInUse, LogMissing, LogTooNew
from zerosum.log.layout import (
    FORMAT,
    GROUP_HEADER_BYTES,
    GROUP_OVERHEAD_BYTES,
    KIND_END,
    SEGMENT_BYTES_MAX,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    check_seed,
    newer_group_format,
    newer_segment_format,
    parse_group_header,
    parse_segment_header,
)

NEXT_NAME: Final = "next.tmp"
LOCK_NAME: Final = "lock"
_SEGMENT_NAME: Final = re.compile(r"\d{20}\.seg")
# Zeros are synced in steps: one long write-back would hold up the syncs of the segment in use.
STEP_BYTES: Final = 4 << 20
_ZEROS: Final = bytes(STEP_BYTES)


def segment_name(first_sequence: int) -> str:
    return f"{first_sequence:020d}.seg"


def segment_sequences(disk: Disk, path: Path) -> list[int]:
    """The first sequence of each segment in the folder, ascending. LogMissing when there is none."""
    try:
        names = disk.names(path)
    except FileNotFoundError:
        names = []
    sequences = [int(name[:20]) for name in names if _SEGMENT_NAME.fullmatch(name)]
    if not sequences:
        raise LogMissing(path)
    return sorted(sequences)


def read_segment_header(file: DiskFile, path: Path, first_sequence: int, log_id: bytes | None) -> SegmentHeader:
    """The verified header of the segment that should begin with `first_sequence` and belong to `log_id` (None: to any log)."""

    def damaged(found: str, expected: str) -> LogDamaged:
        return LogDamaged(file=path, offset=0, sequence=first_sequence, found=found, expected=expected)

    data = read(file, path, SEGMENT_HEADER_BYTES, 0, first_sequence)
    header = parse_segment_header(data)
    if header is None:
        newer = newer_segment_format(data)
        if newer is not None:
            raise LogTooNew(file=path, offset=0, found=newer, known=FORMAT)
        raise damaged("no valid segment header", "one that matches its own digest")
    if header.first_sequence != first_sequence:
        raise damaged(f"a segment that begins with sequence {header.first_sequence}", f"sequence {first_sequence}, as its name says")
    if log_id is not None and header.log_id != log_id:
        raise damaged(f"a segment of another log ({header.log_id.hex()})", f"one of this log ({log_id.hex()})")
    size = file.size()
    if not SEGMENT_HEADER_BYTES < header.segment_bytes <= SEGMENT_BYTES_MAX or size != header.segment_bytes:
        raise damaged(f"a file of {size} bytes", f"{header.segment_bytes}, the size it was made with")
    return header


def read(file: DiskFile, path: Path, count: int, offset: int, sequence: int) -> bytes:
    """`count` bytes, or fewer at the file's end. A place that the disk cannot read is damage."""
    try:
        return file.pread(count, offset)
    except OSError as error:
        raise LogDamaged(
            file=path, offset=offset, sequence=sequence, found=f"the disk cannot read it ({error.strerror})", expected="readable bytes"
        ) from error


def preallocate(disk: Disk, path: Path, segment_bytes: int, start: bytes = b"") -> DiskFile:
    """
    A new file of `start` and zeros, written and synced (its name is not: rename it and sync the directory).

    DiskFull leaves nothing behind. Any other OSError is the caller's to treat as a failed disk.
    """
    try:
        file = disk.create(path)
    except OSError as error:
        if is_full(error):
            raise DiskFull(path, needed_bytes=segment_bytes) from error
        raise
    try:
        for offset in range(0, segment_bytes, STEP_BYTES):
            step = _ZEROS if offset >= len(start) else start[offset : offset + STEP_BYTES].ljust(STEP_BYTES, b"\0")
            file.pwrite(step[: segment_bytes - offset], offset)
            file.sync()
    except OSError as error:
        file.close()
        if is_full(error):
            disk.unlink(path)
            raise DiskFull(path, needed_bytes=segment_bytes) from error
        raise
    return file


def install(disk: Disk, folder: Path, first_sequence: int) -> Path:
    """Give the prepared file its place in the log, durably; replaces a segment of the same name."""
    path = folder / segment_name(first_sequence)
    disk.rename(folder / NEXT_NAME, path)
    disk.sync_directory(folder)
    return path


class End(NamedTuple):
    """A closed segment's end: the next segment begins with `next_sequence` and links to `digest`."""

    next_sequence: int
    previous: bytes
    digest: bytes


def end_offset(header: SegmentHeader) -> int:
    """Where a segment's end stands when it is closed."""
    return header.segment_bytes - GROUP_OVERHEAD_BYTES


def read_end(file: DiskFile, path: Path, header: SegmentHeader) -> End | None:
    """The segment's end, or None: it is not closed. LogDamaged when something else is there."""
    offset = end_offset(header)
    data = read(file, path, GROUP_OVERHEAD_BYTES, offset, header.first_sequence)
    if not any(data):
        return None
    seed = check_seed(header.log_id)
    view = memoryview(data)
    end = parse_group_header(view, 0, seed)
    digest = data[GROUP_HEADER_BYTES:]
    if end is None or end.kind != KIND_END or hashlib.sha256(view[:GROUP_HEADER_BYTES]).digest() != digest:
        newer = newer_group_format(view, 0, seed)
        if newer is not None:
            raise LogTooNew(file=path, offset=offset, found=newer, known=FORMAT)
        raise LogDamaged(
            file=path,
            offset=offset,
            sequence=header.first_sequence,
            found="something else",
            expected="the end of a closed segment, or zeros",
        )
    return End(end.first_sequence, end.previous, digest)


def copy_file(disk: Disk, source: Path, target: Path) -> None:
    """Copy durably: `target` is whole or absent, whatever happens. OSError leaves nothing of it behind but a *.tmp."""
    unfinished = target.with_name(target.name + ".tmp")
    if unfinished.name in disk.names(target.parent):
        disk.unlink(unfinished)
    with closing(disk.open(source)) as old, closing(disk.create(unfinished)) as new:
        offset = 0
        while step := old.pread(STEP_BYTES, offset):
            new.pwrite(step, offset)
            offset += len(step)
        new.sync()
    disk.rename(unfinished, target)
    disk.sync_directory(target.parent)


@contextmanager
def held_still(folder: Path) -> Iterator[None]:
    """Nobody opens the log in a folder for writing meanwhile. LogInUse when somebody has."""
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # no writer was here yet, or this is a copy
        yield
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LogInUse(folder, holder_of(fd)) from None
    finally:
        os.close(fd)
