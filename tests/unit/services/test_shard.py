"""
The live shard, on a real log and with its real thread: what is answered when, what is refused when, and what ends it.

The disk below is one that a test makes wait, fill up or fail (tests/support/watched_disk.py).
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from tests.support.shard_world import ANN, PRICE_TICKS, Answered, ShardWorld, cancel, place, sell, tick
from tests.support.watched_disk import Fails, HeldSync, NoRoom, Operation, WatchedDisk
from zerosum.core import records
from zerosum.gateway.entry import Busy, Event
from zerosum.log.errors import LogFailed
from zerosum.log.file_log import FileLog
from zerosum.log.layout import GROUP_OVERHEAD_BYTES
from zerosum.log.reader import LogReader
from zerosum.services import shard as shard_module
from zerosum.services.clock import Clock
from zerosum.services.machine import Machine
from zerosum.services.shard import Limits

OPENED = 9  # commands of `opening`


def kinds(events: list[Event]) -> list[int]:
    return [event[0] & 0xFF for event in events]


def groups_in(folder: Path, last: int) -> list[tuple[int, int]]:
    """(first sequence, payload bytes) of each group in a log."""
    with LogReader(folder) as reader:
        return [(group.first_sequence, len(group.records)) for group in reader.read(last) if group.record_count]


def replayed(folder: Path) -> Machine:
    """What a closed log gives to fresh machines."""
    machine = Machine()
    with FileLog.open(folder, segment_bytes=1 << 16) as log, LogReader(folder) as reader:
        for group in reader.read(log.durable_sequence):
            machine.apply(bytes(group.records))
    return machine


# ---------------------------------------------------------------------- order and groups


async def test_answers_come_in_the_order_of_the_submits(tmp_path: Path) -> None:
    """Each with its own events and no other's, however the commands were cut into groups."""
    slow = WatchedDisk(before=lambda operation: time.sleep(0.004) if operation.name == "sync" else None)
    async with ShardWorld.on(tmp_path, slow) as world:
        for number in range(300):
            world.submit(place(price_ticks=PRICE_TICKS - number) if number % 3 else tick(), number)
            if number % 7 == 0:
                await asyncio.sleep(0.001)
        await world.until(lambda: len(world.answers) == 300)
        assert [answer.name for answer in world.answers] == list(range(300))
        for name, events in world.answers:
            assert kinds(events) == ([records.ADMITTED, records.ACCEPTED] if name % 3 else [])
            assert {event[2] for event in events} <= {OPENED + 1 + name}
        assert world.shard.groups - OPENED < 150, "commands gather while a sync runs"


async def test_a_group_gathers_while_the_last_sync_runs(tmp_path: Path) -> None:
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held)) as world:
        groups = world.shard.groups
        held.hold()
        world.submit(place())
        await world.until(held.waiting.is_set)
        for _ in range(99):
            world.submit(place())
            await asyncio.sleep(0)
        held.let_go()
        await world.until(lambda: len(world.answers) == 100)
        assert world.shard.groups == groups + 2
    assert [first for first, _ in groups_in(tmp_path, OPENED + 100)][-2:] == [OPENED + 1, OPENED + 2]


async def test_nothing_is_answered_shown_or_settled_before_it_is_durable(tmp_path: Path) -> None:
    """The one promise that everything else rests on."""
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held)) as world:
        told: list[int] = []
        world.shard.on_durable = told.append
        shown = world.views.shards[0].sequence
        held.hold()
        world.submit(place())
        await world.until(held.waiting.is_set)
        passed: list[str] = []
        world.shard.when_applied(lambda: passed.append("barrier"))
        await asyncio.sleep(0.1)
        assert (world.answers, passed, told) == ([], [], [])
        assert (world.machine.sequence, world.views.shards[0].sequence, world.shard.under_way) == (OPENED, shown, 1)
        held.let_go()
        await world.until(lambda: bool(world.answers))
        assert (passed, told) == (["barrier"], [OPENED + 1])
        assert (world.machine.sequence, world.shard.under_way) == (OPENED + 1, 0)
        assert world.views.shards[0].sequence > shown


