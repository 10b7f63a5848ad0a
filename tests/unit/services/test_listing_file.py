"""A listing file: what is wrong in it is told in its own words, and what is read is what the core lists."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from zerosum.core.listings import Asset, Symbol, symbol_fault
from zerosum.errors import ConfigError
from zerosum.services.listing_entry import symbol_entry
from zerosum.services.listing_file import load_listing

MARKET: dict[str, Any] = {
    "assets": [{"name": "BTC", "decimals": 8}, {"name": "USDT", "decimals": 2}],
    "symbols": [
        {"name": "BTCUSDT", "base": "BTC", "quote": "USDT", "tick": "0.01", "lot": "1", "max_price": "1000", "max_qty": "1000"},
    ],
}


def symbol(**changed: object) -> dict[str, Any]:
    """The market with other values in its symbol; None takes a key out."""
    table = copy.deepcopy(MARKET)
    entry = table["symbols"][0] | changed
    table["symbols"] = [{key: value for key, value in entry.items() if value is not None}]
    return table


def asset(**entry: object) -> dict[str, Any]:
    return {"assets": [entry]}


FAULTS = [
    ({}, "f.toml: there is neither an asset nor a symbol in it."),
    ({"assets": [], "symbols": []}, "f.toml: there is neither an asset nor a symbol in it."),
    ({"asset": [{"name": "A"}]}, "f.toml: asset is no such table; there are assets, symbols."),
    ({"assets": ["BTC"]}, "f.toml: assets must be tables: write [[assets]]"),
    ({"assets": 5}, "f.toml: assets must be tables: write [[assets]]"),
    ({"symbols": {"name": "X"}}, "f.toml: symbols must be tables: write [[symbols]]"),
    (asset(name="BTC", decimals="eight"), "f.toml: asset BTC: decimals 'eight' is no whole number in 0..18."),
    (asset(name="BTC", decimals=8.9), "f.toml: asset BTC: decimals 8.9 is no whole number in 0..18."),
    (asset(name="BTC", decimals=19), "f.toml: asset BTC: decimals 19 is no whole number in 0..18."),
    (asset(name="BTC", decimals=-1), "decimals -1 is no whole number in 0..18."),
    (asset(name="BTC", decimals=True), "decimals True is no whole number in 0..18."),
    (asset(decimals=8), "f.toml: asset ?: name is missing."),
    (asset(name=5), "f.toml: asset 5: name must be text, not 5."),
    (asset(name="btc"), "f.toml: asset btc: name 'btc' is not 1 to 16 of A-Z and 0-9."),
    (asset(name="BTC", digits=8), "f.toml: asset BTC: digits is no such setting; there are decimals, name."),
    ({"assets": [{"name": "A"}, {"name": "A"}]}, "f.toml: asset A: it stands there more than once."),
    (symbol(tick="0"), "f.toml: symbol BTCUSDT: tick 0 is not above 0 with at most 18 decimals."),
    (symbol(tick="0.0000000000000000001"), "tick 0.0000000000000000001 is not above 0 with at most 18 decimals."),
    (symbol(tick="-1"), "tick '-1' is no decimal number: write it as text, such as '0.01'."),
    (symbol(tick="1e-2"), "tick '1e-2' is no decimal number"),
    (symbol(tick=True), "tick True is no decimal number"),
    (symbol(tick=["0.01"]), "tick ['0.01'] is no decimal number"),
    (symbol(tick=float("nan")), "tick nan is no decimal number"),
    (symbol(tick="4611686018427387904"), "tick 4611686018427387904 is not above 0"),
    (symbol(lot="0.1"), "tick 0.01 x lot 0.1 = 0.001 is no whole number of atoms of USDT, which has 2 decimals."),
    (symbol(lot="0.000000001"), "lot 0.000000001 is no whole number of atoms of BTC, which has 8 decimals."),
    (symbol(max_price=None), "f.toml: symbol BTCUSDT: max_price is missing."),
    (symbol(max_price="1000.005"), "max_price 1000.005 is no whole number of ticks of 0.01."),
    (symbol(max_price="0"), "max_price 0 is below min_price, 0.01."),
    (symbol(min_price="2000"), "max_price 1000 is below min_price, 2000."),
    (symbol(min_price="0"), "min_price 0 is less than one tick."),
    (symbol(min_qty="0"), "min_qty 0 is less than one lot."),
    (symbol(max_price="10995116277.76"), "max_price 10995116277.76 is 1099511627776 ticks, and at most 1099511627775 are possible."),
    (symbol(max_qty="46116860185"), "max_qty 46116860185 is 4611686018500000000 atoms of BTC, which passes 4611686018427387903."),
    (
        symbol(max_price="10000000", max_qty="46116860184"),
        "max_price 10000000 x max_qty 46116860184 is 46116860184000000000 atoms of USDT, which passes 4611686018427387903.",
    ),
    (symbol(min_notional="0.001"), "min_notional 0.001 is no whole number of atoms of USDT of 0.01."),
    (symbol(min_notional="5", max_notional="4"), "min_notional 5 is above max_notional 4."),
    (symbol(band_down="1.5"), "f.toml: symbol BTCUSDT: band_down 1.5 is not in 0..1."),
    (symbol(band_down="0.1234567"), "band_down 0.1234567 is no whole number of millionths of 0.000001."),
    (symbol(band_up="0.5"), "band_up 0.5 is neither 0 nor in 1..100."),
    (symbol(band_up="100.1"), "band_up 100.1 is neither 0 nor in 1..100."),
    (symbol(reference="1000.01"), "reference 1000.01 is above max_price 1000."),
    (symbol(orders_max=10_001), "orders_max 10001 is no whole number in 0..10000."),
    (symbol(orders_max="5"), "orders_max '5' is no whole number in 0..10000."),
    (symbol(level_orders_max=1 << 63), "level_orders_max 9223372036854775808 is no whole number in 0..4611686018427387903."),
    (symbol(status="stop"), "status 'stop' is none of trading, halt, break."),
    (symbol(status=["halt"]), "status ['halt'] is none of trading, halt, break."),
    (symbol(base="XRP"), "base 'XRP' is no listed asset; listed are BTC, USDT."),
    (symbol(base=["BTC"]), "base ['BTC'] is no listed asset"),
    (symbol(quote="BTC"), "base 0 and quote 0 are not two listed assets"),
    (symbol(name="btc-usdt"), "name 'btc-usdt' is not 1 to 24 of A-Z and 0-9."),
    (symbol(name=5), "f.toml: symbol 5: name must be text, not 5."),
    (symbol(ticks="1"), "f.toml: symbol BTCUSDT: ticks is no such setting; there are band_down"),
]


@pytest.mark.parametrize(("table", "said"), FAULTS)
def test_a_fault_is_told_in_the_words_of_the_file(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_listing(table, "f.toml")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "table",
    [
        symbol(),
        symbol(tick=0.01, lot=1, max_price=1000.0, max_qty="1000.000"),
        symbol(min_price="0.05", min_qty="2", min_notional="5", max_notional="100", band_down="0.2", band_up="100", reference="999.99"),
        symbol(orders_max=10_000, level_orders_max=7, status="break"),
        symbol(tick="25", lot="0.04", max_price="1000"),
    ],
)
def test_what_is_read_is_what_the_core_lists_and_is_shown_as_it_was_written(table: dict[str, Any]) -> None:
    listing = load_listing(table, "f.toml")
    assert symbol_fault(listing.symbols[0], listing.assets, []) == ""
    entry = symbol_entry(listing.symbols[0], listing.assets)
    again = load_listing({**table, "symbols": [entry]}, "shown")
    assert again == listing
    assert len(listing.commands()) == 3


def test_assets_and_symbols_that_are_listed_are_found_by_their_names() -> None:
    listing = load_listing(MARKET, "f.toml")
    listed: tuple[list[Asset], list[Symbol]] = (listing.assets, listing.symbols)
    again = load_listing(symbol(status="halt", reference="5"), "f.toml", assets=listed[0], symbols=listed[1])
    assert (again.commands(), again.unchanged) == ([], ["BTCUSDT"]), "status and reference are those of the first listing"
    wider = load_listing(symbol(max_qty="2000"), "f.toml", assets=listed[0], symbols=listed[1])
    assert [(change.symbol, change.max_qty_lots) for change in wider.changed] == [(0, 2000)]
    more = load_listing(asset(name="ETH"), "f.toml", assets=listed[0], symbols=listed[1])
    assert more.assets == [Asset(2, 8, "ETH")]
    for changed, why in (
        (symbol(tick="0.02"), "tick of BTCUSDT is 0.01 and can't become 0.02: list a new symbol"),
        (symbol(max_price="2000"), "max_price of BTCUSDT is 1000 and can't become 2000"),
        (symbol(base="USDT", quote="BTC"), "base of BTCUSDT is BTC and can't become USDT"),
        (asset(name="BTC", decimals=2), "it is listed with 8 decimals, and can't have 2"),
    ):
        with pytest.raises(ConfigError, match=why):
            load_listing(changed, "f.toml", assets=listed[0], symbols=listed[1])
