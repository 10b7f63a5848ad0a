"""
Accounts and the money that enters, leaves or passes between them: everything of UBSCore that is not an order.

    OPEN_ACCOUNT, SET_ACCOUNT_STATUS, SET_ACCOUNT_FEES           DEPOSIT, WITHDRAW, TRANSFER

Each is refused with the first reason that docs/reference/semantics.md lists, or done whole.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core import ledger, records
from zerosum.core.codes import (
    ACCOUNT_CLOSED,
    ACCOUNT_EXISTS,
    ACCOUNT_MAX,
    ACCOUNT_NOT_EMPTY,
    ACCOUNT_SUSPENDED,
    ACTIVE,
    AMOUNT_MAX,
    BAD_ACCOUNT,
    BAD_AMOUNT,
    CLEARING,
    CLOSED,
    FEES,
    FIRST_USER,
    HOUSE,
    INSUFFICIENT_BALANCE,
    NO_REASON,
    OUTSIDE,
    PPM,
    SUPPLY_EXCEEDED,
    SUSPENDED,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    WRONG_SHARD,
)  # fmt: skip
from zerosum.core.events import AccountEvents
from zerosum.core.ledger import Ledger
from zerosum.core.pool import NONE
from zerosum.core.roles import Peers
from zerosum.core.transfers import Transfers

DEFAULT_ORDERS_MAX: Final = 1000


def is_rate(ppm: i64) -> bool:
    return 0 <= ppm <= PPM


@final
class Treasury:
    __slots__ = ("events", "ledger", "peers", "shard", "shards", "transfers")

    def __init__(self, ledger: Ledger, transfers: Transfers, events: AccountEvents, shard: i64, shards: i64) -> None:
        self.ledger = ledger
        self.transfers = transfers
        self.events = events
        self.shard = shard
        self.shards = shards
        self.peers = Peers()  # nobody, unless there are other shards

    def is_ours(self, account_id: i64) -> bool:
        """Whether an account is of this shard. The house has one of its own in each."""
        return account_id < FIRST_USER or account_id % self.shards == self.shard

    # ------------------------------------------------------------------ accounts

    def open_account(self, account_id: i64, maker_ppm: i64, taker_ppm: i64, orders_max: i64) -> None:
        if not self.is_ours(account_id):
            return self.events.refused(records.OPEN_ACCOUNT, WRONG_SHARD, account_id, 0)
        if not FIRST_USER <= account_id <= ACCOUNT_MAX or not is_rate(maker_ppm) or not is_rate(taker_ppm) or orders_max < 0:
            return self.events.refused(records.OPEN_ACCOUNT, BAD_ACCOUNT, account_id, 0)
        if self.ledger.accounts_by_id.get(account_id) != NONE:
            return self.events.refused(records.OPEN_ACCOUNT, ACCOUNT_EXISTS, account_id, 0)
        if orders_max == 0:
            orders_max = DEFAULT_ORDERS_MAX
        self.report(self.ledger.open_account(account_id, maker_ppm, taker_ppm, orders_max))

    def set_fees(self, account_id: i64, maker_ppm: i64, taker_ppm: i64) -> None:
        account = self.user(account_id)
        reason = self.closed_fault(account)
        if reason == NO_REASON and not (is_rate(maker_ppm) and is_rate(taker_ppm)):
            reason = BAD_ACCOUNT
        if reason != NO_REASON:
            return self.events.refused(records.SET_ACCOUNT_FEES, reason, account_id, 0)
        accounts = self.ledger.accounts.words
        accounts[account + ledger.MAKER_PPM] = maker_ppm
        accounts[account + ledger.TAKER_PPM] = taker_ppm
        self.report(account)

    def set_status(self, account_id: i64, status: i64) -> None:
        account = self.user(account_id)
        reason = self.closed_fault(account)
        if reason == NO_REASON:
            reason = self.status_fault(account, status)
        if reason != NO_REASON:
            return self.events.refused(records.SET_ACCOUNT_STATUS, reason, account_id, 0)
        self.ledger.accounts.words[account + ledger.STATUS] = status
        self.report(account)

    def status_fault(self, account: i64, status: i64) -> i64:
        if status != ACTIVE and status != SUSPENDED and status != CLOSED:
            return BAD_ACCOUNT
        open_orders = self.ledger.accounts.words[account + ledger.OPEN_ORDERS]
        if status == CLOSED and (open_orders > 0 or not self.ledger.is_empty(account)):
            return ACCOUNT_NOT_EMPTY
        return NO_REASON

    def closed_fault(self, account: i64) -> i64:
        if account == NONE:
            return UNKNOWN_ACCOUNT
        if self.ledger.accounts.words[account + ledger.STATUS] == CLOSED:
            return ACCOUNT_CLOSED
        return NO_REASON

    def user(self, account_id: i64) -> i64:
        """A user's account, or 0. The house's are not for users."""
        account = self.ledger.accounts_by_id.get(account_id)
        if account != NONE and self.ledger.accounts.words[account + ledger.STATUS] == HOUSE:
            return NONE
        return account

    def report(self, account: i64) -> None:
        accounts = self.ledger.accounts.words
        self.events.account_changed(
            accounts[account + ledger.ID], accounts[account + ledger.STATUS], accounts[account + ledger.MAKER_PPM],
            accounts[account + ledger.TAKER_PPM], accounts[account + ledger.ORDERS_MAX],
        )  # fmt: skip

    # ------------------------------------------------------------------ money

    def deposit(self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64) -> None:
        reason = self.movement_fault(records.DEPOSIT, transfer_id, account_id, asset, atoms, 0)
        if reason == NO_REASON:
            reason = self.closed_fault(self.user(account_id))
        if reason == NO_REASON and atoms > self.ledger.supply_left(asset):
            reason = SUPPLY_EXCEEDED
        if reason != NO_REASON:
            return self.events.refused(records.DEPOSIT, reason, account_id, 0)
        self.move(records.DEPOSIT, transfer_id, self.ledger.accounts_by_id.get(OUTSIDE), self.user(account_id), asset, atoms)
        self.transfers.remember(transfer_id, records.DEPOSIT, account_id, asset, atoms, 0)

    def withdraw(self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64) -> None:
        reason = self.movement_fault(records.WITHDRAW, transfer_id, account_id, asset, atoms, 0)
        if reason == NO_REASON:
            reason = self.closed_fault(self.payer(account_id))
        if reason == NO_REASON:
            reason = self.payer_fault(self.payer(account_id), asset, atoms)
        if reason != NO_REASON:
            return self.events.refused(records.WITHDRAW, reason, account_id, 0)
        self.move(records.WITHDRAW, transfer_id, self.payer(account_id), self.ledger.accounts_by_id.get(OUTSIDE), asset, atoms)
        self.transfers.remember(transfer_id, records.WITHDRAW, account_id, asset, atoms, 0)

    def transfer(self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> None:
        """To an account of another shard: out of the payer's and into clearing here, and into the receiver's over there."""
        leaves = not self.is_ours(to) and to <= ACCOUNT_MAX
        reason = self.movement_fault(records.TRANSFER, transfer_id, account_id, asset, atoms, to)
        if reason == NO_REASON:
            reason = self.closed_fault(self.payer(account_id))
        if reason == NO_REASON and account_id == to:
            reason = BAD_ACCOUNT
        if reason == NO_REASON:
            reason = self.payer_fault(self.payer(account_id), asset, atoms)
        if reason == NO_REASON and not leaves:
            reason = self.closed_fault(self.user(to))
        if reason != NO_REASON:
            return self.events.refused(records.TRANSFER, reason, account_id, 0)
        self.transfers.remember(transfer_id, records.TRANSFER, account_id, asset, atoms, to)
        if leaves:
            self.send(transfer_id, self.payer(account_id), asset, atoms, to)
        else:
            self.move(records.TRANSFER, transfer_id, self.payer(account_id), self.user(to), asset, atoms)

    def send(self, transfer_id: i64, payer: i64, asset: i64, atoms: i64, to: i64) -> None:
        account_id = self.ledger.accounts.words[payer + ledger.ID]
        balance = self.ledger.balance_of(payer, asset)
        self.ledger.transfer(balance, self.ledger.house_balance(CLEARING, asset), atoms)
        self.events.words(records.TRANSFER_SENT, [transfer_id, asset, atoms, account_id, self.ledger.available(balance), to])
        self.peers.credit(transfer_id, asset, atoms, account_id, to)

    def credit(self, shard: i64, transfer_id: i64, asset: i64, atoms: i64, from_account: i64, to: i64) -> None:
        """From another shard, where it was debited. What can't be credited goes back."""
        account = self.user(to)
        reason: i64 = NO_REASON
        if not 0 <= asset < self.ledger.assets():
            reason = UNKNOWN_ASSET  # its listing is still on its way here
        else:
            reason = self.closed_fault(account)
        if reason != NO_REASON:
            return self.peers.give_back(shard, transfer_id, asset, atoms, from_account, to, reason)
        balance = self.ledger.balance_of(account, asset)
        self.ledger.transfer(self.ledger.house_balance(CLEARING, asset), balance, atoms)
        self.events.words(records.TRANSFER_ARRIVED, [transfer_id, asset, atoms, to, self.ledger.available(balance), from_account])

    def take_back(self, transfer_id: i64, asset: i64, atoms: i64, account_id: i64, to: i64, reason: i64) -> None:
        """
        What could not be credited over there. The id is free again, as after any movement that was refused. A payer that has been closed
        since is opened again, suspended: nobody loses what is theirs.
        """
        payer = self.ledger.accounts_by_id.get(account_id)
        if self.ledger.accounts.words[payer + ledger.STATUS] == CLOSED:
            self.ledger.accounts.words[payer + ledger.STATUS] = SUSPENDED
            self.report(payer)
        balance = self.ledger.balance_of(payer, asset)
        self.ledger.transfer(self.ledger.house_balance(CLEARING, asset), balance, atoms)
        self.transfers.forget(account_id, transfer_id)
        self.events.words(records.TRANSFER_RETURNED, [transfer_id, asset, atoms, account_id, self.ledger.available(balance), to, reason])

    def movement_fault(self, kind: i64, transfer_id: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> i64:
        if transfer_id < 1 or not 1 <= atoms <= AMOUNT_MAX:
            return BAD_AMOUNT
        if not 0 <= asset < self.ledger.assets():
            return UNKNOWN_ASSET
        return self.transfers.seen(transfer_id, kind, account_id, asset, atoms, to)

    def payer(self, account_id: i64) -> i64:
        """An account that money may leave: a user's, or FEES."""
        if account_id == FEES:
            return self.ledger.accounts_by_id.get(FEES)
        return self.user(account_id)

    def payer_fault(self, account: i64, asset: i64, atoms: i64) -> i64:
        if self.ledger.accounts.words[account + ledger.STATUS] == SUSPENDED:
            return ACCOUNT_SUSPENDED
        if atoms > self.ledger.available_of(account, asset):
            return INSUFFICIENT_BALANCE
        return NO_REASON

    def move(self, kind: i64, transfer_id: i64, source: i64, target: i64, asset: i64, atoms: i64) -> None:
        source_balance = self.ledger.balance_of(source, asset)
        target_balance = self.ledger.balance_of(target, asset)
        self.ledger.transfer(source_balance, target_balance, atoms)
        accounts = self.ledger.accounts.words
        self.events.transferred(
            transfer_id, kind, asset, atoms, accounts[source + ledger.ID], self.ledger.available(source_balance),
            accounts[target + ledger.ID], self.ledger.available(target_balance),
        )  # fmt: skip
