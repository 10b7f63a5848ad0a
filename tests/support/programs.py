"""Random commands for live exchanges, of which some may be lost on the way: see zerosum.sim.programs."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from zerosum.core import records
from zerosum.sim.programs import USUAL, random_program

FOREVER = 1 << 40
DEADLINES = {
    records.PLACE: records.PLACE_DEADLINE_AT,
    records.CANCEL_ALL: records.CANCEL_ALL_DEADLINE_AT,
    records.CANCEL: records.DEADLINE_AT,
    records.REDUCE: records.DEADLINE_AT,
    records.MOVE: records.DEADLINE_AT,
    records.CANCEL_REPLACE: records.DEADLINE_AT,
}


def live_program(seed: int, flavour: str = USUAL) -> Iterator[bytes]:
    """Commands without end, for a shard whose clock is today's: without the deadlines, which are long past."""
    for command in random_program(seed, FOREVER, flavour):
        data = bytearray(command)
        at = DEADLINES.get(data[0], 0) * 8
        if at and at < len(data):
            struct.pack_into("<q", data, at, 0)
        yield bytes(data)


def unstamped(command: bytes) -> bytes:
    """A command as it was submitted, before the log gave it a time; for comparing."""
    return command[:8] + command[16:]
