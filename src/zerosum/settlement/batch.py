"""
What a store is given, how far it is, and how repeats are told from gaps.

    settled   ... 40 | 41 42 43
    batch        39 40 41 42 43 44 45      --> 44 45 are taken, the others dropped
    batch                       45 46      --> SettlementGap: 44 is missing

A batch may begin anywhere; it ends where a command ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from zerosum.core import records
from zerosum.settlement.errors import SettlementGap

ACCOUNT: Final = "account"
MARKET: Final = "market"

Event = tuple[int, ...]
"""An event's words: see zerosum.core.records."""

SEQUENCE: Final = 1  # word of an event
WORD_BYTES: Final = 8


class Batch(NamedTuple):
    """
    The events of a range of the log that ends with the command at `sequence`, whole.

    The chain heads are those of the two streams after it; a store keeps them beside its position and does not look into them.
    """

    sequence: int
    account_events: bytes
    market_events: bytes
    account_chain: bytes = b""
    market_chain: bytes = b""


class Position(NamedTuple):
    """How far a store is: the last command and the last event of each stream that it holds, and the chain heads there."""

    sequence: int = 0
    account_sequence: int = 0
    market_sequence: int = 0
    account_chain: bytes = b""
    market_chain: bytes = b""


class Store(Protocol):
    """What a follower needs of the record that it settles into. See SqliteStore for what each promises."""

    def position(self) -> Position: ...

    def log_id(self) -> bytes: ...

    def belong_to(self, log_id: bytes) -> None: ...

    def write(self, batch: Batch) -> None: ...

    def fold(self) -> None: ...

    def close(self) -> None: ...


def events_after(stream: str, data: bytes, last: int) -> Iterator[Event]:
    """The events past `last`: exactly the next ones, in order. Those up to `last` are dropped; SettlementGap where one is missing."""
    expected = last + 1
    for event in records.records(data[offset_after(data, last) :]):
        if event[SEQUENCE] != expected:
            raise SettlementGap(stream, expected=expected, found=event[SEQUENCE])
        expected += 1
        yield event


def unpacked(data: bytes) -> Iterator[Event]:
    """All events of a stream's bytes."""
    return records.records(data)


def offset_after(data: bytes, last: int) -> int:
    """Where the first event past `last` begins; the end if there is none."""
    at = 0
    while at < len(data) and sequence_at(data, at) <= last:
        at += int.from_bytes(data[at + 2 : at + 4], "little") * WORD_BYTES
    return at


def sequence_at(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + WORD_BYTES : at + 2 * WORD_BYTES], "little")
