"""
A cluster in a simulated world: every role a process of its own, joined by streams that fail.

    workload --> gateways --> ubscore S --> matching P      each process: killed, held, doubled, its disk full or damaged ...
                    ^            |             |             each stream: cut, slow, its clock set ...
                    +--- events -+-------------+--> settlements, auditor

Of the product nothing is replaced but its edges: streams, disks, the store, clocks and the loop's time.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final, final

from zerosum.log.errors import MessageDamaged, SnapshotFailed
from zerosum.log.messages import count_in, offset_of, position, unpack
from zerosum.log.sequences import Gap
from zerosum.log.snapshots import SnapshotStore
from zerosum.log.streams import DeliveryFailed, Stream, StreamPruned
from zerosum.services.cluster.auditor import Auditor
from zerosum.services.cluster.gateway import ClusterEntry, GatewaySettings
from zerosum.services.cluster.machines import MachineStopped
from zerosum.services.cluster.role import Role, RoleSettings
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.services.cluster.wiring import Wiring
from zerosum.settlement.row_store import MemoryRowStore
from zerosum.sim.chance import Chance
from zerosum.sim.disk import SimDisk
from zerosum.sim.faults import Faults
from zerosum.sim.loop import CURRENT, SimLoop
from zerosum.sim.plan import LOSSY, Plan
from zerosum.sim.process import Died, Life, Process
from zerosum.sim.store import SimRowStore
from zerosum.sim.streams import SimStream
from zerosum.views.views import Views

RESERVE: Final = 1 << 8
FOLDER: Final = Path("/snapshots")
RESTART_S: Final = 0.05
CLOCK_OFFSET_MAX_US: Final = 1_000_000
TRACE_LINES: Final = 400
LOSES: Final = 0.02  # of messages, until one is lost


class RunFailed(Exception):
    """What a checker found, or a process that ended as none may."""


@final
class Gateway:
    """What clients reach in a gateway's process."""

    def __init__(self, life: Life, entry: ClusterEntry, views: Views) -> None:
        self.life = life
        self.entry = entry
        self.views = views
        self.under_way: dict[asyncio.Future[Any], None] = {}  # of clients that wait for it

    @property
    def is_current(self) -> bool:
        return self.entry.current.is_set()


