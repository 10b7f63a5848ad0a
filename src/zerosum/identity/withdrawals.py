"""
What is known of withdrawals beside the money: where they go, how far they are, how much an account may take out in a day.

    address book     an account's own addresses, each usable COOL_DOWN after it was added
    orders           requested --> pending --> approved --> sending --> settled       the money is set aside in the core all the while
                         |            |            |           +--> returned
                         |            +------------+--> canceled, refused             and then it is given back
                         +--> failed: nothing was set aside
    undone           which orders there is something to do about: written before the order is, gone once it has ended and the money is where
                     it belongs
    day totals       what an account has asked for today, asset by asset: counted before it is set aside

Always true: a rule has a limit of the day, an amount from which an operator must approve, and one from which two must; an asset without a
rule can't be withdrawn; two of an account at a time, on whatever gateways, count together.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Final, NamedTuple, final

import msgspec

from zerosum.errors import ZerosumError
from zerosum.identity.day_totals import NO_DAY, DayRecord, DayTotals
from zerosum.identity.documents import Changed
from zerosum.identity.vault import Held, Kind, Vault

ADDRESS_CHARS_MAX: Final = 128
MEMO_CHARS_MAX: Final = 64
REFERENCE_CHARS_MAX: Final = 128
ADDRESSES_MAX: Final = 100
TEXT: Final = re.compile(r"[A-Za-z0-9:_.\-]+").fullmatch

REQUESTED: Final = "requested"
PENDING: Final = "pending"
APPROVED: Final = "approved"
SENDING: Final = "sending"
REFUSED: Final = "refused"
CANCELED: Final = "canceled"
FAILED: Final = "failed"
SETTLED: Final = "settled"
RETURNED: Final = "returned"
NEVER_US: Final = 3_600_000_000
FAILED_LIVES_S: Final = 7 * 86_400  # of an order for which nothing was set aside
OPEN: Final = (REQUESTED, PENDING, APPROVED, SENDING)


class WithdrawalRefused(ZerosumError):
    """It can't be; the text says why."""


class Rule(NamedTuple):
    """Of an asset, in atoms: `per_day` of an account; above `approval` an operator approves, above `two` two do."""

    per_day: int
    approval: int
    two: int

    def approvals(self, atoms: int) -> int:
        return 2 if atoms > self.two else 1 if atoms > self.approval else 0


class RuleText(NamedTuple):
    """The same as it is set, in the asset's own units."""

    asset: str
    per_day: Decimal
    approval: Decimal
    two: Decimal

    def of(self, decimals: int) -> Rule:
        return Rule(*(int(amount.scaleb(decimals)) for amount in self[1:]))


def rule_text(text: str) -> RuleText:
    """`ASSET:per_day:approval_above:two_above`. ValueError."""
    asset, *amounts = text.split(":")
    try:
        numbers = [Decimal(amount) for amount in amounts]
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not re.fullmatch(r"[A-Z0-9]{1,16}", asset) or len(numbers) != 3 or not all(number.is_finite() for number in numbers):
        raise ValueError(text)
    rule = RuleText(asset, *numbers)
    if not 0 <= rule.approval <= rule.two or rule.per_day < 0:
        raise ValueError(text)
    return rule


