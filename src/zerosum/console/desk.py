"""
Money in and out, as operators decide it and the venue's own programs do it; and what was left half done, finished.

    set aside --approvals, as many as its rule asks for--> handed out to a program, which sends it --> settled
       +--> refused, or canceled by its owner               +--> it could not be sent
                    +-----------> given back <--------------+

    deposits come from a program with a key of its own, each with a reference, and are credited once

Gateways write orders, and one that was stolen writes what it likes. So what counts here is what stands in the ledger, in the rules, and in
what the console alone can write (identity/payouts.py): how much it is, who has approved it as it is, whether it was handed out. What
programs are told is from there.

Always true: nothing is handed out twice, nor given back once it was; nobody approves twice, and nobody counts who may not approve any more;
what an account is paid in a day without anybody's approval is within its limit; what is to be done to the money is done until the
ledger says that it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, final

import structlog

from zerosum.console.machines import Declined
from zerosum.console.treasury import Treasury
from zerosum.core import codes, records
from zerosum.core.listings import Asset
from zerosum.core.records import text_words
from zerosum.errors import ZerosumError
from zerosum.gateway.entry import Busy
from zerosum.gateway.errors import ApiError
from zerosum.identity.day_totals import NO_DAY
from zerosum.identity.documents import Changed
from zerosum.identity.payouts import PayoutRecord, Payouts, what_of
from zerosum.identity.people import TREASURY, People
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
UNSEEN: Final = "its account was paid as much today as goes out unseen: an operator is to approve this one."

_log: Final = structlog.get_logger("desk")

Json = dict[str, Any]
Order = Held[OrderRecord]


class Payout(NamedTuple):
    """As it is told to who sends it."""

    holder: int
    number: int
    record: PayoutRecord


@final
class Desk:
    """`operators`: who may approve."""

    def __init__(self, treasury: Treasury, payouts: Payouts, operators: People) -> None:
        self.treasury = treasury
        self._machines = treasury.machines
        self._book = treasury.book
        self._payouts = payouts
        self._operators = operators

    # ------------------------------------------------------------------ what operators decide

    def orders(self, *, are_open: bool) -> list[Order]:
        """Those that are, or all that there have been; the oldest first."""
        return [order for order in self._book.undone() if order.record.state in OPEN] if are_open else self._book.every()

    def approve(self, holder: int, number: int, what: str, by: str) -> Order:
        """`what`: of the order that was looked at. WithdrawalRefused."""
        order = self.treasury.open_in(holder, number, (PENDING, APPROVED))
        if what != what_of(order):
            raise WithdrawalRefused("what: it is not as it was shown to you: look again.")
        needs = self._needs(order)
        if by in order.record.approved_by and self._payouts.has_approved(order, by):
            raise WithdrawalRefused("you have approved it already: somebody else is to, as well.")
        if order.record.state == APPROVED and self._approvals(order) >= max(1, needs):
            raise WithdrawalRefused("it is approved, and would have to be pending.")
        self._payouts.approve(order, by)
        return self._book.move(order, APPROVED if self._approvals(order) >= needs else PENDING, by=by)

    def refuse(self, holder: int, number: int, reason: str) -> Order:
        """Also one that was approved and has not been handed out. WithdrawalRefused."""
        order = self.treasury.open_in(holder, number, (REQUESTED, PENDING, APPROVED))
        self._keep_in(holder, number)
        moved = self._book.move(order, REFUSED, reason=reason)
        self._return(holder, number, moved)
        return moved

    def return_unrecorded(self, holder: int, number: int) -> Json:
        """Of money that is set aside, and of which the book knows no order that is open. WithdrawalRefused."""
        order = self._book.get(holder, number)
        if order is not None and order.record.state in OPEN:
            raise WithdrawalRefused("there is an order for it in the book: refuse that.")
        self._keep_in(holder, number)
        self._return(holder, number, order)
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

    def payouts(self) -> list[Payout]:
        """What is out, and what can be handed out."""
        unfinished = self._payouts.unfinished()
        out = [Payout(holder, number, held.record) for holder, number, held in unfinished if held.record.state == SENDING]
        ready = [order for order in self._book.undone() if order.record.state == APPROVED and self.lacks(order) is None]
        return [*out, *(self._as_payout(order) for order in ready)]

    def _as_payout(self, order: Order) -> Payout:
        terms = order.record
        record = PayoutRecord(
            state=APPROVED, since_us=0, asset=terms.asset, atoms=terms.atoms, amount=self._amount(order), network=terms.network,
            address=terms.address, memo=terms.memo,
        )  # fmt: skip
        return Payout(int(order.owner), int(order.name), record)

    def send(self, holder: int, number: int) -> Payout:
        """It is about to be sent, by who was told so and nobody else: it can't be canceled or refused any more. WithdrawalRefused."""
        order = self.treasury.open_in(holder, number, (APPROVED,))
        lacks = self.lacks(order)
        if lacks is not None:
            raise WithdrawalRefused(lacks)
        day = NO_DAY if self._approvals(order) else self._count(order)
        try:
            payout = self._payouts.hand_out(order, self._amount(order), day)
        except Changed as error:
            self._uncount(holder, order.record.asset, order.record.atoms, day)
            raise WithdrawalRefused("it was handed out already, or is given back.") from error
        try:
            self._book.move(order, SENDING)
        except Changed:  # its owner has canceled it meanwhile, and nobody is told to send it
            self._payouts.end(payout, RETURNED)
            raise
        return Payout(holder, number, payout.record)

    def settle(self, holder: int, number: int, reference: str) -> Payout:
        """It has been sent. WithdrawalRefused."""
        check_reference(reference)
        payout = self._out(holder, number)
        if payout.record.state == SETTLED and payout.record.reference != reference:
            raise WithdrawalRefused("it was settled with another reference.")
        if payout.record.state != SETTLED:
            payout = self._payouts.end(payout, SETTLED, reference)
        self._settle(holder, number, payout)
        return Payout(holder, number, payout.record)

    def give_back(self, holder: int, number: int, reason: str) -> Payout:
        """It could not be sent, and will not be. WithdrawalRefused."""
        payout = self._out(holder, number)
        if payout.record.state != SENDING:
            raise WithdrawalRefused(f"it is {payout.record.state}, and would have to be {SENDING}.")
        ended = self._payouts.end(payout, RETURNED)
        order = self._book.get(holder, number)
        if order is not None:
            with suppress(Changed):  # `finish` puts it right
                order = self._book.move(order, RETURNED, reason=reason)
        self._return(holder, number, order)
        return Payout(holder, number, ended.record)

    # ------------------------------------------------------------------ what is left half done

    def finish(self) -> None:
        """What a process that died has left half done, what is to be given back, and orders that say something else than happened."""
        for holder, number, payout in self._payouts.unfinished():
            self._try(holder, number, partial(self._finish_payout, holder, number, payout))
        for order in self._book.undone():
            self._try(order.owner, order.name, partial(self._finish_order, order))

    def _try(self, holder: int | str, number: int | str, finish: Callable[[], None]) -> None:
        """One that can't be finished, whatever it is, does not hold up the others."""
        try:
            finish()
        except (ZerosumError, Changed, Busy) as error:
            _log.warning("withdrawal.unfinished", holder=holder, id=number, error=str(error))
        except Exception as error:  # noqa: BLE001  somebody has written there what makes no sense
            _log.error("withdrawal.unfinished", holder=holder, id=number, error=repr(error))

    def _finish_payout(self, holder: int, number: int, payout: Held[PayoutRecord]) -> None:
        if payout.record.state == SENDING:
            return
        if payout.record.state == SETTLED:
            self._settle(holder, number, payout)
        else:
            order = self._book.get(holder, number)
            if order is not None and order.record.state in (*OPEN, SETTLED):
                if not self._is_left(payout.record.since_us):
                    return  # whoever gives it back is about to say so
                order = self._put_right(order, RETURNED)
            self._return(holder, number, order)

    def _finish_order(self, order: Order) -> None:
        """What the order says counts only where the console knows nothing else."""
        holder, number, state = int(order.owner), int(order.name), order.record.state
        payout = self._payouts.of(holder, number)
        if payout is not None and payout.record.state == RETURNED:
            # Asked of the ledger again: what was set aside late is given back, too.
            self._return(holder, number, order if state not in OPEN else self._put_right(order, RETURNED))
        elif payout is not None:
            if state != payout.record.state and self._is_left(payout.record.since_us):  # else whoever did it is about to say so
                self._put_right(order, payout.record.state)
            elif state == SETTLED:
                self._book.done(order)
        elif state in (SENDING, SETTLED):
            self._put_right(order, PENDING)
        elif state == REQUESTED and not is_users(holder):
            self._put_right(order, FAILED)
        elif state == REQUESTED and self._is_left(order.record.requested_us):
            self.treasury.set_aside(order, self.treasury.asset(order.record.asset).asset)
        elif state not in OPEN:
            self._keep_in(holder, number)
            self._return(holder, number, order)

    def _is_left(self, since_us: int) -> bool:
        """Whether whoever was about to go on with it has not."""
        return not 0 <= self._book.now_us() - since_us < LEFT_US

    def _put_right(self, order: Order, state: str) -> Order:
        """Of an order that says something else than the console did."""
        _log.warning("withdrawal.put_right", holder=order.owner, id=order.name, state=order.record.state, to=state)
        return self._book.move(order, state)

    # ------------------------------------------------------------------ how it is done

    def _needs(self, order: Order) -> int:
        """How many must approve it, by what is set aside and the rules as they are. WithdrawalRefused where the book says another sum."""
        holder, record = int(order.owner), order.record
        if not is_users(holder):
            raise WithdrawalRefused("it is no user's.")
        asset = self.treasury.asset(record.asset)
        aside = self._machines.see(lambda views: pending_of(views, holder, int(order.name)))
        if aside is None or (aside.asset, aside.atoms) != (asset.asset, record.atoms) or not self._is_so_much(asset, record):
            raise WithdrawalRefused("the ledger has not set aside what the order says: find out who has changed the order.")
        try:
            return self.treasury.rule(asset).approvals(record.atoms)
        except WithdrawalRefused:  # there was a rule when it was asked for
            return APPROVALS_MOST

    def _is_so_much(self, asset: Asset, record: OrderRecord) -> bool:
        """Whether what people read is what the ledger has."""
        try:
            return self.treasury.atoms(asset, record.amount) == record.atoms
        except (ApiError, WithdrawalRefused):
            return False

    def _amount(self, order: Order) -> str:
        return self.treasury.amount(self.treasury.asset(order.record.asset), order.record.atoms)

    def _approvals(self, order: Order) -> int:
        """Of those who may approve now."""
        people = [self._operators.get(name) for name in self._payouts.approvers(order)]
        return sum(person is not None and person.active and TREASURY in person.roles for person in people)

    def lacks(self, order: Order) -> str | None:
        """Why one that is open can't be handed out, if it can't."""
        try:
            needs = self._needs(order)
        except WithdrawalRefused as refused:
            return str(refused)
        if not self._machines.see(lambda views: is_active(views, account_of(int(order.owner)))):
            return "its account is blocked or closed."
        found = self._approvals(order)
        if found < needs:
            return f"it needs {needs} to approve it as it is, and has {found}."
        if not found and not self._payouts.unapproved.has_room(*self._unseen(order)):
            return UNSEEN
        return None

    def _unseen(self, order: Order) -> tuple[int, str, int, int]:
        """Account, asset, atoms, and what goes out of that in a day without anybody's approval."""
        asset = self.treasury.asset(order.record.asset)
        return account_of(int(order.owner)), asset.name, order.record.atoms, self.treasury.rule(asset).per_day

    def _count(self, order: Order) -> int:
        """WithdrawalRefused."""
        day = self._payouts.unapproved.count(*self._unseen(order))
        if day == NO_DAY:
            raise WithdrawalRefused(UNSEEN)
        return day

    def _uncount(self, holder: int, asset: str, atoms: int, day: int) -> None:
        if day != NO_DAY:
            self._payouts.unapproved.uncount(account_of(holder), asset, atoms, day)

    def _keep_in(self, holder: int, number: int) -> None:
        """From here on nobody hands it out, whatever its order says. WithdrawalRefused where it is out, or was sent."""
        if not self._payouts.give_back(holder, number):
            raise WithdrawalRefused("it was handed out to be sent: whoever sends it says how that ended.")

    def _out(self, holder: int, number: int) -> Held[PayoutRecord]:
        """WithdrawalRefused."""
        payout = self._payouts.of(holder, number)
        if payout is None:
            raise WithdrawalRefused("there is no such withdrawal that was handed out to be sent.")
        if payout.record.state == RETURNED:
            raise WithdrawalRefused(f"it is {RETURNED}, and would have to be {SENDING}.")
        return payout

    def _settle(self, holder: int, number: int, payout: Held[PayoutRecord]) -> None:
        with suppress(WithdrawalRefused):  # it was, and perhaps the book has not been told
            self.treasury.once(records.command(records.SETTLE_WITHDRAWAL, 0, holder, number), "it was settled before.")
        order = self._book.get(holder, number)
        if order is not None and order.record.state != SETTLED:
            with suppress(Changed):  # `finish` puts it right
                self._book.move(order, SETTLED, reference=payout.record.reference)
        self._payouts.finished(holder, number)

    def _return(self, holder: int, number: int, order: Order | None) -> None:
        """What is set aside, if it is still: the core says whether. Nobody hands it out any more."""
        payout = self._payouts.of(holder, number)
        assert payout is not None and payout.record.state == RETURNED, "it is kept in before it is given back"
        try:
            self.treasury.once(records.command(records.RETURN_WITHDRAWAL, 0, holder, number), "it was returned before.")
        except WithdrawalRefused:
            pass
        except Declined as declined:
            if declined.reason != codes.UNKNOWN_MOVEMENT:
                raise
        else:
            terms = payout.record
            self._uncount(holder, terms.asset, terms.atoms, terms.day)
            if order is not None and order.record.state != FAILED:
                self._book.uncount(account_of(holder), order.record.asset, order.record.atoms, order.record.day)
        self._payouts.finished(holder, number)
        if order is not None and order.record.state not in OPEN:
            self._book.done(order)

    def _is_unrecorded(self, holder: int, number: int) -> bool:
        order = self._book.get(holder, number)
        if order is None:
            payout = self._payouts.of(holder, number)
            return payout is None or payout.record.state == RETURNED
        return order.record.state not in OPEN and self._is_left(order.record.changed_us)


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


def is_active(views: Views, account: int) -> bool:
    found = views.account(account)
    return found is not None and found.status == codes.ACTIVE


def account_of(holder: int) -> int:
    return holder & codes.ACCOUNT_MAX


def is_users(holder: int) -> bool:
    """An account of a user, or its wallet; none of the house's."""
    return account_of(holder) >= codes.FIRST_USER and holder <= codes.ACCOUNT_MAX | codes.WALLET_BIT
