"""Candles as they are stored, and longer ones made of them."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from tests.unit.settlement.support import ALICE, BOB, START_US, SYMBOL, Run, dump, joined, opened_market, read, settle, settled
from zerosum.core.codes import BUY, SELL
from zerosum.settlement.history import TIME_US_MAX, Candle, History
from zerosum.settlement.klines import DAY_US, HOUR_US, INTERVALS, MINUTE_US, STORED_US, Interval, Kline

When = tuple[int, int, int, *tuple[int, ...]]


def trade(run: Run, *, at_us: int, price: int, qty: int, taker_side: int) -> None:
    run.time_us = at_us - 2
    maker, taker = (ALICE, BOB)
    run.place(maker, 1 - taker_side, price, qty)
    run.place(taker, taker_side, price, qty)
    assert run.time_us == at_us


def micros(year: int, month: int, day: int, *clock: int) -> int:
    hour, minute, second = (*clock, 0, 0, 0)[:3]
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("interval", "time", "opens", "ends"),
    [
        ("1m", (2024, 2, 29, 23, 59, 30), (2024, 2, 29, 23, 59), (2024, 3, 1)),
        ("30m", (2024, 2, 29, 23, 59, 30), (2024, 2, 29, 23, 30), (2024, 3, 1)),
        ("4h", (2024, 2, 29, 23, 59, 30), (2024, 2, 29, 20), (2024, 3, 1)),
        ("1d", (2024, 2, 29), (2024, 2, 29), (2024, 3, 1)),
        ("3d", (1970, 1, 6), (1970, 1, 4), (1970, 1, 7)),
        ("1w", (2024, 2, 29), (2024, 2, 26), (2024, 3, 4)),  # a Monday
        ("1w", (2024, 2, 26), (2024, 2, 26), (2024, 3, 4)),
        ("1M", (2024, 2, 29, 23, 59, 59), (2024, 2, 1), (2024, 3, 1)),
        ("1M", (2023, 12, 31), (2023, 12, 1), (2024, 1, 1)),
    ],
)
def test_where_an_interval_begins_and_ends(interval: str, time: When, opens: When, ends: When) -> None:
    kind = INTERVALS[interval]
    assert kind.open_us(micros(*time)) == micros(*opens)
    assert kind.end_us(micros(*opens)) == micros(*ends)


@pytest.mark.parametrize("interval", INTERVALS)
def test_an_interval_is_made_of_whole_stored_ones(interval: str) -> None:
    kind = INTERVALS[interval]
    assert kind.stored_us in STORED_US
    assert kind.length_us % kind.stored_us == 0
    assert kind.open_us(TIME_US_MAX) <= TIME_US_MAX < kind.end_us(kind.open_us(TIME_US_MAX))


def test_a_minute(tmp_path: Path) -> None:
    run = opened_market()
    open_us = START_US // MINUTE_US * MINUTE_US + MINUTE_US
    trade(run, at_us=open_us, price=100, qty=5, taker_side=BUY)
    trade(run, at_us=open_us + 10, price=120, qty=3, taker_side=SELL)
    trade(run, at_us=open_us + 20, price=90, qty=2, taker_side=BUY)
    trade(run, at_us=open_us + MINUTE_US - 1, price=95, qty=1, taker_side=SELL)
    trade(run, at_us=open_us + MINUTE_US, price=500, qty=1, taker_side=SELL)
    history = History(settled(tmp_path / "settled.db", run))
    first, second = history.klines(SYMBOL, "1m", limit=10)
    assert first == Candle(
        open_us, open_us + MINUTE_US, 100, 120, 90, 95, 11, (500 + 360 + 180 + 95) * 10, 4, 7, (500 + 180) * 10
    )  # fmt: skip
    assert (second.open_us, second.open_ticks, second.trades) == (open_us + MINUTE_US, 500, 1)


def traded_for_days(seed: int) -> tuple[Run, list[tuple[int, int, int, int]]]:
    """Trades over some 40 days, by time, price, lots and the taker's side."""
    random = Random(seed)
    run = opened_market()
    told = []
    at_us = START_US // DAY_US * DAY_US + DAY_US
    for _ in range(300):
        at_us += random.choice((3, MINUTE_US // 3, 7 * MINUTE_US, HOUR_US, 11 * HOUR_US))
        price, qty, side = random.randint(80, 120), random.randint(1, 9), random.randrange(2)
        trade(run, at_us=at_us, price=price, qty=qty, taker_side=side)
        told.append((at_us, price, qty, side))
    return run, told


def expected_candles(told: list[tuple[int, int, int, int]], interval: Interval) -> list[Candle]:
    by_open: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    for each in told:
        by_open[interval.open_us(each[0])].append(each)
    candles = []
    for open_us, group in by_open.items():
        prices = [price for _, price, _, _ in group]
        bought = [(price, qty) for _, price, qty, side in group if side == BUY]
        candles.append(
            Candle(
                open_us, interval.end_us(open_us), prices[0], max(prices), min(prices), prices[-1], sum(qty for _, _, qty, _ in group),
                sum(price * qty * 10 for _, price, qty, _ in group), len(group), sum(qty for _, qty in bought),
                sum(price * qty * 10 for price, qty in bought),
            )
        )  # fmt: skip
    return candles


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[History, list[tuple[int, int, int, int]]]:
    run, told = traded_for_days(1)
    return History(settled(tmp_path_factory.mktemp("klines") / "settled.db", run)), told


@pytest.mark.parametrize("interval", INTERVALS)
def test_longer_intervals_are_what_was_traded_in_them(long: tuple[History, list[tuple[int, int, int, int]]], interval: str) -> None:
    history, told = long
    expected = expected_candles(told, INTERVALS[interval])
    assert history.klines(SYMBOL, interval, limit=10_000) == expected
    assert history.klines(SYMBOL, interval, start_us=0, limit=10_000) == expected
    assert history.klines(SYMBOL, interval, limit=2) == expected[-2:]
    assert history.klines(SYMBOL, interval, start_us=0, limit=2) == expected[:2]
    some = expected[len(expected) // 3 : len(expected) * 2 // 3 + 1]
    assert history.klines(SYMBOL, interval, start_us=some[0].open_us, end_us=some[-1].open_us, limit=10_000) == some
    assert history.klines(SYMBOL, interval, end_us=some[-1].end_us - 1, limit=1) == some[-1:]
    after_the_first = history.klines(SYMBOL, interval, start_us=expected[0].open_us + 1, limit=10_000)
    assert after_the_first == expected[1:]


def test_times_far_off_are_no_error(long: tuple[History, list[tuple[int, int, int, int]]]) -> None:
    history, _ = long
    for interval in INTERVALS:
        assert history.klines(SYMBOL, interval, start_us=1 << 62, limit=5) == []
        assert history.klines(SYMBOL, interval, end_us=-(1 << 62), limit=5) == []
        assert len(history.klines(SYMBOL, interval, start_us=-(1 << 62), end_us=1 << 62, limit=1)) == 1


def test_a_volume_past_63_bits_is_exact() -> None:
    """A kline sums many trades, each of which may be as large as an asset's whole supply."""
    kline = Kline(0, 7)
    for _ in range(5):
        kline.trade(7, (1 << 62) - 1, (1 << 62) - 2, True)
    row = kline.row(SYMBOL, MINUTE_US)
    assert (row.volume_lots, row.quote_atoms) == (str(5 * ((1 << 62) - 1)), str(5 * ((1 << 62) - 2)))
    assert Kline.of(row).row(SYMBOL, MINUTE_US) == row


def test_a_restart_in_the_middle_of_a_minute_goes_on_with_it(tmp_path: Path) -> None:
    run, _ = traded_for_days(2)
    expected = dump(settled(tmp_path / "expected.db", run))["klines"]
    path = tmp_path / "settled.db"
    for at in range(0, len(run.batches), 7):
        settle(path, [joined(run.batches[at : at + 7])])
    assert dump(path)["klines"] == expected
    assert read(path, "SELECT DISTINCT interval_us FROM klines ORDER BY 1") == [(interval_us,) for interval_us in STORED_US]
