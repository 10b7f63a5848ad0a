"""
Money in and out, and what accounts hold, from a cluster's database: see settlement/movements.py.

The tables are read one after the other while others write to them. Ends are read first: of each the movement is there by then.

What accounts hold is what OUTSIDE has given: on each shard all accounts sum to zero, which the auditor holds them to. To add them up one by
one would add up different moments.
"""

from __future__ import annotations

from typing import Final

from zerosum.core.codes import OUTSIDE
from zerosum.settlement.cql.session import Session
from zerosum.settlement.movements import (
    ASSETS,
    DEPOSITS,
    ENDS,
    REQUESTS,
    WITHDRAWALS,
    Listed,
    Movements,
    by_id,
    ends_by_id,
)

GIVEN: Final = "SELECT asset, available_atoms FROM balances WHERE account = ?"


async def read_all(session: Session) -> Movements:
    """StoreFailed."""
    ends = ends_by_id(await session.execute(ENDS))
    held: dict[int, int] = {}
    for asset, available_atoms in await session.execute(GIVEN, (OUTSIDE,)):  # of each shard
        held[asset] = held.get(asset, 0) - available_atoms
    return Movements(
        assets={asset: Listed(name, decimals) for asset, name, decimals in await session.execute(ASSETS)},
        deposits=by_id(await session.execute(DEPOSITS)),
        withdrawals=by_id(await session.execute(WITHDRAWALS)),
        requests=by_id(await session.execute(REQUESTS)),
        ends=ends,
        held=held,
    )
