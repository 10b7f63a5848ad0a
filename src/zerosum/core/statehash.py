"""
A hash of the logical state: equal for two cores that would answer every further command alike, however they came to be there.

Every live record is mixed into two lanes of 62 bits, its slot numbers replaced by the ids they lead to, and the lanes of a kind of record
are added up: a sum does not depend on the order of pools, free lists and buckets, which are not part of the logical state. Price-time
priority is: an order is mixed with the id of the order behind it and the price it stands at. The sums and the counters then go through
SHA-256.

It finds divergence; it is not meant to stand against someone who makes states on purpose. Snapshots have checksums of their own.
"""

from __future__ import annotations

import hashlib
import struct
from typing import final

from mypy_extensions import i64

from zerosum.core import book, clientids, holds, ledger, replacements, transfers
from zerosum.core.bits import MASK_62, MULTIPLIER, OTHER_MULTIPLIER, mix
from zerosum.core.matching import MatchingEngine
from zerosum.core.pool import NONE
from zerosum.core.ubscore import UBSCore


@final
class Sum:
    """The sum of the hashes of records of one kind."""

    __slots__ = ("a", "b", "record_a", "record_b")

    def __init__(self) -> None:
        self.a: i64 = 0
        self.b: i64 = 0
        self.record_a: i64 = 0
        self.record_b: i64 = 0

    def word(self, value: i64) -> None:
        self.record_a = mix(self.record_a, value, MULTIPLIER)
        self.record_b = mix(self.record_b, value, OTHER_MULTIPLIER)

    def end(self) -> None:
        """The record's words are all in."""
        self.a = (self.a + self.record_a) & MASK_62
        self.b = (self.b + self.record_b) & MASK_62
        self.record_a = 0
        self.record_b = 0


def state_hash(ubscore: UBSCore, matching: MatchingEngine) -> list[i64]:
    """Of both machines together, as the embedded exchange has them. Four words."""
    digest = hashlib.sha256()
    add_ubscore(digest, ubscore)
    add_matching(digest, matching)
    return list(struct.unpack("<4q", digest.digest()))


def ubscore_hash(ubscore: UBSCore) -> list[i64]:
    digest = hashlib.sha256()
    add_ubscore(digest, ubscore)
    return list(struct.unpack("<4q", digest.digest()))


def matching_hash(matching: MatchingEngine) -> list[i64]:
    digest = hashlib.sha256()
    add_matching(digest, matching)
    return list(struct.unpack("<4q", digest.digest()))


def add_ubscore(digest: hashlib._Hash, ubscore: UBSCore) -> None:
    for part in (
        accounts_sum(ubscore), balances_sum(ubscore), holds_sum(ubscore), transfers_sum(ubscore), client_ids_sum(ubscore),
        replacements_sum(ubscore),
    ):  # fmt: skip
        digest.update(struct.pack("<qq", part.a, part.b))
    digest.update(struct.pack("<qqq", ubscore.now_us, ubscore.admitted, ubscore.listings.revision))
    digest.update(repr((ubscore.listings.assets, ubscore.listings.listed)).encode())


def add_matching(digest: hashlib._Hash, matching: MatchingEngine) -> None:
    for part in (orders_sum(matching), books_sum(matching)):
        digest.update(struct.pack("<qq", part.a, part.b))


def records_looked_at(ubscore: UBSCore, matching: MatchingEngine) -> i64:
    """How many records, free ones too, a state hash goes through: what it costs."""
    pools = [
        ubscore.ledger.accounts, ubscore.ledger.balances, ubscore.holds.pool, ubscore.transfers.pool, ubscore.holds.client_ids.pool,
        matching.orders,
    ]  # fmt: skip
    total: i64 = 0
    for pool in pools:
        total += pool.records()
    return total


def accounts_sum(ubscore: UBSCore) -> Sum:
    words = ubscore.ledger.accounts.words
    total = Sum()
    for account in ubscore.ledger.accounts.slots():
        total.word(words[account + ledger.ID])
        total.word(words[account + ledger.STATUS])
        total.word(words[account + ledger.MAKER_PPM])
        total.word(words[account + ledger.TAKER_PPM])
        total.word(words[account + ledger.ORDERS_MAX])
        total.end()
    return total


def balances_sum(ubscore: UBSCore) -> Sum:
    """A balance that is zero counts for nothing: whether it was ever opened is no matter."""
    words = ubscore.ledger.balances.words
    total = Sum()
    for balance in ubscore.ledger.balances.slots():
        if words[balance + ledger.AVAILABLE] != 0 or words[balance + ledger.FROZEN] != 0:
            total.word(words[balance + ledger.OWNER])
            total.word(words[balance + ledger.AVAILABLE])
            total.word(words[balance + ledger.FROZEN])
            total.end()
    return total


def holds_sum(ubscore: UBSCore) -> Sum:
    words = ubscore.holds.pool.words
    total = Sum()
    for hold in ubscore.holds.pool.slots():
        total.word(words[hold + holds.ID])
        total.word(words[hold + holds.OWNER_ID])
        total.word(words[hold + holds.TERMS])
        total.word(words[hold + holds.PRICE])
        total.word(words[hold + holds.MOVING_TO])
        total.word(words[hold + holds.OPEN_LOTS])
        total.word(words[hold + holds.FROZEN])
        total.end()
    return total


def transfers_sum(ubscore: UBSCore) -> Sum:
    words = ubscore.transfers.pool.words
    total = Sum()
    for transfer in ubscore.transfers.pool.slots():
        for offset in range(transfers.ID, transfers.TO + 1):
            total.word(words[transfer + offset])
        total.end()
    return total


def client_ids_sum(ubscore: UBSCore) -> Sum:
    words = ubscore.holds.client_ids.pool.words
    total = Sum()
    for client in ubscore.holds.client_ids.pool.slots():
        total.word(ubscore.holds.pool.words[words[client + clientids.HOLD]])
        for offset in range(clientids.TEXT, clientids.TEXT + clientids.TEXT_WORDS):
            total.word(words[client + offset])
        total.end()
    return total


def replacements_sum(ubscore: UBSCore) -> Sum:
    words = ubscore.replacements.pool.words
    total = Sum()
    for replacement in ubscore.replacements.pool.slots():
        total.word(words[replacement + replacements.REQUEST])
        for offset in range(replacements.MODE, replacements.CLIENT + replacements.CLIENT_WORDS):
            total.word(words[replacement + offset])
        total.end()
    return total


def orders_sum(matching: MatchingEngine) -> Sum:
    words = matching.orders.words
    levels = matching.levels.words
    total = Sum()
    for order in matching.orders.slots():
        level = words[order + book.LEVEL]
        total.word(words[order + book.ID])
        total.word(words[order + book.ACCOUNT])
        total.word(words[order + book.OPEN_LOTS])
        if level != NONE:
            total.word(levels[level + book.SIDE])
            total.word(levels[level + book.RANK])
        behind = words[order + book.NEXT]
        if level != NONE and behind != NONE:
            total.word(words[behind + book.ID])
        total.end()
    return total


def books_sum(matching: MatchingEngine) -> Sum:
    total = Sum()
    for each in matching.own_books():
        for value in each.rules():
            total.word(value)
        total.end()
    return total
