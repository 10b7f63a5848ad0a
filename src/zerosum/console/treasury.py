"""
Money out, as users ask for it.

    request --checks--> counted --> set aside in the core --> the desk's (desk.py)
                                        +--> canceled, and given back by the desk

Always true: an order stands in the book before money is set aside for it, so that a process that dies in between leaves nothing that can't
be finished.
"""

from __future__ import annotations

import secrets
from typing import Any, final

from zerosum.console.machines import Declined, Machines, OutcomeUnknown
from zerosum.core import codes, records
from zerosum.core.listings import Asset
from zerosum.gateway.decimals import Scale
from zerosum.gateway.entry import Busy
from zerosum.gateway.errors import TOO_PRECISE
from zerosum.identity.documents import Changed, DocumentsFailed
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import (
    APPROVED,
    CANCELED,
    FAILED,
    PENDING,
    REQUESTED,
    OrderRecord,
    Rule,
    RuleText,
    WithdrawalBook,
    WithdrawalRefused,
    id_of,
)

Json = dict[str, Any]


@final
class Treasury:
    def __init__(self, machines: Machines, book: WithdrawalBook, rules: tuple[RuleText, ...]) -> None:
        self.machines = machines
        self.book = book
        self._rules = {rule.asset: rule for rule in rules}

    # ------------------------------------------------------------------ assets and amounts

    def asset(self, name: str) -> Asset:
        """WithdrawalRefused."""
        assets = self.machines.see(lambda views: list(views.listings.assets))
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

    def amount(self, asset: Asset, atoms: int) -> str:
        return Scale(1, asset.decimals, TOO_PRECISE).text(atoms)

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
            self.machines.do(records.command(records.REQUEST_WITHDRAWAL, 0, holder, number, asset, held.record.atoms))
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
        """By its owner, while nobody sends it. The desk gives the money back: who serves users can't. WithdrawalRefused."""
        return self.book.move(self.open_in(holder, number, (PENDING, APPROVED)), CANCELED, reason="canceled by its owner")

    def move_own(self, account: int, asset_name: str, amount: str, *, to_wallet: bool) -> Json:
        """Between an account and its funding wallet. WithdrawalRefused, Declined, Busy, OutcomeUnknown."""
        asset = self.asset(asset_name)
        atoms = self.atoms(asset, amount)
        wallet, number = account | codes.WALLET_BIT, secrets.randbits(60) | 1
        payer, receiver = (account, wallet) if to_wallet else (wallet, account)
        self.machines.do(records.command(records.TRANSFER, 0, payer, number, asset.asset, atoms, receiver))
        return {"tranId": number}

    # ------------------------------------------------------------------ what the desk needs, too

    def open_in(self, holder: int, number: int, states: tuple[str, ...]) -> Held[OrderRecord]:
        held = self.book.get(holder, number)
        if held is None:
            raise WithdrawalRefused("there is no such withdrawal.")
        if held.record.state not in states:
            raise WithdrawalRefused(f"it is {held.record.state}, and would have to be {' or '.join(states)}.")
        return held

    def once(self, command: bytes, again: str) -> None:
        """WithdrawalRefused, with the text `again`, where it was done before. Declined, Busy, OutcomeUnknown."""
        try:
            self.machines.do(command)
        except Declined as declined:
            if declined.reason == codes.TRANSFER_REPEATED:
                raise WithdrawalRefused(again) from declined
            raise


def what_of(record: OrderRecord) -> tuple[str, int, str, str, str]:
    """By which one withdrawal is told from another."""
    return record.asset, record.atoms, record.network, record.address, record.memo
