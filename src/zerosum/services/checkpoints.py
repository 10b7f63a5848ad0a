"""
Now and then, and at a clean stop, the hash of the whole state goes into the output: state that shows in no event is compared too.

    CHECKPOINT --> log --> CHECKPOINTED(hash), here and in the follower --> in the chain that the log attests, and in the settled record

Hashing takes some 0.04 us a record (of an order, a balance, a transfer that was ever made ...), in one piece. So a large state is hashed
at a stop only, when nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, final

from zerosum.core import records
from zerosum.gateway.entry import Busy, Event
from zerosum.services.shard import Shard

EVERY_COMMANDS: Final = 100_000
LAST_S: Final = 10.0  # for the last one: a disk that is full must not keep a stop waiting
RECORDS_MAX: Final = 90_000  # 4 ms


@final
class Checkpoints:
    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._last = shard.applied_sequence

    def if_due(self) -> None:
        """Take one if enough has happened and the state is small enough."""
        if self._shard.applied_sequence - self._last < EVERY_COMMANDS:
            return
        if self._shard.machine.exchange.hash_cost() <= RECORDS_MAX:
            self._submit(lambda events: None)

    async def last(self) -> None:
        """At a clean stop, if anything has happened since the last one."""
        if self._shard.applied_sequence + self._shard.under_way == self._last:
            return
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._submit(lambda events: taken.set_result(None)):
            awaited: list[asyncio.Future[Any]] = [taken, self._shard.stopped]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED, timeout=LAST_S)

    def _submit(self, answer: Callable[[list[Event]], None]) -> bool:
        try:
            self._shard.submit(records.command(records.CHECKPOINT, 0), answer)
        except Busy:
            return False  # another time
        self._last = self._shard.applied_sequence + self._shard.under_way
        return True
