"""
What the operators' console knows of withdrawals by itself: who has approved what, and what was handed out to be sent.

    approval   an operator's, of a withdrawal as it was then: asset, amount, where it goes
    payout     handed out --> settled                    one of a withdrawal, ever
                   +--------> returned
    day        what an account was paid of an asset without anybody's approval

Orders (withdrawals.py) are written by gateways too, and say what users want. Whether one is sent is decided by what stands here, which the
database lets nobody but the console write: an order that was changed after it was approved is not the one that was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final, final

import msgspec

from zerosum.identity.day_totals import NO_DAY, DayRecord, DayTotals
from zerosum.identity.documents import Changed
from zerosum.identity.vault import Held, Kind, Vault
from zerosum.identity.withdrawals import RETURNED, SENDING, OrderRecord


class ApprovalRecord(msgspec.Struct, frozen=True):
    """`what`: see `what_of`."""

    what: str
    time_us: int


class PayoutRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: SENDING, SETTLED or RETURNED. `day`: in whose total it counts. `reference`: where to find it outside."""

    what: str
    state: str
    since_us: int
    day: int = NO_DAY
    reference: str = ""


APPROVALS: Final = Kind("console.approval", ApprovalRecord)
"""Owner: holder and number; name: of who approved."""
PAYOUTS: Final = Kind("console.payout", PayoutRecord)
"""Owner: holder and number."""
PAYOUT_DAYS: Final = Kind("console.payout-day", DayRecord)


@final
class Payouts:
    def __init__(self, vault: Vault, clock_s: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._clock_s = clock_s
        self.unapproved = DayTotals(vault, PAYOUT_DAYS, clock_s)

    # ------------------------------------------------------------------ approvals

    def approve(self, order: Held[OrderRecord], by: str) -> None:
        """As it is now. Again changes nothing."""
        record = ApprovalRecord(what_of(order), self._now_us())
        while not self.has_approved(order, by):
            held = self._vault.get(APPROVALS, owner_of(order), by)
            with suppress(Changed):
                self._vault.put(APPROVALS, owner_of(order), by, record, held.version if held is not None else 0)

    def has_approved(self, order: Held[OrderRecord], by: str) -> bool:
        held = self._vault.get(APPROVALS, owner_of(order), by)
        return held is not None and held.record.what == what_of(order)

    def approvals(self, order: Held[OrderRecord]) -> int:
        """How many operators have approved it as it is now."""
        what = what_of(order)
        return sum(held.record.what == what for held in self._vault.of_owner(APPROVALS, owner_of(order)))

    # ------------------------------------------------------------------ payouts

    def get(self, order: Held[OrderRecord]) -> Held[PayoutRecord] | None:
        return self._vault.get(PAYOUTS, owner_of(order))

    def of(self, holder: int, number: int) -> Held[PayoutRecord] | None:
        return self._vault.get(PAYOUTS, f"{holder}.{number}")

    def hand_out(self, order: Held[OrderRecord], day: int) -> Held[PayoutRecord]:
        """Changed: it was before."""
        return self._vault.put(
            PAYOUTS, owner_of(order), "", PayoutRecord(what=what_of(order), state=SENDING, since_us=self._now_us(), day=day)
        )

    def take_back(self, payout: Held[PayoutRecord]) -> None:
        """Nobody was told of it."""
        self._vault.remove(PAYOUTS, payout.owner, "")

    def end(self, payout: Held[PayoutRecord], state: str, reference: str = "") -> Held[PayoutRecord]:
        """Changed: it has ended meanwhile."""
        record = msgspec.structs.replace(payout.record, state=state, reference=reference)
        return self._vault.put(PAYOUTS, payout.owner, "", record, payout.version)

    def age_us(self, payout: Held[PayoutRecord]) -> int:
        return self._now_us() - payout.record.since_us

    def _now_us(self) -> int:
        return int(self._clock_s() * 1_000_000)


def is_out(payout: Held[PayoutRecord] | None) -> bool:
    """Whether it was handed out, and has not come back."""
    return payout is not None and payout.record.state != RETURNED


def owner_of(order: Held[OrderRecord]) -> str:
    return f"{order.owner}.{order.name}"


def what_of(order: Held[OrderRecord]) -> str:
    """By which one withdrawal is told from another: who pays, what, and where to."""
    record = order.record
    parts = [order.owner, order.name, record.asset, record.atoms, record.amount, record.network, record.address, record.memo]
    return sha256(msgspec.json.encode(parts)).hexdigest()
