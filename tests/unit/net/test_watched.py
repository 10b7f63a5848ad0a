"""Files that are written anew are noticed, however that is done."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from zerosum.net.watched import Watched, watch


def test_a_file_that_stays_as_it_is_has_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    watched = Watched([file])
    assert not watched.changed()
    file.read_text()
    assert not watched.changed()


def test_what_is_written_replaced_removed_or_put_back_has_changed(tmp_path: Path) -> None:
    file, other = tmp_path / "password", tmp_path / "other"
    file.write_text("one")
    watched = Watched([file])
    file.write_text("longer")
    assert watched.changed()
    other.write_text("longer")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.rename(file)  # the same size and time: another file
    assert watched.changed()
    file.unlink()
    assert watched.changed()
    assert not watched.changed()
    file.write_text("one")
    assert watched.changed()


def test_a_link_that_points_elsewhere_has_changed(tmp_path: Path) -> None:
    """As Kubernetes changes secrets: a folder of links, one of which is exchanged."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    link = tmp_path / "current"
    link.symlink_to("first")
    watched = Watched([link / "key"])
    draft = tmp_path / "draft"
    draft.symlink_to("second")
    draft.rename(link)
    assert watched.changed()


async def test_the_act_is_done_once_for_each_change(tmp_path: Path) -> None:
    file, acts = tmp_path / "key", asyncio.Queue[str]()
    file.write_text("one")

    async def act() -> None:
        acts.put_nowait(file.read_text())

    watching = asyncio.create_task(watch([file], act, every_s=0.005))
    await asyncio.sleep(0.02)
    for text in ("second", "the third"):
        (tmp_path / "draft").write_text(text)
        (tmp_path / "draft").rename(file)
        assert await asyncio.wait_for(acts.get(), 5) == text
    await asyncio.sleep(0.02)
    assert acts.empty()
    watching.cancel()