async def test_a_group_is_applied_whole_before_any_of_it_is_answered(tmp_path: Path) -> None:
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held)) as world:
        held.hold()
        world.submit(place())
        await world.until(held.waiting.is_set)
        seen: list[tuple[int, int]] = []
        for _ in range(10):
            world.shard.submit(place(), lambda events: seen.append((world.machine.sequence, len(world.views.accounts.orders))))
        held.let_go()
        await world.until(lambda: len(seen) == 10)
        assert set(seen) == {(OPENED + 11, 11)}


async def test_a_burst_is_cut_into_groups_within_the_bound(tmp_path: Path) -> None:
    held = HeldSync()
    limits = Limits(group_bytes_max=2000)
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held), limits=limits) as world:
        held.hold()
        for number in range(200):
            world.submit(place(), number)
            if number == 0:
                await world.until(held.waiting.is_set)
        held.let_go()
        await world.until(lambda: len(world.answers) == 200)
        assert [answer.name for answer in world.answers] == list(range(200))
    sizes = [size for first, size in groups_in(tmp_path, OPENED + 200) if first > OPENED + 1]
    assert max(sizes) <= 2000
    assert min(sizes[:-1]) > 2000 - len(place()), "no group is cut sooner than it must be"


async def test_a_group_is_never_larger_than_a_segment_takes(tmp_path: Path) -> None:
    """The bound on groups and the size of segments are two settings: whatever they are, a burst is written."""
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held), segment_bytes=4096) as world:
        held.hold()
        for number in range(200):
            world.submit(place(), number)
        await world.until(held.waiting.is_set)
        held.let_go()
        await world.until(lambda: len(world.answers) == 200 or world.shard.stopped.done())
        assert not world.shard.stopped.done()
        assert world.log.group_bytes_max + GROUP_OVERHEAD_BYTES < 4096
    assert replayed(tmp_path).sequence == OPENED + 200


async def test_the_log_stamps_every_command_with_the_time_of_its_group(tmp_path: Path) -> None:
    before_us = time.time_ns() // 1000
    async with ShardWorld.on(tmp_path) as world:
        for _ in range(50):
            world.submit(place())
        await world.until(lambda: len(world.answers) == 50)
    after_us = time.time_ns() // 1000
    with LogReader(tmp_path) as reader:
        for group in filter(lambda group: group.record_count, reader.read(OPENED + 50)):
            assert {record[records.TIME] for record in records.records(bytes(group.records))} == {group.time_us}
            assert before_us <= group.time_us <= after_us


# ---------------------------------------------------------------------- bounds


async def test_past_pending_max_nothing_is_taken(tmp_path: Path) -> None:
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held), limits=Limits(pending_max=50)) as world:
        held.hold()
        for _ in range(50):
            world.submit(place())
        for command in (place(), cancel(1), tick()):
            with pytest.raises(Busy, match="50 commands are under way"):
                world.submit(command, -1)
        assert world.shard.under_way == 50
        held.let_go()
        await world.until(lambda: len(world.answers) == 50)
        await world.command(place())
        assert -1 not in [answer.name for answer in world.answers]
    assert replayed(tmp_path).sequence == OPENED + 51, "what was refused is not in the log"


async def test_with_settlement_far_behind_no_orders_are_taken_and_cancels_are(tmp_path: Path) -> None:
    """Memory must not grow with the follower's lag, and nobody may be caught in a position by it."""
    async with ShardWorld.on(tmp_path, limits=Limits(unsettled_max=20)) as world:
        world.shard.settled_up_to(OPENED)
        for _ in range(20):
            await world.command(place())
        assert world.shard.is_behind
        replace = records.command(records.CANCEL_REPLACE, 0, ANN, records.terms(0, 0, 1), 1)
        move = records.command(records.MOVE, 0, ANN, records.terms(0, 0, 1), 1, 0, 0, 0, 0, 0, 0, PRICE_TICKS - 1)
        for command in (place(), move, replace):
            with pytest.raises(Busy, match="settlement is 20 commands behind"):
                world.submit(command)
        assert kinds(await world.command(cancel(1))) == [records.DONE]
        assert kinds(await world.command(records.command(records.DEPOSIT, 0, ANN, 777, 0, 1))) == [records.TRANSFERRED]
        world.shard.settled_up_to(OPENED + 10)
        assert (world.shard.unsettled, world.shard.is_behind) == (12, False)
        assert kinds(await world.command(place())) == [records.ADMITTED, records.ACCEPTED]


