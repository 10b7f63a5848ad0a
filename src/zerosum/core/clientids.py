"""
Client order ids of open orders: up to 36 characters that a client chose, unique among one account's open orders.

    client id (8 words)   HASH  LINK  HOLD  TEXT (5 words: 40 bytes, the text and then zeros)

HASH is a mix of the text, plus the account times an odd number, modulo 2**62: for one text, two accounts never share a hash. So hash and
text together name one account's id exactly, and an id of one account is never taken for another's. Ids that collide share a chain. The mix
is no secret: who picks ids on purpose can have all their open orders in one chain, and accounts that work together those of all of them.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core.bits import MASK_62, MULTIPLIER, OTHER_MULTIPLIER, mix
from zerosum.core.index import Index
from zerosum.core.pool import NONE, Pool

HASH: Final = 0
HOLD: Final = 2
TEXT: Final = 3
CLIENT_ID_WORDS: Final = 8
TEXT_WORDS: Final = 5


def hash_of(account_id: i64, a: i64, b: i64, c: i64, d: i64, e: i64) -> i64:
    """1 .. 2**62."""
    text = mix(mix(mix(mix(mix(0, a, MULTIPLIER), b, MULTIPLIER), c, MULTIPLIER), d, MULTIPLIER), e, MULTIPLIER)
    return (text + account_id * OTHER_MULTIPLIER & MASK_62) + 1


@final
class ClientIds:
    __slots__ = ("by_hash", "pool")

    def __init__(self, reserve: i64) -> None:
        self.pool = Pool(CLIENT_ID_WORDS, reserve)
        self.by_hash = Index(self.pool, reserve)

    def find(self, account_id: i64, a: i64, b: i64, c: i64, d: i64, e: i64) -> i64:
        """The record of an account's open client id, or 0."""
        slot = self.by_hash.get(hash_of(account_id, a, b, c, d, e))
        words = self.pool.words
        while slot != NONE:
            same = words[slot + TEXT] == a and words[slot + TEXT + 1] == b and words[slot + TEXT + 2] == c
            if same and words[slot + TEXT + 3] == d and words[slot + TEXT + 4] == e:
                return slot
            slot = self.by_hash.same_after(slot)
        return NONE

    def add(self, hold: i64, account_id: i64, a: i64, b: i64, c: i64, d: i64, e: i64) -> i64:
        slot = self.pool.take()
        words = self.pool.words
        words[slot + HASH] = hash_of(account_id, a, b, c, d, e)
        words[slot + HOLD] = hold
        words[slot + TEXT] = a
        words[slot + TEXT + 1] = b
        words[slot + TEXT + 2] = c
        words[slot + TEXT + 3] = d
        words[slot + TEXT + 4] = e
        self.by_hash.put(slot)
        return slot

    def hold_of(self, slot: i64) -> i64:
        return self.pool.words[slot + HOLD]

    def remove(self, slot: i64) -> None:
        self.by_hash.remove(slot)
        self.pool.give(slot)

    def check(self) -> None:
        self.pool.check()
        self.by_hash.check()
        assert self.by_hash.count == self.pool.live, "every client id is in the index"
