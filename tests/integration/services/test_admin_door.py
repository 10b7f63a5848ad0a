"""The operator's door, over a real socket: what it takes, what it refuses, and that nothing sent to it can hurt the exchange."""

from __future__ import annotations

import asyncio
import json
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.exchange import NotTaken, door_of
from tests.support.serving import ask, serving
from tests.support.shard_world import ANN, ShardWorld, opening, place
from tests.support.watched_disk import HeldSync, WatchedDisk
from zerosum.core import records
from zerosum.core.codes import HALT
from zerosum.services import admin, overview
from zerosum.services.admin import AdminDoor, asked_of
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with serving(DataDir(tmp_path / "data")) as embedded:
        for command in opening():
            await ask(embedded, command)
        yield embedded


async def answer_to(exchange: Embedded, sent: bytes) -> str:
    """The refusal of something that is no command, after which the door still serves others."""
    async with door_of(exchange.data) as door:
        door.writer.write(sent)
        with pytest.raises(NotTaken) as refused:
            await asyncio.wait_for(door.reply(), 10)
    async with door_of(exchange.data) as door:
        assert len(await door.ask(place())) == 2
    return str(refused.value)


def framed(command: bytes) -> bytes:
    return admin.LENGTH.pack(len(command)) + command


async def test_a_command_is_answered_with_its_account_events(exchange: Embedded) -> None:
    async with door_of(exchange.data) as door:
        events = await door.ask(place())
        assert [event[0] & 0xFF for event in events] == [records.ADMITTED, records.ACCEPTED]
        assert {event[2] for event in events} == {exchange.machine.sequence}
        refused = await door.ask(place(account=9999))
        assert [event[0] & 0xFF for event in refused] == [records.REFUSED], "a user's mistake is an outcome, not an error"


async def test_a_command_that_causes_no_account_event_is_answered_too(exchange: Embedded) -> None:
    """Or whoever halts a market would wait for ever."""
    async with door_of(exchange.data) as door:
        assert await door.ask(records.command(records.TICK, 0)) == []
        assert await door.ask(records.command(records.SET_SYMBOL_STATUS, 0, 0, HALT)) == []
        assert exchange.views.markets.by_number[0].status == HALT


async def test_many_commands_may_be_sent_before_the_first_answer(exchange: Embedded) -> None:
    async with door_of(exchange.data) as door:
        for number in range(1, 201):
            door.send(place(qty_lots=number))
        answers = [await asyncio.wait_for(door.reply(), 10) for _ in range(200)]
    quantity_at = 4 + records.ACCOUNT_EVENTS[records.ADMITTED][1].index("qty_lots")
    assert [events[0][quantity_at] for events in answers] == list(range(1, 201))


@pytest.mark.parametrize("size", [0, 8, 15, 4097, 1 << 31, (1 << 32) - 1])
async def test_a_length_that_no_command_has_is_refused(exchange: Embedded, size: int) -> None:
    """Before anything of that length is waited for."""
    assert await answer_to(exchange, struct.pack("<I", size)) == f"a command has 16 to 4096 bytes, not {size}"


def with_head(kind: int, form: int = records.FORMAT, words: int = 13) -> bytes:
    return struct.pack("<BBHI", kind, form, words, 0) + place()[8:]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(with_head(0), id="kind 0"),
        pytest.param(with_head(99), id="an unknown kind"),
        pytest.param(with_head(records.ADMITTED), id="an event"),
        pytest.param(with_head(records.PLACE, words=12), id="shorter than it is"),
        pytest.param(with_head(records.PLACE, words=14), id="longer than it is"),
        pytest.param(with_head(records.PLACE, words=0), id="without length"),
        pytest.param(place()[:-1], id="not of whole words"),
        pytest.param(place() + place(), id="two commands"),
        pytest.param(bytes(16), id="zeros"),
    ],
)
async def test_what_is_no_command_is_refused_and_not_logged(exchange: Embedded, command: bytes) -> None:
    before = exchange.machine.sequence
    assert await answer_to(exchange, framed(command)) == "that is no command: see zerosum.core.records"
    assert exchange.machine.sequence == before + 1, "only the order of the next client"


@pytest.mark.parametrize("form", [0, 2, 255])
async def test_a_command_of_another_format_is_an_outcome(exchange: Embedded, form: int) -> None:
    async with door_of(exchange.data) as door:
        (refused,) = await door.ask(with_head(records.PLACE, form))
    assert records.named(refused)["kind"] == records.REFUSED


async def test_a_client_that_leaves_in_the_middle_harms_nobody(exchange: Embedded) -> None:
    sent = framed(place())
    for cut in (0, 2, 4, 50, len(sent)):
        async with door_of(exchange.data) as door:
            door.writer.write(sent[:cut])
            await door.writer.drain()
    async with door_of(exchange.data) as door:
        assert len(await door.ask(place())) == 2


