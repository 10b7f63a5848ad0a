"""
A statement from outside (a custodian's, a bank's) held against what the exchange has: what one knows and the other does not.

    statement --read_statement--> lines: what came in and went out there by its reference, and what is held there at the end
    book and ledger ------------> movements: what was reported and sent by its reference, and what the ledger has of it
                                  owed: what all accounts hold, asset by asset

    missing_here     the statement has it, and nothing was reported or sent by that reference
    missing_there    the other way round
    unlike           both have it, of another kind, asset or amount
    twice_there      the statement has the reference twice
    not_in_ledger    it was reported or sent, and the ledger has no such movement, or another amount
    reversed_here    the statement has a deposit that was reversed here
    no_reference     the ledger has it, and nobody has said by which reference: made by a command
    balance          what is held there is not what is owed here

Knows no files and no databases. Always true: amounts are compared in atoms, exactly; of what is alike only the number is told.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from zerosum.errors import ConfigError

DEPOSIT: Final = "deposit"
WITHDRAWAL: Final = "withdrawal"
BALANCE: Final = "balance"
KINDS: Final = (DEPOSIT, WITHDRAWAL, BALANCE)
COLUMNS: Final = ("type", "reference", "asset", "amount")
OTHER_COLUMNS: Final = ("time", "address")


class Line(NamedTuple):
    """Of a statement. `number`: in its file."""

    number: int
    kind: str
    reference: str
    asset: str
    atoms: int


class Movement(NamedTuple):
    """Of the exchange. `ledgered_atoms`: what the ledger has moved, None for nothing; `reference`: empty where nobody has said one."""

    kind: str
    reference: str
    asset: str
    atoms: int
    time_us: int
    ledgered_atoms: int | None
    is_reversed: bool = False


class Difference(NamedTuple):
    """`there`, `here`: what the statement says, and the exchange; empty where it says nothing."""

    what: str
    kind: str
    reference: str
    there: str
    here: str


class Outcome(NamedTuple):
    """`alike`: how many lines and movements agree."""

    alike: int
    differences: list[Difference]


# ---------------------------------------------------------------------- the statement


def read_statement(text: str, name: str, decimals: Mapping[str, int]) -> list[Line]:
    """`decimals`: of the assets that are listed. ConfigError names line and column."""
    rows = csv.DictReader(text.splitlines())
    columns = tuple(rows.fieldnames or ())
    missing = [each for each in COLUMNS if each not in columns]
    unknown = [each for each in columns if each not in (*COLUMNS, *OTHER_COLUMNS)]
    if missing or unknown or len(set(columns)) != len(columns):
        raise ConfigError(
            f"{name}: its first line must name the columns {', '.join(COLUMNS)}, and may name {', '.join(OTHER_COLUMNS)}; it has"
            f" {', '.join(columns) or 'none'}."
        )
    return [line_of(row, rows.line_num, name, decimals) for row in rows]


def line_of(row: Mapping[str, str | None], number: int, name: str, decimals: Mapping[str, int]) -> Line:
    def wrong(column: str, why: str) -> ConfigError:
        return ConfigError(f"{name}, line {number}, {column}: {row.get(column)!r} {why}.")

    if None in row or None in row.values():
        raise ConfigError(f"{name}, line {number}: it has not as many cells as the first line.")
    kind, reference, asset = (str(row[column]).strip() for column in ("type", "reference", "asset"))
    if kind not in KINDS:
        raise wrong("type", f"is none of {', '.join(KINDS)}")
    if bool(reference) == (kind == BALANCE):
        raise wrong("reference", "must be empty for a balance, and only there")
    if asset not in decimals:
        raise wrong("asset", "is not listed here")
    try:
        atoms = Decimal(str(row["amount"]).strip()).scaleb(decimals[asset])
    except InvalidOperation as error:
        raise wrong("amount", "is no number") from error
    if not atoms.is_finite() or atoms != int(atoms) or atoms < 0 or (atoms == 0 and kind != BALANCE):
        raise wrong("amount", f"must be more than nothing, with {decimals[asset]} decimals at most")
    return Line(number, kind, reference, asset, int(atoms))


# ---------------------------------------------------------------------- compared


def reconcile(lines: Iterable[Line], movements: Iterable[Movement], owed: Mapping[str, int], decimals: Mapping[str, int]) -> Outcome:
    """`movements`: those that the statement should have. `owed`: in atoms, by asset."""

    def shown(kind: str, asset: str, atoms: int) -> str:
        return f"{kind} of {Decimal(atoms).scaleb(-decimals[asset]):f} {asset}"

    alike, differences = 0, []
    there: dict[str, Line] = {}
    for line in lines:
        said = shown(line.kind, line.asset, line.atoms)
        if line.kind == BALANCE:
            held = owed.get(line.asset, 0)
            if held == line.atoms:
                alike += 1
            else:
                differences.append(Difference(BALANCE, BALANCE, "", said, shown("owed", line.asset, held)))
        elif line.reference in there:
            differences.append(Difference("twice_there", line.kind, line.reference, said, f"as in line {there[line.reference].number}"))
        else:
            there[line.reference] = line
    here = set()
    for movement in sorted(movements, key=lambda each: (each.time_us, each.reference)):
        said_here = shown(movement.kind, movement.asset, movement.atoms)
        found = there.get(movement.reference) if movement.reference else None
        here.add(movement.reference)
        what = difference_of(movement, found)
        if what is None:
            alike += movement.reference != "" and not movement.is_reversed
            continue
        if what == "not_in_ledger":
            ledgered = movement.ledgered_atoms
            said_here += ", and in the ledger " + ("nothing" if ledgered is None else shown("one", movement.asset, ledgered))
        said_there = shown(found.kind, found.asset, found.atoms) if found is not None else ""
        differences.append(Difference(what, movement.kind, movement.reference, said_there, said_here))
    for reference, line in there.items():
        if reference not in here:
            differences.append(Difference("missing_here", line.kind, reference, shown(line.kind, line.asset, line.atoms), ""))
    return Outcome(alike, differences)


def difference_of(movement: Movement, found: Line | None) -> str | None:
    if not movement.reference:
        return None if movement.is_reversed else "no_reference"
    if movement.ledgered_atoms != movement.atoms:
        return "not_in_ledger"
    if movement.is_reversed:
        return "reversed_here" if found is not None else None
    if found is None:
        return "missing_there"
    same = (found.kind, found.asset, found.atoms) == (movement.kind, movement.asset, movement.atoms)
    return None if same else "unlike"


def moment_us(text: str) -> int:
    """A day, or a time of ISO 8601, in UTC unless it says otherwise; in microseconds. ValueError."""
    found = datetime.fromisoformat(text)
    return int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def between(movements: Iterable[Movement], since_us: int, until_us: int) -> Iterator[Movement]:
    """Those of that time, its end left out."""
    return (each for each in movements if since_us <= each.time_us < until_us)
