"""
The matching engine behind its stream of orders: one engine partition of a cluster.

    orders.<partition>   shards' orders, cancels, moves, listings --> books --> outcomes, for each shard
                                                                        +----> market events

Always true: what comes out is a function of what came in, record by record, however it was cut into messages. It trusts the shards and
nobody else: a record of another origin trades nothing, and is told of.
"""

from __future__ import annotations

from typing import final

from librt.strings import read_i64_le
from librt.vecs import vec
from mypy_extensions import i64

from zerosum.core import records, snapshot
from zerosum.core.commands import FORMAT_SHIFT, KIND_MASK, ORIGIN_SHIFT, WORDS_MASK, WORDS_SHIFT
from zerosum.core.events import MarketEvents
from zerosum.core.exchange import CORE_VERSION_MAX, OUTPUT_BYTES_MAX, RESERVE
from zerosum.core.links import NO_ORDER, OutcomesOut
from zerosum.core.matching import MatchingEngine
from zerosum.core.origins import TAKEN, UNKNOWN, Origins
from zerosum.core.pool import NONE
from zerosum.core.statehash import matching_hash
from zerosum.core.ubscore_role import link_lengths


@final
class MatchingRole:
    """Fresh, or as a snapshot has it (`load`). `partition`: its number among the engines."""

    __slots__ = (
        "link_lengths", "market_events", "matching", "now_us", "origins", "outcomes", "output_bytes_max", "partition", "position",
        "quarantined", "shards", "time_us", "version",
    )  # fmt: skip

    def __init__(self, partition: i64, shards: i64, reserve: i64 = RESERVE, output_bytes_max: i64 = OUTPUT_BYTES_MAX) -> None:
        """`output_bytes_max`: after which a call to `advance` returns."""
        self.output_bytes_max = output_bytes_max
        self.partition = partition
        self.shards = shards
        self.market_events = MarketEvents(partition)
        self.outcomes = OutcomesOut(shards + partition, shards)
        self.matching = MatchingEngine(self.outcomes, self.market_events, reserve)
        self.origins = Origins(shards)
        self.position: i64 = 0  # of the next record
        self.time_us: i64 = 0  # of the message that it is in
        self.now_us: i64 = 0
        self.version: i64 = 1
        self.quarantined: set[int] = set()
        self.link_lengths = link_lengths()

    def quarantine(self, positions: set[int]) -> None:
        """The positions of records to pass over, read whole before any record is applied."""
        self.quarantined = positions

    def begin_message(self, position: i64, time_us: i64) -> None:
        """The position of a message's first record, and the time at which the message was appended to the stream."""
        assert position >= self.position, "a stream is read in order"
        self.position = position
        self.time_us = time_us

    def advance(self, message: bytes, at: i64) -> i64:
        """
        Apply the message's records from byte `at` on. Returns the offset reached. Take what has come out then, and call again while it is
        short of the end or `unfinished()`.
        """
        end: i64 = len(message)
        while self.bytes_waiting() < self.output_bytes_max:
            if self.matching.unfinished():
                self.matching.resume()
            elif self.outcomes.entered != NO_ORDER:
                self.say_whether_it_rests()
            elif at < end:
                at += self.apply(message, at)
            else:
                break
        return at

    def unfinished(self) -> bool:
        return self.matching.unfinished() or self.outcomes.entered != NO_ORDER

    def say_whether_it_rests(self) -> None:
        """The order that came in or was moved: whoever asked knows then that no more outcomes of that will come."""
        entered = self.outcomes.entered
        self.outcomes.entered = NO_ORDER
        if self.matching.orders_by_id.get(entered) != NONE:
            self.outcomes.rested(entered)

    def bytes_waiting(self) -> i64:
        return len(self.market_events.stream.out) + self.outcomes.streams.bytes_waiting()

    def apply(self, data: bytes, at: i64) -> i64:
        """One record, or the first step of it. Returns its length in bytes."""
        head = read_i64_le(data, at)
        kind = head & KIND_MASK
        words = head >> WORDS_SHIFT & WORDS_MASK
        origin = head >> ORIGIN_SHIFT
        sequence: i64 = 0
        position = self.position
        self.position += 1
        taken: i64 = UNKNOWN
        if words >= records.LINK_WORDS:
            sequence = read_i64_le(data, at + 8)
            if records.ENGINE_LIST <= kind <= records.ENGINE_VERSION:
                taken = self.origins.take(origin, sequence)
        if taken == TAKEN:
            self.begin(read_i64_le(data, at + 16))
            if bool(self.quarantined) and int(position) in self.quarantined:
                self.market_events.words(records.MARKET_PASSED_OVER, [kind])
            else:
                assert head >> FORMAT_SHIFT & KIND_MASK == records.FORMAT, "a link is of the format that this build knows"
                assert self.link_lengths[kind] == words, "a link has the length of its kind"
                self.carry_out(kind, data, at + (records.LINK_WORDS << 3))
        elif taken == UNKNOWN:
            self.begin(0)
            self.market_events.words(records.MARKET_FOREIGN, [kind, origin, sequence])
        return words << 3

    def begin(self, cause: i64) -> None:
        self.now_us = max(self.now_us, self.time_us)
        self.market_events.stream.cause = cause
        self.market_events.stream.time_us = self.now_us
        self.outcomes.streams.cause = cause
        self.outcomes.streams.time_us = self.now_us

    def carry_out(self, kind: i64, data: bytes, at: i64) -> None:
        matching = self.matching
        cause = self.market_events.stream.cause
        if kind == records.ENGINE_CHECKPOINT:
            return self.market_events.words(records.MARKET_CHECKPOINTED, matching_hash(matching))
        a = read_i64_le(data, at)
        if kind == records.ENGINE_VERSION:
            return self.set_version(a)
        b = read_i64_le(data, at + 8)
        if kind == records.ENGINE_CANCEL:
            return matching.cancel(NONE, a, b, cause)
        c = read_i64_le(data, at + 16)
        if kind == records.ENGINE_PLACE:
            matching.place(
                a, b, c, read_i64_le(data, at + 24), read_i64_le(data, at + 32), read_i64_le(data, at + 40), read_i64_le(data, at + 48)
            )
        elif kind == records.ENGINE_MOVE:
            matching.move(NONE, a, b, c, read_i64_le(data, at + 24), read_i64_le(data, at + 32))
        elif kind == records.ENGINE_REDUCE:
            matching.reduce(NONE, a, b, c, cause)
        elif kind == records.ENGINE_STATUS:
            matching.set_status(a, b, c)
        else:
            matching.list_symbol(
                a, b, c, read_i64_le(data, at + 24), read_i64_le(data, at + 32), read_i64_le(data, at + 40), read_i64_le(data, at + 48),
                read_i64_le(data, at + 56), read_i64_le(data, at + 64), read_i64_le(data, at + 72),
            )  # fmt: skip

    def set_version(self, version: i64) -> None:
        """Every shard tells of it: the first makes the change, and an older one that comes late none."""
        assert 1 <= version <= CORE_VERSION_MAX, "this build knows the core version that the log asks for"
        if version > self.version:
            self.version = version
            self.market_events.words(records.MARKET_VERSION_SET, [version])

    # ------------------------------------------------------------------ what comes out, and the state

    def take_market_events(self) -> bytes:
        return self.market_events.stream.take()

    def take_outcomes(self, shard: i64) -> bytes:
        return self.outcomes.streams.each[shard].take()

    def state_hash(self) -> list[int]:
        return [int(part) for part in matching_hash(self.matching)]

    def sections(self) -> list[tuple[str, bytes]]:
        """The whole state in named sections. Not between the steps of one record."""
        assert not self.unfinished(), "a snapshot stands between records"
        numbers = [self.position, self.time_us, self.now_us, self.version, self.market_events.stream.sequence]
        return [
            *snapshot.matching_sections(self.matching),
            ("role", snapshot.numbers([*numbers, *self.outcomes.streams.sequences()])),
            ("origins", snapshot.numbers(list(self.origins.last))),
        ]

    def load(self, sections: dict[str, bytes]) -> None:
        """Take the state of a snapshot. Only into a fresh role."""
        snapshot.load_matching(self.matching, sections)
        numbers = snapshot.words_of(sections["role"])
        assert 1 <= numbers[3] <= CORE_VERSION_MAX, "this build knows the core version that the snapshot was taken with"
        self.position = numbers[0]
        self.time_us = numbers[1]
        self.now_us = numbers[2]
        self.version = numbers[3]
        self.market_events.stream.sequence = numbers[4]
        self.outcomes.streams.restore(numbers[5:])
        self.origins.last = vec[i64](snapshot.words_of(sections["origins"]))

    def check(self) -> None:
        self.matching.check()