def noise(rng: Random) -> bytes:
    """Anything at all; or in a frame that is right; or a record of the right length with anything in it."""
    anything = rng.randbytes(rng.randint(1, 300))
    how = rng.random()
    if how < 0.2:
        return anything
    if how < 0.4:
        return framed(bytes([rng.randrange(256), 1, len(anything) // 8, 0]) + anything[4:])
    kind = rng.choice([kind for kind in records.COMMANDS if kind != records.SET_CORE_VERSION])  # that one may stop the exchange
    fields = [rng.choice([0, 1, ANN, -1, (1 << 63) - 1, -(1 << 63), rng.getrandbits(62)]) for _ in records.COMMANDS[kind][1]]
    return framed(records.command(kind, 0, *fields))


async def test_noise_harms_nobody(exchange: Embedded) -> None:
    """Whatever comes in, the exchange answers or closes, and goes on."""
    rng = Random(4)
    for _ in range(400):
        async with door_of(exchange.data) as door:
            door.writer.write(noise(rng))
            door.writer.write_eof()
            await asyncio.wait_for(door.reader.read(), 10)
        assert not exchange.shard.stopped.done(), exchange.shard.stopped.result()
        assert not exchange.follower.fault.done(), exchange.follower.fault.result()
    exchange.machine.exchange.check()
    async with door_of(exchange.data) as door:
        assert len(await door.ask(records.command(records.CHECKPOINT, 0))) == 1


async def test_only_the_owner_may_open_it(exchange: Embedded) -> None:
    mode = (exchange.data.root / admin.NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_a_busy_exchange_says_so(tmp_path: Path) -> None:
    held = HeldSync()
    data = DataDir(tmp_path)
    async with ShardWorld.on(data.log, WatchedDisk(before=held)) as world:
        door = AdminDoor(world.shard, asked_of(world.shard, world.views), data.root / admin.NAME)
        await door.start()
        async with door_of(data) as first, door_of(data) as second:
            held.hold()
            first.send(place())
            await world.until(held.waiting.is_set)
            closing = asyncio.create_task(world.shard.close())
            await asyncio.sleep(0)
            with pytest.raises(NotTaken, match="the exchange is stopping"):
                await second.ask(place())
            held.let_go()
            assert len(await asyncio.wait_for(first.reply(), 10)) == 2, "what was taken before is answered"
            await closing
        await door.stop()
        assert not (data.root / admin.NAME).exists()


async def test_the_socket_of_a_killed_exchange_is_replaced(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    async with ShardWorld.on(data.log) as world:
        left = AdminDoor(world.shard, asked_of(world.shard, world.views), data.root / admin.NAME)
        await left.start()
        again = AdminDoor(world.shard, asked_of(world.shard, world.views), data.root / admin.NAME)
        await again.start()
        async with door_of(data) as door:
            assert [event[5] for event in await door.ask(place())] == [ANN, ANN]
        await again.stop()
        await left.stop()


async def question(exchange: Embedded, **asked: object) -> dict[str, Any]:
    async with door_of(exchange.data) as door:
        door.send(json.dumps(asked).encode())
        size = await asyncio.wait_for(door._length(), 10)
        found = json.loads(await door.reader.readexactly(size))
        assert isinstance(found, dict)
        return found


async def test_a_question_is_answered_from_what_is_applied(exchange: Embedded) -> None:
    """At once with what was asked for before it, not when it is settled."""
    async with door_of(exchange.data) as door:
        await door.ask(place())
    found = await question(exchange, show="account", account=ANN)
    assert (found["sequence"], found["account"]["open_orders"]) == (exchange.machine.sequence, 1)
    assert [balance["asset"] for balance in found["account"]["balances"]] == ["BTC", "USDT"]
    assert found["account"]["balances"][1]["frozen"] == "0.05"
    assert (await question(exchange, show="account", account=4711))["account"] is None
    assert (await question(exchange, show="position"))["open_orders"] == 1
    listings = await question(exchange, show="listings")
    assert [(asset["name"], asset["supply"]) for asset in listings["assets"]] == [
        ("BTC", "720575940.37927936"),
        ("USDT", "720575940.37927936"),
    ]
    assert [(symbol["name"], symbol["status"]) for symbol in listings["symbols"]] == [("BTCUSDT", 0)]
    assert (await question(exchange, show="movement", account=ANN, id=ANN << 1))["movement"]["kind"] == "DEPOSIT"
    assert (await question(exchange, show="movement", account=ANN, id=1))["movement"] is None


async def test_accounts_are_shown_a_page_at_a_time(exchange: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "PAGE", 2)
    numbers: list[int] = []
    place_of_next: int | None = 0
    while place_of_next is not None:
        page = await question(exchange, **{"show": "accounts", "from": place_of_next})
        assert len(page["accounts"]) <= 2
        numbers += [account["account"] for account in page["accounts"]]
        place_of_next = page["next"]
    assert numbers == [1, 2, 3, ANN, ANN + 1]


@pytest.mark.parametrize(
    "asked",
    [
        b'{"show": "everything"}',
        b'{"show": {"account": 1}}',
        b'{"show": "account"}     ',
        b'{"show": "account", "account": "16"}',
        b'{"show": "account", "account": true}',
        b'{"show": "account", "account": -1}',
        b'{"show": "account", "account": 1e300}',
        b'{"show": "account", "account": 99999999999999999999}',
        b'{"show": "accounts", "from": null}',
        b"{" + b" " * 100,
        b'{"a":' * 800,
        b'{"show": "account\xff\xff"}',
    ],
)
async def test_what_is_no_question_is_refused(exchange: Embedded, asked: bytes) -> None:
    assert (await answer_to(exchange, framed(asked))).startswith("that is no question: ")
