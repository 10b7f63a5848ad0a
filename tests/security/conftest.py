"""The exchanges that are attacked: one plain, one over TLS, each started once, with a market of one symbol and a trader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.security.support import SETTINGS, Target
from tests.support.running import running, zerosum
from tests.support.secured import Secured

LISTING = """
[[assets]]
name = "BTC"
decimals = 8
[[assets]]
name = "USDT"
decimals = 8
[[symbols]]
name = "BTCUSDT"
base = "BTC"
quote = "USDT"
tick = "0.01"
lot = "0.00001"
max_price = "1000000"
max_qty = "1000"
"""


@dataclass
class Trader:
    """`key`: of an account with money."""

    target: Target
    key: dict[str, str]


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running(tmp_path_factory.mktemp("plain") / "data", "--no-demo", settings=SETTINGS) as exchange:
        yield Target(exchange)
        assert exchange.stop() == 0


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("secure")
    with running(folder / "data", "--no-demo", settings=SETTINGS, tls=Secured(folder / "certificates")) as exchange:
        yield Target(exchange)
        assert exchange.stop() == 0


@pytest.fixture(params=["plain", "secure"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each in turn."""
    found: Target = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def trader(plain: Target, tmp_path_factory: pytest.TempPathFactory) -> Trader:
    data, file = str(plain.exchange.data), tmp_path_factory.mktemp("listing") / "listing.toml"
    file.write_text(LISTING)
    zerosum("listing", "add", str(file), "--data", data)
    zerosum("account", "open", "1001", "--data", data)
    zerosum("deposit", "1001", "USDT", "1000000", "--data", data)
    return Trader(plain, json.loads(zerosum("key", "create", "1001", "--json", "--data", data)))


@pytest.fixture(autouse=True)
def others_do_not_notice(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each attack an honest client is answered as before."""
    yield
    for name in ("plain", "secure"):
        if name in request.fixturenames or ("target" in request.fixturenames and request.node.callspec.params["target"] == name):
            request.getfixturevalue(name).assert_serves()