class AddressRecord(msgspec.Struct, frozen=True, kw_only=True):
    asset: str
    network: str
    address: str
    memo: str = ""
    label: str = ""
    added_us: int = 0


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`needs`: how many operators must approve. `day`: in whose total it counts. `reference`: where to find it outside, once settled."""

    asset: str
    atoms: int
    amount: str
    network: str
    address: str
    memo: str
    state: str
    needs: int
    day: int
    approved_by: tuple[str, ...] = ()
    requested_us: int = 0
    changed_us: int = 0
    client: str = ""
    reason: str = ""
    reference: str = ""


class UndoneRecord(msgspec.Struct, frozen=True):
    holder: int
    number: int
    since_us: int


class DepositRecord(msgspec.Struct, frozen=True):
    """What a reference was reported for, and when first."""

    holder: int
    asset: str
    atoms: int
    reference: str
    reported_us: int

    def is_same(self, other: DepositRecord) -> bool:
        """Whether both are reports of one deposit, whenever they came."""
        return (self.holder, self.asset, self.atoms) == (other.holder, other.asset, other.atoms)


ADDRESSES: Final = Kind("address", AddressRecord)
ORDERS: Final = Kind("withdrawal", OrderRecord)
DAYS: Final = Kind("withdrawal-day", DayRecord)
"""Owner: the account; name: a hash of where it goes, the transfer id, the asset. Gateways write them, too."""

DEPOSITS: Final = Kind("console.deposit", DepositRecord)
"""Owner: a hash of the reference."""

UNDONE: Final = Kind("withdrawal-undone", UndoneRecord)
NOBODYS: Final = ""
"""One owner, so that they are listed without the others. Name: of holder and number."""


@final
class WithdrawalBook:
    """`cool_down_s`: of a new address, and of an account whose password, second factor or keys have changed."""

    def __init__(self, vault: Vault, cool_down_s: float, clock_s: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self.cool_down_s = cool_down_s
        self._clock_s = clock_s
        self._days = DayTotals(vault, DAYS, clock_s)

    # ------------------------------------------------------------------ addresses

    def add_address(self, account: int, asset: str, network: str, address: str, memo: str, label: str) -> Held[AddressRecord]:
        """WithdrawalRefused."""
        if len(self._vault.of_owner(ADDRESSES, str(account))) >= ADDRESSES_MAX:
            raise WithdrawalRefused(f"address: an account has {ADDRESSES_MAX} at most.")
        if TEXT(address) is None or len(address) > ADDRESS_CHARS_MAX:
            raise WithdrawalRefused(f"address: 1 to {ADDRESS_CHARS_MAX} letters, digits and :_.-")
        if (memo and TEXT(memo) is None) or len(memo) > MEMO_CHARS_MAX or len(label) > MEMO_CHARS_MAX or not label.isprintable():
            raise WithdrawalRefused(f"memo, label: {MEMO_CHARS_MAX} characters at most, and a memo of letters, digits and :_.-")
        if re.fullmatch(r"[A-Z0-9]{1,16}", network) is None:
            raise WithdrawalRefused("network: 1 to 16 capital letters and digits.")
        record = AddressRecord(asset=asset, network=network, address=address, memo=memo, label=label, added_us=self.now_us())
        try:
            return self._vault.put(ADDRESSES, str(account), address_name(asset, network, address, memo), record)
        except Changed as error:
            raise WithdrawalRefused("address: it is in the book already.") from error

    def addresses(self, account: int) -> list[Held[AddressRecord]]:
        return self._vault.of_owner(ADDRESSES, str(account))

    def remove_address(self, account: int, name: str) -> bool:
        there = self._vault.get(ADDRESSES, str(account), name) is not None
        self._vault.remove(ADDRESSES, str(account), name)
        return there

    def usable_from_us(self, record: AddressRecord) -> int:
        return record.added_us + int(self.cool_down_s * 1_000_000)

    # ------------------------------------------------------------------ deposits

    def report(self, reference: str, holder: int, asset: str, atoms: int) -> None:
        """Before it is credited. WithdrawalRefused where the reference was reported for something else."""
        owner, record = reference_name(reference), DepositRecord(holder, asset, atoms, reference, self.now_us())
        with suppress(Changed):
            self._vault.put(DEPOSITS, owner, "", record)
            return
        held = self._vault.get(DEPOSITS, owner)
        if held is None or not held.record.is_same(record):
            raise WithdrawalRefused("reference: it was reported for another account, wallet, asset or amount.")

    def forget_report(self, reference: str) -> None:
        """It was not credited, and can be reported for something else."""
        self._vault.remove(DEPOSITS, reference_name(reference), "")

    # ------------------------------------------------------------------ orders

    def check(self, account: int, asset: str, network: str, address: str, memo: str, secured_us: int) -> None:
        """That it goes to an address of the book, and nothing was changed lately. WithdrawalRefused."""
        now_us = self.now_us()
        if now_us < secured_us + int(self.cool_down_s * 1_000_000):
            hours = self.cool_down_s / 3_600
            raise WithdrawalRefused(f"Password, second factor or a key was changed in the last {hours:g} hours: no withdrawals until then.")
        held = self._vault.get(ADDRESSES, str(account), address_name(asset, network, address, memo))
        if held is None:
            raise WithdrawalRefused("address: it is not in the account's address book.")
        if now_us < self.usable_from_us(held.record):
            raise WithdrawalRefused("address: it was added lately, and can't be used yet.")

    def count(self, account: int, asset: str, atoms: int, rule: Rule) -> int:
        """Today, whose total has this from here on. WithdrawalRefused past the rule's limit."""
        day = self._days.count(account, asset, atoms, rule.per_day)
        if day == NO_DAY:
            raise WithdrawalRefused("amount: with it the account would pass its limit of the day.")
        return day

    def uncount(self, account: int, asset: str, atoms: int, day: int) -> None:
        """What was counted on that day, and did not go out after all."""
        self._days.uncount(account, asset, atoms, day)

    def open_order(self, account: int, order_id: int, record: OrderRecord) -> Held[OrderRecord]:
        """Changed: there is one of that id."""
        now_us = self.now_us()
        self.undo(account, order_id)
        record = msgspec.structs.replace(record, requested_us=now_us, changed_us=now_us)
        return self._vault.put(ORDERS, str(account), str(order_id), record)

    def get(self, account: int, order_id: int) -> Held[OrderRecord] | None:
        return self._vault.get(ORDERS, str(account), str(order_id))

    def of_account(self, account: int) -> list[Held[OrderRecord]]:
        """The newest first."""
        return sorted(self._vault.of_owner(ORDERS, str(account)), key=lambda held: -held.record.requested_us)

    def every(self) -> list[Held[OrderRecord]]:
        """All that there have been, the oldest first."""
        held = [each for each in self._vault.every(ORDERS) if each.owner.isdecimal() and each.name.isdecimal()]
        return sorted(held, key=lambda each: each.record.requested_us)

    def undo(self, holder: int, number: int) -> None:
        """There is something to do about it."""
        with suppress(Changed):  # it is noted already
            self._vault.put(UNDONE, NOBODYS, undone_name(holder, number), UndoneRecord(holder, number, self.now_us()))

    def undone(self) -> list[Held[OrderRecord]]:
        """Those that there is something to do about, the oldest first."""
        found = []
        for noted in self._vault.of_owner(UNDONE, NOBODYS):
            held = self.get(noted.record.holder, noted.record.number)
            if held is not None:
                found.append(held)
            elif self.now_us() > noted.record.since_us + NEVER_US:  # who was to write the order has died before
                self._vault.remove(UNDONE, NOBODYS, noted.name)
        return sorted(found, key=lambda held: held.record.requested_us)

    def done(self, held: Held[OrderRecord]) -> None:
        """It has ended, and the money is where it belongs."""
        self._vault.remove(UNDONE, NOBODYS, undone_name(int(held.owner), int(held.name)))

    def move(self, held: Held[OrderRecord], state: str, *, by: str = "", reason: str = "", reference: str = "") -> Held[OrderRecord]:
        """To another state. Changed: somebody else has done so meanwhile."""
        approved_by = (*held.record.approved_by, by) if by else held.record.approved_by
        record = msgspec.structs.replace(
            held.record, state=state, approved_by=approved_by, changed_us=self.now_us(), reason=reason or held.record.reason,
            reference=reference or held.record.reference,
        )  # fmt: skip
        lives_s = FAILED_LIVES_S if state == FAILED else 0
        return self._vault.put(ORDERS, held.owner, held.name, record, held.version, lives_s=lives_s)

    def now_us(self) -> int:
        return int(self._clock_s() * 1_000_000)


def is_reference(text: str) -> bool:
    """By which money that came in or went out can be found outside."""
    return 1 <= len(text) <= REFERENCE_CHARS_MAX and text.isprintable()


def reference_name(reference: str) -> str:
    return sha256(reference.encode()).hexdigest()


def undone_name(holder: int, number: int) -> str:
    return f"{holder}.{number}"


def address_name(asset: str, network: str, address: str, memo: str) -> str:
    return sha256(msgspec.json.encode([asset, network, address, memo])).hexdigest()[:32]


def id_of(what: str, account: int, text: str) -> int:
    """
    A transfer id from what a client or a wallet calls it: the same for the same, of 61 bits. `what`: whose names these are; a client that
    could choose the id of a deposit could have a withdrawal taken for one that was made.
    """
    return int.from_bytes(sha256(msgspec.json.encode(["zerosum movement", what, account, text])).digest()[:8], "little") >> 3 | 1
