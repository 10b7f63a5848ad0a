"""
Reads a log's groups in order, each verified: for replay at the start, and for the follower beside a live writer.

    reader = LogReader(folder, after_sequence=snapshot.sequence)
    for group in reader.read(durable_sequence): ...        # again and again, as the durable sequence rises

Always true:
  - only what the caller says is durable is looked at: bytes past it may still be on their way, or be dropped after a crash
  - the first group begins with after_sequence + 1, cut if need be, and each next one where the last ended
  - reading on costs what is new, not what was read before
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, final

from zerosum.log.cursor import NOT_YET, Group, SegmentCursor, open_segment, segment_missing
from zerosum.log.disk import Disk, OsDisk
from zerosum.log.errors import LogPruned
from zerosum.log.layout import split_records
from zerosum.log.segments import End, segment_sequences


def log_id_of(folder: Path, disk: Disk | None = None) -> bytes:
    """The id of the log in a folder. LogMissing; LogDamaged, LogTooNew as for a log's opening."""
    disk = disk if disk is not None else OsDisk()
    with closing(open_segment(disk, folder, segment_sequences(disk, folder)[0])) as cursor:
        return cursor.header.log_id


@final
class LogReader:
    """A place in a log, which moves on by reading. Needs no lock; keeps one file open until closed."""

    def __init__(self, folder: Path, *, after_sequence: int = 0, disk: Disk | None = None) -> None:
        """LogMissing; LogPruned when after_sequence + 1 is no longer kept; LogDamaged, LogTooNew as for a log's opening."""
        assert after_sequence >= 0
        self._folder = folder
        self._disk = disk if disk is not None else OsDisk()
        self._wanted = after_sequence + 1
        self._cursor = self._open_at(self._wanted)

    @property
    def next_sequence(self) -> int:
        """The sequence that the next group read begins with."""
        return max(self._wanted, self._cursor.next_sequence)

    def read(self, up_to_sequence: int, *, seal: bool = False) -> Iterator[Group]:
        """
        The groups not yet read whose records all are `up_to_sequence` or before, which the writer has synced; seals, which have no
        records, among them. With `seal`, also one that stands right behind them: for whoever knows that the writer has stopped.

        LogDamaged when the log does not hold what should be durable; LogPruned when the writer has pruned what is next.
        """
        self._cursor.refresh()
        tried_again = False
        while self._cursor.next_sequence <= up_to_sequence or seal:
            group = self._cursor.step(verify_after=self._wanted - 1, up_to_sequence=up_to_sequence)
            if group is None:
                if self._cursor.fault is NOT_YET or self._cursor.next_sequence > up_to_sequence:
                    return
                if not self._enter_next_segment():
                    if tried_again:
                        raise self._cursor.damage()
                    self._open_again()
                    tried_again = True
                continue
            tried_again = False
            if group.first_sequence >= self._wanted:
                yield group
            elif group.last_sequence >= self._wanted:
                yield self._cut(group)

    def close(self) -> None:
        self._cursor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _open_at(self, sequence: int) -> SegmentCursor:
        sequences = segment_sequences(self._disk, self._folder)
        if sequence < sequences[0]:
            raise LogPruned(self._folder, wanted=sequence, earliest=sequences[0])
        return self._open(max(first for first in sequences if first <= sequence))

    def _enter_next_segment(self) -> bool:
        """Whether this one is closed: then the next one is open now."""
        cursor = self._cursor
        end = cursor.end()
        if end is None:
            return False
        if (end.next_sequence, end.previous) != (cursor.next_sequence, cursor.head):
            raise cursor.damage()
        self._cursor = self._open(end.next_sequence, after=end, log_id=cursor.header.log_id)
        cursor.close()
        return True

    def _open_again(self) -> None:
        """A writer that restarts after a crash puts a new file in the tail's place. Its groups up to here are the same."""
        header = self._cursor.header
        self._cursor.move_to(self._open(header.first_sequence, log_id=header.log_id))

    def _open(self, first_sequence: int, *, after: End | None = None, log_id: bytes | None = None) -> SegmentCursor:
        try:
            return open_segment(self._disk, self._folder, first_sequence, log_id=log_id, after=after)
        except FileNotFoundError:
            earliest = segment_sequences(self._disk, self._folder)[0]
            if earliest > first_sequence:
                raise LogPruned(self._folder, wanted=self.next_sequence, earliest=earliest) from None
            raise segment_missing(self._folder, first_sequence) from None

    def _cut(self, group: Group) -> Group:
        """The records of `group` that are still wanted."""
        skip = self._wanted - group.first_sequence
        skip_bytes = sum(len(record) for record in islice(split_records(group.records), skip))
        return group._replace(first_sequence=self._wanted, record_count=group.record_count - skip, records=group.records[skip_bytes:])
