"""
The durable log in files: one writer, records in groups, one disk sync per group or per several.

    append(records) --> the tail's next bytes --> sync() --> durable: now it may be acknowledged
    prepare_next()  --> next.tmp, zeros       --> becomes the tail when a group no longer fits

Always true:
  - sequences are dense: 1, 2, 3 ... by position
  - what sync returned is there after a crash, as far as the disk keeps what it says is synced
  - a group reaches a new segment only after the old one is synced and closed
  - after a failed write or sync nothing is accepted any more
  - a full disk is met in prepare_next (or in an append that has to call it), before anything is changed

Blocking, and for one thread at a time; prepare_next alone may be called from another thread meanwhile.
"""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self, final

from zerosum.errors import ZerosumError
from zerosum.log.disk import DirectoryLock, Disk, DiskFile, OsDisk, is_full
from zerosum.log.errors import DiskFull, LogBehindFollower, LogExists, LogFailed, LogMissing
from zerosum.log.layout import (
    DIGEST_BYTES,
    GROUP_OVERHEAD_BYTES,
    KIND_RECORDS,
    KIND_SEAL,
    LOG_ID_BYTES,
    NOTHING_ATTESTED,
    SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_STEP,
    SEGMENT_HEADER_BYTES,
    Attestation,
    SegmentHeader,
    check_seed,
    count_records,
    genesis,
    pack_end,
    pack_group,
    pack_segment_header,
)
from zerosum.log.recovery import RecoveryReport, Survey, mend, survey
from zerosum.log.segments import LOCK_NAME, NEXT_NAME, end_offset, install, preallocate, segment_name, segment_sequences

SEGMENT_BYTES: Final = 64 << 20


