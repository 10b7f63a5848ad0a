"""
Orders that wait for the answer to a cancel (cancel-replace): unfunded, and admitted in the same step in which the cancel's answer comes.

    replacement (16 words)   REQUEST  LINK  MODE  ACCOUNT  TERMS  PRICE  QTY  BUDGET  CLIENT (5 words)

REQUEST is the place in the input of the command that asked, which the engine echoes with its answer. Embedded, a record lives no longer
than its command.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core.index import Index
from zerosum.core.pool import Pool

REQUEST: Final = 0
MODE: Final = 2
ACCOUNT: Final = 3
TERMS: Final = 4
PRICE: Final = 5
QTY: Final = 6
BUDGET: Final = 7
CLIENT: Final = 8
CLIENT_WORDS: Final = 5
REPLACEMENT_WORDS: Final = 16


@final
class Replacements:
    __slots__ = ("by_request", "pool")

    def __init__(self) -> None:
        self.pool = Pool(REPLACEMENT_WORDS, 64)
        self.by_request = Index(self.pool, 64)

    def add(
        self, request: i64, mode: i64, account_id: i64, terms: i64, price_ticks: i64, qty_lots: i64, budget_atoms: i64,
        a: i64, b: i64, c: i64, d: i64, e: i64,
    ) -> None:  # fmt: skip
        slot = self.pool.take()
        words = self.pool.words
        words[slot + REQUEST] = request
        words[slot + MODE] = mode
        words[slot + ACCOUNT] = account_id
        words[slot + TERMS] = terms
        words[slot + PRICE] = price_ticks
        words[slot + QTY] = qty_lots
        words[slot + BUDGET] = budget_atoms
        words[slot + CLIENT] = a
        words[slot + CLIENT + 1] = b
        words[slot + CLIENT + 2] = c
        words[slot + CLIENT + 3] = d
        words[slot + CLIENT + 4] = e
        self.by_request.put(slot)

    def remove(self, slot: i64) -> None:
        self.by_request.remove(slot)
        self.pool.give(slot)

    def check(self) -> None:
        self.pool.check()
        self.by_request.check()
