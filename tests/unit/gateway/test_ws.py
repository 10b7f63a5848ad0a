"""The WebSocket API: the operations of REST in frames, with ids, limits in the body, and signatures over sorted parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway_world import World, ws_payload
from zerosum.gateway.limits import Allowance

NOW_MS = 1_700_000_000_000
WEIGHT = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 60_000}


def test_a_response_has_id_status_result_and_limits(world: World) -> None:
    assert world.ws("ping") == {"id": 1, "status": 200, "result": {}, "rateLimits": [WEIGHT | {"count": 1}]}
    assert world.ws("time")["result"] == {"serverTime": NOW_MS}


@pytest.mark.parametrize(
    "request_id", ["1", "-7", "18446744073709551616", "null", '"a1b2-c3"', '""', '"\\u00e9\\n"', '"caf\u00e9"', '"\\ud83d\\ude00"']
)
def test_an_id_comes_back_as_it_was_sent(world: World, request_id: str) -> None:
    found: list[bytes] = []
    world.api.handle_ws(f'{{"id": {request_id} ,"method":"ping"}}'.encode(), world.session(), found.append)
    assert found[0].startswith(f'{{"id":{request_id},"status":200'.encode())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"id":1,"id":2,"method":"ping"}', "id"),
        ('{"id":1,"method":"ping","method":"time"}', "method"),
        ('{"id":1,"method":"depth","params":{"symbol":"BTCUSDT","limit":1},"params":{"symbol":"BTCUSDT"}}', "params"),
        ('{"id":1,"method":"depth","params":{"symbol":"BTCUSDT","limit":5,"symbol":"BTCUSDT"}}', "symbol"),
        ('{"id":1,"method":"depth","params":{"symbol":"BTCUSDT","s\\u0079mbol":"BTCUSDT"}}', "symbol"),
        ('{"id":1,"method":"depth","para\\u006ds":{"symbol":"BTCUSDT"},"params":{"symbol":"BTCUSDT"}}', "params"),
    ],
)
def test_what_is_there_twice_is_an_error(world: World, text: str, name: str) -> None:
    """Decoders take the last without a word: an order of 1 and of 100 would be one of 100."""
    answer = world.ws_raw(text.encode())
    assert (answer["status"], answer["error"]) == (400, {"code": -1101, "msg": f"Duplicate values for parameter '{name}'."})


def test_a_text_of_more_members_than_any_request_has_is_not_looked_through(world: World) -> None:
    """Looking for repeats takes a hundred times as long as reading it: a stranger's largest texts would keep everybody else waiting."""
    text = '{{"id":1,"method":"ping","params":{{"a":{{"b":[{}]}}}}}}'.format(",".join(['{"":0}'] * 9_000))
    assert world.ws_raw(text.encode())["error"] == {
        "code": -1101, "msg": "Too many parameters; expected '64' and received '9005'."
    }  # fmt: skip


@pytest.mark.parametrize("name", ["é", "x" * 65])
def test_a_name_that_no_parameter_has_is_not_shown(world: World, name: str) -> None:
    assert world.ws_raw(f'{{"{name}":1,"{name}":2,"method":"ping"}}'.encode())["error"]["msg"] == "Invalid JSON Request"


@pytest.mark.parametrize(
    "text",
    [
        '{"id":"a:b","method":"ping"}',
        '{"id":"::::","method":"depth","params":{"symbol" : "BTCUSDT"}}',
        '{"id":1,"method":"depth","params":{"symbol":"BTCUSDT"},"more":{"id":1,"a":{"a":[{"a":1},{"a":1}]}}}',
        '{"id":1,"method":"ping","more":[{},{"params":1},123456789012345678901234567890.5e1000]}',
    ],
)
def test_colons_elsewhere_are_no_members(world: World, text: str) -> None:
    assert world.ws_raw(text.encode())["status"] == 200


def test_bytes_that_are_no_text_are_no_json(world: World) -> None:
    """The door closes such a connection with 1007; here it is an error like others."""
    assert world.ws_raw(b'{"id":"\xff","method":"ping"}')["error"] == {"code": -1135, "msg": "Invalid JSON Request"}


def test_without_an_id_it_is_null(world: World) -> None:
    assert world.ws_raw(b'{"method":"ping"}')["id"] is None


def test_an_error_has_the_id_too(world: World) -> None:
    answer = world.ws("order.guess", request_id="mine")
    assert answer == {
        "id": "mine", "status": 400, "error": {"code": -1020, "msg": "This operation is not supported."},
        "rateLimits": [WEIGHT | {"count": 1}],
    }  # fmt: skip


def test_a_method_may_name_the_version(world: World) -> None:
    assert world.ws("v3/time")["result"] == {"serverTime": NOW_MS}


# ---------------------------------------------------------------------- orders


def test_an_order_is_placed_told_and_canceled(world: World) -> None:
    order: Any = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90"}
    placed = world.ws_signed("order.place", newClientOrderId="mine", **order)
    assert (placed["status"], placed["result"]["status"], placed["result"]["fills"]) == (200, "NEW", [])
    assert placed["rateLimits"] == [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 10_000, "count": 1},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 20_000_000, "count": 1},
        WEIGHT | {"count": 1},
    ]
    assert world.ws_signed("order.status", symbol="BTCUSDT", orderId=1)["result"]["clientOrderId"] == "mine"
    assert [one["orderId"] for one in world.ws_signed("openOrders.status")["result"]] == [1]
    canceled = world.ws_signed("order.cancel", symbol="BTCUSDT", origClientOrderId="mine")
    assert (canceled["result"]["status"], canceled["result"]["origClientOrderId"]) == ("CANCELED", "mine")


