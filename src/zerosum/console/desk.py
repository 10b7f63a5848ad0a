"""
Money in and out, as operators decide it and the venue's own programs do it; and what was left half done, finished.

    set aside --approvals, as many as its rule asks for--> handed out to a program, which sends it --> settled
       +--> refused, or canceled by its owner               +--> it could not be sent
                    +-----------> given back <--------------+

    deposits come from a program with a key of its own, each with a reference, and are credited once

Gateways write orders, and one that was stolen writes what it likes. So what counts here is what stands in the ledger, in the rules, and in
what the console alone can write (identity/payouts.py): how much it is, how many have approved it as it is, whether it was handed out.

Always true: nothing is handed out twice, nor given back while it is out; nobody approves twice; what an account is paid in a day without
anybody's approval is within its limit; what is to be done to the money is done until the ledger says that it was.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final, final

import msgspec
import structlog

from zerosum.console.machines import Declined
from zerosum.console.treasury import Treasury
from zerosum.core import codes, records
from zerosum.core.records import text_words
from zerosum.errors import ZerosumError
from zerosum.gateway.entry import Busy
from zerosum.identity.day_totals import NO_DAY
from zerosum.identity.documents import Changed
from zerosum.identity.payouts import PayoutRecord, Payouts, is_out, what_of
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import (
    APPROVED,
    FAILED,
    OPEN,
    PENDING,
    REFERENCE_CHARS_MAX,
    REFUSED,
    REQUESTED,
    RETURNED,
    SENDING,
    SETTLED,
    OrderRecord,
    WithdrawalRefused,
    id_of,
    is_reference,
)
from zerosum.views.accounts import Withdrawal
from zerosum.views.views import Views

APPROVALS_MOST: Final = 2
LEFT_US: Final = 60_000_000
FINISH_EVERY_S: Final = 2.0

_log: Final = structlog.get_logger("desk")

Json = dict[str, Any]
Order = Held[OrderRecord]


@final
class Desk:
    def __init__(self, treasury: Treasury, payouts: Payouts) -> None:
        self.treasury = treasury
        self._machines = treasury.machines
        self._book = treasury.book
        self._payouts = payouts

    # ------------------------------------------------------------------ what operators decide

    def orders(self, *, are_open: bool) -> list[Order]:
        """Those that are, or all that there have been; the oldest first."""
        return [order for order in self._book.undone() if order.record.state in OPEN] if are_open else self._book.every()

    def approve(self, holder: int, number: int, what: str, by: str) -> Order:
        """`what`: of the order that was looked at. WithdrawalRefused."""
        order = self.treasury.open_in(holder, number, (PENDING, APPROVED))
        if what != what_of(order):
            raise WithdrawalRefused("what: it is not as it was shown to you: look again.")
        if by in order.record.approved_by and self._payouts.has_approved(order, by):
            raise WithdrawalRefused("you have approved it already: somebody else is to, as well.")
        if order.record.state == APPROVED and self._payouts.approvals(order) >= max(1, self._needs(order)):
            raise WithdrawalRefused("it is approved, and would have to be pending.")
        self._payouts.approve(order, by)
        enough = self._payouts.approvals(order) >= self._needs(order)
        return self._book.move(order, APPROVED if enough else PENDING, by=by)

    def refuse(self, holder: int, number: int, reason: str) -> Order:
        """Also one that was approved and has not been handed out. WithdrawalRefused."""
        order = self.treasury.open_in(holder, number, (PENDING, APPROVED))
        self._check_not_out(holder, number)
        return self._give_back(order, REFUSED, reason)

    def return_unrecorded(self, holder: int, number: int) -> Json:
        """Of money that is set aside, and of which the book knows no order that is open. WithdrawalRefused."""
        order = self._book.get(holder, number)
        if order is not None and order.record.state in OPEN:
            raise WithdrawalRefused("there is an order for it in the book: refuse that.")
        self._check_not_out(holder, number)
        self._machines.do(records.command(records.RETURN_WITHDRAWAL, 0, holder, number))
        return {"holder": holder, "id": number, "returned": True}

    def unrecorded(self) -> list[tuple[int, int, Withdrawal]]:
        """Holder and id of what is set aside, and of which the book knows no order, or one that has ended long since."""
        return [each for each in self._machines.see(pending_in) if self._is_unrecorded(each[0], each[1])]

    def reverse_deposit(self, account: int, number: int) -> Json:
        """WithdrawalRefused where it was reversed before."""
        self.treasury.once(records.command(records.REVERSE_DEPOSIT, 0, account, number), "id: that deposit was reversed before.")
        return {"account": account, "id": number, "reversed": True}

    def adjust(self, source: int, target: int, asset_name: str, amount: str, number: int, ticket: str) -> Json:
        """WithdrawalRefused where an adjustment of that id was made before."""
        asset = self.treasury.asset(asset_name)
        atoms = self.treasury.atoms(asset, amount)
        try:
            words = text_words(ticket, 2)
        except (ValueError, UnicodeEncodeError) as error:
            raise WithdrawalRefused("ticket: 1 to 16 characters of ASCII.") from error
        command = records.command(records.ADJUST, 0, source, number, asset.asset, atoms, target, *words)
        self.treasury.once(command, "id: this adjustment was made before, and moved nothing now.")
        return {"id": number, "from": source, "to": target, "asset": asset.name, "atoms": atoms}

    # ------------------------------------------------------------------ what programs do

    def deposit(self, account: int, asset_name: str, amount: str, reference: str, *, wallet: bool = False) -> Json:
        """Credited once, however often it is reported. WithdrawalRefused, Declined, Busy, OutcomeUnknown."""
        asset = self.treasury.asset(asset_name)
        atoms = self.treasury.atoms(asset, amount)
        check_reference(reference)
        if not codes.FIRST_USER <= account <= codes.ACCOUNT_MAX:
            raise WithdrawalRefused(f"account: a user's, {codes.FIRST_USER} or more; the wallet of one is asked for by `wallet`.")
        holder = account | codes.WALLET_BIT if wallet else account
        number = id_of("deposit", holder, reference)
        self._book.report(reference, holder, asset.name, atoms)
        try:
            self._machines.do(records.command(records.DEPOSIT, 0, holder, number, asset.asset, atoms))
        except Declined as declined:
            if declined.reason != codes.TRANSFER_REPEATED:
                self._book.forget_report(reference)
                raise
            return {"account": account, "id": number, "asset": asset.name, "atoms": atoms, "new": False}
        return {"account": account, "id": number, "asset": asset.name, "atoms": atoms, "new": True}

    def payouts(self) -> list[Order]:
        """What can be handed out, and what is out."""
        return [shown for order in self._book.undone() if (shown := self._as_payout(order)) is not None]

    def _as_payout(self, order: Order) -> Order | None:
        payout = self._payouts.get(order)
        if payout is None:
            return order if order.record.state == APPROVED and self.lacks(order) is None else None
        is_sent = payout.record.state == SENDING and payout.record.what == what_of(order)
        return in_state(order, SENDING) if is_sent else None

    def send(self, holder: int, number: int) -> Order:
        """It is about to be sent, by who was told so and nobody else: it can't be canceled or refused any more. WithdrawalRefused."""
        order = self.treasury.open_in(holder, number, (APPROVED,))
        self._check_not_out(holder, number)
        lacks = self.lacks(order)
        if lacks is not None:
            raise WithdrawalRefused(lacks)
        day = NO_DAY if self._payouts.approvals(order) else self._count(order)
        try:
            payout = self._payouts.hand_out(order, day)
        except Changed as error:
            self._uncount(order, day)
            raise WithdrawalRefused("it is being sent already.") from error
        try:
            return self._book.move(order, SENDING)
        except Changed:  # its owner has canceled it meanwhile
            self._payouts.take_back(payout)
            self._uncount(order, day)
            raise

    def settle(self, holder: int, number: int, reference: str) -> Order:
        """It has been sent. WithdrawalRefused."""
        check_reference(reference)
        order, payout = self._out(holder, number)
        if payout.record.state == SETTLED and payout.record.reference != reference:
            raise WithdrawalRefused("it was settled with another reference.")
        if payout.record.state != SETTLED:
            payout = self._payouts.end(payout, SETTLED, reference)
        return self._settle(order, payout)

    def give_back(self, holder: int, number: int, reason: str) -> Order:
        """It could not be sent, and will not be. WithdrawalRefused."""
        order, payout = self._out(holder, number)
        if payout.record.state != SENDING:
            raise WithdrawalRefused(f"it is {payout.record.state}, and would have to be {SENDING}.")
        self._payouts.end(payout, RETURNED)
        self._uncount(order, payout.record.day)
        return self._give_back(order, RETURNED, reason)

    # ------------------------------------------------------------------ what is left half done

    def finish(self) -> None:
        """Of each that is undone: what a process that died has left half done, and what is to be given back."""
        for order in self._book.undone():
            try:
                self._finish(order, self._payouts.get(order))
            except (ZerosumError, Changed, Busy) as error:  # the others are finished all the same
                _log.warning("withdrawal.unfinished", holder=order.owner, id=order.name, state=order.record.state, error=str(error))

    def _finish(self, order: Order, payout: Held[PayoutRecord] | None) -> None:
        """What the order says counts only where the console knows nothing else."""
        state = order.record.state
        if payout is not None and payout.record.state == SETTLED:
            self._book.done(self._settle(order, payout))
        elif payout is not None and payout.record.state == SENDING:
            if state != SENDING and self._payouts.age_us(payout) > LEFT_US:  # else whoever handed it out is about to say so
                self._put_right(order, SENDING)
        elif state in (SENDING, SETTLED):
            self._put_right(order, RETURNED if payout is not None else PENDING)
        elif state == REQUESTED and self._book.now_us() >= order.record.requested_us + LEFT_US:
            self.treasury.set_aside(order, self.treasury.asset(order.record.asset).asset)
        elif state not in OPEN:
            self._return(order)
            self._book.done(order)

    def _put_right(self, order: Order, state: str) -> None:
        """Of an order that says something else than the console did."""
        _log.warning("withdrawal.put_right", holder=order.owner, id=order.name, state=order.record.state, to=state)
        self._book.move(order, state)

    # ------------------------------------------------------------------ how it is done

    def _needs(self, order: Order) -> int:
        """How many must approve it, by what is set aside and the rules as they are. WithdrawalRefused where the book says another sum."""
        asset = self.treasury.asset(order.record.asset)
        aside = self._machines.see(lambda views: pending_of(views, int(order.owner), int(order.name)))
        if aside is None or (aside.asset, aside.atoms) != (asset.asset, order.record.atoms):
            raise WithdrawalRefused("the ledger has not set aside what the order says: find out who has changed the order.")
        try:
            return self.treasury.rule(asset).approvals(order.record.atoms)
        except WithdrawalRefused:  # there was a rule when it was asked for
            return APPROVALS_MOST

    def lacks(self, order: Order) -> str | None:
        """Why one that is open can't be handed out, if it can't."""
        try:
            needs = self._needs(order)
        except WithdrawalRefused as refused:
            return str(refused)
        found = self._payouts.approvals(order)
        return None if found >= needs else f"it needs {needs} to approve it as it is, and has {found}."

    def _count(self, order: Order) -> int:
        """WithdrawalRefused."""
        asset = self.treasury.asset(order.record.asset)
        limit = self.treasury.rule(asset).per_day
        day = self._payouts.unapproved.count(account_of(order), asset.name, order.record.atoms, limit)
        if day == NO_DAY:
            raise WithdrawalRefused("its account was paid as much today as goes out unseen: an operator is to approve this one.")
        return day

    def _uncount(self, order: Order, day: int) -> None:
        if day != NO_DAY:
            self._payouts.unapproved.uncount(account_of(order), order.record.asset, order.record.atoms, day)

    def _check_not_out(self, holder: int, number: int) -> None:
        """WithdrawalRefused."""
        if is_out(self._payouts.of(holder, number)):
            raise WithdrawalRefused("it was handed out to be sent: whoever sends it says how that ended.")

    def _out(self, holder: int, number: int) -> tuple[Order, Held[PayoutRecord]]:
        """WithdrawalRefused."""
        order, payout = self._book.get(holder, number), self._payouts.of(holder, number)
        if order is None or payout is None:
            raise WithdrawalRefused("there is no such withdrawal that was handed out to be sent.")
        if payout.record.state == RETURNED:
            raise WithdrawalRefused(f"it is {RETURNED}, and would have to be {SENDING}.")
        return order, payout

    def _settle(self, order: Order, payout: Held[PayoutRecord]) -> Order:
        with suppress(WithdrawalRefused):  # it was, and perhaps the book has not been told
            self.treasury.once(records.command(records.SETTLE_WITHDRAWAL, 0, int(order.owner), int(order.name)), "it was settled before.")
        return order if order.record.state == SETTLED else self._book.move(order, SETTLED, reference=payout.record.reference)

    def _give_back(self, order: Order, state: str, reason: str) -> Order:
        moved = self._book.move(order, state, reason=reason)  # first: nobody sends it any more
        self._return(order)
        return moved

    def _return(self, order: Order) -> None:
        """What is set aside, if it is still: the core says whether. What has failed was not, mostly, and counts no more."""
        record = order.record
        try:
            self.treasury.once(records.command(records.RETURN_WITHDRAWAL, 0, int(order.owner), int(order.name)), "it was returned before.")
        except WithdrawalRefused:
            return
        except Declined as declined:
            if declined.reason != codes.UNKNOWN_MOVEMENT or record.state != FAILED:
                raise
            return
        if record.state != FAILED:
            self._book.uncount(account_of(order), record.asset, record.atoms, record.day)

    def _is_unrecorded(self, holder: int, number: int) -> bool:
        order = self._book.get(holder, number)
        if order is None:
            return True
        has_ended = order.record.state not in OPEN and self._book.now_us() > order.record.changed_us + LEFT_US
        return has_ended and not is_out(self._payouts.get(order))


