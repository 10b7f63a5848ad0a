"""
Money in and out: what users ask for, what operators decide, and what the venue's own programs report.

    request --checks--> counted --> set aside in the core --> approvals, as many as its rule asks for --> a program sends it --> settled
                                        +--> canceled or refused before that, or it could not be sent --> given back

    deposits come from a program with a key of its own, each with a reference, and are credited once

Always true: an order stands in the book before money is set aside for it, and what became of the money is asked of the core, so that a
process that dies in between leaves nothing that can't be finished; nobody approves twice; what is settled or returned is so once.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import Any, Final, final

import structlog

from zerosum.console.machines import Machines
from zerosum.console.switches import SwitchRefused
from zerosum.core import codes, records
from zerosum.core.listings import Asset
from zerosum.core.records import text_words
from zerosum.errors import ZerosumError
from zerosum.gateway.decimals import Scale
from zerosum.gateway.entry import Event
from zerosum.gateway.errors import TOO_PRECISE
from zerosum.identity.documents import Changed
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
    OrderRecord,
    Rule,
    RuleText,
    WithdrawalBook,
    WithdrawalRefused,
    id_of,
)
from zerosum.views.reasons import reason_name
from zerosum.views.views import Views

KIND_MASK: Final = 0xFF
REFERENCE_CHARS_MAX: Final = 128
GIVEN_BACK: Final = (CANCELED, REFUSED, RETURNED)
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
        """WithdrawalRefused, SwitchRefused, Busy, OutcomeUnknown. The same `order_id` again is the same withdrawal."""
        asset = self.asset(asset_name)
        atoms, rule = self.atoms(asset, amount), self.rule(asset)
        holder = account | codes.WALLET_BIT if wallet else account
        number = id_of("withdrawal", account, order_id) if order_id else secrets.randbits(60) | 1
        held = self.book.get(holder, number)
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
        elif (held.record.asset, held.record.atoms, held.record.address, held.record.memo) != (asset.name, atoms, address, memo):
            raise WithdrawalRefused("withdrawOrderId: it was used for another withdrawal.")
        if held.record.state == FAILED:
            raise WithdrawalRefused(held.record.reason)
        return self.set_aside(held, asset.asset) if held.record.state == REQUESTED else held

    def set_aside(self, held: Held[OrderRecord], asset: int) -> Held[OrderRecord]:
        """In the core, once however often it is asked for; and then it waits for approvals, or needs none."""
        holder, number = int(held.owner), int(held.name)
        try:
            is_new = self._do(records.command(records.REQUEST_WITHDRAWAL, 0, holder, number, asset, held.record.atoms))
            if not is_new and not self._machines.see(partial(is_pending, holder, number)):
                raise SwitchRefused("another movement of this account has the same id.")
        except SwitchRefused as refused:
            self.book.uncount(holder & codes.ACCOUNT_MAX, held.record.asset, held.record.atoms, held.record.day)
            self.book.move(held, FAILED, reason=str(refused))
            raise
        return self.book.move(held, PENDING if held.record.needs else APPROVED)

    def cancel(self, holder: int, number: int) -> Held[OrderRecord]:
        """By its owner, while nobody sends it. `finish` gives the money back: who serves users can't. WithdrawalRefused."""
        return self.book.move(self._in(holder, number, (PENDING, APPROVED)), CANCELED, reason="canceled by its owner")

    def move_own(self, account: int, asset_name: str, amount: str, *, to_wallet: bool) -> Json:
        """Between an account and its funding wallet. WithdrawalRefused, SwitchRefused, Busy, OutcomeUnknown."""
        asset = self.asset(asset_name)
        atoms = self.atoms(asset, amount)
        wallet, number = account | codes.WALLET_BIT, secrets.randbits(60) | 1
        payer, receiver = (account, wallet) if to_wallet else (wallet, account)
        self._do(records.command(records.TRANSFER, 0, payer, number, asset.asset, atoms, receiver))
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

    def reverse_deposit(self, account: int, number: int) -> Json:
        self._do(records.command(records.REVERSE_DEPOSIT, 0, account, number))
        return {"account": account, "id": number, "reversed": True}

    def adjust(self, source: int, target: int, asset_name: str, amount: str, number: int, ticket: str) -> Json:
        asset = self.asset(asset_name)
        atoms = self.atoms(asset, amount)
        try:
            words = text_words(ticket, 2)
        except (ValueError, UnicodeEncodeError) as error:
            raise WithdrawalRefused("ticket: 1 to 16 characters of ASCII.") from error
        self._do(records.command(records.ADJUST, 0, source, number, asset.asset, atoms, target, *words))
        return {"id": number, "from": source, "to": target, "asset": asset.name, "atoms": atoms}

    # ------------------------------------------------------------------ what programs report

    def deposit(self, account: int, asset_name: str, amount: str, reference: str, *, wallet: bool = False) -> Json:
        """Credited once, however often it is reported. WithdrawalRefused, SwitchRefused, Busy, OutcomeUnknown."""
        asset = self.asset(asset_name)
        atoms = self.atoms(asset, amount)
        if not 1 <= len(reference) <= REFERENCE_CHARS_MAX or not reference.isprintable():
            raise WithdrawalRefused(f"reference: 1 to {REFERENCE_CHARS_MAX} characters that can be printed.")
        if not codes.FIRST_USER <= account <= codes.ACCOUNT_MAX:
            raise WithdrawalRefused(f"account: a user's, {codes.FIRST_USER} or more; the wallet of one is asked for by `wallet`.")
        holder = account | codes.WALLET_BIT if wallet else account
        number = id_of("deposit", holder, reference)
        is_new = self._do(records.command(records.DEPOSIT, 0, holder, number, asset.asset, atoms))
        return {"account": account, "id": number, "asset": asset.name, "atoms": atoms, "new": is_new}

    def send(self, holder: int, number: int) -> Held[OrderRecord]:
        """It is about to be sent, by who was told so and nobody else: it can't be canceled or refused any more. WithdrawalRefused."""
        return self.book.move(self._in(holder, number, (APPROVED,)), SENDING)

    def settle(self, holder: int, number: int, reference: str) -> Held[OrderRecord]:
        """It has been sent. WithdrawalRefused."""
        held = self._in(holder, number, (SENDING, SETTLED))
        if held.record.state == SETTLED and held.record.reference != reference:
            raise WithdrawalRefused("it was settled with another reference.")
        self._do(records.command(records.SETTLE_WITHDRAWAL, 0, holder, number))
        return held if held.record.state == SETTLED else self.book.move(held, SETTLED, reference=reference)

    def give_back(self, holder: int, number: int, reason: str) -> Held[OrderRecord]:
        """It could not be sent, and will not be. WithdrawalRefused."""
        return self._give_back(self._in(holder, number, (SENDING,)), RETURNED, reason)

    def finish(self) -> int:
        """Of each that is undone: what a process that died has left half done, and what is to be given back. How many there were."""
        done = 0
        for held in self.book.undone():
            try:
                done += self._finish(held)
            except (ZerosumError, Changed) as error:  # the others are finished all the same
                _log.warning("withdrawal.unfinished", holder=held.owner, id=held.name, state=held.record.state, error=str(error))
        return done

    def _finish(self, held: Held[OrderRecord]) -> bool:
        """Whether there was something to do."""
        state, left = held.record.state, False
        if state == REQUESTED and self.book.now_us() >= held.record.requested_us + LEFT_US:  # else whoever asked for it is about to do so
            self.set_aside(held, self.asset(held.record.asset).asset)
            left = True
        if state in GIVEN_BACK and self._machines.see(partial(is_pending, int(held.owner), int(held.name))):
            self._return(held)
            left = True
        if state not in OPEN:
            self.book.done(held)
        return left

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
        holder = int(held.owner)
        if self._do(records.command(records.RETURN_WITHDRAWAL, 0, holder, int(held.name))):
            self.book.uncount(holder & codes.ACCOUNT_MAX, held.record.asset, held.record.atoms, held.record.day)

    def _do(self, command: bytes) -> bool:
        """Whether it was done now; False: it had been before. SwitchRefused."""
        for event in self._machines.send(command):
            if event[0] & KIND_MASK == records.REFUSED:
                if event[5] == codes.TRANSFER_REPEATED:
                    return False
                raise SwitchRefused(f"the exchange refused it: {reason_of(event)}.")
        return True


async def keep_finishing(treasury: Treasury) -> None:
    """What was left half done, and what is to be given back, without end."""
    while True:
        await asyncio.sleep(FINISH_EVERY_S)
        try:
            await asyncio.to_thread(treasury.finish)
        except ZerosumError as error:
            _log.warning("withdrawals.unfinished", error=str(error))


def is_pending(holder: int, number: int, views: Views) -> bool:
    """Whether the money of a withdrawal is still set aside."""
    account = views.account(holder)
    return account is not None and number in account.pending


def reason_of(event: Event) -> str:
    return reason_name(event[5])
