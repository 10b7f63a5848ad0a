"""Windows count what came in them, and say when the next one begins."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateway_world import World
from zerosum.gateway.errors import ApiError
from zerosum.gateway.limits import MINUTE_US, Allowance, Limits, Window

START_US = 28_333_333 * MINUTE_US  # a whole minute


def test_a_window_counts_by_key_and_begins_at_nothing() -> None:
    window = Window(MINUTE_US)
    assert [window.add("a", 2, START_US), window.add("b", 1, START_US + 1), window.add("a", 3, START_US + MINUTE_US - 1)] == [2, 1, 5]
    assert window.add("a", 1, START_US + MINUTE_US) == 1
    assert set(window.counts) == {"a"}


@pytest.mark.parametrize(("after_us", "seconds"), [(0, 60), (1, 60), (1_000_000, 59), (59_000_001, 1), (59_999_999, 1)])
def test_seconds_left_are_rounded_up(after_us: int, seconds: int) -> None:
    """Who waits that long is let in."""
    assert Window(MINUTE_US).seconds_left(START_US + after_us) == seconds


def test_what_is_at_the_limit_passes_and_the_next_does_not() -> None:
    limits = Limits(Allowance(orders_per_10_seconds=2, orders_per_day=3))
    assert limits.use_order(16, START_US) == (1, 1)
    assert limits.use_order(16, START_US) == (2, 2)
    with pytest.raises(ApiError, match="2 orders per 10 SECOND"):
        limits.use_order(16, START_US)
    with pytest.raises(ApiError, match="3 orders per 1 DAY"):
        limits.use_order(16, START_US + 10_000_000)
    assert limits.use_order(17, START_US) == (1, 1)


def test_past_its_weight_an_address_is_told_when_to_come_back(new_world: Callable[..., World]) -> None:
    world = new_world(allowance=Allowance(weight_per_minute=10))
    assert world.get("depth", symbol="BTCUSDT").headers == {"x-mbx-used-weight-1m": "5"}
    assert world.get("depth", symbol="BTCUSDT").status == 200
    refused = world.get("ping")
    left_s = 60 - world.now_ms // 1000 % 60
    assert refused.status == 429
    assert refused.headers == {"x-mbx-used-weight-1m": "11", "retry-after": str(left_s)}
    assert set(refused.body) == {"code", "msg"}
    assert world.raw("GET", "/api/v3/ping", client="10.0.0.2").status == 200
    world.entry.clock_us += left_s * 1_000_000
    assert world.get("ping").headers == {"x-mbx-used-weight-1m": "1"}


def test_an_unknown_path_and_a_bad_request_weigh_too(world: World) -> None:
    assert world.raw("GET", "/nothing").headers["x-mbx-used-weight-1m"] == "1"
    assert world.get("depth", symbol="").headers["x-mbx-used-weight-1m"] == "6"


def test_a_refused_request_is_not_submitted(new_world: Callable[..., World]) -> None:
    world = new_world(allowance=Allowance(orders_per_10_seconds=1))
    assert world.place(quantity="1", price="90").status == 200
    before = world.entry.submitted
    assert world.place(quantity="1", price="90").status == 429
    assert world.entry.submitted == before
