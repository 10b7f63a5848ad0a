"""The running exchange lets go of what of its log no kept snapshot needs; an archive that can't be written costs disk, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import ask, serving
from tests.support.shard_world import ANN, opening, place
from tests.support.written_log import data_directory
from zerosum.core import records
from zerosum.log.archive import archive_segments
from zerosum.services import pruning
from zerosum.services.audit import Audit
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded
from zerosum.services.follower import SnapshotPolicy

SEGMENT_BYTES = 1 << 14
OFTEN = SnapshotPolicy(every_records=100, keep=2)


async def trade(exchange: Embedded, until: Callable[[], bool]) -> None:
    """Until something holds."""
    async with asyncio.timeout(30):
        while not until():
            for _ in range(50):
                (admitted, *_) = await ask(exchange, place())
                await ask(exchange, records.command(records.CANCEL, 0, ANN, 0, admitted[4]))


def first_kept(data: DataDir) -> int:
    return int(min(data.log.glob("*.seg")).stem)


@pytest.mark.parametrize("archives", [True, False])
async def test_segments_go_that_no_snapshot_needs(tmp_path: Path, archives: bool) -> None:
    data = DataDir(tmp_path / "data")
    archive = tmp_path / "archive" if archives else None
    async with serving(data, segment_bytes=SEGMENT_BYTES, snapshots=OFTEN, prunes=True, archive=archive) as exchange:
        for command in opening():
            await ask(exchange, command)
        await trade(exchange, lambda: first_kept(data) > 300)
        assert exchange.pruning.fault == ""
    async with serving(data, segment_bytes=SEGMENT_BYTES, snapshots=OFTEN, prunes=True, archive=archive) as exchange:
        assert exchange.machine.sequence > 300
        await ask(exchange, place())
    verdicts = list(Audit(data, archive).run())
    assert [verdict for verdict in verdicts if not verdict.holds] == []
    assert ("the same rows" in verdicts[-1].detail) == archives


async def test_what_is_archived_is_not_gone_through_again_without_a_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower says with each answer how old its snapshots are: a hundred times a second."""
    asked: list[int] = []

    def counted(folder: Path, before_sequence: int, archive: Path, **options: Any) -> int:
        asked.append(before_sequence)
        return archive_segments(folder, before_sequence, archive, **options)

    monkeypatch.setattr(pruning, "archive_segments", counted)
    data, archive = DataDir(tmp_path / "data"), tmp_path / "archive"
    async with serving(data, segment_bytes=SEGMENT_BYTES, snapshots=OFTEN, prunes=True, archive=archive) as exchange:
        for command in opening():
            await ask(exchange, command)
        await trade(exchange, lambda: first_kept(data) > 300)
    assert len(asked) > 2
    assert asked == sorted(set(asked))


async def test_only_what_is_in_the_archive_is_pruned(tmp_path: Path) -> None:
    """A snapshot of the log's end covers its last segment too; that one is written on, and is not in the archive."""
    data = data_directory(tmp_path / "data", 2000)
    segments = sorted(int(segment.stem) for segment in data.log.glob("*.seg"))
    pruned: list[int] = []
    one = pruning.Pruning(data.log, tmp_path / "archive", pruned.append, lambda line: None)
    one.snapshots_from(2000)
    async with asyncio.timeout(30):
        while not pruned:  # noqa: ASYNC110  a task of its own does it
            await asyncio.sleep(0.005)
    await one.stop()
    assert pruned == [segments[-1]]
    assert sorted(int(copy.stem) for copy in (tmp_path / "archive").iterdir()) == segments[:-1]


@pytest.mark.parametrize("wrong", ["a file", "another log's"])
async def test_an_archive_that_can_not_be_written_is_reported_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setattr(pruning, "RETRY_S", 0.05)
    data, archive = DataDir(tmp_path / "data"), tmp_path / "archive"
    if wrong == "a file":
        in_the_way = archive
    else:
        archive.mkdir()
        in_the_way = archive / f"{1:020d}.seg"
    in_the_way.write_text("what somebody keeps here")
    reported: list[str] = []
    async with serving(data, reported, segment_bytes=SEGMENT_BYTES, snapshots=OFTEN, prunes=True, archive=archive) as exchange:
        for command in opening():
            await ask(exchange, command)
        await trade(exchange, lambda: exchange.pruning.fault != "")
        await trade(exchange, lambda: exchange.machine.sequence > 1500)
        assert len([line for line in reported if line.startswith("the log is not pruned: ")]) == 1, "once, not each time"
        assert first_kept(data) == 1
        assert in_the_way.read_text() == "what somebody keeps here"
        in_the_way.unlink()
        await trade(exchange, lambda: first_kept(data) > 1)
        assert exchange.pruning.fault == ""
    assert all(verdict.holds for verdict in Audit(data, archive).run())
