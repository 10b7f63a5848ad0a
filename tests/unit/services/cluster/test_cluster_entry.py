"""A gateway's end of a cluster by itself: what it answers, and when, as a hand-moved stream and events come in one order or another."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import pytest

from zerosum.core import records
from zerosum.core.codes import ACTIVE, BUY, FIRST_USER, LIMIT
from zerosum.gateway.entry import Busy, Event
from zerosum.log.memory_streams import MemoryStream
from zerosum.log.messages import pack, position
from zerosum.log.streams import Appended, DeliveryFailed, Ends
from zerosum.services.cluster.gateway import ClusterEntry, GatewaySettings
from zerosum.services.cluster.shard_end import SendSettings
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.settlement.row_store import MemoryRowStore, Settled
from zerosum.settlement.rows import Rows
from zerosum.sim.loop import SimLoop
from zerosum.views.views import Views

ALICE: Final = FIRST_USER
SETTINGS: Final = GatewaySettings(SendSettings(linger_s=0.0, answer_s=2.0), pending_max=3, barrier_s=2.0, settled_poll_s=0.1, forget_s=0.5)
SOON_S: Final = 0.01


@dataclass
class ByHand:
    """A stream of commands whose appends end when the test says so. `sessions`: writers that were asked for."""

    name: str = "commands.0"
    sent: list[tuple[bytes, asyncio.Future[int]]] = field(default_factory=list)
    sessions: int = 0
    end: int = 0

    def writer(self) -> ByHand:
        self.sessions += 1
        return self

    async def append(self, data: bytes) -> int:
        landed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.sent.append((data, landed))
        return await landed

    async def read(self, offset: int) -> list[Appended]:
        raise AssertionError("a gateway does not read commands")

    async def ends(self) -> Ends:
        return Ends(0, self.end)


class Scene:
    """A gateway of a cluster of one shard and one engine, both of which the test plays."""

    def __init__(self, loop: SimLoop, settings: GatewaySettings = SETTINGS) -> None:
        self.commands = ByHand()
        self.events = MemoryStream("account-events.0", loop.now_us)
        self.orders = MemoryStream("orders.0", loop.now_us)
        self.store = MemoryRowStore()
        self.views = Views()

        def stream(name: str) -> ByHand | MemoryStream:
            if name == self.commands.name:
                return self.commands
            own = {each.name: each for each in (self.events, self.orders)}
            return own.get(name) or MemoryStream(name, loop.now_us)

        streams = Streams(Topology(1, 1), stream)
        self.entry = ClusterEntry(Topology(1, 1), streams, self.views, self.store, settings, loop.now_us)
        self.said: list[tuple[str, list[Event]]] = []
        self._sequence = 0

    def submit(self, name: str, command: bytes) -> None:
        self.entry.submit(command, lambda events: self.said.append((name, list(events))), lambda: self.said.append((name, [])))

    def lands(self, number: int, offset: int) -> None:
        self.commands.sent[number][1].set_result(offset)
        self.commands.end = max(self.commands.end, offset + 1)

    async def tell(self, *events: tuple[int, int, tuple[int, ...]], upto: int) -> None:
        """`events`: kind, offset of the message whose first record caused it, fields."""
        data = bytearray()
        for kind, offset, fields in events:
            self._sequence += 1
            words = 4 + len(records.ACCOUNT_EVENTS[kind][1])
            padded = (*fields, *[0] * (words - 4 - len(fields)))
            data += struct.pack(f"<{words}q", records.head(kind, words), self._sequence, position(offset), 1, *padded)
        await self.events.append(pack(bytes(data), upto=upto, sequence=self._sequence))
        await asyncio.sleep(SOON_S)


def opened(offset: int, account: int = ALICE) -> tuple[int, int, tuple[int, ...]]:
    return records.ACCOUNT_CHANGED, offset, (account, ACTIVE, 0, 0, 10)


def played(story: Callable[[Scene], Awaitable[None]], settings: GatewaySettings = SETTINGS) -> None:
    loop = SimLoop()

    async def main() -> None:
        scene = Scene(loop, settings)
        running = loop.create_task(scene.entry.run())
        await asyncio.sleep(SOON_S)
        await story(scene)
        running.cancel()

    loop.run(main())


OPEN: Final = partial(records.command, records.OPEN_ACCOUNT, 0)


def test_answered_once_its_place_and_its_events_are_known() -> None:
    async def story(scene: Scene) -> None:
        scene.submit("alice", OPEN(ALICE))
        await asyncio.sleep(SOON_S)
        scene.lands(0, 0)
        await asyncio.sleep(SOON_S)
        assert scene.said == []
        await scene.tell(opened(0), upto=position(1))
        assert [name for name, events in scene.said if len(events) == 1] == ["alice"]

    played(story)


def test_events_that_come_before_their_place_is_known_are_kept_in_whatever_order_acknowledgements_come() -> None:
    """A message of an older session may land behind one of a newer, and be acknowledged before it."""

    async def story(scene: Scene) -> None:
        for name, account in (("first", ALICE), ("second", ALICE + 1)):
            scene.submit(name, OPEN(account))
            await asyncio.sleep(SOON_S)
        await scene.tell(opened(0, ALICE + 1), opened(1, ALICE), upto=position(2))
        assert scene.said == []
        scene.lands(1, 0)  # the second landed first
        await asyncio.sleep(SOON_S)
        scene.lands(0, 1)
        await asyncio.sleep(SOON_S)
        assert [(name, [event[4] for event in events]) for name, events in scene.said] == [("second", [ALICE + 1]), ("first", [ALICE])]

    played(story)


def test_a_delivery_that_failed_is_lost_and_what_comes_next_has_a_session_of_its_own() -> None:
    async def story(scene: Scene) -> None:
        scene.submit("lost", OPEN(ALICE))
        await asyncio.sleep(SOON_S)
        sessions = scene.commands.sessions
        scene.commands.sent[0][1].set_exception(DeliveryFailed("no acknowledgement"))
        await asyncio.sleep(SOON_S)
        assert scene.said == [("lost", [])]
        scene.submit("next", OPEN(ALICE))
        await asyncio.sleep(SOON_S)
        assert scene.commands.sessions == sessions + 1
        await scene.tell(opened(0), upto=position(1))  # it had landed all the same
        assert len(scene.said) == 1

    played(story)


def test_what_comes_after_a_failed_delivery_waits_for_the_rest_of_its_session() -> None:
    """Two messages of it are under way; when both have failed there is one new session, not two."""

    async def story(scene: Scene) -> None:
        passed: list[bool] = []
        for name in ("first", "second"):
            scene.submit(name, OPEN(ALICE))
            await asyncio.sleep(SOON_S)
        sessions = scene.commands.sessions
        scene.commands.sent[0][1].set_exception(DeliveryFailed("no acknowledgement"))
        await asyncio.sleep(SOON_S)
        scene.submit("third", OPEN(ALICE))
        scene.entry.barrier(ALICE, passed.append)
        await asyncio.sleep(SOON_S)
        assert len(scene.commands.sent) == 2
        scene.commands.sent[1][1].set_exception(DeliveryFailed("nor of this one"))
        await asyncio.sleep(SOON_S)
        assert (len(scene.commands.sent), scene.commands.sessions) == (3, sessions + 1)
        scene.lands(2, 0)
        await asyncio.sleep(SOON_S)
        assert passed == []
        await scene.tell(opened(0), upto=position(1))
        assert [name for name, events in scene.said if events] == ["third"]
        assert passed == [True]

    played(story)


def test_no_answer_in_time_is_lost_and_a_late_one_is_told_to_nobody() -> None:
    async def story(scene: Scene) -> None:
        scene.submit("slow", OPEN(ALICE))
        await asyncio.sleep(SOON_S)
        scene.lands(0, 0)
        await asyncio.sleep(SETTINGS.send.answer_s)
        assert scene.said == [("slow", [])]
        await scene.tell(opened(0), upto=position(1))
        assert scene.said == [("slow", [])]

    played(story)


def test_no_orders_are_taken_while_settlement_is_too_far_behind() -> None:
    """Cancels are: they make what is kept smaller. Once the record has caught up, orders are taken again."""

    async def story(scene: Scene) -> None:
        await scene.tell(opened(0), opened(0), upto=position(1))
        scene.submit("order", records.command(records.PLACE, 0, ALICE))
        await scene.tell(opened(0), upto=position(1))
        with pytest.raises(Busy, match="settlement of shard 0 is 3 events behind"):
            scene.submit("order", records.command(records.PLACE, 0, ALICE))
        scene.submit("cancel", records.command(records.CANCEL, 0, ALICE))
        await scene.store.write("account-events.0", Rows(), Settled(3, b""))
        await asyncio.sleep(SETTINGS.forget_s)
        scene.submit("order", records.command(records.PLACE, 0, ALICE))

    played(story, replace(SETTINGS, unsettled_max=2))


def test_busy_before_too_many_are_under_way() -> None:
    async def story(scene: Scene) -> None:
        for number in range(SETTINGS.pending_max):
            scene.submit(str(number), OPEN(ALICE + number))
        with pytest.raises(Busy, match="3 commands are under way"):
            scene.submit("one too many", OPEN(ALICE))
        await asyncio.sleep(SOON_S)
        scene.lands(0, 0)
        await scene.tell(opened(0), upto=position(1))
        assert len(scene.said) == SETTINGS.pending_max  # they went out in one message
        scene.submit("there is room again", OPEN(ALICE))

    played(story)


def test_a_barrier_waits_for_what_was_sent_before_it_and_for_the_views_to_show_it() -> None:
    async def story(scene: Scene) -> None:
        passed: list[bool] = []
        scene.submit("alice", OPEN(ALICE))
        scene.entry.barrier(ALICE, passed.append)
        await asyncio.sleep(SOON_S)
        scene.lands(0, 5)  # others have sent five before
        await asyncio.sleep(SOON_S)
        await scene.tell(upto=position(5))
        assert passed == []
        await scene.tell(opened(5), upto=position(6))
        assert passed == [True]

    played(story)


def test_a_barrier_that_takes_too_long_fails_once() -> None:
    async def story(scene: Scene) -> None:
        passed: list[bool] = []
        scene.commands.end = 1
        scene.entry.barrier(ALICE, passed.append)
        await asyncio.sleep(SETTINGS.barrier_s + SOON_S)
        await scene.tell(opened(0), upto=position(1))
        assert passed == [False]

    played(story)


def test_a_read_of_the_record_waits_until_that_holds_what_the_views_show() -> None:
    async def story(scene: Scene) -> None:
        passed: list[bool] = []
        await scene.tell(opened(0), upto=position(1))
        scene.entry.settled(ALICE, passed.append, 1.0)
        await asyncio.sleep(SOON_S)
        assert passed == []
        await scene.store.write("account-events.0", Rows(), Settled(1, b""))
        await asyncio.sleep(2 * SETTINGS.settled_poll_s)
        assert passed == [True]
        await scene.tell(opened(1, ALICE + 1), upto=position(2))
        scene.entry.settled(ALICE, passed.append, 1.0)
        await asyncio.sleep(1.0 + 2 * SETTINGS.settled_poll_s)
        assert passed == [True, False]

    played(story)


def test_what_is_settled_stays_in_the_views_until_the_command_that_ended_it_is_answered() -> None:
    """The place of a cancel is not known yet, and everybody else sees its order ended and settled."""

    async def story(scene: Scene) -> None:
        order = 77
        await scene.tell(
            (records.ASSET_LISTED, 0, (0, 8)), (records.ASSET_LISTED, 0, (1, 8)), listed(), opened(0),
            (records.ADMITTED, 0, (order, ALICE, 1 << 8, 5, 3)), upto=position(1),
        )  # fmt: skip
        scene.submit("cancel", records.command(records.CANCEL, 0, ALICE, 0, order))
        await asyncio.sleep(SOON_S)
        await scene.tell((records.DONE, 1, (order, ALICE, 1 << 8, 1, 3)), upto=position(2))
        await scene.store.write("account-events.0", Rows(), Settled(6, b""))
        await asyncio.sleep(2 * SETTINGS.forget_s)
        assert scene.views.order(ALICE, order) is not None
        scene.lands(0, 1)
        await asyncio.sleep(SOON_S)
        assert [name for name, _ in scene.said] == ["cancel"]
        await asyncio.sleep(SETTINGS.forget_s)
        assert scene.views.order(ALICE, order) is None, "and is forgotten then"

    played(story)


def listed() -> tuple[int, int, tuple[int, ...]]:
    names = records.ACCOUNT_EVENTS[records.SYMBOL_LISTED][1]
    fields = dict.fromkeys(names, 1) | {"symbol": 0, "base": 0, "quote": 1, "name_1": 83, "name_2": 0, "name_3": 0}
    return records.SYMBOL_LISTED, 0, tuple(fields[name] for name in names)


def test_commands_are_refused_while_a_machine_takes_nothing() -> None:
    """Its input would only grow, and be carried out long after; it goes on by itself once the machine does."""

    async def story(scene: Scene) -> None:
        scene.submit("first", OPEN(ALICE))
        await asyncio.sleep(SOON_S)
        scene.lands(0, 0)
        await asyncio.sleep(SETTINGS.stalled_s)
        assert scene.entry.all_stalled() is None
        await asyncio.sleep(2.5)
        with pytest.raises(Busy, match=r"nothing is taken from commands.0 since \d s"):
            scene.submit("second", OPEN(ALICE))
        assert scene.entry.all_stalled() == "no shard has taken anything for 7 s"
        await scene.tell(opened(0), upto=position(1))
        await asyncio.sleep(1.0)
        assert scene.entry.all_stalled() is None
        scene.submit("third", OPEN(ALICE))

    played(story)


def test_orders_of_an_engine_that_takes_nothing_are_refused_and_everything_else_goes_on() -> None:
    async def story(scene: Scene) -> None:
        await scene.orders.append(pack(b""))
        await asyncio.sleep(SETTINGS.stalled_s + 2)
        order = records.command(records.PLACE, 0, ALICE, records.terms(0, BUY, LIMIT), 1, 1, 0, 0, 0, 0, 0, 0, 0)
        with pytest.raises(Busy, match=r"nothing is taken from orders.0 since \d s"):
            scene.submit("order", order)
        scene.submit("account", OPEN(ALICE))
        assert scene.entry.all_stalled() is None

    played(story)


def test_a_gateway_is_of_no_use_only_if_no_shard_takes_anything() -> None:
    loop = SimLoop()

    async def story() -> None:
        topology = Topology(2, 1)
        streams = Streams(topology, lambda name: MemoryStream(name, loop.now_us))
        entry = ClusterEntry(topology, streams, Views(2, 1), MemoryRowStore(), SETTINGS, loop.now_us)
        running = loop.create_task(entry.run())
        await streams.commands[1].writer().append(pack(b""))
        await asyncio.sleep(SETTINGS.stalled_s + 2)
        assert [stall.seconds > SETTINGS.stalled_s for stall in entry.stalls] == [False, True, False]
        assert entry.all_stalled() is None
        await streams.commands[0].writer().append(pack(b""))
        await asyncio.sleep(SETTINGS.stalled_s + 2)
        assert "no shard has taken anything for" in str(entry.all_stalled())
        running.cancel()

    loop.run(story())
