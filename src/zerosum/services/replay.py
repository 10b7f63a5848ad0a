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
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from zerosum.core import records
from zerosum.core.codes import AMOUNT_MAX, BUY, FIRST_USER, LIMIT, SELL, UNKNOWN_ORDER
from zerosum.errors import ConfigError, ZerosumError
from zerosum.log.file_log import FileLog
from zerosum.services.amounts import NotDecimal, NotWhole, decimal_text, power_of_ten, units
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy
from zerosum.services.listing_file import Listing, load_listing
from zerosum.services.machine import Machine
from zerosum.views.reasons import reason_name

GROUP: Final = 1000  # commands a group, and a sync
ORDERS_MAX: Final = 1 << 30  # files are not held to a cap on open orders
ORDER_ID_CHARS_MAX: Final = 40
DIGITS_MAX: Final = 19
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
    rejected_by_reason: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: int) -> None:
        self.rejected += 1
        name = reason_name(reason)
        self.rejected_by_reason[name] = self.rejected_by_reason.get(name, 0) + 1


def rows_of(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of a CSV file, gzip or plain. BadRow where it can't be read, or a column is missing."""
    line = 0
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", newline="", encoding="utf-8") if packed else path.open(newline="", encoding="utf-8") as text:
            assert isinstance(text, io.TextIOBase)
            reader = csv.DictReader(text)
            missing = [name for name in required if name not in (reader.fieldnames or [])]
            if missing:
                raise BadRow(f"{path}: the header lacks {', '.join(missing)}; it has {', '.join(reader.fieldnames or [])[:200]}.")
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise BadRow(f"{path}:{line}: the row does not have the header's {len(reader.fieldnames or [])} fields.")
                yield line, row
    except UnicodeDecodeError as error:
        raise BadRow(f"{path}: after line {line} it is no text in UTF-8: {error.reason}. Wanted is a CSV file, gzip or plain.") from error
    except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadRow(f"{path}: after line {line} it can't be read: {error}") from error
    except OSError as error:
        raise BadRow(f"{path} can't be read: {error.strerror}.") from error


def steps(text: str, mantissa: int, decimals: int, place: str) -> int:
    """A decimal as a whole number of ticks or lots."""
    try:
        count = units(text, decimals, mantissa)
    except NotDecimal:
        raise BadRow(f"{place} {text[:80]!r} is no decimal number.") from None
    except NotWhole:
        count = 0
    if not 1 <= count <= AMOUNT_MAX:
        raise BadRow(f"{place} {text!r} is not a positive multiple of {decimal_text(mantissa, decimals)}.")
    return count


@final
class Replay:
    def __init__(self, out: Path, listing: dict[str, Any] | None = None, where: str = "the listing") -> None:
        """`out` must not hold a data directory yet: it gets one, under `data`. ConfigError for the listing, which comes from `where`."""
        self.listing: Listing = load_listing(listing or GOLDEN_LISTING, where)
        if not self.listing.symbols:
            raise ConfigError(f"{where}: there is no symbol in it to replay orders of.")
        self.symbol = self.listing.symbols[0]
        self.data = DataDir(out / "data")
        self.accounts: dict[str, int] = {}  # user id in the files -> account
        self.summary = Summary()
        self._out = out
        self._where = where
        self._made_out = not out.exists()
        self._machine = Machine()
        self._pending: list[tuple[bytes, str]] = []  # each with its place in the files
        self._clock_us = time.time_ns() // 1000
        self.data.root.mkdir(mode=0o700, parents=True)
        try:
            self._log = FileLog.create(self.data.log)
        except BaseException:
            self._remove()
            raise

    def abandon(self) -> None:
        """Take away what was made, so that the mended command finds its place free."""
        try:
            self._log.close()
        finally:
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._out if self._made_out else self.data.root)

    def account(self, user: str, place: str) -> int:
        """A user's account, opened on first sight: without fees."""
        account = self.accounts.get(user)
        if account is None:
            account = self.accounts[user] = FIRST_USER + len(self.accounts)
            self._add(records.command(records.OPEN_ACCOUNT, self._clock_us, account, 0, 0, ORDERS_MAX), place)
        return account

    def balances(self, path: Path) -> None:
        for command in self.listing.commands():
            self._add(command, self._where)
        count = 0
        for line, row in rows_of(path, ("user_id", "asset_id", "avail", "frozen")):
            place = f"{path}:{line}"
            if row["asset_id"] not in {"1", "2"} or row["frozen"] != "0":
                raise BadRow(f"{place}: wanted asset_id 1 or 2 and frozen 0, found {','.join(row.values())[:200]}.")
            account = self.account(row["user_id"], place)
            number = int(row["asset_id"]) - 1
            asset = (self.symbol.base, self.symbol.quote)[number]
            atoms = atoms_of(row["avail"], self.listing.assets[asset].decimals, GOLDEN_DECIMALS[number], place)
            if atoms:
                count += 1
                self._add(records.command(records.DEPOSIT, self._clock_us, account, count, asset, atoms), place)
        self._write()

    def orders(self, path: Path, progress: Callable[[int], None] = lambda rows: None) -> None:
        start = time.perf_counter()
        symbol = self.symbol
        place_terms = [records.terms(symbol.symbol, side, LIMIT) for side in (BUY, SELL)]
        for count, (line, row) in enumerate(rows_of(path, ("order_id", "user_id", "side", "price", "qty")), start=1):
            place = f"{path}:{line}"
            client = client_words(row["order_id"], place)
            account = self.account(row["user_id"], place)
            action = row.get("action", "place")
            if action == "cancel":
                self._add(records.command(records.CANCEL, self._clock_us, account, symbol.symbol << 32, 0, 0, *client), place)
            elif action == "place" and row["side"].lower() in SIDES:
                price_ticks = steps(row["price"], symbol.tick, symbol.tick_decimals, f"{place}: price")
                qty_lots = steps(row["qty"], symbol.lot, symbol.lot_decimals, f"{place}: qty")
                terms = place_terms[SIDES[row["side"].lower()]]
                self._add(records.command(records.PLACE, self._clock_us, account, terms, price_ticks, qty_lots, 0, 0, *client), place)
            else:
                raise BadRow(f"{place}: action {action!r} with side {row['side']!r}: wanted place with buy or sell, or cancel.")
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

    def _add(self, command: bytes, place: str) -> None:
        self._pending.append((command, place))

    def _write(self) -> None:
        """One group: durable first, then applied."""
        if not self._pending:
            return
        first = self._machine.sequence + 1
        places = [place for _, place in self._pending]
        group = b"".join([command for command, _ in self._pending])
        self._log.append(group, count=len(places), time_us=self._clock_us, attestation=self._machine.attestation())
        self._log.sync()
        self._pending.clear()
        for event in records.records(self._machine.apply(group).account_events):
            self._count(event, places[event[2] - first])
        self.summary.trades = int(self._machine.exchange.matching.books[0].trades)

    def _count(self, event: tuple[int, ...], place: str) -> None:
        """An event in the summary. BadRow where what makes the market was refused: the rest would not be what the files say."""
        summary, kind = self.summary, event[0] & 0xFF
        if kind == records.ACCEPTED:
            summary.accepted += 1
        elif kind == records.DONE:
            summary.canceled += 1
        elif kind == records.REJECTED:
            summary.reject(event[7])
        elif kind == records.REFUSED and event[4] == records.PLACE:
            summary.reject(event[5])
        elif kind == records.REFUSED and (event[4], event[5]) != (records.CANCEL, UNKNOWN_ORDER):
            raise BadRow(f"{place}: {records.kind_name(event[4])} was refused: {reason_name(event[5])}.")


def atoms_of(text: str, decimals: int, file_decimals: int, place: str) -> int:
    """An integer of the file, which counts in 10^-file_decimals, in atoms of an asset of `decimals`."""
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise BadRow(f"{place}: avail {text[:80]!r} is no whole number of at most {DIGITS_MAX} digits.")
    atoms, rest = divmod(int(text) * power_of_ten(decimals), power_of_ten(file_decimals))
    if rest or atoms > AMOUNT_MAX:
        unit, own = f"10^-{file_decimals}", f"10^-{decimals}"
        raise BadRow(f"{place}: avail {text}, which counts in {unit}, is no whole number up to {AMOUNT_MAX} in the asset's own {own}.")
    return atoms


def client_words(order_id: str, place: str) -> tuple[int, ...]:
    if not (1 <= len(order_id) <= ORDER_ID_CHARS_MAX and order_id.isascii() and order_id.isprintable()):
        raise BadRow(f"{place}: order_id {order_id[:80]!r} is not 1 to {ORDER_ID_CHARS_MAX} printable ASCII characters.")
    return records.text_words(order_id, 5)
