"""
Writes the machines' events, each stream numbered densely from 1. Layouts: `records`.

    AccountEvents   of one UBSCore: of its accounts alone        MarketEvents   of one matching engine: of its symbols alone

Their bytes are what views and settlement read. Embedded, one of each is all there is.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, write_i64_le
from mypy_extensions import i64

from zerosum.core import records

FORMAT_BITS: Final = records.FORMAT << 8


@final
class Stream:
    """The bytes of one stream's records since they were last taken, and the number of the last."""

    __slots__ = ("cause", "head_bits", "out", "sequence", "time_us")

    def __init__(self, origin: i64 = 0) -> None:
        self.head_bits: i64 = FORMAT_BITS | origin << 32
        self.out = BytesWriter()
        self.sequence: i64 = 0
        self.cause: i64 = 0
        self.time_us: i64 = 0

    def begin(self, kind: i64, words: i64) -> BytesWriter:
        """A record's first four words."""
        self.sequence += 1
        out = self.out
        write_i64_le(out, kind | self.head_bits | words << 16)
        write_i64_le(out, self.sequence)
        write_i64_le(out, self.cause)
        write_i64_le(out, self.time_us)
        return out

    def take(self) -> bytes:
        events = self.out.getvalue()
        self.out.truncate(0)  # keeps its memory
        return events


@final
class AccountEvents:
    __slots__ = ("stream",)

    def __init__(self, origin: i64 = 0) -> None:
        self.stream = Stream(origin)

    def admitted(
        self, order_id: i64, account_id: i64, terms: i64, price_ticks: i64, qty_lots: i64, budget_atoms: i64, available: i64, frozen: i64,
        a: i64, b: i64, c: i64, d: i64, e: i64,
    ) -> None:  # fmt: skip
        out = self.stream.begin(records.ADMITTED, 17)
        write_i64_le(out, order_id)
        write_i64_le(out, account_id)
        write_i64_le(out, terms)
        write_i64_le(out, price_ticks)
        write_i64_le(out, qty_lots)
        write_i64_le(out, budget_atoms)
        write_i64_le(out, available)
        write_i64_le(out, frozen)
        write_i64_le(out, a)
        write_i64_le(out, b)
        write_i64_le(out, c)
        write_i64_le(out, d)
        write_i64_le(out, e)

    def accepted(self, order_id: i64, account_id: i64) -> None:
        out = self.stream.begin(records.ACCEPTED, 6)
        write_i64_le(out, order_id)
        write_i64_le(out, account_id)

    def rested(self, order_id: i64, account_id: i64) -> None:
        out = self.stream.begin(records.RESTED, 6)
        write_i64_le(out, order_id)
        write_i64_le(out, account_id)

    def fill(
        self, order_id: i64, account_id: i64, terms: i64, is_taker: i64, trade_id: i64, price_ticks: i64, qty_lots: i64, fee_atoms: i64,
        open_lots: i64, paid_available: i64, paid_frozen: i64, got_available: i64, got_frozen: i64, fees_available: i64,
    ) -> None:  # fmt: skip
        out = self.stream.begin(records.FILL, 18)
        write_i64_le(out, order_id)
        write_i64_le(out, account_id)
        write_i64_le(out, terms)
        write_i64_le(out, is_taker)
        write_i64_le(out, trade_id)
        write_i64_le(out, price_ticks)
        write_i64_le(out, qty_lots)
        write_i64_le(out, fee_atoms)
        write_i64_le(out, open_lots)
        write_i64_le(out, paid_available)
        write_i64_le(out, paid_frozen)
        write_i64_le(out, got_available)
        write_i64_le(out, got_frozen)
        write_i64_le(out, fees_available)

    def changed(
        self, kind: i64, order_id: i64, account_id: i64, terms: i64, reason_or_price: i64, open_lots: i64, available: i64, frozen: i64
    ) -> None:
        """DONE, REJECTED, REDUCED, MOVE_REJECTED (with a reason), MOVED, MOVE_ADMITTED (with a price)."""
        out = self.stream.begin(kind, 11)
        write_i64_le(out, order_id)
        write_i64_le(out, account_id)
        write_i64_le(out, terms)
        write_i64_le(out, reason_or_price)
        write_i64_le(out, open_lots)
        write_i64_le(out, available)
        write_i64_le(out, frozen)

    def cancel_rejected(self, order_id: i64, reason: i64) -> None:
        out = self.stream.begin(records.CANCEL_REJECTED, 6)
        write_i64_le(out, order_id)
        write_i64_le(out, reason)

    def refused(self, command: i64, reason: i64, account_id: i64, order_id: i64) -> None:
        out = self.stream.begin(records.REFUSED, 8)
        write_i64_le(out, command)
        write_i64_le(out, reason)
        write_i64_le(out, account_id)
        write_i64_le(out, order_id)

    def cancel_admitted(self, order_id: i64, account_id: i64, a: i64, b: i64, c: i64, d: i64, e: i64) -> None:
        out = self.stream.begin(records.CANCEL_ADMITTED, 11)
        write_i64_le(out, order_id)
        write_i64_le(out, account_id)
        write_i64_le(out, a)
        write_i64_le(out, b)
        write_i64_le(out, c)
        write_i64_le(out, d)
        write_i64_le(out, e)

    def cancel_all_admitted(self, account_id: i64, symbol: i64, orders: i64) -> None:
        out = self.stream.begin(records.CANCEL_ALL_ADMITTED, 7)
        write_i64_le(out, account_id)
        write_i64_le(out, symbol)
        write_i64_le(out, orders)

    def transferred(
        self, transfer_id: i64, command: i64, asset: i64, atoms: i64, source: i64, source_available: i64, target: i64, target_available: i64
    ) -> None:
        out = self.stream.begin(records.TRANSFERRED, 12)
        write_i64_le(out, transfer_id)
        write_i64_le(out, command)
        write_i64_le(out, asset)
        write_i64_le(out, atoms)
        write_i64_le(out, source)
        write_i64_le(out, source_available)
        write_i64_le(out, target)
        write_i64_le(out, target_available)

    def account_changed(self, account_id: i64, status: i64, maker_ppm: i64, taker_ppm: i64, orders_max: i64) -> None:
        out = self.stream.begin(records.ACCOUNT_CHANGED, 9)
        write_i64_le(out, account_id)
        write_i64_le(out, status)
        write_i64_le(out, maker_ppm)
        write_i64_le(out, taker_ppm)
        write_i64_le(out, orders_max)

    def words(self, kind: i64, fields: list[i64]) -> None:
        """A rare event: what is listed, transfers between shards, checkpoints, versions, what is passed over."""
        out = self.stream.begin(kind, 4 + i64(len(fields)))
        for field in fields:
            write_i64_le(out, field)


