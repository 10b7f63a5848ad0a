"""
A disk that one process has to itself, as it fails on purpose.
"""

from __future__ import annotations

import errno
import os
from random import Random
from typing import Final, final

from zerosum.sim.faults import Faults
from zerosum.sim.loop import SimLoop
from zerosum.sim.process import Died, Process

SLOW_DISK_S: Final = 0.5


@final
class DiskFaults:
    """What happens at the operations of one process's disk."""

    def __init__(self, loop: SimLoop, faults: Faults, process: Process, random: Random) -> None:
        self._loop = loop
        self._faults = faults
        self._process = process
        self._random = random

    def before(self, operation: str) -> None:
        life, faults = self._process.life, self._faults
        if life is None:
            return  # the world looks at it
        if operation in ("create", "pwrite") and faults.happens("disk full", life):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if operation in ("sync", "sync_directory") and faults.happens("sync fails", life):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if operation == "sync" and faults.happens("slow disk", life):
            self._process.held_until_s = self._loop.now_s + self._random.uniform(0, SLOW_DISK_S)  # it does nothing else meanwhile
        if operation in ("create", "pwrite", "sync", "rename", "sync_directory", "unlink") and faults.happens(
            "crash at a disk write", life
        ):
            self._process.crash(power=self._random.random() < 0.5)
            raise Died
