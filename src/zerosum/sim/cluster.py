"""
A cluster in a simulated world: every role a process of its own, joined by streams that fail.

    workload --> gateways --> ubscore S --> matching P      each process: killed, held, doubled, its disk full or damaged ...
                    ^            |             |             each stream: cut, slow, its clock set ...
                    +--- events -+-------------+--> settlements, auditor

Of the product nothing is replaced but its edges: streams, disks, the store, clocks and the loop's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
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
from zerosum.services.cluster.role import Bounds, Role, RoleSettings
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.settlement import Settlement
from zerosum.services.cluster.shard_end import SendSettings
from zerosum.services.cluster.topology import Streams
from zerosum.services.cluster.wiring import Wiring
from zerosum.settlement.row_store import MemoryRowStore
from zerosum.sim.archive import FOLDER, Archive
from zerosum.sim.coverage import IN_STREAMS
from zerosum.sim.disk import SimDisk
from zerosum.sim.disk_faults import DiskFaults
from zerosum.sim.findings import RunFailed, first_line, parts_of
from zerosum.sim.loop import SimLoop
from zerosum.sim.plan import LOSSY, Plan
from zerosum.sim.process import Died, Life, Process
from zerosum.sim.programs import SWEEP
from zerosum.sim.settled_rows import SettledRows
from zerosum.sim.store import SimRowStore
from zerosum.sim.streams import SimStream
from zerosum.sim.world import Door, World
from zerosum.views.views import Views

RESERVE: Final = 1 << 8
CLOCK_OFFSET_MAX_US: Final = 1_000_000
ANSWER_S: Final = 5.0
ANSWER_OF_SWEEPS_S: Final = 60.0  # one command takes thousands of messages of the smallest size, and others wait behind it
FORGET_S: Final = 0.1
OWN_END: Final = 64  # messages
NOTICED_S: Final = 3.0  # by when everybody has read on
LOSES: Final = 0.1  # of messages, until one is lost


@final
class Cluster(World):
    """Its processes, streams and store."""

    def __init__(self, loop: SimLoop, plan: Plan) -> None:
        super().__init__(loop, plan)
        self.streams: dict[str, SimStream] = {}
        self.store = MemoryRowStore()
        self.entries: dict[str, ClusterEntry] = {}  # of gateways
        self.roles: dict[str, Role] = {}
        self.auditor: Auditor | None = None
        self.archive = Archive()
        self._loses_of = self.random.choice(IN_STREAMS)
        self.lost = ""  # the stream that has lost a message against its promise
        self.noticed_by: set[str] = set()  # processes that stopped for it
        self.noticed = False  # by all who read it
        self._clock_offsets_us: dict[str, int] = {}  # of gateways
        self._excused: set[str] = set()  # processes that the world has taken snapshots from
        self._usable: dict[str, int] = {}  # of each copy of a machine: the newest snapshot that it could go on from
        Streams(self.topology, self._make_stream)
        self._settings = SnapshotSettings(FOLDER, every=self.random.choice((5, 20, 100, 1000)), keep=self.random.choice((1, 2, 3)))
        self._bounds = self.random.choice((Bounds(), Bounds(4_000, 2_000, 16_000), Bounds(600, 300, 1_200)))
        self._gap_s = Random(f"{plan.seed} gap").choice((0.0, 0.004))
        self._make_processes()

    # ------------------------------------------------------------------ what there is

    def _make_stream(self, name: str) -> Stream:
        stream = self.streams[name] = SimStream(name, self.loop, self.faults, self.chance.source(f"stream {name}"))
        if self.plan.world == LOSSY:
            stream.loses = self._loses
        return stream.of(Life(Process(self.loop, "world", "world", self._nothing)))

    def _loses(self, stream: SimStream, data: bytes) -> bool:
        """One message in a run, early enough that others come after it."""
        if stream.state() != self._loses_of or self.lost or not self.faults.active or not count_in(data) or self.random.random() > LOSES:
            return False
        self.lost = stream.name
        self.faults.meet("message lost for ever", stream)
        self.note(f"{stream.name} loses a message that it has acknowledged")
        return True

    async def _nothing(self, process: Process, life: Life) -> None:
        """The world runs by itself."""

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
        disk.before = DiskFaults(self.loop, self.faults, process, self.chance.source(f"disk of {process.name}")).before
        return disk

    def start(self) -> None:
        for process in self.processes:
            process.start()

    # ------------------------------------------------------------------ what runs in each

    def _streams_of(self, life: Life) -> Streams:
        return Streams(self.topology, lambda name: self.streams[name].of(life))

    def _wiring(self, life: Life) -> Wiring:
        return Wiring(self.topology, self._streams_of(life), self.note, RESERVE)

    def _store_of(self, life: Life) -> SimRowStore:
        return SimRowStore(self.store, life, self.loop, self.faults, self.chance.source(f"store {life.process.name} {life.process.lives}"))

    def _role_settings(self, process: Process) -> RoleSettings:
        patience_s = 0.3 if process.name.startswith("standby") or process.lives > 1 else 0.0
        writer = self.processes.index(process) + 1
        return RoleSettings(self._settings, patience_s=patience_s, gap_s=self._gap_s, writer=writer, bounds=self._bounds)

    async def _run_shard(self, process: Process, life: Life) -> None:
        await self._run_role(process, self._wiring(life).shard(number_of(process), self._role_settings(process), process.disk))

    async def _run_partition(self, process: Process, life: Life) -> None:
        await self._run_role(process, self._wiring(life).partition(number_of(process), self._role_settings(process), process.disk))

    async def _run_role(self, process: Process, role: Role) -> None:
        self.roles[process.name] = role
        process.state = lambda: role.state
        await role.run()

    async def _run_account_settlement(self, process: Process, life: Life) -> None:
        wiring, store = self._wiring(life), self._store_of(life)
        await self._run_settlement(process, wiring.account_settlement(number_of(process), store, self._settings, process.disk, self._gap_s))

    async def _run_market_settlement(self, process: Process, life: Life) -> None:
        wiring, store = self._wiring(life), self._store_of(life)
        await self._run_settlement(process, wiring.market_settlement(number_of(process), store, self._settings, process.disk, self._gap_s))

    async def _run_settlement(self, process: Process, settlement: Settlement) -> None:
        process.state = lambda: settlement.state
        await settlement.run()

    async def _run_gateway(self, process: Process, life: Life) -> None:
        views = Views(self.topology.shards, self.topology.partitions)
        answer_s = ANSWER_OF_SWEEPS_S if self.plan.flavour == SWEEP else ANSWER_S
        sending = SendSettings(answer_s=answer_s, writer=self.processes.index(process) + 1)
        settings = GatewaySettings(sending, barrier_s=answer_s, forget_s=FORGET_S)

        def clock_us() -> int:
            return self.loop.now_us() + self._clock_offsets_us.get(process.name, 0)

        entry = ClusterEntry(self.topology, self._streams_of(life), views, self._store_of(life), settings, clock_us)
        process.state = lambda: "serving" if entry.current.is_set() else "catching up"
        self.entries[process.name] = entry
        settled = SettledRows(self.store, self.topology)
        self.doors[process.name] = Door(
            process.name, life, entry, views, settled, self, entry.current.is_set, answer_s=settings.send.answer_s
        )
        await entry.run()

    async def _run_auditor(self, process: Process, life: Life) -> None:
        self.auditor = Auditor(self._streams_of(life), every_s=0.05)
        process.state = lambda: "auditing"
        await self.auditor.run()

    # ------------------------------------------------------------------ what happens to them

    def process(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    def _process_crashed(self, process: Process, power: bool) -> None:
        self.note(f"{process.name} {'loses power' if power else 'is killed'}, {process.state()}")
        self._clean_up(process, power=power)

    def _process_ended(self, process: Process, error: BaseException | None) -> None:
        """By itself: of a fault that the world has made, or of a bug."""
        self.note(f"{process.name} ends: {first_line(error)}")
        unexpected = [each for each in parts_of(error) if not is_expected(each)]
        if self.lost and any(is_a_gap(each) for each in unexpected):
            return self._notice(process)
        if unexpected or error is None:
            return self.fail(unexpected[0] if unexpected else RunFailed(f"{process.name} ended by itself"))
        if any(isinstance(each, StreamPruned) for each in parts_of(error)):
            if (
                process.name not in self._excused
                and self._usable.get(process.name, 0) >= self._source(process.name.removeprefix("standby.")).first
            ):
                return self.fail(RunFailed(f"{process.name} had a snapshot that it could have gone on from, and let it go"))
            self._put_back(process)
        self._clean_up(process, power=False)

    def _notice(self, process: Process) -> None:
        """It stays down. The others who read the stream are to notice soon, too."""
        if not self.noticed_by:
            self.loop.world_later(NOTICED_S, self._judge)
        self.noticed_by.add(process.name)
        self.close_door(process.name)
        self.roles.pop(process.name, None)
        self.entries.pop(process.name, None)

    def _judge(self) -> None:
        missing = self._readers_of(self.lost) - self.noticed_by
        self.noticed = not missing
        self.fail(RunFailed(f"{self.lost} lost a message, and {sorted(missing)} did not stop for it" if missing else "all noticed"))

    def _readers_of(self, stream: str) -> set[str]:
        kind, _, number = stream.partition(".")
        if kind in ("commands", "orders"):
            return {f"{'ubscore' if kind == 'commands' else 'matching'}.{number}"}
        gateways = {process.name for process in self.processes if process.kind == "gateway"}
        return {f"settlement.{'account' if kind == 'account-events' else 'market'}.{number}", "auditor"} | gateways

    def _put_back(self, process: Process) -> None:
        """The archived snapshot of the machine that runs in a process."""
        process.disk = SimDisk()
        place = self.archive.put_on(process.disk, process.name.removeprefix("standby."))
        process.disk.before = DiskFaults(self.loop, self.faults, process, self.chance.source(f"disk of {process.name}")).before
        self.note(f"{process.name} gets the archived snapshot before message {place}")

    def _clean_up(self, process: Process, *, power: bool) -> None:
        if power:
            process.disk.power_loss(self.random)
        else:
            process.disk.kill()
        self.close_door(process.name)
        self.entries.pop(process.name, None)
        self.roles.pop(process.name, None)
        self._note_usable(process)
        self.restart_later(process, self._restart)

    def _note_usable(self, process: Process) -> None:
        """The newest snapshot that a copy of a machine could go on from, as far as its name tells."""
        if process.kind not in ("ubscore", "matching"):
            return
        kind, _, number = process.name.removeprefix("standby.").partition(".")
        own = self.streams[f"{'account' if kind == 'ubscore' else 'market'}-events.{number}"]
        out_up_to = offset_of(max((unpack(each.data, own.name).upto for each in own.log[-OWN_END:]), default=0))
        there = SnapshotStore(FOLDER, disk=process.disk).sequences()
        usable = max((sequence for sequence in there if sequence <= out_up_to), default=0)
        self._usable[process.name] = max(usable, self._usable.get(process.name, 0))

    def _restart(self, process: Process) -> None:
        if process.is_alive:
            return
        if process.kind in ("ubscore", "matching", "settlement") and self.faults.happens("snapshot damaged", process):
            self.note(f"{process.name}'s disk: {process.disk.damage(self.random, FOLDER)}")
            self._excused.add(process.name)
        process.start()

    # ------------------------------------------------------------------ faults in time

    def strike(self, kind: str, process: Process, random: Random) -> None:
        if kind in ("process killed", "power lost"):
            if process.is_alive and self.faults.meet(kind, process):
                process.crash(power=kind == "power lost")
        elif kind == "process held":
            self.hold(process, random)
        elif kind == "disk lost":
            self._lose_disk(process)
        elif kind == "role doubled":
            self._double(process)
        elif kind == "stream pruned":
            self._prune(process)
        elif kind == "clock set" and process.kind == "gateway":
            self._set_clock(process, random)
        elif kind in ("stream cut", "leader changed", "clock set"):
            self._strike_stream(kind, random.choice(list(self.streams.values())), random)

    def lead_to(self, process: Process, state: str) -> None:
        if state in ("restoring", "catching up") and process.is_alive and self.faults.meet("process killed", process):
            process.crash()

    def _lose_disk(self, process: Process) -> None:
        if process.is_alive and process.kind not in ("gateway", "auditor") and self.faults.meet("disk lost", process):
            self.note(f"{process.name}'s disk is lost")
            process.crash()
            process.disk = self._new_disk(process)
            self._excused.add(process.name)

    def _double(self, process: Process) -> None:
        """A copy that stands by begins to emit, as if it could not see the other's output."""
        role = self.roles.get(process.name)
        if role is not None and role.state == "standing by" and self.faults.meet("role doubled", process):
            self.note(f"{process.name} is made to emit")
            role.emits = True

    def _prune(self, process: Process) -> None:
        role = self.roles.get(process.name)
        if role is None or role.state == "restoring":
            return
        if self.archive.keep(role, process.disk) and self.faults.meet("stream pruned", process):
            stream = self.source_of(role)
            self.archive.prune(stream, [each for each in self.roles.values() if each.machine.name == role.machine.name])
            self.note(f"{stream.name} is pruned before message {stream.first}")

    def _set_clock(self, process: Process, random: Random) -> None:
        if process.is_alive and self.faults.meet("clock set", process):
            self._clock_offsets_us[process.name] = random.randint(-CLOCK_OFFSET_MAX_US, CLOCK_OFFSET_MAX_US)

    def _strike_stream(self, kind: str, stream: SimStream, random: Random) -> None:
        if stream.state() == "control" or not self.faults.meet(kind, stream):
            return
        if kind == "stream cut":
            stream.cut_until_s = self.loop.now_s + random.choice((0.05, 0.3, 1.5))
            self.note(f"{stream.name} is cut until {stream.cut_until_s:.3f}")
        elif kind == "leader changed":
            stream.change_leader(random.randint(-CLOCK_OFFSET_MAX_US, CLOCK_OFFSET_MAX_US))
            self.note(f"{stream.name} has another leader, from {stream.cut_until_s:.3f} on")
        else:
            stream.clock_offset_us = random.randint(-CLOCK_OFFSET_MAX_US, CLOCK_OFFSET_MAX_US)

    def heal(self) -> None:
        self.faults.active = False
        for stream in self.streams.values():
            stream.cut_until_s = 0.0
        for process in self.processes:
            process.held_until_s = 0.0
            process.disk.heal()
        self.note("all is healed")

    # ------------------------------------------------------------------ how far it is

    def unfinished(self) -> Iterator[str]:
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
                last = last_of(stream)
                settled = self.store.positions.get(name)
                if last and (settled is None or settled.sequence < last):
                    yield f"{name} is settled up to {settled}, of {last}"
        for name, door in self.doors.items():
            if door.under_way:
                yield f"{name} owes {len(door.under_way)} answers"
        for name, door in self.doors.items():
            for partition, shown in enumerate(door.views.market_sequences):
                if shown < last_of(self.streams[f"market-events.{partition}"]):
                    yield f"{name} has not seen the end of market-events.{partition}"
            if ended := sum(len(shard.accounts.ended) for shard in door.views.shards):
                yield f"{name} keeps {ended} orders that have ended and are settled"
        for name, entry in self.entries.items():
            for shard, upto in enumerate(entry.shown_up_to()):
                if upto < position(len(self.streams[f"commands.{shard}"].log)):
                    yield f"{name} has not seen the end of commands.{shard}"

    def source_of(self, role: Role) -> SimStream:
        return self._source(role.machine.name)

    def _source(self, machine: str) -> SimStream:
        kind, _, number = machine.partition(".")
        return self.streams[f"{'commands' if kind == 'ubscore' else 'orders'}.{number}"]

    def steps(self) -> int:
        return sum(stream.records_read for stream in self.streams.values())


def last_of(stream: SimStream) -> int:
    """The number of the last event in a stream."""
    return max([unpack(each.data, stream.name).sequence for each in stream.log[-OWN_END:]], default=0)


def number_of(process: Process) -> int:
    return int(process.name.rpartition(".")[2])


def is_expected(error: BaseException) -> bool:
    """Whether a process may end of it, for the world has made it so."""
    return isinstance(error, (DeliveryFailed, Died, MessageDamaged, SnapshotFailed, StreamPruned, asyncio.CancelledError))


def is_a_gap(error: BaseException) -> bool:
    return isinstance(error, Gap) or (isinstance(error, MachineStopped) and "one is missing" in str(error))
