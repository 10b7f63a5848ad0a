"""A stream's bytes as events: tuples of words, laid out as in zerosum.core.records."""

from __future__ import annotations

import struct
from typing import Final

Event = tuple[int, ...]

# A table instead of a format made for each record: a third of the time. The longest event has 28 words (SYMBOL_LISTED).
UNPACK_FROM: Final = tuple(struct.Struct(f"<{words}q").unpack_from for words in range(64))


def unpacked(data: bytes) -> list[Event]:
    """Every event in `data`, which holds whole records, in order."""
    events: list[Event] = []
    unpack_from = UNPACK_FROM
    append = events.append
    at = 0
    end = len(data)
    while at < end:
        words = data[at + 2]
        append(unpack_from[words](data, at))
        at += words << 3
    return events
