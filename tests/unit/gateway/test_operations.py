"""Which operations there are, where, and what they weigh: as docs/reference/api.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.gateway_world import World
from zerosum.gateway.api import METHODS, ROUTES

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/reference/api.md"

# By operation: parameters of a request that succeeds or not, and what it weighs.
WEIGHTS = [
    ("ping", {}, 1),
    ("time", {}, 1),
    ("exchangeInfo", {}, 20),
    ("depth", {"symbol": "BTCUSDT"}, 5),
    ("trades", {"symbol": "BTCUSDT"}, 25),
    ("place", {"symbol": "BTCUSDT"}, 1),
    ("test", {"symbol": "BTCUSDT"}, 1),
    ("cancel", {"symbol": "BTCUSDT"}, 1),
    ("amend", {"symbol": "BTCUSDT"}, 4),
    ("cancelAll", {"symbol": "BTCUSDT"}, 1),
    ("order", {"symbol": "BTCUSDT"}, 4),
    ("openOrders", {"symbol": "BTCUSDT"}, 6),
    ("allOrders", {"symbol": "BTCUSDT"}, 20),
    ("account", {}, 20),
    ("userTrades", {"symbol": "BTCUSDT"}, 20),
]
REST = {name: (method, path) for path, methods in ROUTES.items() for method, name in methods.items()}
SIGNED = {name for name, _, _ in WEIGHTS} - {"ping", "time", "exchangeInfo", "depth", "trades"}
WS = {name: method for method, name in METHODS.items()}


def documented() -> list[tuple[str, str, str, str]]:
    """The table of operations: REST, WebSocket, permission, weight."""
    cell = r"\s*([^|]*?)\s*\|"
    rows = re.findall(rf"^\| ((?:GET|POST|PUT|DELETE) \S+) \|{cell}{cell}{cell}", DOCUMENT.read_text(), re.M)
    return [(rest, ws, permission, weight) for rest, ws, permission, weight in rows]


def test_the_document_has_every_operation() -> None:
    rows = documented()
    assert {rest for rest, *_ in rows} == {f"{method} {path.removeprefix('/api/v3/')}" for method, path in REST.values()}
    assert {ws for _, ws, *_ in rows} == set(METHODS)
    assert [REST[METHODS[ws]] for _, ws, *_ in rows] == [(rest.split()[0], f"/api/v3/{rest.split()[1]}") for rest, *_ in rows]


def test_the_document_has_permissions_and_least_weights(world: World) -> None:
    for _, ws, permission, weight in documented():
        operation = world.api.methods[ws]
        assert operation.security == permission
        assert min(int(number) for number in re.findall(r"\b\d+\b", weight)) == operation.weight


@pytest.mark.parametrize(("name", "params", "weight"), WEIGHTS)
def test_what_an_operation_weighs(world: World, name: str, params: dict[str, str], weight: int) -> None:
    method, path = REST[name]
    answer = world.signed(method, path.removeprefix("/api/v3/"), None, **params) if name in SIGNED else world.get(name, **params)
    assert answer.headers["x-mbx-used-weight-1m"] == str(weight)
    frame = world.ws_signed(WS[name], None, **params) if name in SIGNED else world.ws(WS[name], dict(params))
    assert frame["rateLimits"][-1]["count"] == 2 * weight


def test_each_operation_is_weighed() -> None:
    assert {name for name, _, _ in WEIGHTS} == set(REST) == set(WS)
