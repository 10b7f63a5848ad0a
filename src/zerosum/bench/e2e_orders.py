"""
What the end-to-end run places in its first part: users with funds, orders in the order of a file, and the trades that must come of them.

    orders     order_id,user_id,side,price,qty
    balances   user_id,asset_id,avail,frozen,version        asset 1 is the base, 2 the quote
    trades     as `zerosum replay` writes them
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from zerosum.services.listing_file import Listing, load_listing
from zerosum.services.replay import GOLDEN_DECIMALS, GOLDEN_LISTING, rows_of


class FileOrder(NamedTuple):
    """`user`: its place among the users. Price and quantity as they stand in the file."""

    order_id: str
    user: int
    side: str  # BUY or SELL
    price: str
    qty: str


@dataclass(frozen=True, slots=True)
class OrderSet:
    """
    `users`: their names in the files; `funds`: atoms of base and quote, of each.

    `balances`: available and frozen atoms at the end, by account and asset, where they are known; `rejected`: how many orders must be.
    """

    users: Sequence[str]
    funds: Sequence[tuple[int, int]]
    orders: Sequence[FileOrder]
    trades_csv: str
    rejected: int = 0
    balances: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)


def listing() -> Listing:
    return load_listing(GOLDEN_LISTING, "the listing")


def read_order_set(orders: Path, balances: Path, trades: Path) -> OrderSet:
    """BadRow for what can't be read."""
    decimals = [asset.decimals for asset in listing().assets]
    places: dict[str, int] = {}
    funds: list[list[int]] = []
    for _, row in rows_of(balances, ("user_id", "asset_id", "avail")):
        user = places.setdefault(row["user_id"], len(places))
        if user == len(funds):
            funds.append([0, 0])
        number = int(row["asset_id"]) - 1
        funds[user][number] += int(row["avail"]) * 10 ** (decimals[number] - GOLDEN_DECIMALS[number])
    found = [
        FileOrder(row["order_id"], places[row["user_id"]], row["side"].upper(), trimmed(row["price"]), trimmed(row["qty"]))
        for _, row in rows_of(orders, ("order_id", "user_id", "side", "price", "qty"))
    ]
    return OrderSet(list(places), [(base, quote) for base, quote in funds], found, text_of(trades))


def trimmed(decimal: str) -> str:
    """Without zeros at the end, of which a file may have more than the gateway takes."""
    return format(Decimal(decimal).normalize(), "f")


def text_of(path: Path) -> str:
    """A text file, gzip or plain."""
    data = path.read_bytes()
    return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
