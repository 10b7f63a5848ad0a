"""
The file log against a list: whatever is done to it, it gives the list's records, or says clearly that it cannot.

Damage (flipped bytes, lost sectors, cut files) is done to a copy: opening that is refused with an error that says where, or
gives a beginning of the list; and it gives less than was synced only where sectors of the tail were lost as in a crash.
"""

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.log_records import record
from zerosum.log.errors import LogDamaged, LogError, LogPruned
from zerosum.log.file_log import FileLog
from zerosum.log.layout import split_records
from zerosum.log.reader import LogReader
from zerosum.log.recovery import survey
from zerosum.sim.disk import SECTOR_BYTES, SimDisk

FOLDER = Path("/log")
SEGMENT_BYTES = 4096


def read_all(disk: SimDisk, after_sequence: int, up_to_sequence: int) -> list[bytes]:
    with LogReader(FOLDER, after_sequence=after_sequence, disk=disk) as reader:
        return [bytes(one) for group in reader.read(up_to_sequence) for one in split_records(group.records)]


class FileLogMachine(RuleBasedStateMachine):
    """Appends, syncs, stops, crashes and pruning, in any order, and damage to copies in between."""

    @initialize(seed=st.integers(0, 1 << 32))
    def create(self, seed: int) -> None:
        self.rng = Random(seed)
        self.disk = SimDisk()
        self.log = FileLog.create(FOLDER, disk=self.disk, segment_bytes=SEGMENT_BYTES)
        self.model: list[bytes] = []
        self.durable = 0

    @rule(count=st.integers(1, 4), words=st.sampled_from([2, 5, 40, 100]))
    def append(self, count: int, words: int) -> None:
        group = [record(len(self.model) + 1 + place, words) for place in range(count)]
        self.model += group
        assert self.log.append(b"".join(group), count=count, time_us=0) == len(self.model)
        self.durable = max(self.durable, self.log.durable_sequence)  # a switch of segments syncs

    @rule()
    def sync(self) -> None:
        self.durable = self.log.sync()
        assert self.durable == len(self.model)

    @rule()
    def stop_and_start(self) -> None:
        self.log.close()
        self.durable = len(self.model)
        self.start()
        assert self.log.recovery.clean

    @rule(power_loss=st.booleans())
    def crash_and_start(self, power_loss: bool) -> None:
        self.disk.power_loss(self.rng) if power_loss else self.disk.kill()
        self.start()

    def start(self) -> None:
        self.log = FileLog.open(FOLDER, disk=self.disk, segment_bytes=SEGMENT_BYTES)
        last = self.log.durable_sequence
        assert self.durable <= last <= len(self.model)
        del self.model[last:]
        self.durable = last

    @precondition(lambda self: self.durable > 0)
    @rule(share=st.floats(0, 1))
    def prune(self, share: float) -> None:
        before = 1 + int(self.durable * share)
        first = self.log.first_sequence
        removed = self.log.prune(before)
        assert first < self.log.first_sequence <= before if removed else self.log.first_sequence == first

    @precondition(lambda self: self.durable > 0)
    @rule(share=st.floats(0, 1))
    def read_from_anywhere(self, share: float) -> None:
        after = int(self.durable * share)
        if after + 1 < self.log.first_sequence:
            with pytest.raises(LogPruned):
                LogReader(FOLDER, after_sequence=after, disk=self.disk)
        else:
            assert read_all(self.disk, after, self.durable) == self.model[after : self.durable]

    @rule(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_a_bit_of_a_copy(self, place: float, bit: int) -> None:
        copy, path, content = self.copy_of_a_segment()
        content[int(place * len(content))] ^= 1 << bit
        copy.overwrite(path, bytes(content))
        assert self.last_of(copy) in (None, *range(self.durable, len(self.model) + 1)), "nothing synced is dropped"

    @rule(place=st.floats(0, 1, exclude_max=True), count=st.integers(1, 4))
    def lose_sectors_of_a_copy(self, place: float, count: int) -> None:
        copy, path, content = self.copy_of_a_segment()
        begin = int(place * len(content)) // SECTOR_BYTES * SECTOR_BYTES
        lost = slice(begin, min(begin + count * SECTOR_BYTES, len(content)))
        content[lost] = bytes(lost.stop - lost.start)
        copy.overwrite(path, bytes(content))
        self.last_of(copy)

    @rule(size=st.integers(0, SEGMENT_BYTES - 1))
    def cut_a_copy(self, size: int) -> None:
        copy, path, content = self.copy_of_a_segment()
        copy.overwrite(path, bytes(content[:size]))
        assert self.last_of(copy) is None

    def copy_of_a_segment(self) -> tuple[SimDisk, Path, bytearray]:
        copy = self.disk.copy()
        path = FOLDER / self.rng.choice([name for name in copy.names(FOLDER) if name.endswith(".seg")])
        return copy, path, bytearray(copy.contents()[str(path)[1:]])

    def last_of(self, copy: SimDisk) -> int | None:
        """Where a damaged copy ends once it is opened, None when it is refused. What it holds is checked."""
        try:
            log = FileLog.open(FOLDER, disk=copy, segment_bytes=SEGMENT_BYTES)
        except LogError:
            return None
        last = log.durable_sequence
        assert read_all(copy, log.first_sequence - 1, last) == self.model[log.first_sequence - 1 : last]
        return last

    @invariant()
    def log_and_list_agree(self) -> None:
        if hasattr(self, "log"):
            assert self.log.next_sequence == len(self.model) + 1
            assert self.log.durable_sequence == self.durable


FileLogMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
TestFileLog = FileLogMachine.TestCase


@pytest.mark.parametrize("sealed", [True, False])
def test_each_flipped_byte_is_detected_or_harmless(sealed: bool) -> None:
    """Of a small log, whole: headers, records, digests, seals, ends and zeros, closed and tail."""
    disk = SimDisk()
    log = FileLog.create(FOLDER, disk=disk, segment_bytes=SEGMENT_BYTES)
    model: list[bytes] = []
    while len(disk.names(FOLDER)) < 3 or log.room_bytes > 1500:
        model.append(record(len(model) + 1, 40))
        log.append(model[-1], count=1, time_us=0)
        log.sync()
    if sealed:
        log.close()
    disk.kill()
    rng = Random(1)
    refused = harmless = 0
    for name in [name for name in disk.names(FOLDER) if name.endswith(".seg")]:
        path = FOLDER / name
        whole = disk.contents()[str(path)[1:]]
        content = bytearray(whole)
        for place in range(len(content)):
            content[place] ^= 1 << rng.randrange(8)
            disk.overwrite(path, bytes(content))
            try:
                report = survey(disk, FOLDER).report
            except LogDamaged:
                refused += 1
            else:
                assert report.last_sequence == len(model), "no record is lost"
                assert read_all(disk, 0, len(model)) == model
                harmless += 1
            content[place] = whole[place]
        disk.overwrite(path, whole)
    assert refused > 6000
    assert 0 < harmless < 2000, "a flip among the zeros that follow"


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(2, 60)), min_size=1, max_size=25), st.data())
@settings(max_examples=60, derandomize=True)
def test_reading_in_any_steps_gives_the_same(groups: list[tuple[int, int]], data: st.DataObject) -> None:
    """However the durable sequence rises, and wherever the reader begins."""
    disk = SimDisk()
    log = FileLog.create(FOLDER, disk=disk, segment_bytes=SEGMENT_BYTES)
    model: list[bytes] = []
    reader: LogReader | None = None
    got: list[bytes] = []
    after = 0
    for count, words in groups:
        group = [record(len(model) + 1 + place, words) for place in range(count)]
        model += group
        log.append(b"".join(group), count=count, time_us=0)
        if data.draw(st.booleans()):
            log.sync()
            if reader is None:
                after = data.draw(st.integers(0, len(model)))
                reader = LogReader(FOLDER, after_sequence=after, disk=disk)
            got += [bytes(one) for part in reader.read(log.durable_sequence) for one in split_records(part.records)]
            assert got == model[after:]
