"""
The segments that were archived out of a log: written beside its writer, and read together with what is left of it.

    log      ... | closed | closed | tail       archive_segments: verify, copy, sync; then FileLog.prune lets go of them
                    |copy
    archive  | closed | closed |                ArchiveDisk: all of it as one log

Always true: a file that is in the archive is never written over. What stands there under a segment's name and is not that segment is left
as it is, and the segment stays in the log.
"""

from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from zerosum.log.cursor import open_segment, verify_closed
from zerosum.log.disk import Disk, OsDisk, OsFile, is_full
from zerosum.log.errors import DiskFull, LogNotArchived
from zerosum.log.segments import copy_file, segment_name, segment_sequences

COMPARE_BYTES = 1 << 20


def archive_segments(
    folder: Path, before_sequence: int, archive: Path, *, disk: Disk | None = None, stops: Callable[[], bool] = lambda: False
) -> int:
    """
    Copy the closed segments whose records all are before `before_sequence`, oldest first, each verified. Returns the first sequence that is
    not in the archive: only what is before it may be pruned, for the log goes on meanwhile. `stops` is asked before each segment whether to
    leave it at that.

    For a thread of its own, beside the log's writer. LogNotArchived, DiskFull and LogDamaged leave what was copied whole.
    """
    disk = disk if disk is not None else OsDisk()
    sequences = segment_sequences(disk, folder)
    archived_to = sequences[0]
    for first, following in pairwise(sequences):
        if following > before_sequence or stops():
            break
        try:
            with closing(open_segment(disk, folder, first)) as cursor:
                verify_closed(cursor)
        except FileNotFoundError:
            archived_to = following
            continue  # archived before, and pruned meanwhile; so below
        name = segment_name(first)
        try:
            disk.make_directory(archive)
            if name not in disk.names(archive):
                copy_file(disk, folder / name, archive / name)
            elif not same(disk, folder / name, archive / name):
                raise FileExistsError(f"{archive / name} is there, and is not this segment: of another log, perhaps")
            else:
                make_durable(disk, archive / name)  # whoever put it there may have been cut short
        except OSError as error:
            if name not in disk.names(folder):
                archived_to = following
                continue
            if is_full(error):
                raise DiskFull(archive / name) from error
            raise LogNotArchived(folder / name, archive, error) from error
        archived_to = following
    return archived_to


def make_durable(disk: Disk, path: Path) -> None:
    with closing(disk.open(path)) as file:
        file.sync()
    disk.sync_directory(path.parent)


def same(disk: Disk, one: Path, other: Path) -> bool:
    with closing(disk.open(one)) as a, closing(disk.open(other)) as b:
        if a.size() != b.size():
            return False
        return all(a.pread(COMPARE_BYTES, at) == b.pread(COMPARE_BYTES, at) for at in range(0, a.size(), COMPARE_BYTES))


class ArchiveDisk(OsDisk):
    """The operating system's, with the files of `archive` seen in `log` too, unless it has such a file itself."""

    def __init__(self, log: Path, archive: Path) -> None:
        self._log = log
        self._archive = archive

    def names(self, directory: Path) -> list[str]:
        own = super().names(directory)
        if directory != self._log or not self._archive.is_dir():
            return own
        return sorted({*own, *super().names(self._archive)})

    def open(self, path: Path, *, writable: bool = False) -> OsFile:
        if path.parent != self._log or path.exists():
            return super().open(path, writable=writable)
        return super().open(self._archive / path.name, writable=writable)
