"""
Reads a stream of events from its beginning, for ever: each event once, whatever was sent twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from zerosum.log.messages import unpack
from zerosum.log.sequences import Sequence
from zerosum.log.streams import Stream


class Followed(NamedTuple):
    """What of a message is new, how far the writer's input has been answered with it, and its offset."""

    records: bytes
    upto: int
    offset: int


async def follow(stream: Stream, caught_up: Callable[[], None] = lambda: None) -> AsyncIterator[Followed]:
    """`caught_up` is called once, when all that was there at first is read. MessageDamaged, Gap."""
    sequence = Sequence(stream.name)
    end = (await stream.ends()).next
    is_behind, at = True, 0
    while True:
        if is_behind and at >= end:
            is_behind = False
            caught_up()
        for appended in await stream.read(at):
            message = unpack(appended.data, f"{stream.name}, message {appended.offset}")
            yield Followed(sequence.take(message.records), message.upto, appended.offset)
            at = appended.offset + 1
