"""
Lets go of what of the log no kept snapshot needs: copied to the archive before, if there is one, in a thread beside the log's own.

    follower: "snapshots from m" --> archive segments before m --> shard: prune them, between two groups

Always true: a segment goes only once its copy is verified and durable. An archive that can't be written costs disk, never the exchange: it
is reported and tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, final

from zerosum.errors import ZerosumError
from zerosum.log.archive import archive_segments
from zerosum.log.disk import Disk

RETRY_S: Final = 60.0


@final
class Pruning:
    """`fault`: why the log grows, '' while it does not. `away`: how to run what takes long away from the loop."""

    def __init__(
        self, log: Path, archive: Path | None, prune: Callable[[int], None], report: Callable[[str], None], *, disk: Disk | None = None,
        away: Callable[..., Coroutine[Any, Any, int]] = asyncio.to_thread,
    ) -> None:  # fmt: skip
        self.fault = ""
        self._disk = disk
        self._away = away
        self._log = log
        self._archive = archive
        self._prune = prune
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._done = 0
        self._stops = False
        self._retry_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def snapshots_from(self, sequence: int) -> None:
        """The oldest snapshot that is kept is of this sequence: what came before it in the log is no longer needed to start."""
        if sequence > self._done and self._task is None and self._loop.time() >= self._retry_at:
            self._task = asyncio.create_task(self._run(sequence), name="pruning")

    async def stop(self) -> None:
        """Wait for the segment that is being copied."""
        self._stops = True
        if self._task is not None:
            await self._task

    async def _run(self, sequence: int) -> None:
        before = sequence + 1
        try:
            if self._archive is not None:
                before = await self._away(archive_segments, self._log, before, self._archive, disk=self._disk, stops=lambda: self._stops)
                if self._stops:
                    return
        except (ZerosumError, OSError) as error:
            if str(error) != self.fault:
                self._report(f"the log is not pruned: {error}")
            self.fault = str(error)
            self._retry_at = self._loop.time() + RETRY_S
        else:
            self.fault = ""
            self._done = sequence
            self._prune(before)
        finally:
            self._task = None
