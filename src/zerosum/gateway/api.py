"""
The API: which operation a request asks for, who may ask, and what becomes of errors. Knows no sockets.

    Request  --route--> weight --> parameters --> key, signature, time --> unknown parameters --> operation --> reply
    frame    --method-> the same, with the signature over sorted parameters

Always true:
  - each request is answered once, with JSON; whatever its bytes, the answer is an operation's or an error of the table; also where
    something here fails that never should
  - an operation runs, and submits its command, within the call of `handle` or `handle_ws`: so commands are in the order of requests (but
    for an amendment of an order that this gateway does not know of yet)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, NamedTuple, Protocol, final

import msgspec

from zerosum.gateway import errors
from zerosum.gateway.account_data import OPEN_ORDERS_WEIGHT, USER_TRADES_OF_ORDER_WEIGHT, AccountData
from zerosum.gateway.amending import AMEND_PARAMETERS, Amending
from zerosum.gateway.auth import NOBODY, check_rest, check_ws
from zerosum.gateway.calls import Call, RestCall, WsCall
from zerosum.gateway.entry import Busy, Entry
from zerosum.gateway.errors import ApiError
from zerosum.gateway.history import History
from zerosum.gateway.instruments import Instruments
from zerosum.gateway.limits import Allowance, Limits
from zerosum.gateway.market_data import DEPTH_WEIGHTS, MarketData
from zerosum.gateway.messages import Reply, ReplyText, Request, Session
from zerosum.gateway.orders import CANCEL_PARAMETERS, ORDER_PARAMETERS, Orders
from zerosum.gateway.parameters import Params, boolean, check_all_read, check_unrepeated, deadline_us, divisor_of, of_rest, of_ws
from zerosum.identity.keyring import ApiKey, Unreadable
from zerosum.identity.keys import READ, TRADE, looks_like_a_key
from zerosum.views.views import Views

NONE: Final = ""
SIGNED: Final = frozenset({"timestamp", "recvWindow", "signature"})
WS_ALWAYS: Final = frozenset({"returnRateLimits"})
WS_SIGNED: Final = SIGNED | {"apiKey"}
TIME_RANGE: Final = frozenset({"startTime", "endTime", "limit"})

ID_BYTES_MAX: Final = 256

Id = int | str | None

_decode_frame: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_id: Final = msgspec.json.Decoder(Id).decode
_decode_method: Final = msgspec.json.Decoder(str).decode


class KeySource(Protocol):
    """Where API keys are found: KeyRing."""

    def find(self, api_key: str, now_us: int) -> ApiKey | None:
        """Unreadable."""


class Operation(NamedTuple):
    """`weight` is charged before anything is looked at; what depends on parameters, the operation charges itself."""

    run: Callable[[Call], None]
    security: str  # NONE, or the permission that a key must have
    weight: int
    accepted: frozenset[str]


class WsState(NamedTuple):
    """What the opening handshake of a connection asked for."""

    shows_limits: bool
    time_unit: str | None


@final
class Api:
    def __init__(
        self, entry: Entry, views: Views, history: History, keys: KeySource, *, allowance: Allowance | None = None,
        executor: Executor | None = None,
    ) -> None:  # fmt: skip
        instruments = Instruments(views)
        self.entry = entry
        self.keys = keys
        self.limits = Limits(allowance if allowance is not None else Allowance())
        self.orders = Orders(entry, views, instruments)
        self.amending = Amending(entry, views, instruments)
        self.market_data = MarketData(entry, instruments, self.limits.allowance)
        self.account_data = AccountData(entry, views, instruments, history, executor)
        operations = self.operations()
        self.routes = {
            path: {method: for_rest(operations[name]) for method, name in methods.items()} for path, methods in ROUTES.items()
        }  # fmt: skip
        self.methods = {method: for_ws(operations[name]) for method, name in METHODS.items()}

    def operations(self) -> dict[str, Operation]:
        market, user, orders = self.market_data, self.account_data, self.orders
        symbol = frozenset({"symbol"})
        named = symbol | {"orderId", "origClientOrderId"}
        info = symbol | {"symbols", "permissions", "showPermissionSets", "symbolStatus"}
        return {
            "ping": Operation(market.ping, NONE, 1, frozenset()),
            "time": Operation(market.time, NONE, 1, frozenset()),
            "exchangeInfo": Operation(market.exchange_info, NONE, 20, info),
            "depth": Operation(market.depth, NONE, DEPTH_WEIGHTS[0][1], symbol | {"limit"}),
            "trades": Operation(market.trades, NONE, 25, symbol | {"limit"}),
            "place": Operation(orders.place, TRADE, 1, ORDER_PARAMETERS),
            "test": Operation(orders.test, TRADE, 1, ORDER_PARAMETERS | {"computeCommissionRates"}),
            "cancel": Operation(orders.cancel, TRADE, 1, CANCEL_PARAMETERS),
            "cancelAll": Operation(orders.cancel_all, TRADE, 1, symbol),
            "amend": Operation(self.amending.amend, TRADE, 4, AMEND_PARAMETERS),
            "order": Operation(user.order, READ, 4, named),
            "openOrders": Operation(user.open_orders, READ, OPEN_ORDERS_WEIGHT, symbol),
            "allOrders": Operation(user.all_orders, READ, 20, symbol | {"orderId"} | TIME_RANGE),
            "account": Operation(user.account, READ, 20, frozenset({"omitZeroBalances"})),
            "userTrades": Operation(user.user_trades, READ, USER_TRADES_OF_ORDER_WEIGHT, symbol | {"orderId", "fromId"} | TIME_RANGE),
        }

    # ------------------------------------------------------------------ REST

    def handle(self, request: Request, reply: Reply) -> None:
        call = RestCall(self.limits, request.client, request.received_us, reply)
        call.run(self.serve_rest, request, call)

    def serve_rest(self, request: Request, call: Call) -> None:
        methods = self.routes.get(request.path)
        operation = None if methods is None else methods.get(request.method)
        call.use_weight(1 if operation is None else operation.weight)
        if methods is None:
            raise errors.NO_SUCH_PATH.of()
        if operation is None:
            error = errors.WRONG_METHOD.of()
            error.headers = ((b"allow", ", ".join(methods).encode()),)
            raise error
        call.divisor = divisor_of(request.time_unit)
        call.params = params = of_rest(request.query, request.body)
        if operation.security:
            key = self.key(request.api_key, call.now_us)
            check_rest(key, params, request.query, request.body)
            self.admit(key, operation, call)
        check_all_read(params, operation.accepted)
        operation.run(call)

    # ------------------------------------------------------------------ WebSocket

    def handle_ws(self, text: bytes, session: Session, reply: ReplyText) -> None:
        state = session.user
        if not isinstance(state, WsState):
            state = session.user = opened(session.query)
        call = WsCall(self.limits, session.client, self.entry.now_us(), reply, state.shows_limits)
        call.run(self.serve_ws, text, state, call)

    def serve_ws(self, text: bytes, state: WsState, call: WsCall) -> None:
        try:
            frame = frame_of(text)
            call.request_id = request_id(frame.get("id"))
        finally:
            call.use_weight(1)  # after the id: what is refused for its weight says which request it was
        operation = self.methods.get(method_name(frame.get("method")))
        if operation is None:
            raise errors.UNKNOWN_METHOD.of()
        if operation.weight > 1:
            call.use_weight(operation.weight - 1)
        call.divisor = divisor_of(state.time_unit)
        raw = frame.get("params")
        if raw is not None:
            call.params = of_ws(bytes(raw))
        params = call.params
        # Each member has a colon: with no more colons than members none is there twice, and most texts need not be looked at again.
        if text.count(b":") > len(frame) + len(params):
            check_unrepeated(text)
            if raw is not None:
                check_unrepeated(bytes(raw))
        if operation.security:
            key = self.key(params.get("apiKey"), call.now_us)
            check_ws(key, params)
            self.admit(key, operation, call)
        call.shows_limits = boolean(params, "returnRateLimits", state.shows_limits)
        check_all_read(params, operation.accepted)
        operation.run(call)

    # ------------------------------------------------------------------ who asks

    def key(self, api_key: str | None, now_us: int) -> ApiKey:
        if api_key is None or not looks_like_a_key(api_key):
            raise errors.BAD_API_KEY_FORMAT.of()
        try:
            key = self.keys.find(api_key, now_us)
        except Unreadable as error:
            raise Busy(str(error)) from error
        return NOBODY if key is None else key

    def admit(self, key: ApiKey, operation: Operation, call: Call) -> None:
        """A request whose signature is good: is it in time, and allowed?"""
        call.deadline_us = deadline_us(call.params, call.now_us)
        if operation.security not in key.permissions or not key.is_good_from(call.client):
            raise errors.REJECTED_KEY.of()
        call.account_id = key.account_id
        call.api_key = key.api_key
        call.limits.use_key(key.api_key, operation.weight, call.now_us)


def for_rest(operation: Operation) -> Operation:
    return operation._replace(accepted=operation.accepted | SIGNED) if operation.security else operation


def for_ws(operation: Operation) -> Operation:
    return operation._replace(accepted=operation.accepted | WS_ALWAYS | (WS_SIGNED if operation.security else frozenset()))


def opened(query: bytes) -> WsState:
    """What a handshake's query asks for. What it has besides is ignored; what can't be read counts as not there."""
    try:
        params: Params = of_rest(query, b"")
        return WsState(boolean(params, "returnRateLimits", True), params.get("timeUnit"))
    except ApiError:
        return WsState(True, None)


def frame_of(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        text.decode()  # the decoder leaves bytes that are no UTF-8 for later
        return _decode_frame(text)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise errors.INVALID_JSON.of() from error


def request_id(raw: msgspec.Raw | None) -> bytes:
    """The id as it was sent: an integer, a string or null."""
    if raw is None:
        return b"null"
    text = bytes(raw)
    try:
        _decode_id(text)
        if len(text) <= ID_BYTES_MAX:
            return text
    except msgspec.DecodeError:
        pass
    raise errors.INVALID_JSON_MEMBER.of("id", "an integer, a string or null")


def method_name(raw: msgspec.Raw | None) -> str:
    if raw is None:
        raise errors.MANDATORY.of("method")
    try:
        return _decode_method(raw).removeprefix("v3/")
    except msgspec.DecodeError as error:
        raise errors.INVALID_JSON_MEMBER.of("method", "a string") from error


ROUTES: Final[dict[str, dict[str, str]]] = {
    "/api/v3/ping": {"GET": "ping"},
    "/api/v3/time": {"GET": "time"},
    "/api/v3/exchangeInfo": {"GET": "exchangeInfo"},
    "/api/v3/depth": {"GET": "depth"},
    "/api/v3/trades": {"GET": "trades"},
    "/api/v3/order": {"POST": "place", "GET": "order", "DELETE": "cancel"},
    "/api/v3/order/test": {"POST": "test"},
    "/api/v3/order/amend/keepPriority": {"PUT": "amend"},
    "/api/v3/openOrders": {"GET": "openOrders", "DELETE": "cancelAll"},
    "/api/v3/allOrders": {"GET": "allOrders"},
    "/api/v3/account": {"GET": "account"},
    "/api/v3/myTrades": {"GET": "userTrades"},
}

METHODS: Final[dict[str, str]] = {
    "ping": "ping",
    "time": "time",
    "exchangeInfo": "exchangeInfo",
    "depth": "depth",
    "trades.recent": "trades",
    "order.place": "place",
    "order.test": "test",
    "order.cancel": "cancel",
    "order.amend.keepPriority": "amend",
    "order.status": "order",
    "openOrders.status": "openOrders",
    "openOrders.cancelAll": "cancelAll",
    "allOrders": "allOrders",
    "account.status": "account",
    "myTrades": "userTrades",
}
