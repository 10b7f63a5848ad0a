"""
The embedded exchange in a simulated world: the exchange's process and its follower's on one machine, whose disk and power fail.

    clients --> API --> Shard --> log on a simulated disk --> Follower --> SQLite
                          '--> views, answers                   '--> snapshots --> the log is pruned into its archive

Of the product nothing is replaced but its edges: the disk, threads, the pipe between the two processes, clocks and the loop's time. SQLite
is the real one, in a file of this machine; that it is atomic is taken from it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar, final

from zerosum.core import records
from zerosum.errors import ZerosumError
from zerosum.log.errors import DiskFull, LogError, LogFailed, LogPruned, SnapshotFailed
from zerosum.log.segments import segment_name, segment_sequences
from zerosum.services.checkpoints import Checkpoints
from zerosum.services.clock import Clock
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy
from zerosum.services.opening import open_log, restore
from zerosum.services.pruning import Pruning
from zerosum.services.shard import Shard
from zerosum.sim.chance import delay_s
from zerosum.sim.disk import Damage, SimDisk
from zerosum.sim.embedded_log import read_records, with_archive
from zerosum.sim.embedded_record import LateHistory, SimStore
from zerosum.sim.findings import RunFailed, first_line, parts_of
from zerosum.sim.host_disk import HostDisk
from zerosum.sim.loop import SimLoop
from zerosum.sim.plan import Plan
from zerosum.sim.process import Died, Life, Process
from zerosum.sim.worker import SimWorker
from zerosum.sim.world import Door, World

T = TypeVar("T")

PIPE_S: Final = 0.001
ARCHIVE_S: Final = 0.01
HELD_UP_S: Final = 0.1
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  where a real database costs no real syncs


@final
class EmbeddedWorld(World):
    def __init__(self, loop: SimLoop, plan: Plan) -> None:
        super().__init__(loop, plan)
        self.root = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
        self.disk = SimDisk()
        self.disk.make_directory(self.root)
        self.shard: Shard | None = None
        self.follower: Follower | None = None
        self._records_applied = 0
        self._began_at = 0
        self._followed_from = 0
        self._clock_offset_us = 0
        self._damage: Damage | None = None
        self._snapshots_damaged = False
        self._policy = SnapshotPolicy(every_records=self.random.choice((20, 100, 1000)), keep=self.random.choice((1, 2, 3)))
        self._segment_bytes = self.random.choice((1 << 14, 1 << 16))
        self._prunes = self.random.random() < 0.5
        self._pruning: Pruning | None = None
        self._history: LateHistory | None = None
        self._durable: asyncio.Queue[tuple[int, bool]] | None = None  # the pipe to the follower: what is durable, and whether to end
        self._told_to_stop = False  # the follower
        self._stop: asyncio.Future[None] | None = None
        self.exchange = self._process("exchange", self._run_exchange)
        self.follower_process = self._process("follower", self._run_follower)
        self.processes = [self.exchange, self.follower_process]

    def _process(self, name: str, run: Any) -> Process:
        process = Process(self.loop, name, name, run)
        process.ended = self._ended
        process.crashed = self._crashed
        return process

    def remove(self) -> None:
        self._close_history()
        shutil.rmtree(self.root, ignore_errors=True)

    def data(self, life: Life | None = None) -> DataDir:
        """As a process has it; as the world has it without one."""
        if life is None:
            return DataDir(self.root, self.disk)
        name = f"disk of {life.process.name} {life.process.lives}"
        return DataDir(self.root, HostDisk(self.disk, life, self.faults, self.chance.source(name)))

    def note(self, what: str) -> None:
        super().note(what.replace(str(self.root), "DATA"))

    def start(self) -> None:
        self.exchange.start()

    # ------------------------------------------------------------------ the exchange

    async def _run_exchange(self, process: Process, life: Life) -> None:
        """In the order in which the real one starts and stops: see services/embedded.py."""
        data = self.data(life)
        process.state = lambda: "opening"
        log = open_log(data, self._segment_bytes, self.note)
        machine, views = restore(data, log.log_id, log.durable_sequence, self.note)
        source = self.chance.source(f"workers of {process.lives}")
        clock = Clock(lambda: (self.loop.now_us() + self._clock_offset_us) * 1000, lambda: self.loop.now_us() * 1000)
        shard = Shard(machine, log, views, clock=clock, workers=lambda name: SimWorker(life, self.loop, self.faults, source))
        self.shard = shard
        process.state = lambda: "closing" if shard.is_closing else "writing" if shard.under_way else "serving"
        self._began_at = shard.applied_sequence
        checkpoints = Checkpoints(shard)
        self._pruning = Pruning(data.log, data.archive, self._prune, self.note, disk=data.disk, away=self._archived_away(life))
        shard.on_durable = self._tell_durable
        self._tell_durable(log.durable_sequence)
        self._history = LateHistory(data.settled)
        door = self.doors["exchange"] = Door("exchange", life, shard, views, self._history, self, lambda: True)
        self._stop = asyncio.get_running_loop().create_future()
        if not self.follower_process.is_alive:
            self.follower_process.start()
        awaited: list[asyncio.Future[Any]] = [shard.stopped, self._stop]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if shard.stopped.done():
            error = shard.stopped.result()
            assert error is not None, "a shard that stops by itself says why"
            raise error
        await self._stop_cleanly(door, shard, checkpoints)

    async def _stop_cleanly(self, door: Door, shard: Shard, checkpoints: Checkpoints) -> None:
        door.is_closed = True
        assert self._pruning is not None
        await self._pruning.stop()
        self.history.ask(records.command(records.CHECKPOINT, 0), 0, "exchange", self.loop.time())
        await checkpoints.last()
        await shard.close()
        if shard.stopped.done():
            error = shard.stopped.result()
            assert error is not None, "a shard that stops by itself says why"
            raise error
        if door.recorder.under_way:
            raise RunFailed(f"{len(door.recorder.under_way)} commands were not answered by an exchange that was stopped cleanly")
        self._told_to_stop = True
        self.loop.world_later(PIPE_S, self._hear_durable, shard.applied_sequence, True)

    def _prune(self, before_sequence: int) -> None:
        assert self.shard is not None
        if self.faults.meet("log pruned", self.exchange):
            self.shard.prune(before_sequence)

    def _archived_away(self, life: Life) -> Callable[..., Any]:
        async def away(job: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
            await asyncio.sleep(delay_s(self.random, ARCHIVE_S))
            await life.pause()
            return job(*arguments, **keywords)

        return away

    def _tell_durable(self, sequence: int) -> None:
        self.loop.world_later(self.random.uniform(0, PIPE_S), self._hear_durable, sequence, False)

    def _hear_durable(self, sequence: int, stop: bool) -> None:
        if self._durable is not None:
            self._durable.put_nowait((sequence, stop))

    # ------------------------------------------------------------------ the follower

    async def _run_follower(self, process: Process, life: Life) -> None:
        self._durable = asyncio.Queue()
        self._told_to_stop = False
        data = self.data(life)
        process.state = lambda: "opening"
        store = SimStore(data.settled, life, self.faults)
        try:
            follower = self.follower = Follower(data, policy=self._policy, report=self.note, store=store)
            self._followed_from = follower.machine.sequence
            follower.follow(follower.settled_sequence)
            process.state = lambda: "following"
            await self._follow(follower, life)
        finally:
            store.close()

    async def _follow(self, follower: Follower, life: Life) -> None:
        wanted, stopped = follower.settled_sequence, False
        if self.exchange.is_alive and self.shard is not None:
            wanted = max(wanted, self.shard.applied_sequence)
        while True:
            await life.pause()
            follower.follow(wanted, stopped=stopped)
            self.loop.world_later(self.random.uniform(0, PIPE_S), self._tell_progress, follower.progress())
            if follower.held_up_by is not None:
                await asyncio.sleep(HELD_UP_S)
            elif stopped:
                return follower.take_snapshot()
            else:
                assert self._durable is not None
                durable, stopped = await self._durable.get()
                wanted = max(wanted, durable)

    def _tell_progress(self, progress: dict[str, int]) -> None:
        """As Embedded takes it."""
        door, shard = self.doors.get("exchange"), self.shard
        if door is None or shard is None or not door.life.is_alive:
            return
        door.life.context.run(shard.settled_up_to, progress["settled"])
        door.views.forget_settled(min(progress["settled"], shard.applied_sequence))
        if self._prunes and self._pruning is not None and not shard.is_closing:
            door.life.context.run(self._pruning.snapshots_from, progress["snapshots_from"])

    # ------------------------------------------------------------------ what happens to them

    def _crashed(self, process: Process, power: bool) -> None:
        self.note(f"{process.name} {'loses power' if power else 'is killed'}, {process.state()}")
        self._clean_up(process)
        if power:
            for other in self.processes:
                if other is not process and other.life is not None:
                    other.crashed = lambda process, power: None
                    other.crash()
                    other.crashed = self._crashed
                    self._clean_up(other)
            self.disk.power_loss(self.random)

    def _ended(self, process: Process, error: BaseException | None) -> None:
        if error is None:
            self.note(f"{process.name} has stopped cleanly")
            if process is self.follower_process and not self._told_to_stop:
                return self.fail(RunFailed("the follower ended by itself"))
            return self._clean_up(process)
        self.note(f"{process.name} ends: {first_line(error)}")
        unexpected = [each for each in parts_of(error) if not self._is_expected(each)]
        if unexpected:
            return self.fail(unexpected[0])
        self._clean_up(process)
        if process is self.follower_process and self.exchange.is_alive:
            self.exchange.crash()  # an exchange does not go on without its follower, and nobody mends a log that is being written
        if any(isinstance(each, LogPruned) for each in parts_of(error)):
            self._put_archived_back()
        if self._damage is not None and any(isinstance(each, ZerosumError) for each in parts_of(error)):
            self._repair()

    def _is_expected(self, error: BaseException) -> bool:
        """Whether a process may end of it, for the world has made it so."""
        if self._damage is not None and isinstance(error, LogError):
            return True
        if self._snapshots_damaged and isinstance(error, LogPruned):
            return True
        return isinstance(error, (Died, LogFailed, DiskFull, SnapshotFailed, asyncio.CancelledError))

    def _clean_up(self, process: Process) -> None:
        """The rest of a process that is gone."""
        if process is self.exchange:
            self.disk.locked.clear()
            self._records_applied = self.steps() - self._followed()
            self.close_door("exchange")
            self._close_history()
            self.shard = self._pruning = self._stop = None
        else:
            self._durable = None
            self._records_applied += self._followed()
            self.follower = None
        self.restart_later(process, self._restart)

    def _close_history(self) -> None:
        if self._history is not None:
            self._history.close()
            self._history = None

    def _restart(self, process: Process) -> None:
        if process.is_alive or (process is self.follower_process and not self.exchange.is_alive):
            return  # a follower is started by its exchange
        if process is self.exchange:
            if self.faults.happens("snapshot damaged", process):
                self.note(f"the disk: {self.disk.damage(self.random, self.data().snapshots)}")
                self._snapshots_damaged = True
            if self.faults.happens("log damaged", process):
                self._damage_log()
        process.start()

    # ------------------------------------------------------------------ damage to the log, and what an operator does about it

    def _damage_log(self) -> None:
        """
        Any part of any segment. But no zeros in the last: where a sector is missing nobody can tell a write that was cut short from one
        that was whole and went lost.
        """
        if self._damage is not None:
            return
        folder = self.data().log
        sequences = segment_sequences(self.disk, folder)
        first = self.random.choice(sequences)
        self._damage = self.disk.damage_in_place(self.random, folder / segment_name(first), zeros=first != sequences[-1])
        if self._damage is not None:
            self.note(f"the disk: {self._damage.text}")

    def _repair(self) -> None:
        """From a copy that is whole."""
        if self._damage is not None:
            self.note(f"put right: {self._damage.text}")
            self._damage.undo()
            self._damage = None

    def _put_archived_back(self) -> None:
        """Where no snapshot is good any more, the whole log is needed."""
        data = self.data()
        for name, content in with_archive(self.disk, data).contents().items():
            path = Path("/") / name
            if path.parent == data.log and path.name not in self.disk.names(data.log):
                self.disk.overwrite(path, content)
        self.note("the archived segments are put back")

    def _check_damage(self) -> None:
        """Whoever reads the log with the damage in it notices, or reads what stood there."""
        if self._damage is None:
            return
        damaged = with_archive(self.disk, self.data())
        self._repair()
        whole = with_archive(self.disk, self.data())
        try:
            found = read_records(damaged, self.root)
        except LogError:
            return
        expected = read_records(whole, self.root)
        if found != expected[: len(found)]:
            self.fail(RunFailed("a damaged log was read as if it were whole, and says something else"))

    # ------------------------------------------------------------------ faults in time

    def strike(self, kind: str, process: Process, random: Random) -> None:
        if kind in ("process killed", "power lost") and process.is_alive and self.faults.meet(kind, process):
            process.crash(power=kind == "power lost")
        elif kind == "process held":
            self.hold(process, random)
        elif kind == "process stopped cleanly":
            self._stop_exchange()
        elif kind == "clock set" and self.exchange.is_alive and self.faults.meet(kind, self.exchange):
            self._set_clock(random.choice((1_000_000, -1_000_000, 60_000_000, -60_000_000)))
            self.loop.world_later(random.uniform(0.1, 1.0), self._set_clock, 0)

    def lead_to(self, process: Process, state: str) -> None:
        if state == "closing":
            self._stop_exchange()

    def _stop_exchange(self) -> None:
        if self._stop is not None and not self._stop.done() and self.faults.meet("process stopped cleanly", self.exchange):
            self._stop.set_result(None)

    def _set_clock(self, offset_us: int) -> None:
        self._clock_offset_us = offset_us
        self.note(f"the clock is set to {offset_us / 1e6:+g} s")

    def heal(self) -> None:
        self.faults.active = False
        self._clock_offset_us = 0
        self.disk.heal()
        self._check_damage()
        for process in self.processes:
            process.held_until_s = 0.0
        self.note("all is healed")

    def unfinished(self) -> list[str]:
        door, shard = self.doors.get("exchange"), self.shard
        if door is None or shard is None or self.follower is None:
            return ["the exchange or its follower does not run"]
        found = [] if not door.under_way else [f"the exchange owes {len(door.under_way)} answers"]
        if self.follower.settled_sequence < shard.applied_sequence or shard.under_way:
            found.append(f"settled is up to {self.follower.settled_sequence}, applied up to {shard.applied_sequence}")
        return found

    # ------------------------------------------------------------------ for the checks

    def read_log(self) -> list[bytes]:
        """Every command that is durable, in order."""
        return read_records(with_archive(self.disk, self.data()), self.root)

    def steps(self) -> int:
        """Commands that the exchange has applied, live, and those that its follower has."""
        applied = self.shard.applied_sequence - self._began_at if self.shard is not None else 0
        return self._records_applied + applied + self._followed()

    def _followed(self) -> int:
        return self.follower.machine.sequence - self._followed_from if self.follower is not None else 0
