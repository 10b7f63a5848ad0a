"""A file of identities, and other processes' views of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zerosum.identity.identities import Identities
from zerosum.identity.sealing import MasterKey
from zerosum.identity.sqlite import SqliteDocuments

MASTER_KEY = MasterKey(bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identities.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Identities]]:
    """Another process's view of the file, each time it is called."""
    made: list[Identities] = []

    def open_again() -> Identities:
        made.append(Identities(SqliteDocuments(path), MASTER_KEY))
        return made[-1]

    yield open_again
    for identities in made:
        identities.close()


@pytest.fixture
def identities(opened: Callable[[], Identities]) -> Identities:
    return opened()
