"""
What stands in a machine's input from each other machine, against what those make of their own inputs.

    orders.P      from shards: numbered records, each sender's in order, repeats among them
    commands.S    from engines and other shards; gateways' commands in between bear no number, and are not looked at
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from zerosum.core import records
from zerosum.core.commands import KIND_MASK, ORIGIN_SHIFT, WORDS_MASK, WORDS_SHIFT
from zerosum.log.sequences import last_sequence
from zerosum.services.cluster.twins import Diverged, Twins


@final
class Sent:
    """Of one input. `senders`: who may send there, numbered: shards, and then engines. What comes from others changes nothing."""

    def __init__(self, name: str, senders: int) -> None:
        self._name = name
        self._twins = [Twins(f"{name}, from sender {sender}") for sender in range(senders)]
        self._diverged: dict[int, str] = {}

    @property
    def count(self) -> int:
        """Records that stand there, repeats left out."""
        return sum(twins.read_up_to for twins in self._twins)

    def read(self, data: bytes) -> None:
        """The records of its next message."""
        for sender, found in by_sender(data).items():
            if sender < len(self._twins) and sender not in self._diverged:
                try:
                    self._twins[sender].read(bytes(found))
                except Diverged as error:
                    self._diverged[sender] = str(error)

    def made(self, sender: int, data: bytes) -> None:
        """What a sender makes next."""
        if sender not in self._diverged:
            try:
                self._twins[sender].made(data, last_sequence(data))
            except Diverged as error:
                self._diverged[sender] = str(error)

    def differences(self) -> Iterator[str]:
        """Once all is read, and all is made."""
        yield from self._diverged.values()
        for sender, twins in enumerate(self._twins):
            if sender not in self._diverged and twins.read_up_to != twins.made_up_to:
                yield f"{self._name} has {twins.read_up_to} records of sender {sender}, which makes {twins.made_up_to}"


def by_sender(data: bytes) -> dict[int, bytearray]:
    """The numbered records of a message, in their order."""
    found: dict[int, bytearray] = {}
    at = 0
    while at < len(data):
        head = int.from_bytes(data[at : at + 8], "little")
        words = head >> WORDS_SHIFT & WORDS_MASK
        if head & KIND_MASK >= records.FIRST_LINK and words >= records.LINK_WORDS:
            found.setdefault(head >> ORIGIN_SHIFT, bytearray()).extend(data[at : at + words * 8])
        at += words * 8
    return found
