"""
Every account and balance of one shard, by double entry: each movement takes from one balance what it adds to another.

    account (8 words)   ID  LINK  STATUS  MAKER_PPM  TAKER_PPM  OPEN_ORDERS  ORDERS_MAX  BALANCES
    balance (8 words)   OWNER  LINK  AVAILABLE  FROZEN  NEXT

                        OWNER      account << 16 | asset
                        AVAILABLE  atoms free to use
                        FROZEN     atoms set aside for open orders
                        BALANCES, NEXT  the account's balances, in a chain

    house balances of each asset:  OUTSIDE (where deposits come from), FEES, CLEARING (what a trade's two legs pass through)
                                   WITHDRAWALS (what is on its way out), once something is

Always true (see Ledger.check): per asset, available + frozen over all accounts is 0; of balances only OUTSIDE's and CLEARING's can be
negative. Where there is one shard, CLEARING is back at zero after each trade; where there are several, it is all of theirs that sum to
zero, together with the legs and transfers that are on their way.
Knows nothing of orders, prices or books.
"""

from __future__ import annotations

from typing import Final, final

from librt.vecs import append, vec
from mypy_extensions import i64

from zerosum.core.codes import ACCOUNT_MAX, ACTIVE, AMOUNT_MAX, CLEARING, FEES, HOUSE, OUTSIDE, WALLET, WITHDRAWALS
from zerosum.core.index import Index
from zerosum.core.pool import NONE, Pool

ID: Final = 0
STATUS: Final = 2
MAKER_PPM: Final = 3
TAKER_PPM: Final = 4
OPEN_ORDERS: Final = 5
ORDERS_MAX: Final = 6
BALANCES: Final = 7
ACCOUNT_WORDS: Final = 8

OWNER: Final = 0
AVAILABLE: Final = 2
FROZEN: Final = 3
NEXT: Final = 4
BALANCE_WORDS: Final = 8

ASSET_BITS: Final = 16
ASSET_MASK: Final = 0xFFFF
HOUSE_ACCOUNTS: Final = 3


