"""
How much a client may ask: request weight per address and per API key in a minute, orders per account in ten seconds and in a day.

    |--- window ---|--- window ---|     a window's counts begin at 0 when it begins; windows begin at whole minutes, tens of seconds, days

    past its weight      429, until the next minute
    far past it          418: the address is banned, for BAN_S and each time twice as long

Of IPv6 a network of 64 bits counts as one address, for who has one address there has all of them. Several gateways count together: each
tells the others of its large counts (sharing.py), and those are `others` here.

Always true: what is kept is bounded by who came in the current window, and by BANS_MAX; a request past its limit is refused, and counts as
well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from zerosum.gateway import errors
from zerosum.gateway.errors import ApiError
from zerosum.net.address import accountable

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
TEN_SECONDS_US: Final = 10 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US

BAN_FACTOR: Final = 2  # times the allowance
BAN_S: Final = 120
BAN_S_MAX: Final = 3 * 86_400
BAN_REMEMBERED_US: Final = DAY_US  # after its end; a ban that comes within it is a longer one
BANS_MAX: Final = 10_000

Key = str | int


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits. The defaults are far above what a person needs and below what would harm the others."""

    weight_per_minute: int = 60_000  # of an address
    key_weight_per_minute: int = 120_000  # of an API key, from whatever addresses
    orders_per_10_seconds: int = 10_000  # of an account
    orders_per_day: int = 20_000_000


@final
class Window:
    """Counts by key in the current window. `others`: what other gateways have counted in it."""

    __slots__ = ("counts", "length_us", "number", "others")

    def __init__(self, length_us: int) -> None:
        self.length_us = length_us
        self.number = -1
        self.counts: dict[Key, int] = {}
        self.others: dict[Key, int] = {}

    def add(self, key: Key, count: int, now_us: int) -> int:
        """The key's count in this window, with this."""
        number = now_us // self.length_us
        if number != self.number:
            self.number = number
            self.counts.clear()
            self.others.clear()
        total = self.counts[key] = self.counts.get(key, 0) + count
        return total + self.others.get(key, 0) if self.others else total

    def seconds_left(self, now_us: int) -> int:
        """Until the next window, rounded up."""
        return (self.length_us - now_us % self.length_us + SECOND_US - 1) // SECOND_US


@dataclass(frozen=True, slots=True)
class Ban:
    """`times`: how many there were in a row."""

    until_us: int
    times: int


@final
class Limits:
    __slots__ = ("allowance", "bans", "days", "key_minutes", "minutes", "ten_seconds")

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.minutes = Window(MINUTE_US)
        self.key_minutes = Window(MINUTE_US)
        self.ten_seconds = Window(TEN_SECONDS_US)
        self.days = Window(DAY_US)
        self.bans: dict[str, Ban] = {}  # the oldest first

    def use_weight(self, client: str, weight: int, now_us: int) -> int:
        """The weight that an address has used in this minute, with this."""
        return self.minutes.add(accountable(client), weight, now_us)

    def check_weight(self, client: str, used: int, now_us: int) -> None:
        """Raises ApiError where it was too much, or the address is banned."""
        if self.bans and (ban := self.bans.get(accountable(client))) is not None and now_us < ban.until_us:
            raise banned(ban, now_us)
        most = self.allowance.weight_per_minute
        if used > BAN_FACTOR * most:
            raise banned(self.ban(accountable(client), now_us), now_us)
        if used > most:
            raise refusal(errors.TOO_MUCH_WEIGHT.of(most), self.minutes, now_us)

    def use_key(self, api_key: str, weight: int, now_us: int) -> None:
        """What a signed request weighs. Raises ApiError past the key's limit."""
        most = self.allowance.key_weight_per_minute
        if self.key_minutes.add(api_key, weight, now_us) > most:
            raise refusal(errors.TOO_MUCH_KEY_WEIGHT.of(most), self.key_minutes, now_us)

    def use_order(self, account_id: int, now_us: int) -> tuple[int, int]:
        """Count one order: the account's orders in these ten seconds and on this day. Raises ApiError past a limit."""
        lately = self.ten_seconds.add(account_id, 1, now_us)
        today = self.days.add(account_id, 1, now_us)
        if lately > self.allowance.orders_per_10_seconds:
            raise refusal(errors.TOO_MANY_NEW_ORDERS.of(self.allowance.orders_per_10_seconds, "10 SECOND"), self.ten_seconds, now_us)
        if today > self.allowance.orders_per_day:
            raise refusal(errors.TOO_MANY_NEW_ORDERS.of(self.allowance.orders_per_day, "1 DAY"), self.days, now_us)
        return lately, today

    def ban(self, address: str, now_us: int) -> Ban:
        """From now on; twice as long as the last time, if that is not long ago."""
        before = self.bans.pop(address, None)
        times = before.times + 1 if before is not None and now_us < before.until_us + BAN_REMEMBERED_US else 1
        ban = Ban(now_us + min(BAN_S_MAX, BAN_S << min(times - 1, 20)) * SECOND_US, times)
        self.take_ban(address, ban)
        return ban

    def take_ban(self, address: str, ban: Ban) -> None:
        """One of this gateway or of another: the longer one counts."""
        before = self.bans.pop(address, None)
        self.bans[address] = ban if before is None or before.until_us < ban.until_us else before
        while len(self.bans) > BANS_MAX:
            del self.bans[next(iter(self.bans))]


def banned(ban: Ban, now_us: int) -> ApiError:
    error = errors.BANNED.of(ban.until_us // 1_000)
    seconds = (ban.until_us - now_us + SECOND_US - 1) // SECOND_US
    error.headers = ((b"retry-after", b"%d" % seconds),)
    error.data = {"serverTime": now_us // 1000, "retryAfter": ban.until_us // 1000}
    return error


def refusal(error: ApiError, window: Window, now_us: int) -> ApiError:
    """`error`, with when to try again: as a header, and as WebSocket clients look for it."""
    seconds = window.seconds_left(now_us)
    error.headers = ((b"retry-after", b"%d" % seconds),)
    error.data = {"serverTime": now_us // 1000, "retryAfter": now_us // 1000 + seconds * 1000}
    return error
