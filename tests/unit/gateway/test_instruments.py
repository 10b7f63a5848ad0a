"""Instruments where a symbol's streams tell of it one after the other, as in a cluster."""

from __future__ import annotations

from itertools import count

from zerosum.core import records
from zerosum.core.codes import FIRST_USER, TRADING
from zerosum.core.records import text_words
from zerosum.gateway.entry import Event
from zerosum.gateway.instruments import Instruments
from zerosum.views.views import Views

HOME, OTHER = 0, 1
ACCOUNT = FIRST_USER + 1  # of the other shard


def listings() -> list[Event]:
    """The account events by which a shard tells of BTCUSDT."""
    numbers = count(1)

    def event(kind: int, fields: tuple[int, ...]) -> Event:
        return (records.head(kind, 4 + len(fields)), next(numbers), 1, 1, *fields)

    btc, usdt = (0, 8, *text_words("BTC", 2)), (1, 6, *text_words("USDT", 2))
    names = records.ACCOUNT_EVENTS[records.SYMBOL_LISTED][1]
    words = dict(zip(("name_1", "name_2", "name_3"), text_words("BTCUSDT", 3), strict=True))
    symbol = dict.fromkeys(names, 1) | {"symbol": 0, "base": 0, "quote": 1} | words
    return [
        event(records.ASSET_LISTED, btc),
        event(records.ASSET_LISTED, usdt),
        event(records.SYMBOL_LISTED, tuple(symbol[name] for name in names)),
    ]


def market_opened() -> list[Event]:
    fields = (0, TRADING, 1, 1)
    return [(records.head(records.MARKET_STATUS, 4 + len(fields)), 1, 1, 1, *fields)]


def test_an_order_is_shown_before_the_first_shard_and_the_engine_have_told_of_its_symbol() -> None:
    views = Views(2, 1)
    instruments = Instruments(views)
    views.apply_account_events(OTHER, listings())
    assert instruments.of_order(ACCOUNT, 0).name == "BTCUSDT"
    assert instruments.all() == []
    views.apply_account_events(HOME, listings())
    assert instruments.named("BTCUSDT") is None, "nobody knows its market"
    assert instruments.all() == []
    assert instruments.of_order(ACCOUNT, 0).quote_name == "USDT"
    views.apply_market_events(0, market_opened())
    assert instruments.all() == [instruments.named("BTCUSDT")]
    assert instruments.of_order(ACCOUNT, 0) is instruments.named("BTCUSDT")
