"""What users are told of their orders, balances and trades: all that came before, theirs alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from tests.support.gateway_world import ANN, BTC, World, answer_of, list_symbol
from zerosum.core import codes, records
from zerosum.gateway import account_data, calls
from zerosum.gateway.messages import Request, Response
from zerosum.net.sparing_log import SparingLog

NOW_MS = 1_700_000_000_000
HOUR_US = 3_600_000_000


def traded(world: World) -> None:
    """Ann buys: 1 in two trades; 2, of which 0.5 trades and the rest is canceled; 3 rests; 4 expires. An hour between each."""
    world.place(world.bob, side="SELL", quantity="0.3", price="100")
    world.place(world.bob, side="SELL", quantity="1.2", price="101")
    orders: list[dict[str, Any]] = [
        {"quantity": "1", "price": "101", "newClientOrderId": "one"},
        {"quantity": "2", "price": "101", "newClientOrderId": "two"},
        {"quantity": "1", "price": "90", "newClientOrderId": "three"},
        {"type": "MARKET", "quoteOrderQty": "10", "newClientOrderId": "four"},
    ]
    for params in orders:
        world.entry.clock_us += HOUR_US
        assert world.place(**params).status == 200
    world.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="two")


# ---------------------------------------------------------------------- one order


def test_an_order_is_told_with_all_its_fields(world: World) -> None:
    world.place(world.bob, side="SELL", quantity="0.3", price="100")
    world.place(quantity="1", price="101", newClientOrderId="mine")
    world.entry.clock_us += 7000
    world.place(world.bob, side="SELL", quantity="0.2", price="100")
    assert world.signed("GET", "order", symbol="BTCUSDT", orderId=2).body == {
        "symbol": "BTCUSDT",
        "orderId": 2,
        "orderListId": -1,
        "clientOrderId": "mine",
        "price": "101.00000000",
        "origQty": "1.00000000",
        "executedQty": "0.50000000",
        "cummulativeQuoteQty": "50.20000000",
        "status": "PARTIALLY_FILLED",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
        "stopPrice": "0.00000000",
        "icebergQty": "0.00000000",
        "time": NOW_MS,
        "updateTime": NOW_MS + 7,
        "isWorking": True,
        "workingTime": NOW_MS,
        "origQuoteOrderQty": "0.00000000",
        "selfTradePreventionMode": "NONE",
    }


@pytest.mark.parametrize("named", [{"orderId": 3}, {"origClientOrderId": "one"}, {"orderId": 3, "origClientOrderId": "one"}])
def test_an_order_is_the_same_whether_views_or_the_settled_record_tell_it(world: World, named: dict[str, Any]) -> None:
    """A client must not see its order change when the views let go of it."""
    traded(world)
    before = world.signed("GET", "order", symbol="BTCUSDT", **named)
    assert before.body["status"] == "FILLED"
    world.entry.settle()
    world.views.forget_settled(world.entry.exchange.sequence)
    assert world.views.order(ANN, 3) is None
    assert world.signed("GET", "order", symbol="BTCUSDT", **named).body == before.body


def test_every_end_of_an_order_is_the_same_from_both(world: World) -> None:
    traded(world)
    world.place(world.bob, side="SELL", quantity="0.5", price="150", newClientOrderId="ask")
    world.place(type="MARKET", quoteOrderQty="60", newClientOrderId="dust")
    world.place(world.bob, quantity="1", price="150", selfTradePreventionMode="DECREMENT")
    world.place(type="LIMIT_MAKER", quantity="1", price="160", newClientOrderId="rejected")
    asked_for = [(world.ann, order_id) for order_id in range(3, 11)] + [(world.bob, order_id) for order_id in (1, 2, 7, 9)]

    def told() -> list[Any]:
        return [world.signed("GET", "order", who, symbol="BTCUSDT", orderId=order_id).body for who, order_id in asked_for]

    before = told()
    assert {one["status"] for one in before if "status" in one} >= {"FILLED", "CANCELED", "NEW", "EXPIRED"}
    world.entry.settle()
    world.views.forget_settled(world.entry.exchange.sequence)
    assert told() == before


def test_of_two_orders_with_one_client_id_the_newer_is_told(world: World) -> None:
    for _ in range(2):
        world.place(quantity="1", price="90", newClientOrderId="again")
        world.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="again")
    assert world.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="again").body["orderId"] == 2
    world.entry.settle()
    world.views.forget_settled(world.entry.exchange.sequence)
    assert world.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="again").body["orderId"] == 2


def test_a_rejected_order_is_told_as_such(world: World) -> None:
    world.place(world.bob, side="SELL", quantity="1", price="100")
    assert world.place(type="LIMIT_MAKER", quantity="1", price="100", newClientOrderId="no").status == 400
    assert world.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="no").body["status"] == "REJECTED"


# ---------------------------------------------------------------------- current reads wait


@pytest.mark.parametrize(
    ("path", "params"),
    [("order", {"symbol": "BTCUSDT", "orderId": 1}), ("openOrders", {}), ("account", {}), ("allOrders", {"symbol": "BTCUSDT"})],
)
def test_a_read_waits_for_what_was_submitted_before_it(world: World, path: str, params: dict[str, Any]) -> None:
    """A client that placed an order and asks at once, on another connection, must see it."""
    world.entry.hold()
    query = world.signed_query(world.ann, symbol="BTCUSDT", side="BUY", type="LIMIT_MAKER", quantity="1", price="90")
    world.send("POST", "/api/v3/order", query, api_key=world.ann.api_key)
    read = world.send("GET", f"/api/v3/{path}", world.signed_query(world.ann, **params), api_key=world.ann.api_key)
    assert read == []
    world.entry.release()
    (response,) = read
    body = answer_of(response).body
    shown = {"order": lambda: body["orderId"] == 1, "account": lambda: body["balances"][1]["locked"] == "90.00000000"}
    assert shown.get(path, lambda: [one["orderId"] for one in body] == [1])()


# ---------------------------------------------------------------------- lists of orders


def test_open_orders_are_told_oldest_first_by_symbol_or_all(world: World) -> None:
    list_symbol(world.entry, "BTCUSDT2", symbol=1)
    for symbol in ("BTCUSDT", "BTCUSDT2", "BTCUSDT"):
        world.place(symbol=symbol, quantity="1", price="90")
    world.place(world.bob, quantity="1", price="90")
    one = world.signed("GET", "openOrders", symbol="BTCUSDT")
    assert [order["orderId"] for order in one.body] == [1, 3]
    everything = world.signed("GET", "openOrders")
    assert [(order["orderId"], order["symbol"]) for order in everything.body] == [(1, "BTCUSDT"), (2, "BTCUSDT2"), (3, "BTCUSDT")]
    assert int(everything.headers["x-mbx-used-weight-1m"]) - int(one.headers["x-mbx-used-weight-1m"]) == 80


@pytest.mark.parametrize(
    ("params", "order_ids"),
    [
        ({}, [3, 4, 5, 6]),
        ({"limit": 2}, [5, 6]),
        ({"orderId": 4}, [4, 5, 6]),
        ({"orderId": 4, "limit": 1}, [4]),
        ({"startTime": NOW_MS + 7_200_000}, [4, 5, 6]),
        ({"startTime": NOW_MS + 7_200_000, "limit": 1}, [4]),
        ({"endTime": NOW_MS + 7_200_000}, [3, 4]),
        ({"startTime": NOW_MS + 7_200_001, "endTime": NOW_MS + 14_400_000}, [5, 6]),
        ({"startTime": (NOW_MS + 7_200_001) * 1000, "endTime": (NOW_MS + 14_400_000) * 1000}, [5, 6]),
    ],
)
def test_all_orders_are_told_open_and_ended(world: World, params: dict[str, Any], order_ids: list[int]) -> None:
    traded(world)
    answer = world.signed("GET", "allOrders", symbol="BTCUSDT", **params).body
    assert [order["orderId"] for order in answer] == order_ids
    statuses = {3: "FILLED", 4: "CANCELED", 5: "NEW", 6: "EXPIRED"}
    assert [order["status"] for order in answer] == [statuses[order_id] for order_id in order_ids]


# ---------------------------------------------------------------------- trades


def test_a_trade_is_told_with_all_its_fields(world: World) -> None:
    traded(world)
    first = world.signed("GET", "myTrades", symbol="BTCUSDT").body[0]
    assert first == {
        "symbol": "BTCUSDT",
        "id": 1,
        "orderId": 3,
        "orderListId": -1,
        "price": "100.00000000",
        "qty": "0.30000000",
        "quoteQty": "30.00000000",
        "commission": "0.00060000",
        "commissionAsset": "BTC",
        "time": NOW_MS + 3_600_000,
        "isBuyer": True,
        "isMaker": False,
        "isBestMatch": True,
    }
    makers = world.signed("GET", "myTrades", world.bob, symbol="BTCUSDT").body[0]
    assert (makers["orderId"], makers["isBuyer"], makers["isMaker"]) == (1, False, True)
    assert (makers["commission"], makers["commissionAsset"]) == ("0.03000000", "USDT")


@pytest.mark.parametrize(
    ("params", "trade_ids"),
    [
        ({}, [1, 2, 3]),
        ({"limit": 1}, [3]),
        ({"fromId": 2}, [2, 3]),
        ({"orderId": 3}, [1, 2]),
        ({"orderId": 3, "fromId": 2}, [2]),
        ({"orderId": 5}, []),
        ({"startTime": NOW_MS + 7_200_000}, [3]),
        ({"endTime": NOW_MS + 7_199_999}, [1, 2]),
        ({"startTime": NOW_MS, "endTime": NOW_MS + 1}, []),
    ],
)
def test_trades_are_told_by_id_order_and_time(world: World, params: dict[str, Any], trade_ids: list[int]) -> None:
    traded(world)
    assert [trade["id"] for trade in world.signed("GET", "myTrades", symbol="BTCUSDT", **params).body] == trade_ids


def test_who_pages_by_time_misses_nothing_within_a_millisecond(world: World) -> None:
    """Times are shown in whole milliseconds, and end windows: what happened later within the last one belongs to it."""
    world.place(world.bob, side="SELL", quantity="1", price="100")
    world.entry.clock_us += 5_567
    world.place(quantity="1", price="100")
    (trade,) = world.signed("GET", "myTrades", symbol="BTCUSDT").body
    at = trade["time"]
    for path in ("myTrades", "allOrders"):
        windows = [(at - 999, at), (at, at), (at + 1, at + 1000)]
        found = [len(world.signed("GET", path, symbol="BTCUSDT", startTime=start, endTime=end).body) for start, end in windows]
        assert found == [1, 1, 0], path


def test_trades_of_an_order_weigh_less(world: World) -> None:
    assert world.signed("GET", "myTrades", symbol="BTCUSDT", orderId=1).headers["x-mbx-used-weight-1m"] == "5"
    assert world.signed("GET", "myTrades", symbol="BTCUSDT").headers["x-mbx-used-weight-1m"] == "25"


def test_an_older_order_of_a_client_id_is_found_on_its_own_symbol(world: World) -> None:
    """Also before it is settled: "no such order" would make its owner send it again."""
    list_symbol(world.entry, "ETHUSDT", symbol=1)
    world.place(quantity="1", price="100", timeInForce="IOC", newClientOrderId="bot-1")
    world.place(symbol="ETHUSDT", quantity="1", price="100", newClientOrderId="bot-1")
    for symbol, status in (("BTCUSDT", "EXPIRED"), ("ETHUSDT", "NEW")):
        assert world.signed("GET", "order", symbol=symbol, origClientOrderId="bot-1").body["status"] == status


# ---------------------------------------------------------------------- account


def test_an_account_is_told_with_all_its_fields(world: World) -> None:
    world.place(quantity="1", price="90")
    assert world.signed("GET", "account").body == {
        "makerCommission": 10,
        "takerCommission": 20,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": "0.00100000", "taker": "0.00200000", "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": NOW_MS,
        "accountType": "SPOT",
        "balances": [
            {"asset": "BTC", "free": "10.00000000", "locked": "0.00000000"},
            {"asset": "USDT", "free": "999910.00000000", "locked": "90.00000000"},
        ],
        "permissions": ["SPOT"],
        "uid": ANN,
    }


def test_balances_of_nothing_are_left_out_on_request(world: World) -> None:
    world.entry.command(records.LIST_ASSET, 2, 8, *records.text_words("ETH", 2))
    world.entry.command(records.WITHDRAW, ANN, 99, BTC, 10 * 10**8)
    assert [one["asset"] for one in world.signed("GET", "account").body["balances"]] == ["BTC", "USDT", "ETH"]
    assert [one["asset"] for one in world.signed("GET", "account", omitZeroBalances="true").body["balances"]] == ["USDT"]


def test_a_suspended_account_may_only_receive(world: World) -> None:
    world.entry.command(records.SET_ACCOUNT_STATUS, ANN, codes.SUSPENDED)
    info = world.signed("GET", "account").body
    assert (info["canTrade"], info["canWithdraw"], info["canDeposit"]) == (False, False, True)


# ---------------------------------------------------------------------- history away from the loop


async def asked(world: World, path: str) -> Response:
    """The response to a signed GET, which must not come inside the call."""
    came: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    query = world.signed_query(world.ann, symbol="BTCUSDT")
    world.api.handle(
        Request("GET", f"/api/v3/{path}", query, b"", world.ann.api_key, None, "10.0.0.1", world.entry.clock_us), came.set_result
    )
    assert not came.done()
    return await came


async def test_history_is_read_in_a_thread_and_told_in_the_loop(new_world: Callable[..., World]) -> None:
    with ThreadPoolExecutor(1) as executor:
        world = new_world(executor=executor)
        traded(world)
        assert [trade["id"] for trade in answer_of(await asked(world, "myTrades")).body] == [1, 2, 3]


async def test_no_more_reads_wait_for_their_turn_than_is_bearable(new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_data, "READS_MAX", 2)
    begun, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        world = new_world(executor=executor)
        traded(world)
        executor.submit(begun.set)
        executor.submit(go_on.wait, 20)
        assert begun.wait(20)
        reads = [asyncio.ensure_future(asked(world, "myTrades")) for _ in range(2)]
        await asyncio.sleep(0)
        assert world.signed("GET", "myTrades", symbol="BTCUSDT").error[:2] == (503, -1008)
        go_on.set()
        assert [response.status for response in await asyncio.gather(*reads)] == [200, 200]
        assert (await asked(world, "myTrades")).status == 200


async def test_reads_that_are_given_up_at_the_end_are_no_fault(new_world: Callable[..., World]) -> None:
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as executor, structlog.testing.capture_logs() as reported:
        world = new_world(executor=executor)
        executor.submit(go_on.wait, 20)
        read = asyncio.ensure_future(asked(world, "myTrades"))
        await asyncio.sleep(0)
        executor.shutdown(wait=False, cancel_futures=True)
        go_on.set()
        await asyncio.sleep(0.05)
        assert not read.done()
        read.cancel()
    assert reported == []


async def test_history_that_can_not_be_read_is_an_error_and_reported(
    new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_log", SparingLog("gateway.api"))
    with ThreadPoolExecutor(1) as executor, structlog.testing.capture_logs() as reported:
        world = new_world(executor=executor)
        world.history.close()
        assert answer_of(await asked(world, "allOrders")).error == (500, -1000, "An unknown error occurred while processing the request.")
    assert [each["event"] for each in reported] == ["request.failed"]
