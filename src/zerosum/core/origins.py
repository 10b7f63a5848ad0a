"""
What has been taken from each sender of numbered records: exactly the next one is, and each once.

    last   ... 41        41 again  --> a repeat: dropped            42 --> taken            43 --> a gap: the machine stops

The numbers are part of the machine's state and of its snapshots. A mark of the highest number seen would not do: where 42 fails, 43 lands
and 42 is sent again, it would be dropped for ever.
"""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64

TAKEN: Final = 0
REPEATED: Final = 1
UNKNOWN: Final = 2  # from nobody who may send here


@final
class Origins:
    __slots__ = ("last",)

    def __init__(self, count: i64) -> None:
        self.last: vec[i64] = vec[i64]()
        for _ in range(count):
            self.last = append(self.last, 0)

    def take(self, origin: i64, sequence: i64) -> i64:
        """Whether a record is to be applied; it counts as taken then. AssertionError for a gap: something is lost, and nothing goes on."""
        last = self.last
        if not 0 <= origin < len(last):
            return UNKNOWN
        if sequence <= last[origin]:
            return REPEATED
        assert sequence == last[origin] + 1, f"record {last[origin] + 1} of origin {origin} comes before record {sequence}: one is missing"
        last[origin] = sequence
        return TAKEN
