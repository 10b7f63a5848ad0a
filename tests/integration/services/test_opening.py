"""A long start tells how far it is, and meanwhile the loop is free."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.serving import serving
from tests.support.written_log import data_directory
from zerosum.services import opening

COMMANDS = 3000


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
