"""
Where an embedded exchange keeps its things.

    DIR/log/         the durable log: the one source of everything below
    DIR/snapshots/   states of the machines, so that a start need not replay from the beginning
    DIR/archive/     closed segments that were moved out of the log
    DIR/settled.db   the settled record (SQLite), written by the follower alone
    DIR/follower.lock   held by the follower: of the one before, if its exchange was killed, until it has ended
    DIR/identities.db   API keys, users, operators: sealed with the master key
    DIR/control      sequences to pass over, one a line (see docs/guides/quarantine.md)
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from zerosum.errors import ZerosumError
from zerosum.log.disk import Disk, OsDisk

SEQUENCE_DIGITS: Final = 18


class ControlDamaged(ZerosumError):
    """The control file has a line that is no sequence."""


@dataclass(frozen=True, slots=True)
class DataDir:
    """`disk`: where the log and the snapshots are; the databases and the control file are the operating system's."""

    root: Path
    disk: Disk = field(default_factory=OsDisk)

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def settled(self) -> Path:
        return self.root / "settled.db"

    @property
    def follower_lock(self) -> Path:
        return self.root / "follower.lock"

    @contextmanager
    def follower_has_ended(self) -> Iterator[None]:
        """Waits for the follower of an exchange that was killed: it settles the rest. None begins meanwhile."""
        if not self.follower_lock.exists():
            yield
            return
        with self.follower_lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @property
    def identities(self) -> Path:
        return self.root / "identities.db"

    @property
    def control(self) -> Path:
        return self.root / "control"

    def quarantined(self) -> set[int]:
        """The places in the log that an operator has had passed over. Read whole before any record is applied."""
        if not self.control.exists():
            return set()
        sequences: set[int] = set()
        for number, line in enumerate(self.control.read_bytes().splitlines(), start=1):
            text = line.partition(b"#")[0].strip().decode("ascii", "replace")
            if text and not (text.isascii() and text.isdigit() and len(text) <= SEQUENCE_DIGITS):
                raise ControlDamaged(
                    f"{self.control}:{number}: {text!r} is no sequence. Each line is one sequence, and '#' starts a comment."
                )
            if text:
                sequences.add(int(text))
        return sequences
