"""
A file of orders through the real thing: log, core, follower, and the result read from the database.

    orders.csv, balances.csv --> commands --> log (synced) --> Machine            as the live exchange does it
                                               '--> Follower --> settled.db --> trades.csv, balances.csv

Order and user ids of the files are names: a user becomes an account, and an order carries its id as its client order id. Strict file order:
every order is applied, and so settled in the core, before the next.
"""

from __future__ import annotations

import csv
import gzip
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, final

from zerosum.core import records
from zerosum.core.codes import BUY, FIRST_USER, LIMIT, SELL
from zerosum.errors import ZerosumError
from zerosum.log.file_log import FileLog
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy
from zerosum.services.listing_file import Listing, load_listing
from zerosum.services.machine import Machine

GROUP: Final = 1000  # commands a group, and a sync
ORDERS_MAX: Final = 1 << 30  # files are not held to a cap on open orders
SIDES: Final = {"buy": BUY, "sell": SELL}
GOLDEN_LISTING: Final[dict[str, Any]] = {
    "assets": [{"name": "BTC", "decimals": 8}, {"name": "USDT", "decimals": 8}],
    "symbols": [
        {
            "name": "BTCUSDT", "base": "BTC", "quote": "USDT", "tick": "0.01", "lot": "0.000001", "max_price": "1000000",
            "max_qty": "40000", "orders_max": 10_000,
        }
    ],
}  # fmt: skip
GOLDEN_DECIMALS: Final = (8, 2)  # in which the balances file counts asset 1 and asset 2


class BadRow(ZerosumError):
    """A row of an input file that can't be read, with its file and line."""


@dataclass(slots=True)
class Summary:
    accepted: int = 0
    rejected: int = 0
    canceled: int = 0
    trades: int = 0
    seconds: float = 0.0
    seconds_by_stage: dict[str, float] = field(default_factory=dict)


def rows_of(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of a CSV file, gzip or plain. BadRow when a column is missing."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt", newline="") if packed else path.open(newline="") as text:
        assert isinstance(text, io.TextIOBase)
        reader = csv.DictReader(text)
        missing = [name for name in required if name not in (reader.fieldnames or [])]
        if missing:
            raise BadRow(f"{path}: the header lacks {', '.join(missing)}; it has {', '.join(reader.fieldnames or [])}.")
        for row in reader:
            if None in row or None in row.values():
                raise BadRow(f"{path}:{reader.line_num}: the row does not have the header's {len(reader.fieldnames or [])} fields.")
            yield reader.line_num, row


def steps(text: str, size: Decimal, place: str) -> int:
    """A decimal as a whole number of ticks or lots."""
    try:
        count = Decimal(text) / size
    except InvalidOperation:
        raise BadRow(f"{place} {text!r} is no decimal number.") from None
    if not count.is_finite() or count != count.to_integral_value() or count <= 0 or count >= 1 << 62:
        raise BadRow(f"{place} {text!r} is not a positive multiple of {size}.")
    return int(count)


