"""
Every error that a client can get: its code, its text and its HTTP status, in one place. Clients match the texts letter by letter.

    parse, sign, limit --raise--> ApiError            core reason --ERRORS--> ApiError
    an order's end --ENDS--> its status

Always true: a reason of the core is an error here, or an order's end, or of commands that a gateway never sends (the test of this module
holds it). docs/internals/errors.md has a row for each way to get one.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

import msgspec

from zerosum.core import codes

_encode: Final = msgspec.json.Encoder().encode


@final
class ApiError(Exception):
    """What a client is told. `data` is for WebSocket clients, `headers` for those of REST."""

    def __init__(
        self, code: int, msg: str, status: int, data: dict[str, int] | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(code, msg, status)
        self.code = code
        self.msg = msg
        self.status = status
        self.data = data
        self.headers = headers

    def body(self) -> bytes:
        return _encode({"code": self.code, "msg": self.msg})

    def body_with_data(self) -> bytes:
        if self.data is None:
            return self.body()
        return _encode({"code": self.code, "msg": self.msg, "data": self.data})


class Kind(NamedTuple):
    """A row of the table; `{}` in `msg` is filled in."""

    code: int
    msg: str
    status: int = 400

    def of(self, *values: object) -> ApiError:
        return ApiError(self.code, self.msg.format(*values), self.status)


# The service.
UNKNOWN: Final = Kind(-1000, "An unknown error occurred while processing the request.", 500)
TOO_MUCH_WEIGHT: Final = Kind(
    -1003,
    "Too much request weight used; current limit is {} request weight per 1 MINUTE."
    " Please use WebSocket Streams for live updates to avoid polling the API.",
    429,
)
TOO_MUCH_KEY_WEIGHT: Final = Kind(
    -1003, "Too much request weight used by this API key; current limit is {} request weight per 1 MINUTE.", 429
)
BANNED: Final = Kind(
    -1003, "Way too much request weight used; IP banned until {}. Please use WebSocket Streams for live updates to avoid bans.", 418
)
TIMEOUT: Final = Kind(-1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown.", 504)
BUSY: Final = Kind(-1008, "Server is currently overloaded with other requests. Please try again in a few minutes.", 503)
TOO_MANY_NEW_ORDERS: Final = Kind(-1015, "Too many new orders; current limit is {} orders per {}.", 429)
NO_SUCH_PATH: Final = Kind(-1020, "This operation is not supported.", 404)
WRONG_METHOD: Final = Kind(-1020, "This operation is not supported.", 405)
UNKNOWN_METHOD: Final = Kind(-1020, "This operation is not supported.")

# Who asks, and when.
TOO_LATE: Final = Kind(-1021, "Timestamp for this request is outside of the recvWindow.")
TOO_EARLY: Final = Kind(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
INVALID_SIGNATURE: Final = Kind(-1022, "Signature for this request is not valid.")
BAD_RECV_WINDOW: Final = Kind(-1131, "'recvWindow' must be less than 60000.")
BAD_API_KEY_FORMAT: Final = Kind(-2014, "API-key format invalid.", 401)
REJECTED_KEY: Final = Kind(-2015, "Invalid API-key, IP, or permissions for action.", 401)
OF_WHO_ASKS: Final = frozenset({INVALID_SIGNATURE.code, BAD_API_KEY_FORMAT.code, REJECTED_KEY.code, BANNED.code})
"""What whoever guards the exchange wants to know of: somebody asks who may not."""

# Parameters.
ILLEGAL_CHARS_SOMEWHERE: Final = Kind(-1100, "Illegal characters found in a parameter.")
ILLEGAL_CHARS: Final = Kind(-1100, "Illegal characters found in parameter '{}'; legal range is '{}'.")
TOO_MANY_PARAMETERS: Final = Kind(-1101, "Too many parameters; expected '{}' and received '{}'.")
DUPLICATE_PARAMETER: Final = Kind(-1101, "Duplicate values for parameter '{}'.")
MANDATORY: Final = Kind(-1102, "Mandatory parameter '{}' was not sent, was empty/null, or malformed.")
ONE_OF_TWO: Final = Kind(-1102, "Param '{}' or '{}' must be sent, but both were empty/null!")
UNREAD: Final = Kind(-1104, "Not all sent parameters were read; read '{}' parameter(s) but was sent '{}'.")
EMPTY: Final = Kind(-1105, "Parameter '{}' was empty.")
NOT_REQUIRED: Final = Kind(-1106, "Parameter '{}' sent when not required.")
OVERFLOW: Final = Kind(-1108, "Parameter '{}' overflowed.")
TOO_PRECISE: Final = Kind(-1111, "Parameter '{}' has too much precision.")
INVALID_TIME_IN_FORCE: Final = Kind(-1115, "Invalid timeInForce.")
INVALID_ORDER_TYPE: Final = Kind(-1116, "Invalid orderType.")
INVALID_SIDE: Final = Kind(-1117, "Invalid side.")
INVALID_SYMBOL: Final = Kind(-1121, "Invalid symbol.")
INVALID_SYMBOL_STATUS: Final = Kind(-1122, "Invalid symbolStatus.")
INTERVAL_TOO_LONG: Final = Kind(-1127, "More than {} hours between startTime and endTime.")
BAD_COMBINATION: Final = Kind(-1128, "Combination of optional parameters invalid.")
INVALID_PARAMETER: Final = Kind(-1130, "Data sent for parameter '{}' is not valid.")
INVALID_JSON: Final = Kind(-1135, "Invalid JSON Request")
INVALID_JSON_MEMBER: Final = Kind(-1135, "Invalid '{}' in JSON request; expected {}.")
DUPLICATE_SYMBOL: Final = Kind(-1151, "Symbol is present multiple times in the list.")
INVALID_TIME_UNIT: Final = Kind(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")

# Orders.
PRICE_FILTER: Final = Kind(-1013, "Filter failure: PRICE_FILTER")
PERCENT_PRICE: Final = Kind(-1013, "Filter failure: PERCENT_PRICE")
LOT_SIZE: Final = Kind(-1013, "Filter failure: LOT_SIZE")
NOTIONAL: Final = Kind(-1013, "Filter failure: NOTIONAL")
MAX_NUM_ORDERS: Final = Kind(-1013, "Filter failure: MAX_NUM_ORDERS")
EXCHANGE_MAX_NUM_ORDERS: Final = Kind(-1013, "Filter failure: EXCHANGE_MAX_NUM_ORDERS")
MARKET_CLOSED: Final = Kind(-1013, "Market is closed.")
NO_STOP_LOSS: Final = Kind(-1013, "Stop loss orders are not supported for this symbol.")
NO_STOP_LOSS_LIMIT: Final = Kind(-1013, "Stop loss limit orders are not supported for this symbol.")
NO_TAKE_PROFIT: Final = Kind(-1013, "Take profit orders are not supported for this symbol.")
NO_TAKE_PROFIT_LIMIT: Final = Kind(-1013, "Take profit limit orders are not supported for this symbol.")
NO_TRAILING_STOP: Final = Kind(-1013, "Trailing stop orders are not supported for this symbol.")
NO_ICEBERG: Final = Kind(-1013, "Iceberg orders are not supported for this symbol.")
UNSUPPORTED_COMBINATION: Final = Kind(-1014, "Unsupported order combination.")
INSUFFICIENT_BALANCE: Final = Kind(-2010, "Account has insufficient balance for requested action.")
WOULD_TAKE: Final = Kind(-2010, "Order would immediately match and take.")
DUPLICATE_ORDER: Final = Kind(-2010, "Duplicate order sent.")
ACTION_DISABLED: Final = Kind(-2010, "This action is disabled on this account.")
ACCOUNT_MAY_NOT_TRADE: Final = Kind(-2010, "This account may not place or cancel orders.")
BOOK_TOO_SCATTERED: Final = Kind(-2010, "Order would match too many resting orders at once.")
UNKNOWN_ORDER: Final = Kind(-2011, "Unknown order sent.")
NO_SUCH_ORDER: Final = Kind(-2013, "Order does not exist.")
AMEND_UNKNOWN_ORDER: Final = Kind(-2038, "Unknown order sent.")
AMEND_LARGER: Final = Kind(-2038, "Order amend (quantity increase) is not supported.")
AMEND_NOTHING: Final = Kind(-2038, "The requested action would change no state; rejecting.")
AMEND_UNDER_WAY: Final = Kind(-2038, "Another amendment of this order is under way.")

ERRORS: Final[dict[int, Kind]] = {
    codes.INSUFFICIENT_BALANCE: INSUFFICIENT_BALANCE,
    codes.UNKNOWN_ORDER: UNKNOWN_ORDER,
    codes.WOULD_TAKE: WOULD_TAKE,
    codes.DUPLICATE_CLIENT_ID: DUPLICATE_ORDER,
    codes.DEADLINE_PASSED: TOO_LATE,
    codes.TOO_MANY_ORDERS: MAX_NUM_ORDERS,
    codes.TOO_MANY_ACCOUNT_ORDERS: EXCHANGE_MAX_NUM_ORDERS,
    codes.PRICE_FILTER: PRICE_FILTER,
    codes.LOT_SIZE: LOT_SIZE,
    codes.NOTIONAL: NOTIONAL,
    codes.PRICE_BAND: PERCENT_PRICE,
    codes.MARKET_CLOSED: MARKET_CLOSED,
    codes.BAD_TERMS: UNSUPPORTED_COMBINATION,
    codes.UNKNOWN_SYMBOL: INVALID_SYMBOL,
    codes.UNKNOWN_ACCOUNT: ACCOUNT_MAY_NOT_TRADE,
    codes.ACCOUNT_SUSPENDED: ACTION_DISABLED,
    codes.ACCOUNT_CLOSED: ACCOUNT_MAY_NOT_TRADE,
    codes.WALK_TOO_LONG: BOOK_TOO_SCATTERED,  # as a reject; as an end see ENDS
    codes.BAD_RECORD: UNKNOWN,
    codes.QUARANTINED: UNKNOWN,
}
"""Why a command was refused or an order rejected, as a client is told."""

ENDS: Final[dict[int, str]] = {
    codes.BY_OWNER: "CANCELED",
    codes.UNFILLED: "EXPIRED",
    codes.SELF_TRADE: "EXPIRED_IN_MATCH",
    codes.LEVEL_FULL: "EXPIRED",
    codes.WALK_TOO_LONG: "EXPIRED",
}
"""The status of an order that ended before it was filled, by why."""

NEVER_ASKED: Final = frozenset(
    {
        codes.AMENDMENT_IN_FLIGHT, codes.ACCOUNT_EXISTS, codes.ACCOUNT_NOT_EMPTY, codes.BAD_ACCOUNT, codes.UNKNOWN_ASSET, codes.BAD_AMOUNT,
        codes.SUPPLY_EXCEEDED, codes.TRANSFER_REPEATED, codes.TRANSFER_ID_REUSED, codes.BAD_LISTING, codes.CANCEL_FAILED,
        codes.WRONG_SHARD, codes.UNKNOWN_MOVEMENT, codes.MOVEMENT_ENDED, codes.BAD_REASON,
    }
)  # fmt: skip
"""Reasons of commands that a gateway never sends."""


def error_of(reason: int) -> ApiError:
    return ERRORS.get(reason, UNKNOWN).of()
