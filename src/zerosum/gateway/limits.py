"""
How much a client may ask: request weight per address and minute, orders per account and ten seconds, and per account and day.

    |--- window ---|--- window ---|     a window's counts begin at 0 when it begins; windows begin at whole minutes, tens of seconds, days

Always true: what is kept is bounded by who came in the current window; a request past its limit is refused, and counts as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from zerosum.gateway import errors
from zerosum.gateway.errors import ApiError

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
TEN_SECONDS_US: Final = 10 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits. The defaults are far above what a person needs and below what would harm the others."""

    weight_per_minute: int = 60_000  # of an address
    orders_per_10_seconds: int = 10_000  # of an account
    orders_per_day: int = 20_000_000


@final
class Window:
    """Counts by key in the current window."""

    __slots__ = ("counts", "length_us", "number")

    def __init__(self, length_us: int) -> None:
        self.length_us = length_us
        self.number = -1
        self.counts: dict[str | int, int] = {}

    def add(self, key: str | int, count: int, now_us: int) -> int:
        """The key's count in this window, with this."""
        number = now_us // self.length_us
        if number != self.number:
            self.number = number
            self.counts.clear()
        total = self.counts[key] = self.counts.get(key, 0) + count
        return total

    def seconds_left(self, now_us: int) -> int:
        """Until the next window, rounded up."""
        return (self.length_us - now_us % self.length_us + SECOND_US - 1) // SECOND_US


@final
class Limits:
    __slots__ = ("allowance", "days", "minutes", "ten_seconds")

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.minutes = Window(MINUTE_US)
        self.ten_seconds = Window(TEN_SECONDS_US)
        self.days = Window(DAY_US)

    def use_weight(self, client: str, weight: int, now_us: int) -> int:
        """The weight that an address has used in this minute, with this."""
        return self.minutes.add(client, weight, now_us)

    def check_weight(self, used: int, now_us: int) -> None:
        if used > self.allowance.weight_per_minute:
            raise refusal(errors.TOO_MUCH_WEIGHT.of(self.allowance.weight_per_minute), self.minutes, now_us)

    def use_order(self, account_id: int, now_us: int) -> tuple[int, int]:
        """Count one order: the account's orders in these ten seconds and on this day. Raises ApiError past a limit."""
        lately = self.ten_seconds.add(account_id, 1, now_us)
        today = self.days.add(account_id, 1, now_us)
        if lately > self.allowance.orders_per_10_seconds:
            raise refusal(errors.TOO_MANY_NEW_ORDERS.of(self.allowance.orders_per_10_seconds, "10 SECOND"), self.ten_seconds, now_us)
        if today > self.allowance.orders_per_day:
            raise refusal(errors.TOO_MANY_NEW_ORDERS.of(self.allowance.orders_per_day, "1 DAY"), self.days, now_us)
        return lately, today


def refusal(error: ApiError, window: Window, now_us: int) -> ApiError:
    """`error`, with when to try again: as a header, and as WebSocket clients look for it."""
    seconds = window.seconds_left(now_us)
    error.headers = ((b"retry-after", b"%d" % seconds),)
    error.data = {"serverTime": now_us // 1000, "retryAfter": now_us // 1000 + seconds * 1000}
    return error