async def keep_finishing(desk: Desk) -> None:
    """What was left half done, and what is to be given back, without end."""
    while True:
        await asyncio.sleep(FINISH_EVERY_S)
        try:
            await asyncio.to_thread(desk.finish)
        except Exception as error:  # noqa: BLE001  whatever it is, the next time may do
            _log.error("withdrawals.unfinished", error=str(error), exc_info=not isinstance(error, ZerosumError))


def pending_in(views: Views) -> list[tuple[int, int, Withdrawal]]:
    return [
        (account.account_id, number, withdrawal)
        for shard in views.shards
        for account in shard.accounts.by_id.values()
        for number, withdrawal in account.pending.items()
    ]


def pending_of(views: Views, holder: int, number: int) -> Withdrawal | None:
    account = views.account(holder)
    return account.pending.get(number) if account is not None else None


def check_reference(reference: str) -> None:
    """WithdrawalRefused."""
    if not is_reference(reference):
        raise WithdrawalRefused(f"reference: 1 to {REFERENCE_CHARS_MAX} characters that can be printed.")


def account_of(order: Order) -> int:
    return int(order.owner) & codes.ACCOUNT_MAX


def in_state(order: Order, state: str) -> Order:
    """As it is shown to programs."""
    return order._replace(record=msgspec.structs.replace(order.record, state=state))
