"""
What an operator of a simulated cluster does about old messages: keeps a verified snapshot of each machine apart, and lets go of its input
before that; but not of what a copy has yet to read. A copy that has lost its own snapshots gets the one from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from zerosum.log.disk import Disk
from zerosum.log.messages import offset_of
from zerosum.log.snapshots import SnapshotStore
from zerosum.services.cluster.role import Role
from zerosum.sim.disk import SimDisk
from zerosum.sim.streams import SimStream

FOLDER: Final = Path("/snapshots")


@final
class Archive:
    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, dict[str, int | str], dict[str, bytes]]] = {}  # by machine: place, meta, sections

    def keep(self, role: Role, disk: SimDisk) -> bool:
        """The newest snapshot that a copy has on its disk, and that everything is out up to. Whether there is one."""
        snapshot, _ = SnapshotStore(FOLDER, disk=disk.copy()).newest(at_most=offset_of(role.outbox.seen.upto))
        if snapshot is None:
            return False
        if snapshot.sequence > self._kept.get(role.machine.name, (0, {}, {}))[0]:
            self._kept[role.machine.name] = snapshot.sequence, snapshot.meta, snapshot.sections
        return True

    def prune(self, stream: SimStream, copies: list[Role]) -> None:
        """`stream`: the input of these copies of one machine, a snapshot of which is kept."""
        stream.prune(min([self._kept[copies[0].machine.name][0], *(each.machine.next_offset for each in copies)]))

    def put_on(self, disk: Disk, machine: str) -> int:
        """The archived snapshot of a machine; of the state before which message."""
        place, meta, sections = self._kept[machine]
        SnapshotStore(FOLDER, disk=disk).write(place, meta, sections.items())
        return place
