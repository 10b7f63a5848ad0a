"""
One request under way, and how it is answered: the same operations serve REST and WebSocket, and only here they differ.

    operation --ok(JSON), fail(ApiError)--> RestCall: a Response, limits in its headers
                                       +--> WsCall: a frame with the request's id, limits in its body
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, final

from zerosum.gateway.errors import ApiError
from zerosum.gateway.limits import Allowance, Limits
from zerosum.gateway.messages import Reply, ReplyText, Response
from zerosum.gateway.parameters import Params

USED_WEIGHT: Final = b"x-mbx-used-weight-1m"
ORDERS_10_SECONDS: Final = b"x-mbx-order-count-10s"
ORDERS_DAY: Final = b"x-mbx-order-count-1d"


class Call(ABC):
    """`account_id` and `deadline_us` are set once a signed request is known to be good; `divisor`: microseconds in its unit of time."""

    __slots__ = (
        "account_id", "client", "deadline_us", "divisor", "limits", "now_us", "orders_lately", "orders_today", "params", "used_weight",
    )  # fmt: skip

    def __init__(self, limits: Limits, client: str, now_us: int) -> None:
        self.limits = limits
        self.client = client
        self.now_us = now_us
        self.params: Params = {}
        self.account_id = 0
        self.deadline_us = 0
        self.divisor = 1000
        self.used_weight = 0
        self.orders_lately = 0
        self.orders_today = 0

    def use_weight(self, weight: int) -> None:
        self.used_weight = self.limits.use_weight(self.client, weight, self.now_us)
        self.limits.check_weight(self.used_weight, self.now_us)

    def use_order(self) -> None:
        self.orders_lately, self.orders_today = self.limits.use_order(self.account_id, self.now_us)

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
        self.reply(Response(200, body, self.headers()))

    def fail(self, error: ApiError) -> None:
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
        self.reply(b'{"id":%b,"status":200,"result":%b%b}' % (self.request_id, body, self.rate_limits()))

    def fail(self, error: ApiError) -> None:
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
