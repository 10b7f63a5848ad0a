"""
The few things the log asks of a disk, as a seam: the real one here, one that loses power in src/zerosum/sim/disk.py.

Promises that callers rely on:
  - pwrite writes everything or raises; it is durable only after sync
  - a created, renamed or unlinked name is durable only after sync_directory
"""

import errno
import fcntl
import os
from pathlib import Path
from typing import Protocol, final

from zerosum.log.errors import LogInUse


class DiskFile(Protocol):
    """One open file."""

    def pread(self, count: int, offset: int) -> bytes:
        """`count` bytes from `offset`; fewer only where the file ends."""

    def pwrite(self, data: bytes, offset: int) -> None:
        """All of `data` at `offset`, or OSError with an unknown part of it written."""

    def sync(self) -> None:
        """Make what was written, and the size, survive a power loss."""

    def size(self) -> int: ...

    def close(self) -> None: ...


class DirectoryLock(Protocol):
    """Held until released, or until the process ends."""

    def release(self) -> None: ...


class Disk(Protocol):
    """Files and directories."""

    def make_directory(self, path: Path) -> None:
        """Make it and its parents, durably; one that exists is fine."""

    def names(self, directory: Path) -> list[str]:
        """What is in it, sorted. FileNotFoundError when there is no such directory."""

    def create(self, path: Path) -> DiskFile:
        """A new empty file, writable. FileExistsError when there is one."""

    def open(self, path: Path, *, writable: bool = False) -> DiskFile: ...

    def rename(self, old: Path, new: Path) -> None:
        """Within one directory, replacing `new`."""

    def unlink(self, path: Path) -> None: ...

    def sync_directory(self, path: Path) -> None: ...

    def lock(self, path: Path) -> DirectoryLock:
        """Lock by the file `path`, made if absent. LogInUse when somebody holds it."""


def holder_of(lock: int) -> int | None:
    """The process id in a lock's file."""
    text = os.pread(lock, 32, 0).strip()
    return int(text) if text.isdigit() else None


def is_full(error: OSError) -> bool:
    """Whether it says that there is no room: by the disk itself or by a quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@final
class OsFile:
    """A file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pread(self, count: int, offset: int) -> bytes:
        data = os.pread(self._fd, count, offset)
        if len(data) == count or not data:
            return data
        # A short read: the file ends here, or the kernel stopped at its limit of 2 GiB a call.
        parts = [data]
        got = len(data)
        while got < count and (data := os.pread(self._fd, count - got, offset + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pwrite(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._fd, data, offset)
        rest = memoryview(data)
        while written < len(rest):
            written += os.pwrite(self._fd, rest[written:], offset + written)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


@final
class OsLock:
    """A held flock. The file stays: unlinking it would let two holders lock two different files of one name."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        os.close(self._fd)


class OsDisk:
    """The operating system's."""

    def make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self.make_directory(path.parent)
            path.mkdir(exist_ok=True)
            self.sync_directory(path.parent)

    def names(self, directory: Path) -> list[str]:
        return sorted(entry.name for entry in directory.iterdir())

    def create(self, path: Path) -> OsFile:
        return OsFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))

    def open(self, path: Path, *, writable: bool = False) -> OsFile:
        return OsFile(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: Path) -> OsLock:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(fd, b"%10d\n" % os.getpid(), 0)  # one width: written over the last one, it needs no room on a full disk
        except BlockingIOError:
            holder = holder_of(fd)
            os.close(fd)
            raise LogInUse(path.parent, holder) from None
        except BaseException:
            os.close(fd)
            raise
        return OsLock(fd)
