"""What every disk promises: the real one and the one in memory that other tests crash. And what a crash may do to the latter."""

import errno
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.support.log_records import records
from zerosum.log.disk import Disk, OsDisk, is_full
from zerosum.log.errors import LogInUse
from zerosum.log.file_log import FileLog
from zerosum.sim.disk import SimDisk


@pytest.fixture(params=["os", "power loss"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return OsDisk() if request.param == "os" else SimDisk()


@pytest.fixture
def folder(disk: Disk, tmp_path: Path) -> Path:
    disk.make_directory(tmp_path / "a" / "b")
    return tmp_path / "a" / "b"


def test_what_is_written_is_read(disk: Disk, folder: Path) -> None:
    file = disk.create(folder / "f")
    file.pwrite(b"hello", 3)
    file.pwrite(b"HE", 3)
    file.sync()
    assert (file.pread(100, 0), file.pread(2, 4), file.pread(9, 8), file.size()) == (b"\0\0\0HEllo", b"El", b"", 8)
    file.close()
    again = disk.open(folder / "f", writable=True)
    again.pwrite(b"!", 8)
    assert again.pread(9, 0) == b"\0\0\0HEllo!"
    again.close()


def test_the_real_disk_asks_the_system_for_each_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk in memory promises at a sync, only the system can keep: the log's files by their data, folders by their names."""
    asked: list[tuple[str, int]] = []

    def watch(name: str) -> None:
        real = getattr(os, name)

        def watched(fd: int) -> None:
            asked.append((name, os.fstat(fd).st_ino))
            real(fd)

        monkeypatch.setattr(os, name, watched)

    watch("fdatasync")
    watch("fsync")
    disk = OsDisk()
    disk.make_directory(tmp_path / "a" / "b")
    assert asked == [("fsync", folder.stat().st_ino) for folder in (tmp_path, tmp_path / "a")]
    asked.clear()
    with closing(disk.create(tmp_path / "a" / "f")) as file:
        file.pwrite(b"x", 0)
        assert asked == []
        file.sync()
    assert asked == [("fdatasync", (tmp_path / "a" / "f").stat().st_ino)]
    asked.clear()
    with FileLog.create(tmp_path / "log", segment_bytes=1 << 16) as log:
        (segment,) = (tmp_path / "log").glob("*.seg")
        asked.clear()
        for number in range(1, 4):
            log.append(records(number, 1), count=1, time_us=0)
            assert asked == []
            log.sync()
            assert asked == [("fdatasync", segment.stat().st_ino)]
            asked.clear()


def test_names_are_sorted_and_follow_what_is_done(disk: Disk, folder: Path) -> None:
    for name in "cab":
        disk.create(folder / name).close()
    disk.rename(folder / "a", folder / "b")
    disk.unlink(folder / "c")
    disk.sync_directory(folder)
    assert disk.names(folder) == ["b"]


def test_what_is_not_there_or_is_already_says_so(disk: Disk, folder: Path) -> None:
    disk.create(folder / "f").close()
    with pytest.raises(FileExistsError):
        disk.create(folder / "f")
    with pytest.raises(FileNotFoundError):
        disk.open(folder / "g")
    with pytest.raises(FileNotFoundError):
        disk.names(folder / "nowhere")
    with pytest.raises(FileNotFoundError):
        disk.unlink(folder / "g")


def test_a_lock_is_held_once_and_again_after_its_release(disk: Disk, folder: Path) -> None:
    lock = disk.lock(folder / "lock")
    with pytest.raises(LogInUse) as refused:
        disk.lock(folder / "lock")
    assert refused.value.pid == os.getpid()
    lock.release()
    disk.lock(folder / "lock").release()


def test_a_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    program = "import sys, pathlib; from zerosum.log.disk import OsDisk\n"
    program += "held = OsDisk().lock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    source = str(Path(__file__).parents[3] / "src")
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": source}
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LogInUse, match=f"in use by process {holder.pid}") as refused:
            OsDisk().lock(tmp_path / "lock")
        assert refused.value.pid == holder.pid
        holder.kill()
    OsDisk().lock(tmp_path / "lock").release()  # the system lets go of a dead process's lock


def test_full_is_told_from_other_failures() -> None:
    assert [is_full(OSError(code, "")) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO)] == [True, True, False]


def power_loss_disk(synced: bytes, unsynced: bytes) -> SimDisk:
    disk = SimDisk()
    disk.make_directory(Path("/d"))
    file = disk.create(Path("/d/f"))
    file.pwrite(synced, 0)
    file.sync()
    disk.sync_directory(Path("/d"))
    file.pwrite(unsynced, 0)
    return disk


def test_power_loss_keeps_what_is_synced_and_any_sectors_of_the_rest() -> None:
    """All outcomes that the disk may show are met: all, nothing, and each sector without the other."""
    seen = set()
    for seed in range(100):
        disk = power_loss_disk(b"o" * 1024, b"n" * 1024)
        disk.power_loss(Random(seed))
        content = disk.contents()["d/f"]
        seen.add((content[:512], content[512:]))
    old, new = b"o" * 512, b"n" * 512
    assert seen == {(old, old), (old, new), (new, old), (new, new)}


def test_power_loss_keeps_the_first_few_directory_operations() -> None:
    seen = set()
    for seed in range(100):
        disk = power_loss_disk(b"1", b"1")
        disk.create(Path("/d/g"))
        disk.rename(Path("/d/g"), Path("/d/h"))
        disk.unlink(Path("/d/f"))
        disk.power_loss(Random(seed))
        seen.add(tuple(disk.names(Path("/d"))))
    assert seen == {("f",), ("f", "g"), ("f", "h"), ("h",)}


def test_a_failed_sync_leaves_in_the_cache_what_the_platters_never_get() -> None:
    disk = power_loss_disk(b"old", b"new")
    file = disk.open(Path("/d/f"), writable=True)
    disk.fail("sync", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.sync()
    assert file.pread(3, 0) == b"new"
    disk.power_loss(Random(0))
    assert disk.contents()["d/f"] == b"old"


def test_a_full_disk_takes_a_part() -> None:
    disk = power_loss_disk(b"12345678", b"")
    disk.capacity_bytes = 10
    file = disk.open(Path("/d/f"), writable=True)
    with pytest.raises(OSError, match="No space left"):
        file.pwrite(b"abcd", 8)
    assert disk.contents()["d/f"] == b"12345678ab"
    file.pwrite(b"AB", 0)  # no growth
    with pytest.raises(OSError, match="No space left"):
        disk.create(Path("/d/g"))
