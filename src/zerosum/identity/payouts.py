"""
What the operators' console knows of withdrawals by itself: who has approved what, and what was handed out to be sent.

    approval   an operator's, of a withdrawal as it was then: asset, amount, where it goes
    payout     handed out --> settled                   one of a withdrawal, ever; with all its terms
                   +--------> returned
               returned at once: it is never handed out, and its money is given back
    unfinished which payouts there is something to do about: written before the payout is, gone once the ledger has it, too
    day        what an account was paid of an asset without anybody's approval

Orders (withdrawals.py) are written by gateways too, and say what users want. Whether one is sent, or given back, is decided by what stands
here, which the database lets nobody but the console write: an order that was changed after it was approved is not the one that was, and one
that is rewritten or taken away after it was handed out changes nothing.

Always true: of those who hand it out and those who give it back, one is first, and the other is refused.
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
    """
    `state`: SENDING, SETTLED or RETURNED. `day`: in whose total it counts. `reference`: where to find it outside. The terms are the order's
    as it was handed out; empty, and 0, where it never was.
    """

    state: str
    since_us: int
    asset: str = ""
    atoms: int = 0
    amount: str = ""
    network: str = ""
    address: str = ""
    memo: str = ""
    day: int = NO_DAY
    reference: str = ""


class UnfinishedRecord(msgspec.Struct, frozen=True):
    holder: int
    number: int


APPROVALS: Final = Kind("console.approval", ApprovalRecord)
"""Owner: holder and number; name: of who approved."""
PAYOUTS: Final = Kind("console.payout", PayoutRecord)
"""Owner: holder and number."""
UNFINISHED: Final = Kind("console.payout-unfinished", UnfinishedRecord)
NOBODYS: Final = ""
"""One owner, so that they are listed without the others. Name: of holder and number."""
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

    def approvers(self, order: Held[OrderRecord]) -> list[str]:
        """Who has approved it as it is now."""
        what = what_of(order)
        return [held.name for held in self._vault.of_owner(APPROVALS, owner_of(order)) if held.record.what == what]

    # ------------------------------------------------------------------ payouts

    def of(self, holder: int, number: int) -> Held[PayoutRecord] | None:
        return self._vault.get(PAYOUTS, owner(holder, number))

    def hand_out(self, order: Held[OrderRecord], amount: str, day: int) -> Held[PayoutRecord]:
        """`amount`: as it is told to who sends it. Changed: it was before, or is given back."""
        terms = order.record
        return self._begin(
            int(order.owner), int(order.name),
            PayoutRecord(
                state=SENDING, since_us=self._now_us(), asset=terms.asset, atoms=terms.atoms, amount=amount, network=terms.network,
                address=terms.address, memo=terms.memo, day=day,
            ),
        )  # fmt: skip

    def give_back(self, holder: int, number: int) -> bool:
        """From here on it can't be handed out any more: its money is given back. False: it is out, or was sent."""
        with suppress(Changed):
            self._begin(holder, number, PayoutRecord(state=RETURNED, since_us=self._now_us()))
        held = self.of(holder, number)
        return held is not None and held.record.state == RETURNED

    def _begin(self, holder: int, number: int, record: PayoutRecord) -> Held[PayoutRecord]:
        with suppress(Changed):  # it is noted already
            self._vault.put(UNFINISHED, NOBODYS, owner(holder, number), UnfinishedRecord(holder, number))
        return self._vault.put(PAYOUTS, owner(holder, number), "", record)

    def end(self, payout: Held[PayoutRecord], state: str, reference: str = "") -> Held[PayoutRecord]:
        """Changed: it has ended meanwhile."""
        record = msgspec.structs.replace(payout.record, state=state, reference=reference)
        return self._vault.put(PAYOUTS, payout.owner, "", record, payout.version)

    def unfinished(self) -> list[tuple[int, int, Held[PayoutRecord]]]:
        """Holder, number and payout; the oldest first."""
        found = []
        for noted in self._vault.of_owner(UNFINISHED, NOBODYS):
            held = self.of(noted.record.holder, noted.record.number)
            if held is not None:  # else it is about to be written, or who was to has died: then nothing came of it
                found.append((noted.record.holder, noted.record.number, held))
        return sorted(found, key=lambda each: each[2].record.since_us)

    def finished(self, holder: int, number: int) -> None:
        """The ledger has it, too."""
        self._vault.remove(UNFINISHED, NOBODYS, owner(holder, number))

    def _now_us(self) -> int:
        return int(self._clock_s() * 1_000_000)


def owner(holder: int, number: int) -> str:
    return f"{holder}.{number}"


def owner_of(order: Held[OrderRecord]) -> str:
    return owner(int(order.owner), int(order.name))


def what_of(order: Held[OrderRecord]) -> str:
    """By which one withdrawal is told from another: who pays, what, and where to."""
    record = order.record
    parts = [order.owner, order.name, record.asset, record.atoms, record.amount, record.network, record.address, record.memo]
    return sha256(msgspec.json.encode(parts)).hexdigest()