# ---------------------------------------------------------------------- barriers


async def test_a_barrier_waits_for_what_was_submitted_before_it_and_for_no_more(tmp_path: Path) -> None:
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held)) as world:
        passed: list[tuple[str, int]] = []
        world.shard.when_applied(lambda: passed.append(("idle", world.machine.sequence)))
        assert passed == [("idle", OPENED)], "with nothing under way it is passed at once"
        held.hold()
        world.submit(place())
        world.shard.when_applied(lambda: passed.append(("first", world.machine.sequence)))
        await world.until(held.waiting.is_set)
        world.submit(place())
        world.submit(place())
        world.shard.when_applied(lambda: passed.append(("third", world.machine.sequence)))
        await asyncio.sleep(0.02)
        assert len(passed) == 1
        held.let_go()
        await world.until(lambda: len(world.answers) == 3)
        assert passed[1:] == [("first", OPENED + 1), ("third", OPENED + 3)]


async def test_a_barrier_is_passed_before_what_was_submitted_after_it(tmp_path: Path) -> None:
    """Though all of it stands in one group: a client that asks for its order and then cancels it reads of an open order."""
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held)) as world:
        held.hold()
        world.submit(tick())
        await world.until(held.waiting.is_set)
        groups = world.shard.groups
        seen: list[tuple[int, int, int]] = []
        for number in range(50):
            world.submit(place(), number)
            world.shard.when_applied(lambda: seen.append((len(world.answers), world.machine.sequence, len(world.views.accounts.orders))))
            world.shard.when_applied(lambda: seen.append((len(world.answers), world.machine.sequence, len(world.views.accounts.orders))))
            world.submit(cancel(number + 1), 1000 + number)
        held.let_go()
        await world.until(lambda: len(world.answers) == 101)
        assert world.shard.groups - groups == 2, "the tick, and all else"
    places = [number for number in range(50) for _ in range(2)]
    assert [(answers, sequence) for answers, sequence, _ in seen] == [(2 + 2 * n, OPENED + 2 + 2 * n) for n in places]
    assert {kinds(answer.events)[0] for answer in world.answers if answer.name >= 1000} == {records.DONE}


async def test_a_long_sweep_does_not_keep_the_loop(tmp_path: Path) -> None:
    """One order through many: others are heard meanwhile, and the answer is whole."""
    makers = 10_000
    async with ShardWorld.on(tmp_path, segment_bytes=1 << 22) as world:
        for _ in range(makers):
            world.submit(place())
        await world.until(lambda: len(world.answers) == makers)
        turns: list[int] = []

        def turn() -> None:
            turns.append(len(world.views.accounts.by_id[ANN].open_orders))
            if not world.answers or world.answers[-1].name != 7:
                asyncio.get_running_loop().call_soon(turn)

        world.submit(sell(qty_lots=makers), 7)
        turn()
        world.shard.when_applied(lambda: turns.append(-1))
        await world.until(lambda: len(world.answers) == makers + 1)
        assert kinds(world.answers[-1].events).count(records.FILL) == 2 * makers
        assert len({left for left in turns if 0 < left < makers}) >= 3, "between the steps, others had their turn"
        assert turns[-1] == -1 or turns[-2] == -1
        assert world.shard.under_way == 0


async def test_an_answer_that_raises_takes_no_other_with_it(tmp_path: Path) -> None:
    async with ShardWorld.on(tmp_path) as world:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(str(context["exception"])))

        def raises(*_: object) -> None:
            raise RuntimeError("a bug of one client's answer")

        world.submit(place(), 1)
        world.shard.submit(place(), raises)
        world.shard.when_applied(raises)
        world.submit(place(), 3)
        world.shard.when_applied(lambda: world.answers.append(Answered(4, [])))
        await world.until(lambda: len(world.answers) == 3)
        assert [answer.name for answer in world.answers] == [1, 3, 4]
        assert reported == ["a bug of one client's answer"] * 2
        await world.command(place())


