"""What anyone is told: the time, what is listed and by which rules, books and trades."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway_world import ANN, BTC, BTCUSDT, USDT, World, list_symbol
from zerosum.core import codes, records
from zerosum.core.records import text_words

NOW_MS = 1_700_000_000_000


def test_ping_and_time(world: World) -> None:
    assert world.get("ping").body == {}
    assert world.get("time").body == {"serverTime": NOW_MS}
    assert world.raw("GET", "/api/v3/time", time_unit="MICROSECOND").body == {"serverTime": NOW_MS * 1000}


# ---------------------------------------------------------------------- exchangeInfo


def test_a_symbol_is_told_with_all_its_fields(world: World) -> None:
    info = world.get("exchangeInfo").body
    (symbol,) = info.pop("symbols")
    assert info == {
        "timezone": "UTC",
        "serverTime": NOW_MS,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 60_000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 10_000},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 20_000_000},
        ],
        "exchangeFilters": [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1000}],
    }
    assert symbol == {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "46116860184.27387903",
                "applyMaxToMarket": True,
                "avgPriceMins": 0,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }


def test_the_orders_that_an_account_may_have_open_are_what_is_told(world: World) -> None:
    (told,) = world.get("exchangeInfo").body["exchangeFilters"]
    account = world.views.account(ANN)
    assert account is not None
    assert account.orders_max == told["maxNumOrders"]


@pytest.mark.parametrize(
    ("rules", "up", "down"),
    [
        ({"band_up_ppm": 1_200_000, "band_down_ppm": 800_000}, "1.200000", "0.800000"),
        ({"band_up_ppm": 1_500_000}, "1.500000", "0.000000"),
        ({"band_down_ppm": 500_000}, "100000000.000000", "0.500000"),  # from one tick to the highest price
    ],
)
def test_a_band_is_told_as_a_filter(new_world: Callable[..., World], rules: dict[str, int], up: str, down: str) -> None:
    filters = new_world(rules=rules).get("exchangeInfo").body["symbols"][0]["filters"]
    band = {"filterType": "PERCENT_PRICE", "multiplierUp": up, "multiplierDown": down, "avgPriceMins": 0}
    assert filters[-1] == band


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({}, ["BTCUSDT", "ETHUSDT"]),
        ({"symbol": "ETHUSDT"}, ["ETHUSDT"]),
        ({"symbols": '["ETHUSDT","BTCUSDT"]'}, ["ETHUSDT", "BTCUSDT"]),
        ({"symbols": '["ETHUSDT"]', "permissions": "SPOT"}, ["ETHUSDT"]),
        ({"symbolStatus": "TRADING"}, ["BTCUSDT"]),
        ({"symbolStatus": "BREAK"}, ["ETHUSDT"]),
        ({"symbolStatus": "HALT"}, []),
        ({"permissions": '["SPOT","MARGIN"]'}, ["BTCUSDT", "ETHUSDT"]),
    ],
)
def test_symbols_are_told_by_name_and_status(world: World, params: dict[str, Any], names: list[str]) -> None:
    world.entry.command(records.LIST_ASSET, 2, 8, *text_words("ETH", 2))
    list_symbol(world.entry, "ETHUSDT", symbol=1, base=2, tick_decimals=3, lot_decimals=4, status=codes.BREAK)
    assert [symbol["symbol"] for symbol in world.get("exchangeInfo", **params).body["symbols"]] == names


def test_precisions_are_those_of_the_assets(world: World) -> None:
    """A client cuts what it sends to them: more than there are would be refused."""
    world.entry.command(records.LIST_ASSET, 2, 2, *text_words("EUR", 2))
    list_symbol(
        world.entry, "BTCEUR", symbol=1, quote=2, tick_decimals=0, lot=1, lot_decimals=2, max_price_ticks=10**6, max_qty_lots=10**6,
        min_notional_atoms=0,
    )  # fmt: skip
    (symbol,) = world.get("exchangeInfo", symbol="BTCEUR").body["symbols"]
    assert {name: symbol[name] for name in symbol if name.endswith("Precision")} == {
        "baseAssetPrecision": 8, "quotePrecision": 2, "quoteAssetPrecision": 2, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 2,
    }  # fmt: skip


def test_more_than_eight_decimals_are_written_where_they_are_needed(world: World) -> None:
    world.entry.command(records.LIST_ASSET, 2, 18, *text_words("ETH", 2))
    list_symbol(
        world.entry, "ETHBTC", symbol=1, base=2, quote=BTC, tick_decimals=6, lot=1, lot_decimals=2, max_price_ticks=10**6,
        max_qty_lots=400, min_notional_atoms=0,
    )  # fmt: skip
    symbol = world.get("exchangeInfo", symbol="ETHBTC").body["symbols"][0]
    assert (symbol["baseAssetPrecision"], symbol["quoteAssetPrecision"]) == (18, 8)
    assert symbol["filters"][0]["tickSize"] == "0.00000100"
    assert symbol["filters"][1]["stepSize"] == "0.01000000"
    assert world.signed("GET", "account").body["balances"][2]["free"] == "0.000000000000000000"


def test_permission_sets_are_left_out_on_request(world: World) -> None:
    assert world.get("exchangeInfo", showPermissionSets="false").body["symbols"][0]["permissionSets"] == []
    assert world.get("exchangeInfo").body["symbols"][0]["permissionSets"] == [["SPOT"]]


def test_what_is_told_follows_status_and_rules(world: World) -> None:
    """A client that reloads must see new rules, and orders must be held to them."""
    world.entry.command(records.SET_SYMBOL_STATUS, BTCUSDT, codes.HALT)
    assert world.get("exchangeInfo").body["symbols"][0]["status"] == "HALT"
    list_symbol(world.entry, "BTCUSDT", min_notional_atoms=20_00000000)
    symbol = world.get("exchangeInfo").body["symbols"][0]
    assert (symbol["status"], symbol["filters"][2]["minNotional"]) == ("HALT", "20.00000000")
    assert world.place(quantity="1", price="19").body["msg"] == "Filter failure: NOTIONAL"


# ---------------------------------------------------------------------- depth and trades


def test_depth_is_told_best_first(world: World) -> None:
    for price in ("98", "99", "97.5"):
        world.place(quantity="1", price=price)
    world.place(quantity="0.5", price="99")
    for price in ("103", "101"):
        world.place(world.bob, side="SELL", quantity="2", price=price)
    depth = world.get("depth", symbol="BTCUSDT").body
    assert depth == {
        "lastUpdateId": world.views.market_sequences[0],
        "bids": [["99.00000000", "1.50000000"], ["98.00000000", "1.00000000"], ["97.50000000", "1.00000000"]],
        "asks": [["101.00000000", "2.00000000"], ["103.00000000", "2.00000000"]],
    }
    assert world.get("depth", symbol="BTCUSDT", limit=1).body["bids"] == [["99.00000000", "1.50000000"]]


def test_a_depth_ends_at_the_symbols_own_last_event(world: World) -> None:
    """What happens elsewhere does not change it, so that it always falls on an event that the symbol's stream tells."""
    list_symbol(world.entry, "BTCUSDT2", symbol=1)
    world.place(quantity="1", price="99")
    before = world.get("depth", symbol="BTCUSDT").body
    world.place(symbol="BTCUSDT2", quantity="1", price="99")
    assert world.get("depth", symbol="BTCUSDT").body == before
    assert world.get("depth", symbol="BTCUSDT2").body["lastUpdateId"] == before["lastUpdateId"] + 1


