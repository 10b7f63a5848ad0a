"""
What gateways tell each other of how much clients ask, so that limits hold for all of them together.

    said(now) --> a message: this gateway's large counts in the current windows, and whom it has banned
    take(a message of another) --> `others` of the windows, bans

Only counts of a SHARE_FROM'th of a limit and more are told: those of a few clients. So past its limit a client may go by that much for each
other gateway, and by what it asks in the time between two messages.

Always true: a message says how much there is, not how much more, so that one which is lost or comes twice does no harm; what a message can
make this one keep is bounded.
"""

from __future__ import annotations

from typing import Annotated, Final, final

import msgspec

from zerosum.gateway.limits import Ban, Key, Limits, Window

SHARE_FROM: Final = 16
KEYS_MAX: Final = 2_000  # of one window in a message: the largest
GATEWAYS_MAX: Final = 1_000

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """`windows`: in the order of Sharing's, each by number and counts. `bans`: until when, and how many in a row."""

    by: str
    windows: list[tuple[int, dict[str, Count]]]
    bans: dict[str, tuple[int, Count]]


_decode: Final = msgspec.json.Decoder(Said).decode


@final
class Sharing:
    """`name`: of this gateway, which no other has."""

    def __init__(self, limits: Limits, name: str) -> None:
        self._limits = limits
        self._name = name
        allowance = limits.allowance
        self._windows: list[tuple[Window, int, type[Key]]] = [
            (limits.minutes, allowance.weight_per_minute, str),
            (limits.key_minutes, allowance.key_weight_per_minute, str),
            (limits.ten_seconds, allowance.orders_per_10_seconds, int),
            (limits.days, allowance.orders_per_day, int),
        ]
        self._heard: list[dict[str, tuple[int, dict[Key, int]]]] = [{} for _ in self._windows]
        self._last = b""

    def said(self, now_us: int) -> bytes | None:
        """None where there is nothing new."""
        windows = []
        for window, limit, _ in self._windows:
            least = max(1, limit // SHARE_FROM)
            is_current = window.number == now_us // window.length_us
            large = [(count, key) for key, count in window.counts.items() if count >= least] if is_current else []
            windows.append((window.number, {str(key): count for count, key in sorted(large, key=lambda each: each[0])[-KEYS_MAX:]}))
        bans = {address: (ban.until_us, ban.times) for address, ban in self._limits.bans.items() if ban.until_us > now_us}
        if not bans and not any(counts for _, counts in windows):
            return None
        text = msgspec.json.encode(Said(self._name, windows, dict(list(bans.items())[-KEYS_MAX:])))
        if text == self._last:
            return None
        self._last = text
        return text

    def take(self, text: bytes, now_us: int) -> None:
        """ValueError for what no gateway says."""
        try:
            said = _decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        if said.by == self._name or len(said.windows) != len(self._windows):
            return
        for (window, _, kind), heard, (number, counts) in zip(self._windows, self._heard, said.windows, strict=True):
            if number == now_us // window.length_us and (said.by in heard or len(heard) < GATEWAYS_MAX):
                heard[said.by] = number, {kind(key): count for key, count in counts.items()}
                self._add_up(window, heard, number)
        for address, (until_us, times) in said.bans.items():
            if until_us > now_us:
                self._limits.take_ban(address, Ban(until_us, times))

    def _add_up(self, window: Window, heard: dict[str, tuple[int, dict[Key, int]]], number: int) -> None:
        for name in [name for name, (of, _) in heard.items() if of != number]:
            del heard[name]
        if window.number != number:
            window.number = number
            window.counts.clear()
        others: dict[Key, int] = {}
        for _, counts in heard.values():
            for key, count in counts.items():
                others[key] = others.get(key, 0) + count
        window.others = others