@final
class FileLog:
    """The writer of a log. Made by `create` or `open`; `recovery` says what opening found."""

    def __init__(self, disk: Disk, folder: Path, lock: DirectoryLock, found: Survey, file: DiskFile, segment_bytes: int) -> None:
        """For `create` and `open` only."""
        tail = found.tail
        self.log_id: Final = tail.header.log_id
        self.recovery: Final[RecoveryReport] = found.report
        self._disk = disk
        self._folder = folder
        self._lock = lock
        self._segment_bytes = segment_bytes
        self._seed = check_seed(self.log_id)
        self._sequences = list(found.sequences)
        self._next_sequence = tail.next_sequence
        self._durable_sequence = tail.next_sequence - 1
        self._head = tail.head
        self._sealed = tail.sealed
        self._synced_offset = tail.offset  # everything before it in the file is durable
        self._enter(file, tail.header, tail.offset)
        self._prepared: DiskFile | None = None
        self._prepare_lock = threading.Lock()
        self._failure: str | None = None
        self._closed = False

    @classmethod
    def create(cls, folder: Path, *, disk: Disk | None = None, segment_bytes: int = SEGMENT_BYTES) -> Self:
        """A new, empty log. LogExists, LogInUse, DiskFull, or LogFailed for anything else that the disk refuses."""
        disk = disk if disk is not None else OsDisk()
        try:
            disk.make_directory(folder)
            with ExitStack() as undo:
                lock = disk.lock(folder / LOCK_NAME)
                undo.callback(lock.release)
                if _has_log(disk, folder):
                    raise LogExists(folder)
                _check_segment_bytes(segment_bytes)
                if NEXT_NAME in disk.names(folder):
                    disk.unlink(folder / NEXT_NAME)
                log_id = os.urandom(LOG_ID_BYTES)
                header = SegmentHeader(log_id, 1, segment_bytes, genesis(log_id))
                preallocate(disk, folder / NEXT_NAME, segment_bytes, pack_segment_header(header)).close()
                install(disk, folder, 1)
                log = cls._open_locked(disk, folder, lock, segment_bytes, survey(disk, folder), must_reach=0)
                undo.pop_all()
                return log
        except OSError as error:
            raise _refused(folder, error, segment_bytes) from error

    @classmethod
    def open(
        cls, folder: Path, *, disk: Disk | None = None, segment_bytes: int = SEGMENT_BYTES, must_reach: int = 0, verify_after: int = 0,
        progress: Callable[[int, int], None] = lambda read, segments: None,
    ) -> Self:  # fmt: skip
        """
        Verify the log, mend its tail if its last stop was not clean, and go on after its last record.

        `segment_bytes` is for segments yet to be made. `must_reach` is what a follower has applied: LogBehindFollower when
        the log ends before it. `verify_after` is what a verified snapshot covers: segments before it are not read through.
        `progress` is told how many of how many segments are read.
        LogMissing, LogInUse, LogDamaged, LogTooNew and LogBehindFollower change nothing. DiskFull: there is no room to mend.
        """
        disk = disk if disk is not None else OsDisk()
        _check_segment_bytes(segment_bytes)
        try:
            with ExitStack() as undo:
                if not _has_log(disk, folder):
                    raise LogMissing(folder)
                lock = disk.lock(folder / LOCK_NAME)
                undo.callback(lock.release)
                found = survey(disk, folder, verify_after=verify_after, progress=progress)
                log = cls._open_locked(disk, folder, lock, segment_bytes, found, must_reach=must_reach)
                undo.pop_all()
                return log
        except OSError as error:
            raise _refused(folder, error, segment_bytes) from error

    @classmethod
    def _open_locked(cls, disk: Disk, folder: Path, lock: DirectoryLock, segment_bytes: int, found: Survey, *, must_reach: int) -> Self:
        last_sequence = found.report.last_sequence
        if last_sequence < must_reach:
            raise LogBehindFollower(folder, last_sequence=last_sequence, must_reach=must_reach)
        return cls(disk, folder, lock, found, mend(disk, folder, found), segment_bytes)

    @property
    def first_sequence(self) -> int:
        """The earliest sequence still kept (or, in an empty log, the first to come)."""
        return self._sequences[0]

    @property
    def next_sequence(self) -> int:
        """What the next record appended gets."""
        return self._next_sequence

    @property
    def durable_sequence(self) -> int:
        """Up to here everything is synced."""
        return self._durable_sequence

    @property
    def next_is_prepared(self) -> bool:
        """Whether the next segment is ready. If not, call prepare_next before `room_bytes` runs out."""
        return self._prepared is not None

    @property
    def room_bytes(self) -> int:
        """The most that an append can take before it needs the next segment."""
        return max(0, self._groups_until - self._offset - GROUP_OVERHEAD_BYTES)

    @property
    def group_bytes_max(self) -> int:
        """The most that one append can take at all."""
        return _groups_until(self._segment_bytes) - SEGMENT_HEADER_BYTES - GROUP_OVERHEAD_BYTES

    def append(self, records: bytes, *, count: int, time_us: int, attestation: Attestation = NOTHING_ATTESTED) -> int:
        """
        Write `count` records as one group; the last one's sequence. Not durable before sync.

        DiskFull: nothing was written, and the same call may be made again. LogFailed: the process must end.
        """
        self._refuse_if_unfit()
        assert len(records) <= self.group_bytes_max, "a group fits in a segment"
        assert count > 0, "a group has records"
        assert count_records(records) == count, "the records fill the group, and are as many as said"
        assert len(attestation.chain_head) == DIGEST_BYTES
        if self._offset + GROUP_OVERHEAD_BYTES + len(records) > self._groups_until:
            self._switch_segment()
        self._write_group(KIND_RECORDS, count, time_us, attestation, records)
        self._next_sequence += count
        self._sealed = False
        return self._next_sequence - 1

    def sync(self) -> int:
        """Make everything appended durable, with one sync of the disk; the durable sequence. LogFailed: the process must end."""
        self._refuse_if_unfit()
        if self._synced_offset != self._offset:
            offset, last_sequence = self._offset, self._next_sequence - 1
            try:
                self._file.sync()
            except OSError as error:
                self._fail("sync", error)
            self._synced_offset = offset
            self._durable_sequence = last_sequence
        return self._durable_sequence

    def prepare_next(self) -> None:
        """
        Make the next segment ready, if it is not: so that no append has to wait for it, and a full disk is met here.

        DiskFull: nothing has changed; appends go on while they fit (`room_bytes`). May run beside append and sync.
        """
        self._refuse_if_unfit()
        with self._prepare_lock:
            if self._prepared is None:
                try:
                    self._prepared = preallocate(self._disk, self._folder / NEXT_NAME, self._segment_bytes)
                except OSError as error:
                    self._fail("prepare the next segment", error)

    def prune(self, before_sequence: int) -> list[str]:
        """
        Remove the closed segments whose records all are before `before_sequence`, oldest first; their names. What is to be kept was
        archived before (see archive.py).
        """
        self._refuse_if_unfit()
        removed: list[str] = []
        while len(self._sequences) > 1 and self._sequences[1] <= before_sequence:
            name = segment_name(self._sequences[0])
            try:
                self._disk.unlink(self._folder / name)
                # One at a time: in whatever order the file system makes removals durable, a crash leaves no gap.
                self._disk.sync_directory(self._folder)
            except OSError as error:
                self._fail("prune", error)
            del self._sequences[0]
            removed.append(name)
        return removed

    def close(self, attestation: Attestation = NOTHING_ATTESTED) -> None:
        """
        A clean stop: sync, seal (unless the tail holds nothing), let go of the folder. A log that has failed is only let go of.

        `attestation` is what came out in all: the output of the last group would be attested nowhere else.
        """
        if self._closed:
            return
        try:
            if self._failure is None and not self._sealed and not self._tail_is_empty:
                self.sync()  # first: the seal says that everything before it is synced
                self._write_group(KIND_SEAL, 0, 0, attestation, b"")
                self.sync()
        finally:
            self._closed = True
            self._file.close()
            if self._prepared is not None:
                self._prepared.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _enter(self, file: DiskFile, header: SegmentHeader, offset: int) -> None:
        self._file = file
        self._offset = offset
        self._synced_offset = offset
        self._end_offset = end_offset(header)
        self._groups_until = _groups_until(header.segment_bytes)

    def _write_group(self, kind: int, count: int, time_us: int, attestation: Attestation, records: bytes) -> None:
        group, digest = pack_group(
            self._seed,
            kind,
            count=count,
            first_sequence=self._next_sequence,
            synced_offset=self._synced_offset,
            time_us=time_us,
            attestation=attestation,
            previous=self._head,
            records=records,
        )
        try:
            self._file.pwrite(group, self._offset)
        except OSError as error:
            self._fail("write", error)
        self._offset += len(group)
        self._head = digest

    def _switch_segment(self) -> None:
        """Close the tail and go on in the prepared segment. DiskFull, when that has yet to be made, changes nothing."""
        self.prepare_next()
        assert self._prepared is not None
        self.sync()
        end, digest = pack_end(self._seed, next_sequence=self._next_sequence, offset=self._offset, previous=self._head)
        # A tail without records (made with smaller segments) is not closed but replaced: the next one has its name.
        replace = self._tail_is_empty
        header = SegmentHeader(self.log_id, self._next_sequence, self._segment_bytes, self._head if replace else digest)
        # The new segment stands before the old one is closed. So a closed segment without a next one is a segment lost,
        # and a crash in between leaves an empty tail behind a segment without an end, which recovery closes.
        try:
            self._prepared.pwrite(pack_segment_header(header), 0)
            self._prepared.sync()
            install(self._disk, self._folder, self._next_sequence)
            if not replace:
                self._file.pwrite(end, self._end_offset)
                self._file.sync()
            self._file.close()
        except OSError as error:
            self._fail("switch to the next segment", error)
        if not replace:
            self._sequences.append(self._next_sequence)
        self._head = header.previous
        self._enter(self._prepared, header, SEGMENT_HEADER_BYTES)
        self._prepared = None

    @property
    def _tail_is_empty(self) -> bool:
        return self._next_sequence == self._sequences[-1]

    def _refuse_if_unfit(self) -> None:
        if self._failure is not None:
            raise LogFailed(self._failure)
        assert not self._closed, "a closed log is not used"

    def _fail(self, action: str, error: OSError) -> NoReturn:
        self._failure = (
            f"{self._folder}: could not {action}: {error}. What is on the disk after sequence {self._durable_sequence} is unknown,\n"
            f"  so nothing more is accepted. Look after the disk, then start again: the log is mended from what the disk holds."
        )
        raise LogFailed(self._failure) from error


def _groups_until(segment_bytes: int) -> int:
    """Where a segment's groups must end: room is kept for a seal and for the end."""
    return segment_bytes - 2 * GROUP_OVERHEAD_BYTES


def _check_segment_bytes(segment_bytes: int) -> None:
    assert segment_bytes % SEGMENT_BYTES_STEP == 0, f"segment_bytes is a multiple of {SEGMENT_BYTES_STEP}"
    assert 0 < segment_bytes <= SEGMENT_BYTES_MAX, f"segment_bytes is {SEGMENT_BYTES_MAX} at most"


def _has_log(disk: Disk, folder: Path) -> bool:
    try:
        segment_sequences(disk, folder)
    except LogMissing:
        return False
    return True


def _refused(folder: Path, error: OSError, segment_bytes: int) -> ZerosumError:
    """What the disk's refusal at the start means."""
    if is_full(error):
        return DiskFull(folder, needed_bytes=segment_bytes)
    return LogFailed(f"{folder}: the disk refuses: {error}. Look after it, then start again.")
