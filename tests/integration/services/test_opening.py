"""A long start tells how far it is, and meanwhile the loop is free."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from tests.support.serving import serving
from tests.support.written_log import data_directory, settle
from zerosum.log.errors import LogDamaged
from zerosum.log.reader import log_id_of
from zerosum.services import opening
from zerosum.services.audit import Audit
from zerosum.services.follower import SnapshotPolicy

COMMANDS = 3000


async def test_a_stop_does_not_wait_for_what_is_read_of_the_past(tmp_path: Path) -> None:
    """Nobody hears it any more. This read would take an hour."""
    async with serving(data_directory(tmp_path / "data", 100)) as exchange:
        endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000000000) SELECT max(x) FROM n"
        reading = exchange.executor.submit(lambda: exchange.history._connection.execute(endless).fetchall())
        waiting = exchange.executor.submit(exchange.history.position)
        while not reading.running():  # noqa: ASYNC110  another thread does it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
    assert isinstance(reading.exception(), apsw.InterruptError)
    assert waiting.cancelled()


def test_a_start_from_the_whole_log_keeps_no_order_that_ended_and_is_settled(tmp_path: Path) -> None:
    """They are read from the record; a log of years has more of them than there is memory."""
    data = data_directory(tmp_path / "data", COMMANDS)
    settle(data, COMMANDS - 100)
    machine, views = opening.restore(data, log_id_of(data.log), COMMANDS)
    ended = [order.ended_by for order in views.accounts.ended]
    assert ended == [] or min(ended) > COMMANDS - 100
    assert len(views.accounts.orders) == machine.exchange.matching.orders.live + len(ended)


def test_a_start_reads_nothing_through_that_comes_before_its_oldest_snapshot(tmp_path: Path) -> None:
    """A log of years takes hours to read. An audit does."""
    data = data_directory(tmp_path / "data", COMMANDS)
    settle(data, COMMANDS, SnapshotPolicy(every_records=1000, keep=2), step=500)
    first, *_ = sorted(data.log.glob("*.seg"))
    content = bytearray(first.read_bytes())
    content[1000] ^= 1
    first.write_bytes(content)
    opening.open_log(data).close()
    assert [verdict.check for verdict in Audit(data).run() if not verdict.holds] == ["log"]
    for snapshot in data.snapshots.iterdir():
        snapshot.unlink()
    with pytest.raises(LogDamaged):
        opening.open_log(data)


def test_snapshots_of_an_earlier_version_are_passed_over_and_the_log_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_directory(tmp_path / "data", COMMANDS)
    with monkeypatch.context() as earlier:
        earlier.setattr(opening, "STATE_FORMAT", opening.STATE_FORMAT - 1)
        settle(data, COMMANDS, SnapshotPolicy(every_records=1000, keep=2), step=500)
    reported: list[str] = []
    machine, _ = opening.restore(data, log_id_of(data.log), COMMANDS, reported.append)
    assert machine.sequence == COMMANDS
    assert "an earlier version of the program wrote it" in reported[0]


async def test_a_long_start_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PROGRESS_RECORDS", 1000)
    monkeypatch.setattr(opening, "PROGRESS_SEGMENTS", 2)
    data = data_directory(tmp_path / "data", COMMANDS)
    segments = len(list(data.log.glob("*.seg")))
    assert segments > 4
    reported: list[str] = []
    turns: list[int] = []

    async def tick() -> None:
        while True:
            turns.append(len(reported))
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    async with serving(data, reported):
        ticking.cancel()
    assert f"read 2 of {segments} segments of the log" in reported
    assert [line for line in reported if line.startswith("replayed ")][-1] == f"replayed {COMMANDS:,} of {COMMANDS:,} commands"
    assert len(set(turns)) > 2, "whoever asks meanwhile is answered"
