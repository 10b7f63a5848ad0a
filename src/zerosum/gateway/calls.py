"""
One request under way, and how it is answered: the same operations serve REST and WebSocket, and only here they differ.

    operation --ok(JSON), fail(ApiError)--> RestCall: a Response, limits in its headers
                                       +--> WsCall: a frame with the request's id, limits in its body

Always true: whatever a part of an operation raises, once it is run by `Call.run` its client has an answer, in JSON, and its caller does not
notice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, final

from zerosum.gateway import errors
from zerosum.gateway.entry import Busy
from zerosum.gateway.errors import ApiError
from zerosum.gateway.limits import Allowance, Limits
from zerosum.gateway.messages import Reply, ReplyText, Response
from zerosum.gateway.parameters import Params
from zerosum.net.sparing_log import SparingLog

USED_WEIGHT: Final = b"x-mbx-used-weight-1m"
ORDERS_10_SECONDS: Final = b"x-mbx-order-count-10s"
ORDERS_DAY: Final = b"x-mbx-order-count-1d"

# A bug that strangers meet is met by each of them, and its traceback is the same: one is enough for a while.
_log: Final = SparingLog("gateway.api", lines_max=1, period_s=10.0)
_refusals: Final = SparingLog("gateway.refusals")


class Call(ABC):
    """
    `account_id`, `api_key` and `deadline_us` are set once a signed request is known to be good; `divisor`: microseconds in its unit of
    time; `submitted`: a command of this call may be in the log.
    """

    __slots__ = (
        "account_id", "answered", "api_key", "client", "deadline_us", "divisor", "limits", "now_us", "orders_lately", "orders_today",
        "params", "submitted", "used_weight",
    )  # fmt: skip

    def __init__(self, limits: Limits, client: str, now_us: int) -> None:
        self.limits = limits
        self.client = client
        self.now_us = now_us
        self.params: Params = {}
        self.account_id = 0
        self.api_key = ""
        self.deadline_us = 0
        self.divisor = 1000
        self.used_weight = 0
        self.orders_lately = 0
        self.orders_today = 0
        self.submitted = False
        self.answered = False

    def run(self, part: Callable[..., None], *args: object) -> None:
        """
        Run a part of the operation. What it raises is the answer, and never goes on to the caller: a shard that answers a whole group, a
        loop that serves everybody.
        """
        try:
            part(*args)
        except ApiError as error:
            if error.code in errors.OF_WHO_ASKS:
                _refusals.warning("request.refused", code=error.code, client=self.client)
            self.fail(error)
        except Busy:
            self.fail(errors.BUSY.of())
        except Exception:  # noqa: BLE001  # a bug of the gateway, which holds no money: its client is told, and nobody else notices
            _log.error("request.failed", exc_info=True, submitted=self.submitted)
            if not self.answered:
                self.fail((errors.TIMEOUT if self.submitted else errors.UNKNOWN).of())

    def use_weight(self, weight: int) -> None:
        self.used_weight = self.limits.use_weight(self.client, weight, self.now_us)
        self.limits.check_weight(self.client, self.used_weight, self.now_us)
        if self.api_key:
            self.limits.use_key(self.api_key, weight, self.now_us)

    def use_order(self) -> None:
        self.orders_lately, self.orders_today = self.limits.use_order(self.account_id, self.now_us)

    def lost(self) -> None:
        """What became of the command that was submitted can't be known."""
        self.fail(errors.TIMEOUT.of())

    @abstractmethod
    def ok(self, body: bytes) -> None:
        """Answer with JSON. Once, and not after `fail`."""

    @abstractmethod
    def fail(self, error: ApiError) -> None: ...


@final
class RestCall(Call):
    __slots__ = ("reply",)

    def __init__(self, limits: Limits, client: str, now_us: int, reply: Reply) -> None:
        super().__init__(limits, client, now_us)
        self.reply = reply

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        weight = (USED_WEIGHT, b"%d" % self.used_weight)
        if self.orders_today:
            return weight, (ORDERS_10_SECONDS, b"%d" % self.orders_lately), (ORDERS_DAY, b"%d" % self.orders_today)
        return (weight,)

    def ok(self, body: bytes) -> None:
        self.answered = True
        self.reply(Response(200, body, self.headers()))

    def fail(self, error: ApiError) -> None:
        self.answered = True
        self.reply(Response(error.status, error.body(), self.headers() + error.headers))


@final
class WsCall(Call):
    """`request_id` is the id's JSON as it was sent."""

    __slots__ = ("reply", "request_id", "shows_limits")

    def __init__(self, limits: Limits, client: str, now_us: int, reply: ReplyText, shows_limits: bool) -> None:
        super().__init__(limits, client, now_us)
        self.reply = reply
        self.request_id = b"null"
        self.shows_limits = shows_limits

    def ok(self, body: bytes) -> None:
        self.answered = True
        self.reply(b'{"id":%b,"status":200,"result":%b%b}' % (self.request_id, body, self.rate_limits()))

    def fail(self, error: ApiError) -> None:
        self.answered = True
        frame = (self.request_id, error.status, error.body_with_data(), self.rate_limits())
        self.reply(b'{"id":%b,"status":%d,"error":%b%b}' % frame)

    def rate_limits(self) -> bytes:
        if not self.shows_limits:
            return b""
        allowance = self.limits.allowance
        weight = b'{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":%d,"count":%d}' % (
            allowance.weight_per_minute, self.used_weight,
        )  # fmt: skip
        if not self.orders_today:
            return b',"rateLimits":[%b]' % weight
        orders = (
            b'{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":%d,"count":%d},'
            b'{"rateLimitType":"ORDERS","interval":"DAY","intervalNum":1,"limit":%d,"count":%d}'
        ) % (allowance.orders_per_10_seconds, self.orders_lately, allowance.orders_per_day, self.orders_today)
        return b',"rateLimits":[%b,%b]' % (orders, weight)


def announced(allowance: Allowance) -> list[dict[str, str | int]]:
    """The limits as exchangeInfo has them."""
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": allowance.weight_per_minute},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": allowance.orders_per_10_seconds},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": allowance.orders_per_day},
    ]
