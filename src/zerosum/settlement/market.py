"""
Market events to rows: trades, klines, and the status of symbols.

Always true of what comes out, or SettlementBroken is raised: trade ids are dense per symbol.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NoReturn, Protocol, final

from zerosum.core import records
from zerosum.core.codes import BUY
from zerosum.settlement.batch import MARKET, SEQUENCE, Event
from zerosum.settlement.errors import SettlementBroken
from zerosum.settlement.klines import MINUTE_US, STORED_US, Kline
from zerosum.settlement.pairing import Told
from zerosum.settlement.rows import KlineRow, MarketRow, Rows

KIND_MASK: Final = 0xFF
HEAD_MASK: Final = 0xFFFF  # kind and format
TRADE_HEAD: Final = records.TRADE | records.FORMAT << 8
MARKET_STATUS_HEAD: Final = records.MARKET_STATUS | records.FORMAT << 8
# Views show the book; the record keeps what was traded.
NO_ROW_HEADS: Final = frozenset(
    kind | records.FORMAT << 8
    for kind in (
        records.BOOK, records.MARKET_CHECKPOINTED, records.MARKET_VERSION_SET, records.MARKET_PASSED_OVER, records.MARKET_FOREIGN,
    )
)  # fmt: skip


class MarketPast(Protocol):
    """What a record already holds."""

    def markets(self) -> Iterable[MarketRow]: ...

    def last_trade_ids(self) -> Iterable[tuple[int, int]]:
        """Symbol and last trade id."""

    def last_klines(self) -> Iterable[KlineRow]:
        """The newest of each symbol and stored interval: time never goes back, so no other can still change."""


@final
class MarketTranslator:
    """Between batches it remembers the last trade id and the newest klines of each symbol."""

    def __init__(self, past: MarketPast) -> None:
        self._markets = {row.symbol: row for row in past.markets()}
        self._last_trade_ids = dict(past.last_trade_ids())
        self._klines = {(row.symbol, row.interval_us): Kline.of(row) for row in past.last_klines()}
        self._pieces: dict[tuple[int, int], Kline] = {}  # by symbol and minute: what this batch traded

    def markets(self) -> list[MarketRow]:
        """Of each symbol, as last told."""
        return list(self._markets.values())

    def last_trade_ids(self) -> list[tuple[int, int]]:
        return list(self._last_trade_ids.items())

    def last_klines(self) -> list[KlineRow]:
        """Of each symbol and interval."""
        return [kline.row(symbol, interval_us) for (symbol, interval_us), kline in self._klines.items()]

    def translate(self, events: Iterable[Event], rows: Rows) -> list[Told]:
        """Put what the events change into `rows`, and return the Trades that they tell of. Of no more use after an exception."""
        trades: list[Told] = []
        for event in events:
            head = event[0] & HEAD_MASK
            if head == TRADE_HEAD:
                trades.append(self._trade(event, rows))
            elif head == MARKET_STATUS_HEAD:
                self._status(event, rows)
            elif head not in NO_ROW_HEADS:
                broken(event, f"kind {head & KIND_MASK} of format {head >> 8} is not known to this program")
        self._write_klines(rows)
        return trades

    def _trade(self, event: Event, rows: Rows) -> Told:
        (
            _, sequence, _, time_us, trade_id, symbol_side, price_ticks, qty_lots, taker_order_id, maker_order_id, taker_account,
            maker_account, _, _,
        ) = event  # fmt: skip
        symbol = symbol_side >> 1
        side = symbol_side & 1
        if trade_id != self._last_trade_ids.get(symbol, 0) + 1:
            broken(event, f"the trade before it of symbol {symbol} is {self._last_trade_ids.get(symbol, 0)}, not {trade_id - 1}")
        self._last_trade_ids[symbol] = trade_id
        market = self._markets.get(symbol)
        if market is None:
            broken(event, f"symbol {symbol} has no market")
        quote_atoms = price_ticks * qty_lots * market.tick_lot_atoms
        buyer, seller = (taker_account, maker_account) if side == BUY else (maker_account, taker_account)
        rows.trades.append(
            (
                symbol, trade_id, price_ticks, qty_lots, quote_atoms, taker_order_id, maker_order_id, buyer, seller, 1 - side, time_us,
                sequence,
            )
        )  # fmt: skip
        open_us = time_us - time_us % MINUTE_US
        piece = self._pieces.get((symbol, open_us))
        if piece is None:
            piece = self._pieces[symbol, open_us] = Kline(open_us, price_ticks)
        piece.trade(price_ticks, qty_lots, quote_atoms, side == BUY)
        return symbol, trade_id, price_ticks, qty_lots, side, taker_order_id, maker_order_id, taker_account, maker_account

    def _write_klines(self, rows: Rows) -> None:
        changed: dict[tuple[int, int, int], KlineRow] = {}
        for (symbol, minute_us), piece in self._pieces.items():  # in the order of time for each symbol
            for interval_us in STORED_US:
                open_us = minute_us - minute_us % interval_us
                kline = self._klines.get((symbol, interval_us))
                if kline is None or kline.open_us != open_us:
                    kline = self._klines[symbol, interval_us] = Kline(open_us, piece.open_ticks)
                kline.add(piece)
                changed[symbol, interval_us, open_us] = kline.row(symbol, interval_us)
        rows.klines.extend(changed.values())
        self._pieces.clear()

    def _status(self, event: Event, rows: Rows) -> None:
        _, _, _, time_us, symbol, status, reference_ticks, tick_lot_atoms = event
        self._markets[symbol] = MarketRow(symbol, status, reference_ticks, tick_lot_atoms, time_us)
        rows.markets.append(self._markets[symbol])


def broken(event: Event, why: str) -> NoReturn:
    raise SettlementBroken(MARKET, event[SEQUENCE], f"{records.kind_name(event[0] & KIND_MASK)}: {why}")
