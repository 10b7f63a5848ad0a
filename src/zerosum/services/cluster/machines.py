"""
The machines of a cluster as a role's loop drives them: a message in, bit by bit what comes out of it.

    Appended --> ShardMachine      --> own: account events    shared: orders for each engine, links for each other shard
             --> PartitionMachine  --> own: market events     shared: outcomes for each shard
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol, final

from zerosum.core import records
from zerosum.core.commands import ORIGIN_SHIFT
from zerosum.core.exchange import OUTPUT_BYTES_MAX
from zerosum.core.matching_role import MatchingRole
from zerosum.core.ubscore_role import UBSCoreRole
from zerosum.log.errors import MessageDamaged, NotAMessage
from zerosum.log.messages import position, unpack
from zerosum.log.streams import Appended
from zerosum.services.cluster.topology import Topology

RESERVE: Final = 1 << 22
NOBODY: Final = 0x7FFF_FFFF
"""The sender of what can't be read."""
UNREADABLE: Final = (int(records.head(records.HANDED_ON, 1)) | NOBODY << ORIGIN_SHIFT).to_bytes(8, "little")


class Output(NamedTuple):
    """
    What came out next. `upto`: with this, everything that the records before that position of the input cause has come out;
    `own_sequence`: of the last own event so far. `shared`: (destination, records), in the machine's numbering of destinations.
    `is_partial`: the record at `upto` has begun to come out, and more of it will.
    """

    upto: int
    own_sequence: int
    own: bytes
    shared: list[tuple[int, bytes]]
    is_partial: bool = False


class MachineStopped(AssertionError):
    """A record broke an invariant: every copy of the machine stops there."""

    def __init__(self, name: str, at: int, error: Exception) -> None:
        super().__init__(f"{name}: the record at position {at} breaks the machine: {type(error).__name__}: {error}")
        self.position = at


class CoreRole(Protocol):
    """What the core's two roles have in common."""

    @property
    def position(self) -> int: ...

    def begin_message(self, position: int, time_us: int) -> None: ...

    def advance(self, message: bytes, at: int) -> int: ...

    def quarantine(self, positions: set[int]) -> None: ...

    def sections(self) -> list[tuple[str, bytes]]: ...

    def load(self, sections: dict[str, bytes]) -> None: ...

    def state_hash(self) -> list[int]: ...

    def check(self) -> None: ...


class RoleMachine(ABC):
    """
    `next_offset`: of the message of its input that it takes next. `takes_numbered_records_only`: of which none may be missing, so that no
    message that can't be read is passed over.
    """

    takes_numbered_records_only = False

    def __init__(self, name: str, core: CoreRole) -> None:
        self.name = name
        self.next_offset = 0
        self._core = core
        self._passed_over: set[int] = set()

    def steps(self, appended: Appended) -> Iterator[Output]:
        """Apply a message; the last step says so by its `upto`. All are to be taken before another message is applied."""
        core, following = self._core, position(appended.offset + 1)
        data = self._records(appended)
        core.begin_message(position(appended.offset), appended.time_us)
        at = 0
        while at < len(data) or self.unfinished():
            at = self._advance(data, at)
            if self.unfinished():
                yield self._output(core.position - 1, is_partial=True)
            else:
                yield self._output(core.position if at < len(data) else following)
        if not data:
            yield self._output(following)
        self.next_offset = appended.offset + 1

    def _records(self, appended: Appended) -> bytes:
        """MessageDamaged. In the place of what is no message stands a record that nobody may send: it changes nothing, and is reported."""
        try:
            return unpack(appended.data, f"{self.name}, position {position(appended.offset)} of its input").records
        except NotAMessage:
            return UNREADABLE
        except MessageDamaged:
            if position(appended.offset) not in self._passed_over or self.takes_numbered_records_only:
                raise
            return UNREADABLE

    def _advance(self, data: bytes, at: int) -> int:
        try:
            return self._core.advance(data, at)
        except Exception as error:
            raise MachineStopped(self.name, self._core.position - 1, error) from error

    def _output(self, upto: int, *, is_partial: bool = False) -> Output:
        shared = [(to, data) for to, data in enumerate(self.take_shared()) if data]
        return Output(upto, self.own_sequence(), self.take_own(), shared, is_partial)

    @abstractmethod
    def unfinished(self) -> bool:
        """Whether the last record applied has more to put out."""

    @abstractmethod
    def own_sequence(self) -> int: ...

    @abstractmethod
    def take_own(self) -> bytes: ...

    @abstractmethod
    def take_shared(self) -> list[bytes]:
        """By destination."""

    def quarantine(self, positions: set[int]) -> None:
        """Of records, or of messages that can't be read."""
        self._passed_over = positions
        self._core.quarantine(positions)

    def sections(self) -> list[tuple[str, bytes]]:
        return self._core.sections()

    def load(self, sections: dict[str, bytes]) -> None:
        self._core.load(sections)

    def state_hash(self) -> list[int]:
        return self._core.state_hash()

    def check(self) -> None:
        self._core.check()


@final
class ShardMachine(RoleMachine):
    """Destinations: the engine partitions, and then the shards."""

    def __init__(self, shard: int, topology: Topology, reserve: int = RESERVE, output_bytes_max: int = OUTPUT_BYTES_MAX) -> None:
        self.role = UBSCoreRole(shard, topology.shards, topology.partitions, reserve, output_bytes_max)
        super().__init__(f"ubscore.{shard}", self.role)
        self._topology = topology

    def unfinished(self) -> bool:
        return False

    def own_sequence(self) -> int:
        return int(self.role.account_events.stream.sequence)

    def take_own(self) -> bytes:
        return self.role.take_account_events()

    def take_shared(self) -> list[bytes]:
        orders = [self.role.take_orders(partition) for partition in range(self._topology.partitions)]
        return orders + [self.role.take_peer(shard) for shard in range(self._topology.shards)]


@final
class PartitionMachine(RoleMachine):
    """Destinations: the shards."""

    takes_numbered_records_only = True

    def __init__(
        self, partition: int, topology: Topology, reserve: int = RESERVE, output_bytes_max: int = OUTPUT_BYTES_MAX
    ) -> None:  # fmt: skip
        self.role = MatchingRole(partition, topology.shards, reserve, output_bytes_max)
        super().__init__(f"matching.{partition}", self.role)
        self._topology = topology

    def unfinished(self) -> bool:
        return self.role.unfinished()

    def own_sequence(self) -> int:
        return int(self.role.market_events.stream.sequence)

    def take_own(self) -> bytes:
        return self.role.take_market_events()

    def take_shared(self) -> list[bytes]:
        return [self.role.take_outcomes(shard) for shard in range(self._topology.shards)]
