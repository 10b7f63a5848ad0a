"""
Files that others write anew while a process runs, and what is to be done then: certificates, keys, passwords.

    look --> as it was: nothing          look --> changed --act--> done
                                                               +-> it failed: said by the caller, and looked at again when it changes again

Always true: a file that is replaced (a rename, a link that is pointed elsewhere, as secrets that are mounted are) counts as changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, final

LOOK_S: Final = 1.0


@final
class Watched:
    """Some files, as they were when they were last looked at."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)
        self._seen = self._looks()

    def changed(self) -> bool:
        """Whether one of them is another than it was at the last call."""
        looks = self._looks()
        changed = looks != self._seen
        self._seen = looks
        return changed

    def _looks(self) -> list[tuple[int, int, int, int] | None]:
        return [look(file) for file in self._files]


def look(file: Path) -> tuple[int, int, int, int] | None:
    """What tells a file from what it was; None where there is none, or none that may be seen."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


async def watch(files: Iterable[Path], act: Callable[[], Awaitable[None]], every_s: float = LOOK_S) -> None:
    """For as long as the task lives. What `act` raises ends it, so it says itself what went wrong, and returns."""
    watched = Watched(files)
    while True:
        await asyncio.sleep(every_s)
        if watched.changed():
            await act()
