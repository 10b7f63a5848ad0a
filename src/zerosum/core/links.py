"""
What the machines of a cluster tell each other, written as records: what a direct call is in the embedded exchange.

    UBSCore --> OrdersOut    one stream for each engine partition (a symbol's is its number modulo their count)
            --> PeersOut     one stream for each other shard      (an account's is its id modulo their count)
    engine  --> OutcomesOut  one stream for each shard            (an order's is its id modulo their count)

Always true: a stream's records are numbered densely from 1, as a function of the machine's input alone. So a machine that is started again,
or runs twice, numbers them the same, and whoever reads them can tell a repeat from a gap.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i64_le
from mypy_extensions import i64

from zerosum.core import records
from zerosum.core.codes import ACCOUNT_MAX
from zerosum.core.events import Stream
from zerosum.core.roles import Orders, Outcomes, Peers

NO_ORDER: Final = 0
SYMBOL_SHIFT: Final = 32  # of a symbol within terms


@final
class Streams:
    """One for each destination. `cause` and `time_us`: what the records that are written next belong to."""

    __slots__ = ("cause", "each", "time_us")

    def __init__(self, origin: i64, destinations: i64) -> None:
        self.each = [Stream(origin) for _ in range(destinations)]
        self.cause: i64 = 0
        self.time_us: i64 = 0

    def begin(self, destination: i64, kind: i64, words: i64) -> BytesWriter:
        stream = self.each[destination]
        stream.cause = self.cause
        stream.time_us = self.time_us
        return stream.begin(kind, words)

    def bytes_waiting(self) -> i64:
        total: i64 = 0
        for stream in self.each:
            total += len(stream.out)
        return total

    def sequences(self) -> list[i64]:
        """The number of the last record for each destination."""
        return [stream.sequence for stream in self.each]

    def restore(self, sequences: list[i64]) -> None:
        for destination in range(len(self.each)):
            self.each[destination].sequence = sequences[destination]


@final
class OrdersOut(Orders):
    """A request is told by the record's cause."""

    __slots__ = ("partitions", "streams")

    def __init__(self, origin: i64, partitions: i64) -> None:
        self.partitions = partitions
        self.streams = Streams(origin, partitions)

    def begin(self, symbol: i64, kind: i64, words: i64) -> BytesWriter:
        return self.streams.begin(symbol % self.partitions, kind, words)

    def list_symbol(
        self, revision: i64, symbol: i64, ticks: i64, tick_lot_atoms: i64, min_notional_atoms: i64, band_down_ppm: i64, band_up_ppm: i64,
        reference_ticks: i64, level_orders_max: i64, status: i64,
    ) -> None:  # fmt: skip
        out = self.begin(symbol, records.ENGINE_LIST, 14)
        write_i64_le(out, revision)
        write_i64_le(out, symbol)
        write_i64_le(out, ticks)
        write_i64_le(out, tick_lot_atoms)
        write_i64_le(out, min_notional_atoms)
        write_i64_le(out, band_down_ppm)
        write_i64_le(out, band_up_ppm)
        write_i64_le(out, reference_ticks)
        write_i64_le(out, level_orders_max)
        write_i64_le(out, status)

    def set_status(self, revision: i64, symbol: i64, status: i64) -> None:
        out = self.begin(symbol, records.ENGINE_STATUS, 7)
        write_i64_le(out, revision)
        write_i64_le(out, symbol)
        write_i64_le(out, status)

    def place(self, order_id: i64, hold: i64, account_id: i64, terms: i64, price_ticks: i64, qty_lots: i64, budget: i64) -> None:
        out = self.begin(terms >> SYMBOL_SHIFT, records.ENGINE_PLACE, 11)
        write_i64_le(out, order_id)
        write_i64_le(out, hold)
        write_i64_le(out, account_id)
        write_i64_le(out, terms)
        write_i64_le(out, price_ticks)
        write_i64_le(out, qty_lots)
        write_i64_le(out, budget)

    def cancel(self, symbol: i64, order_id: i64, order: i64, request: i64) -> None:
        out = self.begin(symbol, records.ENGINE_CANCEL, 6)
        write_i64_le(out, order_id)
        write_i64_le(out, order)

    def reduce(self, symbol: i64, order_id: i64, order: i64, by_lots: i64, request: i64) -> None:
        out = self.begin(symbol, records.ENGINE_REDUCE, 7)
        write_i64_le(out, order_id)
        write_i64_le(out, order)
        write_i64_le(out, by_lots)

    def move(self, symbol: i64, order_id: i64, order: i64, hold: i64, price_ticks: i64, stp: i64) -> None:
        out = self.begin(symbol, records.ENGINE_MOVE, 9)
        write_i64_le(out, order_id)
        write_i64_le(out, order)
        write_i64_le(out, hold)
        write_i64_le(out, price_ticks)
        write_i64_le(out, stp)

    def checkpoint(self) -> None:
        """To every engine."""
        for partition in range(self.partitions):
            self.streams.begin(partition, records.ENGINE_CHECKPOINT, records.LINK_WORDS)

    def set_version(self, version: i64) -> None:
        """To every engine."""
        for partition in range(self.partitions):
            write_i64_le(self.streams.begin(partition, records.ENGINE_VERSION, 5), version)


