"""
What each role of a cluster is joined to, on one page.

                        +--> orders.P ------> matching P --> market-events.P ---> settlement, gateways, auditor
    gateways --> commands.S --> ubscore S <-- outcomes --+
                   ^  ^---- links of other shards        +--> account-events.S --> settlement, gateways, auditor
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from zerosum.log.disk import Disk
from zerosum.services.cluster.control import Decisions, Operators
from zerosum.services.cluster.machines import RESERVE, PartitionMachine, ShardMachine
from zerosum.services.cluster.role import Role, RoleSettings
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.settlement import Settlement, account_memory, market_memory
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.settlement.row_store import RowStore


def unheard(line: str) -> None:
    """Nobody wants to know."""


@final
class Wiring:
    """
    One for all roles of a process: of a stream there is one reader at a time. `reserve`: records of room in each of a machine's pools.
    """

    def __init__(
        self, topology: Topology, streams: Streams, report: Callable[[str], None] = unheard, reserve: int = RESERVE,
        operators: Operators | None = None,
    ) -> None:  # fmt: skip
        self.topology = topology
        self.streams = streams
        self._report = report
        self._decisions = Decisions(streams.control, operators or Operators(), report)
        self._reserve = reserve

    def shard(self, number: int, settings: RoleSettings, disk: Disk) -> Role:
        streams = self.streams
        shared = [*streams.orders, *streams.commands]
        machine = ShardMachine(number, self.topology, self._reserve, settings.bounds.output_bytes)
        source, own = streams.commands[number], streams.account_events[number]
        return Role(machine, source, shared, own, self._decisions, settings, disk, self._report)

    def partition(self, number: int, settings: RoleSettings, disk: Disk) -> Role:
        streams = self.streams
        machine = PartitionMachine(number, self.topology, self._reserve, settings.bounds.output_bytes)
        source, own = streams.orders[number], streams.market_events[number]
        return Role(machine, source, streams.commands, own, self._decisions, settings, disk, self._report)

    def account_settlement(self, number: int, store: RowStore, snapshots: SnapshotSettings, disk: Disk, gap_s: float = 0.0) -> Settlement:
        return Settlement(self.streams.account_events[number], account_memory, store, snapshots, disk, self._report, gap_s)

    def market_settlement(self, number: int, store: RowStore, snapshots: SnapshotSettings, disk: Disk, gap_s: float = 0.0) -> Settlement:
        return Settlement(self.streams.market_events[number], market_memory, store, snapshots, disk, self._report, gap_s)
