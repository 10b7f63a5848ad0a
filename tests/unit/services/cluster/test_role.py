"""The loop of one copy of a machine by itself: what it may say, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from zerosum.core import records
from zerosum.core.codes import FIRST_USER
from zerosum.log.errors import MessageDamaged
from zerosum.log.memory_streams import MemoryStream
from zerosum.log.messages import pack, position
from zerosum.log.streams import Appended, Ends
from zerosum.services.cluster.machines import PartitionMachine, ShardMachine
from zerosum.services.cluster.memory import MemoryCluster
from zerosum.services.cluster.role import Role, RoleSettings
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.services.cluster.wiring import Wiring
from zerosum.sim.disk import SimDisk
from zerosum.sim.loop import SimLoop

FOLDER = Path("/snapshots")


class SlowToRead:
    """A stream whose first read is answered, which looks for its end, and others once `goes_on` is set."""

    def __init__(self, stream: MemoryStream) -> None:
        self.name = stream.name
        self.stream = stream
        self.goes_on = asyncio.Event()
        self._reads = 0

    def writer(self) -> MemoryStream:
        return self.stream

    async def read(self, offset: int) -> list[Appended]:
        self._reads += 1
        if self._reads > 1:
            await self.goes_on.wait()
        return await self.stream.read(offset)

    async def ends(self) -> Ends:
        return await self.stream.ends()


class Slow:
    """A stream whose messages are acknowledged so long after they are sent, and read so long after they are there."""

    def __init__(self, stream: MemoryStream, acknowledged_s: float, read_s: float) -> None:
        self.name = stream.name
        self._stream = stream
        self._acknowledged_s = acknowledged_s
        self._read_s = read_s

    def writer(self) -> Slow:
        return self

    async def append(self, data: bytes) -> int:
        await asyncio.sleep(self._acknowledged_s / 2)
        offset = await self._stream.append(data)
        await asyncio.sleep(self._acknowledged_s / 2)
        return offset

    async def read(self, offset: int) -> list[Appended]:
        found = await self._stream.read(offset)
        await asyncio.sleep(self._read_s)
        return found

    async def ends(self) -> Ends:
        return await self._stream.ends()


STRANGE = (b"", b'{"side": "BUY", "symbol": "BTCUSDT"}', b"\xff" * 200)


def open_account(account: int) -> bytes:
    return records.command(records.OPEN_ACCOUNT, 0, account)


def test_a_copy_says_nothing_before_it_has_made_what_was_out_and_found_it_the_same() -> None:
    loop = SimLoop()

    async def story() -> None:
        before = MemoryCluster(Topology(1, 1), SimDisk(), FOLDER, loop.now_us)
        async with before.running():
            for account in range(FIRST_USER, FIRST_USER + 3):
                await before.command(open_account(account))
            await before.quiet()
        await before.streams.commands[0].writer().append(pack(open_account(FIRST_USER + 9)))
        events = before.streams.account_events[0]
        assert isinstance(events, MemoryStream)
        slow = SlowToRead(events)

        def stream(name: str) -> MemoryStream | SlowToRead:
            if name == events.name:
                return slow
            found = next(each for each in before.streams.all() if each.name == name)
            assert isinstance(found, MemoryStream)
            return found

        settings = RoleSettings(SnapshotSettings(FOLDER), patience_s=0)
        role = Wiring(before.topology, Streams(before.topology, stream), reserve=64).shard(0, settings, SimDisk())
        there = events.next_offset
        running = loop.create_task(role.run())
        await asyncio.sleep(10)
        assert role.machine.own_sequence() == 4, "it has made everything"
        assert events.next_offset == there
        slow.goes_on.set()
        await asyncio.sleep(10)
        assert events.next_offset > there
        running.cancel()

    loop.run(story())


def test_what_is_no_message_changes_nothing_stops_nothing_and_is_reported() -> None:
    loop = SimLoop()

    async def story() -> None:
        cluster = MemoryCluster(Topology(1, 1), SimDisk(), FOLDER, loop.now_us)
        async with cluster.running():
            for stream in (cluster.streams.commands[0], cluster.streams.orders[0]):
                for data in STRANGE:
                    await stream.writer().append(data)
            (opened,) = await cluster.command(open_account(FIRST_USER))
            assert opened[0] & 0xFF == records.ACCOUNT_CHANGED
            await cluster.quiet()
            await asyncio.sleep(1)
            assert cluster.auditor.foreign == 2 * len(STRANGE)

    loop.run(story())


def test_a_damaged_message_stops_a_machine_unless_it_is_passed_over() -> None:
    damaged = bytearray(pack(open_account(FIRST_USER)))
    damaged[-1] ^= 1
    appended = Appended(0, 0, bytes(damaged))
    machine = ShardMachine(0, Topology(1, 1), reserve=64)
    with pytest.raises(MessageDamaged, match=r"ubscore.0, position 65536 of its input"):
        list(machine.steps(appended))
    machine.quarantine({position(0)})
    (output,) = machine.steps(appended)
    (event,) = records.records(output.own)
    assert event[0] & 0xFF == records.FOREIGN
    assert machine.next_offset == 1


def test_an_engine_takes_numbered_records_only_so_no_damaged_message_of_them_is_passed_over() -> None:
    damaged = bytearray(pack(records.command(records.OPEN_ACCOUNT, 0, FIRST_USER)))
    damaged[-1] ^= 1
    machine = PartitionMachine(0, Topology(1, 1), reserve=64)
    machine.quarantine({position(0)})
    with pytest.raises(MessageDamaged, match=r"matching.0, position 65536 of its input"):
        list(machine.steps(Appended(0, 0, bytes(damaged))))
    (output,) = machine.steps(Appended(0, 0, b"no message at all"))
    assert len(list(records.records(output.own))) == 1


def test_of_two_copies_that_put_out_the_one_of_the_higher_number_stands_by_again_and_takes_over_when_the_other_is_gone() -> None:
    loop = SimLoop()
    topology = Topology(1, 1)

    async def story() -> None:
        streams = Streams(topology, lambda name: MemoryStream(name, loop.now_us))

        def copy(number: int) -> Role:
            settings = RoleSettings(SnapshotSettings(FOLDER / str(number)), patience_s=0.3, writer=number)
            return Wiring(topology, streams, reserve=64).shard(0, settings, SimDisk())

        async def command(account: int) -> None:
            await streams.commands[0].writer().append(pack(open_account(account)))
            await asyncio.sleep(1)

        first, second = copy(1), copy(2)
        running = [loop.create_task(role.run()) for role in (first, second)]
        await command(FIRST_USER)
        assert first.emits, "both find it late at the same time"
        await command(FIRST_USER + 1)
        assert (first.emits, second.emits) == (True, False)
        running[0].cancel()
        await command(FIRST_USER + 2)
        assert second.emits
        again = copy(1)
        running[0] = loop.create_task(again.run())
        await command(FIRST_USER + 3)
        assert (again.emits, second.emits) == (False, True), "it is not late"

    loop.run(story())


def test_two_processes_of_one_number_are_told_to_get_numbers_of_their_own() -> None:
    loop = SimLoop()
    topology = Topology(1, 1)
    said: list[str] = []

    async def story() -> None:
        streams = Streams(topology, lambda name: MemoryStream(name, loop.now_us))
        for folder in ("one", "other"):
            settings = RoleSettings(SnapshotSettings(FOLDER / folder), patience_s=0.3, writer=7)
            role = Wiring(topology, streams, said.append, reserve=64).shard(0, settings, SimDisk())
            loop.create_task(role.run())
        for account in range(FIRST_USER, FIRST_USER + 20):
            await streams.commands[0].writer().append(pack(open_account(account)))
            await asyncio.sleep(1)

    loop.run(story())
    told = [line for line in said if "another process puts out as copy 7, too" in line]
    assert len(told) == 2, said


@pytest.mark.parametrize(("acknowledged_s", "read_s"), [(0.003, 0.001), (0.005, 0.01), (0.28, 0.003)])
def test_copies_in_step_on_a_slow_stream_come_to_one_that_puts_out(acknowledged_s: float, read_s: float) -> None:
    """Also where each hears of its own messages before it reads the other's, and where the one that goes on is slow."""
    loop = SimLoop()
    topology = Topology(1, 1)
    said: list[str] = []

    async def story() -> None:
        there = Streams(topology, lambda name: MemoryStream(name, loop.now_us))
        by_name = {stream.name: stream for stream in there.all()}
        copies = []
        for number in (1, 2):
            slow = Streams(topology, lambda name: Slow(cast("MemoryStream", by_name[name]), acknowledged_s, read_s))
            settings = RoleSettings(SnapshotSettings(FOLDER / str(number)), patience_s=0.3, writer=number)
            copies.append(Wiring(topology, slow, said.append, reserve=64).shard(0, settings, SimDisk()))
        for role in copies:
            loop.create_task(role.run())
        for account in range(FIRST_USER, FIRST_USER + 500):
            await there.commands[0].writer().append(pack(open_account(account)))
            await asyncio.sleep(0.02)
        assert [role.emits for role in copies] == [True, False]

    loop.run(story())
    assert sum("puts out what is due" in line and "stands by" not in line for line in said) <= 2, said