# ---------------------------------------------------------------------- the clock


async def test_a_clock_that_was_set_stamps_nothing_until_it_is_right_again(tmp_path: Path) -> None:
    wrong_ns = 0
    async with ShardWorld.on(tmp_path, clock=Clock(lambda: time.time_ns() + wrong_ns)) as world:
        for wrong_s in (10 * 365 * 86_400, -3600):
            wrong_ns = wrong_s * 10**9
            with pytest.raises(Busy, match="the system's clock was set by"):
                world.submit(place())
        wrong_ns = 10**9  # what a clock may be corrected by
        await world.command(place())
        assert world.shard.clock_fault() == ""


async def test_what_was_taken_before_the_clock_was_set_is_stamped_by_the_time_before(tmp_path: Path) -> None:
    """It waited for the group before it. With the wrong time in the log every later command would be refused, for years."""
    wrong_ns = 0
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held), clock=Clock(lambda: time.time_ns() + wrong_ns)) as world:
        held.hold()
        world.submit(place(), 1)
        await world.until(held.waiting.is_set)
        world.submit(place(), 2)
        wrong_ns = 10 * 365 * 86_400 * 10**9
        held.let_go()
        await world.until(lambda: len(world.answers) == 2)
        first, second = (answer.events[0][3] for answer in world.answers)
        assert first <= second < first + 60_000_000
        wrong_ns = 0
        assert world.shard.clock_fault() == ""
        await world.command(place())


def test_a_clock_that_is_corrected_a_little_again_and_again_is_believed() -> None:
    ahead_ns = 0
    clock = Clock(lambda: time.time_ns() + ahead_ns)
    for _ in range(30):
        ahead_ns += 9 * 10**8
        assert clock.fault(0) == ""
    ahead_ns += 60 * 10**9
    assert "the system's clock was set by +60 s" in clock.fault(0)


def test_a_log_that_is_ahead_of_the_clock_is_told() -> None:
    """Nothing with a deadline could pass, and nobody would know why."""
    now_us = time.time_ns() // 1000
    clock = Clock(lambda: now_us * 1000)
    assert clock.fault(now_us + 9_000_000) == ""
    assert "the log is 100 s ahead of the system's clock" in clock.fault(now_us + 100_000_000)


async def test_settled_is_passed_once_the_follower_is_there(tmp_path: Path) -> None:
    async with ShardWorld.on(tmp_path) as world:
        passed: list[tuple[str, bool]] = []
        world.shard.settled(ANN, lambda in_time: passed.append(("first", in_time)), timeout_s=30)
        await world.command(place())
        world.shard.settled(ANN, lambda in_time: passed.append(("second", in_time)), timeout_s=30)
        world.shard.settled_up_to(OPENED - 1)
        assert passed == []
        world.shard.settled_up_to(OPENED)
        assert passed == [("first", True)]
        world.shard.settled_up_to(OPENED + 1)
        assert passed == [("first", True), ("second", True)]
        world.shard.settled(ANN, lambda in_time: passed.append(("at once", in_time)), timeout_s=30)
        assert passed[2:] == [("at once", True)]
        world.shard.settled_up_to(3)
        assert world.shard.settled_sequence == OPENED + 1, "a follower that starts again does not take back what was settled"


async def test_each_wait_for_settlement_ends_at_its_own_time(tmp_path: Path) -> None:
    """A short wait behind a long one must not end the long one, nor be forgotten."""
    async with ShardWorld.on(tmp_path) as world:
        ended: list[tuple[str, bool]] = []
        world.shard.settled(ANN, lambda in_time: ended.append(("long", in_time)), timeout_s=30)
        world.shard.settled(ANN, lambda in_time: ended.append(("short", in_time)), timeout_s=0.02)
        world.shard.settled(ANN, lambda in_time: ended.append(("shorter", in_time)), timeout_s=0.01)
        await world.until(lambda: len(ended) == 2)
        assert ended == [("shorter", False), ("short", False)]
        world.shard.settled_up_to(OPENED)
        assert ended[2:] == [("long", True)]


# ---------------------------------------------------------------------- a disk that fails


