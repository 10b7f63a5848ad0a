"""
The snapshots of one copy of a role: of its state before a message of its input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from zerosum.errors import ZerosumError
from zerosum.log.disk import Disk
from zerosum.log.errors import DiskFull, SnapshotDamaged
from zerosum.log.snapshots import Snapshot, SnapshotStore

STATE_FORMAT: Final = 1  # of the sections


class NotOfThisRole(ZerosumError):
    """A snapshot was taken by another role, or by another version of it."""


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """`every`: messages of the input."""

    folder: Path
    every: int = 2_000
    keep: int = 3


@final
class RoleSnapshots:
    def __init__(self, role: str, settings: SnapshotSettings, disk: Disk, report: Callable[[str], None]) -> None:
        self._role = role
        self._settings = settings
        self._report = report
        self._store = SnapshotStore(settings.folder, disk=disk)
        self._last_offset = 0

    def newest(self, *, at_most: int | None = None) -> Snapshot | None:
        """The newest good one, of the state before message `at_most` or an earlier one. NotOfThisRole."""
        snapshot, passed = self._store.newest(at_most=at_most)
        for each in passed:
            self._report(f"{self._role}: snapshot {each.path} is passed over: {each.why}")
        if snapshot is None:
            return None
        role, state_format = snapshot.meta.get("role"), int(snapshot.meta.get("state_format", 0))
        if role != self._role:
            raise NotOfThisRole(
                f"{self._settings.folder} has a snapshot of {role}; this is {self._role}. Name the folder that belongs to it."
            )
        if state_format < STATE_FORMAT:
            self._report(f"{self._role}: the snapshots in {self._settings.folder} are of an earlier version of the program: not used")
            return None
        if state_format > STATE_FORMAT:
            raise NotOfThisRole(
                f"{self._settings.folder} has a snapshot of state format {state_format}; this program knows {STATE_FORMAT}."
                " Use the version that wrote it, or a later one."
            )
        self._last_offset = snapshot.sequence
        return snapshot

    def is_due(self, next_offset: int) -> bool:
        return next_offset - self._last_offset >= self._settings.every

    def take(self, next_offset: int, sections: Iterable[tuple[str, bytes]], *, out_up_to: int, **meta: int | str) -> None:
        """
        On a full disk there is none; where it can't be read back it is removed. The older ones stay then. `out_up_to`: everything that the
        messages before it cause is out, so that a snapshot at most there can be gone on from: one is always kept.
        """
        self._last_offset = next_offset
        said: dict[str, int | str] = {"role": self._role, "state_format": STATE_FORMAT, **meta}
        try:
            path = self._store.write(next_offset, said, sections)
            try:
                self._store.load(path)
            except SnapshotDamaged:
                self._store.remove(path)
                raise
            self._store.keep(self._settings.keep, up_to=next_offset, needed_at=out_up_to)
        except (DiskFull, SnapshotDamaged) as error:
            self._report(f"{self._role}: no snapshot before message {next_offset}: {error}")
