"""
The machines of a cluster as a role's loop drives them: a message in, bit by bit what comes out of it.

    Appended --> ShardMachine      --> own: account events    shared: orders for each engine, links for each other shard
             --> PartitionMachine  --> own: market events     shared: outcomes for each shard
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol, final

from zerosum.core.matching_role import MatchingRole
from zerosum.core.ubscore_role import UBSCoreRole
from zerosum.log.messages import position, unpack
from zerosum.log.streams import Appended
from zerosum.services.cluster.topology import Topology

RESERVE: Final = 1 << 22


class Output(NamedTuple):
    """
    What came out next. `upto`: with this, everything that the records before that position of the input cause has come out;
    `own_sequence`: of the last own event so far. `shared`: (destination, records), in the machine's numbering of destinations.
    """

    upto: int
    own_sequence: int
    own: bytes
    shared: list[tuple[int, bytes]]


class RoleMachine(Protocol):
    """`next_offset`: of the message of its input that it takes next."""

    name: str
    next_offset: int

    def steps(self, appended: Appended) -> Iterator[Output]:
        """Apply a message; the last step says so by its `upto`. All are to be taken before another message is applied."""

    def own_sequence(self) -> int: ...

    def quarantine(self, positions: set[int]) -> None: ...

    def sections(self) -> list[tuple[str, bytes]]: ...

    def load(self, sections: dict[str, bytes]) -> None: ...

    def state_hash(self) -> list[int]: ...

    def check(self) -> None: ...


class MachineStopped(AssertionError):
    """A record broke an invariant: every copy of the machine stops there."""

    def __init__(self, name: str, at: int, error: Exception) -> None:
        super().__init__(f"{name}: the record at position {at} breaks the machine: {type(error).__name__}: {error}")
        self.position = at


@final
class ShardMachine:
    """Destinations: the engine partitions, and then the shards."""

    def __init__(self, shard: int, topology: Topology, reserve: int = RESERVE) -> None:
        self.name = f"ubscore.{shard}"
        self.next_offset = 0
        self.role = UBSCoreRole(shard, topology.shards, topology.partitions, reserve)
        self._topology = topology

    def steps(self, appended: Appended) -> Iterator[Output]:
        role = self.role
        data = unpack(appended.data, f"{self.name}, message {appended.offset} of its commands").records
        role.begin_message(position(appended.offset), appended.time_us)
        at = 0
        while at < len(data):
            at = self._advance(data, at)
            upto = role.position if at < len(data) else position(appended.offset + 1)
            yield self._output(upto)
        if not data:
            yield self._output(position(appended.offset + 1))
        self.next_offset = appended.offset + 1

    def _advance(self, data: bytes, at: int) -> int:
        try:
            return int(self.role.advance(data, at))
        except Exception as error:
            raise MachineStopped(self.name, int(self.role.position) - 1, error) from error

    def _output(self, upto: int) -> Output:
        role, partitions = self.role, self._topology.partitions
        shared = [(partition, role.take_orders(partition)) for partition in range(partitions)]
        shared += [(partitions + shard, role.take_peer(shard)) for shard in range(self._topology.shards)]
        return Output(upto, self.own_sequence(), role.take_account_events(), [(to, data) for to, data in shared if data])

    def own_sequence(self) -> int:
        return int(self.role.account_events.stream.sequence)

    def quarantine(self, positions: set[int]) -> None:
        self.role.quarantine(positions)

    def sections(self) -> list[tuple[str, bytes]]:
        return self.role.sections()

    def load(self, sections: dict[str, bytes]) -> None:
        self.role.load(sections)

    def state_hash(self) -> list[int]:
        return self.role.state_hash()

    def check(self) -> None:
        self.role.check()


@final
class PartitionMachine:
    """Destinations: the shards."""

    def __init__(self, partition: int, topology: Topology, reserve: int = RESERVE) -> None:
        self.name = f"matching.{partition}"
        self.next_offset = 0
        self.role = MatchingRole(partition, topology.shards, reserve)
        self._topology = topology

    def steps(self, appended: Appended) -> Iterator[Output]:
        role = self.role
        data = unpack(appended.data, f"{self.name}, message {appended.offset} of its orders").records
        role.begin_message(position(appended.offset), appended.time_us)
        at = 0
        while at < len(data) or role.unfinished():
            at = self._advance(data, at)
            upto = role.position - 1 if role.unfinished() else role.position if at < len(data) else position(appended.offset + 1)
            yield self._output(upto)
        if not data:
            yield self._output(position(appended.offset + 1))
        self.next_offset = appended.offset + 1

    def _advance(self, data: bytes, at: int) -> int:
        try:
            return int(self.role.advance(data, at))
        except Exception as error:
            raise MachineStopped(self.name, int(self.role.position) - 1, error) from error

    def _output(self, upto: int) -> Output:
        role = self.role
        shared = [(shard, role.take_outcomes(shard)) for shard in range(self._topology.shards)]
        return Output(upto, self.own_sequence(), role.take_market_events(), [(to, data) for to, data in shared if data])

    def own_sequence(self) -> int:
        return int(self.role.market_events.stream.sequence)

    def quarantine(self, positions: set[int]) -> None:
        self.role.quarantine(positions)

    def sections(self) -> list[tuple[str, bytes]]:
        return self.role.sections()

    def load(self, sections: dict[str, bytes]) -> None:
        self.role.load(sections)

    def state_hash(self) -> list[int]:
        return self.role.state_hash()

    def check(self) -> None:
        self.role.check()
