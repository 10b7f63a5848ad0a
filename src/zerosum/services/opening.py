"""
Opens the log of a data directory for writing: by the exchange when it starts, and by a command when none is running.

Always true: a log that ends before what was settled from it, or before a snapshot of it, is refused. It has lost something, and what were
written to it now would stand under sequences that others have used.
"""

from __future__ import annotations

from contextlib import closing

from zerosum.log.errors import LogBehindFollower, LogMissing
from zerosum.log.file_log import SEGMENT_BYTES, FileLog
from zerosum.log.snapshots import SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.settlement.sqlite import SqliteStore


def followed_before(data: DataDir) -> int:
    """How far a follower has come before, by its record and its snapshots: a log that ends sooner has lost something."""
    snapshot = max(SnapshotStore(data.snapshots).sequences(), default=0)
    if not data.settled.exists():
        return snapshot
    with closing(SqliteStore(data.settled)) as store:
        return max(snapshot, store.position().sequence)


def open_log(data: DataDir, segment_bytes: int = SEGMENT_BYTES) -> FileLog:
    """The log, mended if its last stop was not clean; a new one where nothing was. LogBehindFollower, and what FileLog.open raises."""
    followed = followed_before(data)
    try:
        return FileLog.open(data.log, segment_bytes=segment_bytes, must_reach=followed)
    except LogMissing:
        if followed:
            raise LogBehindFollower(data.log, last_sequence=0, must_reach=followed) from None
        return FileLog.create(data.log, segment_bytes=segment_bytes)
