"""
The machines of a cluster with nothing between them but queues: no loop, no time, no faults. What is left is what they say to each other.

    submit --> commands[shard] --> UBSCoreRole --> orders[partition] --> MatchingRole --> commands[shard] ...
                                       |                                      |
                                 account_events[shard]                  market_events[partition]

Whoever drives it says which queue is read next. The order that records have in one queue is all that is promised.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, final

from zerosum.core.matching_role import MatchingRole
from zerosum.core.ubscore_role import UBSCoreRole
from zerosum.log.messages import position
from zerosum.services.cluster.topology import Topology

FIRST_POSITION = position(0)


class Message(NamedTuple):
    time_us: int
    data: bytes


@final
class Machines:
    """`account_events` and `market_events` hold all that came out and was not taken, by shard and by partition."""

    def __init__(self, shards: int, partitions: int, reserve: int) -> None:
        self.topology = Topology(shards, partitions)
        self.ubscores = [UBSCoreRole(shard, shards, partitions, reserve) for shard in range(shards)]
        self.engines = [MatchingRole(partition, shards, reserve) for partition in range(partitions)]
        self.commands: list[deque[Message]] = [deque() for _ in range(shards)]
        self.orders: list[deque[Message]] = [deque() for _ in range(partitions)]
        self.account_events = [bytearray() for _ in range(shards)]
        self.market_events = [bytearray() for _ in range(partitions)]
        self.now_us = 0

    def submit(self, command: bytes) -> int:
        """Put a command in its shard's queue. Its time is that of all that happens until the next."""
        self.now_us = max(self.now_us, int.from_bytes(command[8:16], "little", signed=True))
        shard = self.topology.shard_of_command(command)
        self.commands[shard].append(Message(self.now_us, command))
        return shard

    def waiting(self) -> list[tuple[bool, int]]:
        """The queues that are not empty: (whether it is one of commands, its number)."""
        return [(True, shard) for shard, queue in enumerate(self.commands) if queue] + [
            (False, partition) for partition, queue in enumerate(self.orders) if queue
        ]

    def deliver(self, is_commands: bool, number: int) -> None:
        """Let the next message of a queue be applied, and what comes out be queued."""
        if is_commands:
            self._apply_commands(number)
        else:
            self._apply_orders(number)

    def settle(self) -> None:
        """Until every queue is empty."""
        while waiting := self.waiting():
            for queue in waiting:
                self.deliver(*queue)

    def _apply_commands(self, shard: int) -> None:
        time_us, data = self.commands[shard].popleft()
        role = self.ubscores[shard]
        role.begin_message(max(role.position, FIRST_POSITION), time_us)
        at = 0
        while at < len(data):
            at = role.advance(data, at)
            self.account_events[shard] += role.take_account_events()
            for partition, queue in enumerate(self.orders):
                if orders := role.take_orders(partition):
                    queue.append(Message(self.now_us, orders))
            for other, queue in enumerate(self.commands):
                if links := role.take_peer(other):
                    queue.append(Message(self.now_us, links))

    def _apply_orders(self, partition: int) -> None:
        time_us, data = self.orders[partition].popleft()
        role = self.engines[partition]
        role.begin_message(max(role.position, FIRST_POSITION), time_us)
        at = 0
        while at < len(data) or role.unfinished():
            at = role.advance(data, at)
            self.market_events[partition] += role.take_market_events()
            for shard, queue in enumerate(self.commands):
                if outcomes := role.take_outcomes(shard):
                    queue.append(Message(self.now_us, outcomes))

    def take_events(self) -> tuple[list[bytes], list[bytes]]:
        """Account events by shard and market events by partition, since the last call."""
        taken = [bytes(events) for events in self.account_events], [bytes(events) for events in self.market_events]
        for events in (*self.account_events, *self.market_events):
            events.clear()
        return taken

    def check(self) -> None:
        for ubscore in self.ubscores:
            ubscore.check()
        for engine in self.engines:
            engine.check()
