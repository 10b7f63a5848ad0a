"""
The endpoints of money in and out: users' (with a session, or with an API key in Binance's form), operators', and the venue's own programs'.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

import msgspec

from zerosum.console.access import TREASURERS, USER, OfKey, OfService, operators
from zerosum.console.actions import ROOT as ADMIN
from zerosum.console.actions import Action, Reason
from zerosum.console.http import NOT_THERE, Asked, Endpoint, Number
from zerosum.console.login import LOGIN_WEIGHT, Again, Json
from zerosum.console.machines import Machines
from zerosum.console.notes import Notes
from zerosum.console.treasury import Treasury
from zerosum.console.users import ROOT as USERS
from zerosum.core.codes import ACCOUNT_MAX, WALLET_BIT
from zerosum.gateway.decimals import Scale
from zerosum.gateway.errors import TOO_PRECISE
from zerosum.identity.keys import DEPOSIT, PAYOUT, READ, TRADE, WITHDRAW, Keys
from zerosum.identity.people import SUPPORT, TREASURY, VIEWER, People
from zerosum.identity.trail import Trail
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import APPROVED, OPEN, SENDING, AddressRecord, OrderRecord, WithdrawalRefused
from zerosum.views.views import Views

SAPI: Final = "/sapi/v1"
WITHDRAWAL_WEIGHT: Final = 600
STATUS_CODES: Final = {
    "requested": 0, "canceled": 1, "pending": 2, "refused": 3, "approved": 4, "sending": 4, "failed": 5, "settled": 6, "returned": 5,
}  # fmt: skip
TRANSFERS: Final = {"MAIN_FUNDING": True, "FUNDING_MAIN": False}


class NewAddress(Again, kw_only=True):
    asset: str
    network: str
    address: str
    memo: str = ""
    label: str = ""


class NewWithdrawal(Again, kw_only=True):
    asset: str
    amount: str
    network: str
    address: str
    memo: str = ""
    order_id: str = ""
    wallet: str = "trading"


class WalletTransfer(msgspec.Struct, forbid_unknown_fields=True):
    asset: str
    amount: str
    to: str


class Apply(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Binance: POST /sapi/v1/capital/withdraw/apply."""

    coin: str
    address: str
    amount: str
    network: str
    addressTag: str = ""  # noqa: N815  the name that clients know, like the next
    withdrawOrderId: str = ""  # noqa: N815
    walletType: int = 0  # noqa: N815


class OfCoin(msgspec.Struct, forbid_unknown_fields=True):
    coin: str = ""


class Transfer(msgspec.Struct, forbid_unknown_fields=True):
    """Binance: POST /sapi/v1/asset/transfer."""

    type: str
    asset: str
    amount: str


class FundingAsset(msgspec.Struct, forbid_unknown_fields=True):
    asset: str = ""


class InState(msgspec.Struct, forbid_unknown_fields=True):
    open: bool = True


