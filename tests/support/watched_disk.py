"""
A disk around another one, into which a test looks before each operation: to count, to wait, to fail, to take the power away.

    FileLog --pwrite--> WatchedDisk --before(operation)--> returns: the disk below does it
                                                           raises:  the disk below is not asked

Operations may come from several threads. `serial` lets one after the other to the disk below, together with its `before`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, final

from zerosum.log.disk import DirectoryLock, Disk, DiskFile, OsDisk
from zerosum.log.segments import NEXT_NAME


class Operation(NamedTuple):
    """`name` is that of the method of Disk or DiskFile; a file keeps the path that it was opened by."""

    name: str
    path: Path


Before = Callable[[Operation], None]


def passes(operation: Operation) -> None:
    """A disk in good health."""


@final
class WatchedFile:
    def __init__(self, disk: WatchedDisk, file: DiskFile, path: Path) -> None:
        self._disk = disk
        self._file = file
        self._path = path

    def pread(self, count: int, offset: int) -> bytes:
        with self._disk.watched("pread", self._path):
            return self._file.pread(count, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        with self._disk.watched("pwrite", self._path):
            self._file.pwrite(data, offset)

    def sync(self) -> None:
        with self._disk.watched("sync", self._path):
            self._file.sync()

    def size(self) -> int:
        with self._disk.watched("size", self._path):
            return self._file.size()

    def close(self) -> None:
        self._file.close()


@final
class WatchedDisk:
    def __init__(self, disk: Disk | None = None, before: Before = passes, *, serial: bool = False) -> None:
        self.before = before
        self._disk = disk if disk is not None else OsDisk()
        self._turn = threading.Lock() if serial else nullcontext()

    @contextmanager
    def watched(self, name: str, path: Path) -> Iterator[None]:
        with self._turn:
            self.before(Operation(name, path))
            yield

    def make_directory(self, path: Path) -> None:
        with self.watched("make_directory", path):
            self._disk.make_directory(path)

    def names(self, directory: Path) -> list[str]:
        with self.watched("names", directory):
            return self._disk.names(directory)

    def create(self, path: Path) -> WatchedFile:
        with self.watched("create", path):
            return WatchedFile(self, self._disk.create(path), path)

    def open(self, path: Path, *, writable: bool = False) -> WatchedFile:
        with self.watched("open", path):
            return WatchedFile(self, self._disk.open(path, writable=writable), path)

    def rename(self, old: Path, new: Path) -> None:
        with self.watched("rename", old):
            self._disk.rename(old, new)

    def unlink(self, path: Path) -> None:
        with self.watched("unlink", path):
            self._disk.unlink(path)

    def sync_directory(self, path: Path) -> None:
        with self.watched("sync_directory", path):
            self._disk.sync_directory(path)

    def lock(self, path: Path) -> DirectoryLock:
        with self.watched("lock", path):
            return self._disk.lock(path)


@final
class HeldSync:
    """A disk whose syncs wait until they are let go. Open at first."""

    def __init__(self) -> None:
        self.waiting = threading.Event()  # a sync has begun to wait
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self.waiting.clear()
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def __call__(self, operation: Operation) -> None:
        if operation.name == "sync" and not self._open.is_set():
            self.waiting.set()
            assert self._open.wait(30), "the test lets the sync go"


@final
class NoRoom:
    """A disk that has no room for another segment, while `full`."""

    def __init__(self) -> None:
        self.full = False
        self.tried = 0

    def __call__(self, operation: Operation) -> None:
        if self.full and operation.name == "create" and operation.path.name == NEXT_NAME:
            self.tried += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@final
class Fails:
    """A disk that fails one kind of operation once `armed`."""

    def __init__(self, name: str) -> None:
        self.armed = False
        self._name = name

    def __call__(self, operation: Operation) -> None:
        if self.armed and operation.name == self._name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
