"""
Finds a pool's records by key: linear hashing (W. Litwin, "Linear hashing: a new tool for file and table addressing", 1980).

    buckets   [ b0 | b1 | b2 | ... ]          one bucket a record, never fewer
                |    |
                v    +--> record --LINK--> record          a bucket's records are chained through their own LINK words
               none

One put splits at most one bucket, so the table grows a little at a time and never stops to be rebuilt; a look-up touches a bucket and
then the record that it is after. Two records may have the same key: `get` finds one of them, `same_after` the next.

Always true (see Index.check): every record put and not removed hangs in the bucket of its key.
"""

from __future__ import annotations

from typing import final

from librt.vecs import append, vec
from mypy_extensions import i64

from zerosum.core.bits import spread
from zerosum.core.pool import KEY, LINK, NONE, Pool, words_bytes, words_from


@final
class Index:
    __slots__ = ("buckets", "count", "mask", "pool", "reserve")

    def __init__(self, pool: Pool, reserve: i64) -> None:
        self.pool = pool
        self.reserve: i64 = reserve
        self.buckets: vec[i64] = append(words_from(b"", reserve + 1), NONE)
        self.mask: i64 = 0  # all ones, and at least len(buckets) - 1
        self.count: i64 = 0

    def bucket(self, key: i64) -> i64:
        """Which bucket a key belongs in: by its low bits, or by one fewer where that bucket is not there yet."""
        found = spread(key) & self.mask
        if found >= len(self.buckets):
            found &= self.mask >> 1
        return found

    def get(self, key: i64) -> i64:
        """A record of this key, or 0."""
        words = self.pool.words
        slot = self.buckets[self.bucket(key)]
        while slot != NONE and words[slot] != key:
            slot = words[slot + LINK]
        return slot

    def same_after(self, slot: i64) -> i64:
        """The next record of the same key in the chain, or 0."""
        words = self.pool.words
        key = words[slot]
        slot = words[slot + LINK]
        while slot != NONE and words[slot] != key:
            slot = words[slot + LINK]
        return slot

    def put(self, slot: i64) -> None:
        """Enter a record by the key in its word 0."""
        self.count += 1
        if self.count > len(self.buckets):
            self.split()
        words = self.pool.words
        buckets = self.buckets
        bucket = self.bucket(words[slot])
        words[slot + LINK] = buckets[bucket]
        buckets[bucket] = slot

    def remove(self, slot: i64) -> None:
        words = self.pool.words
        buckets = self.buckets
        bucket = self.bucket(words[slot])
        if buckets[bucket] == slot:
            buckets[bucket] = words[slot + LINK]
        else:
            before = buckets[bucket]
            while words[before + LINK] != slot:
                before = words[before + LINK]
                assert before != NONE, "only what is in the index is removed"
            words[before + LINK] = words[slot + LINK]
        self.count -= 1

    def split(self) -> None:
        """One bucket more: it takes what is its own from the bucket that stood in for it."""
        added: i64 = len(self.buckets)
        self.buckets = append(self.buckets, NONE)
        if added > self.mask:
            self.mask = self.mask << 1 | 1
        words = self.pool.words
        buckets = self.buckets
        old = added & self.mask >> 1
        slot = buckets[old]
        buckets[old] = NONE
        while slot != NONE:
            following = words[slot + LINK]
            bucket = self.bucket(words[slot])
            words[slot + LINK] = buckets[bucket]
            buckets[bucket] = slot
            slot = following

    def sections(self, name: str) -> list[tuple[str, bytes]]:
        return [(name, words_bytes(self.buckets)), (name + ".count", words_bytes(vec[i64]([self.mask, self.count])))]

    def load(self, name: str, sections: dict[str, bytes]) -> None:
        self.buckets = words_from(sections[name], self.reserve)
        head = words_from(sections[name + ".count"], 2)
        self.mask = head[0]
        self.count = head[1]

    def check(self) -> None:
        words = self.pool.words
        found: i64 = 0
        for bucket in range(len(self.buckets)):
            slot = self.buckets[bucket]
            while slot != NONE:
                assert words[slot + KEY] > 0, "only live records are in the index"
                assert self.bucket(words[slot]) == bucket, "a record hangs in the bucket of its key"
                found += 1
                assert found <= self.count, "a chain has no cycle"
                slot = words[slot + LINK]
        assert found == self.count, "the count is the records'"
        assert len(self.buckets) - 1 <= self.mask, "the mask reaches every bucket"
