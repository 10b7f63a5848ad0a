"""
The endpoints of money for users: with a session, or with an API key in Binance's form.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from zerosum.console.access import USER, OfKey
from zerosum.console.http import NO_SECOND_FACTOR_YET, NOT_THERE, Asked, Endpoint
from zerosum.console.login import LOGIN_WEIGHT, Again, Json
from zerosum.console.notes import Notes
from zerosum.console.treasury import Treasury
from zerosum.console.users import ROOT, check_second_factor
from zerosum.core.codes import ACCOUNT_MAX, WALLET_BIT
from zerosum.gateway.decimals import Scale
from zerosum.gateway.errors import TOO_PRECISE
from zerosum.identity.keys import READ, TRADE, WITHDRAW, Keys
from zerosum.identity.people import People, Person
from zerosum.identity.trail import Trail
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import AddressRecord, OrderRecord, WithdrawalRefused
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


@final
class MoneyPages:
    """`users`, `keys`: to ask again who it is, and since when nothing of theirs has changed. `second_factor`: of who takes money out."""

    def __init__(self, treasury: Treasury, users: People, keys: Keys, trail: Trail, *, second_factor: bool) -> None:
        self._machines = treasury.machines
        self._treasury = treasury
        self._users = users
        self._keys = keys
        self._notes = Notes(trail)
        self._second_factor = second_factor

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", f"{ROOT}/addresses", self.addresses, USER),
            Endpoint("POST", f"{ROOT}/addresses", self.add_address, USER, NewAddress, LOGIN_WEIGHT),
            Endpoint("DELETE", f"{ROOT}/addresses/{{name}}", self.remove_address, USER),
            Endpoint("GET", f"{ROOT}/withdrawals", self.withdrawals, USER),
            Endpoint("POST", f"{ROOT}/withdrawals", self.withdraw, USER, NewWithdrawal, WITHDRAWAL_WEIGHT),
            Endpoint("DELETE", f"{ROOT}/withdrawals/{{holder:number}}/{{id:number}}", self.cancel, USER),
            Endpoint("POST", f"{ROOT}/wallet-transfers", self.move_own, USER, WalletTransfer),
            Endpoint("GET", f"{ROOT}/balances", self.balances, USER),
            Endpoint("POST", f"{SAPI}/capital/withdraw/apply", self.apply, OfKey(WITHDRAW), Apply, WITHDRAWAL_WEIGHT),
            Endpoint("GET", f"{SAPI}/capital/withdraw/history", self.history, OfKey(READ), OfCoin, 10),
            Endpoint("POST", f"{SAPI}/asset/transfer", self.transfer, OfKey(TRADE), Transfer, 10),
            Endpoint("POST", f"{SAPI}/asset/get-funding-asset", self.funding, OfKey(READ), FundingAsset),
        ]

    # ------------------------------------------------------------------ users, with a session

    def addresses(self, asked: Asked) -> Json:
        return {"addresses": [self._shown_address(held) for held in self._treasury.book.addresses(asked.who.account_id)]}

    def add_address(self, asked: Asked) -> Json:
        form: NewAddress = asked.form
        check_second_factor(asked, asks=self._second_factor)
        self._users.check_again(asked.who.name, form.password, form.code, asked.client)
        asset = self._treasury.asset(form.asset)
        with self._notes.noted(asked, "address.add", {"asset": asset.name, "network": form.network, "address": form.address}):
            held = self._treasury.book.add_address(
                asked.who.account_id, asset.name, form.network, form.address, form.memo, form.label
            )  # fmt: skip
        return self._shown_address(held)

    def remove_address(self, asked: Asked) -> Json:
        if not self._treasury.book.remove_address(asked.who.account_id, asked.parts["name"]):
            raise NOT_THERE.of()
        self._notes.tell(asked, "address.remove", {"address": asked.parts["name"]})
        return {}

    def withdrawals(self, asked: Asked) -> Json:
        return {"withdrawals": [shown_order(held) for held in self._of(asked.who.account_id)]}

    def withdraw(self, asked: Asked) -> Json:
        form: NewWithdrawal = asked.form
        check_second_factor(asked, asks=self._second_factor)
        self._users.check_again(asked.who.name, form.password, form.code, asked.client)
        with self._notes.noted(asked, "withdrawal.request", {"asset": form.asset, "amount": form.amount, "address": form.address}) as told:
            held = self._treasury.request(
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
            return shown_order(self._treasury.cancel(holder, asked.parts["id"]))

    def move_own(self, asked: Asked) -> Json:
        form: WalletTransfer = asked.form
        return self._treasury.move_own(asked.who.account_id, form.asset, form.amount, to_wallet=is_wallet(form.to))

    def balances(self, asked: Asked) -> Json:
        account = asked.who.account_id
        return self._machines.see(lambda views: {"trading": held_by(views, account), "funding": held_by(views, account | WALLET_BIT)})

    # ------------------------------------------------------------------ users, with an API key

    def apply(self, asked: Asked) -> Json:
        form: Apply = asked.form
        key = asked.program
        if self._second_factor and any(not person.has_second_factor for person in self._people_of(key.account_id)):
            raise NO_SECOND_FACTOR_YET.of()
        with self._notes.noted(asked, "withdrawal.request", {"asset": form.coin, "amount": form.amount, "address": form.address}) as told:
            held = self._treasury.request(
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
        return self._treasury.move_own(asked.program.account_id, form.asset, form.amount, to_wallet=TRANSFERS[form.type])

    def funding(self, asked: Asked) -> list[Json]:
        form: FundingAsset = asked.form
        held = self._machines.see(lambda views: held_by(views, asked.program.account_id | WALLET_BIT))
        return [
            {"asset": each["asset"], "free": each["free"], "locked": "0", "freeze": "0", "withdrawing": each["withdrawing"]}
            for each in held
            if form.asset in ("", each["asset"])
        ]

    def _people_of(self, account: int) -> list[Person]:
        return [person for person in self._users.everybody() if person.account_id == account]

    def _secured_us(self, account: int) -> int:
        """When a password or a second factor of the account was changed last, or a key made that may withdraw."""
        changed = [person.secured_us for person in self._people_of(account)]
        made = [key.created_us for key in self._keys.list(account) if WITHDRAW in key.permissions]
        return max(changed + made, default=0)

    # ------------------------------------------------------------------ shown

    def _of(self, account: int) -> list[Held[OrderRecord]]:
        book = self._treasury.book
        return sorted(book.of_account(account) + book.of_account(account | WALLET_BIT), key=lambda held: -held.record.requested_us)

    def _shown_address(self, held: Held[AddressRecord]) -> Json:
        found: Json = msgspec.to_builtins(held.record)
        return {"name": held.name, **found, "usable_ms": self._treasury.book.usable_from_us(held.record) // 1_000}


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
