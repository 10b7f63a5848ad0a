"""
What the settled record must say after the end-to-end run: the trades that were expected, and money neither made nor lost.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from zerosum.bench.e2e_orders import OrderSet
from zerosum.core.codes import CLEARING, FIRST_USER, OUTSIDE
from zerosum.errors import ZerosumError
from zerosum.settlement.export import write_trades_csv
from zerosum.settlement.reading import connect

TOTALS: Final = """
SELECT asset, sum(iif(account = :outside OR account = :clearing, 0, available_atoms + frozen_atoms)),
    sum(iif(account = :outside, available_atoms, 0)),
    sum(iif(account = :clearing, available_atoms, 0))
FROM balances GROUP BY asset
"""


class DoesNotHold(ZerosumError):
    """Something that must hold does not; the text says where it is first seen."""


def check_trades(settled: Path, orders: OrderSet) -> int:
    """Every trade as expected, in order; returns how many. DoesNotHold shows the first that differs."""
    out = io.StringIO()
    count = write_trades_csv(settled, out, symbol=0, account_name=lambda account: orders.users[account - FIRST_USER])
    if out.getvalue() != orders.trades_csv:
        found, expected = out.getvalue().splitlines(), orders.trades_csv.splitlines()
        at = next((n for n, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), min(len(found), len(expected)))
        raise DoesNotHold(
            f"{len(found) - 1} trades were settled and {len(expected) - 1} expected; the first difference is in line {at + 1}:\n"
            f"  settled   {''.join(found[at : at + 1])}\n  expected  {''.join(expected[at : at + 1])}"
        )
    return count


def check_balances(settled: Path, orders: OrderSet) -> None:
    """Every user's balances as expected, where they are known."""
    with closing(connect(settled)) as connection:
        rows = connection.execute("SELECT account, asset, available_atoms, frozen_atoms FROM balances WHERE account >= ?", (FIRST_USER,))
        found = {(account, asset): (available, frozen) for account, asset, available, frozen in rows}
    for key, expected in orders.balances.items():
        if found.get(key, (0, 0)) != expected:
            raise DoesNotHold(
                f"Account {key[0]} has {found.get(key, (0, 0))} atoms available and frozen of asset {key[1]}, not {expected}."
            )


def check_totals(settled: Path, deposits: Mapping[int, int]) -> None:
    """What all hold together is what was deposited, atom for atom."""
    with closing(connect(settled)) as connection:
        totals = {asset: rest for asset, *rest in connection.execute(TOTALS, {"outside": OUTSIDE, "clearing": CLEARING})}
    for asset, atoms in deposits.items():
        if totals.get(asset) != [atoms, -atoms, 0]:
            raise DoesNotHold(
                f"Of asset {asset} users hold, outside gave and clearing holds {totals.get(asset)} atoms, not {[atoms, -atoms, 0]}."
            )
