"""FileLog: what it promises its one writer, when all is well and when the disk is not."""

import errno
import threading
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.log_records import record, records
from zerosum.log.archive import archive_segments
from zerosum.log.errors import DiskFull, LogBehindFollower, LogDamaged, LogExists, LogFailed, LogInUse, LogMissing, LogNotArchived
from zerosum.log.file_log import SEGMENT_BYTES, FileLog
from zerosum.log.layout import Attestation, split_records
from zerosum.log.reader import LogReader
from zerosum.sim.disk import SimDisk

FOLDER = Path("/log")
STEP = 4096


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk()


ARCHIVE = Path("/archive")


def create(disk: SimDisk, segment_bytes: int = STEP) -> FileLog:
    return FileLog.create(FOLDER, disk=disk, segment_bytes=segment_bytes)


def reopen(disk: SimDisk, **options: Any) -> FileLog:
    disk.kill()
    return FileLog.open(FOLDER, disk=disk, segment_bytes=STEP, **options)


def append(log: FileLog, count: int = 1, words: int = 50) -> int:
    return log.append(records(log.next_sequence, count, words), count=count, time_us=log.next_sequence)


def append_groups(log: FileLog, groups: int) -> None:
    for _ in range(groups):
        append(log)
    log.sync()


def content(disk: SimDisk, log: FileLog) -> list[bytes]:
    with LogReader(FOLDER, after_sequence=log.first_sequence - 1, disk=disk) as reader:
        return [bytes(one) for group in reader.read(log.durable_sequence) for one in split_records(group.records)]


def segments(disk: SimDisk) -> list[int]:
    return [int(name[:20]) for name in disk.names(FOLDER) if name.endswith(".seg")]


def test_sequences_are_dense_over_groups_segments_and_restarts(tmp_path: Path) -> None:
    """On a real disk."""
    with FileLog.create(tmp_path / "new" / "log", segment_bytes=STEP) as log:
        assert [append(log, count) for count in (1, 3, 2, 8)] == [1, 4, 6, 14]
        log_id = log.log_id
    with FileLog.open(tmp_path / "new" / "log", segment_bytes=STEP) as log:
        assert (log.log_id, log.next_sequence, log.recovery.clean) == (log_id, 15, True)
        assert append(log, 2) == 16
        log.sync()
        with LogReader(tmp_path / "new" / "log") as reader:
            kept = [bytes(one) for group in reader.read(16) for one in split_records(group.records)]
    assert kept == [record(sequence, 50) for sequence in range(1, 17)]


def test_a_segment_has_64_mib_unless_told(tmp_path: Path) -> None:
    """Zeros that are really there, so that no group's write can find the disk full."""
    FileLog.create(tmp_path).close()
    (segment,) = tmp_path.glob("*.seg")
    assert segment.stat().st_size == SEGMENT_BYTES == 64 * 1024 * 1024
    assert segment.stat().st_blocks * 512 >= SEGMENT_BYTES


def test_only_sync_makes_durable(disk: SimDisk) -> None:
    log = create(disk)
    append(log, 3)
    assert log.durable_sequence == 0
    assert log.sync() == 3
    append(log, 1)
    assert log.durable_sequence == 3
    disk.power_loss(Random(1))
    assert FileLog.open(FOLDER, disk=disk).next_sequence >= 4


def test_a_sync_with_nothing_new_asks_nothing_of_the_disk(disk: SimDisk) -> None:
    log = create(disk)
    append(log)
    log.sync()
    disk.fail("sync", errno.EIO)
    assert log.sync() == 1


def test_what_was_attested_is_read_back(disk: SimDisk) -> None:
    log = create(disk)
    attestation = Attestation(41, 7, 8, bytes(range(32)))
    log.append(record(1), count=1, time_us=123, attestation=attestation)
    log.sync()
    with LogReader(FOLDER, disk=disk) as reader:
        (group,) = reader.read(1)
    assert (group.attestation, group.time_us) == (attestation, 123)


def test_the_folder_must_be_what_the_caller_takes_it_for(disk: SimDisk) -> None:
    with pytest.raises(LogMissing):
        FileLog.open(FOLDER, disk=disk)
    create(disk).close()
    with pytest.raises(LogExists):
        create(disk)


def test_a_log_has_one_writer(disk: SimDisk) -> None:
    log = create(disk)
    with pytest.raises(LogInUse):
        FileLog.open(FOLDER, disk=disk)
    log.close()
    FileLog.open(FOLDER, disk=disk).close()


def test_a_refused_opening_lets_go_of_the_folder(disk: SimDisk) -> None:
    log = create(disk)
    append_groups(log, 2)
    log.close()
    for _ in range(2):
        with pytest.raises(LogBehindFollower) as refused:
            FileLog.open(FOLDER, disk=disk, must_reach=3)
        assert (refused.value.last_sequence, refused.value.must_reach) == (2, 3)
    FileLog.open(FOLDER, disk=disk, must_reach=2).close()