@pytest.mark.parametrize(("limit", "weight"), [(1, 5), (100, 5), (101, 25), (500, 25), (1000, 50), (5000, 250), (9999, 250)])
def test_a_deeper_depth_weighs_more(world: World, limit: int, weight: int) -> None:
    assert world.get("depth", symbol="BTCUSDT", limit=limit).headers["x-mbx-used-weight-1m"] == str(weight)


def test_trades_are_told_oldest_first(world: World) -> None:
    world.place(quantity="1", price="99")
    world.place(world.bob, side="SELL", quantity="0.25", price="99")
    world.place(world.bob, side="SELL", quantity="1", price="101")
    world.entry.clock_us += 4000
    world.place(type="MARKET", quantity="0.5")
    trades = world.get("trades", symbol="BTCUSDT").body
    assert trades == [
        {
            "id": 1, "price": "99.00000000", "qty": "0.25000000", "quoteQty": "24.75000000", "time": NOW_MS,
            "isBuyerMaker": True, "isBestMatch": True,
        },
        {
            "id": 2, "price": "101.00000000", "qty": "0.50000000", "quoteQty": "50.50000000", "time": NOW_MS + 4,
            "isBuyerMaker": False, "isBestMatch": True,
        },
    ]  # fmt: skip
    assert world.get("trades", symbol="BTCUSDT", limit=1).body == trades[1:]


def test_every_number_is_a_string_or_an_integer(world: World) -> None:
    world.place(quantity="1", price="99")
    world.place(world.bob, side="SELL", quantity="0.25", price="99")
    for path in ("exchangeInfo", "depth?symbol=BTCUSDT", "trades?symbol=BTCUSDT"):
        name, _, query = path.partition("?")
        (response,) = world.send("GET", f"/api/v3/{name}", query.encode())
        json.loads(response.body, parse_float=lambda text: pytest.fail(f"{text} is a float"))


def test_two_symbols_of_one_pair_of_assets_keep_their_own_scales(world: World) -> None:
    rules = {"tick": 5, "tick_decimals": 1, "lot_decimals": 3, "max_price_ticks": 10**6, "max_qty_lots": 10**6}
    list_symbol(world.entry, "BTCUSDTX", symbol=1, base=BTC, quote=USDT, **rules)
    assert world.place(symbol="BTCUSDTX", quantity="1.5", price="99.5").status == 200
    assert world.place(symbol="BTCUSDTX", quantity="1", price="99.2").body["msg"] == "Filter failure: PRICE_FILTER"
    assert world.get("depth", symbol="BTCUSDTX").body["bids"] == [["99.50000000", "1.50000000"]]
