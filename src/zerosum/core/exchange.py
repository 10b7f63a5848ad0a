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
from librt.vecs import vec
from mypy_extensions import i64

from zerosum.core import book, holds, records, snapshot
from zerosum.core.codes import BAD_RECORD
from zerosum.core.events import AccountEvents, MarketEvents
from zerosum.core.ledger import AVAILABLE, FROZEN
from zerosum.core.listings import Asset, Symbol
from zerosum.core.matching import MatchingEngine
from zerosum.core.pool import NONE
from zerosum.core.statehash import records_looked_at, state_hash
from zerosum.core.ubscore import UBSCore

CORE_VERSION_MAX: Final = 1  # the newest behaviour that this build knows
RESERVE: Final = 1 << 22  # records of room in each pool: memory is taken only as they are used
OUTPUT_BYTES_MAX: Final = 1 << 20  # after which a call to `advance` returns

KIND_MASK: Final = 0xFF
FORMAT_SHIFT: Final = 8
WORDS_SHIFT: Final = 16
WORDS_MASK: Final = 0xFFFF


def command_lengths() -> vec[i64]:
    """By kind, the words of a command; 0 for a kind that does not exist."""
    lengths = vec[i64]([0] * 256)
    for kind, (_, fields) in records.COMMANDS.items():
        lengths[kind] = records.FIELDS + i64(len(fields))
    return lengths


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
        elif kind == records.MOVE:
            self.ubscore.move(data, at)
        elif kind == records.PLACE:
            self.ubscore.place(data, at)
        elif kind == records.CANCEL:
            self.ubscore.cancel(data, at)
        elif kind == records.REDUCE:
            self.ubscore.reduce(data, at)
        elif kind == records.CANCEL_REPLACE:
            self.ubscore.cancel_replace(data, at)
        elif kind == records.CANCEL_ALL:
            self.ubscore.cancel_all(data, at)
        else:
            self.apply_rare(kind, [read_i64_le(data, at + (i << 3)) for i in range(records.FIELDS, words)])
        return words << 3

    def apply_rare(self, kind: i64, fields: list[i64]) -> None:
        """Everything but orders."""
        treasury = self.ubscore.treasury
        if kind == records.DEPOSIT:
            treasury.deposit(fields[1], fields[0], fields[2], fields[3])
        elif kind == records.WITHDRAW:
            treasury.withdraw(fields[1], fields[0], fields[2], fields[3])
        elif kind == records.TRANSFER:
            treasury.transfer(fields[1], fields[0], fields[2], fields[3], fields[4])
        elif kind == records.OPEN_ACCOUNT:
            treasury.open_account(fields[0], fields[1], fields[2], fields[3])
        elif kind == records.SET_ACCOUNT_STATUS:
            treasury.set_status(fields[0], fields[1])
        elif kind == records.SET_ACCOUNT_FEES:
            treasury.set_fees(fields[0], fields[1], fields[2])
        elif kind == records.LIST_ASSET:
            self.ubscore.list_asset(Asset(fields[0], fields[1], text(fields[2:])), fields)
        elif kind == records.LIST_SYMBOL:
            self.ubscore.list_symbol(symbol_of(fields), fields)
        elif kind == records.SET_SYMBOL_STATUS:
            self.ubscore.set_symbol_status(fields[0], fields[1])
        elif kind == records.CHECKPOINT:
            self.account_events.words(records.CHECKPOINTED, state_hash(self.ubscore, self.matching))
        elif kind == records.SET_CORE_VERSION:
            assert 1 <= fields[0] <= CORE_VERSION_MAX, "this build knows the core version that the log asks for"
            self.version = fields[0]
            self.account_events.words(records.VERSION_SET, fields)

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
        yield from snapshot.sections(self.ubscore, self.matching)
        sequences = [self.account_events.stream.sequence, self.market_events.stream.sequence]
        yield "exchange", snapshot.numbers([self.sequence, self.version, *sequences])

    def load(self, sections: dict[str, bytes]) -> None:
        """Take the state of a snapshot. Only into a fresh Exchange."""
        snapshot.load(self.ubscore, self.matching, sections)
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


def text(words: list[i64]) -> str:
    """A name; what is no ASCII text becomes '?', which no name may have."""
    return b"".join([(int(word) & (1 << 64) - 1).to_bytes(8, "little") for word in words]).rstrip(b"\0").decode("ascii", "replace")


def symbol_of(fields: list[i64]) -> Symbol:
    return Symbol(
        fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6], fields[7], fields[8], fields[9], fields[10],
        fields[11], fields[12], fields[13], fields[14], fields[15], fields[16], fields[17], fields[18], text(fields[19:22]),
    )  # fmt: skip
