"""
What operators ask about an exchange, answered from its machines and views: of one that runs, or of those restored from a log.

    {"show": "listings"}                  assets and symbols, and what is held of each asset
    {"show": "accounts", "from": 0}       a page of accounts; `next` is the `from` of the next page
    {"show": "account", "account": 1001}  one, with its balances and those of its funding wallet; null where there is none
    {"show": "movement", "account": 16, "id": 7}    the account's deposit, withdrawal or transfer of that id; null where there is none
    {"show": "position"}                  how far the log is applied

A balance has `withdrawing` too: what is set aside to go out, and no longer the account's to spend.

Every answer has `sequence`, the place in the log that it holds for. Knows nothing of sockets, logs or files.
"""

from __future__ import annotations

from typing import Any, Final

from zerosum.core import codes, ledger, records, transfers
from zerosum.core.exchange import Exchange
from zerosum.core.ledger import Ledger
from zerosum.core.listings import Asset
from zerosum.core.pool import NONE
from zerosum.errors import ZerosumError
from zerosum.services.amounts import decimal_text
from zerosum.views.accounts import Account
from zerosum.views.views import Views

Json = dict[str, Any]

PAGE: Final = 1_000  # accounts in one answer: a running exchange takes no orders while it is made
NUMBER_MAX: Final = (1 << 63) - 1
ACCOUNT_STATUSES: Final = {
    codes.ACTIVE: "active",
    codes.SUSPENDED: "suspended",
    codes.CLOSED: "closed",
    codes.HOUSE: "house",
    codes.WALLET: "wallet",
}


class BadQuestion(ZerosumError):
    """Something was asked that has no answer."""


def answer(exchange: Exchange, views: Views, question: object) -> Json:
    """`views`: of the same place in the log. BadQuestion for anything that is none of the above."""
    if not isinstance(question, dict):
        raise BadQuestion("a question is a JSON object")
    show = question.get("show")
    if show == "listings":
        found = listings(exchange)
    elif show == "accounts":
        found = accounts(exchange, number(question, "from"))
    elif show == "account":
        found = {"account": account(exchange, views, number(question, "account"))}
    elif show == "movement":
        found = {"movement": movement(exchange, number(question, "account"), number(question, "id"))}
    elif show == "position":
        found = {"open_orders": int(exchange.matching.orders.live)}
    else:
        raise BadQuestion(f"show {str(show)[:40]!r} is none of listings, accounts, account, movement, position")
    return {"sequence": int(exchange.sequence), **found}


def number(question: Json, key: str) -> int:
    value = question.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= NUMBER_MAX:
        raise BadQuestion(f"{key} must be a whole number from 0 to {NUMBER_MAX}")
    return value


def listings(exchange: Exchange) -> Json:
    """As the core has them: fields of Asset and Symbol. An asset's supply is what deposits brought in and no withdrawal took out."""
    ubscore = exchange.ubscore
    books = ubscore.ledger
    supplies = [-books.available(books.house_balance(codes.OUTSIDE, asset.asset)) for asset in ubscore.listings.assets]
    return {
        "assets": [
            {**asset._asdict(), "supply": decimal_text(supply, asset.decimals)}
            for asset, supply in zip(ubscore.listings.assets, supplies, strict=True)
        ],
        "symbols": [
            {**symbol._asdict(), "status": int(book.status)}
            for symbol, book in zip(ubscore.listings.listed, exchange.matching.books, strict=True)
        ],
    }


def accounts(exchange: Exchange, first: int) -> Json:
    """Those from place `first` on, in the order in which they were opened; the exchange's own come first."""
    pool = exchange.ubscore.ledger.accounts
    end = min(first + PAGE, pool.live)
    rows = [account_row(exchange.ubscore.ledger, (place + 1) * pool.width) for place in range(first, end)]  # no account is ever removed
    return {"accounts": rows, "next": end if end < pool.live else None}


def account(exchange: Exchange, views: Views, account_id: int) -> Json | None:
    books = exchange.ubscore.ledger
    slot = books.accounts_by_id.get(account_id)
    if slot == NONE:
        return None
    wallet = account_id | codes.WALLET_BIT
    return {
        **account_row(books, slot),
        "balances": balances(exchange, slot, views.account(account_id)),
        "funding": balances(exchange, books.accounts_by_id.get(wallet), views.account(wallet)),
    }


def account_row(books: Ledger, slot: int) -> Json:
    words = books.accounts.words
    return {
        "account": int(words[slot + ledger.ID]),
        "status": ACCOUNT_STATUSES[int(words[slot + ledger.STATUS])],
        "maker_ppm": int(words[slot + ledger.MAKER_PPM]),
        "taker_ppm": int(words[slot + ledger.TAKER_PPM]),
        "open_orders": int(words[slot + ledger.OPEN_ORDERS]),
        "orders_max": int(words[slot + ledger.ORDERS_MAX]),
    }


def balances(exchange: Exchange, account_slot: int, seen: Account | None) -> list[Json]:
    """An account's, by asset; none where there is no such account. `seen`: the same in the views, which know what is set aside."""
    books, assets = exchange.ubscore.ledger, exchange.ubscore.listings.assets
    words = books.balances.words
    slot = books.accounts.words[account_slot + ledger.BALANCES] if account_slot != NONE else NONE
    found = {}
    while slot != NONE:
        asset = assets[words[slot + ledger.OWNER] & ledger.ASSET_MASK]
        available, frozen = int(words[slot + ledger.AVAILABLE]), int(words[slot + ledger.FROZEN])
        withdrawing = seen.withdrawing(asset.asset) if seen is not None else 0
        found[asset.asset] = balance_row(asset, available, frozen, withdrawing)
        slot = words[slot + ledger.NEXT]
    return [found[asset] for asset in sorted(found)]


def balance_row(asset: Asset, available: int, frozen: int, withdrawing: int) -> Json:
    return {
        "asset": asset.name,
        "available": decimal_text(available, asset.decimals),
        "frozen": decimal_text(frozen, asset.decimals),
        "withdrawing": decimal_text(withdrawing, asset.decimals),
        "available_atoms": available,
        "frozen_atoms": frozen,
        "withdrawing_atoms": withdrawing,
    }


def movement(exchange: Exchange, account_id: int, movement_id: int) -> Json | None:
    done = exchange.ubscore.transfers
    slot = done.find(account_id, movement_id)
    if slot == NONE:
        return None
    words = done.pool.words
    asset = exchange.ubscore.listings.assets[words[slot + transfers.ASSET]]
    kind = int(words[slot + transfers.KIND])
    return {
        "id": movement_id,
        "kind": records.kind_name(kind),
        "account": int(words[slot + transfers.ACCOUNT]),
        "asset": asset.name,
        "amount": decimal_text(int(words[slot + transfers.ATOMS]), asset.decimals),
        "to_account": int(words[slot + transfers.TO]) if kind in (records.TRANSFER, records.ADJUST) else None,
    }
