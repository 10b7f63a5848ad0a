"""
The loop that every machine of a cluster runs in: one copy of a shard or of an engine partition.

    restore  the newest good snapshot that everything is out up to, and then
    apply    input --> machine --> outbox
    emit     outbox --> shared streams, all durable --> own stream           (a standby: only when that is late)
    watch    own stream, from the snapshot on --> outbox: what is out already      --> twins: is it what this copy makes?

A copy begins as a standby with `patience_s`: it emits once something it made has not come out for that long. There is no election: where
two copies emit, they emit the same, and whoever reads drops the repeats. That costs twice the work: so a copy stands by again when it sees
progress by one of a lower number.

Always true: the own stream is written last, and its messages say up to where of the input everything is out; a snapshot is gone on from
only if that is at least its place. So what a copy made and did not send, the next one makes again. And a copy emits nothing before it has
made what was out when it started, and found it to be the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from zerosum.core.exchange import OUTPUT_BYTES_MAX
from zerosum.log.disk import Disk
from zerosum.log.messages import RECORDS_BYTES_MAX, Message, cut, offset_of, pack, position, unpack
from zerosum.log.sequences import last_sequence
from zerosum.log.snapshots import Snapshot
from zerosum.log.streams import Appended, Stream, StreamPruned
from zerosum.services.cluster.control import DecidedTooLate, Decisions, as_text
from zerosum.services.cluster.machines import RoleMachine
from zerosum.services.cluster.outbox import Due, Outbox
from zerosum.services.cluster.pace import Pace
from zerosum.services.cluster.role_snapshots import RoleSnapshots, SnapshotSettings
from zerosum.services.cluster.twins import Twins

LED_PATIENCE: Final = 10  # times patience_s, for a copy that goes on slowly
NOT_SENT_MAX: Final = 10  # a copy that ended may have had so many under way
OWN_END_MESSAGES: Final = 8  # at the end of the own stream that are looked at: a copy that lags may have written the very last


@dataclass(frozen=True, slots=True)
class Bounds:
    """`output_bytes`: that come out of a machine before what has come out is passed on; `waiting_bytes`: after which a loop waits."""

    output_bytes: int = OUTPUT_BYTES_MAX
    message_bytes: int = RECORDS_BYTES_MAX
    waiting_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """`writer`: this copy's number; of several that emit, those of higher numbers step back. `gap_s`: between two sendings, see pace.py."""

    snapshots: SnapshotSettings
    patience_s: float = 0.3
    gap_s: float = 0.0
    writer: int = 0
    bounds: Bounds = field(default_factory=Bounds)


