"""The golden 100,000 orders through a cluster of 2 shards and 2 engine partitions in memory: the same trades, in the same order."""

from __future__ import annotations

import csv
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zerosum.core import records
from zerosum.core.codes import BUY, FIRST_USER, LIMIT, SELL
from zerosum.log.messages import unpack
from zerosum.log.streams import Stream
from zerosum.services.cluster.memory import MemoryCluster
from zerosum.services.cluster.topology import Topology
from zerosum.services.listing_file import load_listing
from zerosum.services.replay import GOLDEN_LISTING, ORDERS_MAX
from zerosum.sim.disk import SimDisk
from zerosum.sim.loop import SimLoop

SIDES = {"buy": BUY, "sell": SELL}
BASE_ATOMS, QUOTE_ATOMS = 1, 10**6  # in the balances file's own units
LOT_UNITS = 100  # the file's quantities have 8 decimals, a lot 6


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as text:
        return list(csv.DictReader(text))


def opening(balances: list[dict[str, str]]) -> list[bytes]:
    commands = load_listing(GOLDEN_LISTING, "the listing").commands()
    users = len({row["user_id"] for row in balances})
    return commands + [records.command(records.OPEN_ACCOUNT, 0, FIRST_USER + number, 0, 0, ORDERS_MAX) for number in range(users)]


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden" / "100k"


def test_the_trades_are_the_golden_ones(golden: Path) -> None:
    loop = SimLoop()
    trades = loop.run(traded(loop, golden))
    expected = [
        (row["taker_order_id"], row["maker_order_id"], int(row["price"]), int(row["qty"]))
        for row in rows(golden / "expected_trades.csv.gz")
    ]
    assert len(trades) == len(expected)
    assert trades == expected


async def traded(loop: SimLoop, golden: Path) -> list[tuple[str, str, int, int]]:
    """Taker's and maker's order ids as in the file, price and quantity, of each trade."""
    cluster = MemoryCluster(Topology(2, 2), SimDisk(), Path("/snapshots"), loop.now_us, reserve=1 << 18)
    names: dict[int, str] = {}
    balances = rows(golden / "balances_init.csv.gz")
    accounts = {user: FIRST_USER + number for number, user in enumerate(dict.fromkeys(row["user_id"] for row in balances))}
    async with cluster.running():
        for command in opening(balances):
            await cluster.command(command)
        await cluster.quiet()  # every shard has heard of the symbol
        for number, row in enumerate(balances, start=1):
            asset = int(row["asset_id"]) - 1
            atoms = int(row["avail"]) * (BASE_ATOMS, QUOTE_ATOMS)[asset]
            if atoms:
                await cluster.command(records.command(records.DEPOSIT, 0, accounts[row["user_id"]], number, asset, atoms))
        for row in rows(golden / "orders.csv.gz"):
            assert row.get("action", "place") == "place"
            terms = records.terms(0, SIDES[row["side"].lower()], LIMIT)
            price_ticks, qty_lots = steps(row["price"], 2), steps(row["qty"], 6)
            events = await cluster.command(records.command(records.PLACE, 0, accounts[row["user_id"]], terms, price_ticks, qty_lots))
            names[events[0][4]] = row["order_id"]
            await cluster.quiet()
        assert list(cluster.auditor.cut.findings_at_rest()) == []
    found: dict[int, tuple[str, str, int, int]] = {}
    for stream in cluster.streams.market_events:
        async for trade in trades_in(stream):
            found[trade[4]] = (names[trade[8]], names[trade[9]], trade[6], trade[7] * LOT_UNITS)
    return [found[trade_id] for trade_id in sorted(found)]


async def trades_in(stream: Stream) -> AsyncIterator[tuple[int, ...]]:
    ends = await stream.ends()
    at = ends.first
    while at < ends.next:
        for appended in await stream.read(at):
            for event in records.records(unpack(appended.data, stream.name).records):
                if event[0] & 0xFF == records.TRADE:
                    yield event
            at = appended.offset + 1


def steps(text: str, decimals: int) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part[:decimals].ljust(decimals, "0"))
