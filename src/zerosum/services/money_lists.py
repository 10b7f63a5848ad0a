"""
What has come in and gone out, account by account, as the console and the ledger have it together.

    withdrawals   state: who sends them, or else their order     ledger: set aside, settled, returned; gone at once; nothing if it failed
    deposits      state: credited, reversed, or only reported

Always true: whatever one of the two knows is in the list, once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from zerosum.core.codes import ACCOUNT_MAX
from zerosum.identity.payouts import PayoutRecord
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import OPEN, OrderRecord, id_of
from zerosum.services.amounts import decimal_text
from zerosum.services.reconciliation import Book
from zerosum.settlement.movements import Id, Movement, Movements

SET_ASIDE: Final = "set aside"
GONE: Final = "gone"
CREDITED: Final = "credited"
REVERSED: Final = "reversed"
REPORTED: Final = "reported"


class Withdrawn(NamedTuple):
    """`holder`: an account, or its wallet. `state`, `ledger`: empty where there is nothing of it. `reference`: once it was sent."""

    holder: int
    id: int
    asset: str
    amount: str
    state: str
    ledger: str
    reference: str
    network: str
    address: str
    time_us: int


class Deposited(NamedTuple):
    holder: int
    id: int
    asset: str
    amount: str
    state: str
    reference: str
    time_us: int


def withdrawals(orders: list[Held[OrderRecord]], book: Book, record: Movements, account: int | None = None) -> list[Withdrawn]:
    """Of an account and its wallet, or of all; the oldest first. `orders`: gateways write them, so what a payout says goes first."""
    asked = {(int(order.owner), int(order.name)): order.record for order in orders}
    payouts = {key_of(payout.owner): payout.record for payout in book.payouts}
    decimals = {listed.name: listed.decimals for listed in record.assets.values()}
    found = []
    for key in of_account(asked.keys() | record.requests.keys() | record.withdrawals.keys(), account):
        order, payout, moved = asked.get(key), payouts.get(key), record.requests.get(key, record.withdrawals.get(key))
        if moved is not None:
            asset, amount, time_us = *amount_of(moved, record), moved.time_us
        else:
            assert order is not None, "it is in one of them"
            asset, amount, time_us = order.asset, decimal_text(order.atoms, decimals.get(order.asset, 0)), order.requested_us
        terms = payout if payout is not None and payout.asset else order
        found.append(
            Withdrawn(
                *key, asset, amount, state_of(order, payout), ledger_of(key, record),
                reference=payout.reference if payout is not None else "",
                network=terms.network if terms is not None else "",
                address=terms.address if terms is not None else "",
                time_us=time_us,
            )
        )  # fmt: skip
    return sorted(found, key=lambda each: (each.time_us, each.holder, each.id))


def state_of(order: OrderRecord | None, payout: PayoutRecord | None) -> str:
    """Of one that was given back before anybody was to send it, its order says why."""
    if payout is None:
        return order.state if order is not None else ""
    if not payout.asset and order is not None and order.state not in OPEN:
        return order.state
    return payout.state


def deposits(book: Book, record: Movements, account: int | None = None) -> list[Deposited]:
    """Of an account and its wallet, or of all; the oldest first."""
    decimals = {listed.name: listed.decimals for listed in record.assets.values()}
    reports = {(each.holder, id_of("deposit", each.holder, each.reference)): each for each in (held.record for held in book.reports)}
    found = []
    for key in of_account(reports.keys() | record.deposits.keys(), account):
        report, moved = reports.get(key), record.deposits.get(key)
        reference = report.reference if report is not None else ""
        if moved is not None:
            state = REVERSED if key in record.ends else CREDITED
            found.append(Deposited(*key, *amount_of(moved, record), state, reference, moved.time_us))
        elif report is not None and report.asset in decimals:
            amount = decimal_text(report.atoms, decimals[report.asset])
            found.append(Deposited(*key, report.asset, amount, REPORTED, reference, report.reported_us))
    return sorted(found, key=lambda each: (each.time_us, each.holder, each.id))


def of_account(keys: set[Id], account: int | None) -> list[Id]:
    return [key for key in keys if account is None or key[0] & ACCOUNT_MAX == account]


def key_of(owner: str) -> Id:
    """Of a payout's owner."""
    holder, _, number = owner.partition(".")
    return int(holder), int(number)


def amount_of(movement: Movement, record: Movements) -> tuple[str, str]:
    name, decimals = record.assets[movement.asset]
    return name, decimal_text(movement.atoms, decimals)


def ledger_of(key: Id, record: Movements) -> str:
    end = record.ends.get(key)
    if end is not None:
        return end.state.lower()
    return SET_ASIDE if key in record.requests else GONE if key in record.withdrawals else ""
