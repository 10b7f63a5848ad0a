"""
What is asked of a simulated cluster: the commands of a random program, sent by many at once, and reads in between.

    Program --> the next command --> whoever is free --> some gateway's Entry --> answer | lost | the connection broke
    bots    --> requests over the API, beside it: see bots.py

A program's own model knows nothing of the cluster, so what it asks for is often no longer possible, or not yet: which is what clients do.
It names orders by the ids that they would have if nothing else happened; here they are translated to those that they got.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Final, final

from zerosum.core import records
from zerosum.core.codes import FIRST_USER
from zerosum.gateway.entry import Busy, Event
from zerosum.sim.bots import Bot
from zerosum.sim.chance import delay_s
from zerosum.sim.faults import Thing
from zerosum.sim.history import ANSWERED, BUSY, LOST, Read
from zerosum.sim.programs import Program, Step
from zerosum.sim.world import Door, World, break_off

NETWORK_S: Final = 0.0005
PAUSE_S: Final = 0.005  # between a client's requests
SLOW_S: Final = 1.0
ORDER_ID: Final = slice(records.ORDER_ID_AT * 8, (records.ORDER_ID_AT + 1) * 8)
TIME: Final = slice(8, 16)
NAMES_AN_ORDER: Final = frozenset({records.CANCEL, records.REDUCE, records.MOVE, records.CANCEL_REPLACE})
SETS_UP: Final = frozenset({records.LIST_ASSET, records.LIST_SYMBOL, records.OPEN_ACCOUNT})
ORDERS_KEPT: Final = 512
READS: Final = 0.1  # of what is asked
ACTIONS_SHARE: Final = 10  # what a bot does, to all commands
CLIENT: Final = Thing("client", "sends commands")


@final
class Workload:
    def __init__(self, world: World) -> None:
        self.world = world
        self.history = world.history
        self._random = world.chance.source("workload")
        self._program: Iterator[Step] = islice(Program(world.plan.seed, world.plan.flavour), world.plan.commands)
        self._order_ids: dict[int, int] = {}  # as the program has it -> as the cluster gave it
        self._recent: deque[int] = deque(maxlen=ORDERS_KEPT)
        self._accounts: list[int] = []

    async def set_up(self) -> None:
        """The listings and accounts that a program begins with, one after the other and before anything fails."""
        while True:
            step = next(self._program)
            said = await self.ask(step)
            if step.command[0] not in SETS_UP:
                return
            assert said is not None and said[0] == ANSWERED, "nothing fails yet"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for number in range(self.world.plan.workers):
                workers.create_task(self._work(self.world.chance.source(f"worker {number}")))
            for number in range(self.world.plan.bots if self._accounts else 0):
                random = self.world.chance.source(f"bot {number}")
                bot = Bot(self.world, number, random.choice(self._accounts), random)
                workers.create_task(bot.run(self.world.plan.commands // ACTIONS_SHARE))

    async def _work(self, random: Random) -> None:
        for step in self._program:
            await asyncio.sleep(delay_s(random, PAUSE_S))
            if self._accounts and random.random() < READS:
                await self.read(random.choice(self._accounts))
            if self.world.faults.happens("client vanishes", CLIENT):
                task = asyncio.get_running_loop().create_task(self.ask(step))  # nobody waits for it
                task.add_done_callback(lambda done: done.exception())
            else:
                await self.ask(step)

    # ------------------------------------------------------------------ asking

    async def ask(self, step: Step) -> tuple[str, list[Event]] | None:
        """Send a command, and hear what becomes of it: outcome and events. None: the connection broke."""
        command = self._translated(step.command)
        door = await self._open_door()
        await asyncio.sleep(delay_s(self._random, NETWORK_S))
        if self.world.faults.happens("client is slow", CLIENT):
            await asyncio.sleep(self._random.uniform(0, SLOW_S))
        heard: asyncio.Future[tuple[str, list[Event]] | None] = asyncio.get_running_loop().create_future()
        self._submit(door, command, heard)
        said = await heard
        if said is not None:
            self._learn(step, said[1])
        return said

    def _submit(self, door: Door, command: bytes, heard: asyncio.Future[tuple[str, list[Event]] | None]) -> None:
        """In the gateway's process; what it says takes its time to come back."""

        def tell(outcome: str, events: list[Event]) -> None:
            if door.life.is_alive:
                door.under_way.pop(heard, None)
                self.world.loop.world_later(delay_s(self._random, NETWORK_S), hear, heard, (outcome, events))

        if not door.life.is_alive:
            return break_off(heard)
        door.under_way[heard] = None
        try:
            door.life.context.run(door.recorder.submit, command, lambda events: tell(ANSWERED, list(events)), lambda: tell(LOST, []))
        except Busy:
            tell(BUSY, [])

    async def _open_door(self) -> Door:
        """Of a gateway that has caught up."""
        while True:
            ready = [door for door in self.world.doors.values() if door.is_open]
            if ready:
                return self._random.choice(ready)
            await asyncio.sleep(0.01)

    def _translated(self, command: bytes) -> bytes:
        command = command[: TIME.start] + bytes(8) + command[TIME.stop :]
        if command[0] not in NAMES_AN_ORDER:
            return command
        order_id = int.from_bytes(command[ORDER_ID], "little", signed=True)
        if order_id <= 0:
            return command
        other = self._order_ids.get(order_id)
        if other is None:
            other = self._random.choice(self._recent) if self._recent else order_id & 0xFFFF
        return command[: ORDER_ID.start] + other.to_bytes(8, "little", signed=True) + command[ORDER_ID.stop :]

    def _learn(self, step: Step, events: list[Event]) -> None:
        wanted = [event["order_id"] for event in step.account_events if event["kind"] == records.ADMITTED]
        got = [event[4] for event in events if event[0] & 0xFF == records.ADMITTED]
        self._recent.extend(got)
        self._order_ids.update(zip(wanted, got, strict=False))
        for event in events:
            if event[0] & 0xFF == records.ACCOUNT_CHANGED and event[4] >= FIRST_USER and event[4] not in self._accounts:
                self._accounts.append(event[4])

    # ------------------------------------------------------------------ reading

    async def read(self, account: int) -> None:
        """What a gateway shows of an account, behind a barrier."""
        asked_s = self.world.loop.time()
        door = await self._open_door()
        heard: asyncio.Future[Read | None] = asyncio.get_running_loop().create_future()
        number = len(self.history.asked)

        def passed(in_time: bool) -> None:
            if door.life.is_alive:
                door.under_way.pop(heard, None)
                read = self._seen(door, account, asked_s, number) if in_time else None
                self.world.loop.world_later(delay_s(self._random, NETWORK_S), hear, heard, read)

        door.under_way[heard] = None
        door.life.context.run(door.entry.barrier, account, passed)
        read = await heard
        if read is not None:
            self.history.reads.append(read)

    def _seen(self, door: Door, account: int, asked_s: float, number: int) -> Read:
        shard = self.world.topology.shard_of_account(account)
        found = door.views.account(account)
        sequence = door.views.shards[shard].sequence
        if found is None:
            return Read(door.recorder.session, account, shard, asked_s, number, sequence, {}, {})
        orders = {order.order_id: (order.open_lots, order.price_ticks) for order in found.open_orders.values()}
        return Read(door.recorder.session, account, shard, asked_s, number, sequence, dict(found.balances), orders)


def hear(future: asyncio.Future[object], said: object) -> None:
    if not future.done():
        future.set_result(said)
