"""
What operators ask about a cluster, answered by their console from its views and the record: the questions of services/overview.py.

Of the house's accounts, which each shard has, the record tells: together, as they were settled.
"""

from __future__ import annotations

import asyncio
from typing import Final, final

from zerosum.core import codes, records
from zerosum.gateway.entry import Entry
from zerosum.services.amounts import decimal_text
from zerosum.services.overview import ACCOUNT_STATUSES, PAGE, BadQuestion, Json, balance_row, number
from zerosum.settlement.cql.session import Session
from zerosum.views.accounts import Account
from zerosum.views.views import Views

BALANCES: Final = "SELECT asset, available_atoms, frozen_atoms FROM balances WHERE account = ?"
MOVEMENTS: Final = (
    (records.DEPOSIT, "SELECT asset, atoms FROM deposits WHERE account = ? AND transfer_id = ?"),
    (records.WITHDRAW, "SELECT asset, atoms FROM withdrawals WHERE account = ? AND transfer_id = ?"),
    (records.REQUEST_WITHDRAWAL, "SELECT asset, atoms FROM withdrawal_requests WHERE account = ? AND transfer_id = ?"),
    (records.ADJUST, "SELECT asset, atoms, to_account FROM adjustments WHERE account = ? AND transfer_id = ?"),
    (records.TRANSFER, "SELECT asset, atoms, to_account, status FROM transfers WHERE from_account = ? AND transfer_id = ?"),
)
RETURNED: Final = "RETURNED"


@final
class ClusterOverview:
    def __init__(self, entry: Entry, views: Views, session: Session) -> None:
        self._entry = entry
        self._views = views
        self._session = session

    async def answer(self, question: object) -> Json:
        """BadQuestion, StoreFailed."""
        if not isinstance(question, dict):
            raise BadQuestion("a question is a JSON object")
        await self._be_current()
        show = question.get("show")
        if show == "listings":
            found: Json = await self._listings()
        elif show == "accounts":
            found = self._accounts(number(question, "from"))
        elif show == "account":
            found = {"account": await self._account(number(question, "account"))}
        elif show == "movement":
            found = {"movement": await self._movement(number(question, "account"), number(question, "id"))}
        else:
            raise BadQuestion(f"show {str(show)[:40]!r} is none of listings, accounts, account, movement")
        return {"sequences": [shard.sequence for shard in self._views.shards], **found}

    async def _be_current(self) -> None:
        """As far as the barriers come in time: what is shown is older where they do not."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_future() for _ in self._views.shards]
        for account_id, passed in enumerate(waits, start=codes.FIRST_USER):  # one of each shard
            self._entry.barrier(account_id, passed.set_result)
        await asyncio.gather(*waits)

    async def _listings(self) -> Json:
        listings, markets = self._views.listings, self._views.markets.by_number
        outside = {asset: -available for asset, available, _ in await self._house(codes.OUTSIDE)}
        return {
            "assets": [
                {**asset._asdict(), "supply": decimal_text(outside.get(asset.asset, 0), asset.decimals)} for asset in listings.assets
            ],
            "symbols": [
                {**listing.symbol._asdict(), "status": markets[number].status if number in markets else listing.symbol.status}
                for number, listing in enumerate(listings.by_number)
            ],
        }

    def _accounts(self, first: int) -> Json:
        ids = sorted(account_id for shard in self._views.shards for account_id in shard.accounts.by_id)
        page = [account for each in ids[first : first + PAGE] if (account := self._views.account(each)) is not None]
        end = first + len(page)
        return {"accounts": [account_row(account) for account in page], "next": end if end < len(ids) else None}

    async def _account(self, account_id: int) -> Json | None:
        if account_id < codes.FIRST_USER:
            house = sorted(await self._house(account_id))
            return house_row(account_id, [self._balance(asset, available, frozen, 0) for asset, available, frozen in house])
        account = self._views.account(account_id)
        if account is None:
            return None
        wallet = self._views.account(account_id | codes.WALLET_BIT)
        return {**account_row(account), "balances": self._held(account), "funding": self._held(wallet) if wallet is not None else []}

    async def _house(self, account_id: int) -> list[tuple[int, int, int]]:
        """By asset, of all shards together: available, frozen."""
        sums: dict[int, tuple[int, int]] = {}
        for asset, available, frozen in await self._session.execute(BALANCES, (account_id,)):
            before = sums.get(asset, (0, 0))
            sums[asset] = before[0] + available, before[1] + frozen
        return [(asset, *both) for asset, both in sums.items()]

    def _held(self, account: Account) -> list[Json]:
        return [
            self._balance(asset, available, frozen, account.withdrawing(asset))
            for asset, (available, frozen) in sorted(account.balances.items())
        ]

    def _balance(self, asset: int, available: int, frozen: int, withdrawing: int) -> Json:
        return balance_row(self._views.listings.assets[asset], available, frozen, withdrawing)

    async def _movement(self, account_id: int, movement_id: int) -> Json | None:
        for kind, statement in MOVEMENTS:
            for asset, atoms, *more in await self._session.execute(statement, (account_id, movement_id)):
                if RETURNED in more:
                    continue  # it may be used again
                listed = self._views.listings.assets[asset]
                return {
                    "id": movement_id, "kind": records.kind_name(kind), "account": account_id, "asset": listed.name,
                    "amount": decimal_text(atoms, listed.decimals), "to_account": more[0] if more else None,
                }  # fmt: skip
        return None


def account_row(account: Account) -> Json:
    return {
        "account": account.account_id,
        "status": ACCOUNT_STATUSES[account.status],
        "maker_ppm": account.maker_ppm,
        "taker_ppm": account.taker_ppm,
        "open_orders": len(account.open_orders),
        "orders_max": account.orders_max,
    }


def house_row(account_id: int, balances: list[Json]) -> Json:
    return {
        "account": account_id, "status": ACCOUNT_STATUSES[codes.HOUSE], "maker_ppm": 0, "taker_ppm": 0, "open_orders": 0, "orders_max": 0,
        "balances": balances, "funding": [],
    }  # fmt: skip
