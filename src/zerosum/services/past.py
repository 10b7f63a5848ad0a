"""
A look into the past of a data directory: the machines as they were after any command that is still kept, in the log or its archive.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from zerosum.core import records, transfers
from zerosum.core.ledger import ASSET_BITS, ASSET_MASK, AVAILABLE, FROZEN, OWNER, Ledger
from zerosum.errors import ZerosumError
from zerosum.log.archive import ArchiveDisk
from zerosum.log.disk import OsDisk
from zerosum.log.errors import LogPruned
from zerosum.log.reader import LogReader, log_id_of
from zerosum.log.recovery import survey
from zerosum.log.segments import held_still
from zerosum.log.snapshots import SnapshotStore
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.services.opening import machines_of, newest_snapshot, restore
from zerosum.views.views import Views


class NothingKept(ZerosumError):
    """A sequence that was asked for is no longer in the log, nor behind a snapshot."""


def machine_at(
    data: DataDir, sequence: int | None, *, archive: Path | None = None, end: int | None = None,
    progress: Callable[[int], None] = lambda sequence: None,
) -> Machine:  # fmt: skip
    """
    The machines as they were after a command of the log, or after its last one. NothingKept names the earliest that can be had.

    `archive`: where segments were archived, if not in the data directory. `end`: how far the log is durable, of one that is being written;
    without it, LogInUse for such.
    """
    if end is None:
        with held_still(data.log):
            end = survey(OsDisk(), data.log).report.last_sequence
    disk = ArchiveDisk(data.log, archive or data.archive)
    wanted = end if sequence is None else sequence
    if not 0 <= wanted <= end:
        raise NothingKept(f"{data.log} ends with sequence {end}; {wanted} is not in it.")
    snapshot, _ = newest_snapshot(data, log_id_of(data.log), at_most=wanted)
    machine, _ = machines_of(data, snapshot)
    try:
        with LogReader(data.log, after_sequence=machine.sequence, disk=disk) as reader:
            for group in reader.read(end):
                records = group.records
                if group.last_sequence > wanted:
                    records = first_records(records, wanted - group.first_sequence + 1)
                machine.apply(bytes(records))
                progress(machine.sequence)
                if machine.sequence >= wanted:
                    break
    except LogPruned as error:
        kept = SnapshotStore(data.snapshots).sequences()
        earliest = min(kept, default=error.earliest)
        raise NothingKept(f"Sequence {wanted} is no longer kept in {data.root}; the earliest that is kept is {earliest}.") from error
    return machine


def machines_now(data: DataDir) -> tuple[Machine, Views]:
    """Machines and views as the log leaves them, of an exchange that does not run. LogInUse."""
    with held_still(data.log):
        return restore(data, log_id_of(data.log), survey(OsDisk(), data.log).report.last_sequence)


def first_records(records: memoryview, count: int) -> memoryview:
    at = 0
    for _ in range(count):
        at += int.from_bytes(records[at + 2 : at + 4], "little") * 8
    return records[:at]


def balances_of(machine: Machine) -> dict[tuple[int, int], tuple[int, int]]:
    """(account, asset): (available, frozen) atoms, the house's too, by account."""
    return balances_in(machine.exchange.ubscore.ledger)


def balances_in(ledger: Ledger) -> dict[tuple[int, int], tuple[int, int]]:
    balances = ledger.balances
    words = balances.words
    found = {
        (int(words[slot + OWNER] >> ASSET_BITS), int(words[slot + OWNER] & ASSET_MASK)): (
            int(words[slot + AVAILABLE]), int(words[slot + FROZEN])
        )
        for slot in balances.slots()
    }  # fmt: skip
    return dict(sorted(found.items()))


def pending_of(machine: Machine) -> dict[tuple[int, int], tuple[int, int]]:
    """(account, transfer id): (asset, atoms), of each withdrawal that was requested and has not ended."""
    pool = machine.exchange.ubscore.transfers.pool
    words = pool.words
    return {
        (int(words[slot + transfers.ACCOUNT]), int(words[slot + transfers.ID])): (
            int(words[slot + transfers.ASSET]), int(words[slot + transfers.ATOMS])
        )
        for slot in pool.slots()
        if words[slot + transfers.KIND] == records.REQUEST_WITHDRAWAL and words[slot + transfers.TO] == transfers.PENDING
    }  # fmt: skip
