"""What placing and canceling answer, field by field, and which commands they make."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway_world import ANN, BTC, BTCUSDT, USDT, Answer, World, answer_of
from zerosum.core import codes, records
from zerosum.core.records import command, terms, text_words
from zerosum.gateway.instruments import LEVELS_MAX
from zerosum.gateway.orders import pack_cancel, pack_cancel_all, pack_place

NOW_MS = 1_700_000_000_000


def sell(world: World, quantity: str, price: str, **params: Any) -> Answer:
    answer = world.place(world.bob, side="SELL", quantity=quantity, price=price, **params)
    assert answer.status == 200, answer
    return answer


def last_command(world: World) -> dict[str, int]:
    (words,) = records.records(world.entry.commands[-1])
    return dict(zip(("head", "time", *records.COMMANDS[words[0] & 0xFF][1]), words, strict=True))


# ---------------------------------------------------------------------- answers of placing


def test_an_order_that_trades_and_rests_is_answered_in_full(world: World) -> None:
    sell(world, "0.3", "100")
    sell(world, "0.3", "101")
    answer = world.place(quantity="1", price="101", newClientOrderId="mine", selfTradePreventionMode="EXPIRE_MAKER")
    assert answer.body == {
        "symbol": "BTCUSDT",
        "orderId": 3,
        "orderListId": -1,
        "clientOrderId": "mine",
        "transactTime": NOW_MS,
        "price": "101.00000000",
        "origQty": "1.00000000",
        "executedQty": "0.60000000",
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": "60.30000000",
        "status": "PARTIALLY_FILLED",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
        "workingTime": NOW_MS,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "fills": [
            {"price": "100.00000000", "qty": "0.30000000", "commission": "0.00060000", "commissionAsset": "BTC", "tradeId": 1},
            {"price": "101.00000000", "qty": "0.30000000", "commission": "0.00060000", "commissionAsset": "BTC", "tradeId": 2},
        ],
    }


def test_a_seller_pays_its_fee_in_the_quote_asset(world: World) -> None:
    assert world.place(quantity="1", price="100").status == 200
    (fill,) = sell(world, "0.5", "99").body["fills"]
    assert fill == {"price": "100.00000000", "qty": "0.50000000", "commission": "0.10000000", "commissionAsset": "USDT", "tradeId": 1}


@pytest.mark.parametrize(
    ("params", "fields", "has_fills"),
    [
        ({"type": "LIMIT", "quantity": "1", "price": "90"}, 17, True),
        ({"type": "MARKET", "quantity": "1"}, 17, True),
        ({"type": "LIMIT_MAKER", "quantity": "1", "price": "90"}, 5, False),
        ({"type": "LIMIT", "quantity": "1", "price": "90", "newOrderRespType": "ACK"}, 5, False),
        ({"type": "LIMIT_MAKER", "quantity": "1", "price": "90", "newOrderRespType": "RESULT"}, 16, False),
        ({"type": "LIMIT_MAKER", "quantity": "1", "price": "90", "newOrderRespType": "FULL"}, 17, True),
    ],
)
def test_how_much_is_answered_is_the_clients_choice_or_the_types(
    world: World, params: dict[str, Any], fields: int, has_fills: bool
) -> None:
    answer = world.place(**params)
    assert len(answer.body) == fields
    assert ("fills" in answer.body) == has_fills


def test_an_ack_is_short(world: World) -> None:
    answer = world.place(type="LIMIT_MAKER", quantity="1", price="90", newClientOrderId="mine")
    assert answer.body == {"symbol": "BTCUSDT", "orderId": 1, "orderListId": -1, "clientOrderId": "mine", "transactTime": NOW_MS}


@pytest.mark.parametrize(
    ("params", "status", "executed"),
    [
        ({"quantity": "1", "price": "99"}, "NEW", "0.00000000"),
        ({"quantity": "1", "price": "100"}, "PARTIALLY_FILLED", "0.50000000"),
        ({"quantity": "0.5", "price": "100"}, "FILLED", "0.50000000"),
        ({"quantity": "1", "price": "100", "timeInForce": "IOC"}, "EXPIRED", "0.50000000"),
        ({"quantity": "1", "price": "100", "timeInForce": "FOK"}, "EXPIRED", "0.00000000"),
        ({"type": "MARKET", "quantity": "0.4"}, "FILLED", "0.40000000"),
        ({"type": "MARKET", "quantity": "1"}, "EXPIRED", "0.50000000"),
    ],
)
def test_the_status_of_an_order(world: World, params: dict[str, Any], status: str, executed: str) -> None:
    sell(world, "0.5", "100")
    answer = world.place(**params).body
    assert (answer["status"], answer["executedQty"]) == (status, executed)


@pytest.mark.parametrize(
    ("book", "side", "quote", "status", "executed", "spent"),
    [
        # 0.36503 x 99.99 = 36.4993497; one lot costs 0.0009999, and 0.00065 is left
        ([("0.37", "99.99")], "BUY", "36.5", "FILLED", "0.36503000", "36.49934970"),
        ([("0.1", "100"), ("5", "200")], "BUY", "50", "FILLED", "0.30000000", "50.00000000"),
        ([("0.1", "100")], "BUY", "50", "EXPIRED", "0.10000000", "10.00000000"),
        ([], "BUY", "50", "EXPIRED", "0.00000000", "0.00000000"),
        ([("1", "100")], "SELL", "50", "FILLED", "0.50000000", "50.00000000"),
        ([("1", "99.99")], "SELL", "36.5", "FILLED", "0.36503000", "36.49934970"),
    ],
)
def test_a_market_order_by_quote_quantity_is_filled_but_for_dust(
    world: World, book: list[tuple[str, str]], side: str, quote: str, status: str, executed: str, spent: str
) -> None:
    for quantity, price in book:
        assert world.place(world.bob, side="SELL" if side == "BUY" else "BUY", quantity=quantity, price=price).status == 200
    answer = world.place(side=side, type="MARKET", quoteOrderQty=quote).body
    assert (answer["status"], answer["executedQty"], answer["cummulativeQuoteQty"]) == (status, executed, spent)
    assert answer["origQty"] == executed
    assert answer["origQuoteOrderQty"] == f"{float(quote):.8f}"
    assert answer["price"] == "0.00000000"


@pytest.mark.parametrize(
    ("mode", "status", "prevented"),
    [("EXPIRE_TAKER", "EXPIRED_IN_MATCH", "1.00000000"), ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "1.00000000"),
     ("EXPIRE_MAKER", "NEW", None), ("DECREMENT", "NEW", "0.40000000"), ("NONE", "PARTIALLY_FILLED", None)],
)  # fmt: skip
def test_self_trade_prevention_shows_what_it_prevented(world: World, mode: str, status: str, prevented: str | None) -> None:
    assert world.place(side="SELL", quantity="0.4", price="100").status == 200
    answer = world.place(quantity="1", price="100", selfTradePreventionMode=mode).body
    assert (answer["status"], answer.get("preventedQuantity"), answer["origQty"]) == (status, prevented, "1.00000000")


def test_what_was_prevented_of_an_order_without_a_quantity_is_not_made_up(world: World) -> None:
    world.place(side="SELL", quantity="0.4", price="100")
    answer = world.place(type="MARKET", quoteOrderQty="50", selfTradePreventionMode="EXPIRE_TAKER").body
    assert (answer["status"], answer["origQty"], answer.get("preventedQuantity")) == ("EXPIRED_IN_MATCH", "0.00000000", None)
    told = world.signed("GET", "order", symbol="BTCUSDT", orderId=answer["orderId"]).body
    assert (told["status"], told.get("preventedQuantity")) == ("EXPIRED_IN_MATCH", None)


def test_an_answer_is_made_of_its_own_command_only(world: World) -> None:
    """All of a group is applied before any of it is answered: what came after must not show."""
    world.entry.hold()
    placed = world.send("POST", "/api/v3/order", order_query(world, side="BUY", quantity="1", price="100"), api_key=world.ann.api_key)
    cancel = world.signed_query(world.ann, symbol="BTCUSDT", orderId=1)
    taken = world.send("POST", "/api/v3/order", order_query(world, side="SELL", quantity="0.4", price="100"), api_key=world.ann.api_key)
    canceled = world.send("DELETE", "/api/v3/order", cancel, api_key=world.ann.api_key)
    assert placed == taken == canceled == []
    world.entry.release()
    first, second, third = (answer_of(answers[0]).body for answers in (placed, taken, canceled))
    assert (first["status"], first["executedQty"], first["fills"]) == ("NEW", "0.00000000", [])
    assert (second["status"], second["executedQty"]) == ("FILLED", "0.40000000")
    assert (third["status"], third["executedQty"]) == ("CANCELED", "0.40000000")


def order_query(world: World, **params: object) -> bytes:
    return world.signed_query(world.ann, symbol="BTCUSDT", type="LIMIT", timeInForce="GTC", **params)


def test_orders_without_a_client_id_get_one_of_their_own(world: World) -> None:
    made = [world.place(quantity="1", price="90").body["clientOrderId"] for _ in range(3)]
    assert len(set(made)) == 3
    assert all(len(text) == 22 and text.isalnum() for text in made)
    assert world.signed("GET", "order", symbol="BTCUSDT", origClientOrderId=made[1]).body["orderId"] == 2


@pytest.mark.parametrize("time_unit", ["MICROSECOND", "microsecond"])
def test_times_come_in_the_unit_that_was_asked_for_and_go_in_either(world: World, time_unit: str) -> None:
    world.entry.clock_us += 123
    params: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "1", "price": "90"}
    answer = world.signed("POST", "order", time_unit=time_unit, timestamp=world.entry.clock_us, newOrderRespType="RESULT", **params)
    assert answer.body["transactTime"] == answer.body["workingTime"] == NOW_MS * 1000 + 123


@pytest.mark.parametrize("where", ["query", "body", "both"])
def test_parameters_come_by_query_or_body(world: World, where: str) -> None:
    order = f"symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&timestamp={world.now_ms}".encode()
    numbers = b"quantity=1&price=90"
    query, body = {"query": (order + b"&" + numbers, b""), "body": (b"", order + b"&" + numbers), "both": (order, numbers)}[where]
    signature = b"&signature=" + world.ann.sign(query + body).encode()
    query, body = (query, body + signature) if body else (query + signature, body)
    assert world.raw("POST", "/api/v3/order", query, body, api_key=world.ann.api_key).body["orderId"] == 1


def test_a_parameter_in_both_is_taken_from_the_query(world: World) -> None:
    query = f"symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&timestamp={world.now_ms}&quantity=1&price=90&newOrderRespType=RESULT".encode()
    body = b"price=80"
    signature = b"&signature=" + world.ann.sign(query + body).encode()
    assert world.raw("POST", "/api/v3/order", query, body + signature, api_key=world.ann.api_key).body["price"] == "90.00000000"


def test_an_order_counts_for_its_account_and_a_refused_one_too(world: World) -> None:
    assert "x-mbx-order-count-10s" not in world.get("ping").headers
    for count in (1, 2):
        headers = world.place(quantity="1", price="90").headers
        assert (headers["x-mbx-order-count-10s"], headers["x-mbx-order-count-1d"]) == (str(count), str(count))
    assert world.place(world.bob, quantity="1", price="90").headers["x-mbx-order-count-1d"] == "1"
    refused = world.place(side="SELL", quantity="1000", price="100")
    assert refused.status == 400
    assert refused.headers["x-mbx-order-count-10s"] == "3"


# ---------------------------------------------------------------------- test orders


def test_a_test_order_is_checked_and_not_submitted(world: World) -> None:
    before = world.entry.submitted
    order: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "1", "price": "90"}
    assert world.signed("POST", "order/test", **order).body == {}
    assert world.signed("POST", "order/test", **(order | {"price": "90.001"})).body["msg"] == "Filter failure: PRICE_FILTER"
    assert world.entry.submitted == before


def test_a_test_order_shows_the_rates(world: World) -> None:
    order: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "1", "price": "90"}
    answer = world.signed("POST", "order/test", computeCommissionRates="true", **order)
    assert answer.body["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00200000"}
    assert answer.headers["x-mbx-used-weight-1m"] == "20"


# ---------------------------------------------------------------------- canceling


@pytest.mark.parametrize("named", [{"orderId": 1}, {"origClientOrderId": "mine"}, {"orderId": 1, "origClientOrderId": "mine"}])
def test_a_canceled_order_is_answered_as_it_ended(world: World, named: dict[str, Any]) -> None:
    assert world.place(quantity="1", price="100", newClientOrderId="mine").status == 200
    sell(world, "0.25", "100")
    world.entry.clock_us += 5000
    answer = world.signed("DELETE", "order", symbol="BTCUSDT", newClientOrderId="cancel-1", **named)
    assert answer.body == {
        "symbol": "BTCUSDT",
        "origClientOrderId": "mine",
        "orderId": 1,
        "orderListId": -1,
        "clientOrderId": "cancel-1",
        "transactTime": NOW_MS + 5,
        "price": "100.00000000",
        "origQty": "1.00000000",
        "executedQty": "0.25000000",
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": "25.00000000",
        "status": "CANCELED",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
        "selfTradePreventionMode": "NONE",
    }
    assert world.signed("GET", "order", symbol="BTCUSDT", orderId=1).body["clientOrderId"] == "mine"


def test_canceling_everything_on_a_symbol_answers_with_each_oldest_first(world: World) -> None:
    for price in ("90", "91", "92"):
        assert world.place(quantity="1", price=price).status == 200
    sell(world, "1", "120")
    answer = world.signed("DELETE", "openOrders", symbol="BTCUSDT")
    assert [(one["orderId"], one["price"], one["status"]) for one in answer.body] == [
        (1, "90.00000000", "CANCELED"), (2, "91.00000000", "CANCELED"), (3, "92.00000000", "CANCELED"),
    ]  # fmt: skip
    assert world.signed("GET", "openOrders").body == []
    assert len(world.signed("GET", "openOrders", world.bob).body) == 1


def test_a_suspended_account_may_cancel(world: World) -> None:
    assert world.place(quantity="1", price="90").status == 200
    world.entry.command(records.SET_ACCOUNT_STATUS, ANN, codes.SUSPENDED)
    assert world.signed("DELETE", "order", symbol="BTCUSDT", orderId=1).body["status"] == "CANCELED"


# ---------------------------------------------------------------------- commands


CLIENT = text_words("my-own_id-1", 5)
NEW_CLIENT = text_words("x" * 36, 5)


def test_commands_are_laid_out_as_records_says() -> None:
    order_terms = terms(3, codes.SELL, codes.LIMIT, codes.FOK, codes.DECREMENT)
    fields = (16, order_terms, 5, 6, 7, 8)
    assert pack_place(*fields, b"my-own_id-1") == command(records.PLACE, 0, *fields, *CLIENT)
    cancel = command(records.CANCEL, 0, 16, order_terms, 9, 8, *CLIENT, *NEW_CLIENT)
    assert pack_cancel(16, order_terms, 9, 8, b"my-own_id-1", b"x" * 36) == cancel
    assert pack_cancel_all(16, order_terms, 8, b"x" * 36) == command(records.CANCEL_ALL, 0, 16, order_terms, 8, *NEW_CLIENT)


def test_an_order_carries_its_terms_and_its_deadline(world: World) -> None:
    world.place(
        side="SELL", quantity="0.5", price="100", timeInForce="FOK", selfTradePreventionMode="DECREMENT", recvWindow="1234.567",
        newClientOrderId="mine",
    )  # fmt: skip
    sent = last_command(world)
    assert sent["terms"] == terms(BTCUSDT, codes.SELL, codes.LIMIT, codes.FOK, codes.DECREMENT)
    assert (sent["account"], sent["price_ticks"], sent["qty_lots"], sent["budget_atoms"]) == (ANN, 10_000, 50_000, 0)
    assert sent["deadline_us"] == NOW_MS * 1000 + 1_234_567
    assert tuple(sent[name] for name in records.CLIENT) == text_words("mine", 5)


def test_a_cancel_carries_its_deadline_and_an_id_of_its_own(world: World) -> None:
    world.signed("DELETE", "order", symbol="BTCUSDT", orderId=7)
    sent = last_command(world)
    assert (sent["order_id"], sent["deadline_us"], sent["client_1"]) == (7, NOW_MS * 1000 + 5_000_000, 0)
    assert sent["new_client_1"] != 0


@pytest.mark.parametrize(
    ("rules", "asks", "quantity", "cap"),
    [
        ({"reference_ticks": 10_000, "band_up_ppm": 1_200_000}, [("1", "100")], "1", 12_000),  # the band's edge
        ({"reference_ticks": 99_999_999, "band_up_ppm": 1_200_000}, [], "1", 100_000_000),  # at most the highest price
        ({}, [("1", "100"), ("1", "110"), ("1", "120")], "1.5", 12_101),  # the worst price met, a tenth and a tick
        ({}, [("1", "100"), ("1", "110"), ("1", "120")], "1", 11_001),
        ({}, [("1", "1000000")], "1", 100_000_000),
        ({}, [("1", "100")], "1.5", 100_000_000),  # less in the book than is wanted
        ({}, [], "1", 100_000_000),
        ({}, [("0.1", str(price)) for price in range(100, 150)], "5", 16_391),  # deep, but not too deep
    ],
)
def test_a_market_buy_is_reckoned_with_a_highest_price(
    new_world: Callable[..., World], rules: dict[str, int], asks: list[tuple[str, str]], quantity: str, cap: int
) -> None:
    world = new_world(rules=rules)
    for amount, price in asks:
        sell(world, amount, price)
    world.place(type="MARKET", quantity=quantity)
    assert last_command(world)["price_ticks"] == cap
    assert last_command(world)["terms"] == terms(BTCUSDT, codes.BUY, codes.MARKET)


def test_a_book_is_not_searched_without_end_for_that_price(new_world: Callable[..., World]) -> None:
    world = new_world(rules={"orders_max": 10_000})
    asks = world.views.market(BTCUSDT).asks
    for price_ticks in range(10_000, 10_000 + LEVELS_MAX + 1):
        asks.put(price_ticks, 1)
    for quantity, cap in ((f"0.{LEVELS_MAX:05}", (10_000 + LEVELS_MAX - 1) * 11 // 10 + 1), (f"0.{LEVELS_MAX + 1:05}", 100_000_000)):
        world.place(type="MARKET", quantity=quantity)
        assert last_command(world)["price_ticks"] == cap


@pytest.mark.parametrize("params", [{"side": "SELL", "quantity": "1"}, {"side": "BUY", "quoteOrderQty": "50"}])
def test_no_other_market_order_has_a_price(world: World, params: dict[str, Any]) -> None:
    world.place(type="MARKET", **params)
    assert last_command(world)["price_ticks"] == 0


def test_spending_nothing_is_refused_without_asking_the_core(new_world: Callable[..., World]) -> None:
    world = new_world(rules={"min_notional_atoms": 0})
    before = world.entry.submitted
    assert world.place(type="MARKET", quoteOrderQty="0").body["msg"] == "Filter failure: NOTIONAL"
    assert world.entry.submitted == before
    assert world.place(type="MARKET", quoteOrderQty="0.00001").status == 200


def test_a_market_buy_leaves_nothing_frozen(world: World) -> None:
    sell(world, "1", "100")
    assert world.place(type="MARKET", quantity="0.5").body["status"] == "FILLED"
    account = world.views.account(ANN)
    assert account is not None
    assert account.balances[USDT] == (999_950 * 10**8, 0)
    assert account.balances[BTC][0] == 10 * 10**8 + 50_000_000 - 100_000  # less the taker's 0.2 %


def test_what_can_be_read_of_an_answer_is_json_with_decimal_strings(world: World) -> None:
    """No number with a point: clients read amounts as text, ids and times as integers."""
    sell(world, "1", "100")
    query = order_query(world, side="BUY", quantity="1", price="100")
    (response,) = world.send("POST", "/api/v3/order", query, api_key=world.ann.api_key)
    json.loads(response.body, parse_float=lambda text: pytest.fail(f"{text} is a float"))
