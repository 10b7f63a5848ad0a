"""
The ids under which money was moved, each once: a repeat is told from a new movement for as long as the log lives.

    transfer (8 words)   ID  LINK  KIND  ACCOUNT  ASSET  ATOMS  TO          KIND: the command's; TO: a transfer's receiver, else 0

A movement that was refused leaves nothing here, so that it can be tried again under the same id.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core.codes import NO_REASON, TRANSFER_ID_REUSED, TRANSFER_REPEATED
from zerosum.core.index import Index
from zerosum.core.pool import NONE, Pool

ID: Final = 0
KIND: Final = 2
ACCOUNT: Final = 3
ASSET: Final = 4
ATOMS: Final = 5
TO: Final = 6
TRANSFER_WORDS: Final = 8


@final
class Transfers:
    __slots__ = ("by_id", "pool")

    def __init__(self, reserve: i64) -> None:
        self.pool = Pool(TRANSFER_WORDS, reserve)
        self.by_id = Index(self.pool, reserve)

    def seen(self, transfer_id: i64, kind: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> i64:
        """NO_REASON for a new id; else whether it was this very movement or another."""
        slot = self.by_id.get(transfer_id)
        if slot == NONE:
            return NO_REASON
        words = self.pool.words
        same = words[slot + KIND] == kind and words[slot + ACCOUNT] == account_id and words[slot + ASSET] == asset
        if same and words[slot + ATOMS] == atoms and words[slot + TO] == to:
            return TRANSFER_REPEATED
        return TRANSFER_ID_REUSED

    def remember(self, transfer_id: i64, kind: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> None:
        slot = self.pool.take()
        words = self.pool.words
        words[slot + ID] = transfer_id
        words[slot + KIND] = kind
        words[slot + ACCOUNT] = account_id
        words[slot + ASSET] = asset
        words[slot + ATOMS] = atoms
        words[slot + TO] = to
        self.by_id.put(slot)

    def check(self) -> None:
        self.pool.check()
        self.by_id.check()
        assert self.by_id.count == self.pool.live, "every transfer is in the index"
