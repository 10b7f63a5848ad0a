"""LogReader: replay, and the follower beside a live writer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.log_records import record, records
from zerosum.log.cursor import Group
from zerosum.log.errors import LogDamaged, LogMissing, LogPruned
from zerosum.log.file_log import FileLog
from zerosum.log.layout import GROUP_OVERHEAD_BYTES, SEGMENT_HEADER_BYTES, split_records
from zerosum.log.reader import LogReader
from zerosum.sim.disk import SimDisk

FOLDER = Path("/log")
SEGMENT_BYTES = 8192
WORDS = 30


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk()


@pytest.fixture
def log(disk: SimDisk) -> FileLog:
    return FileLog.create(FOLDER, disk=disk, segment_bytes=SEGMENT_BYTES)


def append(log: FileLog, count: int) -> None:
    log.append(records(log.next_sequence, count, WORDS), count=count, time_us=log.next_sequence)
    log.sync()


def sequences(groups: list[Group]) -> list[tuple[int, int]]:
    """First and last of each group, whose records are checked against their numbers."""
    for group in groups:
        expected = [record(sequence, WORDS) for sequence in range(group.first_sequence, group.last_sequence + 1)]
        assert [bytes(one) for one in split_records(group.records)] == expected
    return [(group.first_sequence, group.last_sequence) for group in groups]


def flip(disk: SimDisk, path: Path, offset: int) -> None:
    content = bytearray(disk.contents()[str(path)[1:]])
    content[offset] ^= 1
    disk.overwrite(path, bytes(content))


def test_groups_come_in_order_from_after_the_sequence_asked_for(disk: SimDisk, log: FileLog) -> None:
    for count in (2, 3, 1):
        append(log, count)
    assert sequences(list(LogReader(FOLDER, disk=disk).read(6))) == [(1, 2), (3, 5), (6, 6)]
    assert sequences(list(LogReader(FOLDER, after_sequence=2, disk=disk).read(6))) == [(3, 5), (6, 6)]


def test_the_first_group_is_cut_to_begin_with_what_is_wanted(disk: SimDisk, log: FileLog) -> None:
    """Where a group begins and ends means nothing: a snapshot may lie in the middle of one."""
    for count in (2, 5, 1):
        append(log, count)
    for after, first in ((3, (4, 7)), (6, (7, 7))):
        reader = LogReader(FOLDER, after_sequence=after, disk=disk)
        assert reader.next_sequence == after + 1
        assert sequences(list(reader.read(8))) == [first, (8, 8)]


def test_what_is_not_yet_durable_is_not_read(disk: SimDisk, log: FileLog) -> None:
    reader = LogReader(FOLDER, disk=disk)
    append(log, 2)
    log.append(records(3, 2, WORDS), count=2, time_us=0)
    assert sequences(list(reader.read(log.durable_sequence))) == [(1, 2)]
    assert sequences(list(reader.read(log.durable_sequence))) == []
    assert sequences(list(reader.read(log.sync()))) == [(3, 4)]


def test_a_bound_inside_a_group_leaves_the_group(disk: SimDisk, log: FileLog) -> None:
    append(log, 2)
    append(log, 3)
    reader = LogReader(FOLDER, disk=disk)
    assert sequences(list(reader.read(4))) == [(1, 2)]
    assert reader.next_sequence == 3
    assert sequences(list(reader.read(5))) == [(3, 5)]


def test_a_follower_goes_on_over_segments_and_restarts_of_the_writer(disk: SimDisk, log: FileLog) -> None:
    reader = LogReader(FOLDER, disk=disk)
    expected = 1
    for round_number in range(120):
        append(log, 1 + round_number % 4)
        if round_number % 10 == 9:
            log.close()
            log = FileLog.open(FOLDER, disk=disk, segment_bytes=SEGMENT_BYTES)
        if round_number % 3 == 2:
            for first, last in sequences(list(reader.read(log.durable_sequence))):
                assert first == expected
                expected = last + 1
    assert expected == log.next_sequence
    assert len(disk.names(FOLDER)) > 5


def test_reading_may_stop_and_go_on_anywhere(disk: SimDisk, log: FileLog) -> None:
    for _ in range(4):
        append(log, 2)
    reader = LogReader(FOLDER, disk=disk)
    first = next(reader.read(8))
    assert sequences([first, *reader.read(8)]) == [(1, 2), (3, 4), (5, 6), (7, 8)]


def test_groups_stay_valid_while_the_reader_moves_on(disk: SimDisk, log: FileLog) -> None:
    for _ in range(60):
        append(log, 3)
    reader = LogReader(FOLDER, disk=disk)
    kept = list(reader.read(log.durable_sequence))
    reader.close()
    assert len(sequences(kept)) == 60


def test_a_reader_whose_file_was_replaced_by_recovery_goes_on_in_the_new_one(tmp_path: Path) -> None:
    """On a real disk, where the old file lives on behind its descriptor. The writer crashes, mends the tail, goes on."""
    log = FileLog.create(tmp_path, segment_bytes=SEGMENT_BYTES)
    append(log, 2)
    with LogReader(tmp_path) as reader:
        assert sequences(list(reader.read(2))) == [(1, 2)]
        log._lock.release()  # what the end of the process does; no seal is written
        with FileLog.open(tmp_path) as again:
            assert not again.recovery.clean
            append(again, 3)
            assert sequences(list(reader.read(5))) == [(3, 5)]


def test_what_was_read_ahead_is_read_again_once_it_is_durable(disk: SimDisk, log: FileLog) -> None:
    """The first poll sees half of a group on its way, in the same block as the group that it takes."""
    append(log, 1)
    reader = LogReader(FOLDER, disk=disk)
    path, offset = FOLDER / "00000000000000000001.seg", SEGMENT_HEADER_BYTES + GROUP_OVERHEAD_BYTES + WORDS * 8
    log.append(records(2, 1, WORDS), count=1, time_us=0)
    file = disk.open(path, writable=True)
    group = file.pread(GROUP_OVERHEAD_BYTES + WORDS * 8, offset)
    file.pwrite(bytes(len(group) - 200), offset + 200)
    assert sequences(list(reader.read(1))) == [(1, 1)]
    file.pwrite(group, offset)
    disk.fail("open", 5)  # it need not open anything again
    assert sequences(list(reader.read(2))) == [(2, 2)]


def test_what_should_be_durable_and_is_not_there_is_damage(disk: SimDisk, log: FileLog) -> None:
    append(log, 2)
    reader = LogReader(FOLDER, disk=disk)
    groups = reader.read(3)
    next(groups)
    with pytest.raises(LogDamaged, match="sequence 3: zeros; expected a group"):
        next(groups)


def test_a_damaged_group_is_never_yielded(disk: SimDisk, log: FileLog) -> None:
    for _ in range(3):
        append(log, 1)
    offset = SEGMENT_HEADER_BYTES + GROUP_OVERHEAD_BYTES + WORDS * 8
    flip(disk, FOLDER / "00000000000000000001.seg", offset + 200)
    groups = LogReader(FOLDER, disk=disk).read(3)
    assert sequences([next(groups)]) == [(1, 1)]
    with pytest.raises(LogDamaged) as refused:
        next(groups)
    assert (refused.value.offset, refused.value.sequence) == (offset, 2)


def test_skipped_groups_are_not_hashed_but_their_links_are_followed(disk: SimDisk, log: FileLog) -> None:
    for _ in range(4):
        append(log, 1)
    path, group_bytes = FOLDER / "00000000000000000001.seg", GROUP_OVERHEAD_BYTES + WORDS * 8
    flip(disk, path, SEGMENT_HEADER_BYTES + group_bytes + 200)  # a record of sequence 2
    assert sequences(list(LogReader(FOLDER, after_sequence=2, disk=disk).read(4))) == [(3, 3), (4, 4)]
    flip(disk, path, SEGMENT_HEADER_BYTES + 2 * group_bytes - 1)  # the digest of sequence 2
    with pytest.raises(LogDamaged, match="links to another one"):
        list(LogReader(FOLDER, after_sequence=2, disk=disk).read(4))


def test_a_pruned_sequence_is_refused_with_the_earliest_that_is_kept(disk: SimDisk, log: FileLog) -> None:
    reader = LogReader(FOLDER, disk=disk)
    while len(disk.names(FOLDER)) < 5:
        append(log, 2)
    earliest = int(sorted(disk.names(FOLDER))[2][:20])
    log.prune(earliest)
    with pytest.raises(LogPruned) as refused:
        LogReader(FOLDER, after_sequence=earliest - 2, disk=disk)
    assert (refused.value.wanted, refused.value.earliest) == (earliest - 1, earliest)
    assert next(LogReader(FOLDER, after_sequence=earliest - 1, disk=disk).read(log.durable_sequence)).first_sequence == earliest
    with pytest.raises(LogPruned) as overtaken:  # it reads on in the segment that it has open, and finds the next one gone
        list(reader.read(log.durable_sequence))
    assert overtaken.value.earliest == earliest


def test_a_missing_segment_is_damage(disk: SimDisk, log: FileLog) -> None:
    while len(disk.names(FOLDER)) < 4:
        append(log, 2)
    first, middle, *_ = disk.names(FOLDER)
    disk.unlink(FOLDER / middle)
    with pytest.raises(LogDamaged, match="no such file") as refused:
        list(LogReader(FOLDER, disk=disk).read(log.durable_sequence))
    assert refused.value.file == FOLDER / middle
    disk.unlink(FOLDER / first)
    with pytest.raises(LogPruned):
        LogReader(FOLDER, disk=disk)


def test_where_no_log_is_none_is_read(disk: SimDisk) -> None:
    with pytest.raises(LogMissing):
        LogReader(FOLDER, disk=disk)


def test_an_idle_poll_reads_nothing(disk: SimDisk, log: FileLog) -> None:
    append(log, 2)
    reader = LogReader(FOLDER, disk=disk)
    list(reader.read(2))
    disk.fail("pread", 5)
    assert list(reader.read(2)) == []


FOLLOWER = """
import sys
from pathlib import Path
from zerosum.log.layout import split_records
from zerosum.log.reader import LogReader

with LogReader(Path(sys.argv[1])) as reader:
    for line in sys.stdin:
        count = 0
        for group in reader.read(int(line)):
            count += sum(1 for _ in split_records(group.records))
        print(reader.next_sequence, count, flush=True)
"""


def test_a_follower_in_another_process_takes_exactly_what_it_is_told_is_durable(tmp_path: Path) -> None:
    source = str(Path(__file__).parents[3] / "src")
    with (
        FileLog.create(tmp_path, segment_bytes=SEGMENT_BYTES) as log,
        subprocess.Popen(
            [sys.executable, "-c", FOLLOWER, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": source},
        ) as follower,
    ):
        assert follower.stdin is not None
        assert follower.stdout is not None
        followed = 0
        for round_number in range(150):
            append(log, 1 + round_number % 5)
            log.append(records(log.next_sequence, 1, WORDS), count=1, time_us=0)  # in the file, but not durable
            follower.stdin.write(f"{log.durable_sequence}\n")
            follower.stdin.flush()
            following, count = map(int, follower.stdout.readline().split())
            assert (following, count) == (log.durable_sequence + 1, log.durable_sequence - followed)
            followed = log.durable_sequence
        follower.stdin.close()
        assert follower.wait() == 0
