"""
The log against crashes: power loss at any moment, of which the disk keeps what it likes, and kill -9.

Each history is played from a seed, on a disk in memory, beside a list of the records that were appended. After every crash:
what sync had returned for is there, what is there was appended, in order and without a gap, and the log goes on.
"""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.support.log_records import record
from zerosum.log.errors import LogBehindFollower, LogError, LogFailed
from zerosum.log.file_log import FileLog
from zerosum.log.layout import split_records
from zerosum.log.reader import LogReader
from zerosum.sim.disk import SimDisk

FOLDER = Path("/data/log")
SEEDS = 120
STEPS = 60


class History:
    """One log's life, with the list that it must agree with."""

    def __init__(self, seed: int, disk: SimDisk) -> None:
        self.rng = Random(seed)
        self.disk = disk
        self.appended: list[bytes] = []  # the record of sequence n is at n - 1
        self.durable = 0
        self.crashes = 0
        self.log = FileLog.create(FOLDER, disk=disk, segment_bytes=self.segment_bytes())
        self.follower = LogReader(FOLDER, disk=disk)
        self.followed = 0

    def segment_bytes(self) -> int:
        return self.rng.choice([4096, 8192, 12288])

    def run(self, steps: int) -> None:
        actions = [self.append] * 8 + [self.sync] * 5 + [self.follow, self.prepare, self.stop_cleanly, self.prune]
        actions += [self.power_loss, self.kill, self.fail_and_crash, self.fail_and_crash]
        for _ in range(steps):
            self.rng.choice(actions)()
        self.power_loss()
        self.sync()
        self.follow()
        assert self.followed == len(self.appended)

    def append(self) -> None:
        words = self.rng.choice([2, 3, 9, 70, 140])
        count = self.rng.randint(1, 3)
        group = [record(len(self.appended) + 1 + place, words) for place in range(count)]
        self.appended += group  # first: a write that fails may still reach the disk
        last = self.log.append(b"".join(group), count=count, time_us=len(self.appended))
        assert last == len(self.appended)
        self.durable = self.log.durable_sequence  # a switch of segments syncs

    def sync(self) -> None:
        self.durable = self.log.sync()
        assert self.durable == len(self.appended)

    def prepare(self) -> None:
        self.log.prepare_next()

    def prune(self) -> None:
        self.log.prune(self.rng.randint(1, self.followed + 1))

    def follow(self) -> None:
        """A follower applies what is durable, across every restart of the writer."""
        for group in self.follower.read(self.durable):
            for one in split_records(group.records):
                assert bytes(one) == self.appended[self.followed]
                self.followed += 1
        assert self.followed == self.durable

    def stop_cleanly(self) -> None:
        self.log.close()
        self.durable = len(self.appended)
        self.reopen()
        assert self.log.recovery.clean

    def power_loss(self) -> None:
        self.disk.power_loss(self.rng)
        self.restart()

    def kill(self) -> None:
        self.disk.kill()
        self.restart()

    def fail_and_crash(self) -> None:
        """Something fails in the middle of work, or of mending a log: the process ends, with or without the power."""
        self.fail_something()
        try:
            for action in self.rng.choices([self.append, self.sync, self.prepare, self.prune], k=6):
                action()
        except LogFailed:
            with pytest.raises(LogFailed):
                self.log.sync()
        self.rng.choice([self.power_loss, self.kill])()

    def fail_something(self) -> None:
        operation = self.rng.choice(["pwrite", "sync", "rename", "create", "unlink", "sync_directory"])
        self.disk.fail(operation, errno.EIO, after=self.rng.randrange(4))

    def restart(self) -> None:
        self.crashes += 1
        if self.rng.random() < 0.3:
            self.fail_something()
            try:
                self.reopen()
            except LogFailed:
                self.rng.choice([self.power_loss, self.kill])()
            self.disk.heal()
            return
        self.reopen()

    def reopen(self) -> None:
        self.log = FileLog.open(FOLDER, disk=self.disk, segment_bytes=self.segment_bytes(), must_reach=self.followed)
        last = self.log.next_sequence - 1
        assert self.durable <= last <= len(self.appended), "nothing synced is lost, nothing is invented"
        del self.appended[last:]
        assert self.log.durable_sequence == last
        assert self.log.first_sequence <= self.followed + 1
        with LogReader(FOLDER, after_sequence=self.log.first_sequence - 1, disk=self.disk) as reader:
            kept = [bytes(one) for group in reader.read(last) for one in split_records(group.records)]
        assert kept == self.appended[self.log.first_sequence - 1 :]
        self.durable = last
        self.follower = LogReader(FOLDER, after_sequence=self.followed, disk=self.disk)


@pytest.mark.parametrize("seed", range(0, SEEDS, 10))
def test_what_was_synced_survives_every_crash(seed: int) -> None:
    """Invariant 3 of the exchange: nothing acknowledged is lost. A failure names its seed."""
    crashes = 0
    for one in range(seed, seed + 10):
        history = History(one, SimDisk())
        try:
            history.run(STEPS)
        except BaseException as error:
            error.add_note(f"seed {one}")
            raise
        crashes += history.crashes
    assert crashes > 100


@pytest.mark.parametrize("lie", ["sync_works", "directory_sync_works"])
def test_a_disk_that_does_not_sync_is_found_out(lie: str) -> None:
    """The test above can fail: on a disk whose syncs do nothing, the same histories lose records, and it notices."""
    found_out = 0
    for seed in range(20):
        try:
            History(seed, SimDisk(**{lie: False})).run(STEPS)
        except (AssertionError, LogError):
            found_out += 1
    assert found_out > 15


WRITER = """
import sys
from pathlib import Path
from tests.support.log_records import records
from zerosum.log.file_log import FileLog

log = FileLog.open(Path(sys.argv[1]), segment_bytes=65536)
while True:
    log.append(records(log.next_sequence, 7, words=20), count=7, time_us=0)
    if not log.next_is_prepared:
        log.prepare_next()
    print(log.sync(), flush=True)
"""


def test_kill_9_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    """A real process on a real disk, killed in the middle of its work, again and again."""
    FileLog.create(tmp_path, segment_bytes=65536).close()
    rng = Random(9)
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    printed = 0
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True, env=environment)
        assert writer.stdout is not None
        for _ in range(rng.randint(1, 400)):
            printed = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        printed = max([printed, *map(int, writer.stdout.read().splitlines(keepends=False))])
        writer.wait()
        writer.stdout.close()
    with FileLog.open(tmp_path, must_reach=printed) as log, LogReader(tmp_path) as reader:
        assert printed > 1000
        last = log.durable_sequence
        kept = [bytes(one) for group in reader.read(last) for one in split_records(group.records)]
        assert kept == [record(sequence, 20) for sequence in range(1, last + 1)]


def test_a_log_put_back_from_an_older_copy_is_not_served() -> None:
    """The follower has seen further: other records under the same numbers would split it from the log for ever."""
    disk = SimDisk()
    history = History(1, disk)
    history.append()
    history.sync()
    older = disk.copy()
    history.append()
    history.sync()
    history.follow()
    with pytest.raises(LogBehindFollower, match=f"applied up to {history.followed}"):
        FileLog.open(FOLDER, disk=older, must_reach=history.followed)
