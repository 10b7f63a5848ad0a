"""Making an order smaller: what is answered, and that its place in the book stays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway_world import ANN, Answer, World
from zerosum.core import records
from zerosum.core.records import CLIENT, command, text_words
from zerosum.gateway.amending import pack_reduce

NOW_MS = 1_700_000_000_000
PATH = "order/amend/keepPriority"


def amend(world: World, new_qty: str, **params: Any) -> Answer:
    return world.signed("PUT", PATH, symbol="BTCUSDT", newQty=new_qty, **({"orderId": 1} | params))


def test_the_command_has_the_layout_of_the_record() -> None:
    wanted = command(records.REDUCE, 0, ANN, 3 << 32, 7, 8, *(0 for _ in CLIENT), 5)
    assert pack_reduce(ANN, 3 << 32, 7, 8, 5) == wanted


@pytest.mark.parametrize("named", [{}, {"orderId": 1, "origClientOrderId": "mine", "newClientOrderId": "mine"}])
def test_an_amended_order_is_answered_as_it_is_then(world: World, named: dict[str, Any]) -> None:
    assert world.place(quantity="1", price="100", newClientOrderId="mine").status == 200
    assert world.place(world.bob, side="SELL", quantity="0.25", price="100").status == 200
    world.entry.clock_us += 5000
    answer = amend(world, "0.6", **named).body
    assert answer.pop("executionId") > 0
    assert answer == {
        "transactTime": NOW_MS + 5,
        "amendedOrder": {
            "symbol": "BTCUSDT",
            "orderId": 1,
            "orderListId": -1,
            "origClientOrderId": "mine",
            "clientOrderId": "mine",
            "price": "100.00000000",
            "qty": "0.60000000",
            "executedQty": "0.25000000",
            "preventedQty": "0.00000000",
            "quoteOrderQty": "0.00000000",
            "cumulativeQuoteQty": "25.00000000",
            "status": "PARTIALLY_FILLED",
            "timeInForce": "GTC",
            "type": "LIMIT",
            "side": "BUY",
            "workingTime": NOW_MS,
            "selfTradePreventionMode": "NONE",
        },
    }
    (usdt,) = [one for one in world.signed("GET", "account").body["balances"] if one["asset"] == "USDT"]
    assert usdt["locked"] == "35.00000000", "what can't be spent any more is free"


def test_it_is_served_over_websocket_and_by_client_id(world: World) -> None:
    assert world.place(quantity="1", price="100", newClientOrderId="mine").status == 200
    answer = world.ws_signed("order.amend.keepPriority", symbol="BTCUSDT", origClientOrderId="mine", newQty="0.5")
    assert (answer["status"], answer["result"]["amendedOrder"]["qty"]) == (200, "0.50000000")


def test_the_order_keeps_its_place(world: World) -> None:
    first, second = (world.place(quantity="1", price="100").body["orderId"] for _ in range(2))
    assert amend(world, "0.5", orderId=first).status == 200
    assert world.place(world.bob, side="SELL", quantity="0.5", price="100").status == 200
    statuses = [world.signed("GET", "order", symbol="BTCUSDT", orderId=order).body["status"] for order in (first, second)]
    assert statuses == ["FILLED", "NEW"]


def test_to_what_is_executed_the_rest_is_canceled(world: World) -> None:
    assert world.place(quantity="1", price="100").status == 200
    assert world.place(world.bob, side="SELL", quantity="0.5", price="100").status == 200
    assert amend(world, "0.5").body["amendedOrder"]["status"] == "CANCELED"


def test_one_at_a_time(world: World) -> None:
    """Two that are under way would each take off their own difference."""
    assert world.place(quantity="1", price="100").status == 200
    world.entry.hold()
    query = world.signed_query(world.ann, symbol="BTCUSDT", orderId=1, newQty="0.5")
    first = world.send("PUT", f"/api/v3/{PATH}", query, api_key=world.ann.api_key)
    assert amend(world, "0.5").error == (400, -2038, "Another amendment of this order is under way.")
    world.entry.release()
    assert len(first) == 1
    assert amend(world, "0.4").body["amendedOrder"]["qty"] == "0.40000000"


def test_one_that_was_not_taken_is_not_under_way(world: World) -> None:
    assert world.place(quantity="1", price="100").status == 200
    world.entry.busy = "the disk is full"
    assert amend(world, "0.5").status == 503
    world.entry.busy = ""
    assert amend(world, "0.5").status == 200


def test_one_that_was_lost_is_under_way_until_its_deadline(world: World) -> None:
    assert world.place(quantity="1", price="100").status == 200
    world.entry.hold()
    query = world.signed_query(world.ann, symbol="BTCUSDT", orderId=1, newQty="0.5")
    answers = world.send("PUT", f"/api/v3/{PATH}", query, api_key=world.ann.api_key)
    world.entry.lose()
    assert answers[0].status == 504
    assert amend(world, "0.5").error == (400, -2038, "Another amendment of this order is under way.")
    world.entry.clock_us += 5_000_001
    assert amend(world, "0.5").status == 200


def test_an_order_that_ends_on_the_way_is_unknown(world: World) -> None:
    assert world.place(quantity="1", price="100").status == 200
    world.entry.hold()
    canceled = world.send("DELETE", "/api/v3/order", world.signed_query(world.ann, symbol="BTCUSDT", orderId=1), api_key=world.ann.api_key)
    query = world.signed_query(world.ann, symbol="BTCUSDT", orderId=1, newQty="0.5")
    amended = world.send("PUT", f"/api/v3/{PATH}", query, api_key=world.ann.api_key)
    world.entry.release()
    assert [answers[0].status for answers in (canceled, amended)] == [200, 400]
    assert b'"code":-2038,"msg":"Unknown order sent."' in amended[0].body


def test_the_client_id_is_the_one_that_words_say(world: World) -> None:
    assert world.place(quantity="1", price="100", newClientOrderId="mine").status == 200
    assert amend(world, "0.5").status == 200
    order = world.views.order_by_client(ANN, text_words("mine", len(CLIENT)))
    assert order is not None
    assert order.qty_lots == 50_000
