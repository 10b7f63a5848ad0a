"""
In what a settled record is other than it should be: row by row beside one that was settled anew, or beside the state where it ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw

from zerosum.services.machine import Machine
from zerosum.services.past import balances_of, pending_of
from zerosum.settlement.batch import Position
from zerosum.settlement.errors import SettlementError
from zerosum.settlement.reading import one_state
from zerosum.settlement.rows import OrderRow
from zerosum.settlement.sqlite import POSITION
from zerosum.views.views import Views

ONLY_IN_ONE: Final = "SELECT count(*) FROM (SELECT * FROM {one} EXCEPT SELECT * FROM {other})"
BALANCES: Final = "SELECT account, asset, available_atoms, frozen_atoms FROM balances WHERE available_atoms <> 0 OR frozen_atoms <> 0"
OPEN_ORDERS: Final = "SELECT * FROM active_orders"
PENDING: Final = (
    "SELECT account, transfer_id, asset, atoms FROM withdrawal_requests"
    " WHERE (account, transfer_id) NOT IN (SELECT account, transfer_id FROM movement_ends)"
)


def different_tables(one: Path, other: Path) -> list[str]:
    """What differs between two records, table by table. sqlite3.Error if one can't be read."""
    with closing(sqlite3.connect(f"{one.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("ATTACH DATABASE ? AS again", (str(other),))
        made = "SELECT name, type, sql FROM {}.sqlite_master WHERE name NOT LIKE 'sqlite%'"
        found, expected = (set(connection.execute(made.format(schema))) for schema in ("main", "again"))
        ours, theirs = ({name for name, kind, _ in each if kind == "table"} for each in (found, expected))
        different = [f"{table}: such a table is not part of a record" for table in sorted(ours - theirs)]
        different += [f"{table}: the table is missing" for table in sorted(theirs - ours)]
        others = {name for name, _, _ in found ^ expected} - (ours ^ theirs)
        different += [f"{name}: it is not defined as it should be" for name in sorted(others)]
        for table in sorted(ours & theirs):
            quoted = '"' + table.replace('"', '""') + '"'  # a name, not a value: it can't be a parameter
            extra = connection.execute(ONLY_IN_ONE.format(one=f"main.{quoted}", other=f"again.{quoted}")).fetchone()[0]
            missing = connection.execute(ONLY_IN_ONE.format(one=f"again.{quoted}", other=f"main.{quoted}")).fetchone()[0]
            if extra or missing:
                different.append(f"{table}: {extra} rows that the log does not give, {missing} that it gives are not there")
    return different


def different_state(settled: Path, machine: Machine, views: Views) -> list[str]:
    """What a record that ends where the machines are has otherwise than they and the views have it."""
    try:
        with one_state(settled) as connection:
            position = Position(*connection.execute(POSITION).get)
            settled_balances = {(account, asset): (available, frozen) for account, asset, available, frozen in connection.execute(BALANCES)}
            settled_pending = {(account, number): (asset, atoms) for account, number, asset, atoms in connection.execute(PENDING)}
            settled_orders = {row.order_id: essence(row) for row in map(OrderRow._make, connection.execute(OPEN_ORDERS))}
    except (SettlementError, apsw.Error, TypeError) as error:
        return [f"{settled} can't be read: {error}"]
    ours = machine.attestation()
    heads = machine.account_chain.head(), machine.market_chain.head()
    different: list[str] = []
    if position != Position(ours.input_sequence, ours.account_sequence, ours.market_sequence, *heads):
        different.append("the position, or the chains over what was settled, are not what the log gives")
    balances = {owner: atoms for owner, atoms in balances_of(machine).items() if any(atoms)}
    different += told_apart("balances", balances, settled_balances)
    different += told_apart("pending withdrawals", pending_of(machine), settled_pending)
    orders = {
        order.order_id: (account.account_id, order.symbol, order.price_ticks, order.qty_lots, order.executed_lots, order.prevented_lots)
        for account in views.accounts.by_id.values()
        for order in account.open_orders.values()
    }
    return different + told_apart("open orders", orders, settled_orders)


def essence(row: OrderRow) -> tuple[int, ...]:
    return row.account, row.symbol, row.price_ticks, row.qty_lots, row.executed_lots, row.prevented_lots


def told_apart(what: str, expected: Mapping[Any, tuple[int, ...]], found: Mapping[Any, tuple[int, ...]]) -> list[str]:
    """How many entries are not as expected, and the first of them."""
    wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if not wrong:
        return []
    first = wrong[0]
    return [f"{len(wrong)} {what} are not what the log gives, such as {first}: {found.get(first)}, not {expected.get(first)}"]