@pytest.mark.parametrize("operation", ["sync", "pwrite"])
async def test_a_disk_that_fails_stops_the_shard_and_answers_nothing_more(tmp_path: Path, operation: str) -> None:
    """After a failed sync nobody knows what the disk has: an answer either way could be a lie."""
    fails = Fails(operation)
    async with ShardWorld.on(tmp_path, WatchedDisk(before=fails)) as world:
        await world.command(place())
        fails.armed = True
        for number in range(10):
            world.submit(place(), number)
        error = await asyncio.wait_for(asyncio.shield(world.shard.stopped), 30)
        assert isinstance(error, LogFailed)
        assert "Input/output error" in str(error)
        with pytest.raises(Busy, match="stopping"):
            world.submit(place())
        await asyncio.sleep(0.05)
        assert world.answers == []
        assert (world.machine.sequence, len(world.views.accounts.orders)) == (OPENED + 1, 1)
    assert OPENED + 1 <= replayed(tmp_path).sequence <= OPENED + 11


async def test_a_segment_that_can_not_be_made_stops_the_shard(tmp_path: Path) -> None:
    """Any refusal of the disk but a full one."""
    fails = Fails("create")
    async with ShardWorld.on(tmp_path, WatchedDisk(before=fails)) as world:
        fails.armed = True
        for _ in range(600):  # more than what is left of this segment and the next, which is ready
            if not world.shard.stopped.done():
                world.submit(place())
                await asyncio.sleep(0.001)
        assert isinstance(await asyncio.wait_for(asyncio.shield(world.shard.stopped), 30), LogFailed)


# ---------------------------------------------------------------------- bugs and ends


def breaks(account_events: list[Event], market_events: bytes) -> None:
    """Views that find a broken invariant in what they are given."""
    raise AssertionError("a level is never empty")


async def test_after_a_broken_invariant_nothing_more_is_applied_or_answered(tmp_path: Path) -> None:
    """The next group is on its way to the disk already. It will be replayed at the next start, by machines that can be trusted."""
    held = HeldSync()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=held)) as world:
        held.hold()
        world.submit(place(), 1)
        await world.until(held.waiting.is_set)
        world.submit(place(), 2)
        world.show = breaks
        held.let_go()
        assert str(await asyncio.wait_for(asyncio.shield(world.shard.stopped), 30)) == "a level is never empty"
        world.show = world.views.apply
        await asyncio.sleep(0.1)
        assert world.answers == []
        assert world.machine.sequence == OPENED + 1
    assert replayed(tmp_path).sequence == OPENED + 2


async def test_whoever_closes_it_again_waits_as_well(tmp_path: Path) -> None:
    slow = WatchedDisk(before=lambda operation: time.sleep(0.01) if operation.name == "sync" else None)
    async with ShardWorld.on(tmp_path, slow) as world:
        for _ in range(50):
            world.submit(place())
            await asyncio.sleep(0)
        first = asyncio.create_task(world.shard.close())
        await asyncio.sleep(0)
        await asyncio.wait_for(world.shard.close(), 30)
        assert len(world.answers) == 50
        with FileLog.open(tmp_path, segment_bytes=1 << 16) as log:
            assert log.recovery.clean
        await first


async def test_close_finishes_what_is_under_way_and_seals_the_log(tmp_path: Path) -> None:
    slow = WatchedDisk(before=lambda operation: time.sleep(0.01) if operation.name == "sync" else None)
    async with ShardWorld.on(tmp_path, slow) as world:
        for _ in range(100):
            world.submit(place())
            await asyncio.sleep(0)
        closing = asyncio.create_task(world.shard.close())
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="stopping"):
            world.submit(place())
        await asyncio.wait_for(closing, 30)
        assert len(world.answers) == 100
    with FileLog.open(tmp_path, segment_bytes=1 << 16) as log:
        assert log.recovery.clean
        assert log.durable_sequence == OPENED + 100
    with LogReader(tmp_path) as reader:
        *_, seal = reader.read(OPENED + 100, seal=True)
    assert (seal.record_count, seal.attestation) == (0, world.machine.attestation()), "the seal says what came out in all"


