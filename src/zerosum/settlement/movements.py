"""
All money that came in and went out of an exchange, as its record has it, and what accounts hold.

    deposits                         came in; one that was taken back has an end REVERSED
    withdrawals                      went out at once
    requests                         set aside to go out; those that went have an end SETTLED
    ends    (account, id): how one of these ended

Read from SQLite here, from a cluster's database by settlement/cql/movements.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from zerosum.core.codes import OUTSIDE
from zerosum.settlement.errors import SettlementFailed
from zerosum.settlement.reading import one_state

ASSETS: Final = "SELECT asset, name, decimals FROM assets"
DEPOSITS: Final = "SELECT account, transfer_id, asset, atoms, time_us FROM deposits"
WITHDRAWALS: Final = "SELECT account, transfer_id, asset, atoms, time_us FROM withdrawals"
REQUESTS: Final = "SELECT account, transfer_id, asset, atoms, time_us FROM withdrawal_requests"
ENDS: Final = "SELECT account, transfer_id, state, time_us FROM movement_ends"
HELD: Final = "SELECT asset, sum(available_atoms + frozen_atoms) FROM balances WHERE account <> ? GROUP BY asset"

Id = tuple[int, int]
"""Account, which may be a wallet, and transfer id."""


class Listed(NamedTuple):
    name: str
    decimals: int


class Movement(NamedTuple):
    account: int
    transfer_id: int
    asset: int
    atoms: int
    time_us: int


class End(NamedTuple):
    """`state`: SETTLED, RETURNED or REVERSED."""

    state: str
    time_us: int


@dataclass(frozen=True, slots=True)
class Movements:
    """`held`: of each asset all that accounts hold, what is set aside to go out and the fees too: what is owed."""

    assets: dict[int, Listed]
    deposits: dict[Id, Movement]
    withdrawals: dict[Id, Movement]
    requests: dict[Id, Movement]
    ends: dict[Id, End]
    held: dict[int, int]


def read_movements(path: Path) -> Movements:
    """All of one moment. NothingSettled, and the other errors of `connect`; SettlementFailed."""
    with one_state(path) as connection:
        try:
            return Movements(
                assets={asset: Listed(name, decimals) for asset, name, decimals in connection.execute(ASSETS)},
                deposits=by_id(connection.execute(DEPOSITS)),
                withdrawals=by_id(connection.execute(WITHDRAWALS)),
                requests=by_id(connection.execute(REQUESTS)),
                ends=ends_by_id(connection.execute(ENDS)),
                held=dict(connection.execute(HELD, (OUTSIDE,))),
            )
        except apsw.Error as error:
            raise SettlementFailed(path, str(error)) from error


def by_id(rows: Iterable[tuple[int, ...]]) -> dict[Id, Movement]:
    return {(account, number): Movement(account, number, *rest) for account, number, *rest in rows}


def ends_by_id(rows: Iterable[tuple[int, int, str, int]]) -> dict[Id, End]:
    return {(account, number): End(state, time_us) for account, number, state, time_us in rows}