@final
class Cluster:
    """The world: its processes, streams and store. `failed` is set by the first thing that may not be."""

    def __init__(self, loop: SimLoop, plan: Plan) -> None:
        self.loop = loop
        self.plan = plan
        self.chance = Chance(plan.seed)
        self.faults = Faults(self.chance, plan.without, plan.off)
        self.topology = Topology(plan.shards, plan.partitions)
        self.streams: dict[str, SimStream] = {}
        self.store = MemoryRowStore()
        self.failed: asyncio.Future[BaseException] = loop.create_future()
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.gateways: dict[str, Gateway] = {}
        self.roles: dict[str, Role] = {}
        self.auditor: Auditor | None = None
        self.processes: list[Process] = []
        self.archive = Archive(self)
        self.lost = ""  # the stream that has lost a message against its promise
        self.noticed = False  # by whoever reads it
        self.is_over = False  # nothing that happens now is part of the story
        self._random = self.chance.source("world")
        loop.set_exception_handler(self._unheard)
        Streams(self.topology, self._make_stream)
        self._settings = self._draw_settings()
        self._make_processes()

    # ------------------------------------------------------------------ what there is

    def _make_stream(self, name: str) -> Stream:
        stream = self.streams[name] = SimStream(name, self.loop, self.faults, self.chance.source(f"stream {name}"))
        if self.plan.world == LOSSY:
            stream.loses = self._loses
        return stream.of(Life(Process(self.loop, "world", "world", self._nothing)))

    def _loses(self, stream: SimStream, data: bytes) -> bool:
        """One message in a run, early enough that others come after it."""
        if self.lost or not self.faults.active or not count_in(data) or self._random.random() > LOSES:
            return False
        self.lost = stream.name
        self.note(f"{stream.name} loses a message that it has acknowledged")
        return True

    async def _nothing(self, process: Process, life: Life) -> None:
        """The world runs by itself."""

    def _draw_settings(self) -> SnapshotSettings:
        return SnapshotSettings(FOLDER, every=self._random.choice((5, 20, 100, 1000)), keep=self._random.choice((1, 2, 3)))

    def _make_processes(self) -> None:
        for shard in range(self.topology.shards):
            self._add(f"ubscore.{shard}", "ubscore", self._run_shard)
            self._add(f"settlement.account.{shard}", "settlement", self._run_account_settlement)
            if self.plan.standbys:
                self._add(f"standby.ubscore.{shard}", "ubscore", self._run_shard)
        for partition in range(self.topology.partitions):
            self._add(f"matching.{partition}", "matching", self._run_partition)
            self._add(f"settlement.market.{partition}", "settlement", self._run_market_settlement)
            if self.plan.standbys:
                self._add(f"standby.matching.{partition}", "matching", self._run_partition)
        for number in range(self.plan.gateways):
            self._add(f"gateway.{number}", "gateway", self._run_gateway)
        self._add("auditor", "auditor", self._run_auditor)

    def _add(self, name: str, kind: str, run: Any) -> None:
        process = Process(self.loop, name, kind, run)
        process.ended = self._process_ended
        process.crashed = self._process_crashed
        process.disk = self._new_disk(process)
        self.processes.append(process)

    def _new_disk(self, process: Process) -> SimDisk:
        disk = SimDisk()
        disk.before = DiskFaults(self, process).before
        return disk

    def start(self) -> None:
        for process in self.processes:
            process.start()

    # ------------------------------------------------------------------ what runs in each

    def _streams_of(self, life: Life) -> Streams:
        return Streams(self.topology, lambda name: self.streams[name].of(life))

    def _wiring(self, life: Life) -> Wiring:
        return Wiring(self.topology, self._streams_of(life), self._report, RESERVE)

    def _store_of(self, life: Life) -> SimRowStore:
        return SimRowStore(self.store, life, self.loop, self.faults, self.chance.source(f"store {life.process.name} {life.process.lives}"))

    def _role_settings(self, process: Process) -> RoleSettings:
        patience_s = 0.3 if process.name.startswith("standby") or process.lives > 1 else 0.0
        return RoleSettings(self._settings, patience_s=patience_s, writer=self.processes.index(process) + 1)

    async def _run_shard(self, process: Process, life: Life) -> None:
        number = int(process.name.rpartition(".")[2])
        await self._run_role(process, self._wiring(life).shard(number, self._role_settings(process), process.disk))

    async def _run_partition(self, process: Process, life: Life) -> None:
        number = int(process.name.rpartition(".")[2])
        await self._run_role(process, self._wiring(life).partition(number, self._role_settings(process), process.disk))

    async def _run_role(self, process: Process, role: Role) -> None:
        self.roles[process.name] = role
        process.state = lambda: role.state
        await role.run()

    async def _run_account_settlement(self, process: Process, life: Life) -> None:
        number = int(process.name.rpartition(".")[2])
        settlement = self._wiring(life).account_settlement(number, self._store_of(life), self._settings, process.disk)
        process.state = lambda: settlement.state
        await settlement.run()

    async def _run_market_settlement(self, process: Process, life: Life) -> None:
        number = int(process.name.rpartition(".")[2])
        settlement = self._wiring(life).market_settlement(number, self._store_of(life), self._settings, process.disk)
        process.state = lambda: settlement.state
        await settlement.run()

    async def _run_gateway(self, process: Process, life: Life) -> None:
        views = Views(self.topology.shards, self.topology.partitions)
        settings = GatewaySettings(answer_s=5.0, barrier_s=5.0, writer=self.processes.index(process) + 1)
        entry = ClusterEntry(self.topology, self._streams_of(life), views, self._store_of(life), settings, self.loop.now_us)
        process.state = lambda: "serving" if entry.current.is_set() else "catching up"
        self.gateways[process.name] = Gateway(life, entry, views)
        await entry.run()

    async def _run_auditor(self, process: Process, life: Life) -> None:
        self.auditor = Auditor(self._streams_of(life), every_s=0.05)
        process.state = lambda: "auditing"
        await self.auditor.run()

    # ------------------------------------------------------------------ what happens to them

    def process(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    def note(self, what: str) -> None:
        if not self.is_over:
            self.trace.append(f"{self.loop.now_s:10.6f}  {what}")

    def _report(self, line: str) -> None:
        self.note(line)

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a task or a callback raised that nobody waits for: of a process that is dead, or a bug."""
        error = context.get("exception")
        life = CURRENT.get()
        if error is None or isinstance(error, Died) or (life is not None and not life.is_alive):
            return
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    def _process_crashed(self, process: Process, power: bool) -> None:
        self.note(f"{process.name} {'loses power' if power else 'is killed'}, {process.state()}")
        self._clean_up(process, power=power)

    def _process_ended(self, process: Process, error: BaseException | None) -> None:
        """By itself: of a fault that the world has made, or of a bug."""
        unexpected = [each for each in parts_of(error) if not is_expected(each)]
        if self.lost and any(is_a_gap(each) for each in unexpected):
            self.note(f"{process.name} ends: {first_line(error)}")
            self.noticed = True
            self.fail(RunFailed("a gap was noticed"))
            return
        if unexpected or error is None:
            self.note(f"{process.name} ends: {error!r}")
            self.fail(unexpected[0] if unexpected else RunFailed(f"{process.name} ended by itself"))
            return
        self.note(f"{process.name} ends: {first_line(error)}")
        if any(isinstance(each, StreamPruned) for each in parts_of(error)):
            self.archive.put_back(process)
        self._clean_up(process, power=False)

    def _clean_up(self, process: Process, *, power: bool) -> None:
        if power:
            process.disk.power_loss(self._random)
        else:
            process.disk.kill()
        gateway = self.gateways.pop(process.name, None)
        for future in gateway.under_way if gateway is not None else ():
            self.loop.world_later(self._random.uniform(0, 0.01), break_off, future)
        self.roles.pop(process.name, None)
        self.loop.world_later(RESTART_S + self._random.expovariate(5), self._restart, process)

    def _restart(self, process: Process) -> None:
        if process.is_alive:
            return
        if process.kind in ("ubscore", "matching", "settlement") and self.faults.happens("snapshot damaged", None):
            self.note(f"{process.name}'s disk: {process.disk.damage(self._random, FOLDER)}")
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
        if kind in ("process killed", "power lost"):
            if process.is_alive and self.faults.meet(kind, process):
                process.crash(power=kind == "power lost")
        elif kind == "process held":
            if process.is_alive and self.faults.meet(kind, process):
                process.held_until_s = self.loop.now_s + random.choice((0.05, 0.5, 2.0))
                self.note(f"{process.name} is held until {process.held_until_s:.3f}, {process.state()}")
        elif kind == "disk lost":
            if process.is_alive and process.kind != "gateway" and self.faults.meet(kind, process):
                self.note(f"{process.name}'s disk is lost")
                process.crash()
                process.disk = self._new_disk(process)
        elif kind == "role doubled":
            self._double(process, random)
        elif kind == "stream pruned":
            self.archive.prune_some(random)
        elif kind == "stream cut":
            stream = random.choice(list(self.streams.values()))
            if self.faults.meet(kind, None):
                stream.cut_until_s = self.loop.now_s + random.choice((0.05, 0.3, 1.5))
                self.note(f"{stream.name} is cut until {stream.cut_until_s:.3f}")
        elif kind == "clock set":
            stream = random.choice(list(self.streams.values()))
            if self.faults.meet(kind, None):
                stream.clock_offset_us = random.randint(-CLOCK_OFFSET_MAX_US, CLOCK_OFFSET_MAX_US)
        self._later(kind, period_s, random)

    def _double(self, process: Process, random: Random) -> None:
        """A copy that stands by begins to emit, as if it could not see the other's output."""
        role = self.roles.get(process.name)
        if role is not None and not role.emits and self.faults.meet("role doubled", process):
            self.note(f"{process.name} is made to emit")
            role.emits = True

    def unfinished(self) -> Iterator[str]:
        """What has not come to its end."""
        for process in self.processes:
            if not process.is_alive:
                yield f"{process.name} does not run"
        for name, role in self.roles.items():
            ends = len(self.source_of(role).log)
            if role.machine.next_offset < ends:
                yield f"{name} has taken {role.machine.next_offset} of {ends} messages"
            if role.outbox.waits_since() is not None:
                yield f"{name} has something to emit"
        for name, stream in self.streams.items():
            if "-events" in name:
                last = max([unpack(each.data, name).sequence for each in stream.log], default=0)
                settled = self.store.positions.get(name)
                if last and (settled is None or settled.sequence < last):
                    yield f"{name} is settled up to {settled}, of {last}"
        for name, gateway in self.gateways.items():
            if gateway.under_way:
                yield f"{name} owes {len(gateway.under_way)} answers"
            for shard, upto in enumerate(gateway.entry.shown_up_to()):
                if upto < position(len(self.streams[f"commands.{shard}"].log)):
                    yield f"{name} has not seen the end of commands.{shard}"

    def source_of(self, role: Role) -> SimStream:
        kind, _, number = role.machine.name.partition(".")
        return self.streams[f"{'commands' if kind == 'ubscore' else 'orders'}.{number}"]

    def steps(self) -> int:
        """Records that roles have taken."""
        return sum(stream.records_read for stream in self.streams.values())

    def heal(self) -> None:
        """From here on nothing fails, and whatever stands still goes on."""
        self.faults.active = False
        for stream in self.streams.values():
            stream.cut_until_s = 0.0
        for process in self.processes:
            process.held_until_s = 0.0
            process.disk.heal()
        self.note("all is healed")


@final
class Archive:
    """
    What an operator does about old messages: keeps a verified snapshot of each machine apart, and lets go of its input before that; but not
    of what a copy has yet to read. A copy that has lost its own snapshots gets the one from here.
    """

    def __init__(self, world: Cluster) -> None:
        self._world = world
        self._kept: dict[str, tuple[int, dict[str, int | str], dict[str, bytes]]] = {}  # by machine: place, meta, sections

    def prune_some(self, random: Random) -> None:
        world = self._world
        if not world.roles:
            return
        name = random.choice(list(world.roles))
        role = world.roles[name]
        snapshot, _ = SnapshotStore(FOLDER, disk=world.process(name).disk.copy()).newest(at_most=offset_of(role.outbox.seen.upto))
        if snapshot is None or not world.faults.meet("stream pruned", world.process(name)):
            return
        machine = role.machine.name
        if snapshot.sequence > self._kept.get(machine, (0, {}, {}))[0]:
            self._kept[machine] = snapshot.sequence, snapshot.meta, snapshot.sections
        copies = [each for each in world.roles.values() if each.machine.name == machine]
        stream = world.source_of(role)
        stream.prune(min([self._kept[machine][0], *(each.machine.next_offset for each in copies)]))
        world.note(f"{stream.name} is pruned before message {stream.first}")

    def put_back(self, process: Process) -> None:
        """The snapshot of the machine that runs in a process."""
        place, meta, sections = self._kept[process.name.removeprefix("standby.")]
        process.disk = SimDisk()
        SnapshotStore(FOLDER, disk=process.disk).write(place, meta, sections.items())
        process.disk.before = DiskFaults(self._world, process).before
        self._world.note(f"{process.name} gets the archived snapshot before message {place}")


@final
class DiskFaults:
    """What happens at the operations of one process's disk."""

    def __init__(self, world: Cluster, process: Process) -> None:
        self._faults = world.faults
        self._process = process
        self._random = world.chance.source(f"disk of {process.name}")

    def before(self, operation: str) -> None:
        life, faults = self._process.life, self._faults
        if life is None:
            return  # the world looks at it
        if operation in ("create", "pwrite") and faults.happens("disk full", life):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if operation in ("sync", "sync_directory") and faults.happens("sync fails", life):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if operation in ("create", "pwrite", "sync", "rename", "sync_directory", "unlink") and faults.happens(
            "crash at a disk write", life
        ):
            self._process.crash(power=self._random.random() < 0.5)
            raise Died


def parts_of(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [part for each in error.exceptions for part in parts_of(each)]
    return [error] if error is not None else []


def is_expected(error: BaseException) -> bool:
    """Whether a process may end of it, for the world has made it so."""
    return isinstance(error, (DeliveryFailed, Died, MessageDamaged, SnapshotFailed, StreamPruned, asyncio.CancelledError))


def is_a_gap(error: BaseException) -> bool:
    return isinstance(error, Gap) or (isinstance(error, MachineStopped) and "one is missing" in str(error))


def first_line(error: BaseException | None) -> str:
    found = parts_of(error)
    return f"{type(found[0]).__name__}: {str(found[0]).splitlines()[:1]}" if found else "nothing"


def break_off(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