@final
class Role:
    """
    `shared`: the machine's destinations, in its numbering. `source`: its input. `state`: what the copy is at, for people. A role is run
    once; whatever ends `run` ends the copy, which is started again from its snapshots.
    """

    def __init__(
        self, machine: RoleMachine, source: Stream, shared: Sequence[Stream], own: Stream, decisions: Decisions, settings: RoleSettings,
        disk: Disk, report: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        self.machine = machine
        self.emits = settings.patience_s == 0
        self.state = "restoring"
        self.outbox = Outbox()
        self.twins = Twins(own.name)
        self.source = source
        self._own = own
        self._decisions = decisions
        self._settings = settings
        self._report = report
        self._snapshots = RoleSnapshots(machine.name, settings.snapshots, disk, report)
        self._shared = shared
        self._passed_over: set[int] = set()  # positions of the input
        self._own_offset = 0  # of the next message of the own stream to be read
        self._seen_at_send = 0  # of the input: up to where everything was out when this copy sent something last
        self._led_at = 0.0  # when a copy of a lower number put out what was due
        self._is_doubled = False  # another process has this copy's number
        self._own_end_at_start = 0
        self._not_sent = 0  # messages of the own stream under this copy's number, less those that it has sent
        self._read: deque[tuple[int, int]] = deque()  # messages of it with events not made here yet: offset, number of the last
        self._out_at_start = 0  # the number of the last own event that was out
        self._changed = asyncio.Event()  # something was put in the outbox, or is out of it
        self._is_full = asyncio.Event()  # no more is applied before something is out

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def next_offset(self) -> int:
        """Of the message of its input that it takes next."""
        return self.machine.next_offset

    async def run(self) -> None:
        await self._restore()
        self._rest()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._apply())
            tasks.create_task(self._emit())
            tasks.create_task(self._watch())

    # ------------------------------------------------------------------ restore

    async def _restore(self) -> None:
        self._passed_over = await self._decisions.passed_over(self.machine.name)
        self.machine.quarantine(self._passed_over)
        own_first = await self._find_own_end()
        # Up to it everything must be out: what this copy, or another, made and did not send is to be made again.
        snapshot = self._snapshots.newest(at_most=max(0, offset_of(self.outbox.seen.upto)))
        if snapshot is not None:
            self._check_decisions(snapshot)
            self.machine.load(snapshot.sections)
            self.machine.next_offset = snapshot.sequence
        self._own_offset = max(own_first, int(snapshot.meta["own_offset"]) if snapshot is not None else 0)
        self.twins.begin(self.machine.own_sequence())
        ends = await self.source.ends()
        if self.machine.next_offset < ends.first:
            raise StreamPruned(self.source.name, self.machine.next_offset, ends.first)

    def _check_decisions(self, snapshot: Snapshot) -> None:
        wanted, made_with = as_text(self._passed_over, position(snapshot.sequence)), snapshot.meta.get("passed_over")
        if made_with != wanted:
            raise DecidedTooLate(
                f"{self.machine.name}: up to message {snapshot.sequence} of its input [{wanted}] is to be passed over; when it was applied"
                f" it was [{made_with}]. A decision counts for what no copy has applied yet: sign the contrary one."
            )

    async def _find_own_end(self) -> int:
        """How far the last messages of the own stream say that everything is out. Returns the offset of its first message."""
        ends = await self._own.ends()
        self._own_end_at_start = ends.next
        at = max(ends.first, ends.next - OWN_END_MESSAGES)
        while at < ends.next:
            for appended in await self._own.read(at):
                self._see(unpack(appended.data, f"{self._own.name}, message {appended.offset}"))
                at = appended.offset + 1
        self._out_at_start = self.outbox.seen.own_sequence
        return ends.first

    def _see(self, message: Message) -> None:
        """What its header says is out, and the records in it, which are."""
        self.outbox.see(message.upto, max(message.sequence, last_sequence(message.records)))

    # ------------------------------------------------------------------ apply

    async def _apply(self) -> None:
        while True:
            for appended in await self.source.read(self.machine.next_offset):
                await self._apply_message(appended)
                self._snapshot_if_due()

    async def _apply_message(self, appended: Appended) -> None:
        most = self._settings.bounds.waiting_bytes
        for output in self.machine.steps(appended):
            self.twins.made(output.own, output.own_sequence)
            self.outbox.put(output, asyncio.get_running_loop().time())
            self._changed.set()
            # What is made and not read is in the outbox, or stands in the own stream and is about to be read.
            while (self.is_verified and self.outbox.bytes > most) or self.twins.made_bytes > most + self.outbox.bytes:
                self._is_full.set()
                await self._change()
            self._is_full.clear()

    @property
    def is_verified(self) -> bool:
        """Whether what was out at the start has been made here, too, and is the same."""
        return self.twins.compared_up_to >= self._out_at_start

    def _rest(self) -> None:
        self.state = "serving" if self.emits else "standing by"

    def _snapshot_if_due(self) -> None:
        next_offset = self.machine.next_offset
        if not self._snapshots.is_due(next_offset):
            return
        before, self.state = self.state, "taking a snapshot"
        self._snapshots.take(
            next_offset, self.machine.sections(), out_up_to=max(0, offset_of(self.outbox.seen.upto)), own_offset=self._own_offset_now(),
            passed_over=as_text(self._passed_over, position(next_offset)),
        )  # fmt: skip
        self.state = before

    def _own_offset_now(self) -> int:
        """The own stream before this message holds nothing that the machine has yet to make."""
        made = self.machine.own_sequence()
        while self._read and self._read[0][1] <= made:
            self._read.popleft()
        return self._read[0][0] if self._read else self._own_offset

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # ------------------------------------------------------------------ emit

    async def _emit(self) -> None:
        pace = Pace(self._settings.gap_s)
        while True:
            await self._wait_until_due()
            await pace.rest(unless=self._is_full)
            if self.outbox.waits_since() is None:  # another copy has sent it meanwhile
                continue
            pace.begin()
            self.state = "emitting"
            await self._send(self.outbox.due())
            self._rest()

    async def _wait_until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            since = self.outbox.waits_since()
            if since is None or not self.is_verified:
                await self._change()
            elif self.emits:
                return
            elif (left := self._due_at(since) - loop.time()) <= 0:
                at = self.outbox.seen.upto
                self._report(f"{self.machine.name}: puts out what is due from position {at} of its input on, as no other copy does")
                self.emits = True
            else:
                await asyncio.sleep(left)

    def _due_at(self, since: float) -> float:
        """When a standby is to put out what it made at a time: a copy of a lower number that goes on slowly is given more of it."""
        patience_s = self._settings.patience_s
        return min(max(since, self._led_at) + patience_s, since + LED_PATIENCE * patience_s)

    async def _send(self, due: Due) -> None:
        """
        The shared streams first. What the own one then says is true, whatever happens in between. All that was sent before is
        acknowledged: so each time sessions may be new ones, where others' messages made one fail.
        """
        writer, own = self._settings.writer, self._own.writer()
        self._seen_at_send = self.outbox.seen.upto
        async with asyncio.TaskGroup() as sends:
            for destination, records in due.shared.items():
                shared = self._shared[destination].writer()
                for piece in cut(records, self._settings.bounds.message_bytes):
                    sends.create_task(shared.append(pack(piece, writer=writer)))
        upto, pieces = self.outbox.seen.upto, list(cut(due.own, self._settings.bounds.message_bytes)) or [b""]
        async with asyncio.TaskGroup() as sends:
            for number, piece in enumerate(pieces, start=1):
                if number == len(pieces):
                    upto = due.upto
                sequence = last_sequence(piece) or due.own_sequence
                self._not_sent -= 1
                sends.create_task(own.append(pack(piece, writer=writer, upto=upto, sequence=sequence)))
        self.outbox.emitted(due)
        self._changed.set()

    # ------------------------------------------------------------------ watch

    def _step_back_for(self, message: Message) -> None:
        """Where a copy of a lower number puts out what was not out when this one sent something last."""
        if message.writer < self._settings.writer and message.upto > self._seen_at_send:
            self._led_at = asyncio.get_running_loop().time()
            if self.emits and self._settings.patience_s:
                self._report(f"{self.machine.name}: stands by again, for copy {message.writer} puts out what is due")
                self.emits = False

    def _notice_double(self, message: Message, offset: int) -> None:
        """More stands in the own stream under this copy's number than it has sent: neither steps back for the other."""
        if message.writer == self._settings.writer and offset >= self._own_end_at_start:
            self._not_sent += 1
        if self._not_sent > NOT_SENT_MAX and not self._is_doubled:
            self._is_doubled = True
            self._report(f"{self.machine.name}: another process puts out as copy {message.writer}, too: give each a --copy of its own")

    async def _watch(self) -> None:
        while True:
            for appended in await self._own.read(self._own_offset):
                message = unpack(appended.data, f"{self._own.name}, message {appended.offset}")
                self.twins.read(message.records)
                self._step_back_for(message)
                self._notice_double(message, appended.offset)
                self._see(message)
                if message.records:
                    self._read.append((appended.offset, last_sequence(message.records)))
                self._own_offset = appended.offset + 1
                self._changed.set()
                while self.twins.read_bytes > self._settings.bounds.waiting_bytes:
                    await self._change()
