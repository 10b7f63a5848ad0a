"""An exchange of one symbol, two users and a client that signs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
