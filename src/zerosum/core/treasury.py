"""
Accounts and the money that enters, leaves or passes between them: everything of UBSCore that is not an order.

    OPEN_ACCOUNT, SET_ACCOUNT_STATUS, SET_ACCOUNT_FEES           DEPOSIT, WITHDRAW, TRANSFER, REVERSE_DEPOSIT, ADJUST
                                                                 REQUEST_WITHDRAWAL --> SETTLE_WITHDRAWAL or RETURN_WITHDRAWAL

    An account may have a funding wallet beside it: an account of its own, with the id that has WALLET_BIT set, whose money no order can
    use. It is opened when money first goes to it; its account's status counts.

Each is refused with the first reason that docs/reference/semantics.md lists, or done whole.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from zerosum.core import ledger, records, transfers
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
    BAD_REASON,
    CLEARING,
    CLOSED,
    FEES,
    FIRST_USER,
    HOLDER_MAX,
    HOUSE,
    INSUFFICIENT_BALANCE,
    MOVEMENT_ENDED,
    NO_REASON,
    OUTSIDE,
    PPM,
    SUPPLY_EXCEEDED,
    SUSPENDED,
    TRANSFER_REPEATED,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    UNKNOWN_MOVEMENT,
    WALLET,
    WALLET_BIT,
    WRONG_SHARD,
)  # fmt: skip
from zerosum.core.events import AccountEvents
from zerosum.core.ledger import Ledger
from zerosum.core.pool import NONE
from zerosum.core.roles import Peers
from zerosum.core.transfers import NOBODY, Transfers

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
        """Whether an account, or a wallet, is of this shard. The house has one of its own in each."""
        return account_id < FIRST_USER or (account_id & ACCOUNT_MAX) % self.shards == self.shard

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
        if status == CLOSED and (open_orders > 0 or not self.ledger.is_empty(account) or not self.wallet_is_empty(account)):
            return ACCOUNT_NOT_EMPTY
        return NO_REASON

    def wallet_is_empty(self, account: i64) -> bool:
        wallet = self.ledger.accounts_by_id.get(self.ledger.accounts.words[account + ledger.ID] | WALLET_BIT)
        return wallet == NONE or self.ledger.is_empty(wallet)

    def closed_fault(self, account: i64) -> i64:
        if account == NONE:
            return UNKNOWN_ACCOUNT
        if self.ledger.accounts.words[account + ledger.STATUS] == CLOSED:
            return ACCOUNT_CLOSED
        return NO_REASON

    def user(self, account_id: i64) -> i64:
        """A user's account, or 0. The house's are not for users, and a wallet is none by itself."""
        account = self.ledger.accounts_by_id.get(account_id)
        if account != NONE:
            status = self.ledger.accounts.words[account + ledger.STATUS]
            if status == HOUSE or status == WALLET:
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
        reason = self.movement_fault(records.DEPOSIT, transfer_id, account_id, asset, atoms, NOBODY)
        if reason == NO_REASON:
            reason = self.closed_fault(self.owner(account_id))
        if reason == NO_REASON and atoms > self.ledger.supply_left(asset):
            reason = SUPPLY_EXCEEDED
        if reason != NO_REASON:
            return self.events.refused(records.DEPOSIT, reason, account_id, 0)
        self.transfers.remember(transfer_id, records.DEPOSIT, account_id, asset, atoms, NOBODY)
        target = self.balance(account_id, asset)
        self.move(records.DEPOSIT, transfer_id, self.ledger.house_balance(OUTSIDE, asset), target, asset, atoms)

    def withdraw(self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64) -> None:
        reason = self.withdrawal_fault(records.WITHDRAW, transfer_id, account_id, asset, atoms)
        if reason != NO_REASON:
            return self.events.refused(records.WITHDRAW, reason, account_id, 0)
        self.transfers.remember(transfer_id, records.WITHDRAW, account_id, asset, atoms, NOBODY)
        source = self.balance(account_id, asset)
        self.move(records.WITHDRAW, transfer_id, source, self.ledger.house_balance(OUTSIDE, asset), asset, atoms)

    def withdrawal_fault(self, kind: i64, transfer_id: i64, account_id: i64, asset: i64, atoms: i64) -> i64:
        reason = self.movement_fault(kind, transfer_id, account_id, asset, atoms, NOBODY)
        if reason == NO_REASON:
            reason = self.closed_fault(self.payer(account_id))
        if reason == NO_REASON:
            reason = self.payer_fault(account_id, asset, atoms)
        return reason

    def request_withdrawal(self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64) -> None:
        """Set aside what is to leave, until it is settled or returned."""
        reason = self.withdrawal_fault(records.REQUEST_WITHDRAWAL, transfer_id, account_id, asset, atoms)
        if reason != NO_REASON:
            return self.events.refused(records.REQUEST_WITHDRAWAL, reason, account_id, 0)
        self.transfers.remember(transfer_id, records.REQUEST_WITHDRAWAL, account_id, asset, atoms, transfers.PENDING)
        source = self.balance(account_id, asset)
        self.move(records.REQUEST_WITHDRAWAL, transfer_id, source, self.ledger.withdrawals(asset), asset, atoms)

    def end_withdrawal(self, kind: i64, transfer_id: i64, account_id: i64) -> None:
        """Settled: out of the exchange. Returned: to the account, which is opened again, suspended, where it has been closed since."""
        ended = transfers.SETTLED
        if kind == records.RETURN_WITHDRAWAL:
            ended = transfers.RETURNED
        movement = self.transfers.find(account_id, transfer_id)
        reason = self.end_fault(movement, ended)
        if reason != NO_REASON:
            return self.events.refused(kind, reason, account_id, 0)
        words = self.transfers.pool.words
        asset = words[movement + transfers.ASSET]
        atoms = words[movement + transfers.ATOMS]
        self.transfers.set_state(movement, ended)
        source = self.ledger.withdrawals(asset)
        to: i64 = OUTSIDE
        target = self.ledger.house_balance(OUTSIDE, asset)
        if kind == records.RETURN_WITHDRAWAL:
            to = account_id
            self.reopen(account_id)
            target = self.balance(account_id, asset)
        self.ledger.transfer(source, target, atoms)
        left, has = self.ledger.available(source), self.ledger.available(target)
        self.events.words(records.WITHDRAWAL_ENDED, [transfer_id, kind, asset, atoms, account_id, left, to, has])

    def end_fault(self, movement: i64, ended: i64) -> i64:
        if movement == NONE or self.transfers.pool.words[movement + transfers.KIND] != records.REQUEST_WITHDRAWAL:
            return UNKNOWN_MOVEMENT
        state = self.transfers.pool.words[movement + transfers.TO]
        if state == ended:
            return TRANSFER_REPEATED
        if state != transfers.PENDING:
            return MOVEMENT_ENDED
        return NO_REASON

    def reverse_deposit(self, transfer_id: i64, account_id: i64) -> None:
        """Take back the whole of it, from what is available. Its id stays known: the same deposit again is a repeat."""
        movement = self.transfers.find(account_id, transfer_id)
        reason = self.reversal_fault(movement, account_id)
        if reason != NO_REASON:
            return self.events.refused(records.REVERSE_DEPOSIT, reason, account_id, 0)
        words = self.transfers.pool.words
        asset = words[movement + transfers.ASSET]
        atoms = words[movement + transfers.ATOMS]
        self.transfers.set_state(movement, transfers.REVERSED)
        source = self.balance(account_id, asset)
        self.move(records.REVERSE_DEPOSIT, transfer_id, source, self.ledger.house_balance(OUTSIDE, asset), asset, atoms)

    def reversal_fault(self, movement: i64, account_id: i64) -> i64:
        words = self.transfers.pool.words
        if movement == NONE or words[movement + transfers.KIND] != records.DEPOSIT:
            return UNKNOWN_MOVEMENT
        if words[movement + transfers.TO] == transfers.REVERSED:
            return TRANSFER_REPEATED
        if words[movement + transfers.ATOMS] > self.ledger.available_at(account_id, words[movement + transfers.ASSET]):
            return INSUFFICIENT_BALANCE
        return NO_REASON

    def adjust(
        self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64, to: i64, reason_1: i64, reason_2: i64
    ) -> None:  # fmt: skip
        """An operator's entry: out of one account and into another, for a reason."""
        reason = self.movement_fault(records.ADJUST, transfer_id, account_id, asset, atoms, to)
        if reason == NO_REASON and not is_reason(reason_1, reason_2):
            reason = BAD_REASON
        if reason == NO_REASON:
            reason = self.closed_fault(self.payer(account_id))
        if reason == NO_REASON and account_id == to:
            reason = BAD_ACCOUNT
        if reason == NO_REASON and atoms > self.ledger.available_at(account_id, asset):
            reason = INSUFFICIENT_BALANCE
        if reason == NO_REASON and not self.is_ours(to):
            reason = WRONG_SHARD
        if reason == NO_REASON:
            reason = self.closed_fault(self.payer(to))
        if reason != NO_REASON:
            return self.events.refused(records.ADJUST, reason, account_id, 0)
        self.transfers.remember(transfer_id, records.ADJUST, account_id, asset, atoms, to)
        source = self.balance(account_id, asset)
        target = self.balance(to, asset)
        self.ledger.transfer(source, target, atoms)
        left, has = self.ledger.available(source), self.ledger.available(target)
        self.events.words(records.ADJUSTED, [transfer_id, asset, atoms, account_id, left, to, has, reason_1, reason_2])

    def transfer(self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> None:
        """To an account of another shard: out of the payer's and into clearing here, and into the receiver's over there."""
        leaves = not self.is_ours(to) and to <= HOLDER_MAX
        reason = self.movement_fault(records.TRANSFER, transfer_id, account_id, asset, atoms, to)
        if reason == NO_REASON:
            reason = self.closed_fault(self.payer(account_id))
        if reason == NO_REASON and account_id == to:
            reason = BAD_ACCOUNT
        if reason == NO_REASON:
            reason = self.payer_fault(account_id, asset, atoms)
        if reason == NO_REASON and not leaves:
            reason = self.closed_fault(self.owner(to))
        if reason != NO_REASON:
            return self.events.refused(records.TRANSFER, reason, account_id, 0)
        self.transfers.remember(transfer_id, records.TRANSFER, account_id, asset, atoms, to)
        if leaves:
            self.send(transfer_id, account_id, asset, atoms, to)
        else:
            source = self.balance(account_id, asset)
            self.move(records.TRANSFER, transfer_id, source, self.balance(to, asset), asset, atoms)

    def send(self, transfer_id: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> None:
        balance = self.balance(account_id, asset)
        self.ledger.transfer(balance, self.ledger.house_balance(CLEARING, asset), atoms)
        self.events.words(records.TRANSFER_SENT, [transfer_id, asset, atoms, account_id, self.ledger.available(balance), to])
        self.peers.credit(transfer_id, asset, atoms, account_id, to)

    def credit(self, shard: i64, transfer_id: i64, asset: i64, atoms: i64, from_account: i64, to: i64) -> None:
        """From another shard, where it was debited. What can't be credited goes back."""
        reason: i64 = NO_REASON
        if not 0 <= asset < self.ledger.assets():
            reason = UNKNOWN_ASSET  # its listing is still on its way here
        else:
            reason = self.closed_fault(self.owner(to))
        if reason != NO_REASON:
            return self.peers.give_back(shard, transfer_id, asset, atoms, from_account, to, reason)
        balance = self.balance(to, asset)
        self.ledger.transfer(self.ledger.house_balance(CLEARING, asset), balance, atoms)
        self.events.words(records.TRANSFER_ARRIVED, [transfer_id, asset, atoms, to, self.ledger.available(balance), from_account])

    def take_back(self, transfer_id: i64, asset: i64, atoms: i64, account_id: i64, to: i64, reason: i64) -> None:
        """What could not be credited over there. The id is free again, as after any movement that was refused."""
        self.reopen(account_id)
        balance = self.balance(account_id, asset)
        self.ledger.transfer(self.ledger.house_balance(CLEARING, asset), balance, atoms)
        self.transfers.forget(account_id, transfer_id)
        self.events.words(records.TRANSFER_RETURNED, [transfer_id, asset, atoms, account_id, self.ledger.available(balance), to, reason])

    def reopen(self, account_id: i64) -> None:
        """An account that has been closed while money of it was on its way is opened again, suspended: nobody loses what is theirs."""
        owner = self.payer(account_id)
        if self.ledger.accounts.words[owner + ledger.STATUS] == CLOSED:
            self.ledger.accounts.words[owner + ledger.STATUS] = SUSPENDED
            self.report(owner)

    def movement_fault(self, kind: i64, transfer_id: i64, account_id: i64, asset: i64, atoms: i64, to: i64) -> i64:
        if transfer_id < 1 or not 1 <= atoms <= AMOUNT_MAX:
            return BAD_AMOUNT
        if not 0 <= asset < self.ledger.assets():
            return UNKNOWN_ASSET
        return self.transfers.seen(transfer_id, kind, account_id, asset, atoms, to)

    def owner(self, account_id: i64) -> i64:
        """The user's account that an account or its wallet belongs to, or 0: whose status counts."""
        if not 0 <= account_id <= HOLDER_MAX:
            return NONE
        return self.user(account_id & ACCOUNT_MAX)

    def payer(self, account_id: i64) -> i64:
        """Whose status counts where money may leave: a user's account, or FEES."""
        if account_id == FEES:
            return self.ledger.accounts_by_id.get(FEES)
        return self.owner(account_id)

    def payer_fault(self, account_id: i64, asset: i64, atoms: i64) -> i64:
        if self.ledger.accounts.words[self.payer(account_id) + ledger.STATUS] == SUSPENDED:
            return ACCOUNT_SUSPENDED
        if atoms > self.ledger.available_at(account_id, asset):
            return INSUFFICIENT_BALANCE
        return NO_REASON

    def balance(self, account_id: i64, asset: i64) -> i64:
        """Of an account whose owner exists; a wallet is opened when money first goes to it."""
        account = self.ledger.accounts_by_id.get(account_id)
        if account == NONE:
            account = self.ledger.open_wallet(account_id)
            self.report(account)
        return self.ledger.balance_of(account, asset)

    def move(self, kind: i64, transfer_id: i64, source: i64, target: i64, asset: i64, atoms: i64) -> None:
        self.ledger.transfer(source, target, atoms)
        self.events.transferred(
            transfer_id, kind, asset, atoms, self.ledger.holder(source), self.ledger.available(source), self.ledger.holder(target),
            self.ledger.available(target),
        )  # fmt: skip


def is_reason(first: i64, second: i64) -> bool:
    """One to 16 characters of ASCII that can be printed, and zeros behind them."""
    ended = False
    for word in (first, second):
        for shift in range(0, 64, 8):
            char = word >> shift & 0xFF
            if char == 0:
                ended = True
            elif ended or not 0x20 <= char <= 0x7E:
                return False
    return first & 0xFF != 0
