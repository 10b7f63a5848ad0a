"""
Opens a data directory: its log for writing, its newest state, and only if what lies in it belongs together.

    log ------------ its id --------------+--> the same in each snapshot and in the settled record, or NotOfThisLog
    newest good snapshot --> the rest of the log --> machines and views as they are now

By the exchange and its follower when they start, and by a command when none is running.

Always true: a log that ends before what was settled from it, or before a snapshot of it, is refused. It has lost something, and what were
written to it now would stand under sequences that others have used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Final

from zerosum.errors import ZerosumError
from zerosum.log.errors import LogBehindFollower, LogMissing
from zerosum.log.file_log import SEGMENT_BYTES, FileLog
from zerosum.log.reader import LogReader
from zerosum.log.snapshots import PassedOver, Snapshot, SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.settlement.sqlite import SqliteStore
from zerosum.views import snapshot as views_snapshot
from zerosum.views.views import Views

PROGRESS_RECORDS: Final = 100_000
LOG_ID: Final = "log"  # in a snapshot's meta, in hexadecimal


class NotOfThisLog(ZerosumError):
    """The settled record, or a snapshot, was made from another log."""


def open_log(data: DataDir, segment_bytes: int = SEGMENT_BYTES) -> FileLog:
    """
    The log, mended if its last stop was not clean; a new one where nothing was.

    LogBehindFollower, NotOfThisLog, and what FileLog.open raises.
    """
    snapshot = max(SnapshotStore(data.snapshots).sequences(), default=0)
    settled, settled_from = settled_before(data)
    followed = max(snapshot, settled)
    try:
        log = FileLog.open(data.log, segment_bytes=segment_bytes, must_reach=followed)
    except LogMissing:
        if followed:
            raise LogBehindFollower(data.log, last_sequence=0, must_reach=followed) from None
        return FileLog.create(data.log, segment_bytes=segment_bytes)
    if settled_from not in (b"", log.log_id):
        log.close()
        raise record_of_another_log(data, settled)
    return log


def settled_before(data: DataDir) -> tuple[int, bytes]:
    """How far the settled record is, and of which log."""
    if not data.settled.exists():
        return 0, b""
    with closing(SqliteStore(data.settled)) as store:
        return store.position().sequence, store.log_id()


def record_of_another_log(data: DataDir, sequence: int) -> NotOfThisLog:
    return NotOfThisLog(
        f"{data.settled}, which ends at command {sequence}, was settled from another log than {data.log}."
        " Put back the one that belongs to it; or move settled.db and snapshots away, and it is settled anew from this log."
    )


def newest_snapshot(data: DataDir, log_id: bytes, *, at_most: int) -> tuple[Snapshot | None, list[PassedOver]]:
    """The newest good snapshot of the state at `at_most` or before, and those that were passed over. NotOfThisLog."""
    snapshot, passed_over = SnapshotStore(data.snapshots).newest(at_most=at_most)
    if snapshot is not None and snapshot.meta.get(LOG_ID) != log_id.hex():
        raise NotOfThisLog(
            f"{data.snapshots} has a snapshot of command {snapshot.sequence} that was taken of another log than {data.log}."
            " Put back the log that belongs to it, or move the snapshots away: this log is then replayed from its beginning."
        )
    return snapshot, passed_over


def restore(data: DataDir, log_id: bytes, up_to: int, report: Callable[[str], None] = lambda line: None) -> tuple[Machine, Views]:
    """Machines and views as they are after the log's command `up_to`. NotOfThisLog, LogPruned, MachineBroken, ControlDamaged."""
    snapshot, passed_over = newest_snapshot(data, log_id, at_most=up_to)
    for each in passed_over:
        report(f"snapshot {each.path} is passed over: {each.why}")
    machine, views = machines_of(data, snapshot)
    start = told = machine.sequence
    with LogReader(data.log, after_sequence=start) as reader:
        for group in reader.read(up_to):
            output = machine.apply(bytes(group.records))
            views.apply(output.account_events, output.market_events)
            if machine.sequence - told >= PROGRESS_RECORDS:
                told = machine.sequence
                report(f"replayed {told - start:,} of {up_to - start:,} commands")
    return machine, views


def machines_of(data: DataDir, snapshot: Snapshot | None) -> tuple[Machine, Views]:
    """As a snapshot has them, and as they will pass over what the operator has quarantined; fresh without one."""
    machine = Machine.restore(snapshot)
    machine.exchange.quarantine(data.quarantined())
    views = Views()
    if snapshot is not None:
        views_snapshot.load(views, snapshot.sections)
    return machine, views
