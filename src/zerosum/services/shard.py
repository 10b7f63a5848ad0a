"""
The live shard: commands in, durable, applied, answered. One event loop and a worker for the log.

    submit --> pending --(a group)--> log worker: append, sync --> Applier: machines, views, answers, barriers
                 ^ gathers while the last sync runs

Always true:
  - a command is applied only when it is durable, and answered only when it is applied
  - commands are applied in the order in which they were submitted
  - a command is stamped by a clock that can be believed, or refused
  - a failed write or sync, or a broken invariant, ends the process: `stopped` tells the composition why, and nothing more is applied
  - a full disk ends nothing: what was taken waits for room, and what has no room is refused
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, final

from zerosum.core import records
from zerosum.gateway.entry import Answer, Busy, Lost, Passed, unheard
from zerosum.log.errors import DiskFull
from zerosum.log.file_log import FileLog
from zerosum.services.applier import Applier, Group, Reader
from zerosum.services.clock import Clock
from zerosum.services.machine import Machine
from zerosum.services.worker import ThreadWorker, Worker

STAMP: Final = struct.Struct("<q")
GROUP_SLACK_BYTES: Final = 4096  # more than a group's header and digest
RETRY_DISK_S: Final = 1.0
ADDS_WORK: Final = frozenset({records.PLACE, records.MOVE, records.CANCEL_REPLACE})


@dataclass(frozen=True, slots=True)
class Limits:
    group_bytes_max: int = 1 << 20
    pending_max: int = 50_000  # commands waiting or under way
    unsettled_max: int = 500_000  # commands applied that the follower has not settled


@dataclass(slots=True, eq=False)
class SettlementWait:
    """Somebody who waits until everything up to `sequence` is settled."""

    sequence: int
    passed: Passed
    timer: asyncio.TimerHandle = field(init=False)


@final
class Shard:
    def __init__(
        self, machine: Machine, log: FileLog, reader: Reader, *, limits: Limits | None = None, clock: Clock | None = None,
        workers: Callable[[str], Worker] = ThreadWorker,
    ) -> None:  # fmt: skip
        self.machine = machine
        self.settled_sequence = 0
        self.stopped: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.on_durable: Callable[[int], None] = lambda sequence: None  # tells the follower
        self.groups = 0
        self._log = log
        self._clock = clock if clock is not None else Clock()
        self._applier = Applier(machine, reader, whole=self._group_is_whole, broken=self._stop)
        self._limits = limits if limits is not None else Limits()
        self._group_bytes_max = min(self._limits.group_bytes_max, log.group_bytes_max)
        self._loop = asyncio.get_running_loop()
        self._pending: list[tuple[bytes, Answer]] = []
        self._pending_bytes = 0
        self._flying: Group | None = None
        self._flush_is_due = False
        self._submitted = machine.sequence  # the place that the last command submitted will have
        self._settlement_waits: deque[SettlementWait] = deque()  # by sequence
        self._disk_is_full = False
        self._preparing = False  # the next segment is being made
        self._attestation = machine.attestation()
        self._stamped_us = machine.exchange.ubscore.now_us
        self._closing = False
        self._closed: asyncio.Task[None] | None = None
        self._writer = workers("log")
        self._preparer = workers("segment")
        self._prepare_segment()

    # ------------------------------------------------------------------ Entry

    def submit(self, command: bytes, answer: Answer, lost: Lost = unheard) -> None:
        """Never `lost`: while the process lives, what is submitted is applied and answered."""
        reason = self.refusal(command)
        if reason:
            raise Busy(reason)
        self._pending.append((command, answer))
        self._pending_bytes += len(command)
        self._submitted += 1
        if self._flying is None and not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def barrier(self, account_id: int, passed: Passed) -> None:
        self.when_applied(lambda: passed(True))

    def when_applied(self, passed: Callable[[], None]) -> None:
        """Call `passed` once everything submitted before this call is applied and answered."""
        self._applier.barrier(self._submitted, passed)

    def settled(self, account_id: int, passed: Passed, timeout_s: float) -> None:
        sequence = self.applied_sequence
        if sequence <= self.settled_sequence:
            passed(True)
        else:
            wait = SettlementWait(sequence, passed)
            wait.timer = self._loop.call_later(timeout_s, self._give_up, wait)
            self._settlement_waits.append(wait)

    def now_us(self) -> int:
        return self._clock.now_us()

    # ------------------------------------------------------------------ bounds

    def refusal(self, command: bytes) -> str:
        """Why a command is not taken now, or ''."""
        if self._closing or self.stopped.done():
            return "the exchange is stopping"
        if self.under_way >= self._limits.pending_max:
            return f"{self._limits.pending_max} commands are under way"
        if fault := self.clock_fault():
            return fault
        if self._disk_is_full and self._pending_bytes + len(command) + GROUP_SLACK_BYTES > self._room_bytes():
            return "the disk is full"
        if command[0] in ADDS_WORK and self.is_behind:
            return f"settlement is {self.unsettled} commands behind"
        return ""

    @property
    def unsettled(self) -> int:
        """How many commands the follower is behind."""
        return max(0, self.applied_sequence - self.settled_sequence)

    @property
    def is_behind(self) -> bool:
        """Whether the follower is so far behind that no new orders are taken."""
        return self.unsettled >= self._limits.unsettled_max

    @property
    def under_way(self) -> int:
        """Commands submitted and not yet applied."""
        return self._submitted - self.applied_sequence

    @property
    def applied_sequence(self) -> int:
        """Everything up to here is applied and answered."""
        return self._applier.applied_sequence

    def clock_fault(self) -> str:
        """Why no command can be stamped, or ''."""
        return self._clock.fault(self.machine.exchange.ubscore.now_us)

    @property
    def is_closing(self) -> bool:
        return self._closing

    @property
    def disk_is_full(self) -> bool:
        return self._disk_is_full

    def _room_bytes(self) -> int:
        flying = len(self._flying.records) + GROUP_SLACK_BYTES if self._flying is not None else 0
        return self._log.room_bytes - flying

    # ------------------------------------------------------------------ groups

    def _flush(self) -> None:
        """Hand what has gathered to the log's worker, as one group."""
        self._flush_is_due = False
        if not self._pending or self._flying is not None:
            return
        taken = self._take_pending()
        if not self.clock_fault():  # else they came before it, and wait no longer: they are of the last time that could be believed
            self._stamped_us = self.now_us()
        now = STAMP.pack(self._stamped_us)
        data = bytearray()
        for command, _ in taken:
            data += command[:8]
            data += now
            data += command[16:]
        self._pending_bytes -= len(data)
        self._flying = Group(bytes(data), len(taken), [answer for _, answer in taken])
        self._post(self._flying)

    def _take_pending(self) -> list[tuple[bytes, Answer]]:
        """As many as fit in a group, and one at least."""
        if self._pending_bytes <= self._group_bytes_max:
            taken, self._pending = self._pending, []
            return taken
        size = count = 0
        for command, _ in self._pending:
            size += len(command)
            if size > self._group_bytes_max and count:
                break
            count += 1
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _post(self, group: Group) -> None:
        self._writer.post(partial(self._write, group), partial(self._written, group))

    def _write(self, group: Group) -> None:
        """Away from the loop: one group, one sync."""
        now_us = STAMP.unpack_from(group.records, 8)[0]
        group.last_sequence = self._log.append(group.records, count=group.count, time_us=now_us, attestation=self._attestation)
        self._log.sync()

    def _written(self, group: Group, _: None, error: BaseException | None) -> None:
        """Waits for room where there is none: the group was taken, and nothing of it is written yet."""
        if error is None:
            self._durable(group)
        elif isinstance(error, DiskFull) and not self._closing:
            self._loop.call_later(RETRY_DISK_S, self._post, group)
        else:
            self._stop(error)

    def _durable(self, group: Group) -> None:
        if self.stopped.done():
            return  # on its way when the shard stopped. The state is not to be trusted: it is for the next start to apply it
        self._flying = None
        self._flush()  # the next group's sync runs while this one is applied
        self.on_durable(group.last_sequence)
        self._applier.take(group)
        if not self._log.next_is_prepared and not self._disk_is_full:
            self._prepare_segment()

    def _group_is_whole(self) -> None:
        self._attestation = self.machine.attestation()
        self.groups += 1

    def prune(self, before_sequence: int) -> None:
        """Let closed segments go whose records are all before a sequence; between two groups, by the log's worker."""
        self._writer.post(partial(self._log.prune, before_sequence), self._pruned)

    def _pruned(self, _: object, error: BaseException | None) -> None:
        if error is not None:
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        self._applier.give_up()
        if not self.stopped.done():
            self.stopped.set_result(error)

    # ------------------------------------------------------------------ settlement

    def settled_up_to(self, sequence: int) -> None:
        """The follower has settled everything up to here."""
        self.settled_sequence = max(self.settled_sequence, sequence)
        while self._settlement_waits and self._settlement_waits[0].sequence <= self.settled_sequence:
            wait = self._settlement_waits.popleft()
            wait.timer.cancel()
            wait.passed(True)

    def _give_up(self, wait: SettlementWait) -> None:
        self._settlement_waits.remove(wait)
        wait.passed(False)

    # ------------------------------------------------------------------ disk and end

    def _prepare_segment(self) -> None:
        """Have the next segment made, unless that is under way. A full disk is met here, and tried again until there is room."""
        if not self._preparing and not self._closing:
            self._preparing = True
            self._preparer.post(self._log.prepare_next, self._prepared)

    def _prepared(self, _: None, error: BaseException | None) -> None:
        self._preparing = False
        self._disk_is_full = isinstance(error, DiskFull)
        if self._disk_is_full:
            self._loop.call_later(RETRY_DISK_S, self._prepare_segment)
        elif error is not None:
            self._stop(error)

    async def close(self) -> None:
        """Take nothing more, finish what is under way, seal the log. Once closed, it stays so; whoever else closes it waits as well."""
        if self._closed is None:
            self._closing = True
            self._closed = self._loop.create_task(self._close())
        await asyncio.shield(self._closed)

    async def _close(self) -> None:
        applied: asyncio.Future[BaseException | None] = self._loop.create_future()
        self.when_applied(lambda: applied.set_result(None))
        await asyncio.wait([applied, self.stopped], return_when=asyncio.FIRST_COMPLETED)
        await self._preparer.close()
        closed: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._writer.post(partial(self._log.close, self._attestation), lambda _, error: closed.set_result(error))
        await self._writer.close()
        error = await closed
        if error is not None:
            raise error
