"""The hash of the whole state in the log and in the settled record: at a clean stop, and now and then."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.serving import ask, serving
from tests.support.shard_world import ANN, opening, place
from zerosum.core import records
from zerosum.services import checkpoints
from zerosum.services.audit import Audit
from zerosum.services.datadir import DataDir
from zerosum.services.past import machine_at


def settled(data: DataDir) -> dict[int, bytes]:
    with closing(sqlite3.connect(data.settled)) as connection:
        return dict(connection.execute("SELECT sequence, state_hash FROM checkpoints"))


async def test_a_clean_stop_takes_one_if_anything_has_happened(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    async with serving(data) as exchange:
        for command in opening():
            await ask(exchange, command)
    first = settled(data)
    last = len(opening()) + 1
    assert list(first) == [last]
    state = machine_at(data, last).exchange.state_hash()
    assert first[last] == b"".join((part & (1 << 64) - 1).to_bytes(8, "little") for part in state)
    for _ in range(2):
        async with serving(data) as exchange:
            assert exchange.machine.sequence == last
    assert settled(data) == first, "an exchange that does nothing adds nothing"
    assert all(verdict.holds for verdict in Audit(data).run())


def deposit(number: int) -> bytes:
    return records.command(records.DEPOSIT, 0, ANN, 1_000 + number, 0, 1)


@pytest.mark.parametrize("grows", ["orders", "transfers"])
@pytest.mark.parametrize("more", [2000, 30])
async def test_one_is_taken_now_and_then_while_the_state_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, grows: str
) -> None:  # fmt: skip
    """Small by all that the hash goes through: transfers are remembered for ever."""
    monkeypatch.setattr(checkpoints, "EVERY_COMMANDS", 50)
    data = DataDir(tmp_path / "data")
    async with serving(data) as exchange:
        for command in opening():
            await ask(exchange, command)
        monkeypatch.setattr(checkpoints, "RECORDS_MAX", exchange.machine.exchange.hash_cost() + more)
        for number in range(300):
            await ask(exchange, place() if grows == "orders" else deposit(number))
    taken = settled(data)
    assert len(taken) >= 2 if more == 2000 else len(taken) == 1
    assert all(verdict.holds for verdict in Audit(data).run())
