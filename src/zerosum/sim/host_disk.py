"""
A disk that several processes of one machine share, as one of them has it: what it does fails on purpose, and ends with it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from random import Random
from typing import Final, final

from zerosum.log.disk import DirectoryLock, DiskFile
from zerosum.sim.disk import SimDisk, SimFile
from zerosum.sim.faults import Faults
from zerosum.sim.process import Died, Life

WRITES: Final = frozenset({"create", "pwrite", "sync", "rename", "sync_directory", "unlink"})


@final
class HostFile:
    def __init__(self, disk: HostDisk, file: SimFile) -> None:
        self._disk = disk
        self._file = file

    def pread(self, count: int, offset: int) -> bytes:
        self._disk.begin("pread")
        return self._file.pread(count, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        self._disk.begin("pwrite")
        self._file.pwrite(data, offset)
        self._disk.end("pwrite")

    def sync(self) -> None:
        self._disk.begin("sync")
        self._file.sync()
        self._disk.end("sync")

    def size(self) -> int:
        self._disk.begin("size")
        return self._file.size()

    def close(self) -> None:
        pass


@final
class HostDisk:
    def __init__(self, disk: SimDisk, life: Life, faults: Faults, random: Random) -> None:
        self._disk = disk
        self._life = life
        self._faults = faults
        self._random = random

    def begin(self, operation: str) -> None:
        self._life.check()
        if operation in ("create", "pwrite") and self._faults.happens("disk full", self._life):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if operation in ("sync", "sync_directory") and self._faults.happens("sync fails", self._life):
            self._disk.fail(operation, errno.EIO)
        self._crash_if(operation)

    def end(self, operation: str) -> None:
        self._crash_if(operation)

    def _crash_if(self, operation: str) -> None:
        if operation in WRITES and self._faults.happens("crash at a disk write", self._life):
            self._life.process.crash(power=self._random.random() < 0.5)
            raise Died

    def make_directory(self, path: Path) -> None:
        self.begin("make_directory")
        self._disk.make_directory(path)

    def names(self, directory: Path) -> list[str]:
        self.begin("names")
        return self._disk.names(directory)

    def create(self, path: Path) -> DiskFile:
        self.begin("create")
        return HostFile(self, self._disk.create(path))

    def open(self, path: Path, *, writable: bool = False) -> DiskFile:
        self.begin("open")
        return HostFile(self, self._disk.open(path, writable=writable))

    def rename(self, old: Path, new: Path) -> None:
        self.begin("rename")
        self._disk.rename(old, new)
        self.end("rename")

    def unlink(self, path: Path) -> None:
        self.begin("unlink")
        self._disk.unlink(path)
        self.end("unlink")

    def sync_directory(self, path: Path) -> None:
        self.begin("sync_directory")
        self._disk.sync_directory(path)
        self.end("sync_directory")

    def lock(self, path: Path) -> DirectoryLock:
        self.begin("lock")
        return self._disk.lock(path)