# ---------------------------------------------------------------------- a full disk


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is tried again every 20 ms."""
    monkeypatch.setattr(shard_module, "RETRY_DISK_S", 0.02)


async def fill(world: ShardWorld) -> int:
    """Submit, command by command, until the disk is found full and nothing more is taken; how many were taken."""
    taken = 0
    while not (reason := world.shard.refusal(place())):
        world.submit(place(), taken)
        taken += 1
        await world.until(lambda: world.shard.under_way == 0)
    assert reason == "the disk is full"
    return taken


@pytest.mark.usefixtures("impatient")
async def test_on_a_full_disk_orders_are_refused_until_there_is_room_again(tmp_path: Path) -> None:
    no_room = NoRoom()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=no_room)) as world:
        no_room.full = True
        taken = await fill(world)
        assert world.shard.disk_is_full
        assert taken > 300, "what room there is is used"
        assert len(world.answers) == taken, "what was taken is durable, applied and answered"
        for _ in range(3):
            with pytest.raises(Busy, match="the disk is full"):
                world.submit(cancel(1))
            await asyncio.sleep(0.03)
        no_room.full = False
        await world.until(lambda: not world.shard.disk_is_full)
        for _ in range(2000):
            world.submit(place())
        await world.until(lambda: len(world.answers) == taken + 2000)
    assert replayed(tmp_path).sequence == OPENED + taken + 2000


@pytest.mark.usefixtures("impatient")
async def test_what_was_taken_before_the_disk_was_found_full_waits_for_room(tmp_path: Path) -> None:
    """A burst of more than the segment takes, in flight when the disk fills up: taken is taken. It is neither lost nor the shard's end."""
    no_room, held = NoRoom(), HeldSync()

    def before(operation: Operation) -> None:
        no_room(operation)
        held(operation)

    async with ShardWorld.on(tmp_path, WatchedDisk(before=before), limits=Limits(group_bytes_max=10_000)) as world:
        held.hold()
        for number in range(2000):
            world.submit(place(), number)
        await world.until(held.waiting.is_set)
        no_room.full = True
        held.let_go()
        await world.until(lambda: world.shard.disk_is_full)
        await asyncio.sleep(0.1)
        assert not world.shard.stopped.done()
        assert 0 < len(world.answers) < 2000
        with pytest.raises(Busy, match="the disk is full"):
            world.submit(place())
        no_room.full = False
        await world.until(lambda: len(world.answers) == 2000)
        assert [answer.name for answer in world.answers] == list(range(2000))
    assert replayed(tmp_path).sequence == OPENED + 2000


@pytest.mark.usefixtures("impatient")
async def test_a_full_disk_is_tried_again_by_one_thread_at_a_time(tmp_path: Path) -> None:
    """Each try writes until there is no room left: more of them would be a load of their own, on a disk that others need."""
    no_room = NoRoom()
    async with ShardWorld.on(tmp_path, WatchedDisk(before=no_room)) as world:
        no_room.full = True
        taken = await fill(world)
        assert taken > 300
        await asyncio.sleep(0.1)
        tried = no_room.tried
        start = time.monotonic()
        await asyncio.sleep(0.5)
        tries = no_room.tried - tried
        assert 1 <= tries <= 1 + (time.monotonic() - start) / 0.02
        assert sum(thread.name == "segment" for thread in threading.enumerate()) <= 1


@pytest.mark.usefixtures("impatient")
async def test_an_exchange_that_is_stopped_on_a_full_disk_keeps_what_it_answered(tmp_path: Path) -> None:
    """It stops at once, and what was taken without room for it was never answered."""
    no_room, held = NoRoom(), HeldSync()

    def before(operation: Operation) -> None:
        no_room(operation)
        held(operation)

    async with ShardWorld.on(tmp_path, WatchedDisk(before=before), limits=Limits(group_bytes_max=10_000)) as world:
        held.hold()
        for number in range(2000):
            world.submit(place(), number)
        await world.until(held.waiting.is_set)
        no_room.full = True
        held.let_go()
        await world.until(lambda: world.shard.disk_is_full)
        await asyncio.sleep(0.05)
        await asyncio.wait_for(world.shard.close(), 10)
        answered = len(world.answers)
        assert 0 < answered < 2000
    assert replayed(tmp_path).sequence == OPENED + answered
