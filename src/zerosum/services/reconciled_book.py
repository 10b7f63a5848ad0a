"""
What the exchange has of money that came in and went out, for reconciliation.py: from the record, and from who reported and sent it.

    record (SQLite's or the database's: tables and columns are called alike)    deposits, withdrawals, how they ended, balances
    book (identities)                                                           references of deposits, and of what was sent
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from zerosum.core.codes import OUTSIDE
from zerosum.identity.payouts import PAYOUTS
from zerosum.identity.vault import Vault
from zerosum.identity.withdrawals import DEPOSITS, ORDERS, SETTLED, id_of
from zerosum.services.reconciliation import DEPOSIT, WITHDRAWAL, Movement

ASSETS: Final = "SELECT asset, name, decimals FROM assets"
DEPOSITED: Final = "SELECT account, transfer_id, asset, atoms, time_us FROM deposits"
WITHDRAWN: Final = "SELECT account, transfer_id, asset, atoms, time_us FROM withdrawals"
ENDED: Final = "SELECT account, transfer_id, state, asset, atoms, time_us FROM movement_ends"
BALANCES: Final = "SELECT account, asset, available_atoms, frozen_atoms FROM balances"
STATEMENTS: Final = (ASSETS, DEPOSITED, WITHDRAWN, ENDED, BALANCES)

REVERSED_THERE: Final = "REVERSED"
SETTLED_THERE: Final = "SETTLED"

Rows = Mapping[str, list[tuple[Any, ...]]]
"""By statement, of STATEMENTS."""
Id = tuple[int, int]
"""An account's, or its wallet's, and the movement's own."""


class Paid(NamedTuple):
    asset: str
    atoms: int
    time_us: int


class Record(NamedTuple):
    """What is there of each movement. `sent`: what has gone out, by a command or settled."""

    decimals: dict[str, int]
    deposited: dict[Id, Paid]
    reversed: set[Id]
    sent: dict[Id, Paid]
    owed: dict[str, int]


def record_of(rows: Rows) -> Record:
    names = {asset: name for asset, name, _ in rows[ASSETS] if name is not None}
    owed: dict[str, int] = {}
    for account, asset, available, frozen in rows[BALANCES]:
        if account != OUTSIDE:
            owed[names[asset]] = owed.get(names[asset], 0) + available + frozen

    def paid(asset: int, atoms: int, time_us: int) -> Paid:
        return Paid(names[asset], atoms, time_us)

    sent = {(account, number): paid(*rest) for account, number, *rest in rows[WITHDRAWN]}
    sent |= {(account, number): paid(*rest) for account, number, state, *rest in rows[ENDED] if state == SETTLED_THERE}
    return Record(
        {name: decimals for _, name, decimals in rows[ASSETS] if name is not None},
        {(account, number): paid(*rest) for account, number, *rest in rows[DEPOSITED]},
        {(account, number) for account, number, state, *_ in rows[ENDED] if state == REVERSED_THERE},
        sent,
        owed,
    )


def movements_of(record: Record, vault: Vault) -> Iterator[Movement]:
    """Each once. DocumentsFailed."""
    referred: set[Id] = set()
    for held in vault.every(DEPOSITS):
        report = held.record
        place = (report.holder, id_of("deposit", report.holder, report.reference))
        referred.add(place)
        found = record.deposited.get(place)
        time_us = found.time_us if found is not None else report.reported_us
        ledgered = found.atoms if found is not None and found.asset == report.asset else None
        yield Movement(DEPOSIT, report.reference, report.asset, report.atoms, time_us, ledgered, place in record.reversed)
    for place, paid in record.deposited.items():
        if place not in referred:
            yield Movement(DEPOSIT, "", paid.asset, paid.atoms, paid.time_us, paid.atoms, place in record.reversed)
    for payout in vault.every(PAYOUTS):
        if payout.record.state != SETTLED:
            continue
        holder, number = payout.owner.split(".")
        place = (int(holder), int(number))
        referred.add(place)
        sent, order = record.sent.get(place), vault.get(ORDERS, holder, number)
        asset, atoms = (order.record.asset, order.record.atoms) if order is not None else (sent.asset, sent.atoms) if sent else ("", 0)
        time_us = sent.time_us if sent is not None else payout.record.since_us
        ledgered = sent.atoms if sent is not None and sent.asset == asset else None
        yield Movement(WITHDRAWAL, payout.record.reference, asset, atoms, time_us, ledgered)
    for place, paid in record.sent.items():
        if place not in referred:
            yield Movement(WITHDRAWAL, "", paid.asset, paid.atoms, paid.time_us, paid.atoms)
