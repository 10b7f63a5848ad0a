"""Every test here runs twice, over TCP and over TLS, but for those that are `plain`: what only one of the two has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.secured import Secured
from tests.unit.transport import support


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    return Secured(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"], autouse=True)
def secured(request: pytest.FixtureRequest, tls: Secured) -> Iterator[Secured | None]:
    """What servers and clients of the test speak."""
    support.secured = tls if request.param == "tls" else None
    yield support.secured
    support.secured = None
