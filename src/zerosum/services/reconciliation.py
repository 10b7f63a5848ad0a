"""
A statement of somebody outside, held against what the console and the ledger know of the same money.

    statement   lines: what came in, what went out, what is there at the end
    book        the console's: deposits that were reported, withdrawals that were handed out and settled, each with its reference
    record      the ledger's: deposits, withdrawals, how each ended, what accounts hold

    missing_here      a line that nothing here has          missing_there     here, and in no line
    amount, asset     not as much, not the same             twice_there       a line more than there is of it here
    reversed_here     a line of a deposit that was taken back here
    address           it went to another address there
    no_reference      in the ledger, and nobody has said by which reference it is found outside
    balance           what is held there is not what accounts hold here
    book_and_record   the console's knowledge and the ledger's are not of one mind

Every line is looked for in all that the exchange has. What the exchange has is looked for among the lines only where `Wanted` says so.

Always true: a line has a difference, or agrees with one thing here, which agrees with no other line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, NamedTuple

from zerosum.identity.identities import Identities
from zerosum.identity.payouts import PAYOUTS, PayoutRecord
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import DEPOSITS, SETTLED, DepositRecord, id_of
from zerosum.services.statement import BALANCE, DEPOSIT, WITHDRAWAL, Line, Money
from zerosum.settlement import rows
from zerosum.settlement.movements import Id, Movement, Movements

MISSING_HERE: Final = "missing_here"
MISSING_THERE: Final = "missing_there"
AMOUNT: Final = "amount"
ASSET: Final = "asset"
TWICE_THERE: Final = "twice_there"
REVERSED_HERE: Final = "reversed_here"
ADDRESS: Final = "address"
NO_REFERENCE: Final = "no_reference"
UNEQUAL: Final = "balance"
BOOK_AND_RECORD: Final = "book_and_record"


class Wanted(NamedTuple):
    """What of the exchange is looked for: from a time on, before another one, of some assets. None, and no assets: of all."""

    since_us: int = 0
    until_us: int | None = None
    assets: frozenset[int] = frozenset()

    def has(self, time_us: int, money: Money | None) -> bool:
        in_time = self.since_us <= time_us and self.is_before_end(time_us)
        return in_time and (not self.assets or money is None or money.asset in self.assets)

    def is_before_end(self, time_us: int) -> bool:
        return self.until_us is None or time_us < self.until_us


class Difference(NamedTuple):
    """`type`: of the line. `there`, `here`: of the statement, and of the exchange. `line`: 0 where none is meant. `holder`, `id`: here."""

    kind: str
    type: str
    reference: str = ""
    there: Money | None = None
    here: Money | None = None
    line: int = 0
    holder: int = 0
    id: int = 0
    time_us: int = 0
    why: str = ""


class Own(NamedTuple):
    """Of the exchange, to be found outside by its reference. `is_due`: a statement must have it."""

    type: str
    reference: str
    money: Money
    holder: int
    id: int
    time_us: int
    is_due: bool = True
    is_reversed: bool = False
    address: str = ""

    def difference(self, kind: str, why: str = "", line: Line | None = None) -> Difference:
        there, number = (line.money, line.number) if line is not None else (None, 0)
        return Difference(kind, self.type, self.reference, there, self.money, number, self.holder, self.id, self.time_us, why)


class Found(NamedTuple):
    """`agree`: how many lines."""

    differences: list[Difference]
    agree: int


@dataclass(frozen=True, slots=True)
class Book:
    """What the console knows."""

    reports: list[Held[DepositRecord]]
    payouts: list[Held[PayoutRecord]]

    @classmethod
    def of(cls, identities: Identities) -> Book:
        """DocumentsFailed."""
        vault = identities.vault
        return cls(vault.every(DEPOSITS), vault.every(PAYOUTS))


def reconcile(lines: list[Line], book: Book, record: Movements, wanted: Wanted) -> Found:
    """Differences of lines in their order, and then what no line has, the oldest first."""
    told = [*deposits(book, record), *withdrawals(book, record)]
    own = [each for each in told if isinstance(each, Own)]
    found = [*paired(lines, own, wanted), *balances(lines, record, wanted)]
    found += [each for each in told if isinstance(each, Difference) and wanted.has(each.time_us, each.here)]
    found.sort(key=lambda each: (each.line == 0, each.line, each.time_us, each.id))
    return Found(found, len(lines) - len({each.line for each in found if each.line}))


# ------------------------------------------------------------------ what the exchange has


def deposits(book: Book, record: Movements) -> Iterator[Own | Difference]:
    assets = {listed.name: asset for asset, listed in record.assets.items()}
    reported: set[Id] = set()
    for held in book.reports:
        report, reference = held.record, held.record.reference
        if report.asset not in assets:  # the record may be so far behind that the asset is not listed there
            continue
        key = (report.holder, id_of("deposit", report.holder, reference))
        said, credited, end = Money(assets[report.asset], report.atoms), record.deposits.get(key), record.ends.get(key)
        reported.add(key)
        if credited is None:
            own = Own(DEPOSIT, reference, said, *key, report.reported_us, is_due=False)
            yield own.difference(BOOK_AND_RECORD, "it was reported, and is not credited")
        else:
            own = Own(DEPOSIT, reference, money_of(credited), *key, credited.time_us, is_due=end is None, is_reversed=end is not None)
            if own.money != said:
                yield own.difference(BOOK_AND_RECORD, "it was reported as another amount or asset")
        yield own
    for key, credited in record.deposits.items():
        if key not in reported and key not in record.ends:
            yield of_ledger(NO_REFERENCE, DEPOSIT, credited, credited.time_us)


def withdrawals(book: Book, record: Movements) -> Iterator[Own | Difference]:
    settled: set[Id] = set()
    for held in book.payouts:
        payout = held.record
        if payout.state != SETTLED:
            continue
        holder, _, number = held.owner.partition(".")
        key = (int(holder), int(number))
        settled.add(key)
        asked, end = record.requests.get(key), record.ends.get(key)
        if asked is None:
            why = "it was sent, and never set aside in the ledger"
            yield Difference(BOOK_AND_RECORD, WITHDRAWAL, payout.reference, holder=key[0], id=key[1], time_us=payout.since_us, why=why)
            continue
        time_us = end.time_us if end is not None else payout.since_us
        own = Own(WITHDRAWAL, payout.reference, money_of(asked), *key, time_us, address=payout.address)
        yield own
        if end is None or end.state != rows.SETTLED:
            became = "still set aside" if end is None else end.state.lower()
            yield own.difference(BOOK_AND_RECORD, f"it was sent, and in the ledger it is {became}")
        elif (payout.asset, payout.atoms) != (record.assets[own.money.asset].name, own.money.atoms):
            yield own.difference(BOOK_AND_RECORD, "it was handed out as another amount or asset")
    for key, asked in record.requests.items():
        end = record.ends.get(key)
        if end is not None and end.state == rows.SETTLED and key not in settled:
            why = "it is settled in the ledger, and nobody was told to send it"
            yield of_ledger(BOOK_AND_RECORD, WITHDRAWAL, asked, end.time_us, why)
    for gone in record.withdrawals.values():
        yield of_ledger(NO_REFERENCE, WITHDRAWAL, gone, gone.time_us)


def of_ledger(kind: str, what: str, movement: Movement, time_us: int, why: str = "") -> Difference:
    return Difference(
        kind, what, here=money_of(movement), holder=movement.account, id=movement.transfer_id, time_us=time_us, why=why
    )  # fmt: skip


def money_of(movement: Movement) -> Money:
    return Money(movement.asset, movement.atoms)


# ------------------------------------------------------------------ beside each other


def paired(lines: list[Line], own: list[Own], wanted: Wanted) -> Iterator[Difference]:
    """Of one reference those that agree are put together first, so that what is left over is what differs."""
    theirs, ours = defaultdict[tuple[str, str], list[Line]](list), defaultdict[tuple[str, str], list[Own]](list)
    for line in lines:
        if line.type != BALANCE:
            theirs[line.type, line.reference].append(line)
    for each in own:
        ours[each.type, each.reference].append(each)
    for key in theirs | ours:
        yield from beside(theirs[key], ours[key], wanted)


def beside(lines: list[Line], own: list[Own], wanted: Wanted) -> Iterator[Difference]:
    unmatched, left = [], list(own)
    for line in lines:
        same = next((each for each in left if each.money == line.money), None)
        if same is None:
            unmatched.append(line)
            continue
        left.remove(same)
        yield from differences(line, same)
    for other, each in zip_longest(unmatched, left):
        if each is None:
            kind = TWICE_THERE if own else MISSING_HERE
            yield Difference(kind, other.type, other.reference, other.money, line=other.number, time_us=other.time_us)
        elif other is not None:
            yield from differences(other, each)
        elif each.is_due and wanted.has(each.time_us, each.money):
            yield each.difference(MISSING_THERE, "another one here has its line" if lines else "")


def differences(line: Line, own: Own) -> Iterator[Difference]:
    if line.money.asset != own.money.asset:
        yield own.difference(ASSET, line=line)
    elif line.money != own.money:
        yield own.difference(AMOUNT, line=line)
    if own.is_reversed:
        yield own.difference(REVERSED_HERE, line=line)
    if line.address and own.address and line.address != own.address:
        yield own.difference(ADDRESS, f"to {line.address} there, to {own.address} here", line)


def balances(lines: list[Line], record: Movements, wanted: Wanted) -> Iterator[Difference]:
    held = record.held if wanted.until_us is None else held_at_end(record, wanted)
    for line in lines:
        here = Money(line.money.asset, held.get(line.money.asset, 0))
        if line.type == BALANCE and line.money != here:
            yield Difference(UNEQUAL, BALANCE, "", line.money, here, line.number, time_us=line.time_us)


def held_at_end(record: Movements, wanted: Wanted) -> Mapping[int, int]:
    """What had come in by then, less what had gone out: accounts hold that, whatever they trade."""
    held: dict[int, int] = defaultdict(int)

    def add(movement: Movement, time_us: int, sign: int) -> None:
        if wanted.is_before_end(time_us):
            held[movement.asset] += sign * movement.atoms

    for movement in record.deposits.values():
        add(movement, movement.time_us, 1)
    for movement in record.withdrawals.values():
        add(movement, movement.time_us, -1)
    for key, end in record.ends.items():
        if end.state != rows.RETURNED:
            add(record.deposits[key] if end.state == rows.REVERSED else record.requests[key], end.time_us, -1)
    return held
