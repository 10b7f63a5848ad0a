"""
Both machines in one process: every command goes through UBSCore to the matching engine, whose outcomes UBSCore settles at once.

    commands --> Exchange.advance --> UBSCore --Orders--> MatchingEngine
                                         ^------Outcomes------+
                       account events <--+                    +--> market events

Always true (see Exchange.check): what each machine promises; the open lots of a hold are those of its order in the book.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from librt.strings import read_i64_le
from mypy_extensions import i64

from zerosum.core import book, holds, records, snapshot
from zerosum.core.codes import BAD_RECORD
from zerosum.core.commands import FORMAT_SHIFT, KIND_MASK, WORDS_MASK, WORDS_SHIFT, apply_command, command_lengths
from zerosum.core.events import AccountEvents, MarketEvents
from zerosum.core.ledger import AVAILABLE, FROZEN
from zerosum.core.matching import MatchingEngine
from zerosum.core.pool import NONE
from zerosum.core.statehash import records_looked_at, state_hash
from zerosum.core.ubscore import UBSCore

CORE_VERSION_MAX: Final = 1  # the newest behaviour that this build knows
RESERVE: Final = 1 << 22  # records of room in each pool: memory is taken only as they are used
OUTPUT_BYTES_MAX: Final = 1 << 20  # after which a call to `advance` returns


@final
class Exchange:
    """One shard and one engine, joined by direct calls. Fresh, or as a snapshot has it (`load`)."""

    __slots__ = (
        "account_events", "has_quarantined", "lengths", "market_events", "matching", "quarantined", "sequence", "ubscore", "version",
    )  # fmt: skip

    def __init__(self, reserve: i64 = RESERVE) -> None:
        self.account_events = AccountEvents()
        self.market_events = MarketEvents()
        self.ubscore = UBSCore(self.account_events, reserve)
        self.matching = MatchingEngine(self.ubscore, self.market_events, reserve)
        self.ubscore.connect(self.matching)
        self.sequence: i64 = 0  # the place in the log of the last command applied
        self.version: i64 = 1
        self.quarantined: set[int] = set()
        self.has_quarantined = False
        self.lengths = command_lengths()

    def quarantine(self, sequences: set[int]) -> None:
        """The places of records to pass over, from the control stream, which is read whole before any record is applied."""
        self.quarantined = sequences
        self.has_quarantined = bool(sequences)

    def advance(self, commands: bytes, at: i64) -> i64:
        """
        Apply the commands from byte `at` on, and return the offset reached: the end, or less where the output has grown past its bound.
        Take the events then, for nothing is applied while too many wait, and call again while the offset is short of the end or
        `unfinished()`. The events are the same wherever it stops.
        """
        end: i64 = len(commands)
        account_out = self.account_events.stream.out
        market_out = self.market_events.stream.out
        while len(account_out) + len(market_out) < OUTPUT_BYTES_MAX:
            if self.matching.unfinished():
                self.matching.resume()
            elif at < end:
                at += self.apply(commands, at)
            else:
                break
        return at

    def unfinished(self) -> bool:
        return self.matching.unfinished()

    def apply(self, data: bytes, at: i64) -> i64:
        """One command, or the first step of it. Returns its length in bytes."""
        head = read_i64_le(data, at)
        kind = head & KIND_MASK
        words = head >> WORDS_SHIFT & WORDS_MASK
        self.sequence += 1
        passes_over = self.has_quarantined and int(self.sequence) in self.quarantined
        time_us: i64 = 0  # a record that is passed over moves no clock either
        if not passes_over:
            time_us = read_i64_le(data, at + 8)
        self.ubscore.begin(self.sequence, time_us)
        self.market_events.stream.cause = self.sequence
        self.market_events.stream.time_us = self.ubscore.now_us
        if passes_over:
            self.account_events.words(records.PASSED_OVER, [kind])
        elif self.lengths[kind] != words or head >> FORMAT_SHIFT & KIND_MASK != records.FORMAT:
            self.account_events.refused(kind, BAD_RECORD, 0, 0)
        elif kind == records.CHECKPOINT:
            self.account_events.words(records.CHECKPOINTED, state_hash(self.ubscore, self.matching))
        elif kind == records.SET_CORE_VERSION:
            self.set_version(read_i64_le(data, at + (records.FIELDS << 3)))
        else:
            apply_command(self.ubscore, kind, data, at)
        return words << 3

    def set_version(self, version: i64) -> None:
        assert 1 <= version <= CORE_VERSION_MAX, "this build knows the core version that the log asks for"
        self.version = version
        self.account_events.words(records.VERSION_SET, [version])

    def take_account_events(self) -> bytes:
        return self.account_events.stream.take()

    def take_market_events(self) -> bytes:
        return self.market_events.stream.take()

    def balance(self, account_id: i64, asset: i64) -> tuple[int, int]:
        """(available, frozen) atoms; zeros where there is no such account or asset."""
        ledger = self.ubscore.ledger
        balance = ledger.balances_by_owner.get(account_id << 16 | asset)
        if balance == NONE:
            return 0, 0
        return ledger.balances.words[balance + AVAILABLE], ledger.balances.words[balance + FROZEN]

    def state_hash(self) -> list[int]:
        return [int(part) for part in state_hash(self.ubscore, self.matching)]

    def hash_cost(self) -> int:
        """How many records `state_hash` goes through."""
        return int(records_looked_at(self.ubscore, self.matching))

    def sections(self) -> Iterator[tuple[str, bytes]]:
        """The whole state in named sections. Not between the steps of one command."""
        assert not self.unfinished(), "a snapshot stands between commands"
        yield from snapshot.ubscore_sections(self.ubscore)
        yield from snapshot.matching_sections(self.matching)
        sequences = [self.account_events.stream.sequence, self.market_events.stream.sequence]
        yield "exchange", snapshot.numbers([self.sequence, self.version, *sequences])

    def load(self, sections: dict[str, bytes]) -> None:
        """Take the state of a snapshot. Only into a fresh Exchange."""
        snapshot.load_ubscore(self.ubscore, sections)
        snapshot.load_matching(self.matching, sections)
        numbers = snapshot.words_of(sections["exchange"])
        assert 1 <= numbers[1] <= CORE_VERSION_MAX, "this build knows the core version that the snapshot was taken with"
        self.sequence = numbers[0]
        self.version = numbers[1]
        self.account_events.stream.sequence = numbers[2]
        self.market_events.stream.sequence = numbers[3]

    def check(self) -> None:
        self.ubscore.check()
        self.matching.check()
        assert self.ubscore.holds.pool.live == self.matching.orders.live, "every hold has an order, every order a hold"
        hold_words = self.ubscore.holds.pool.words
        order_words = self.matching.orders.words
        for order in self.matching.orders.slots():
            hold = order_words[order + book.HOLD]
            assert hold_words[hold] == order_words[order], "an order's handle leads to its hold"
            assert hold_words[hold + holds.ORDER] == order, "a hold's handle leads to its order"
            assert hold_words[hold + holds.OPEN_LOTS] == order_words[order + book.OPEN_LOTS], "a hold has its order's open lots"