@final
class OutcomesOut(Outcomes):
    """`entered`: the order that came in, or was moved, last, for whoever has to say whether it came to rest."""

    __slots__ = ("entered", "shards", "streams")

    def __init__(self, origin: i64, shards: i64) -> None:
        self.shards = shards
        self.streams = Streams(origin, shards)
        self.entered: i64 = NO_ORDER

    def begin(self, order_id: i64, kind: i64, words: i64) -> BytesWriter:
        return self.streams.begin(order_id % self.shards, kind, words)

    def accepted(self, hold: i64, order_id: i64, order: i64) -> None:
        self.entered = order_id
        out = self.begin(order_id, records.OUTCOME_ACCEPTED, 7)
        write_i64_le(out, hold)
        write_i64_le(out, order_id)
        write_i64_le(out, order)

    def fill(self, hold: i64, order_id: i64, is_taker: i64, trade_id: i64, price_ticks: i64, qty_lots: i64) -> None:
        out = self.begin(order_id, records.OUTCOME_FILL, 10)
        write_i64_le(out, hold)
        write_i64_le(out, order_id)
        write_i64_le(out, is_taker)
        write_i64_le(out, trade_id)
        write_i64_le(out, price_ticks)
        write_i64_le(out, qty_lots)

    def reduced(self, hold: i64, order_id: i64, by_lots: i64, reason: i64) -> None:
        out = self.begin(order_id, records.OUTCOME_REDUCED, 8)
        write_i64_le(out, hold)
        write_i64_le(out, order_id)
        write_i64_le(out, by_lots)
        write_i64_le(out, reason)

    def moved(self, hold: i64, order_id: i64) -> None:
        self.entered = order_id
        out = self.begin(order_id, records.OUTCOME_MOVED, 6)
        write_i64_le(out, hold)
        write_i64_le(out, order_id)

    def move_rejected(self, hold: i64, order_id: i64, reason: i64) -> None:
        out = self.begin(order_id, records.OUTCOME_MOVE_REJECTED, 7)
        write_i64_le(out, hold)
        write_i64_le(out, order_id)
        write_i64_le(out, reason)

    def done(self, hold: i64, order_id: i64, reason: i64, request: i64) -> None:
        out = self.begin(order_id, records.OUTCOME_DONE, 8)
        write_i64_le(out, hold)
        write_i64_le(out, order_id)
        write_i64_le(out, reason)
        write_i64_le(out, request)

    def rejected(self, hold: i64, order_id: i64, reason: i64) -> None:
        out = self.begin(order_id, records.OUTCOME_REJECTED, 7)
        write_i64_le(out, hold)
        write_i64_le(out, order_id)
        write_i64_le(out, reason)

    def cancel_rejected(self, order_id: i64, reason: i64, request: i64) -> None:
        out = self.begin(order_id, records.OUTCOME_CANCEL_REJECTED, 7)
        write_i64_le(out, order_id)
        write_i64_le(out, reason)
        write_i64_le(out, request)

    def rested(self, order_id: i64) -> None:
        """It has traded what it could, and stands in the book: its request is answered."""
        write_i64_le(self.begin(order_id, records.OUTCOME_RESTED, 5), order_id)


@final
class PeersOut(Peers):
    __slots__ = ("shard", "shards", "streams")

    def __init__(self, shard: i64, shards: i64) -> None:
        self.shard = shard
        self.shards = shards
        self.streams = Streams(shard, shards)

    def credit(self, transfer_id: i64, asset: i64, atoms: i64, from_account: i64, to_account: i64) -> None:
        out = self.streams.begin((to_account & ACCOUNT_MAX) % self.shards, records.CREDIT, 9)
        write_i64_le(out, transfer_id)
        write_i64_le(out, asset)
        write_i64_le(out, atoms)
        write_i64_le(out, from_account)
        write_i64_le(out, to_account)

    def give_back(
        self, shard: i64, transfer_id: i64, asset: i64, atoms: i64, from_account: i64, to_account: i64, reason: i64
    ) -> None:  # fmt: skip
        out = self.streams.begin(shard, records.CREDIT_RETURNED, 10)
        write_i64_le(out, transfer_id)
        write_i64_le(out, asset)
        write_i64_le(out, atoms)
        write_i64_le(out, from_account)
        write_i64_le(out, to_account)
        write_i64_le(out, reason)

    def hand_on(self, data: bytes, at: i64, words: i64) -> None:
        """A command about listings, versions or checkpoints, to every other shard."""
        for shard in range(self.shards):
            if shard != self.shard:
                out = self.streams.begin(shard, records.HANDED_ON, records.LINK_WORDS + words)
                for index in range(words):
                    write_i64_le(out, read_i64_le(data, at + (index << 3)))
