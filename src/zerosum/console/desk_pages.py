"""
The endpoints of money in and out for operators, and for the venue's own programs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import final

import msgspec

from zerosum.console.access import TREASURERS, OfService, operators
from zerosum.console.actions import ROOT, Action, Reason
from zerosum.console.desk import Desk, Order, Payout
from zerosum.console.http import Asked, Endpoint, Number
from zerosum.console.login import Json
from zerosum.console.money import is_wallet, shown_order
from zerosum.console.notes import Notes
from zerosum.identity.keys import DEPOSIT, PAYOUT
from zerosum.identity.payouts import what_of
from zerosum.identity.people import SUPPORT, TREASURY, VIEWER
from zerosum.identity.trail import Trail
from zerosum.identity.withdrawals import APPROVED, PENDING


class InState(msgspec.Struct, forbid_unknown_fields=True):
    open: bool = True


class Reported(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    account: Number
    asset: str
    amount: str
    reference: str
    wallet: str = "trading"


class Sent(msgspec.Struct, forbid_unknown_fields=True):
    reference: str


class NotSent(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


class Approval(Reason, kw_only=True):
    """`what`: of the withdrawal as it was shown, so that nobody approves what they have not seen."""

    what: str


class Adjustment(Reason, kw_only=True):
    id: Number
    source: Number
    target: Number
    asset: str
    amount: str
    ticket: str


@final
class DeskPages:
    def __init__(self, desk: Desk, trail: Trail) -> None:
        self._desk = desk
        self._notes = Notes(trail)

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", f"{ROOT}/withdrawals", self.every_withdrawal, operators(VIEWER, SUPPORT, TREASURY), InState),
            Endpoint("POST", f"{ROOT}/deposits", self.deposit, OfService(DEPOSIT), Reported),
            Endpoint("GET", f"{ROOT}/payouts", self.payouts, OfService(PAYOUT)),
            Endpoint("POST", f"{ROOT}/payouts/{{holder:number}}/{{id:number}}/send", self.send, OfService(PAYOUT)),
            Endpoint("POST", f"{ROOT}/payouts/{{holder:number}}/{{id:number}}/settle", self.settle, OfService(PAYOUT), Sent),
            Endpoint("POST", f"{ROOT}/payouts/{{holder:number}}/{{id:number}}/return", self.give_back, OfService(PAYOUT), NotSent),
        ]

    def actions(self) -> list[Action]:
        path = "/withdrawals/{holder:number}/{id:number}"
        return [
            Action("withdrawal.approve", f"{path}/approve", TREASURERS, self.approve, Approval, by_whom=True),
            Action("withdrawal.refuse", f"{path}/refuse", TREASURERS, self.refuse, gives_reason=True),
            Action("withdrawal.return-unrecorded", f"{path}/return", TREASURERS, self.return_unrecorded, takes_two=True),
            Action("deposit.reverse", "/deposits/{account:number}/{id:number}/reverse", TREASURERS, self.reverse_deposit, takes_two=True),
            Action("adjustment", "/adjustments", TREASURERS, self.adjust, Adjustment, takes_two=True),
        ]

    # ------------------------------------------------------------------ operators

    def every_withdrawal(self, asked: Asked) -> Json:
        form: InState = asked.form
        unrecorded = [{"holder": holder, "id": number, **each._asdict()} for holder, number, each in self._desk.unrecorded()]
        orders = [self._shown(order) for order in self._desk.orders(are_open=form.open)]
        return {"withdrawals": orders, "unrecorded": unrecorded}

    def _shown(self, order: Order) -> Json:
        """`lacks`: of one that is open, why it is not sent yet, by what the console knows itself."""
        shown = {**shown_order(order), "what": what_of(order)}
        return {**shown, "lacks": self._desk.lacks(order)} if order.record.state in (PENDING, APPROVED) else shown

    def approve(self, holder: int, id: int, what: str, by: str) -> Json:  # noqa: A002  as it is called in the path
        return shown_order(self._desk.approve(holder, id, what, by))

    def refuse(self, holder: int, id: int, reason: str) -> Json:  # noqa: A002
        return shown_order(self._desk.refuse(holder, id, reason))

    def return_unrecorded(self, holder: int, id: int) -> Json:  # noqa: A002
        return self._desk.return_unrecorded(holder, id)

    def reverse_deposit(self, account: int, id: int) -> Json:  # noqa: A002
        return self._desk.reverse_deposit(account, id)

    def adjust(self, id: int, source: int, target: int, asset: str, amount: str, ticket: str) -> Json:  # noqa: A002
        return self._desk.adjust(source, target, asset, amount, id, ticket)

    # ------------------------------------------------------------------ the venue's programs

    def deposit(self, asked: Asked) -> Json:
        form: Reported = asked.form
        about = {"account": form.account, "asset": form.asset, "amount": form.amount, "reference": form.reference}
        with self._notes.noted(asked, "deposit", about, f"account {form.account}") as told:
            done = self._desk.deposit(form.account, form.asset, form.amount, form.reference, wallet=is_wallet(form.wallet))
            told.update(done)
        return done

    def payouts(self, asked: Asked) -> Json:
        return {"payouts": [shown_payout(payout) for payout in self._desk.payouts()]}

    def send(self, asked: Asked) -> Json:
        with self._of_program(asked, "withdrawal.send", {}):
            return shown_payout(self._desk.send(asked.parts["holder"], asked.parts["id"]))

    def settle(self, asked: Asked) -> Json:
        form: Sent = asked.form
        with self._of_program(asked, "withdrawal.settle", {"reference": form.reference}):
            return shown_payout(self._desk.settle(asked.parts["holder"], asked.parts["id"], form.reference))

    def give_back(self, asked: Asked) -> Json:
        form: NotSent = asked.form
        with self._of_program(asked, "withdrawal.return", {"reason": form.reason}):
            return shown_payout(self._desk.give_back(asked.parts["holder"], asked.parts["id"], form.reason))

    def _of_program(self, asked: Asked, action: str, detail: Json) -> AbstractContextManager[Json]:
        return self._notes.noted(asked, action, {"id": asked.parts["id"], **detail}, f"account {asked.parts['holder']}")


def shown_payout(payout: Payout) -> Json:
    record: Json = msgspec.to_builtins(payout.record)
    return {"holder": payout.holder, "id": payout.number, **record}
