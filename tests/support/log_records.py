"""Records for log tests: each can be told by its sequence, and none holds a whole sector of zeros."""

import hashlib
import struct


def record(sequence: int, words: int = 3) -> bytes:
    """The record that stands at `sequence` in a test's log, `words` words long (2 at least)."""
    head = struct.pack("<BBHIQ", 1, 1, words, 0, sequence)
    filler = hashlib.shake_128(head).digest(words * 8 - len(head))
    return head + filler


def records(first_sequence: int, count: int, words: int = 3) -> bytes:
    """The records from `first_sequence` on, as one group's payload."""
    return b"".join(record(first_sequence + place, words) for place in range(count))
