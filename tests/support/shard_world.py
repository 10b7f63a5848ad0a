"""
A real shard on a log of its own: machines, log thread and views, without doors and follower.

    async with ShardWorld.on(folder, disk) as world:
        await world.command(...)            # one command, its events
        world.submit(...)                   # answers gather in world.answers, in the order in which they come
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, final

from zerosum.core import records
from zerosum.core.codes import BUY, FIRST_USER, GTC, LIMIT, SELL
from zerosum.gateway.entry import Event
from zerosum.log.disk import Disk
from zerosum.log.file_log import FileLog
from zerosum.services.clock import Clock
from zerosum.services.listing_file import load_listing
from zerosum.services.machine import Machine
from zerosum.services.replay import GOLDEN_LISTING
from zerosum.services.shard import Limits, Shard
from zerosum.views.views import Views

ANN = FIRST_USER
BOB = FIRST_USER + 1
PRICE_TICKS = 5_000_000
SEGMENT_BYTES = 1 << 16


def opening() -> list[bytes]:
    """One symbol, and two accounts with enough of both assets."""
    commands = load_listing(GOLDEN_LISTING, "the listing").commands()
    for account in (ANN, BOB):
        commands.append(records.command(records.OPEN_ACCOUNT, 0, account, 1000, 1000, 1 << 20))
        for asset in (0, 1):
            commands.append(records.command(records.DEPOSIT, 0, account, account << 1 | asset, asset, 1 << 55))
    return commands


def place(account: int = ANN, side: int = BUY, price_ticks: int = PRICE_TICKS, qty_lots: int = 1) -> bytes:
    return records.command(records.PLACE, 0, account, records.terms(0, side, LIMIT, GTC), price_ticks, qty_lots)


def sell(account: int = BOB, price_ticks: int = PRICE_TICKS, qty_lots: int = 1) -> bytes:
    return place(account, SELL, price_ticks, qty_lots)


def cancel(order_id: int, account: int = ANN) -> bytes:
    return records.command(records.CANCEL, 0, account, records.terms(0, BUY, LIMIT), order_id)


def tick() -> bytes:
    """A command that causes no event."""
    return records.command(records.TICK, 0)


class Answered(NamedTuple):
    name: int  # as `submit` was given it
    events: list[Event]


@final
class ShardWorld:
    def __init__(self, log: FileLog, limits: Limits, clock: Clock | None) -> None:
        self.log = log
        self.machine = Machine()
        self.views = Views()
        self.show: Callable[[list[Event], bytes], None] = self.views.apply  # what the shard gives each group's events to
        self.shard = Shard(self.machine, log, self, limits=limits, clock=clock)
        self.answers: list[Answered] = []

    @classmethod
    @asynccontextmanager
    async def on(
        cls, folder: Path, disk: Disk | None = None, *, limits: Limits | None = None, segment_bytes: int = SEGMENT_BYTES,
        clock: Clock | None = None,
    ) -> AsyncIterator[ShardWorld]:  # fmt: skip
        """With the market of `opening`."""
        log = FileLog.create(folder, disk=disk, segment_bytes=segment_bytes)
        world = cls(log, limits if limits is not None else Limits(), clock)
        for command in opening():
            await world.command(command)
        await world.until(lambda: log.next_is_prepared)
        try:
            yield world
        finally:
            await asyncio.wait_for(world.shard.close(), 30)

    def apply(self, account_events: list[Event], market_events: bytes) -> None:
        self.show(account_events, market_events)

    def submit(self, command: bytes, name: int = 0) -> None:
        self.shard.submit(command, lambda events: self.answers.append(Answered(name, events)))

    async def command(self, command: bytes) -> list[Event]:
        answered: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        self.shard.submit(command, answered.set_result)
        return await asyncio.wait_for(answered, 30)

    async def until(self, holds: Callable[[], bool], timeout_s: float = 30) -> None:
        """Wait, in the loop, until something holds."""
        async with asyncio.timeout(timeout_s):
            while not holds():  # noqa: ASYNC110  whatever it is, also what another thread does
                await asyncio.sleep(0.002)
