"""
Candles: what was traded in each minute, hour and day, and any interval made of those.

    stored     1m            1h                         1d
    read       1m 3m .. 30m  1h 2h 4h 6h 8h 12h         1d 3d 1w 1M

An hour and a day are stored beside the minute, so that a read of long intervals looks at no more than 60 rows for each. Intervals begin at
multiples of their length since 1970, weeks on Monday, months on the first, all UTC. One without a trade has no kline.
"""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple, final

from zerosum.settlement.rows import KlineRow

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
STORED_US: Final = (MINUTE_US, HOUR_US, DAY_US)
MONDAY_US: Final = 4 * DAY_US  # 1970-01-05, the first Monday
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class Interval(NamedTuple):
    """`length_us` 0: a calendar month. Made of the stored klines of `stored_us`."""

    length_us: int
    stored_us: int

    def open_us(self, time_us: int) -> int:
        """When the interval began that `time_us` is in."""
        if self.length_us == 0:
            return (date.fromordinal(EPOCH_DAY + time_us // DAY_US).replace(day=1).toordinal() - EPOCH_DAY) * DAY_US
        offset_us = MONDAY_US if self.length_us == 7 * DAY_US else 0
        return time_us - (time_us - offset_us) % self.length_us

    def end_us(self, open_us: int) -> int:
        """When the interval ends that began at `open_us`: the next one's begin."""
        if self.length_us == 0:
            return self.open_us(open_us + 31 * DAY_US)
        return open_us + self.length_us


INTERVALS: Final = {
    **{f"{n}m": Interval(n * MINUTE_US, MINUTE_US) for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": Interval(n * HOUR_US, HOUR_US) for n in (1, 2, 4, 6, 8, 12)},
    **{f"{n}d": Interval(n * DAY_US, DAY_US) for n in (1, 3)},
    "1w": Interval(7 * DAY_US, DAY_US),
    "1M": Interval(0, DAY_US),
}


@final
class Kline:
    __slots__ = (
        "close_ticks", "high_ticks", "low_ticks", "open_ticks", "open_us", "quote_atoms", "taker_buy_lots", "taker_buy_quote_atoms",
        "trades", "volume_lots",
    )  # fmt: skip

    def __init__(self, open_us: int, price_ticks: int) -> None:
        """Nothing traded yet; the first trade's price."""
        self.open_us = open_us
        self.open_ticks = self.high_ticks = self.low_ticks = self.close_ticks = price_ticks
        self.volume_lots = self.quote_atoms = self.trades = 0
        self.taker_buy_lots = self.taker_buy_quote_atoms = 0

    def trade(self, price_ticks: int, qty_lots: int, quote_atoms: int, taker_is_buyer: bool) -> None:
        if price_ticks > self.high_ticks:
            self.high_ticks = price_ticks
        elif price_ticks < self.low_ticks:
            self.low_ticks = price_ticks
        self.close_ticks = price_ticks
        self.volume_lots += qty_lots
        self.quote_atoms += quote_atoms
        self.trades += 1
        if taker_is_buyer:
            self.taker_buy_lots += qty_lots
            self.taker_buy_quote_atoms += quote_atoms

    def add(self, later: Kline) -> None:
        """Take in a kline that comes after this one and belongs to the same interval."""
        self.high_ticks = max(self.high_ticks, later.high_ticks)
        self.low_ticks = min(self.low_ticks, later.low_ticks)
        self.close_ticks = later.close_ticks
        self.volume_lots += later.volume_lots
        self.quote_atoms += later.quote_atoms
        self.trades += later.trades
        self.taker_buy_lots += later.taker_buy_lots
        self.taker_buy_quote_atoms += later.taker_buy_quote_atoms

    def row(self, symbol: int, interval_us: int) -> KlineRow:
        return KlineRow(
            symbol, interval_us, self.open_us, self.open_ticks, self.high_ticks, self.low_ticks, self.close_ticks, str(self.volume_lots),
            str(self.quote_atoms), self.trades, str(self.taker_buy_lots), str(self.taker_buy_quote_atoms),
        )  # fmt: skip

    @classmethod
    def of(cls, row: KlineRow) -> Kline:
        kline = cls(row.open_us, row.open_ticks)
        kline.high_ticks = row.high_ticks
        kline.low_ticks = row.low_ticks
        kline.close_ticks = row.close_ticks
        kline.volume_lots = int(row.volume_lots)
        kline.quote_atoms = int(row.quote_atoms)
        kline.trades = row.trades
        kline.taker_buy_lots = int(row.taker_buy_lots)
        kline.taker_buy_quote_atoms = int(row.taker_buy_quote_atoms)
        return kline
