"""
A real exchange on a real disk that is full: it refuses what it has no room for, stays up, loses nothing, and goes on when there is room.

Its log, its follower's database and its snapshots are on the same disk. tests/unit/services/test_shard.py has the shard's part alone.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.support.exchange import Door, Exchange, NotTaken, door_of
from tests.support.shard_world import ANN, BOB, opening, place, sell
from tests.support.small_disk import SmallDisk, small_disk
from zerosum.core import records
from zerosum.gateway.entry import Event
from zerosum.services.audit import Audit
from zerosum.services.datadir import DataDir
from zerosum.services.past import machine_at
from zerosum.settlement.sqlite import failed

DISK_BYTES = 16 << 20
OPTIONS = ("--segment-bytes", "131072", "--snapshot-every", "500")
BURST = 100


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(DISK_BYTES) as disk:
        (disk.outside / "data").mkdir()
        yield disk


@pytest.fixture
def data(disk: SmallDisk) -> DataDir:
    return DataDir(disk.outside / "data")


def test_what_sqlite_calls_an_io_error_is_a_full_disk_where_there_is_no_room(disk: SmallDisk, data: DataDir) -> None:
    """It says so where it can't make its file beside the WAL larger."""
    error = apsw.IOError("disk I/O error")
    assert (failed(data.settled, error).can_wait, "disk I/O error" in str(failed(data.settled, error))) == (False, True)
    disk.fill()
    assert failed(data.settled, error).can_wait
    assert "the disk is full" in str(failed(data.settled, error))


async def trade(door: Door, bursts: int) -> tuple[list[Event], str]:
    """Bursts of orders that trade. The events of all that were taken, and why the rest were not, if any were not."""
    events: list[Event] = []
    refused = ""
    for _ in range(bursts):
        for number in range(BURST):
            door.send(place(ANN) if number % 2 else sell(BOB))
        for _ in range(BURST):
            try:
                events += await asyncio.wait_for(door.reply(), 60)
            except NotTaken as why:
                refused = str(why)
    return events, refused


async def trade_until_full(door: Door) -> list[Event]:
    events: list[Event] = []
    for _ in range(200):
        more, refused = await trade(door, 1)
        events += more
        if refused:
            assert refused == "the disk is full"
            return events
    raise AssertionError("with no room for another segment, the log takes no more than two")


async def trade_when_there_is_room(door: Door) -> list[Event]:
    events: list[Event] = []
    for _ in range(300):
        more, refused = await trade(door, 1)
        events += more  # also of a burst in whose middle the room came
        if not refused:
            return events
        await asyncio.sleep(0.1)
    raise AssertionError("there is room again, and it takes nothing")


def all_is_well(data: DataDir, events: list[Event], tmp_path: Path) -> None:
    """Copied to where SQLite finds it: every check holds, and every order that was answered is in the log."""
    copy = DataDir(shutil.copytree(data.root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock")))
    assert [verdict for verdict in Audit(copy).run() if not verdict.holds] == []
    admitted = [event[4] for event in events if event[0] & 0xFF == records.ADMITTED]
    assert len(admitted) > 1000
    assert admitted == list(range(1, len(admitted) + 1)), "each order was answered once, in order"
    assert machine_at(copy, None).exchange.matching.books[0].trades >= len(admitted) // 2 - BURST


async def test_on_a_full_disk_the_exchange_stays_up_and_goes_on_when_there_is_room(disk: SmallDisk, data: DataDir, tmp_path: Path) -> None:
    async with Exchange.on(data, *OPTIONS, disk=disk) as exchange:
        await exchange.start()
        async with door_of(data) as door:
            for command in opening():
                await door.ask(command)
            events, refused = await trade(door, 5)
            assert refused == ""
            disk.fill()
            events += await trade_until_full(door)
            await asyncio.sleep(1.5)
            assert await trade(door, 1) == ([], "the disk is full"), "it is still there, and still full"
            assert "It is tried again until it can be" in exchange.errors(), "the follower is held up, too"
            disk.free()
            for _ in range(20):
                events += await trade_when_there_is_room(door)
        assert await exchange.stop() == 0
    all_is_well(data, events, tmp_path)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_ended_on_a_full_disk_it_has_everything_when_there_is_room(disk: SmallDisk, data: DataDir, tmp_path: Path, end: str) -> None:
    """After a kill the log's tail needs mending, for which there is no room either: it says so."""
    async with Exchange.on(data, *OPTIONS, disk=disk) as exchange:
        await exchange.start()
        async with door_of(data) as door:
            for command in opening():
                await door.ask(command)
            events, _ = await trade(door, 5)
            disk.fill()
            events += await trade_until_full(door)
        if end == "stop":
            assert await exchange.stop() == 0
        else:
            await exchange.kill()
            await exchange.followers_end()
            disk.fill()
            exchange.begin()
            assert await exchange.ended() == 1
            assert re.search(r"^(DiskFull|SettlementFailed): .*disk is full", exchange.errors(), re.MULTILINE)
        disk.free()
        await exchange.start()
        async with door_of(data) as door:
            events += await trade_when_there_is_room(door)
        assert await exchange.stop() == 0
    all_is_well(data, events, tmp_path)
