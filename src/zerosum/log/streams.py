"""
A stream: what one role hands to others, message by message, in one order for all who read it, durably. The seam between roles.

    writers --append--> | 0 | 1 | 2 | 3 | ... --read--> readers, each from wherever it stands

    MemoryStream   in one process      a partition of a Kafka topic in a cluster      a stream that fails on purpose in the simulator

Promises that roles rely on:
  - what append has returned an offset for stays, at that offset
  - of one writer, messages stand in the order of the calls, each once, and none is there without all those before it
  - a message that failed is there, or is not, or comes there later: only a look at the stream tells, and only for now
  - a stream repeats nothing and loses nothing by itself, but what two writers send may stand there twice
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from zerosum.errors import ZerosumError


class Appended(NamedTuple):
    """A message in its stream. `time_us`: when it was appended, by the stream's clock, in microseconds since 1970."""

    offset: int
    time_us: int
    data: bytes


class Ends(NamedTuple):
    """`first`: the offset of the earliest message that is kept; `next`: that of the next one to come."""

    first: int
    next: int


class DeliveryFailed(ZerosumError):
    """Whether a message is in its stream is not known, and the writer can't be used any more."""


class StreamPruned(ZerosumError):
    """What is to be read is no longer kept."""

    def __init__(self, name: str, wanted: int, first: int) -> None:
        super().__init__(
            f"{name}: message {wanted} is wanted, and the earliest that is kept is {first}. Put back a later snapshot of the role that"
            " reads it, or the messages from the archive."
        )


class Writer(Protocol):
    """One session. Several messages may be under way; they keep the order of the calls."""

    async def append(self, data: bytes) -> int:
        """The message's offset, once it is durable. DeliveryFailed, now and for every later call."""


class Stream(Protocol):
    name: str

    def writer(self) -> Writer:
        """A new session."""

    async def read(self, offset: int) -> list[Appended]:
        """The messages from `offset` on, as many as come in one piece; waits until there is one. StreamPruned."""

    async def ends(self) -> Ends:
        """As they are when, or after, this is called."""
