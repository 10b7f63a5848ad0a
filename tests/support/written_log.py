"""Data directories whose log was written as the live exchange writes it, without the exchange: groups with what came out so far."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from zerosum.log.errors import LogMissing
from zerosum.log.file_log import FileLog
from zerosum.log.layout import Attestation
from zerosum.log.reader import LogReader
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy
from zerosum.services.machine import Machine
from zerosum.sim.programs import USUAL, random_program

GROUP = 25
SEGMENT_BYTES = 1 << 16

Rows = dict[str, list[tuple[Any, ...]]]


def data_directory(root: Path, commands: int = 1000, seed: int = 1) -> DataDir:
    """With a log of random commands, and nothing else."""
    data = DataDir(root)
    root.mkdir(exist_ok=True)
    write_log(data, random_program(seed, commands, USUAL))
    return data


def write_log(
    data: DataDir,
    commands: Iterable[bytes],
    *,
    attest: Callable[[Machine], Attestation] = Machine.attestation,
    quarantined: set[int] | None = None,
    group: int = GROUP,
) -> Machine:
    """Append the commands, in groups; the machines as they are then. `attest` says what each group tells of them."""
    machine = Machine()
    machine.exchange.quarantine(quarantined or set())
    try:
        log = FileLog.open(data.log, segment_bytes=SEGMENT_BYTES)
    except LogMissing:
        log = FileLog.create(data.log, segment_bytes=SEGMENT_BYTES)
    with log:
        with LogReader(data.log) as reader:
            for found in reader.read(log.durable_sequence):
                machine.apply(bytes(found.records))
        for records_of_group in groups_of(commands, group):
            payload = b"".join(records_of_group)
            time_us = int.from_bytes(payload[8:16], "little", signed=True)
            log.append(payload, count=len(records_of_group), time_us=time_us, attestation=attest(machine))
            log.sync()
            machine.apply(payload)
        log.close(attest(machine))
    return machine


def groups_of(commands: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    commands = iter(commands)
    while group := list(islice(commands, size)):
        yield group


def last_sequence(data: DataDir) -> int:
    with FileLog.open(data.log, segment_bytes=SEGMENT_BYTES) as log:
        return log.durable_sequence


def settle(data: DataDir, up_to: int, policy: SnapshotPolicy | None = None, *, step: int | None = None) -> list[str]:
    """A follower's whole life: everything up to a sequence, in steps. What it reported."""
    reported: list[str] = []
    follower = Follower(data, policy=policy, report=reported.append)
    try:
        reached = follower.settled_sequence
        while reached < up_to:
            reached = min(up_to, reached + (step if step is not None else up_to))
            follower.follow(reached)
    finally:
        follower.close()
    return reported


def tables(database: Path) -> Rows:
    """Every row of every table, in a defined order."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr) for name in names}  # noqa: S608  its own names


def rows_of_log(data: DataDir, folder: Path) -> Rows:
    """What a follower that nothing befalls makes of a log."""
    aside = DataDir(folder)
    folder.mkdir()
    aside.log.symlink_to(data.log)
    settle(aside, last_sequence(data))
    return tables(aside.settled)
