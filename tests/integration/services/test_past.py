"""States of the past: the machines as they were after any command that is still kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.written_log import SEGMENT_BYTES, data_directory, settle
from zerosum.core import records
from zerosum.log.archive import archive_segments
from zerosum.log.errors import LogInUse
from zerosum.log.file_log import FileLog
from zerosum.log.layout import split_records
from zerosum.log.reader import LogReader
from zerosum.services.datadir import DataDir
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.machine import Machine
from zerosum.services.past import NothingKept, first_records, machine_at
from zerosum.sim.programs import random_program

COMMANDS = 400


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return data_directory(tmp_path / "data", COMMANDS)


def every_state() -> list[list[int]]:
    """By stepping: the state after 0, 1, 2 ... commands."""
    machine = Machine()
    states = [machine.exchange.state_hash()]
    for command in random_program(1, COMMANDS):
        machine.apply(command)
        states.append(machine.exchange.state_hash())
    return states


@pytest.mark.parametrize("snapshots", [False, True])
def test_the_state_at_every_sequence_is_that_of_stepping_there(data: DataDir, snapshots: bool) -> None:
    """From the beginning or from a snapshot, and in the middle of groups."""
    if snapshots:
        settle(data, COMMANDS, SnapshotPolicy(every_records=75, keep=9), step=25)
    for sequence, state in enumerate(every_state()):
        machine = machine_at(data, sequence)
        assert machine.sequence == sequence
        assert machine.exchange.state_hash() == state, sequence
    assert machine_at(data, None).exchange.state_hash() == every_state()[-1]


def test_a_damaged_snapshot_is_not_started_from(data: DataDir) -> None:
    settle(data, COMMANDS, SnapshotPolicy(every_records=100, keep=3), step=25)
    for snapshot in data.snapshots.iterdir():
        content = bytearray(snapshot.read_bytes())
        content[len(content) // 2] ^= 1
        snapshot.write_bytes(content)
    assert machine_at(data, 350).exchange.state_hash() == every_state()[350]


@pytest.mark.parametrize("sequence", [-1, COMMANDS + 1])
def test_what_is_not_in_the_log_is_refused(data: DataDir, sequence: int) -> None:
    with pytest.raises(NothingKept, match=f"ends with sequence {COMMANDS}; {sequence} is not in it"):
        machine_at(data, sequence)


def test_of_a_pruned_log_the_earliest_that_can_be_had_is_named(tmp_path: Path) -> None:
    """And can be had."""
    data = data_directory(tmp_path / "data", 2000)
    settle(data, 2000, SnapshotPolicy(every_records=500, keep=2), step=100)
    with FileLog.open(data.log, segment_bytes=SEGMENT_BYTES) as log:
        assert log.prune(1501) != []
    with pytest.raises(NothingKept, match=r"Sequence 1499 is no longer kept in .*; the earliest that is kept is 1500"):
        machine_at(data, 1499)
    assert machine_at(data, 1500).sequence == 1500
    assert machine_at(data, 1501).sequence == 1501


def test_with_archived_segments_all_of_it_can_be_had(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 2000)
    settle(data, 2000, SnapshotPolicy(every_records=500, keep=2), step=100)
    with FileLog.open(data.log, segment_bytes=SEGMENT_BYTES) as log:
        archived = log.prune(archive_segments(data.log, 1501, data.archive))
        assert archived == sorted(file.name for file in data.archive.iterdir()) != []
    assert machine_at(data, 3).sequence == 3
    archive = data.archive.rename(tmp_path / "elsewhere")
    with pytest.raises(NothingKept):
        machine_at(data, 3)
    assert machine_at(data, 3, archive=archive).sequence == 3
    for name in archived:
        shutil.copy(archive / name, data.log)
    assert machine_at(data, 3).sequence == 3


def test_a_log_that_is_being_written_is_refused_unless_its_end_is_known(data: DataDir) -> None:
    """What is half written would be taken for damage."""
    with FileLog.open(data.log, segment_bytes=SEGMENT_BYTES):
        with pytest.raises(LogInUse):
            machine_at(data, None)
        assert machine_at(data, None, end=300).sequence == 300


def test_first_records_are_whole_records(data: DataDir) -> None:
    with LogReader(data.log) as reader:
        group = next(iter(reader.read(COMMANDS)))
    whole = list(split_records(group.records))
    for count in range(len(whole) + 1):
        assert bytes(first_records(group.records, count)) == b"".join(whole[:count])
    assert len({len(record) for record in records.records(bytes(group.records))}) > 1, "they are of several lengths"