class Reported(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    account: Number
    asset: str
    amount: str
    reference: str
    wallet: str = "trading"


class Sent(msgspec.Struct, forbid_unknown_fields=True):
    reference: str


class NotSent(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


class Adjustment(Reason, kw_only=True):
    id: Number
    source: Number
    target: Number
    asset: str
    amount: str
    ticket: str


class MoneyPages:
    """`users`, `keys`: to ask again who it is, and since when nothing of theirs has changed."""

    def __init__(self, machines: Machines, treasury: Treasury, users: People, keys: Keys, trail: Trail) -> None:
        self._machines = machines
        self.treasury = treasury
        self._users = users
        self._keys = keys
        self._notes = Notes(trail)

    def of_users(self) -> list[Endpoint]:
        return [
            Endpoint("GET", f"{USERS}/addresses", self.addresses, USER),
            Endpoint("POST", f"{USERS}/addresses", self.add_address, USER, NewAddress, LOGIN_WEIGHT),
            Endpoint("DELETE", f"{USERS}/addresses/{{name}}", self.remove_address, USER),
            Endpoint("GET", f"{USERS}/withdrawals", self.withdrawals, USER),
            Endpoint("POST", f"{USERS}/withdrawals", self.withdraw, USER, NewWithdrawal, WITHDRAWAL_WEIGHT),
            Endpoint("DELETE", f"{USERS}/withdrawals/{{holder:number}}/{{id:number}}", self.cancel, USER),
            Endpoint("POST", f"{USERS}/wallet-transfers", self.move_own, USER, WalletTransfer),
            Endpoint("GET", f"{USERS}/balances", self.balances, USER),
            Endpoint("POST", f"{SAPI}/capital/withdraw/apply", self.apply, OfKey(WITHDRAW), Apply, WITHDRAWAL_WEIGHT),
            Endpoint("GET", f"{SAPI}/capital/withdraw/history", self.history, OfKey(READ), OfCoin, 10),
            Endpoint("POST", f"{SAPI}/asset/transfer", self.transfer, OfKey(TRADE), Transfer, 10),
            Endpoint("POST", f"{SAPI}/asset/get-funding-asset", self.funding, OfKey(READ), FundingAsset),
        ]

    def of_operators(self) -> list[Endpoint]:
        return [
            Endpoint("GET", f"{ADMIN}/withdrawals", self.every_withdrawal, operators(VIEWER, SUPPORT, TREASURY), InState),
            Endpoint("POST", f"{ADMIN}/deposits", self.deposit, OfService(DEPOSIT), Reported),
            Endpoint("GET", f"{ADMIN}/payouts", self.payouts, OfService(PAYOUT)),
            Endpoint("POST", f"{ADMIN}/payouts/{{holder:number}}/{{id:number}}/send", self.send, OfService(PAYOUT)),
            Endpoint("POST", f"{ADMIN}/payouts/{{holder:number}}/{{id:number}}/settle", self.settle, OfService(PAYOUT), Sent),
            Endpoint("POST", f"{ADMIN}/payouts/{{holder:number}}/{{id:number}}/return", self.give_back, OfService(PAYOUT), NotSent),
        ]

    def actions(self) -> list[Action]:
        path = "/withdrawals/{holder:number}/{id:number}"
        return [
            Action("withdrawal.approve", f"{path}/approve", TREASURERS, self.approve, by_whom=True),
            Action("withdrawal.refuse", f"{path}/refuse", TREASURERS, self.refuse, gives_reason=True),
            Action("withdrawal.return-unrecorded", f"{path}/return", TREASURERS, self.return_unrecorded, takes_two=True),
            Action("deposit.reverse", "/deposits/{account:number}/{id:number}/reverse", TREASURERS, self.reverse_deposit, takes_two=True),
            Action("adjustment", "/adjustments", TREASURERS, self.adjust, Adjustment, takes_two=True),
        ]

    # ------------------------------------------------------------------ users, with a session

    def addresses(self, asked: Asked) -> Json:
        return {"addresses": [self._shown_address(held) for held in self.treasury.book.addresses(asked.who.account_id)]}

    def add_address(self, asked: Asked) -> Json:
        form: NewAddress = asked.form
        self._users.check_again(asked.who.name, form.password, form.code, asked.client)
        asset = self.treasury.asset(form.asset)
        with self._notes.noted(asked, "address.add", {"asset": asset.name, "network": form.network, "address": form.address}):
            held = self.treasury.book.add_address(
                asked.who.account_id, asset.name, form.network, form.address, form.memo, form.label
            )  # fmt: skip
        return self._shown_address(held)

    def remove_address(self, asked: Asked) -> Json:
        if not self.treasury.book.remove_address(asked.who.account_id, asked.parts["name"]):
            raise NOT_THERE.of()
        self._notes.tell(asked, "address.remove", {"address": asked.parts["name"]})
        return {}

    def withdrawals(self, asked: Asked) -> Json:
        return {"withdrawals": [shown_order(held) for held in self._of(asked.who.account_id)]}

    def withdraw(self, asked: Asked) -> Json:
        form: NewWithdrawal = asked.form
        self._users.check_again(asked.who.name, form.password, form.code, asked.client)
        with self._notes.noted(asked, "withdrawal.request", {"asset": form.asset, "amount": form.amount, "address": form.address}) as told:
            held = self.treasury.request(
                asked.who.account_id, form.asset, form.amount, form.network, form.address, form.memo, order_id=form.order_id,
                client=asked.client, secured_us=self._secured_us(asked.who.account_id), wallet=is_wallet(form.wallet),
            )  # fmt: skip
            told.update({"id": held.name, "state": held.record.state})
        return shown_order(held)

    def cancel(self, asked: Asked) -> Json:
        holder = asked.parts["holder"]
        if holder & ACCOUNT_MAX != asked.who.account_id:
            raise NOT_THERE.of()
        with self._notes.noted(asked, "withdrawal.cancel", {"id": asked.parts["id"]}):
            return shown_order(self.treasury.cancel(holder, asked.parts["id"]))

    def move_own(self, asked: Asked) -> Json:
        form: WalletTransfer = asked.form
        return self.treasury.move_own(asked.who.account_id, form.asset, form.amount, to_wallet=is_wallet(form.to))

    def balances(self, asked: Asked) -> Json:
        account = asked.who.account_id
        return self._machines.see(lambda views: {"trading": held_by(views, account), "funding": held_by(views, account | WALLET_BIT)})

    # ------------------------------------------------------------------ users, with an API key

    def apply(self, asked: Asked) -> Json:
        form: Apply = asked.form
        key = asked.program
        with self._notes.noted(asked, "withdrawal.request", {"asset": form.coin, "amount": form.amount, "address": form.address}) as told:
            held = self.treasury.request(
                key.account_id, form.coin, form.amount, form.network, form.address, form.addressTag, order_id=form.withdrawOrderId,
                client=asked.client, secured_us=self._secured_us(key.account_id), wallet=form.walletType == 1,
            )  # fmt: skip
            told.update({"id": held.name, "state": held.record.state})
        return {"id": held.name}

    def history(self, asked: Asked) -> list[Json]:
        form: OfCoin = asked.form
        return [shown_in_history(held) for held in self._of(asked.program.account_id) if form.coin in ("", held.record.asset)]

    def transfer(self, asked: Asked) -> Json:
        form: Transfer = asked.form
        if form.type not in TRANSFERS:
            raise WithdrawalRefused(f"type: {' or '.join(TRANSFERS)}.")
        return self.treasury.move_own(asked.program.account_id, form.asset, form.amount, to_wallet=TRANSFERS[form.type])

    def funding(self, asked: Asked) -> list[Json]:
        form: FundingAsset = asked.form
        held = self._machines.see(lambda views: held_by(views, asked.program.account_id | WALLET_BIT))
        return [
            {"asset": each["asset"], "free": each["free"], "locked": "0", "freeze": "0", "withdrawing": each["withdrawing"]}
            for each in held
            if form.asset in ("", each["asset"])
        ]

    # ------------------------------------------------------------------ operators

    def every_withdrawal(self, asked: Asked) -> Json:
        form: InState = asked.form
        book = self.treasury.book
        found = [held for held in book.undone() if held.record.state in OPEN] if form.open else book.every()
        unrecorded = [{"holder": holder, "id": number, **each._asdict()} for holder, number, each in self.treasury.unrecorded()]
        return {"withdrawals": [shown_order(held) for held in found], "unrecorded": unrecorded}

    def approve(self, holder: int, id: int, by: str) -> Json:  # noqa: A002  as it is called in the path
        return shown_order(self.treasury.approve(holder, id, by))

    def refuse(self, holder: int, id: int, reason: str) -> Json:  # noqa: A002
        return shown_order(self.treasury.refuse(holder, id, reason))

    def return_unrecorded(self, holder: int, id: int) -> Json:  # noqa: A002
        return self.treasury.return_unrecorded(holder, id)

    def reverse_deposit(self, account: int, id: int) -> Json:  # noqa: A002
        return self.treasury.reverse_deposit(account, id)

    def adjust(self, id: int, source: int, target: int, asset: str, amount: str, ticket: str) -> Json:  # noqa: A002
        return self.treasury.adjust(source, target, asset, amount, id, ticket)

    # ------------------------------------------------------------------ the venue's programs

    def deposit(self, asked: Asked) -> Json:
        form: Reported = asked.form
        about = {"account": form.account, "asset": form.asset, "amount": form.amount, "reference": form.reference}
        with self._notes.noted(asked, "deposit", about, f"account {form.account}") as told:
            done = self.treasury.deposit(form.account, form.asset, form.amount, form.reference, wallet=is_wallet(form.wallet))
            told.update(done)
        return done

    def payouts(self, asked: Asked) -> Json:
        return {"payouts": [shown_order(held) for held in self.treasury.book.undone() if held.record.state in (APPROVED, SENDING)]}

    def send(self, asked: Asked) -> Json:
        with self._of_program(asked, "withdrawal.send", {}):
            return shown_order(self.treasury.send(asked.parts["holder"], asked.parts["id"]))

    def settle(self, asked: Asked) -> Json:
        form: Sent = asked.form
        with self._of_program(asked, "withdrawal.settle", {"reference": form.reference}):
            return shown_order(self.treasury.settle(asked.parts["holder"], asked.parts["id"], form.reference))

    def give_back(self, asked: Asked) -> Json:
        form: NotSent = asked.form
        with self._of_program(asked, "withdrawal.return", {"reason": form.reason}):
            return shown_order(self.treasury.give_back(asked.parts["holder"], asked.parts["id"], form.reason))

    def _of_program(self, asked: Asked, action: str, detail: Json) -> AbstractContextManager[Json]:
        return self._notes.noted(asked, action, {"id": asked.parts["id"], **detail}, f"account {asked.parts['holder']}")

    def _secured_us(self, account: int) -> int:
        """When a password or a second factor of the account was changed last, or a key made that may withdraw."""
        changed = [person.secured_us for person in self._users.everybody() if person.account_id == account]
        made = [key.created_us for key in self._keys.list(account) if WITHDRAW in key.permissions]
        return max(changed + made, default=0)

    # ------------------------------------------------------------------ shown

    def _of(self, account: int) -> list[Held[OrderRecord]]:
        book = self.treasury.book
        return sorted(book.of_account(account) + book.of_account(account | WALLET_BIT), key=lambda held: -held.record.requested_us)

    def _shown_address(self, held: Held[AddressRecord]) -> Json:
        found: Json = msgspec.to_builtins(held.record)
        return {"name": held.name, **found, "usable_ms": self.treasury.book.usable_from_us(held.record) // 1_000}


def is_wallet(text: str) -> bool:
    """WithdrawalRefused."""
    if text not in ("trading", "funding"):
        raise WithdrawalRefused(f"wallet: trading or funding, not {text[:20]!r}.")
    return text == "funding"


def shown_order(held: Held[OrderRecord]) -> Json:
    record: Json = msgspec.to_builtins(held.record)
    return {"holder": int(held.owner), "id": int(held.name), **record}


def shown_in_history(held: Held[OrderRecord]) -> Json:
    """Binance: GET /sapi/v1/capital/withdraw/history."""
    record = held.record
    return {
        "id": held.name, "amount": record.amount, "transactionFee": "0", "coin": record.asset, "status": STATUS_CODES[record.state],
        "address": record.address, "addressTag": record.memo, "txId": record.reference, "network": record.network,
        "applyTime": record.requested_us // 1_000, "walletType": int(int(held.owner) > ACCOUNT_MAX),
    }  # fmt: skip


def held_by(views: Views, holder: int) -> list[Json]:
    account = views.account(holder)
    if account is None:
        return []
    found = []
    for number, (available, frozen) in sorted(account.balances.items()):
        asset = views.shard_of(holder).listings.assets[number]
        scale = Scale(1, asset.decimals, TOO_PRECISE)
        found.append(
            {
                "asset": asset.name,
                "free": scale.text(available),
                "locked": scale.text(frozen),
                "withdrawing": scale.text(account.withdrawing(number)),
            }
        )
    return found
