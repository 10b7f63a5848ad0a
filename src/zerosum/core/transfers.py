"""
The movements of money that were made, each once: a repeat is told from a new movement for as long as the log lives.

    transfer (8 words)   HASH  LINK  ID  KIND  ACCOUNT  ASSET  ATOMS  TO

                         ID       the transfer id, which an account has once: another account's movement may have the same
                         ACCOUNT  the one that the movement is of: who gets a deposit, who pays in all else
                         KIND     the command's
                         TO       the receiver of a transfer or an adjustment; of a withdrawal that was requested PENDING, SETTLED or
                                  RETURNED; of a deposit 0, or REVERSED

HASH is a mix of account and id; movements that collide share a chain. A movement that was refused, or came back from another shard, leaves
nothing here, so that it can be tried again under the same id.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core.bits import MULTIPLIER, mix
from zerosum.core.codes import NO_REASON, TRANSFER_ID_REUSED, TRANSFER_REPEATED
from zerosum.core.index import Index
from zerosum.core.pool import NONE, Pool
from zerosum.core.records import DEPOSIT, REQUEST_WITHDRAWAL

HASH: Final = 0
ID: Final = 2
KIND: Final = 3
ACCOUNT: Final = 4
ASSET: Final = 5
ATOMS: Final = 6
TO: Final = 7
TRANSFER_WORDS: Final = 8

PENDING: Final = 1
SETTLED: Final = 2
RETURNED: Final = 3
REVERSED: Final = 4

NOBODY: Final = 0


def hash_of(account_id: i64, transfer_id: i64) -> i64:
    """1 .. 2**62."""
    return mix(mix(0, account_id, MULTIPLIER), transfer_id, MULTIPLIER) + 1


@final
class Transfers:
    __slots__ = ("by_hash", "pool")

    def __init__(self, reserve: i64) -> None:
        self.pool = Pool(TRANSFER_WORDS, reserve)
        self.by_hash = Index(self.pool, reserve)

    def find(self, account_id: i64, transfer_id: i64) -> i64:
        """An account's movement of this id, or 0."""
        slot = self.by_hash.get(hash_of(account_id, transfer_id))
        words = self.pool.words
        while slot != NONE and not (words[slot + ID] == transfer_id and words[slot + ACCOUNT] == account_id):
            slot = self.by_hash.same_after(slot)
        return slot

    def seen(self, transfer_id: i64, kind: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> i64:
        """NO_REASON for a new id; else whether it was this very movement or another. `to`: the receiver, where the kind has one."""
        slot = self.find(account_id, transfer_id)
        if slot == NONE:
            return NO_REASON
        words = self.pool.words
        same = words[slot + KIND] == kind and words[slot + ASSET] == asset and words[slot + ATOMS] == atoms
        is_state = kind == DEPOSIT or kind == REQUEST_WITHDRAWAL  # what TO has
        if same and (is_state or words[slot + TO] == to):
            return TRANSFER_REPEATED
        return TRANSFER_ID_REUSED

    def remember(self, transfer_id: i64, kind: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> None:
        slot = self.pool.take()
        words = self.pool.words
        words[slot + HASH] = hash_of(account_id, transfer_id)
        words[slot + ID] = transfer_id
        words[slot + KIND] = kind
        words[slot + ACCOUNT] = account_id
        words[slot + ASSET] = asset
        words[slot + ATOMS] = atoms
        words[slot + TO] = to
        self.by_hash.put(slot)

    def forget(self, account_id: i64, transfer_id: i64) -> None:
        slot = self.find(account_id, transfer_id)
        self.by_hash.remove(slot)
        self.pool.give(slot)

    def set_state(self, slot: i64, state: i64) -> None:
        """Of a withdrawal that was requested, or of a deposit."""
        self.pool.words[slot + TO] = state

    def pending(self, assets: i64) -> list[int]:
        """Per asset, what is on its way out. Summed as unbounded integers."""
        words = self.pool.words
        sums = [0] * assets
        for slot in self.pool.slots():
            if words[slot + KIND] == REQUEST_WITHDRAWAL and words[slot + TO] == PENDING:
                sums[int(words[slot + ASSET])] += int(words[slot + ATOMS])
        return sums

    def check(self) -> None:
        self.pool.check()
        self.by_hash.check()
        assert self.by_hash.count == self.pool.live, "every transfer is in the index"
