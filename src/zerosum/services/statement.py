"""
What somebody outside, a custodian or a bank, states of the exchange's money, as CSV.

    type,reference,asset,amount,time,address          columns in any order; time and address may be left out
    deposit,txid:0,BTC,1.5,2026-11-28T09:30:00Z,      came in there
    withdrawal,txid:7,BTC,0.2,,bc1q...                went out there, to that address
    balance,,BTC,1.3,,                                is held there at the end

Always true: each line that is returned is whole: an asset that is listed, an amount in its atoms, a reference where there must be one.
Anything else is a ConfigError that names line and column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, final

from zerosum.errors import ConfigError
from zerosum.identity.withdrawals import ADDRESS_CHARS_MAX, REFERENCE_CHARS_MAX, is_reference
from zerosum.services.amounts import NotDecimal, NotWhole, units
from zerosum.settlement.movements import Listed

DEPOSIT: Final = "deposit"
WITHDRAWAL: Final = "withdrawal"
BALANCE: Final = "balance"
TYPES: Final = (DEPOSIT, WITHDRAWAL, BALANCE)

NEEDED: Final = ("type", "reference", "asset", "amount")
COLUMNS: Final = (*NEEDED, "time", "address")
SHOWN_CHARS: Final = 40

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Money(NamedTuple):
    asset: int
    atoms: int


class Line(NamedTuple):
    """`number`: where it stands in the file. `time_us`, `address`: 0 and empty where it has none."""

    number: int
    type: str
    reference: str
    money: Money
    time_us: int = 0
    address: str = ""


def read_statement(path: Path, assets: Mapping[int, Listed]) -> list[Line]:
    """ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a mark before it
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {number} is not UTF-8. Write the statement anew in that encoding.") from error
    return list(StatementReader(str(path), assets).lines(text))


@final
class StatementReader:
    """`where`: the file, for what is said of it."""

    def __init__(self, where: str, assets: Mapping[int, Listed]) -> None:
        self._where = where
        self._assets = {listed.name: (asset, listed.decimals) for asset, listed in assets.items()}
        self._number = 1  # of the line that is read
        self._balances: dict[int, int] = {}  # asset: the line of its balance

    def lines(self, text: str) -> Iterator[Line]:
        """ConfigError."""
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            columns = self._header(next(rows, []))
            self._number = rows.line_num + 1
            for row in rows:
                if row:
                    if len(row) != len(columns):
                        self._refuse(f"it has {len(row)} columns, and the header {len(columns)}")
                    yield self._line(dict(zip(columns, (cell.strip() for cell in row), strict=True)))
                self._number = rows.line_num + 1
        except csv.Error as error:
            self._refuse(f"it is no CSV: {error}")

    def _header(self, row: list[str]) -> list[str]:
        columns = [cell.strip() for cell in row]
        for name in columns:
            if name not in COLUMNS:
                self._refuse(f"{shown(name)} is no column of a statement; there are {', '.join(COLUMNS)}")
            if columns.count(name) > 1:
                self._refuse(f"the column {name} is there more than once")
        missing = [name for name in NEEDED if name not in columns]
        if missing:
            self._refuse(f"a statement begins with the names of its columns, and {', '.join(missing)} must be among them")
        return columns

    def _line(self, cells: dict[str, str]) -> Line:
        kind = cells["type"]
        if kind not in TYPES:
            self._refuse(f"{shown(kind)} is none of {', '.join(TYPES)}", "type")
        money = self._money(cells["asset"], cells["amount"], at_least=0 if kind == BALANCE else 1)
        reference, address = cells["reference"], cells.get("address", "")
        if kind == BALANCE:
            if reference:
                self._refuse("a balance has none", "reference")
            before = self._balances.setdefault(money.asset, self._number)
            if before != self._number:
                self._refuse(f"the balance of {cells['asset']} stands in line {before} too", "asset")
        elif not is_reference(reference):
            self._refuse(f"{shown(reference)} is not 1 to {REFERENCE_CHARS_MAX} characters that can be printed", "reference")
        if len(address) > ADDRESS_CHARS_MAX or not address.isprintable():
            self._refuse(f"{shown(address)} is not up to {ADDRESS_CHARS_MAX} characters that can be printed", "address")
        return Line(self._number, kind, reference, money, self._time_us(cells.get("time", "")), address)

    def _money(self, name: str, amount: str, at_least: int) -> Money:
        if name not in self._assets:
            self._refuse(f"{shown(name)} is not listed here; listed are {', '.join(self._assets) or 'none'}", "asset")
        asset, decimals = self._assets[name]
        try:
            atoms = units(amount, decimals)
        except NotDecimal:
            self._refuse(f"{shown(amount)} is no decimal number: write digits, and a point between them, such as 0.5", "amount")
        except NotWhole:
            self._refuse(f"{amount} has more decimals than {name}, which has {decimals}", "amount")
        if atoms < at_least:
            self._refuse(f"{amount} is nothing that came in or went out", "amount")
        return Money(asset, atoms)

    def _time_us(self, text: str) -> int:
        try:
            return time_us(text) if text else 0
        except ValueError:
            self._refuse(f"{shown(text)} is no time as ISO 8601 has it, such as 2026-11-28T09:30:00Z", "time")

    def _refuse(self, why: str, column: str = "") -> NoReturn:
        raise ConfigError(f"{self._where}: line {self._number}{f', column {column}' if column else ''}: {why}.") from None


def time_us(text: str) -> int:
    """Of a day, which begins then, or a time as ISO 8601 has it; UTC unless it says otherwise. ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    try:
        return (found.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
    except OverflowError as error:  # of a first or last day there is, somewhere else
        raise ValueError(text) from error


def moment(time_us: int) -> str:
    """The same as text, to the microsecond where that is not zero."""
    return (EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "...")