def test_a_log_whose_creation_was_cut_short_is_created_again(disk: SimDisk) -> None:
    for operation in ("create", "pwrite", "sync", "rename"):
        disk.fail(operation, errno.EIO)
        with pytest.raises(LogFailed):
            create(disk)
        disk.kill()
        with pytest.raises(LogMissing):
            FileLog.open(FOLDER, disk=disk)
    assert create(disk).next_sequence == 1


@pytest.mark.parametrize("operation", ["pwrite", "sync"])
def test_after_a_failed_write_or_sync_nothing_is_accepted(disk: SimDisk, operation: str) -> None:
    """A sync that fails and then succeeds proves nothing: the kernel has marked the pages clean."""
    log = create(disk)
    append_groups(log, 1)
    disk.fail(operation, errno.EIO)
    with pytest.raises(LogFailed, match="after sequence 1 is unknown"):
        append_groups(log, 1)
    before = disk.contents()
    for refused in (log.sync, log.prepare_next, lambda: append(log), lambda: log.prune(1)):
        with pytest.raises(LogFailed):
            refused()
    log.close()
    assert disk.contents() == before, "no seal: this was no clean stop"
    assert not reopen(disk).recovery.clean


def test_what_a_failed_sync_left_in_the_cache_is_made_durable_before_it_is_served(disk: SimDisk) -> None:
    """The restarted process reads the group from the page cache, while the disk never got it."""
    log = create(disk)
    append(log, 2)
    disk.fail("sync", errno.EIO)
    with pytest.raises(LogFailed):
        log.sync()
    log = reopen(disk)
    assert log.durable_sequence == 2
    disk.power_loss(Random(0))
    assert reopen(disk, must_reach=2).durable_sequence == 2


def test_a_seal_is_written_once_and_only_after_records(disk: SimDisk) -> None:
    """Stopping and starting an idle exchange must not fill its log."""
    create(disk).close()
    empty = disk.contents()
    log = reopen(disk)
    assert log.recovery.clean
    log.close()
    assert disk.contents() == empty
    log = reopen(disk)
    append(log)
    log.close()
    log.close()
    sealed = disk.contents()
    log = reopen(disk)
    assert log.recovery.clean
    log.close()
    assert disk.contents() == sealed


def test_a_seal_whose_own_sync_failed_is_made_durable_before_going_on(disk: SimDisk) -> None:
    log = create(disk)
    append_groups(log, 1)
    disk.fail("sync", errno.EIO)  # the first sync of close has nothing to do, so this is the seal's
    with pytest.raises(LogFailed):
        log.close()
    log = reopen(disk)
    assert log.recovery.clean
    append_groups(log, 1)
    disk.power_loss(Random(0))
    assert reopen(disk).durable_sequence == 2


def test_no_seal_vouches_for_groups_whose_sync_failed(disk: SimDisk) -> None:
    """A sealed tail is served as it is, not copied: its groups must be on the disk, not just in the cache."""
    log = create(disk)
    append(log)
    disk.fail("sync", errno.EIO)
    with pytest.raises(LogFailed):
        log.close()
    log = reopen(disk)
    assert not log.recovery.clean
    append_groups(log, 1)
    disk.power_loss(Random(0))
    assert reopen(disk).durable_sequence == 2


def test_a_seal_made_durable_late_is_not_mistaken_for_one_that_was_lost() -> None:
    """What is written after it says that it was synced. So it must have been, before anything is."""
    for seed in range(30):
        disk = SimDisk()
        log = create(disk)
        append_groups(log, 1)
        disk.fail("sync", errno.EIO)
        with pytest.raises(LogFailed):
            log.close()
        append(reopen(disk))
        disk.power_loss(Random(seed))
        assert reopen(disk).durable_sequence >= 1


def test_a_group_that_no_longer_fits_goes_to_the_next_segment(disk: SimDisk) -> None:
    log = create(disk)
    while log.room_bytes >= 50 * 8:
        append(log)
    assert segments(disk) == [1]
    append(log)
    assert segments(disk) == [1, log.next_sequence - 1]
    append_groups(log, 20)
    assert len(segments(disk)) > 3
    assert content(disk, log) == [record(sequence, 50) for sequence in range(1, log.next_sequence)]


