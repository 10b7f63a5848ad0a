"""
Money in and out: what users ask for, what operators decide, and what the venue's own programs report.

    request --checks--> counted --> set aside in the core --> approvals, as many as its rule asks for --> a program sends it --> settled
                                        +--> canceled or refused before that, or it could not be sent --> given back

    deposits come from a program with a key of its own, each with a reference, and are credited once

Always true: an order stands in the book before money is set aside for it, and what is to be done to the money is done until the core
says that it was, so that a process that dies in between leaves nothing that can't be finished; nobody approves twice; what is settled or
returned is so once; what the limit of a day has counted is taken back once.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Any, Final, final

import structlog

from zerosum.console.machines import Declined, Machines, OutcomeUnknown
from zerosum.core import codes, records
from zerosum.core.listings import Asset
from zerosum.core.records import text_words
from zerosum.errors import ZerosumError
from zerosum.gateway.decimals import Scale
from zerosum.gateway.entry import Busy
from zerosum.gateway.errors import TOO_PRECISE
from zerosum.identity.documents import Changed, DocumentsFailed
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import (
    APPROVED,
    CANCELED,
    FAILED,
    OPEN,
    PENDING,
    REFUSED,
    REQUESTED,
    RETURNED,
    SENDING,
    SETTLED,
    DepositRecord,
    OrderRecord,
    Rule,
    RuleText,
    WithdrawalBook,
    WithdrawalRefused,
    id_of,
)
from zerosum.views.accounts import Withdrawal
from zerosum.views.views import Views

REFERENCE_CHARS_MAX: Final = 128
LEFT_US: Final = 60_000_000
FINISH_EVERY_S: Final = 2.0

_log: Final = structlog.get_logger("treasury")

Json = dict[str, Any]


@final
class Treasury:
    def __init__(self, machines: Machines, book: WithdrawalBook, rules: tuple[RuleText, ...]) -> None:
        self._machines = machines
        self.book = book
        self._rules = {rule.asset: rule for rule in rules}

    # ------------------------------------------------------------------ assets and amounts

    def asset(self, name: str) -> Asset:
        """WithdrawalRefused."""
        assets = self._machines.see(lambda views: list(views.listings.assets))
        for asset in assets:
            if asset.name == name:
                return asset
        raise WithdrawalRefused(f"asset: {name} is not listed.")

    def atoms(self, asset: Asset, amount: str) -> int:
        """ApiError, WithdrawalRefused."""
        atoms = Scale(1, asset.decimals, TOO_PRECISE).steps(amount, "amount")
        if not 1 <= atoms <= codes.AMOUNT_MAX:
            raise WithdrawalRefused("amount: more than nothing, and less than all there is.")
        return atoms

    def rule(self, asset: Asset) -> Rule:
        found = self._rules.get(asset.name)
        if found is None:
            raise WithdrawalRefused(f"asset: {asset.name} can't be withdrawn here.")
        return found.of(asset.decimals)

    # ------------------------------------------------------------------ what users ask for

    def request(
        self, account: int, asset_name: str, amount: str, network: str, address: str, memo: str, *, order_id: str, client: str,
        secured_us: int, wallet: bool = False,
    ) -> Held[OrderRecord]:  # fmt: skip
        """
        WithdrawalRefused, Declined and Busy: it is not made. OutcomeUnknown and Changed: it may be. The same `order_id` again is the same
        withdrawal.
        """
        asset = self.asset(asset_name)
        atoms, rule = self.atoms(asset, amount), self.rule(asset)
        holder = account | codes.WALLET_BIT if wallet else account
        number = id_of("withdrawal", account, order_id) if order_id else secrets.randbits(60) | 1
        held = self.book.get(holder, number) or self.book.get(holder ^ codes.WALLET_BIT, number)
        if held is None:
            self.book.check(account, asset.name, network, address, memo, secured_us)
            day = self.book.count(account, asset.name, atoms, rule)
            record = OrderRecord(
                asset=asset.name, atoms=atoms, amount=amount, network=network, address=address, memo=memo, state=REQUESTED,
                needs=rule.approvals(atoms), day=day, client=client,
            )  # fmt: skip
            try:
                held = self.book.open_order(holder, number, record)
            except Changed:
                self.book.uncount(account, asset.name, atoms, day)
                raise
            except DocumentsFailed as error:
                raise OutcomeUnknown(f"whether the withdrawal was asked for is not known: {error}") from error
        elif (int(held.owner), *what_of(held.record)) != (holder, asset.name, atoms, network, address, memo):
            raise WithdrawalRefused("order_id: it was used for another withdrawal.")
        if held.record.state == FAILED:
            raise WithdrawalRefused(held.record.reason)
        if held.record.state != REQUESTED:
            return held
        try:
            return self.set_aside(held, asset.asset)
        except DocumentsFailed as error:
            raise OutcomeUnknown(f"whether the withdrawal was made is not known: {error}") from error

    def set_aside(self, held: Held[OrderRecord], asset: int) -> Held[OrderRecord]:
        """In the core, once however often it is asked for; and then it waits for approvals, or needs none."""
        holder, number = int(held.owner), int(held.name)
        try:
            self._machines.do(records.command(records.REQUEST_WITHDRAWAL, 0, holder, number, asset, held.record.atoms))
        except (Declined, Busy) as error:
            if not isinstance(error, Declined) or error.reason != codes.TRANSFER_REPEATED:
                self.book.move(held, FAILED, reason=str(error))  # Changed: somebody who asked for the same has gone on with it
                self.book.uncount(holder & codes.ACCOUNT_MAX, held.record.asset, held.record.atoms, held.record.day)
                raise
        try:
            return self.book.move(held, PENDING if held.record.needs else APPROVED)
        except Changed:
            self.book.undo(holder, number)  # it may have failed for somebody else, and what is set aside now is to be given back
            raise

    def cancel(self, holder: int, number: int) -> Held[OrderRecord]:
        """By its owner, while nobody sends it. `finish` gives the money back: who serves users can't. WithdrawalRefused."""
        return self.book.move(self._in(holder, number, (PENDING, APPROVED)), CANCELED, reason="canceled by its owner")

    def move_own(self, account: int, asset_name: str, amount: str, *, to_wallet: bool) -> Json:
        """Between an account and its funding wallet. WithdrawalRefused, Declined, Busy, OutcomeUnknown."""
        asset = self.asset(asset_name)
        atoms = self.atoms(asset, amount)
        wallet, number = account | codes.WALLET_BIT, secrets.randbits(60) | 1
        payer, receiver = (account, wallet) if to_wallet else (wallet, account)
        self._machines.do(records.command(records.TRANSFER, 0, payer, number, asset.asset, atoms, receiver))
        return {"tranId": number}

    # ------------------------------------------------------------------ what operators decide

    def approve(self, holder: int, number: int, by: str) -> Held[OrderRecord]:
        """WithdrawalRefused."""
        held = self._in(holder, number, (PENDING,))
        if by in held.record.approved_by:
            raise WithdrawalRefused("you have approved it already: somebody else is to, as well.")
        enough = len(held.record.approved_by) + 1 >= held.record.needs
        return self.book.move(held, APPROVED if enough else PENDING, by=by)

    def refuse(self, holder: int, number: int, reason: str) -> Held[OrderRecord]:
        """Also one that was approved and has not been sent. WithdrawalRefused."""
        return self._give_back(self._in(holder, number, (PENDING, APPROVED)), REFUSED, reason)

    def return_unrecorded(self, holder: int, number: int) -> Json:
        """Of money that is set aside, and of which the book knows no order: somebody went around the book. WithdrawalRefused."""
        if self.book.get(holder, number) is not None:
            raise WithdrawalRefused("there is an order for it in the book: refuse that.")
        self._machines.do(records.command(records.RETURN_WITHDRAWAL, 0, holder, number))
        return {"holder": holder, "id": number, "returned": True}

    def unrecorded(self) -> list[tuple[int, int, Withdrawal]]:
        """Holder and id of what is set aside, and of which the book knows no order."""
        pending = self._machines.see(pending_in)
        return [each for each in pending if self.book.get(each[0], each[1]) is None]

    def reverse_deposit(self, account: int, number: int) -> Json:
        """WithdrawalRefused where it was reversed before."""
        self._once(records.command(records.REVERSE_DEPOSIT, 0, account, number), "id: that deposit was reversed before.")
        return {"account": account, "id": number, "reversed": True}

    def adjust(self, source: int, target: int, asset_name: str, amount: str, number: int, ticket: str) -> Json:
        """WithdrawalRefused where an adjustment of that id was made before."""
        asset = self.asset(asset_name)
        atoms = self.atoms(asset, amount)
        try:
            words = text_words(ticket, 2)
        except (ValueError, UnicodeEncodeError) as error:
            raise WithdrawalRefused("ticket: 1 to 16 characters of ASCII.") from error
        command = records.command(records.ADJUST, 0, source, number, asset.asset, atoms, target, *words)
        self._once(command, "id: this adjustment was made before, and moved nothing now.")
        return {"id": number, "from": source, "to": target, "asset": asset.name, "atoms": atoms}

    # ------------------------------------------------------------------ what programs report

    def deposit(self, account: int, asset_name: str, amount: str, reference: str, *, wallet: bool = False) -> Json:
        """Credited once, however often it is reported. WithdrawalRefused, Declined, Busy, OutcomeUnknown."""
        asset = self.asset(asset_name)
        atoms = self.atoms(asset, amount)
        if not 1 <= len(reference) <= REFERENCE_CHARS_MAX or not reference.isprintable():
            raise WithdrawalRefused(f"reference: 1 to {REFERENCE_CHARS_MAX} characters that can be printed.")
        if not codes.FIRST_USER <= account <= codes.ACCOUNT_MAX:
            raise WithdrawalRefused(f"account: a user's, {codes.FIRST_USER} or more; the wallet of one is asked for by `wallet`.")
        holder = account | codes.WALLET_BIT if wallet else account
        number = id_of("deposit", holder, reference)
        self.book.report(reference, DepositRecord(holder, asset.name, atoms))
        try:
            self._machines.do(records.command(records.DEPOSIT, 0, holder, number, asset.asset, atoms))
        except Declined as declined:
            if declined.reason != codes.TRANSFER_REPEATED:
                self.book.forget_report(reference)
                raise
            return {"account": account, "id": number, "asset": asset.name, "atoms": atoms, "new": False}
        return {"account": account, "id": number, "asset": asset.name, "atoms": atoms, "new": True}

    def send(self, holder: int, number: int) -> Held[OrderRecord]:
        """It is about to be sent, by who was told so and nobody else: it can't be canceled or refused any more. WithdrawalRefused."""
        return self.book.move(self._in(holder, number, (APPROVED,)), SENDING)

    def settle(self, holder: int, number: int, reference: str) -> Held[OrderRecord]:
        """It has been sent. WithdrawalRefused."""
        held = self._in(holder, number, (SENDING, SETTLED))
        if held.record.state == SETTLED and held.record.reference != reference:
            raise WithdrawalRefused("it was settled with another reference.")
        if held.record.state == SETTLED:
            return held
        with suppress(WithdrawalRefused):  # it was, and the book has not been told
            self._once(records.command(records.SETTLE_WITHDRAWAL, 0, holder, number), "it was settled before.")
        return self.book.move(held, SETTLED, reference=reference)

    def give_back(self, holder: int, number: int, reason: str) -> Held[OrderRecord]:
        """It could not be sent, and will not be. WithdrawalRefused."""
        return self._give_back(self._in(holder, number, (SENDING,)), RETURNED, reason)

    def finish(self) -> None:
        """Of each that is undone: what a process that died has left half done, and what is to be given back."""
        for held in self.book.undone():
            try:
                self._finish(held)
            except (ZerosumError, Changed, Busy) as error:  # the others are finished all the same
                _log.warning("withdrawal.unfinished", holder=held.owner, id=held.name, state=held.record.state, error=str(error))

    def _finish(self, held: Held[OrderRecord]) -> None:
        state = held.record.state
        if state == REQUESTED and self.book.now_us() >= held.record.requested_us + LEFT_US:  # else whoever asked for it is about to do so
            self.set_aside(held, self.asset(held.record.asset).asset)
        if state in OPEN:
            return
        if state != SETTLED:
            self._return(held)
        self.book.done(held)

    # ------------------------------------------------------------------ how it is done

    def _in(self, holder: int, number: int, states: tuple[str, ...]) -> Held[OrderRecord]:
        held = self.book.get(holder, number)
        if held is None:
            raise WithdrawalRefused("there is no such withdrawal.")
        if held.record.state not in states:
            raise WithdrawalRefused(f"it is {held.record.state}, and would have to be {' or '.join(states)}.")
        return held

    def _give_back(self, held: Held[OrderRecord], state: str, reason: str) -> Held[OrderRecord]:
        moved = self.book.move(held, state, reason=reason)  # first: nobody sends it any more
        self._return(held)
        return moved

    def _return(self, held: Held[OrderRecord]) -> None:
        """What is set aside, if it is still: the core says whether. What has failed was not, mostly, and counts no more."""
        holder, record = int(held.owner), held.record
        try:
            self._once(records.command(records.RETURN_WITHDRAWAL, 0, holder, int(held.name)), "it was returned before.")
        except WithdrawalRefused:
            return
        except Declined as declined:
            if declined.reason != codes.UNKNOWN_MOVEMENT or record.state != FAILED:
                raise
            return
        if record.state != FAILED:
            self.book.uncount(holder & codes.ACCOUNT_MAX, record.asset, record.atoms, record.day)

    def _once(self, command: bytes, again: str) -> None:
        """WithdrawalRefused, with the text `again`, where it was done before. Declined, Busy, OutcomeUnknown."""
        try:
            self._machines.do(command)
        except Declined as declined:
            if declined.reason == codes.TRANSFER_REPEATED:
                raise WithdrawalRefused(again) from declined
            raise


async def keep_finishing(treasury: Treasury) -> None:
    """What was left half done, and what is to be given back, without end."""
    while True:
        await asyncio.sleep(FINISH_EVERY_S)
        try:
            await asyncio.to_thread(treasury.finish)
        except Exception as error:  # noqa: BLE001  whatever it is, the next time may do
            _log.error("withdrawals.unfinished", error=str(error), exc_info=not isinstance(error, ZerosumError))


def pending_in(views: Views) -> list[tuple[int, int, Withdrawal]]:
    return [
        (account.account_id, number, withdrawal)
        for shard in views.shards
        for account in shard.accounts.by_id.values()
        for number, withdrawal in account.pending.items()
    ]


def what_of(record: OrderRecord) -> tuple[str, int, str, str, str]:
    """By which one withdrawal is told from another."""
    return record.asset, record.atoms, record.network, record.address, record.memo