def test_what_rest_tells_websocket_tells_too(world: World) -> None:
    world.place(quantity="1", price="99")
    world.place(world.bob, side="SELL", quantity="0.25", price="99")
    of_symbol: Any = {"symbol": "BTCUSDT"}
    assert world.ws("exchangeInfo", of_symbol)["result"] == world.get("exchangeInfo", **of_symbol).body
    assert world.ws("exchangeInfo", {"symbols": ["BTCUSDT"]})["result"]["symbols"][0]["symbol"] == "BTCUSDT"
    assert world.ws("depth", of_symbol)["result"] == world.get("depth", **of_symbol).body
    assert world.ws("trades.recent", of_symbol)["result"] == world.get("trades", **of_symbol).body
    for method, path, params in (
        ("account.status", "account", {}),
        ("order.status", "order", of_symbol | {"orderId": "1"}),
        ("openOrders.status", "openOrders", {}),
        ("allOrders", "allOrders", of_symbol),
        ("myTrades", "myTrades", of_symbol),
    ):
        rest: Any = params
        assert world.ws_signed(method, **rest)["result"] == world.signed("GET", path, **rest).body
    order: Any = of_symbol | {"side": "BUY", "type": "LIMIT_MAKER", "quantity": "1", "price": "90"}
    assert world.ws_signed("order.test", **order)["result"] == {}
    assert [one["orderId"] for one in world.ws_signed("openOrders.cancelAll", **of_symbol)["result"]] == [1]


@pytest.mark.parametrize(("quantity", "shown"), [("0.00001", "0.00001000"), ("1", "1.00000000"), ("0.10", "0.10000000")])
def test_a_number_is_signed_and_read_as_it_was_written(world: World, quantity: str, shown: str) -> None:
    """0.00001 must not become 1e-05 on the way, nor 0.10 become 0.1."""
    params = {"timestamp": NOW_MS, "apiKey": world.ann.api_key, "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT_MAKER"}
    params |= {"price": "999999", "newOrderRespType": "RESULT"}
    signature = world.ann.sign(ws_payload(params | {"quantity": quantity}).encode())
    members = json.dumps(params | {"signature": signature})[:-1]
    answer = world.ws_raw(f'{{"id":1,"method":"order.place","params":{members},"quantity":{quantity}}}}}'.encode())
    assert answer["result"]["origQty"] == shown


def test_a_boolean_is_signed_in_lower_case(world: World) -> None:
    assert world.ws_signed("account.status", omitZeroBalances=True)["status"] == 200


def test_requests_of_a_connection_are_submitted_in_the_order_sent(world: World) -> None:
    """Pipelined: a cancel right behind its order must find it."""
    world.entry.hold()
    session = world.session()
    found: list[bytes] = []
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "1", "price": "90"}
    for request_id, (method, params) in enumerate(
        [
            ("order.place", order | {"newClientOrderId": "mine"}),
            ("order.cancel", {"symbol": "BTCUSDT", "origClientOrderId": "mine"}),
            ("order.place", order | {"newClientOrderId": "mine"}),
            ("order.status", {"symbol": "BTCUSDT", "origClientOrderId": "mine"}),
        ]
    ):
        full = params | {"timestamp": str(NOW_MS), "apiKey": world.ann.api_key}
        full["signature"] = world.ann.sign(ws_payload(full).encode())
        world.api.handle_ws(json.dumps({"id": request_id, "method": method, "params": full}).encode(), session, found.append)
    assert found == []
    world.entry.release()
    answers = [json.loads(frame) for frame in found]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    assert [answer["status"] for answer in answers] == [200, 200, 200, 200]
    assert (answers[1]["result"]["orderId"], answers[3]["result"]["orderId"]) == (1, 2)


# ---------------------------------------------------------------------- what a connection or a request asks for


@pytest.mark.parametrize(
    ("query", "params", "shown"),
    [(b"", {}, True), (b"", {"returnRateLimits": False}, False), (b"returnRateLimits=false", {}, False),
     (b"returnRateLimits=false", {"returnRateLimits": True}, True), (b"returnRateLimits=maybe", {}, True), (b"\xff", {}, True)],
)  # fmt: skip
def test_limits_are_hidden_on_request(world: World, query: bytes, params: dict[str, Any], shown: bool) -> None:
    answer = world.ws("time", params, session=world.session(query))
    assert ("rateLimits" in answer) == shown


def test_a_connection_has_its_unit_of_time(world: World) -> None:
    session = world.session(b"timeUnit=MICROSECOND&returnRateLimits=false")
    for _ in range(2):
        assert world.ws("time", session=session) == {"id": 1, "status": 200, "result": {"serverTime": NOW_MS * 1000}}


def test_past_a_limit_it_says_until_when(new_world: Callable[..., World]) -> None:
    world = new_world(allowance=Allowance(weight_per_minute=1))
    assert world.ws("ping")["status"] == 200
    error = world.ws("ping")["error"]
    left_ms = 60_000 - NOW_MS % 60_000
    assert error["data"] == {"serverTime": NOW_MS, "retryAfter": NOW_MS + left_ms}


def test_rest_and_websocket_count_together(world: World) -> None:
    world.get("depth", symbol="BTCUSDT")
    assert world.ws("ping")["rateLimits"][0]["count"] == 6
