"""What the views refuse, and the questions that only a market buy asks of a book."""

from __future__ import annotations

import pytest

from zerosum.core import codes, records
from zerosum.core.exchange import Exchange
from zerosum.core.listings import Symbol
from zerosum.core.records import command, terms, text_words
from zerosum.views.events import unpacked
from zerosum.views.markets import Ladder, Market
from zerosum.views.views import Views

ANN = 16


def events_of(*commands: bytes) -> tuple[bytes, bytes]:
    exchange = Exchange(reserve=1 << 10)
    assert exchange.advance(b"".join(commands), 0) == sum(map(len, commands))
    return exchange.take_account_events(), exchange.take_market_events()


LISTED = (
    command(records.LIST_ASSET, 1, 0, 2, *text_words("AAA", 2)),
    command(records.LIST_ASSET, 1, 1, 2, *text_words("BBB", 2)),
    command(records.LIST_SYMBOL, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1000, 1, 1000, 0, 0, 0, 0, 0, 0, 0, codes.TRADING, *text_words("AAABBB", 3)),
)
FUNDED = (command(records.OPEN_ACCOUNT, 1, ANN, 0, 0), command(records.DEPOSIT, 1, ANN, 1, 1, 10_000))
PLACED = command(records.PLACE, 2, ANN, terms(0, codes.BUY, codes.LIMIT), 5, 7, 0, 0, *text_words("mine", 5))


def test_bytes_and_events_give_the_same_views() -> None:
    account_events, market_events = events_of(*LISTED, *FUNDED, PLACED)
    by_bytes, by_events = Views(), Views()
    by_bytes.apply(account_events, market_events)
    by_events.apply(unpacked(account_events), unpacked(market_events))
    for views in (by_bytes, by_events):
        order = views.order_by_client(ANN, text_words("mine", 5))
        assert order is not None
        assert (order.order_id, order.price_ticks, order.open_lots) == (1, 5, 7)
        assert views.market(0).bids.best() == (5, 7)


def test_unpacked_is_what_records_reads() -> None:
    account_events, _ = events_of(*LISTED, *FUNDED, PLACED)
    assert unpacked(account_events) == list(records.records(account_events))


@pytest.mark.parametrize("left_out", [0, 1, 5])
def test_a_stream_with_a_gap_stops_the_views(left_out: int) -> None:
    """A view that missed an event would show wrong balances for ever."""
    account_events = unpacked(events_of(*LISTED, *FUNDED, PLACED)[0])
    with pytest.raises(AssertionError, match="a stream is taken densely"):
        Views().apply([event for place, event in enumerate(account_events) if place != left_out], [])


def test_a_repeat_stops_the_views() -> None:
    account_events, market_events = events_of(*LISTED)
    views = Views()
    views.apply(account_events, market_events)
    with pytest.raises(AssertionError, match="a stream is taken densely"):
        views.apply(account_events, b"")


def test_an_event_of_an_unknown_kind_stops_the_views() -> None:
    with pytest.raises(AssertionError, match="every kind of event, but not 99"):
        Views().apply([(99, 1, 1, 1)], [])


def test_another_accounts_order_is_not_found() -> None:
    views = Views()
    views.apply(*events_of(*LISTED, *FUNDED, PLACED))
    assert views.order(ANN, 1) is not None
    assert views.order(ANN + 1, 1) is None
    assert views.order_by_client(ANN + 1, text_words("mine", 5)) is None
    assert views.order(ANN, 2) is None


@pytest.mark.parametrize(
    ("qty_lots", "levels_max", "price"),
    [(1, 3, 100), (3, 1, 100), (4, 3, 101), (8, 2, 101), (9, 3, 105), (10, 3, 105), (11, 3, 0), (9, 2, 0)],
)
def test_the_price_for_a_quantity_is_that_of_its_last_lot(qty_lots: int, levels_max: int, price: int) -> None:
    asks = Ladder(-1)
    for price_ticks, lots in ((105, 2), (100, 3), (101, 5)):
        asks.put(price_ticks, lots)
    assert asks.price_for(qty_lots, levels_max) == price


@pytest.mark.parametrize(
    ("reference_ticks", "up_ppm", "edge"),
    [(0, 1_200_000, 0), (100, 0, 0), (100, 1_200_000, 120), (101, 1_005_000, 101), (900, 1_200_000, 1000)],
)
def test_the_bands_upper_edge(reference_ticks: int, up_ppm: int, edge: int) -> None:
    symbol = Symbol(0, 0, 1, 1, 1, 1, 1, 1, 1000, 1, 1000, 0, 0, 0, up_ppm, 0, 0, 0, codes.TRADING, "AAABBB")
    market = Market()
    market.reference_ticks = reference_ticks
    assert market.band_high(symbol) == edge
