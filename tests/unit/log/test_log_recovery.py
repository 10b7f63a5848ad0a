"""What opening a log keeps, drops and refuses. A refusal names file, offset and sequence, and changes nothing."""

import errno
import hashlib
import struct
from pathlib import Path
from zlib import crc32

import pytest

from tests.support.log_records import record
from zerosum.log.errors import LogBehindFollower, LogDamaged, LogTooNew
from zerosum.log.file_log import FileLog
from zerosum.log.layout import (
    DIGEST_BYTES,
    FORMAT,
    GROUP_HEADER_BYTES,
    GROUP_OVERHEAD_BYTES,
    SEGMENT_HEADER_BYTES,
    check_seed,
    pack_segment_header,
    parse_segment_header,
    split_records,
)
from zerosum.log.reader import LogReader
from zerosum.log.recovery import SECTOR_BYTES, survey
from zerosum.sim.disk import SimDisk

FOLDER = Path("/log")
SEGMENT_BYTES = 8192
WORDS = 110
GROUP_BYTES = GROUP_OVERHEAD_BYTES + WORDS * 8


def offset_of(place: int) -> int:
    """Where the group at `place` (0, 1, 2 ...) of a segment begins, when each holds one record."""
    return SEGMENT_HEADER_BYTES + place * GROUP_BYTES