@final
class MarketEvents:
    __slots__ = ("stream",)

    def __init__(self, origin: i64 = 0) -> None:
        self.stream = Stream(origin)

    def book(self, order_id: i64, symbol_side: i64, price_ticks: i64, open_lots: i64, level_lots: i64) -> None:
        """A resting order as it now is (open 0: no longer there), and its level's lots."""
        out = self.stream.begin(records.BOOK, 9)
        write_i64_le(out, order_id)
        write_i64_le(out, symbol_side)
        write_i64_le(out, price_ticks)
        write_i64_le(out, open_lots)
        write_i64_le(out, level_lots)

    def trade(
        self, trade_id: i64, symbol_side: i64, price_ticks: i64, qty_lots: i64, taker_order_id: i64, maker_order_id: i64,
        taker_account: i64, maker_account: i64, maker_open_lots: i64, level_lots: i64,
    ) -> None:  # fmt: skip
        """`symbol_side`: the taker's. The maker's order and level as they are after it."""
        out = self.stream.begin(records.TRADE, 14)
        write_i64_le(out, trade_id)
        write_i64_le(out, symbol_side)
        write_i64_le(out, price_ticks)
        write_i64_le(out, qty_lots)
        write_i64_le(out, taker_order_id)
        write_i64_le(out, maker_order_id)
        write_i64_le(out, taker_account)
        write_i64_le(out, maker_account)
        write_i64_le(out, maker_open_lots)
        write_i64_le(out, level_lots)

    def market_status(self, symbol: i64, status: i64, reference_ticks: i64, tick_lot_atoms: i64) -> None:
        out = self.stream.begin(records.MARKET_STATUS, 8)
        write_i64_le(out, symbol)
        write_i64_le(out, status)
        write_i64_le(out, reference_ticks)
        write_i64_le(out, tick_lot_atoms)

    def words(self, kind: i64, fields: list[i64]) -> None:
        """A rare event: checkpoints, versions, what is passed over."""
        out = self.stream.begin(kind, 4 + i64(len(fields)))
        for field in fields:
            write_i64_le(out, field)
