"""
UBSCore behind its stream of commands: one shard of a cluster.

    commands.<shard>   gateways' commands ---------> place, cancel, deposit ...  +--> account events
                       engines' outcomes ----------> fill, done ...              +--> orders, for each engine partition
                       other shards' links --------> credits, listings           +--> links, for each other shard

Listings, versions and checkpoints come to the first shard (HOME), which hands them on to the others. So all shards make the same changes
in the same order, and an engine hears of a symbol before any order for it, whichever shard that comes from.

A record's place is its position in the stream, interleaved with those of the other shards: places of one shard rise, and no two shards
share one. An event's cause is the place of the command that it all began with, wherever that was.

Always true: what comes out is a function of what came in, record by record, however it was cut into messages.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import read_i64_le
from librt.vecs import vec
from mypy_extensions import i64

from zerosum.core import records, snapshot
from zerosum.core.codes import BAD_RECORD, WRONG_SHARD
from zerosum.core.commands import (
    FORMAT_SHIFT,
    KIND_MASK,
    ORIGIN_SHIFT,
    WORDS_MASK,
    WORDS_SHIFT,
    apply_command,
    command_lengths,
)
from zerosum.core.events import AccountEvents
from zerosum.core.exchange import CORE_VERSION_MAX, OUTPUT_BYTES_MAX, RESERVE
from zerosum.core.links import OrdersOut, PeersOut
from zerosum.core.origins import TAKEN, UNKNOWN, Origins
from zerosum.core.statehash import ubscore_hash
from zerosum.core.ubscore import UBSCore

HOME: Final = 0  # the shard that listings come to first


def link_lengths() -> vec[i64]:
    """By kind, the words of a link; 0 for a kind that does not exist. HANDED_ON is as long as the command in it."""
    lengths = vec[i64]([0] * 256)
    for kind, (_, fields) in records.LINKS.items():
        lengths[kind] = records.LINK_WORDS + i64(len(fields))
    return lengths


@final
class UBSCoreRole:
    """Fresh, or as a snapshot has it (`load`)."""

    __slots__ = (
        "account_events", "command_lengths", "link_lengths", "orders", "origins", "output_bytes_max", "partitions", "peers", "position",
        "quarantined", "shard", "shards", "time_us", "ubscore", "version",
    )  # fmt: skip

    def __init__(
        self, shard: i64, shards: i64, partitions: i64, reserve: i64 = RESERVE, output_bytes_max: i64 = OUTPUT_BYTES_MAX
    ) -> None:  # fmt: skip
        """`output_bytes_max`: after which a call to `advance` returns."""
        self.output_bytes_max = output_bytes_max
        self.shard = shard
        self.shards = shards
        self.partitions = partitions
        self.account_events = AccountEvents(shard)
        self.ubscore = UBSCore(self.account_events, reserve, shard, shards)
        self.orders = OrdersOut(shard, partitions)
        self.peers = PeersOut(shard, shards)
        self.ubscore.connect(self.orders)
        self.ubscore.treasury.peers = self.peers
        self.origins = Origins(shards + partitions)  # shards, and then engines
        self.position: i64 = 0  # of the next record
        self.time_us: i64 = 0  # of the message that it is in
        self.version: i64 = 1
        self.quarantined: set[int] = set()
        self.command_lengths = command_lengths()
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
        """Apply the message's records from byte `at` on. Returns the offset reached, which is short of the end where much has come out."""
        end: i64 = len(message)
        while at < end and self.bytes_waiting() < self.output_bytes_max:
            at += self.apply(message, at)
        return at

    def bytes_waiting(self) -> i64:
        return len(self.account_events.stream.out) + self.orders.streams.bytes_waiting() + self.peers.streams.bytes_waiting()

    def apply(self, data: bytes, at: i64) -> i64:
        """One record. Returns its length in bytes."""
        head = read_i64_le(data, at)
        kind = head & KIND_MASK
        words = head >> WORDS_SHIFT & WORDS_MASK
        place = self.position * self.shards + self.shard
        self.position += 1
        if kind >= records.FIRST_LINK:
            self.take(head, data, at, place)
        elif self.passes_over(place):
            self.begin(place, 0)
            self.account_events.words(records.PASSED_OVER, [kind])
        else:
            self.begin(place, self.time_us)
            if self.command_lengths[kind] != words or head >> FORMAT_SHIFT & KIND_MASK != records.FORMAT:
                self.account_events.refused(kind, BAD_RECORD, 0, 0)
            elif is_for_all(kind):
                self.administer(kind, data, at)
            else:
                apply_command(self.ubscore, kind, data, at)
        return words << 3

    def passes_over(self, place: i64) -> bool:
        return bool(self.quarantined) and int(place // self.shards) in self.quarantined

    def begin(self, cause: i64, time_us: i64) -> None:
        ubscore = self.ubscore
        ubscore.begin(cause, time_us)
        self.orders.streams.cause = cause
        self.orders.streams.time_us = ubscore.now_us
        self.peers.streams.cause = cause
        self.peers.streams.time_us = ubscore.now_us

    # ------------------------------------------------------------------ what concerns all shards

    def administer(self, kind: i64, data: bytes, at: i64) -> None:
        """From a gateway: here if this is the first shard, and then on the others."""
        if self.shard != HOME:
            return self.account_events.refused(kind, WRONG_SHARD, 0, 0)
        if self.concerns_all(kind, data, at):
            self.peers.hand_on(data, at, read_i64_le(data, at) >> WORDS_SHIFT & WORDS_MASK)

    def concerns_all(self, kind: i64, data: bytes, at: i64) -> bool:
        """False: refused."""
        if kind == records.CHECKPOINT:
            self.account_events.words(records.CHECKPOINTED, ubscore_hash(self.ubscore))
            if self.shard == HOME:
                self.orders.checkpoint()
        elif kind == records.SET_CORE_VERSION:
            self.set_version(read_i64_le(data, at + (records.FIELDS << 3)))
        else:
            revision = self.ubscore.listings.revision
            apply_command(self.ubscore, kind, data, at)
            return self.ubscore.listings.revision != revision
        return True

    def set_version(self, version: i64) -> None:
        assert 1 <= version <= CORE_VERSION_MAX, "this build knows the core version that the log asks for"
        self.version = version
        self.account_events.words(records.VERSION_SET, [version])
        self.orders.set_version(version)

    # ------------------------------------------------------------------ links

    def take(self, head: i64, data: bytes, at: i64, place: i64) -> None:
        """A numbered record: the next of its origin, or a repeat."""
        kind = head & KIND_MASK
        origin = head >> ORIGIN_SHIFT
        words = head >> WORDS_SHIFT & WORDS_MASK
        sequence: i64 = 0
        taken: i64 = UNKNOWN
        if words >= records.LINK_WORDS:
            sequence = read_i64_le(data, at + 8)
            if self.sends(origin, kind):
                taken = self.origins.take(origin, sequence)
        if taken == UNKNOWN:
            self.begin(place, self.time_us)
            return self.account_events.words(records.FOREIGN, [kind, origin, sequence])
        if taken != TAKEN:
            return
        if self.passes_over(place):
            self.begin(place, 0)
            return self.account_events.words(records.PASSED_OVER, [kind])
        self.begin(read_i64_le(data, at + 16), self.time_us)
        assert head >> FORMAT_SHIFT & KIND_MASK == records.FORMAT, "a link is of the format that this build knows"
        if kind == records.HANDED_ON:
            command = at + (records.LINK_WORDS << 3)
            self.concerns_all(read_i64_le(data, command) & KIND_MASK, data, command)
            return
        assert self.link_lengths[kind] == words, "a link has the length of its kind"
        if origin < self.shards:
            self.settle_transfer(kind, origin, data, at + (records.LINK_WORDS << 3))
        else:
            self.settle_outcome(kind, data, at + (records.LINK_WORDS << 3))
            self.ubscore.place_ready()

    def sends(self, origin: i64, kind: i64) -> bool:
        """Whether links of this kind may come from this origin."""
        if kind == records.HANDED_ON:
            return origin == HOME and self.shard != HOME
        if records.CREDIT <= kind <= records.CREDIT_RETURNED:
            return 0 <= origin < self.shards and origin != self.shard
        return records.OUTCOME_ACCEPTED <= kind <= records.OUTCOME_RESTED and origin >= self.shards

    def settle_outcome(self, kind: i64, data: bytes, at: i64) -> None:
        ubscore = self.ubscore
        a = read_i64_le(data, at)
        if kind == records.OUTCOME_RESTED:
            return ubscore.rested(a)
        b = read_i64_le(data, at + 8)
        if kind == records.OUTCOME_MOVED:
            return ubscore.moved(a, b)
        c = read_i64_le(data, at + 16)
        if kind == records.OUTCOME_ACCEPTED:
            ubscore.accepted(a, b, c)
        elif kind == records.OUTCOME_FILL:
            ubscore.fill(a, b, c, read_i64_le(data, at + 24), read_i64_le(data, at + 32), read_i64_le(data, at + 40))
        elif kind == records.OUTCOME_REDUCED:
            ubscore.reduced(a, b, c, read_i64_le(data, at + 24))
        elif kind == records.OUTCOME_MOVE_REJECTED:
            ubscore.move_rejected(a, b, c)
        elif kind == records.OUTCOME_DONE:
            ubscore.done(a, b, c, read_i64_le(data, at + 24))
        elif kind == records.OUTCOME_REJECTED:
            ubscore.rejected(a, b, c)
        else:
            ubscore.cancel_rejected(a, b, c)

    def settle_transfer(self, kind: i64, origin: i64, data: bytes, at: i64) -> None:
        transfer_id = read_i64_le(data, at)
        asset = read_i64_le(data, at + 8)
        atoms = read_i64_le(data, at + 16)
        from_account = read_i64_le(data, at + 24)
        to = read_i64_le(data, at + 32)
        if kind == records.CREDIT:
            self.ubscore.treasury.credit(origin, transfer_id, asset, atoms, from_account, to)
        else:
            self.ubscore.treasury.take_back(transfer_id, asset, atoms, from_account, to, read_i64_le(data, at + 40))

    # ------------------------------------------------------------------ what comes out, and the state

    def take_account_events(self) -> bytes:
        return self.account_events.stream.take()

    def take_orders(self, partition: i64) -> bytes:
        return self.orders.streams.each[partition].take()

    def take_peer(self, shard: i64) -> bytes:
        return self.peers.streams.each[shard].take()

    def state_hash(self) -> list[int]:
        return [int(part) for part in ubscore_hash(self.ubscore)]

    def sections(self) -> list[tuple[str, bytes]]:
        """The whole state in named sections."""
        numbers = [self.position, self.time_us, self.version, self.account_events.stream.sequence]
        return [
            *snapshot.ubscore_sections(self.ubscore),
            ("role", snapshot.numbers([*numbers, *self.orders.streams.sequences(), *self.peers.streams.sequences()])),
            ("origins", snapshot.numbers(list(self.origins.last))),
        ]

    def load(self, sections: dict[str, bytes]) -> None:
        """Take the state of a snapshot. Only into a fresh role."""
        snapshot.load_ubscore(self.ubscore, sections)
        numbers = snapshot.words_of(sections["role"])
        assert 1 <= numbers[2] <= CORE_VERSION_MAX, "this build knows the core version that the snapshot was taken with"
        self.position = numbers[0]
        self.time_us = numbers[1]
        self.version = numbers[2]
        self.account_events.stream.sequence = numbers[3]
        self.orders.streams.restore(numbers[4 : 4 + self.partitions])
        self.peers.streams.restore(numbers[4 + self.partitions :])
        self.origins.last = vec[i64](snapshot.words_of(sections["origins"]))

    def check(self) -> None:
        self.ubscore.check()


def is_for_all(kind: i64) -> bool:
    """Commands about what all shards share."""
    return records.CHECKPOINT <= kind <= records.SET_SYMBOL_STATUS
