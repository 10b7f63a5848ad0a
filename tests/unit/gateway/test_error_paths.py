"""
Every way to get an error that docs/internals/errors.md lists, by its name there: this input, this status, code and text, letter by letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.direct_entry import START_US
from tests.support.gateway_world import ANN, BOB, BTC, BTCUSDT, Answer, Credentials, World, list_symbol, ws_payload
from zerosum.core import codes, records
from zerosum.gateway import errors
from zerosum.gateway.limits import Allowance
from zerosum.identity.keyring import UNREAD_S
from zerosum.identity.keys import Wanted, clock_us

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/internals/errors.md"
KEY_OF_NOBODY = "A" * 64
LONG_NAME = "x" * 65


@dataclass(frozen=True)
class Case:
    name: str
    ask: Callable[[World], Answer]
    error: tuple[int, int, str]
    rules: dict[str, int] = field(default_factory=dict)  # of the symbol
    allowance: Allowance | None = None


def ws(frame: dict[str, Any]) -> Answer:
    return Answer(frame["status"], frame["error"], {})


def get(path: str, **params: Any) -> Callable[[World], Answer]:
    return lambda world: world.get(path, **params)


def raw(method: str, path: str, query: bytes = b"", body: bytes = b"", **rest: Any) -> Callable[[World], Answer]:
    return lambda world: world.raw(method, path, query, body, **rest)


def signed(method: str, path: str, **params: Any) -> Callable[[World], Answer]:
    return lambda world: world.signed(method, path, **params)


def place(**params: Any) -> Callable[[World], Answer]:
    return lambda world: world.place(**params)


def limit(**params: Any) -> Callable[[World], Answer]:
    """A limit order that is right but for `params`; None leaves one out."""
    order = {"quantity": "1", "price": "100", "timeInForce": "GTC"} | params
    return place(**{name: value for name, value in order.items() if value is not None})


def frame(text: str) -> Callable[[World], Answer]:
    return lambda world: ws(world.ws_raw(text.encode()))


def ws_signed(method: str, **params: Any) -> Callable[[World], Answer]:
    return lambda world: ws(world.ws_signed(method, **params))


# ---------------------------------------------------------------------- what a single call can't show


def busy(world: World) -> Answer:
    world.entry.busy = "the disk is full"
    return world.place(quantity="1", price="100")


def ws_busy(world: World) -> Answer:
    world.entry.busy = "the disk is full"
    return ws(world.ws_signed("openOrders.cancelAll", symbol="BTCUSDT"))


def keys_unreadable(world: World) -> Answer:
    world.seconds += UNREAD_S + 1
    return world.signed("GET", "account")


def internal_error(world: World) -> Answer:
    world.history.close()
    return world.signed("GET", "allOrders", symbol="BTCUSDT")


def settlement_is_late(world: World) -> Answer:
    world.entry.settles = False
    return world.signed("GET", "allOrders", symbol="BTCUSDT")


def many_pings(world: World) -> Answer:
    for _ in range(3):
        assert world.get("ping").status == 200
    return world.get("ping")


def many_ws_pings(world: World) -> Answer:
    for _ in range(3):
        assert world.ws("ping")["status"] == 200
    refused = world.ws("ping", request_id="the fourth")
    assert refused["id"] == "the fourth", "whoever sent it can tell which it was"
    return ws(refused)


def far_too_many_pings(world: World) -> Answer:
    for _ in range(7):
        world.get("ping")
    world.entry.clock_us += 60_000_000  # a ban does not end with the minute
    return world.get("ping")


def far_too_many_ws_pings(world: World) -> Answer:
    for _ in range(6):
        world.ws("ping")
    return ws(world.ws("ping"))


def far_too_many_of_a_key(world: World) -> Answer:
    assert world.signed("GET", "account").status == 200
    return world.signed("GET", "account")


def long_name(world: World) -> Answer:
    """As it is, and escaped."""
    answers = [world.raw("GET", "/api/v3/depth", f"symbol=BTCUSDT&{LONG_NAME}={one}".encode()) for one in ("1", "%31")]
    assert answers[0].error == answers[1].error
    return answers[0]


def many_orders(world: World) -> Answer:
    for _ in range(2):
        assert world.place(quantity="1", price="100").status == 200
    return world.place(quantity="1", price="100")


def revoked_key(world: World) -> Answer:
    world.revoke(world.ann)
    return world.signed("GET", "account")


def expired_key(world: World) -> Answer:
    expires_us = clock_us() + 60_000_000
    key = Credentials(*world.identities.create_key(Wanted(ANN, expires_us=expires_us)))
    world.entry.clock_us = expires_us
    return world.signed("GET", "account", key)


def key_used_elsewhere(world: World) -> Answer:
    return world.signed("GET", "account", world.key_of(ANN, addresses=("10.0.0.2",)))


def ws_key_used_elsewhere(world: World) -> Answer:
    return ws(world.ws_signed("account.status", world.key_of(ANN, addresses=("10.0.0.2",))))


def key_without_permission(world: World) -> Answer:
    reader = world.key_of(ANN, ("READ",))
    return world.place(reader, quantity="1", price="100")


def unsigned(world: World) -> Answer:
    return world.raw("GET", "/api/v3/account", f"timestamp={world.now_ms}".encode(), api_key=world.ann.api_key)


def signature_of(text: str) -> Callable[[World], Answer]:
    def ask(world: World) -> Answer:
        query = f"timestamp={world.now_ms}&signature={text}".encode()
        return world.raw("GET", "/api/v3/account", query, api_key=world.ann.api_key)

    return ask


def signed_by_another(world: World) -> Answer:
    return world.raw("GET", "/api/v3/account", world.signed_query(world.bob), api_key=world.ann.api_key)


def changed_after_signing(world: World) -> Answer:
    query = world.signed_query(world.ann, symbol="BTCUSDT", orderId=1).replace(b"orderId=1", b"orderId=2")
    return world.raw("DELETE", "/api/v3/order", query, api_key=world.ann.api_key)


def no_timestamp(world: World) -> Answer:
    query = b"signature=" + world.ann.sign(b"").encode()
    return world.raw("GET", "/api/v3/account", query, api_key=world.ann.api_key)


def aged(ms: int, **params: Any) -> Callable[[World], Answer]:
    return lambda world: world.signed("GET", "account", timestamp=world.now_ms - ms, **params)


def late_in_the_log(world: World) -> Answer:
    """In time when it came, but applied after its deadline."""
    world.entry.hold()
    query = world.signed_query(world.ann, symbol="BTCUSDT", side="BUY", type="LIMIT_MAKER", quantity="1", price="100", recvWindow=1000)
    found = world.send("POST", "/api/v3/order", query, api_key=world.ann.api_key)
    world.entry.clock_us += 1_000_001
    world.entry.release()
    (response,) = found
    return Answer(response.status, json.loads(response.body), {})


def would_take(world: World) -> Answer:
    assert world.place(world.bob, side="SELL", quantity="1", price="100").status == 200
    return world.place(type="LIMIT_MAKER", quantity="1", price="100")


def same_client_id(world: World) -> Answer:
    assert world.place(quantity="1", price="100", newClientOrderId="mine").status == 200
    return world.place(quantity="1", price="101", newClientOrderId="mine")


def closed_market(world: World) -> Answer:
    world.entry.command(records.SET_SYMBOL_STATUS, BTCUSDT, codes.HALT)
    return world.place(quantity="1", price="100")


def many_open_orders(world: World) -> Answer:
    for _ in range(2):
        assert world.place(quantity="1", price="100").status == 200
    return world.place(quantity="1", price="100")


def many_open_orders_of_account(world: World) -> Answer:
    world.entry.command(records.OPEN_ACCOUNT, 20, 0, 0, 1)
    world.deposit(20, BTC, 10**10)
    one = world.key_of(20, ("TRADE",))
    assert world.place(one, side="SELL", quantity="1", price="100").status == 200
    return world.place(one, side="SELL", quantity="1", price="100")


def with_status(status: int) -> Callable[[World], Answer]:
    def ask(world: World) -> Answer:
        world.entry.command(records.OPEN_ACCOUNT, 20, 0, 0)
        world.entry.command(records.SET_ACCOUNT_STATUS, 20, status)
        return world.place(world.key_of(20, ("TRADE",)), side="SELL", quantity="1", price="100")

    return ask


def account_not_opened(world: World) -> Answer:
    return world.place(world.key_of(20, ("TRADE",)), side="SELL", quantity="1", price="100")


def account_data_not_opened(world: World) -> Answer:
    return world.signed("GET", "account", world.key_of(20, ("READ",)))


def market_buy_too_dear(world: World) -> Answer:
    assert world.place(world.bob, side="SELL", quantity="9", price="200000").status == 200
    return world.place(type="MARKET", quantity="9")


def scattered_book(world: World) -> Answer:
    """One more price level than an all-or-nothing order may look at."""
    world.deposit(BOB, BTC, 1 << 60)
    for seller in (30, 31):
        world.entry.command(records.OPEN_ACCOUNT, seller, 0, 0, 10_000)
        world.deposit(seller, BTC, 1 << 40)
    for level in range(16_385):
        terms = records.terms(BTCUSDT, codes.SELL, codes.LIMIT)
        world.entry.command(records.PLACE, 30 + level % 2, terms, 10_000 + level, 10_000)
    return world.place(type="MARKET", quantity="5000")


def passed_over(world: World) -> Answer:
    world.entry.exchange.quarantine({world.entry.exchange.sequence + 1})
    return world.place(quantity="1", price="100")


def cancel_passed_over(world: World) -> Answer:
    world.entry.exchange.quarantine({world.entry.exchange.sequence + 1})
    return world.signed("DELETE", "order", symbol="BTCUSDT", orderId=1)


def order_of_another(method: str, path: str = "order", **params: Any) -> Callable[[World], Answer]:
    def ask(world: World) -> Answer:
        order_id = world.place(quantity="1", price="100").body["orderId"]
        return world.signed(method, path, world.bob, symbol="BTCUSDT", orderId=order_id, **params)

    return ask


def amended(**params: Any) -> Callable[[World], Answer]:
    def ask(world: World) -> Answer:
        order_id = world.place(quantity="1", price="100").body["orderId"]
        return world.signed("PUT", AMEND, symbol="BTCUSDT", orderId=order_id, **params)

    return ask


def amended_twice(world: World) -> Answer:
    world.place(quantity="1", price="100")
    world.entry.hold()
    query = world.signed_query(world.ann, symbol="BTCUSDT", orderId=1, newQty="0.5")
    assert world.send("PUT", f"/api/v3/{AMEND}", query, api_key=world.ann.api_key) == []
    return world.signed("PUT", AMEND, symbol="BTCUSDT", orderId=1, newQty="0.5")


def order_of_another_symbol(method: str) -> Callable[[World], Answer]:
    def ask(world: World) -> Answer:
        list_symbol(world.entry, "BTCUSDT2", symbol=1)
        order_id = world.place(quantity="1", price="100").body["orderId"]
        return world.signed(method, "order", symbol="BTCUSDT2", orderId=order_id)

    return ask


def id_and_client_id_differ(method: str) -> Callable[[World], Answer]:
    def ask(world: World) -> Answer:
        order_id = world.place(quantity="1", price="100", newClientOrderId="mine").body["orderId"]
        return world.signed(method, "order", symbol="BTCUSDT", orderId=order_id, origClientOrderId="other")

    return ask


def trial_without_account(world: World) -> Answer:
    trader = world.key_of(20, ("TRADE",))
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "1", "price": "100"}
    return world.signed("POST", "order/test", trader, computeCommissionRates="true", **order)


def ws_unsigned_by_members(world: World) -> Answer:
    """Signed in the order sent instead of sorted by name."""
    params = {"timestamp": world.now_ms, "apiKey": world.ann.api_key}
    payload = "&".join(f"{name}={value}" for name, value in params.items())
    return ws(world.ws("account.status", params | {"signature": world.ann.sign(payload.encode())}))


def ws_connection_with_unknown_time_unit(world: World) -> Answer:
    return ws(world.ws("time", session=world.session(b"timeUnit=fortnight")))


def ws_params_signed(text: str, **params: Any) -> Callable[[World], Answer]:
    """A member written as `text`, signed as it is written."""

    def ask(world: World) -> Answer:
        full = {"timestamp": world.now_ms, "apiKey": world.ann.api_key, "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER"} | params
        payload = ws_payload(full | {"quantity": text})
        members = json.dumps(full | {"signature": world.ann.sign(payload.encode())})
        sent = f'{{"id":1,"method":"order.place","params":{members[:-1]},"quantity":{text}}}}}'
        return ws(world.ws_raw(sent.encode()))

    return ask


DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
SYMBOL = "^[A-Z0-9-_.]{1,24}$"
SYMBOLS = r'^\[("[A-Z0-9-_.]{1,24}"(,"[A-Z0-9-_.]{1,24}"){0,}){0,1}\]$'


def illegal(name: str, legal: str) -> tuple[int, int, str]:
    return 400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."


def mandatory(name: str) -> tuple[int, int, str]:
    return 400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."


def not_required(name: str) -> tuple[int, int, str]:
    return 400, -1106, f"Parameter '{name}' sent when not required."


def rejected(text: str) -> tuple[int, int, str]:
    return 400, -2010, text


def filter_failure(name: str) -> tuple[int, int, str]:
    return 400, -1013, f"Filter failure: {name}"


def no_amendment(text: str) -> tuple[int, int, str]:
    return 400, -2038, text


def invalid(name: str) -> tuple[int, int, str]:
    return 400, -1130, f"Data sent for parameter '{name}' is not valid."


BAD_ID = (400, -1135, "Invalid 'id' in JSON request; expected an integer, a string or null.")
ORDER_ID_OVERFLOW = (400, -1108, "Parameter 'orderId' overflowed.")
GENERIC_ILLEGAL = (400, -1100, "Illegal characters found in a parameter.")
UNKNOWN = (500, -1000, "An unknown error occurred while processing the request.")
OVERLOADED = (503, -1008, "Server is currently overloaded with other requests. Please try again in a few minutes.")
UNSUPPORTED = "This operation is not supported."
WEIGHT = (
    "Too much request weight used; current limit is 3 request weight per 1 MINUTE."
    " Please use WebSocket Streams for live updates to avoid polling the API."
)
BANNED = (
    f"Way too much request weight used; IP banned until {START_US // 1000 + 120_000}."
    " Please use WebSocket Streams for live updates to avoid bans."
)
KEY_WEIGHT = "Too much request weight used by this API key; current limit is 20 request weight per 1 MINUTE."
TIMED_OUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
TOO_LATE = (400, -1021, "Timestamp for this request is outside of the recvWindow.")
TOO_EARLY = (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
BAD_SIGNATURE = (400, -1022, "Signature for this request is not valid.")
BAD_KEY = (401, -2014, "API-key format invalid.")
REJECTED_KEY = (401, -2015, "Invalid API-key, IP, or permissions for action.")
NEITHER_ID = (400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
COMBINATION = (400, -1128, "Combination of optional parameters invalid.")
UNKNOWN_ORDER = (400, -2011, "Unknown order sent.")
NO_SUCH_ORDER = (400, -2013, "Order does not exist.")
NO_BALANCE = rejected("Account has insufficient balance for requested action.")
AMEND = "order/amend/keepPriority"
CLIENT_ID = "^[a-zA-Z0-9-_]{1,36}$"
DAY_MS = 86_400_000

CASES = [
    # Routes and limits.
    Case("no-such-path", raw("GET", "/api/v3/nothing"), (404, -1020, UNSUPPORTED)),
    Case("wrong-method", raw("PUT", "/api/v3/order"), (405, -1020, UNSUPPORTED)),
    Case(
        "bad-time-unit",
        raw("GET", "/api/v3/time", time_unit="fortnight"),
        (400, -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."),
    ),
    Case("too-much-weight", many_pings, (429, -1003, WEIGHT), allowance=Allowance(weight_per_minute=3)),
    Case("ws-too-much-weight", many_ws_pings, (429, -1003, WEIGHT), allowance=Allowance(weight_per_minute=3)),
    Case("banned", far_too_many_pings, (418, -1003, BANNED), allowance=Allowance(weight_per_minute=3)),
    Case("ws-banned", far_too_many_ws_pings, (418, -1003, BANNED), allowance=Allowance(weight_per_minute=3)),
    Case("too-much-key-weight", far_too_many_of_a_key, (429, -1003, KEY_WEIGHT), allowance=Allowance(key_weight_per_minute=20)),
    Case(
        "too-many-orders-10s",
        many_orders,
        (429, -1015, "Too many new orders; current limit is 2 orders per 10 SECOND."),
        allowance=Allowance(orders_per_10_seconds=2),
    ),
    Case(
        "too-many-orders-1d",
        many_orders,
        (429, -1015, "Too many new orders; current limit is 2 orders per 1 DAY."),
        allowance=Allowance(orders_per_day=2),
    ),
    Case("busy", busy, OVERLOADED),
    Case("ws-busy", ws_busy, OVERLOADED),
    Case("keys-unreadable", keys_unreadable, OVERLOADED),
    Case("internal-error", internal_error, UNKNOWN),
    Case("settlement-late", settlement_is_late, (504, -1007, TIMED_OUT)),
    # Parameters, whatever they are for.
    Case("not-ascii", raw("GET", "/api/v3/depth", "symbol=BTCUSDTé".encode()), GENERIC_ILLEGAL),
    Case("escaped-not-ascii", raw("GET", "/api/v3/depth", b"symbol=%E9"), GENERIC_ILLEGAL),
    Case("name-too-long", long_name, GENERIC_ILLEGAL),
    Case("name-empty", raw("GET", "/api/v3/depth", b"symbol=BTCUSDT&=1"), GENERIC_ILLEGAL),
    Case(
        "too-many-parameters",
        raw("GET", "/api/v3/depth", "&".join(f"p{number}=1" for number in range(65)).encode()),
        (400, -1101, "Too many parameters; expected '64' and received '65'."),
    ),
    Case("duplicate", raw("GET", "/api/v3/depth", b"symbol=A&symbol=B"), (400, -1101, "Duplicate values for parameter 'symbol'.")),
    Case("empty", raw("GET", "/api/v3/depth", b"symbol="), (400, -1105, "Parameter 'symbol' was empty.")),
    Case("no-equals-sign", raw("GET", "/api/v3/depth", b"symbol"), (400, -1105, "Parameter 'symbol' was empty.")),
    Case("none-expected", raw("GET", "/api/v3/ping", b"a=1"), (400, -1101, "Too many parameters; expected '0' and received '1'.")),
    Case(
        "unknown-parameter",
        raw("GET", "/api/v3/depth", b"symbol=BTCUSDT&depth=5"),
        (400, -1104, "Not all sent parameters were read; read '1' parameter(s) but was sent '2'."),
    ),
    Case(
        "unknown-parameter-signed",
        limit(created=1),
        (400, -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."),
    ),
    # Symbols and the like.
    Case("symbol-missing", get("depth"), mandatory("symbol")),
    Case("symbol-lower-case", get("depth", symbol="btcusdt"), illegal("symbol", SYMBOL)),
    Case("symbol-unknown", get("depth", symbol="ETHUSDT"), (400, -1121, "Invalid symbol.")),
    Case("symbol-short-unknown", get("depth", symbol="A"), (400, -1121, "Invalid symbol.")),
    Case("symbols-malformed", get("exchangeInfo", symbols="BTCUSDT"), illegal("symbols", SYMBOLS)),
    Case(
        "symbols-twice",
        get("exchangeInfo", symbols='["BTCUSDT","BTCUSDT"]'),
        (400, -1151, "Symbol is present multiple times in the list."),
    ),
    Case("symbols-unknown", get("exchangeInfo", symbols='["BTCUSDT","ETHUSDT"]'), (400, -1121, "Invalid symbol.")),
    Case("symbol-and-symbols", get("exchangeInfo", symbol="BTCUSDT", symbols='["BTCUSDT"]'), COMBINATION),
    Case("symbol-status-unknown", get("exchangeInfo", symbolStatus="ASLEEP"), (400, -1122, "Invalid symbolStatus.")),
    Case("boolean-malformed", get("exchangeInfo", showPermissionSets="maybe"), illegal("showPermissionSets", "^(true|false)$")),
    Case("limit-malformed", get("depth", symbol="BTCUSDT", limit="ten"), illegal("limit", "^[0-9]{1,20}$")),
    Case("limit-zero", get("trades", symbol="BTCUSDT", limit=0), invalid("limit")),
    Case("integer-overflow", get("trades", symbol="BTCUSDT", limit=1 << 63), (400, -1108, "Parameter 'limit' overflowed.")),
    # Who asks.
    Case("no-key", raw("GET", "/api/v3/account", b"timestamp=1"), BAD_KEY),
    Case("key-malformed", raw("GET", "/api/v3/account", b"timestamp=1", api_key="short"), BAD_KEY),
    Case("key-unknown", raw("GET", "/api/v3/account", b"timestamp=1&signature=" + b"0" * 64, api_key=KEY_OF_NOBODY), BAD_SIGNATURE),
    Case("key-revoked", revoked_key, BAD_SIGNATURE),
    Case("key-expired", expired_key, BAD_SIGNATURE),
    Case("key-elsewhere", key_used_elsewhere, REJECTED_KEY),
    Case("ws-key-elsewhere", ws_key_used_elsewhere, REJECTED_KEY),
    Case("key-without-permission", key_without_permission, REJECTED_KEY),
    Case("key-of-no-account", account_data_not_opened, REJECTED_KEY),
    Case("ws-no-key", frame('{"id":1,"method":"account.status","params":{}}'), BAD_KEY),
    Case("signature-missing", unsigned, mandatory("signature")),
    Case("signature-malformed", signature_of("xyz"), illegal("signature", "^[A-Za-z0-9+/]{64,1368}={0,2}$")),
    Case("signature-wrong", signature_of("0" * 64), BAD_SIGNATURE),
    Case("signature-of-another", signed_by_another, BAD_SIGNATURE),
    Case("changed-after-signing", changed_after_signing, BAD_SIGNATURE),
    Case("ws-signature-unsorted", ws_unsigned_by_members, BAD_SIGNATURE),
    # And when.
    Case("timestamp-missing", no_timestamp, mandatory("timestamp")),
    Case("timestamp-malformed", signed("GET", "account", timestamp="now"), illegal("timestamp", "^[0-9]{1,20}$")),
    Case("timestamp-late", aged(5001), TOO_LATE),
    Case("timestamp-late-for-its-window", aged(101, recvWindow=100), TOO_LATE),
    Case("timestamp-early", aged(-1000), TOO_EARLY),
    Case("recv-window-malformed", aged(0, recvWindow="1.2345"), illegal("recvWindow", r"^[0-9]{1,20}(\.[0-9]{1,3})?$")),
    Case("recv-window-too-long", aged(0, recvWindow="60000.001"), (400, -1131, "'recvWindow' must be less than 60000.")),
    Case("late-in-the-log", late_in_the_log, TOO_LATE),
    # An order's parameters.
    Case("side-missing", signed("POST", "order", symbol="BTCUSDT", type="LIMIT"), mandatory("side")),
    Case("side-unknown", limit(side="HOLD"), (400, -1117, "Invalid side.")),
    Case("type-missing", signed("POST", "order", symbol="BTCUSDT", side="BUY"), mandatory("type")),
    Case("type-unknown", limit(type="ICEBERG"), (400, -1116, "Invalid orderType.")),
    Case("stop-loss", limit(type="STOP_LOSS"), (400, -1013, "Stop loss orders are not supported for this symbol.")),
    Case("stop-loss-limit", limit(type="STOP_LOSS_LIMIT"), (400, -1013, "Stop loss limit orders are not supported for this symbol.")),
    Case("take-profit", limit(type="TAKE_PROFIT"), (400, -1013, "Take profit orders are not supported for this symbol.")),
    Case(
        "take-profit-limit", limit(type="TAKE_PROFIT_LIMIT"), (400, -1013, "Take profit limit orders are not supported for this symbol.")
    ),
    Case(
        "trailing-stop",
        limit(type="STOP_LOSS", trailingDelta=10),
        (400, -1013, "Trailing stop orders are not supported for this symbol."),
    ),
    Case("iceberg", limit(icebergQty="1"), (400, -1013, "Iceberg orders are not supported for this symbol.")),
    Case("time-in-force-missing", signed("POST", "order", symbol="BTCUSDT", side="BUY", type="LIMIT"), mandatory("timeInForce")),
    Case("time-in-force-unknown", limit(timeInForce="DAY"), (400, -1115, "Invalid timeInForce.")),
    Case("quantity-missing", limit(quantity=None), mandatory("quantity")),
    Case("price-missing", limit(price=None), mandatory("price")),
    Case("limit-maker-without-price", place(type="LIMIT_MAKER", quantity="1"), mandatory("price")),
    Case("limit-with-quote-quantity", limit(quoteOrderQty="1"), not_required("quoteOrderQty")),
    Case("limit-with-stop-price", limit(stopPrice="1"), not_required("stopPrice")),
    Case(
        "limit-maker-with-time-in-force",
        place(type="LIMIT_MAKER", quantity="1", price="100", timeInForce="GTC"),
        not_required("timeInForce"),
    ),
    Case("market-with-price", place(type="MARKET", quantity="1", price="100"), not_required("price")),
    Case("market-with-time-in-force", place(type="MARKET", quantity="1", timeInForce="IOC"), not_required("timeInForce")),
    Case(
        "market-without-quantity",
        place(type="MARKET"),
        (400, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"),
    ),
    Case("market-with-both-quantities", place(type="MARKET", quantity="1", quoteOrderQty="100"), COMBINATION),
    Case("quantity-exponent", limit(quantity="1e5"), illegal("quantity", DECIMAL)),
    Case("quantity-sign", limit(quantity="-1"), illegal("quantity", DECIMAL)),
    Case("quantity-plus", limit(quantity="+1"), illegal("quantity", DECIMAL)),
    Case("quantity-blank", limit(quantity=" 1"), illegal("quantity", DECIMAL)),
    Case("quantity-nan", limit(quantity="NaN"), illegal("quantity", DECIMAL)),
    Case("quantity-comma", limit(quantity="1,5"), illegal("quantity", DECIMAL)),
    Case("quantity-no-digit-after-point", limit(quantity="1."), illegal("quantity", DECIMAL)),
    Case("quantity-overlong", limit(quantity="1" * 21), illegal("quantity", DECIMAL)),
    Case("price-malformed", limit(price="0x10"), illegal("price", DECIMAL)),
    Case("quantity-too-precise", limit(quantity="1.000000001"), (400, -1111, "Parameter 'quantity' has too much precision.")),
    Case("price-too-precise", limit(price="100.000000001"), (400, -1111, "Parameter 'price' has too much precision.")),
    Case(
        "quote-quantity-too-precise",
        place(type="MARKET", quoteOrderQty="100.000000001"),
        (400, -1111, "Parameter 'quoteOrderQty' has too much precision."),
    ),
    Case("price-between-ticks", limit(price="100.001"), filter_failure("PRICE_FILTER")),
    Case("price-zero", limit(price="0"), filter_failure("PRICE_FILTER")),
    Case("price-too-high", limit(price="1000000.01"), filter_failure("PRICE_FILTER")),
    Case("quantity-between-lots", limit(quantity="1.000001"), filter_failure("LOT_SIZE")),
    Case("quantity-zero", limit(quantity="0"), filter_failure("LOT_SIZE")),
    Case("quantity-too-large", limit(quantity="9000.00001"), filter_failure("LOT_SIZE")),
    Case("market-quantity-too-large", place(type="MARKET", quantity="99999999999999999999"), filter_failure("LOT_SIZE")),
    Case("notional-too-small", limit(quantity="0.04999"), filter_failure("NOTIONAL")),
    Case("quote-quantity-too-small", place(type="MARKET", quoteOrderQty="4.99999999"), filter_failure("NOTIONAL")),
    Case(
        "market-quantity-too-dear",
        place(type="MARKET", quantity="1.00001"),
        filter_failure("NOTIONAL"),
        {"reference_ticks": 10_000, "max_notional_atoms": 100_00000000},
    ),
    Case("quote-quantity-too-large", place(type="MARKET", quoteOrderQty="99999999999999999999"), filter_failure("NOTIONAL")),
    Case("client-id-illegal", limit(newClientOrderId="a.b"), illegal("newClientOrderId", CLIENT_ID)),
    Case("client-id-too-long", limit(newClientOrderId="a" * 37), illegal("newClientOrderId", CLIENT_ID)),
    Case("response-type-unknown", limit(newOrderRespType="SOME"), invalid("newOrderRespType")),
    Case(
        "stp-mode-unknown",
        limit(selfTradePreventionMode="TRANSFER"),
        invalid("selfTradePreventionMode"),
    ),
    # What the machines refuse.
    Case("insufficient-balance", limit(quantity="10", price="100000.01"), NO_BALANCE),
    Case("market-buy-too-dear", market_buy_too_dear, NO_BALANCE),
    Case("would-take", would_take, rejected("Order would immediately match and take.")),
    Case("duplicate-client-id", same_client_id, rejected("Duplicate order sent.")),
    Case("market-closed", closed_market, (400, -1013, "Market is closed.")),
    Case("outside-the-band", limit(price="120.01"), filter_failure("PERCENT_PRICE"), {"reference_ticks": 10_000, "band_up_ppm": 1_200_000}),
    Case("too-many-open-orders", many_open_orders, filter_failure("MAX_NUM_ORDERS"), {"orders_max": 2}),
    Case("too-many-open-orders-of-account", many_open_orders_of_account, filter_failure("EXCHANGE_MAX_NUM_ORDERS")),
    Case("account-suspended", with_status(codes.SUSPENDED), rejected("This action is disabled on this account.")),
    Case("account-closed", with_status(codes.CLOSED), rejected("This account may not place or cancel orders.")),
    Case("account-unknown", account_not_opened, rejected("This account may not place or cancel orders.")),
    Case("account-unknown-to-test", trial_without_account, rejected("This account may not place or cancel orders.")),
    Case("book-too-scattered", scattered_book, rejected("Order would match too many resting orders at once."), {"orders_max": 10_000}),
    Case("command-passed-over", passed_over, UNKNOWN),
    Case("cancel-passed-over", cancel_passed_over, UNKNOWN),
    # Orders that are asked for.
    Case("cancel-neither-id", signed("DELETE", "order", symbol="BTCUSDT"), NEITHER_ID),
    Case("cancel-unknown", signed("DELETE", "order", symbol="BTCUSDT", orderId=99), UNKNOWN_ORDER),
    Case("cancel-unknown-client-id", signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="no"), UNKNOWN_ORDER),
    Case("cancel-order-zero", signed("DELETE", "order", symbol="BTCUSDT", orderId=0), UNKNOWN_ORDER),
    Case("cancel-id-malformed", signed("DELETE", "order", symbol="BTCUSDT", orderId="x1"), illegal("orderId", "^[0-9]{1,20}$")),
    Case("cancel-id-overflow", signed("DELETE", "order", symbol="BTCUSDT", orderId=1 << 63), ORDER_ID_OVERFLOW),
    Case("cancel-of-another", order_of_another("DELETE"), UNKNOWN_ORDER),
    Case("cancel-of-another-symbol", order_of_another_symbol("DELETE"), UNKNOWN_ORDER),
    Case("cancel-ids-differ", id_and_client_id_differ("DELETE"), UNKNOWN_ORDER),
    Case("amend-unknown", signed("PUT", AMEND, symbol="BTCUSDT", orderId=99, newQty="0.5"), no_amendment("Unknown order sent.")),
    Case("amend-of-another", order_of_another("PUT", AMEND, newQty="0.5"), no_amendment("Unknown order sent.")),
    Case("amend-larger", amended(newQty="2"), no_amendment("Order amend (quantity increase) is not supported.")),
    Case("amend-nothing", amended(newQty="1"), no_amendment("The requested action would change no state; rejecting.")),
    Case("amend-under-way", amended_twice, no_amendment("Another amendment of this order is under way.")),
    Case("amend-without-quantity", amended(), mandatory("newQty")),
    Case("amend-below-notional", amended(newQty="0.00001"), filter_failure("NOTIONAL")),
    Case("amend-new-client-id", amended(newQty="0.5", newClientOrderId="other"), invalid("newClientOrderId")),
    Case("cancel-all-of-nothing", signed("DELETE", "openOrders", symbol="BTCUSDT"), UNKNOWN_ORDER),
    Case("order-neither-id", signed("GET", "order", symbol="BTCUSDT"), NEITHER_ID),
    Case("order-unknown", signed("GET", "order", symbol="BTCUSDT", orderId=99), NO_SUCH_ORDER),
    Case("order-of-another", order_of_another("GET"), NO_SUCH_ORDER),
    Case("order-of-another-symbol", order_of_another_symbol("GET"), NO_SUCH_ORDER),
    Case("order-ids-differ", id_and_client_id_differ("GET"), NO_SUCH_ORDER),
    Case(
        "history-too-long",
        signed("GET", "allOrders", symbol="BTCUSDT", startTime=1, endTime=DAY_MS + 2),
        (400, -1127, "More than 24 hours between startTime and endTime."),
    ),
    Case(
        "history-backwards",
        signed("GET", "allOrders", symbol="BTCUSDT", startTime=2, endTime=1),
        invalid("endTime"),
    ),
    Case("trades-combination", signed("GET", "myTrades", symbol="BTCUSDT", fromId=1, startTime=1), COMBINATION),
    # Frames of the WebSocket API.
    Case("ws-not-json", frame("hello"), (400, -1135, "Invalid JSON Request")),
    Case("ws-not-an-object", frame("[1]"), (400, -1135, "Invalid JSON Request")),
    Case("ws-nested-too-deep", frame("[" * 50_000), (400, -1135, "Invalid JSON Request")),
    Case("ws-id-fraction", frame('{"id":1.5,"method":"ping"}'), BAD_ID),
    Case("ws-id-object", frame('{"id":{},"method":"ping"}'), BAD_ID),
    Case(
        "ws-id-too-long",
        frame(f'{{"id":"{"x" * 300}","method":"ping"}}'),
        BAD_ID,
    ),
    Case("ws-method-missing", frame('{"id":1}'), mandatory("method")),
    Case("ws-method-number", frame('{"id":1,"method":7}'), (400, -1135, "Invalid 'method' in JSON request; expected a string.")),
    Case("ws-method-unknown", frame('{"id":1,"method":"order.guess"}'), (400, -1020, UNSUPPORTED)),
    Case(
        "ws-member-twice",
        frame('{"id":1,"method":"ping","method":"time"}'),
        (400, -1101, "Duplicate values for parameter 'method'."),
    ),
    Case(
        "ws-params-list",
        frame('{"id":1,"method":"ping","params":[]}'),
        (400, -1135, "Invalid 'params' in JSON request; expected an object."),
    ),
    Case(
        "ws-params-too-many",
        frame(json.dumps({"id": 1, "method": "depth", "params": {f"p{number}": 1 for number in range(65)}})),
        (400, -1101, "Too many parameters; expected '64' and received '65'."),
    ),
    Case(
        "ws-param-twice",
        frame('{"id":1,"method":"depth","params":{"symbol":"BTCUSDT","s\\u0079mbol":"BTCUSDT"}}'),
        (400, -1101, "Duplicate values for parameter 'symbol'."),
    ),
    Case("ws-param-null", frame('{"id":1,"method":"depth","params":{"symbol":null}}'), (400, -1105, "Parameter 'symbol' was empty.")),
    Case("ws-param-empty", frame('{"id":1,"method":"depth","params":{"symbol":""}}'), (400, -1105, "Parameter 'symbol' was empty.")),
    Case("ws-param-not-ascii", frame('{"id":1,"method":"depth","params":{"symbol":"é"}}'), GENERIC_ILLEGAL),
    Case("ws-param-object", frame('{"id":1,"method":"depth","params":{"symbol":{}}}'), illegal("symbol", SYMBOL)),
    Case("ws-param-exponent", ws_params_signed("1e5", price="100"), illegal("quantity", DECIMAL)),
    Case(
        "ws-unknown-parameter",
        frame('{"id":1,"method":"time","params":{"zone":"UTC"}}'),
        (400, -1104, "Not all sent parameters were read; read '0' parameter(s) but was sent '1'."),
    ),
    Case(
        "ws-connection-bad-time-unit",
        ws_connection_with_unknown_time_unit,
        (400, -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."),
    ),
    Case("ws-order-rejected", ws_signed("order.cancel", symbol="BTCUSDT", orderId=99), UNKNOWN_ORDER),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_request_gets_its_error(case: Case, new_world: Callable[..., World]) -> None:
    world = new_world(allowance=case.allowance, rules=case.rules)
    assert case.ask(world).error == case.error


def rows() -> dict[str, tuple[str, str, str]]:
    """The table of the API in docs/internals/errors.md: status, code and text by name. No other has rows of this form."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        if match := re.fullmatch(r"\| `([a-z0-9-]+)` \| .+ \| (\d+) \| (-\d+) \| `(.+)` \|", line):
            name, *rest = match.groups()
            assert name not in found, f"{name} stands twice in {DOCUMENT.name}"
            found[name] = (rest[0], rest[1], rest[2].replace("\\|", "|"))
    return found


def test_the_document_lists_these_and_no_others() -> None:
    assert rows() == {case.name: (str(case.error[0]), str(case.error[1]), case.error[2]) for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_error_of_the_table_has_a_case() -> None:
    """What the cases never reach is either here with its reason, or dead."""
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, errors.Kind)}
    reached = [case.error for case in CASES]

    def is_reached(kind: errors.Kind) -> bool:
        text = re.compile(re.escape(kind.msg).replace(r"\{\}", ".+"))
        return any(status == kind.status and code == kind.code and text.fullmatch(msg) for status, code, msg in reached)

    unreached = {name for name, kind in kinds.items() if not is_reached(kind)}
    assert unreached == {"UNSUPPORTED_COMBINATION"}  # BAD_TERMS of the core: the gateway sends no such terms
