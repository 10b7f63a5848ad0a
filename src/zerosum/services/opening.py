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
from pathlib import Path
from typing import Final

from zerosum.core.exchange import CORE_VERSION_MAX
from zerosum.errors import ZerosumError
from zerosum.log.errors import LogBehindFollower, LogMissing, SnapshotTooNew
from zerosum.log.file_log import SEGMENT_BYTES, FileLog
from zerosum.log.reader import LogReader
from zerosum.log.snapshots import PassedOver, Snapshot, SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.settlement.reading import read_position
from zerosum.views import snapshot as views_snapshot
from zerosum.views.views import Views

PROGRESS_RECORDS: Final = 100_000
PROGRESS_SEGMENTS: Final = 16
STATE_FORMAT: Final = 2  # of a snapshot's sections


class NotOfThisLog(ZerosumError):
    """The settled record, or a snapshot, was made from another log."""


class TooLate(ZerosumError):
    """The control file would have something passed over that was applied, or applied that was passed over, or that does not exist."""


def open_log(
    data: DataDir, segment_bytes: int = SEGMENT_BYTES, report: Callable[[str], None] = lambda line: None, *, creates: bool = True
) -> FileLog:
    """
    The log, mended if its last stop was not clean; if it `creates`, a new one where nothing was. What comes before the oldest snapshot is
    not read through: a start does not need it, and an audit does it.

    LogMissing, LogBehindFollower, NotOfThisLog, and what FileLog.open raises.
    """
    snapshots = SnapshotStore(data.snapshots, disk=data.disk).sequences()
    settled, settled_from = settled_before(data)
    followed = max([*snapshots, settled])

    def progress(read: int, segments: int) -> None:
        if read and read % PROGRESS_SEGMENTS == 0:
            report(f"read {read} of {segments} segments of the log")

    try:
        log = FileLog.open(
            data.log,
            disk=data.disk,
            segment_bytes=segment_bytes,
            must_reach=followed,
            verify_after=min(snapshots, default=0),
            progress=progress,
        )
    except LogMissing:
        if followed:
            raise LogBehindFollower(data.log, last_sequence=0, must_reach=followed) from None
        if settled_from:
            raise record_of_another_log(data, settled) from None
        if not creates:
            raise
        return FileLog.create(data.log, disk=data.disk, segment_bytes=segment_bytes)
    if settled_from not in (b"", log.log_id):
        log.close()
        raise record_of_another_log(data, settled)
    return log


def settled_before(data: DataDir) -> tuple[int, bytes]:
    """How far the settled record is, and of which log."""
    if not data.settled.exists():
        return 0, b""
    return read_position(data.settled)


def record_of_another_log(data: DataDir, sequence: int) -> NotOfThisLog:
    return NotOfThisLog(
        f"{data.settled}, which ends at command {sequence}, was settled from another log than {data.log}."
        " Put back the one that belongs to it; or move settled.db and snapshots away, and it is settled anew from this log: if that was"
        " pruned, put its archived segments back before."
    )


def newest_snapshot(data: DataDir, log_id: bytes, *, at_most: int) -> tuple[Snapshot | None, list[PassedOver]]:
    """The newest good snapshot of the state at `at_most` or before, and those that were passed over. NotOfThisLog."""
    store = SnapshotStore(data.snapshots, disk=data.disk)
    snapshot, passed_over = store.newest(at_most=at_most)
    if snapshot is not None and int(snapshot.meta.get("state_format", 0)) < STATE_FORMAT:
        path = path_of(data, snapshot)
        return None, [*passed_over, PassedOver(path, "an earlier version of the program wrote it, whose states are of another format")]
    if snapshot is not None:
        check_snapshot(data, log_id, snapshot)
    return snapshot, passed_over


def path_of(data: DataDir, snapshot: Snapshot) -> Path:
    return data.snapshots / f"{snapshot.sequence:020d}.snap"


def snapshot_meta(log_id: bytes, machine: Machine) -> dict[str, int | str]:
    """What a snapshot says of itself: what it was taken of, and what it takes to go on from it."""
    exchange = machine.exchange
    return {
        "log": log_id.hex(),
        "state_format": STATE_FORMAT,
        "core_version": int(exchange.version),
        "passed_over": passed_over_up_to(exchange.quarantined, machine.sequence),
    }


def passed_over_up_to(sequences: set[int], sequence: int) -> str:
    return " ".join(map(str, sorted(each for each in sequences if each <= sequence)))


def check_snapshot(data: DataDir, log_id: bytes, snapshot: Snapshot) -> None:
    """Whether a good snapshot can be gone on from here. NotOfThisLog, SnapshotTooNew, TooLate."""
    meta = snapshot.meta
    if meta.get("log") != log_id.hex():
        raise NotOfThisLog(
            f"{data.snapshots} has a snapshot of command {snapshot.sequence} that was taken of another log than {data.log}."
            " Put back the log that belongs to it, or move the snapshots away: this log is then replayed from its beginning."
        )
    state_format, core_version = int(meta.get("state_format", 0)), int(meta.get("core_version", 0))
    path = path_of(data, snapshot)
    if state_format > STATE_FORMAT:
        raise SnapshotTooNew(path, found=state_format, known=STATE_FORMAT)
    if core_version > CORE_VERSION_MAX:
        raise SnapshotTooNew(path, found=core_version, known=CORE_VERSION_MAX)
    wanted = passed_over_up_to(data.quarantined(), snapshot.sequence)
    if meta.get("passed_over") != wanted:
        raise TooLate(
            f"{data.control}: up to command {snapshot.sequence} it has [{wanted}] passed over; when they were applied it was"
            f" [{meta.get('passed_over')}]. A command that was applied can't be passed over any more, nor the other way round: put the"
            " file back as it was."
        )


def quarantined(data: DataDir, end: int) -> set[int]:
    """What the control file has passed over. TooLate for what the log does not have yet: it would be some later command."""
    sequences = data.quarantined()
    if sequences and max(sequences) > end:
        raise TooLate(f"{data.control}: {max(sequences)} is past the end of the log, which is {end}: take that line out.")
    return sequences


def restore(data: DataDir, log_id: bytes, up_to: int, report: Callable[[str], None] = lambda line: None) -> tuple[Machine, Views]:
    """Machines and views as they are after the log's command `up_to`. NotOfThisLog, LogPruned, MachineBroken, ControlDamaged."""
    snapshot, passed_over = newest_snapshot(data, log_id, at_most=up_to)
    for each in passed_over:
        report(f"snapshot {each.path} is passed over: {each.why}")
    quarantined(data, up_to)
    settled, _ = settled_before(data)
    machine, views = machines_of(data, snapshot)
    start = told = machine.sequence
    with LogReader(data.log, after_sequence=start, disk=data.disk) as reader:
        for group in reader.read(up_to):
            output = machine.apply(bytes(group.records))
            views.apply(output.account_events, output.market_events)
            views.forget_settled(min(settled, machine.sequence))  # what ended long ago is read from the record
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