class Bench:
    """A log on a disk whose bytes can be changed behind its back."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.log = FileLog.create(FOLDER, disk=self.disk, segment_bytes=SEGMENT_BYTES)

    def append(self, count: int = 1, *, sync: bool = True) -> None:
        for _ in range(count):
            self.log.append(record(self.log.next_sequence, WORDS), count=1, time_us=0)
            if sync:
                self.log.sync()

    def fill(self, segment_count: int) -> None:
        while len(self.segments()) < segment_count:
            self.append()

    def segments(self) -> list[Path]:
        return [FOLDER / name for name in self.disk.names(FOLDER) if name.endswith(".seg")]

    def bytes_of(self, path: Path) -> bytearray:
        return bytearray(self.disk.contents()[str(path)[1:]])

    def change(self, path: Path, offset: int, new: bytes) -> None:
        content = self.bytes_of(path)
        content[offset : offset + len(new)] = new
        self.disk.overwrite(path, bytes(content))

    def flip(self, path: Path, offset: int) -> None:
        self.change(path, offset, bytes([self.bytes_of(path)[offset] ^ 0x40]))

    def kill(self) -> None:
        self.disk.kill()

    def open(self, *, must_reach: int = 0, verify_after: int = 0) -> FileLog:
        self.log = FileLog.open(FOLDER, disk=self.disk, segment_bytes=SEGMENT_BYTES, must_reach=must_reach, verify_after=verify_after)
        return self.log

    def refused(self, *, verify_after: int = 0) -> LogDamaged:
        """The error with which opening refuses; nothing was changed, and asking again says the same."""
        before = self.disk.contents()
        with pytest.raises(LogDamaged) as first:
            self.open(verify_after=verify_after)
        with pytest.raises(LogDamaged) as again:
            self.open(verify_after=verify_after)
        assert self.disk.contents() == before
        assert str(again.value) == str(first.value)
        return first.value

    def holds(self) -> list[int]:
        """The sequences in the log, by their records."""
        with LogReader(FOLDER, disk=self.disk) as reader:
            kept = [bytes(one) for group in reader.read(self.log.durable_sequence) for one in split_records(group.records)]
        assert kept == [record(sequence + 1, WORDS) for sequence in range(len(kept))]
        return list(range(1, len(kept) + 1))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_clean_stop_is_reported_as_such(bench: Bench) -> None:
    bench.append(3)
    bench.log.close()
    report = bench.open().recovery
    assert (report.clean, report.last_sequence, report.dropped_bytes) == (True, 3, 0)
    assert str(report) == "/log/00000000000000000001.seg: clean, up to sequence 3"


def test_after_a_kill_the_valid_groups_are_kept_synced_or_not(bench: Bench) -> None:
    bench.append(2)
    bench.append(2, sync=False)
    bench.kill()
    report = bench.open().recovery
    assert (report.clean, report.last_sequence, report.dropped_bytes) == (False, 4, 0)
    assert str(report).endswith("not stopped cleanly, kept up to sequence 4, nothing dropped")
    assert bench.holds() == [1, 2, 3, 4]


def tear(bench: Bench, place: int, lost_sector: int) -> None:
    """Of the sectors that the group at `place` shares, the one at `lost_sector` was never written."""
    (path,) = bench.segments()
    begin, end = offset_of(place), offset_of(place + 1)
    first = begin // SECTOR_BYTES + lost_sector
    lost_from, lost_until = max(begin, first * SECTOR_BYTES), min(end, (first + 1) * SECTOR_BYTES)
    assert lost_from < lost_until
    bench.change(path, lost_from, bytes(lost_until - lost_from))


@pytest.mark.parametrize(("lost_sector", "groups_seen"), [(0, 0), (1, 1), (2, 1)])
def test_a_torn_group_at_the_end_is_dropped_and_reported(bench: Bench, lost_sector: int, groups_seen: int) -> None:
    bench.append(2)
    bench.append(1, sync=False)
    tear(bench, 2, lost_sector)
    bench.kill()
    report = bench.open().recovery
    assert (report.clean, report.last_sequence, report.tail_bytes) == (False, 2, offset_of(2))
    assert 0 < report.dropped_bytes <= GROUP_BYTES
    assert (report.dropped_groups, report.dropped_up_to) == (groups_seen, 3 * groups_seen)
    assert f"dropped {report.dropped_bytes} bytes" in str(report)
    assert bench.holds() == [1, 2]
    assert not any(bench.bytes_of(bench.segments()[0])[offset_of(2) :]), "zeros follow, nothing of the torn group"
    bench.append(2)
    bench.kill()
    assert bench.open().recovery.dropped_bytes == 0


def test_whole_groups_behind_a_torn_one_go_with_it_when_neither_was_synced(bench: Bench) -> None:
    """The disk may write the later one first. Keeping it would leave a gap."""
    bench.append(1)
    bench.append(3, sync=False)
    tear(bench, 1, 1)
    bench.kill()
    report = bench.open().recovery
    assert (report.last_sequence, report.dropped_groups, report.dropped_up_to) == (1, 3, 4)
    assert bench.holds() == [1]


def test_a_hole_that_a_later_group_says_was_synced_is_damage(bench: Bench) -> None:
    """It looks torn, but the group behind it was written after the sync: something synced was lost."""
    bench.append(3)
    tear(bench, 1, 1)
    bench.kill()
    error = bench.refused()
    assert (error.file, error.offset, error.sequence) == (bench.segments()[0], offset_of(1), 2)
    assert f"the group at offset {offset_of(2)} was written after this place had been synced" in error.found


def test_later_groups_that_are_damaged_too_still_prove_it_by_their_header(bench: Bench) -> None:
    bench.append(3)
    tear(bench, 1, 1)
    bench.flip(bench.segments()[0], offset_of(3) - 1)
    bench.kill()
    assert bench.refused().sequence == 2


@pytest.mark.parametrize("at", [0, 5, GROUP_HEADER_BYTES + 20, GROUP_BYTES - DIGEST_BYTES, GROUP_BYTES - 1])
def test_a_flipped_byte_in_the_last_synced_group_is_not_taken_for_a_torn_write(bench: Bench, at: int) -> None:
    """A torn group misses a sector. This one was written whole, and may have been acknowledged: dropping it would lose it."""
    bench.append(3)
    bench.flip(bench.segments()[0], offset_of(2) + at)
    bench.kill()
    error = bench.refused()
    assert (error.offset, error.sequence) == (offset_of(2), 3)
    assert "no crash cut it short" in error.found


def test_any_flipped_byte_before_a_seal_is_refused(bench: Bench) -> None:
    bench.append(3)
    bench.log.close()
    bench.flip(bench.segments()[0], offset_of(2) + 300)
    assert bench.refused().sequence == 3


@pytest.mark.parametrize("segment", [0, 1])
def test_a_flipped_byte_in_a_closed_segment_is_refused(bench: Bench, segment: int) -> None:
    bench.fill(3)
    path = bench.segments()[segment]
    bench.flip(path, offset_of(4) + 300)
    bench.kill()
    error = bench.refused()
    assert (error.file, error.offset, error.sequence) == (path, offset_of(4), int(path.stem) + 4)
    assert "does not match its digest" in str(error)


def test_a_segment_that_a_snapshot_covers_is_not_read_through(bench: Bench) -> None:
    """But where it meets the next one is looked at all the same."""
    bench.fill(3)
    first, second, _ = bench.segments()
    bench.flip(first, offset_of(4) + 300)
    bench.kill()
    bench.open(verify_after=int(second.stem) - 1).close()
    bench.refused(verify_after=int(second.stem) - 2)
    bench.flip(first, SEGMENT_BYTES - 1)
    assert bench.refused(verify_after=int(second.stem) - 1).file == first


def test_a_missing_segment_is_refused(bench: Bench) -> None:
    bench.fill(4)
    _, second, third, fourth = bench.segments()
    bench.append(1)
    bench.kill()
    for missing, follows in ((fourth, third), (second, second)):
        bench.disk.unlink(missing)
        error = bench.refused()
        assert error.file == missing, f"{missing} should follow {follows}"
        assert "no such file" in error.found


def test_without_its_first_segments_a_log_counts_as_pruned(bench: Bench) -> None:
    bench.fill(3)
    first, second, _ = bench.segments()
    bench.disk.unlink(first)
    bench.kill()
    assert bench.open().first_sequence == int(second.stem)


def test_a_segment_of_another_log_is_refused(bench: Bench) -> None:
    bench.fill(3)
    other = Bench()
    other.fill(3)
    middle = bench.segments()[1]
    bench.disk.overwrite(middle, bytes(other.bytes_of(middle)))
    bench.kill()
    assert "a segment of another log" in bench.refused().found


def test_a_segment_under_anothers_name_is_refused(bench: Bench) -> None:
    bench.fill(3)
    _, middle, last = bench.segments()
    bench.disk.overwrite(middle, bytes(bench.bytes_of(last)))
    bench.kill()
    assert bench.refused().found == f"a segment that begins with sequence {int(last.stem)}"


def test_a_segment_put_back_from_an_older_copy_is_told_by_the_segments_after_it(bench: Bench) -> None:
    bench.append(2)
    older = bytes(bench.bytes_of(bench.segments()[0]))
    bench.fill(2)
    bench.append(1)
    first = bench.segments()[0]
    bench.disk.overwrite(first, older)
    bench.kill()
    error = bench.refused()
    assert (error.file, error.sequence, error.found) == (first, 3, "no end")


def test_a_log_that_parted_from_its_older_copy_is_refused(bench: Bench) -> None:
    """Same log id, same sequences, other records: only the links tell."""
    bench.append(1)
    fork = Bench()
    fork.disk = bench.disk.copy()
    fork.open()
    for one in (bench, fork):
        one.log.append(record(2 if one is bench else 3, WORDS), count=1, time_us=0)
        one.fill(3)
    middle = bench.segments()[1]
    bench.disk.overwrite(middle, bytes(fork.bytes_of(middle)))
    bench.kill()
    assert bench.refused().found == "a link to another group"


@pytest.mark.parametrize("size", [0, SEGMENT_HEADER_BYTES - 1, SEGMENT_BYTES - 1, SEGMENT_BYTES + 1])
def test_a_file_of_another_size_than_it_was_made_with_is_refused(bench: Bench, size: int) -> None:
    bench.append(2)
    (path,) = bench.segments()
    bench.disk.overwrite(path, bytes(bench.bytes_of(path)).ljust(size, b"\0")[:size])
    bench.kill()
    assert bench.refused().offset == 0


def test_a_place_that_the_disk_cannot_read_is_refused(bench: Bench) -> None:
    bench.append(2)
    bench.kill()
    for reads_before in range(3):
        bench.disk.fail("pread", errno.EIO, after=reads_before)
        with pytest.raises(LogDamaged, match="cannot read it"):
            bench.open()
    assert bench.open().durable_sequence == 2


def later_group(bench: Bench) -> bytes:
    header = parse_segment_header(bytes(bench.bytes_of(bench.segments()[0])))
    assert header is not None
    group = b"ZSGR" + struct.pack("<HH", FORMAT + 1, 200) + b"x" * 188
    return group + struct.pack("<I", crc32(group, check_seed(header.log_id)))


def test_a_later_format_is_refused_as_such_not_as_damage(bench: Bench) -> None:
    bench.append(2)
    bench.change(bench.segments()[0], offset_of(2), later_group(bench))
    bench.kill()
    with pytest.raises(LogTooNew, match=f"format {FORMAT + 1} at offset {offset_of(2)}"):
        bench.open()


def test_a_segment_of_a_later_format_is_refused_as_such(bench: Bench) -> None:
    (path,) = bench.segments()
    header = b"ZSSG" + struct.pack("<HH", FORMAT + 1, 96) + bytes(56)
    bench.change(path, 0, header + hashlib.sha256(header).digest())
    bench.kill()
    with pytest.raises(LogTooNew):
        bench.open()


def test_a_segment_without_an_end_is_refused_once_the_next_one_holds_records(bench: Bench) -> None:
    bench.fill(2)
    first, _ = bench.segments()
    bench.change(first, SEGMENT_BYTES - GROUP_OVERHEAD_BYTES, bytes(GROUP_OVERHEAD_BYTES))
    bench.kill()
    error = bench.refused()
    assert (error.file, error.offset, error.found) == (first, SEGMENT_BYTES - GROUP_OVERHEAD_BYTES, "no end")


def test_a_crash_in_the_middle_of_a_switch_is_mended(bench: Bench) -> None:
    """The new tail is there and empty, the old one has no end: the end is written as it would have been."""
    bench.fill(2)
    first, second = bench.segments()
    whole = bytes(bench.bytes_of(first))
    kept = int(second.stem) - 1
    bench.change(first, SEGMENT_BYTES - GROUP_OVERHEAD_BYTES, bytes(GROUP_OVERHEAD_BYTES))
    bench.change(second, SEGMENT_HEADER_BYTES, bytes(SEGMENT_BYTES - SEGMENT_HEADER_BYTES))
    bench.kill()
    report = bench.open().recovery
    assert (report.clean, report.last_sequence) == (False, kept)
    assert bytes(bench.bytes_of(first)) == whole
    bench.append(1)
    bench.kill()
    assert bench.open().durable_sequence == kept + 1


def test_a_log_that_ends_before_what_the_follower_has_applied_is_refused_untouched(bench: Bench) -> None:
    bench.append(2)
    bench.append(1, sync=False)
    tear(bench, 2, 1)
    bench.kill()
    before = bench.disk.contents()
    with pytest.raises(LogBehindFollower, match="ends at sequence 2, but the follower has applied up to 3"):
        bench.open(must_reach=3)
    assert bench.disk.contents() == before, "the torn group stays, to be looked at"
    assert bench.open(must_reach=2).durable_sequence == 2


def test_a_survey_only_reads(bench: Bench) -> None:
    """For the auditor: what would opening find?"""
    bench.fill(2)
    bench.append(1, sync=False)
    bench.kill()
    before = bench.disk.contents()
    found = survey(bench.disk, FOLDER)
    assert (found.report.clean, found.report.last_sequence) == (False, bench.log.next_sequence - 1)
    assert bench.disk.contents() == before


def test_the_links_and_numbers_of_whole_groups_are_verified(bench: Bench) -> None:
    """A group that is whole but not the next one cannot come from a crash."""
    bench.append(4)
    (path,) = bench.segments()
    content = bench.bytes_of(path)
    third = bytes(content[offset_of(2) : offset_of(3)])
    bench.change(path, offset_of(1), third)
    bench.kill()
    assert bench.refused().found == "a group that begins with sequence 3"


def test_a_first_segment_that_claims_a_past_is_refused(bench: Bench) -> None:
    (path,) = bench.segments()
    header = parse_segment_header(bytes(bench.bytes_of(path)))
    assert header is not None
    bench.change(path, 0, pack_segment_header(header._replace(previous=b"x" * 32)))
    bench.kill()
    assert bench.refused().expected == "the log's beginning"