@final
class Replay:
    def __init__(self, out: Path, listing: dict[str, Any] | None = None, file_decimals: tuple[int, int] = GOLDEN_DECIMALS) -> None:
        """`out` must not hold a data directory yet: it gets one, under `data`."""
        self.listing: Listing = load_listing(listing or GOLDEN_LISTING, "the listing")
        self.symbol = self.listing.symbols[0]
        self.file_decimals = file_decimals
        self.data = DataDir(out / "data")
        self.data.root.mkdir(parents=True)
        self.accounts: dict[str, int] = {}  # user id in the files -> account
        self.summary = Summary()
        self._machine = Machine()
        self._pending: list[bytes] = []
        self._log = FileLog.create(self.data.log)
        self._clock_us = time.time_ns() // 1000

    def account(self, user: str) -> int:
        """A user's account, opened on first sight: without fees."""
        account = self.accounts.get(user)
        if account is None:
            account = self.accounts[user] = FIRST_USER + len(self.accounts)
            self._add(records.command(records.OPEN_ACCOUNT, self._clock_us, account, 0, 0, ORDERS_MAX))
        return account

    def balances(self, path: Path) -> None:
        for command in self.listing.commands():
            self._add(command)
        count = 0
        for line, row in rows_of(path, ("user_id", "asset_id", "avail", "frozen")):
            if row["asset_id"] not in {"1", "2"} or not row["avail"].isdigit() or row["frozen"] != "0":
                raise BadRow(f"{path}:{line}: wanted asset_id 1 or 2, avail in whole units and frozen 0, found {','.join(row.values())}.")
            account = self.account(row["user_id"])
            number = int(row["asset_id"]) - 1
            asset = (self.symbol.base, self.symbol.quote)[number]
            atoms = int(row["avail"]) * 10 ** (self.listing.assets[asset].decimals - self.file_decimals[number])
            if atoms:
                count += 1
                self._add(records.command(records.DEPOSIT, self._clock_us, account, count, asset, atoms))
        self._write()

    def orders(self, path: Path, progress: Callable[[int], None] = lambda rows: None) -> None:
        start = time.perf_counter()
        tick = Decimal(self.symbol.tick).scaleb(-self.symbol.tick_decimals)
        lot = Decimal(self.symbol.lot).scaleb(-self.symbol.lot_decimals)
        place_terms = [records.terms(self.symbol.symbol, side, LIMIT) for side in (BUY, SELL)]
        for count, (line, row) in enumerate(rows_of(path, ("order_id", "user_id", "side", "price", "qty")), start=1):
            client = records.text_words(row["order_id"], 5)
            account = self.account(row["user_id"])
            action = row.get("action", "place")
            if action == "cancel":
                self._add(records.command(records.CANCEL, self._clock_us, account, self.symbol.symbol << 32, 0, 0, *client))
            elif action == "place" and row["side"].lower() in SIDES:
                price_ticks = steps(row["price"], tick, f"{path}:{line}: price")
                qty_lots = steps(row["qty"], lot, f"{path}:{line}: qty")
                terms = place_terms[SIDES[row["side"].lower()]]
                self._add(records.command(records.PLACE, self._clock_us, account, terms, price_ticks, qty_lots, 0, 0, *client))
            else:
                raise BadRow(f"{path}:{line}: action {action!r} with side {row['side']!r}: wanted place with buy or sell, or cancel.")
            if len(self._pending) >= GROUP:
                self._write()
                progress(count)
        self._write()
        self._log.close(self._machine.attestation())
        self.summary.seconds_by_stage["log and core"] = time.perf_counter() - start

    def settle(self, progress: Callable[[int], None] = lambda sequence: None) -> None:
        """Everything from the log into the database, as the follower does it."""
        start = time.perf_counter()
        follower = Follower(self.data, policy=SnapshotPolicy())
        try:
            end = self._machine.sequence
            while follower.machine.sequence < end:
                follower.follow(min(end, follower.machine.sequence + 10 * GROUP))
                if follower.held_up_by is not None:
                    raise follower.held_up_by
                progress(follower.machine.sequence)
            follower.take_snapshot()
            assert follower.machine.attestation() == self._machine.attestation(), "follower and live core have put out the same"
        finally:
            follower.close()
        self.summary.seconds_by_stage["follower"] = time.perf_counter() - start
        self.summary.seconds = sum(self.summary.seconds_by_stage.values())

    def check(self) -> None:
        self._machine.exchange.check()

    def _add(self, command: bytes) -> None:
        self._pending.append(command)

    def _write(self) -> None:
        """One group: durable first, then applied."""
        if not self._pending:
            return
        group = b"".join(self._pending)
        self._log.append(group, count=len(self._pending), time_us=self._clock_us, attestation=self._machine.attestation())
        self._log.sync()
        self._pending.clear()
        output = self._machine.apply(group)
        for event in records.records(output.account_events):
            kind = event[0] & 0xFF
            if kind == records.ACCEPTED:
                self.summary.accepted += 1
            elif kind == records.REJECTED or (kind == records.REFUSED and event[4] == records.PLACE):
                self.summary.rejected += 1
            elif kind == records.DONE:
                self.summary.canceled += 1
        self.summary.trades = int(self._machine.exchange.matching.books[0].trades)
