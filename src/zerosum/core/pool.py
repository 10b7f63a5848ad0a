"""
Fixed-width records in one vec[i64], addressed by slot.

    words   | record 0 | record 1 | record 2 | record 3 | ...        each `width` words
    slot      0 = none   width      2*width    3*width                a slot is the offset of a record's first word

    orders = self.orders.words          # read the vec into a local once per function ...
    orders[slot + OPEN_LOTS] -= qty     # ... then a field is slot + named offset

By convention word 0 of a record is its key (>= 1 while it lives) and word 1 its link in an Index.

Always true (see Pool.check):
  - a record is either live or on the free list, never both; slot 0 is neither
  - word 0 of a free record is the negated slot of the next free one (0: the last), so it can never look like a key

Memory: the vec is made with room for `reserve` records, which the system commits only as they are first written, so the pool grows a
record at a time and nothing moves. Past the reserve it doubles, which copies. A local read before `take` may then be stale, and writes
to it are lost: take first, read after. Tests run every pool with no reserve at all, so that each `take` is such a move.
"""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64

NONE: Final = 0  # no slot
KEY: Final = 0
LINK: Final = 1


def words_from(data: bytes, reserve: i64) -> vec[i64]:
    """
    Words from bytes, with room for `reserve` words. Of all ways to make a vec, only this one, from a buffer, leaves the room untouched: the
    system then commits no memory for it until it is used.
    """
    return vec[i64](memoryview(data).cast("q"), capacity=reserve)


def words_bytes(words: vec[i64]) -> bytes:
    return bytes(memoryview(words))


@final
class Pool:
    """Records of `width` words, handed out by slot and given back."""

    __slots__ = ("free", "live", "reserve", "width", "words")

    def __init__(self, width: i64, reserve: i64) -> None:
        self.width: i64 = width
        self.reserve: i64 = (reserve + 1) * width
        self.words: vec[i64] = words_from(b"", self.reserve)
        self.free: i64 = NONE
        self.live: i64 = -1  # record 0, which is no record
        self.extend()

    def take(self) -> i64:
        """A record's slot. Its words are as they were left (all zero the first time)."""
        slot = self.free
        if slot == NONE:
            return self.extend()
        self.free = -self.words[slot]
        self.live += 1
        return slot

    def extend(self) -> i64:
        """A record of zeros behind all others, live."""
        words = self.words
        slot: i64 = len(words)
        for _ in range(self.width):
            words = append(words, 0)
        self.words = words
        self.live += 1
        return slot

    def give(self, slot: i64) -> None:
        self.words[slot] = -self.free
        self.free = slot
        self.live -= 1

    def has(self, handle: i64, key: i64) -> bool:
        """Whether a handle, which is only a hint, leads to the live record of this key. For widths that are powers of two."""
        words = self.words
        return 0 <= handle < len(words) and handle & self.width - 1 == 0 and words[handle] == key

    def records(self) -> i64:
        """Live and free ones."""
        size: i64 = len(self.words)
        return size // self.width - 1

    def slots(self) -> list[i64]:
        """The live records, by slot (slow: for checks, hashes and tests)."""
        words = self.words
        found: list[i64] = []
        slot = self.width
        while slot < len(words):
            if words[slot] > 0:
                found.append(slot)
            slot += self.width
        return found

    def sections(self, name: str) -> list[tuple[str, bytes]]:
        return [(name, words_bytes(self.words)), (name + ".free", words_bytes(vec[i64]([self.free, self.live])))]

    def load(self, name: str, sections: dict[str, bytes]) -> None:
        self.words = words_from(sections[name], self.reserve)
        head = words_from(sections[name + ".free"], 2)
        self.free = head[0]
        self.live = head[1]

    def check(self) -> None:
        words = self.words
        size: i64 = len(words)
        free: set[int] = set()
        slot = self.free
        while slot != NONE:
            assert 0 < slot < size and slot % self.width == 0, "a free slot is a record's first word"
            assert slot not in free, "the free list has no cycle"
            free.add(slot)
            slot = -words[slot]
        assert len(free) + self.live + 1 == size // self.width, "a record is live or free"
        assert len(self.slots()) == self.live, "a live record has a key"
