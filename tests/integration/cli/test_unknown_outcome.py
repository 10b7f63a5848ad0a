"""A movement whose answer does not come: nobody here knows whether it was done, and repeating it must do it once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.shard_world import ANN, ShardWorld
from tests.support.watched_disk import HeldSync, WatchedDisk
from zerosum.cli import door as cli_door
from zerosum.cli.door import OutcomeUnknown, door_to
from zerosum.cli.money import move
from zerosum.core import records
from zerosum.services import admin
from zerosum.services.admin import AdminDoor, asked_of
from zerosum.services.datadir import DataDir


async def test_it_says_how_to_repeat_it_and_then_it_is_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_door, "REPLY_S", 0.5)
    held = HeldSync()
    data = DataDir(tmp_path)
    deposit = (records.DEPOSIT, ANN, "BTC", "1.5", 4711, tmp_path, False, "done")
    async with ShardWorld.on(data.log, WatchedDisk(before=held)) as world:
        before = world.machine.exchange.balance(ANN, 0)
        door = AdminDoor(world.shard, asked_of(world.shard, world.views), data.root / admin.NAME)
        await door.start()
        held.hold()
        with pytest.raises(OutcomeUnknown, match=r"is not known\.\n  Repeat it with --id 4711: it is then done once"):
            await asyncio.to_thread(move, *deposit)
        held.let_go()
        await asyncio.to_thread(move, *deposit)
        assert "done: that was done before, and is not done again (movement 4711)" in capsys.readouterr().out
        assert world.machine.exchange.balance(ANN, 0) == (before[0] + 150_000_000, before[1])
        await door.stop()


@pytest.mark.parametrize("half", [b"", b"\x60\0", b"\x60\0\0\0", b"\x60\0\0\0" + bytes(30), bytes(4), bytes(4) + b"\x09\0\0\0"])
async def test_it_is_the_same_when_the_exchange_ends_before_it_answers(half: bytes, tmp_path: Path) -> None:
    """As `kill -9` does it: the connection is closed, and half an answer may have come."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(4096):
            writer.write(half)
        writer.close()

    async with await asyncio.start_unix_server(end, tmp_path / admin.NAME):
        await asyncio.to_thread(ask_and_send, tmp_path)


def ask_and_send(folder: Path) -> None:
    with door_to(DataDir(folder)) as door, pytest.raises(OutcomeUnknown, match="what became of the command is not known"):
        door.send(records.command(records.TICK, 0))
    with door_to(DataDir(folder)) as door, pytest.raises(cli_door.Refused, match="nothing was changed"):
        door.ask(show="position")
