"""
Reads the log of a simulated embedded exchange, with what was archived of it.
"""

from __future__ import annotations

from pathlib import Path

from zerosum.log.layout import split_records
from zerosum.log.reader import LogReader
from zerosum.log.recovery import survey
from zerosum.services.datadir import DataDir
from zerosum.sim.disk import SimDisk


def with_archive(disk: SimDisk, data: DataDir) -> SimDisk:
    """Another disk, whose log has the archived segments too."""
    whole = disk.copy()
    for name, content in disk.contents().items():
        path = Path("/") / name
        if path.parent == data.archive and path.name not in disk.names(data.log):
            whole.overwrite(data.log / path.name, content)
    return whole


def read_records(disk: SimDisk, root: Path) -> list[bytes]:
    """LogError."""
    folder = root / "log"
    found: list[bytes] = []
    last_sequence = survey(disk, folder).report.last_sequence
    with LogReader(folder, disk=disk) as reader:
        for group in reader.read(last_sequence):
            found += [bytes(record) for record in split_records(memoryview(group.records))]
    return found
