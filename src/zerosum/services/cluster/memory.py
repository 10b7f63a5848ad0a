"""
A whole cluster in one process: every role's loop over streams in memory, and a gateway's end. For tests, and to see how one works.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, final

from zerosum.gateway.entry import Event
from zerosum.log.disk import Disk
from zerosum.log.memory_streams import MemoryStream
from zerosum.log.messages import position
from zerosum.services.cluster.auditor import Auditor
from zerosum.services.cluster.control import Operators
from zerosum.services.cluster.gateway import ClusterEntry, GatewaySettings
from zerosum.services.cluster.role import Bounds, Role, RoleSettings
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.shard_end import SendSettings
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.services.cluster.wiring import Wiring
from zerosum.settlement.row_store import MemoryRowStore
from zerosum.views.views import Views

RESERVE: Final = 1 << 12  # records in each pool of each machine
ANSWER_S: Final = 60.0


class NoAnswer(Exception):
    """What became of a command is not known."""


@final
class MemoryCluster:
    def __init__(
        self, topology: Topology, disk: Disk, folder: Path, clock_us: Callable[[], int], *, reserve: int = RESERVE,
        snapshot_every: int = 1_000_000, linger_s: float = 0.0, streams: Streams | None = None,
        operators: Operators | None = None, bounds: Bounds | None = None,
    ) -> None:  # fmt: skip
        """`folder`: of the roles' snapshots, on `disk`. `streams`: those of a cluster that was, to go on from."""
        self.topology = topology
        self.streams = streams if streams is not None else Streams(topology, lambda name: MemoryStream(name, clock_us))
        self.store = MemoryRowStore()
        self.views = Views(topology.shards, topology.partitions)
        self.auditor = Auditor(self.streams)
        wiring = Wiring(topology, self.streams, reserve=reserve, operators=operators)

        def settings(role: str) -> SnapshotSettings:
            return SnapshotSettings(folder / role, every=snapshot_every)

        def of_machine(role: str) -> RoleSettings:
            return RoleSettings(settings(role), patience_s=0, bounds=bounds or Bounds())

        self.shards = [wiring.shard(number, of_machine(f"ubscore.{number}"), disk) for number in range(topology.shards)]
        self.engines = [wiring.partition(number, of_machine(f"matching.{number}"), disk) for number in range(topology.partitions)]
        self.settlements = [
            wiring.account_settlement(number, self.store, settings(f"settlement.account.{number}"), disk)
            for number in range(topology.shards)
        ] + [
            wiring.market_settlement(number, self.store, settings(f"settlement.market.{number}"), disk)
            for number in range(topology.partitions)
        ]
        gateway = GatewaySettings(SendSettings(linger_s=linger_s, answer_s=ANSWER_S), barrier_s=ANSWER_S)
        self.entry = ClusterEntry(topology, self.streams, self.views, self.store, gateway, clock_us)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MemoryCluster]:
        """With every role's loop as a task. What one raises is raised here."""
        async with asyncio.TaskGroup() as tasks:
            works = [role.run() for role in (*self.shards, *self.engines)] + [each.run() for each in self.settlements]
            started = [tasks.create_task(work) for work in (*works, self.entry.run(), self.auditor.run())]
            await self.entry.current.wait()
            yield self
            for task in started:
                task.cancel()

    async def command(self, command: bytes) -> list[Event]:
        """Submit a command, and its events once it is answered. NoAnswer."""
        answered: asyncio.Future[list[Event] | None] = asyncio.get_running_loop().create_future()
        self.entry.submit(command, answered.set_result, lambda: answered.set_result(None))
        events = await answered
        if events is None:
            raise NoAnswer
        return events

    async def quiet(self) -> None:
        """Until nothing is under way any more."""
        while not self.is_quiet():  # noqa: ASYNC110  of many loops at once
            await asyncio.sleep(0)

    def is_quiet(self) -> bool:
        shards = zip(self.shards, self.streams.commands, self.entry.shown_up_to(), strict=True)
        return all(is_idle(role, source) and upto >= position(length(source)) for role, source, upto in shards) and all(
            is_idle(role, source) for role, source in zip(self.engines, self.streams.orders, strict=True)
        )


def is_idle(role: Role, source: object) -> bool:
    return role.machine.next_offset >= length(source) and role.outbox.waits_since() is None


def length(stream: object) -> int:
    assert isinstance(stream, MemoryStream), "all streams are in memory"
    return stream.next_offset