def test_a_group_may_fill_a_segment_but_not_pass_it(disk: SimDisk) -> None:
    log = create(disk)
    full = record(1, log.group_bytes_max // 8)
    assert log.append(full, count=1, time_us=0) == 1
    with pytest.raises(AssertionError, match="fits"):
        log.append(record(2, log.group_bytes_max // 8 + 1), count=1, time_us=0)
    log.close()
    assert content(disk, reopen(disk)) == [full]


def test_larger_segments_take_the_place_of_a_tail_without_records(disk: SimDisk) -> None:
    """Two segments cannot begin with the same sequence: they would have one name. A reader that has the old one open goes on."""
    create(disk).close()
    log = FileLog.open(FOLDER, disk=disk, segment_bytes=4 * STEP)
    with LogReader(FOLDER, disk=disk) as reader:
        large = record(1, log.group_bytes_max // 8)
        log.append(large, count=1, time_us=0)
        append_groups(log, 1)
        assert [bytes(group.records) for group in reader.read(2)] == [large, record(2, 50)]
    assert segments(disk) == [1, 2]


@pytest.mark.parametrize(("payload", "count"), [(record(1), 2), (record(1) + record(2), 1), (record(1)[:-8], 1), (b"", 0)])
def test_a_wrong_count_would_number_everything_after_it_wrongly(disk: SimDisk, payload: bytes, count: int) -> None:
    log = create(disk)
    with pytest.raises(AssertionError):
        log.append(payload, count=count, time_us=0)
    assert append(log) == 1


def test_an_append_uses_the_segment_that_was_prepared(disk: SimDisk) -> None:
    """No preallocation is left for the hot path: a disk that can create nothing more does not matter."""
    log = create(disk)
    prepared = [log.next_is_prepared]
    log.prepare_next()
    log.prepare_next()
    prepared.append(log.next_is_prepared)
    disk.fail("create", errno.EIO)
    while len(segments(disk)) == 1:
        append(log)
    prepared.append(log.next_is_prepared)
    assert prepared == [False, True, False]


def test_the_next_segment_may_be_prepared_beside_the_writer(tmp_path: Path) -> None:
    """On a real disk: one thread prepares while the other appends, syncs and switches."""
    done = threading.Event()
    with FileLog.create(tmp_path, segment_bytes=STEP) as log:

        def prepare() -> None:
            while not done.is_set():
                log.prepare_next()

        thread = threading.Thread(target=prepare)
        thread.start()
        for _ in range(40):
            append(log, 5)
            log.sync()
        done.set()
        thread.join()
    with FileLog.open(tmp_path, segment_bytes=STEP) as log:
        assert log.durable_sequence == 200


def test_a_full_disk_is_met_while_preparing_and_changes_nothing(disk: SimDisk) -> None:
    log = create(disk)
    append_groups(log, 1)
    disk.capacity_bytes = STEP + 1000
    before = disk.contents()
    with pytest.raises(DiskFull, match="4096 bytes wanted"):
        log.prepare_next()
    assert disk.contents() == before, "the part that was written is gone again"
    while log.room_bytes >= 50 * 8:
        append(log)
    log.sync()
    before, next_sequence = disk.contents(), log.next_sequence
    for _ in range(2):
        with pytest.raises(DiskFull):
            append(log)
    assert (disk.contents(), log.next_sequence, log.durable_sequence) == (before, next_sequence, next_sequence - 1)
    disk.capacity_bytes = None
    assert append(log) == next_sequence
    log.close()
    assert reopen(disk).durable_sequence == next_sequence


def test_a_full_disk_refuses_creation_and_mending_and_loses_nothing(disk: SimDisk) -> None:
    disk.capacity_bytes = STEP - 1
    with pytest.raises(DiskFull):
        create(disk)
    disk.capacity_bytes = STEP
    log = create(disk)
    append_groups(log, 2)
    before = disk.contents()
    with pytest.raises(DiskFull):
        reopen(disk)
    assert disk.contents() == before
    disk.capacity_bytes = 2 * STEP
    assert reopen(disk).durable_sequence == 2


def test_a_prepared_segment_makes_room_for_mending(disk: SimDisk) -> None:
    """It is dropped at the start: so a log that crashes on a full disk with it comes back."""
    disk.capacity_bytes = 2 * STEP
    log = create(disk)
    log.prepare_next()
    append_groups(log, 2)
    assert reopen(disk).durable_sequence == 2


def fill(disk: SimDisk, segment_count: int) -> FileLog:
    log = create(disk)
    while len(segments(disk)) < segment_count:
        append(log)
    log.sync()
    return log


def test_pruning_removes_only_closed_segments_that_are_wholly_before(disk: SimDisk) -> None:
    log = fill(disk, 4)
    first, second, third, fourth = segments(disk)
    assert log.prune(second - 1) == []
    assert log.prune(third - 1) == [f"{first:020d}.seg"]
    assert log.first_sequence == second
    assert log.prune(1 << 40) == [f"{second:020d}.seg", f"{third:020d}.seg"]
    assert segments(disk) == [fourth]
    assert content(disk, log) == [record(sequence, 50) for sequence in range(fourth, log.next_sequence)]
    log.close()
    assert reopen(disk).first_sequence == fourth


def test_pruning_goes_on_only_once_the_last_removal_is_durable(disk: SimDisk) -> None:
    """Or a crash could bring back an older segment without the one after it."""
    log = fill(disk, 4)
    before = segments(disk)
    disk.fail("sync_directory", errno.EIO)
    with pytest.raises(LogFailed):
        log.prune(1 << 40)
    assert segments(disk) == before[1:]


def test_an_archive_gets_verified_copies_that_can_be_read(disk: SimDisk) -> None:
    log = fill(disk, 4)
    originals = disk.contents()
    fourth = segments(disk)[-1]
    assert archive_segments(FOLDER, fourth, ARCHIVE, disk=disk) == fourth
    removed = log.prune(fourth)
    assert len(removed) == 3
    disk.power_loss(Random(0))
    copies = disk.contents()
    for name in removed:
        assert copies[f"archive/{name}"] == originals[f"log/{name}"]
        assert f"log/{name}" not in copies
    with LogReader(Path("/archive"), disk=disk) as reader:
        archived = [bytes(one) for group in reader.read(fourth - 1) for one in split_records(group.records)]
    assert archived == [record(sequence, 50) for sequence in range(1, fourth)]


def test_a_segment_that_cannot_be_archived_stays_and_the_log_goes_on(disk: SimDisk) -> None:
    log = fill(disk, 3)
    before = segments(disk)
    disk.fail("rename", errno.EIO)
    with pytest.raises(LogNotArchived):
        archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk)
    disk.capacity_bytes = sum(map(len, disk.contents().values())) - 1
    with pytest.raises(DiskFull):
        archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk)
    assert segments(disk) == before
    disk.capacity_bytes = None
    append_groups(log, 1)
    assert archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk) == before[-1]


def test_archiving_ends_when_it_is_to_stop(disk: SimDisk) -> None:
    fill(disk, 3)
    first, second, _ = segments(disk)
    asked = iter([False, True])
    assert archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk, stops=lambda: next(asked)) == second
    assert [name for name in disk.contents() if name.startswith("archive/")] == [f"archive/{first:020d}.seg"]


