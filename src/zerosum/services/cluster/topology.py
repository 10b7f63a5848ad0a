"""
How many shards and engine partitions a deployment has, fixed when it is made, and what belongs to which.

    account (and its wallet) --id modulo shards--> shard         symbol --number modulo partitions--> engine partition
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from zerosum.core import records
from zerosum.core.codes import ACCOUNT_MAX, FIRST_USER
from zerosum.core.ubscore_role import HOME, is_for_all
from zerosum.log.streams import Stream

SHARDS_MAX: Final = 256
PARTITIONS_MAX: Final = 256
RECEIVER_BYTES: Final = slice(records.TO_ACCOUNT_AT * 8, (records.TO_ACCOUNT_AT + 1) * 8)  # of TRANSFER and ADJUST
SYMBOL_BYTES: Final = slice((records.ACCOUNT_AT + 1) * 8 + 4, (records.ACCOUNT_AT + 2) * 8)  # the upper half of an order's terms
ACCOUNT_BYTES: Final = slice(records.ACCOUNT_AT * 8, (records.ACCOUNT_AT + 1) * 8)


@dataclass(frozen=True, slots=True)
class Topology:
    shards: int
    partitions: int

    def __post_init__(self) -> None:
        assert 1 <= self.shards <= SHARDS_MAX and 1 <= self.partitions <= PARTITIONS_MAX, "a place and an order id have room for so many"

    def shard_of_account(self, account_id: int) -> int:
        """The house has an account of its own in each shard; the first one's is meant where none is named."""
        return (account_id & ACCOUNT_MAX) % self.shards if account_id >= FIRST_USER else HOME

    def partition_of_order(self, command: bytes) -> int:
        """Of a command that has terms."""
        return int.from_bytes(command[SYMBOL_BYTES], "little") % self.partitions

    def shard_of_command(self, command: bytes) -> int:
        """What FEES of a shard pay goes to that shard's accounts: a transfer or an adjustment from FEES is its receiver's shard's."""
        kind = command[0]
        if is_for_all(kind) or kind == records.TICK:
            return HOME
        account = int.from_bytes(command[ACCOUNT_BYTES], "little", signed=True)
        if kind in (records.TRANSFER, records.ADJUST) and account < FIRST_USER:
            account = int.from_bytes(command[RECEIVER_BYTES], "little", signed=True)
        return self.shard_of_account(account)


@final
class Streams:
    """The four kinds of streams: one of commands and one of account events for each shard, of orders and market events for each engine."""

    def __init__(self, topology: Topology, make: Callable[[str], Stream]) -> None:
        self.commands = [make(f"commands.{shard}") for shard in range(topology.shards)]
        self.account_events = [make(f"account-events.{shard}") for shard in range(topology.shards)]
        self.orders = [make(f"orders.{partition}") for partition in range(topology.partitions)]
        self.market_events = [make(f"market-events.{partition}") for partition in range(topology.partitions)]
        self.control = make("control")

    def all(self) -> list[Stream]:
        return [*self.commands, *self.account_events, *self.orders, *self.market_events, self.control]
