"""
A gateway's end of the cluster: commands out, events in.

    submit --> ShardEnd --> commands.<shard>
    account events of every shard ----> views, then answers, then barriers
    market events of every engine ----> views
    the settled record, now and then: how far it is ----> what views can let go of

By its deadline, and a read behind a barrier, a sender who was told that a command's fate is not known can find out for certain.

Always true: an event is shown by the views before anything is answered from it; a barrier is passed once the views show all that its shard
had been sent, here or by other gateways, when it was asked for; an order that ended stays in the views until it is settled, and until the
command that ended it is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, final

from zerosum.core import records
from zerosum.gateway.entry import Answer, Busy, Lost, Passed, unheard
from zerosum.log.streams import Stream
from zerosum.services.cluster.barriers import Barriers
from zerosum.services.cluster.following import follow
from zerosum.services.cluster.shard_end import SendSettings, ShardEnd
from zerosum.services.cluster.stalls import Stall
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.settlement.row_store import RowStore, StoreFailed
from zerosum.views.events import unpacked
from zerosum.views.views import Views

ORDERS: Final = frozenset({records.PLACE, records.CANCEL_REPLACE})


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    send: SendSettings = field(default_factory=SendSettings)
    pending_max: int = 50_000  # commands under way, after which the gateway is busy
    unsettled_max: int = 1_000_000  # events of a shard, after which it takes no orders: what they ended is kept until it is settled
    stalled_s: float = 5.0  # without a step of a machine that has something to do, after which nothing more is sent to it
    barrier_s: float = 10.0
    settled_poll_s: float = 0.05
    forget_s: float = 5.0  # between two times that what is settled is let go of


@final
class ClusterEntry:
    """The Entry of a gateway in a cluster. `run` feeds it; it is of use once `current` is set: the views have caught up then."""

    def __init__(
        self, topology: Topology, streams: Streams, views: Views, store: RowStore, settings: GatewaySettings, clock_us: Callable[[], int],
        probe: Callable[[str], Stream] | None = None,
    ) -> None:  # fmt: skip
        """`probe` makes streams that are only asked where they end; None: those that there are."""
        self.topology = topology
        self.current = asyncio.Event()
        self._streams = streams
        self._views = views
        self._store = store
        self._settings = settings
        self._clock_us = clock_us
        self._loop = asyncio.get_running_loop()
        self._shards = [
            ShardEnd(number, topology.shards, stream, settings.send, self._start) for number, stream in enumerate(streams.commands)
        ]
        self._barriers = [Barriers(shard, settings.barrier_s, self._start) for shard in self._shards]
        self._engines_upto = [0] * topology.partitions
        asked = Streams(topology, probe) if probe is not None else streams
        self._shard_stalls = [
            Stall(stream, partial(getattr, shard, "upto")) for stream, shard in zip(asked.commands, self._shards, strict=True)
        ]
        self._engine_stalls = [Stall(stream, partial(self._engines_upto.__getitem__, number)) for number, stream in enumerate(asked.orders)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._behind = topology.shards + topology.partitions  # streams not caught up with
        self._settled = [0] * topology.shards  # how far the record was when it was asked last

    # ------------------------------------------------------------------ Entry

    def submit(self, command: bytes, answer: Answer, lost: Lost = unheard) -> None:
        if self.under_way >= self._settings.pending_max:
            raise Busy(f"{self._settings.pending_max} commands are under way")
        number = self.topology.shard_of_command(command)
        self._refuse_if_stalled(command, number)
        if command[0] in ORDERS and self.unsettled(number) > self._settings.unsettled_max:
            raise Busy(f"settlement of shard {number} is {self.unsettled(number)} events behind")
        self._shards[number].submit(command, answer, lost)

    def _refuse_if_stalled(self, command: bytes, number: int) -> None:
        """Busy. What is not taken is not to pile up, and be carried out long after its sender was told that its fate is not known."""
        stalls = [self._shard_stalls[number]]
        if command[0] in ORDERS:
            stalls.append(self._engine_stalls[self.topology.partition_of_order(command)])
        for stall in stalls:
            if stall.seconds > self._settings.stalled_s:
                raise Busy(f"nothing is taken from {stall.name} since {stall.seconds:.0f} s")

    @property
    def stalls(self) -> list[Stall]:
        """Of every machine."""
        return [*self._shard_stalls, *self._engine_stalls]

    def all_stalled(self) -> str | None:
        """Whether no shard takes anything. Where some do, their users are served: that is no reason to be left out by a balancer."""
        seconds = min(stall.seconds for stall in self._shard_stalls)
        return f"no shard has taken anything for {seconds:.0f} s" if seconds > self._settings.stalled_s else None

    def barrier(self, account_id: int, passed: Passed) -> None:
        self._barriers[self.topology.shard_of_account(account_id)].ask(passed)

    def settled(self, account_id: int, passed: Passed, timeout_s: float) -> None:
        number = self.topology.shard_of_account(account_id)
        self._start(self._wait_for_settlement(number, self._views.shards[number].sequence, passed, timeout_s))

    def now_us(self) -> int:
        return self._clock_us()

    @property
    def lost(self) -> int:
        """Commands whose fate was not told to their senders."""
        return sum(shard.lost for shard in self._shards)

    @property
    def under_way(self) -> int:
        """Commands that are not answered."""
        return sum(shard.under_way for shard in self._shards)

    def unsettled(self, number: int) -> int:
        """Events of a shard that the record did not have when it was asked last."""
        return self._views.shards[number].sequence - self._settled[number]

    def shown_up_to(self) -> list[int]:
        """By shard: the views show all that its commands before this position caused."""
        return [shard.upto for shard in self._shards]

    # ------------------------------------------------------------------ the settled record

    async def _wait_for_settlement(self, number: int, sequence: int, passed: Passed, timeout_s: float) -> None:
        in_time = False
        try:
            async with asyncio.timeout(timeout_s):
                while await self._settled_up_to(number) < sequence:  # noqa: ASYNC110  another process settles
                    await asyncio.sleep(self._settings.settled_poll_s)
                in_time = True
        except TimeoutError:
            pass
        finally:
            passed(in_time)

    async def _forget_settled(self, number: int) -> None:
        while True:
            settled = await self._settled_up_to(number)
            self._settled[number] = max(self._settled[number], settled)
            self._views.forget_settled_events(number, self._shards[number].answered_up_to(settled))
            await asyncio.sleep(self._settings.forget_s)

    async def _settled_up_to(self, number: int) -> int:
        """0 where the store can't say: it is asked again."""
        try:
            return (await self._store.settled(self._streams.account_events[number].name)).sequence
        except StoreFailed:
            return 0

    # ------------------------------------------------------------------ events

    async def run(self) -> None:
        """Follow every stream of events, from its beginning."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.topology.shards):
                tasks.create_task(self._follow_accounts(number))
                tasks.create_task(self._forget_settled(number))
            for number in range(self.topology.partitions):
                tasks.create_task(self._follow_market(number))
            for stall in self.stalls:
                tasks.create_task(stall.watch())

    async def _follow_accounts(self, number: int) -> None:
        async for followed in follow(self._streams.account_events[number], self._caught_up):
            events = unpacked(followed.records)
            self._views.apply_account_events(number, events)
            self._shards[number].take(events, followed.upto)
            self._barriers[number].shown()

    async def _follow_market(self, number: int) -> None:
        async for followed in follow(self._streams.market_events[number], self._caught_up):
            self._views.apply_market_events(number, unpacked(followed.records))
            self._engines_upto[number] = max(self._engines_upto[number], followed.upto)

    def _caught_up(self) -> None:
        """With one more of the streams."""
        self._behind -= 1
        if not self._behind:
            self.current.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