def test_what_the_archive_has_is_never_written_over(disk: SimDisk) -> None:
    """The same segment again is fine; another log's under its name may be the only copy of that."""
    fill(disk, 3)
    first = f"{segments(disk)[0]:020d}.seg"
    assert archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk) == segments(disk)[-1]
    assert archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk) == segments(disk)[-1]
    foreign = bytes(len(disk.contents()[f"archive/{first}"]))
    disk.overwrite(ARCHIVE / first, foreign)
    with pytest.raises(LogNotArchived, match="is not this segment"):
        archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk)
    assert disk.contents()[f"archive/{first}"] == foreign


def test_the_segment_that_is_written_meanwhile_is_not_taken_for_archived(disk: SimDisk) -> None:
    """The log may go on to its next segment while older ones are copied: what was its last then is in no archive yet."""
    log = fill(disk, 3)
    last = segments(disk)[-1]

    def goes_on() -> bool:
        while segments(disk)[-1] == last:
            append_groups(log, 1)
        return False

    archived_to = archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk, stops=goes_on)
    log.prune(archived_to)
    assert segments(disk)[0] == last


@pytest.mark.parametrize("seed", range(12))
def test_a_copy_that_was_found_is_as_durable_as_one_that_was_made(disk: SimDisk, seed: int) -> None:
    """Whoever made it may have been cut short before its name was."""
    fill(disk, 3)
    disk.make_directory(ARCHIVE)
    first = segments(disk)[0]
    name = f"{first:020d}.seg"
    content = disk.contents()[f"log/{name}"]
    with closing(disk.create(ARCHIVE / name)) as copy:
        copy.pwrite(content, 0)
    archive_segments(FOLDER, segments(disk)[1], ARCHIVE, disk=disk)
    disk.power_loss(Random(seed))
    assert disk.contents()[f"archive/{name}"] == content


def test_a_damaged_segment_is_not_archived_over_a_good_one(disk: SimDisk) -> None:
    fill(disk, 3)
    name = f"log/{segments(disk)[0]:020d}.seg"
    damaged = bytearray(disk.contents()[name])
    damaged[1000] ^= 1
    disk.overwrite(Path("/") / name, bytes(damaged))
    with pytest.raises(LogDamaged):
        archive_segments(FOLDER, 1 << 40, ARCHIVE, disk=disk)
    assert not any(file.startswith("archive/") for file in disk.contents())
    assert len(segments(disk)) == 3
