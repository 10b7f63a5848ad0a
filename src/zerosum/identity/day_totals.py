"""
How much there was in a day, by account and asset: counted before it is done, so that two at a time, on whatever machines, count together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

import msgspec

from zerosum.identity.documents import Changed
from zerosum.identity.vault import Kind, Vault

DAY_S: Final = 86_400
NO_DAY: Final = 0


class DayRecord(msgspec.Struct, frozen=True):
    """Owner: the account; name: the asset."""

    day: int
    atoms: int


@final
class DayTotals:
    def __init__(self, vault: Vault, kind: Kind[DayRecord], clock_s: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._kind = kind
        self._clock_s = clock_s

    def count(self, account: int, asset: str, atoms: int, limit: int) -> int:
        """The day, whose total has this from here on. NO_DAY: it would have passed the limit, and was not counted."""
        day = int(self._clock_s()) // DAY_S
        while True:
            held = self._vault.get(self._kind, str(account), asset)
            before = held.record.atoms if held is not None and held.record.day == day else 0
            if before + atoms > limit:
                return NO_DAY
            with suppress(Changed):
                self._vault.put(self._kind, str(account), asset, DayRecord(day, before + atoms), held.version if held is not None else 0)
                return day

    def has_room(self, account: int, asset: str, atoms: int, limit: int) -> bool:
        """Whether it would be counted now."""
        held = self._vault.get(self._kind, str(account), asset)
        before = held.record.atoms if held is not None and held.record.day == int(self._clock_s()) // DAY_S else 0
        return before + atoms <= limit

    def uncount(self, account: int, asset: str, atoms: int, day: int) -> None:
        """What was counted on that day, and is not done after all. Of another day nothing is known any more."""

        def less(record: DayRecord) -> DayRecord:
            return DayRecord(day, max(0, record.atoms - atoms)) if record.day == day else record

        self._vault.change(self._kind, str(account), asset, less)
