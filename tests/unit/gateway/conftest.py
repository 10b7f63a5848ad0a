"""An exchange of one symbol, two users and a client that signs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_world import World


@pytest.fixture
def new_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes the test's World, of which there is one, with any of World's keywords."""
    made: list[World] = []

    def make(**keywords: Any) -> World:
        made.append(World(tmp_path, **keywords))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()
