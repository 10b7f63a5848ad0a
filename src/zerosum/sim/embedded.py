"""
The embedded exchange in a simulated world: the exchange's process and its follower's on one machine, whose disk and power fail.

    workload --> Shard --> log on a simulated disk --> Follower --> SQLite
                   '--> views, answers                   '--> snapshots

Of the product nothing is replaced but its edges: the disk, threads, the pipe between the two processes, clocks and the loop's time. SQLite
is the real one, in a file of this machine; that it is atomic is taken from it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import deque
from pathlib import Path
from random import Random
from typing import Any, Final, final

import apsw

from zerosum.log.errors import DiskFull, LogFailed, SnapshotFailed
from zerosum.log.reader import LogReader
from zerosum.services.clock import Clock
from zerosum.services.cluster.topology import Topology
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy
from zerosum.services.opening import open_log, restore
from zerosum.services.shard import Shard
from zerosum.settlement.batch import Batch, Position
from zerosum.settlement.errors import SettlementFailed
from zerosum.settlement.sqlite import SqliteStore
from zerosum.sim.chance import Chance
from zerosum.sim.cluster import RESTART_S, TRACE_LINES, RunFailed, break_off, first_line, parts_of
from zerosum.sim.disk import SimDisk
from zerosum.sim.faults import Faults
from zerosum.sim.host_disk import HostDisk
from zerosum.sim.loop import CURRENT, SimLoop
from zerosum.sim.plan import Plan
from zerosum.sim.process import Died, Life, Process
from zerosum.sim.worker import SimWorker
from zerosum.views.views import Views

SEGMENT_BYTES: Final = 1 << 16
PIPE_S: Final = 0.001
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  where a real database costs no real syncs


@final
class SimStore:
    """The real store, with a process that dies at its writes, and writes that have to wait."""

    def __init__(self, path: Path, life: Life, faults: Faults) -> None:
        self._store = SqliteStore(path)
        self._path = path
        self._life = life
        self._faults = faults

    def position(self) -> Position:
        return self._store.position()

    def log_id(self) -> bytes:
        return self._store.log_id()

    def belong_to(self, log_id: bytes) -> None:
        self._life.check()
        self._store.belong_to(log_id)

    def write(self, batch: Batch) -> None:
        self._life.check()
        if self._faults.happens("store write fails", self._life):
            raise SettlementFailed(self._path, "another program holds it locked", can_wait=True)
        self._crash_if()
        self._store.write(batch)
        self._crash_if()

    def _crash_if(self) -> None:
        if self._faults.happens("crash at a store write", self._life):
            self._life.process.crash()
            raise Died

    def fold(self) -> None:
        self._life.check()
        self._store.fold()

    def close(self) -> None:
        self._store.close()


@final
class Door:
    """What clients reach of the exchange while its process lives."""

    def __init__(self, life: Life, entry: Shard, views: Views) -> None:
        self.life = life
        self.entry = entry
        self.views = views
        self.is_current = True
        self.under_way: dict[asyncio.Future[Any], None] = {}


@final
class EmbeddedWorld:
    def __init__(self, loop: SimLoop, plan: Plan) -> None:
        self.loop = loop
        self.plan = plan
        self.chance = Chance(plan.seed)
        self.faults = Faults(self.chance, plan.without, plan.off)
        self.topology = Topology(1, 1)
        self.failed: asyncio.Future[BaseException] = loop.create_future()
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.gateways: dict[str, Door] = {}
        self.root = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
        self.disk = SimDisk()
        self.disk.make_directory(self.root)
        self.records_applied = 0
        self.is_over = False  # nothing that happens now is part of the story
        self._began_at = 0
        self._followed_from = 0
        self.follower: Follower | None = None
        self._clock_offset_us = 0
        self._random = self.chance.source("world")
        self._policy = SnapshotPolicy(every_records=self._random.choice((20, 100, 1000)), keep=self._random.choice((1, 2, 3)))
        self._durable: asyncio.Queue[int] | None = None
        self.exchange = self._process("exchange", self._run_exchange)
        self.follower_process = self._process("follower", self._run_follower)
        self.processes = [self.exchange, self.follower_process]
        loop.set_exception_handler(self._unheard)

    def _process(self, name: str, run: Any) -> Process:
        process = Process(self.loop, name, name, run)
        process.ended = self._ended
        process.crashed = self._crashed
        return process

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def data(self, life: Life | None = None) -> DataDir:
        """As a process has it; as the world has it without one."""
        if life is None:
            return DataDir(self.root, self.disk)
        name = f"disk of {life.process.name} {life.process.lives}"
        return DataDir(self.root, HostDisk(self.disk, life, self.faults, self.chance.source(name)))

    def start(self) -> None:
        self.exchange.start()

    # ------------------------------------------------------------------ the two processes

    async def _run_exchange(self, process: Process, life: Life) -> None:
        data = self.data(life)
        process.state = lambda: "opening"
        log = open_log(data, SEGMENT_BYTES, self.note)
        machine, views = restore(data, log.log_id, log.durable_sequence, self.note)
        source = self.chance.source(f"workers of {process.lives}")
        clock = Clock(lambda: (self.loop.now_us() + self._clock_offset_us) * 1000, lambda: self.loop.now_us() * 1000)
        shard = Shard(machine, log, views, clock=clock, workers=lambda name: SimWorker(life, self.loop, self.faults, source))
        shard.on_durable = self._tell_durable
        self._tell_durable(log.durable_sequence)
        process.state = lambda: "closing" if shard.is_closing else "writing" if shard.under_way else "serving"
        self.gateways["exchange"] = Door(life, shard, views)
        self._began_at = shard.applied_sequence
        if not self.follower_process.is_alive:
            self.follower_process.start()
        error = await shard.stopped
        assert error is not None, "a shard that stops by itself says why"
        raise error

    def _tell_durable(self, sequence: int) -> None:
        self.loop.world_later(self._random.uniform(0, PIPE_S), self._hear_durable, sequence)

    def _hear_durable(self, sequence: int) -> None:
        if self._durable is not None:
            self._durable.put_nowait(sequence)

    async def _run_follower(self, process: Process, life: Life) -> None:
        self._durable = asyncio.Queue()
        data = self.data(life)
        process.state = lambda: "opening"
        store = SimStore(data.settled, life, self.faults)
        try:
            follower = self.follower = Follower(data, policy=self._policy, report=self.note, store=store)
            self._followed_from = follower.machine.sequence
            follower.follow(follower.settled_sequence)
            process.state = lambda: "following"
            wanted = follower.settled_sequence
            door = self.gateways.get("exchange")
            if door is not None:
                wanted = max(wanted, door.entry.applied_sequence)
            while True:
                await life.pause()
                follower.follow(wanted)
                self.loop.world_later(self._random.uniform(0, PIPE_S), self._tell_settled, follower.settled_sequence)
                if follower.held_up_by is not None:
                    await asyncio.sleep(0.1)
                    continue
                wanted = max(wanted, await self._durable.get())
        finally:
            store.close()

    def _tell_settled(self, sequence: int) -> None:
        door = self.gateways.get("exchange")
        if door is not None and door.life.is_alive:
            door.life.context.run(door.entry.settled_up_to, sequence)
            door.views.forget_settled(min(sequence, door.entry.applied_sequence))

    # ------------------------------------------------------------------ what happens to them

    def note(self, what: str) -> None:
        if not self.is_over:
            self.trace.append(f"{self.loop.now_s:10.6f}  {what}".replace(str(self.root), "DATA"))

    def fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        life = CURRENT.get()
        if error is None or isinstance(error, Died) or (life is not None and not life.is_alive):
            return
        self.fail(error)

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
            self.disk.power_loss(self._random)

    def _ended(self, process: Process, error: BaseException | None) -> None:
        found = parts_of(error)
        unexpected = [each for each in found if not isinstance(each, (Died, LogFailed, DiskFull, SnapshotFailed, asyncio.CancelledError))]
        self.note(f"{process.name} ends: {first_line(error)}")
        if unexpected or error is None:
            self.fail(unexpected[0] if unexpected else RunFailed(f"{process.name} ended by itself"))
            return
        self._clean_up(process)

    def _clean_up(self, process: Process) -> None:
        """The rest of a process that is gone."""
        if process is self.exchange:
            self.disk.locked.clear()
            self.records_applied = self.steps() - self._followed()
            door = self.gateways.pop("exchange", None)
            for future in door.under_way if door is not None else ():
                self.loop.world_later(self._random.uniform(0, 0.01), break_off, future)
        else:
            self._durable = None
            self.records_applied += self._followed()
            self.follower = None
        self.loop.world_later(RESTART_S + self._random.expovariate(5), self._restart, process)

    def _restart(self, process: Process) -> None:
        if process.is_alive or (process is self.follower_process and "exchange" not in self.gateways):
            return  # a follower is started by its exchange
        if process is self.exchange and self.faults.happens("snapshot damaged", None):
            self.note(f"the disk: {self.disk.damage(self._random, self.data().snapshots)}")
        process.start()

    # ------------------------------------------------------------------ faults in time

    def begin_faults(self) -> None:
        self.faults.active = True
        for kind, period_s in self.faults.periods_s.items():
            self._later(kind, period_s, self.chance.source(f"times of {kind}"))

    def _later(self, kind: str, period_s: float, random: Random) -> None:
        self.loop.world_later(random.expovariate(1 / period_s), self._strike, kind, period_s, random)

    def _strike(self, kind: str, period_s: float, random: Random) -> None:
        if not self.faults.active:
            return
        process = random.choice(self.processes)
        if kind in ("process killed", "power lost") and process.is_alive and self.faults.meet(kind, process):
            process.crash(power=kind == "power lost")
        elif kind == "process held" and process.is_alive and self.faults.meet(kind, process):
            process.held_until_s = self.loop.now_s + random.choice((0.05, 0.5, 2.0))
        elif kind == "clock set" and self.faults.meet(kind, self.exchange):
            self._set_clock(random.choice((1_000_000, -1_000_000, 60_000_000, -60_000_000)))
            self.loop.world_later(random.uniform(0.1, 1.0), self._set_clock, 0)
        self._later(kind, period_s, random)

    def _set_clock(self, offset_us: int) -> None:
        self._clock_offset_us = offset_us
        self.note(f"the clock is set to {offset_us / 1e6:+g} s")

    def heal(self) -> None:
        self.faults.active = False
        self._clock_offset_us = 0
        self.disk.heal()
        for process in self.processes:
            process.held_until_s = 0.0
        self.note("all is healed")

    def unfinished(self) -> list[str]:
        door = self.gateways.get("exchange")
        if door is None or self.follower is None:
            return ["the exchange or its follower does not run"]
        found = [] if not door.under_way else [f"the exchange owes {len(door.under_way)} answers"]
        if self.follower.settled_sequence < door.entry.applied_sequence or door.entry.under_way:
            found.append(f"settled is up to {self.follower.settled_sequence}, applied up to {door.entry.applied_sequence}")
        return found

    # ------------------------------------------------------------------ for the checks

    def read_log(self) -> list[bytes]:
        """Every command that is durable, in order."""
        found: list[bytes] = []
        door = self.gateways["exchange"]
        with LogReader(self.root / "log", disk=self.disk) as reader:
            for group in reader.read(door.entry.applied_sequence):
                found += cut(bytes(group.records))
        return found

    def steps(self) -> int:
        """Commands that the exchange has applied, live, and those that its follower has."""
        door = self.gateways.get("exchange")
        applied = door.entry.applied_sequence - self._began_at if door is not None else 0
        return self.records_applied + applied + self._followed()

    def _followed(self) -> int:
        return self.follower.machine.sequence - self._followed_from if self.follower is not None else 0


def cut(records: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(records):
        size = int.from_bytes(records[at + 2 : at + 4], "little") * 8
        found.append(records[at : at + size])
        at += size
    return found


def dump(path: Path) -> dict[str, list[str]]:
    """Every row of every table."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        tables = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        return {table: sorted(repr(row) for row in connection.execute(f"SELECT * FROM {table}")) for table in tables}  # noqa: S608
    finally:
        connection.close()
