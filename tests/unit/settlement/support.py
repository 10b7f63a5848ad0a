"""An exchange whose events are kept command by command, to be settled in any batches; and a settled record as plain values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from zerosum.core import codes, records
from zerosum.core.exchange import Exchange
from zerosum.core.records import command, terms, text_words
from zerosum.settlement.batch import Batch
from zerosum.settlement.sqlite import SqliteStore

START_US = 1_700_000_000_000_000
BASE, QUOTE, SYMBOL = 0, 1, 0
LOT_ATOMS, TICK_LOT_ATOMS = 10, 10
MAKER_PPM, TAKER_PPM = 10_000, 20_000
ALICE, BOB, CAROL = 16, 17, 18
FUNDS_ATOMS = 1_000_000


class Run:
    """Commands applied one by one."""

    def __init__(self) -> None:
        self.exchange = Exchange(0)
        self.batches: list[Batch] = []  # one per command
        self.time_us = START_US

    def apply(self, *commands: bytes) -> None:
        for each in commands:
            account_events, market_events = b"", b""
            at = 0
            while at < len(each) or self.exchange.unfinished():
                at = self.exchange.advance(each, at)
                account_events += self.exchange.take_account_events()
                market_events += self.exchange.take_market_events()
            self.batches.append(Batch(self.exchange.sequence, account_events, market_events))

    def do(self, kind: int, *fields: int, after_us: int = 1) -> None:
        self.time_us += after_us
        self.apply(command(kind, self.time_us, *fields))

    def place(
        self, account: int, side: int, price: int, qty: int, *, order_type: int = codes.LIMIT, tif: int = 0, stp: int = 0, budget: int = 0,
        client: str = "", after_us: int = 1, symbol: int = SYMBOL,
    ) -> None:  # fmt: skip
        said = terms(symbol, side, order_type, tif, stp)
        self.do(records.PLACE, account, said, price, qty, budget, 0, *text_words(client, 5), after_us=after_us)

    def cancel(self, account: int, order_id: int) -> None:
        self.do(records.CANCEL, account, SYMBOL << 32, order_id)

    def reduce(self, account: int, order_id: int, by: int) -> None:
        self.do(records.REDUCE, account, SYMBOL << 32, order_id, 0, *(0,) * 5, by)

    def move(self, account: int, order_id: int, price: int, *, stp: int = 0) -> None:
        self.do(records.MOVE, account, terms(SYMBOL, 0, 0, 0, stp), order_id, 0, *(0,) * 5, price)


def opened_market() -> Run:
    """Two assets, a symbol, three accounts with 1,000,000 atoms of each."""
    run = Run()
    run.do(records.LIST_ASSET, BASE, 3, *text_words("BTC", 2))
    run.do(records.LIST_ASSET, QUOTE, 5, *text_words("USDT", 2))
    limits = (1, 1_000_000, 1, 1_000_000, 0, 0, 0, 0, 0, 0, 0, codes.TRADING)
    run.do(records.LIST_SYMBOL, SYMBOL, BASE, QUOTE, 1, 2, 1, 2, *limits, *text_words("BTCUSDT", 3))
    for account in (ALICE, BOB, CAROL):
        run.do(records.OPEN_ACCOUNT, account, MAKER_PPM, TAKER_PPM, 0)
        for asset in (BASE, QUOTE):
            run.do(records.DEPOSIT, account, account * 2 + asset, asset, FUNDS_ATOMS)
    return run


def joined(batches: Sequence[Batch]) -> Batch:
    """Several batches that follow each other, as one."""
    return Batch(
        batches[-1].sequence, b"".join(batch.account_events for batch in batches), b"".join(batch.market_events for batch in batches)
    )  # fmt: skip


def settle(path: Path, batches: Iterable[Batch]) -> Path:
    store = SqliteStore(path)
    for batch in batches:
        store.write(batch)
    store.close()
    return path


def settled(path: Path, run: Run) -> Path:
    return settle(path, [joined(run.batches)])


def read(path: Path, statement: str, *values: int | str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(statement, values))
    finally:
        connection.close()


def dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    tables = [name for (name,) in read(path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    return {table: sorted(read(path, f"SELECT * FROM {table}"), key=repr) for table in tables}  # noqa: S608


def forged(data: bytes, kind: int, change: Callable[[dict[str, int]], None], *, nth: int = 0) -> bytes:
    """A stream in which the nth event of a kind is changed, field by field."""
    out = b""
    seen = 0
    for event in records.records(data):
        words = event
        if event[0] & 0xFF == kind:
            if seen == nth:
                fields = records.named(event)
                change(fields)
                words = (event[0], *list(fields.values())[1:])
            seen += 1
        out += struct.pack(f"<{len(words)}q", *words)
    assert seen > nth, f"there is no {records.kind_name(kind)} number {nth}"
    return out
