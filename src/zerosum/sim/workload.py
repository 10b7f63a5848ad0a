"""
What is asked of a simulated cluster: the commands of a random program, sent by many at once, and reads in between.

    Program --> the next command --> whoever is free --> some gateway --> answer | lost | the connection broke

A program's own model knows nothing of the cluster, so what it asks for is often no longer possible, or not yet: which is what clients do.
It names orders by the ids that they would have if nothing else happened; here they are translated to those that they got.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from random import Random
from typing import Any, Final, Protocol, final

from zerosum.core import records
from zerosum.core.codes import FIRST_USER
from zerosum.gateway.entry import Busy, Entry, Event
from zerosum.services.cluster.topology import Topology
from zerosum.sim.chance import Chance, delay_s
from zerosum.sim.cluster import break_off
from zerosum.sim.faults import Faults
from zerosum.sim.history import ANSWERED, BROKEN, BUSY, LOST, Asked, History, Read
from zerosum.sim.loop import SimLoop
from zerosum.sim.plan import Plan
from zerosum.sim.process import Life
from zerosum.sim.programs import Program, Step
from zerosum.views.views import Views

NETWORK_S: Final = 0.0005
PAUSE_S: Final = 0.005  # between a client's requests
SLOW_S: Final = 1.0
ORDER_ID: Final = slice(records.ORDER_ID_AT * 8, (records.ORDER_ID_AT + 1) * 8)
TIME: Final = slice(8, 16)
NAMES_AN_ORDER: Final = frozenset({records.CANCEL, records.REDUCE, records.MOVE, records.CANCEL_REPLACE})
SETS_UP: Final = frozenset({records.LIST_ASSET, records.LIST_SYMBOL, records.OPEN_ACCOUNT})
ORDERS_KEPT: Final = 512
READS: Final = 0.1  # of what is asked


class Door(Protocol):
    """What clients reach of a process: a gateway's, or the embedded exchange's."""

    @property
    def life(self) -> Life: ...

    @property
    def entry(self) -> Entry: ...

    @property
    def views(self) -> Views: ...

    @property
    def under_way(self) -> dict[asyncio.Future[Any], None]: ...  # in the order in which they began

    @property
    def is_current(self) -> bool: ...


class World(Protocol):
    """What a workload needs of the world."""

    @property
    def loop(self) -> SimLoop: ...

    @property
    def plan(self) -> Plan: ...

    @property
    def chance(self) -> Chance: ...

    @property
    def faults(self) -> Faults: ...

    @property
    def topology(self) -> Topology: ...

    @property
    def gateways(self) -> Mapping[str, Door]: ...


@final
class Workload:
    """`done`: how many commands have been sent, of all there are."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.history = History()
        self.done = 0
        self._random = world.chance.source("workload")
        self._program: Iterator[Step] = islice(Program(world.plan.seed, world.plan.flavour), world.plan.commands)
        self._order_ids: dict[int, int] = {}  # as the program has it -> as the cluster gave it
        self._recent: deque[int] = deque(maxlen=ORDERS_KEPT)
        self._accounts: list[int] = []

    async def set_up(self) -> None:
        """The listings and accounts that a program begins with, one after the other and before anything fails."""
        while True:
            step = next(self._program)
            asked = await self.ask(step)
            if step.command[0] not in SETS_UP:
                return
            assert asked.outcome == ANSWERED, "nothing fails yet"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for number in range(self.world.plan.workers):
                workers.create_task(self._work(self.world.chance.source(f"worker {number}")))

    async def _work(self, random: Random) -> None:
        for step in self._program:
            await asyncio.sleep(delay_s(random, PAUSE_S))
            if self._accounts and random.random() < READS:
                await self.read(random.choice(self._accounts))
            if self.world.faults.happens("client vanishes", None):
                task = asyncio.get_running_loop().create_task(self.ask(step))  # nobody waits for it
                task.add_done_callback(lambda done: done.exception())
            else:
                await self.ask(step)

    # ------------------------------------------------------------------ asking

    async def ask(self, step: Step) -> Asked:
        """Send a command, and hear what becomes of it."""
        command = self._translated(step.command)
        name, gateway = await self._gateway()
        shard = self.world.topology.shard_of_command(command)
        asked = self.history.ask(command, shard, name, self.world.loop.time())
        await asyncio.sleep(delay_s(self._random, NETWORK_S))
        if self.world.faults.happens("client is slow", None):
            await asyncio.sleep(self._random.uniform(0, SLOW_S))
        heard: asyncio.Future[tuple[str, list[Event]] | None] = asyncio.get_running_loop().create_future()
        self._submit(gateway, asked, heard)
        said = await heard
        asked.told_s = self.world.loop.time()
        asked.outcome, asked.events = said if said is not None else (BROKEN, [])
        self.done += 1
        self._learn(step, asked)
        return asked

    def _submit(self, gateway: Door, asked: Asked, heard: asyncio.Future[tuple[str, list[Event]] | None]) -> None:
        """In the gateway's process; what it says takes its time to come back."""
        life = gateway.life

        def tell(outcome: str, events: list[Event]) -> None:
            if life.is_alive:
                gateway.under_way.pop(heard, None)
                self.world.loop.world_later(delay_s(self._random, NETWORK_S), hear, heard, (outcome, events))

        if not life.is_alive:
            return break_off(heard)
        gateway.under_way[heard] = None
        try:
            life.context.run(gateway.entry.submit, asked.command, lambda events: tell(ANSWERED, list(events)), lambda: tell(LOST, []))
        except Busy:
            tell(BUSY, [])

    async def _gateway(self) -> tuple[str, Door]:
        """One that has caught up."""
        while True:
            ready = [(name, each) for name, each in self.world.gateways.items() if each.is_current and each.life.is_alive]
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

    def _learn(self, step: Step, asked: Asked) -> None:
        wanted = [event["order_id"] for event in step.account_events if event["kind"] == records.ADMITTED]
        got = [event[4] for event in asked.events if event[0] & 0xFF == records.ADMITTED]
        self._recent.extend(got)
        self._order_ids.update(zip(wanted, got, strict=False))
        for event in asked.events:
            if event[0] & 0xFF == records.ACCOUNT_CHANGED and event[4] >= FIRST_USER and event[4] not in self._accounts:
                self._accounts.append(event[4])

    # ------------------------------------------------------------------ reading

    async def read(self, account: int) -> None:
        """What a gateway shows of an account, behind a barrier."""
        name, gateway = await self._gateway()
        asked_s = self.world.loop.time()
        heard: asyncio.Future[Read | None] = asyncio.get_running_loop().create_future()
        life = gateway.life

        def passed(in_time: bool) -> None:
            if life.is_alive:
                gateway.under_way.pop(heard, None)
                read = self._seen(name, gateway, account, asked_s) if in_time else None
                self.world.loop.world_later(delay_s(self._random, NETWORK_S), hear, heard, read)

        gateway.under_way[heard] = None
        life.context.run(gateway.entry.barrier, account, passed)
        read = await heard
        if read is not None:
            self.history.reads.append(read)

    def _seen(self, name: str, gateway: Door, account: int, asked_s: float) -> Read:
        shard = self.world.topology.shard_of_account(account)
        found = gateway.views.account(account)
        sequence = gateway.views.shards[shard].sequence
        if found is None:
            return Read(name, account, shard, asked_s, sequence, {}, {})
        orders = {order.order_id: (order.open_lots, order.price_ticks) for order in found.open_orders.values()}
        return Read(name, account, shard, asked_s, sequence, dict(found.balances), orders)


def hear(future: asyncio.Future[object], said: object) -> None:
    if not future.done():
        future.set_result(said)
