"""
Brings a command to an exchange: through its socket where it runs, straight into its log where it does not.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from zerosum.core import codes, records
from zerosum.errors import ZerosumError
from zerosum.services import admin
from zerosum.services.datadir import DataDir
from zerosum.services.opening import open_log, restore

Event = tuple[int, ...]
DEFAULT_DATA = Path("zerosum-data")
DataOption = Annotated[Path, typer.Option("--data", help="The data directory.", envvar="ZEROSUM_DATA")]
ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", help="Where segments of the log were archived, if not in the data directory.", file_okay=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


class Refused(ZerosumError):
    """The exchange did not do what was asked."""


def send(data: DataDir, command: bytes) -> list[Event]:
    """The account events that the command caused. Refused when it was not taken or not done."""
    path = data.root / admin.NAME
    events = send_to(path, command) if is_listening(path) else apply_offline(data, command)
    for event in events:
        if event[0] & 0xFF == records.REFUSED:
            raise Refused(f"{records.kind_name(event[4])}: {reason_name(event[5])}.")
    return events


def reason_name(reason: int) -> str:
    """A reason's name in zerosum.core.codes."""
    first = list(vars(codes)).index("NO_REASON")
    names = [name for name in list(vars(codes))[first:] if name.isupper()]
    return next((name for name in names if getattr(codes, name) == reason), f"reason {reason}")


def is_listening(path: Path) -> bool:
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect(str(path))
        except ConnectionRefusedError:  # left behind by a process that was killed
            return False
    return True


def send_to(path: Path, command: bytes) -> list[Event]:
    with socket.socket(socket.AF_UNIX) as door, door.makefile("rb") as replies:
        door.settimeout(30)
        door.connect(str(path))
        door.sendall(admin.LENGTH.pack(len(command)) + command)
        size = admin.LENGTH.unpack(replies.read(admin.LENGTH.size))[0]
        if size == 0:
            why = replies.read(admin.LENGTH.unpack(replies.read(admin.LENGTH.size))[0])
            if why:
                raise Refused(f"The exchange does not take it: {why.decode()}.")
        return list(records.records(replies.read(size)))


def apply_offline(data: DataDir, command: bytes) -> list[Event]:
    """Write the command to the log of an exchange that does not run, and tell what it does there. The next start settles it."""
    data.root.mkdir(parents=True, exist_ok=True)
    with open_log(data) as log:
        machine, _ = restore(data, log.log_id, log.durable_sequence)
        now_us = machine.exchange.ubscore.now_us
        stamped = command[:8] + now_stamp(now_us) + command[16:]
        log.append(stamped, count=1, time_us=now_us, attestation=machine.attestation())
        log.sync()
        output = machine.apply(stamped)
        log.close(machine.attestation())
    return list(records.records(output.account_events))


def now_stamp(at_least_us: int) -> bytes:
    return max(at_least_us, time.time_ns() // 1000).to_bytes(8, "little")