@final
class Ledger:
    __slots__ = ("accounts", "accounts_by_id", "balances", "balances_by_owner", "house", "shards", "supply_max")

    def __init__(self, reserve: i64, shards: i64 = 1) -> None:
        self.shards = shards
        self.supply_max: i64 = AMOUNT_MAX // shards  # what may come in here, so that the supply of all shards together stays within bounds
        self.accounts = Pool(ACCOUNT_WORDS, reserve)
        self.balances = Pool(BALANCE_WORDS, reserve)
        self.accounts_by_id = Index(self.accounts, reserve)
        self.balances_by_owner = Index(self.balances, reserve)
        self.house: vec[i64] = vec[i64]()  # asset * 3 + (account - OUTSIDE) -> balance
        for account_id in range(OUTSIDE, OUTSIDE + HOUSE_ACCOUNTS):
            account = self.open_account(account_id, 0, 0, 0)
            self.accounts.words[account + STATUS] = HOUSE

    def open_account(self, account_id: i64, maker_ppm: i64, taker_ppm: i64, orders_max: i64) -> i64:
        account = self.accounts.take()
        accounts = self.accounts.words
        accounts[account + ID] = account_id
        accounts[account + STATUS] = ACTIVE
        accounts[account + MAKER_PPM] = maker_ppm
        accounts[account + TAKER_PPM] = taker_ppm
        accounts[account + OPEN_ORDERS] = 0
        accounts[account + ORDERS_MAX] = orders_max
        accounts[account + BALANCES] = NONE
        self.accounts_by_id.put(account)
        return account

    def open_asset(self, asset: i64) -> None:
        """The house balances of the next asset, whose number is the count of those before."""
        assert asset * HOUSE_ACCOUNTS == len(self.house), "assets are numbered densely"
        for account_id in range(OUTSIDE, OUTSIDE + HOUSE_ACCOUNTS):
            self.house = append(self.house, self.balance_of(self.accounts_by_id.get(account_id), asset))

    def assets(self) -> i64:
        return i64(len(self.house)) // HOUSE_ACCOUNTS

    def house_balance(self, account_id: i64, asset: i64) -> i64:
        return self.house[asset * HOUSE_ACCOUNTS + account_id - OUTSIDE]

    def balance_of(self, account: i64, asset: i64) -> i64:
        """An account's balance of an asset, opened at zero on first use."""
        owner = self.accounts.words[account + ID] << ASSET_BITS | asset
        balance = self.balances_by_owner.get(owner)
        if balance == NONE:
            balance = self.balances.take()
            balances = self.balances.words
            balances[balance + OWNER] = owner
            balances[balance + AVAILABLE] = 0
            balances[balance + FROZEN] = 0
            balances[balance + NEXT] = self.accounts.words[account + BALANCES]
            self.accounts.words[account + BALANCES] = balance
            self.balances_by_owner.put(balance)
        return balance

    def holder(self, balance: i64) -> i64:
        """The id of the account that a balance is of."""
        return self.balances.words[balance + OWNER] >> ASSET_BITS

    def available(self, balance: i64) -> i64:
        return self.balances.words[balance + AVAILABLE]

    def available_at(self, account_id: i64, asset: i64) -> i64:
        """What an account has free of an asset, by its id, which need not exist; opens no balance."""
        balance = self.balances_by_owner.get(account_id << ASSET_BITS | asset)
        if balance == NONE:
            return 0
        return self.balances.words[balance + AVAILABLE]

    def withdrawals(self, asset: i64) -> i64:
        """The balance of what is on its way out, opened at zero on first use: logs from before there was one end in the same state."""
        account = self.accounts_by_id.get(WITHDRAWALS)
        if account == NONE:
            account = self.open_account(WITHDRAWALS, 0, 0, 0)
            self.accounts.words[account + STATUS] = HOUSE
        return self.balance_of(account, asset)

    def open_wallet(self, wallet_id: i64) -> i64:
        account = self.open_account(wallet_id, 0, 0, 0)
        self.accounts.words[account + STATUS] = WALLET
        return account

    def freeze(self, balance: i64, atoms: i64) -> bool:
        """available -> frozen. False: less is available, and nothing changed: a refused order, which is an everyday outcome."""
        balances = self.balances.words
        if atoms > balances[balance + AVAILABLE]:
            return False
        balances[balance + AVAILABLE] -= atoms
        balances[balance + FROZEN] += atoms
        return True

    def release(self, balance: i64, atoms: i64) -> None:
        """frozen -> available."""
        balances = self.balances.words
        balances[balance + FROZEN] -= atoms
        balances[balance + AVAILABLE] += atoms
        assert atoms >= 0 and balances[balance + FROZEN] >= 0, "only what is frozen is released"

    def spend(self, balance: i64, to: i64, atoms: i64) -> None:
        """What an order froze goes to another balance."""
        balances = self.balances.words
        balances[balance + FROZEN] -= atoms
        balances[to + AVAILABLE] += atoms
        assert balances[balance + FROZEN] >= 0, "a trade spends only what its order froze"

    def transfer(self, source: i64, target: i64, atoms: i64) -> None:
        """Between two available balances. The caller has seen that the source may give it."""
        balances = self.balances.words
        balances[source + AVAILABLE] -= atoms
        balances[target + AVAILABLE] += atoms

    def supply_left(self, asset: i64) -> i64:
        """How much more may come in before an asset's supply passes its bound."""
        return self.supply_max + self.balances.words[self.house_balance(OUTSIDE, asset) + AVAILABLE]

    def is_empty(self, account: i64) -> bool:
        """Whether every balance of an account is zero."""
        balances = self.balances.words
        balance = self.accounts.words[account + BALANCES]
        while balance != NONE:
            if balances[balance + AVAILABLE] != 0 or balances[balance + FROZEN] != 0:
                return False
            balance = balances[balance + NEXT]
        return True

    def totals(self) -> list[int]:
        """Per asset, the sum over every account: all zeros, or there is a bug. Summed as unbounded integers."""
        balances = self.balances.words
        sums = [0] * self.assets()
        for balance in self.balances.slots():
            sums[int(balances[balance + OWNER]) & ASSET_MASK] += int(balances[balance + AVAILABLE]) + int(balances[balance + FROZEN])
        return sums

    def check(self) -> None:
        self.accounts.check()
        self.balances.check()
        self.accounts_by_id.check()
        self.balances_by_owner.check()
        assert not any(self.totals()), "every asset sums to zero"
        accounts = self.accounts.words
        balances = self.balances.words
        chained = 0
        for account in self.accounts.slots():
            balance = accounts[account + BALANCES]
            while balance != NONE:
                chained += 1
                account_id = balances[balance + OWNER] >> ASSET_BITS
                assert account_id == accounts[account + ID], "a balance hangs on its own account"
                assert balances[balance + FROZEN] >= 0, "nothing frozen is negative"
                assert balances[balance + AVAILABLE] >= 0 or account_id in (OUTSIDE, CLEARING), "no balance is negative"
                if account_id == CLEARING and self.shards == 1:
                    assert balances[balance + AVAILABLE] == 0, "clearing is back at zero after each trade"
                places_none = account_id == FEES or account_id == WITHDRAWALS or account_id > ACCOUNT_MAX
                assert not places_none or balances[balance + FROZEN] == 0, "the house and wallets place no orders"
                balance = balances[balance + NEXT]
        assert chained == self.balances.live, "every balance has an account"
