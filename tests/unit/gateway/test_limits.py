"""Windows count what came in them, and say when the next one begins."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateway_world import World
from zerosum.gateway.errors import ApiError
from zerosum.gateway.limits import BAN_S, BAN_S_MAX, BANS_MAX, DAY_US, MINUTE_US, SECOND_US, Allowance, Ban, Limits, Window
from zerosum.gateway.sharing import Sharing

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


# ---------------------------------------------------------------------- bans


def ask(limits: Limits, client: str, weight: int, now_us: int) -> None:
    limits.check_weight(client, limits.use_weight(client, weight, now_us), now_us)


def test_far_past_its_weight_an_address_is_banned_and_each_time_for_longer() -> None:
    limits = Limits(Allowance(weight_per_minute=10))
    now_us, lengths = START_US, []
    for _ in range(3):
        with pytest.raises(ApiError, match="IP banned until"):
            ask(limits, "10.0.0.1", 21, now_us)
        ban = limits.bans["10.0.0.1"]
        lengths.append((ban.until_us - now_us) // SECOND_US)
        with pytest.raises(ApiError) as refused:
            ask(limits, "10.0.0.1", 1, ban.until_us - 1)
        assert (refused.value.status, refused.value.headers) == (418, ((b"retry-after", b"1"),))
        now_us = (ban.until_us // MINUTE_US + 1) * MINUTE_US
        ask(limits, "10.0.0.1", 1, now_us)
    assert lengths == [BAN_S, 2 * BAN_S, 4 * BAN_S]
    now_us += 2 * DAY_US
    with pytest.raises(ApiError):
        ask(limits, "10.0.0.1", 21, now_us)
    assert limits.bans["10.0.0.1"] == Ban(now_us + BAN_S * SECOND_US, 1)


def test_a_ban_has_a_longest_length_and_others_are_not_banned() -> None:
    limits = Limits(Allowance(weight_per_minute=10))
    for _ in range(100):
        limits.ban("10.0.0.1", START_US)
    assert limits.bans["10.0.0.1"].until_us == START_US + BAN_S_MAX * SECOND_US
    ask(limits, "10.0.0.2", 1, START_US)


def test_so_many_bans_are_remembered() -> None:
    limits = Limits(Allowance())
    for number in range(BANS_MAX + 10):
        limits.ban(f"client {number}", START_US)
    assert len(limits.bans) == BANS_MAX
    assert "client 0" not in limits.bans


def test_a_network_of_ipv6_counts_as_one() -> None:
    """Whoever has one address there has 2^64 of them."""
    limits = Limits(Allowance(weight_per_minute=10))
    for number in range(10):
        ask(limits, f"2001:db8::{number:x}", 1, START_US)
    with pytest.raises(ApiError):
        ask(limits, "2001:db8::ffff", 1, START_US)
    ask(limits, "2001:db8:0:1::1", 1, START_US)


def test_a_key_has_a_limit_of_its_own_wherever_it_is_used(new_world: Callable[..., World]) -> None:
    world = new_world(allowance=Allowance(key_weight_per_minute=40))
    for client in ("10.0.0.1", "10.0.0.2"):
        query = world.signed_query(world.ann)
        assert world.raw("GET", "/api/v3/account", query, api_key=world.ann.api_key, client=client).status == 200
    query = world.signed_query(world.ann)
    assert world.raw("GET", "/api/v3/account", query, api_key=world.ann.api_key, client="10.0.0.3").status == 429
    assert world.signed("GET", "account", world.bob).status == 200


def test_what_somebody_else_sends_with_a_key_does_not_count_against_it(new_world: Callable[..., World]) -> None:
    world = new_world(allowance=Allowance(key_weight_per_minute=40))
    for _ in range(10):
        assert world.raw("GET", "/api/v3/account", b"timestamp=1&signature=" + b"0" * 64, api_key=world.ann.api_key).status == 400
    assert world.signed("GET", "account").status == 200


# ---------------------------------------------------------------------- several gateways


@pytest.fixture
def pair() -> list[tuple[Limits, Sharing]]:
    made = []
    for name in ("one", "other"):
        limits = Limits(Allowance(weight_per_minute=160, orders_per_10_seconds=32, orders_per_day=100))
        made.append((limits, Sharing(limits, name)))
    return made


def exchange(pair: list[tuple[Limits, Sharing]], now_us: int) -> None:
    said = [sharing.said(now_us) for _, sharing in pair]
    for text in said:
        for _, sharing in pair:
            if text is not None:
                sharing.take(text, now_us)


def test_gateways_count_together(pair: list[tuple[Limits, Sharing]]) -> None:
    for limits, _ in pair:
        ask(limits, "10.0.0.1", 80, START_US)
        ask(limits, "10.0.0.2", 1, START_US)
    exchange(pair, START_US)
    for limits, _ in pair:
        with pytest.raises(ApiError, match="current limit is 160"):
            ask(limits, "10.0.0.1", 1, START_US)
        ask(limits, "10.0.0.2", 1, START_US)
        ask(limits, "10.0.0.1", 1, START_US + MINUTE_US)


def test_orders_of_an_account_are_counted_together(pair: list[tuple[Limits, Sharing]]) -> None:
    for limits, _ in pair:
        for _ in range(16):
            limits.use_order(16, START_US)
    exchange(pair, START_US)
    for limits, _ in pair:
        with pytest.raises(ApiError, match="32 orders per 10 SECOND"):
            limits.use_order(16, START_US)


def test_what_comes_twice_or_is_lost_does_no_harm(pair: list[tuple[Limits, Sharing]]) -> None:
    (one, saying), (other, hearing) = pair
    ask(one, "10.0.0.1", 20, START_US)
    first = saying.said(START_US)
    ask(one, "10.0.0.1", 30, START_US)
    second = saying.said(START_US)
    assert first is not None
    assert second is not None
    assert saying.said(START_US) is None, "nothing new"
    for text in (second, second):
        hearing.take(text, START_US)
    assert other.use_weight("10.0.0.1", 1, START_US) == 51
    saying.take(second, START_US)
    assert one.use_weight("10.0.0.1", 0, START_US) == 50, "its own words count once"


def test_a_ban_holds_on_every_gateway(pair: list[tuple[Limits, Sharing]]) -> None:
    (one, _), (other, _) = pair
    with pytest.raises(ApiError, match="banned"):
        ask(one, "10.0.0.1", 1_000, START_US)
    exchange(pair, START_US)
    with pytest.raises(ApiError, match="banned"):
        ask(other, "10.0.0.1", 1, START_US + MINUTE_US)


def test_what_was_said_of_a_window_that_is_over_does_not_count(pair: list[tuple[Limits, Sharing]]) -> None:
    (one, saying), (other, hearing) = pair
    ask(one, "10.0.0.1", 100, START_US)
    text = saying.said(START_US)
    assert text is not None
    hearing.take(text, START_US + MINUTE_US)
    assert other.use_weight("10.0.0.1", 1, START_US + MINUTE_US) == 1


def test_what_little_clients_ask_is_not_told(pair: list[tuple[Limits, Sharing]]) -> None:
    (one, saying), _ = pair
    for number in range(1_000):
        ask(one, f"client {number}", 1, START_US)
    assert saying.said(START_US) is None


@pytest.mark.parametrize("text", [b"", b"{}", b"nonsense", b'{"by":"x","windows":[[1,{"a":-1}]],"bans":{}}', b"[" * 10_000])
def test_what_no_gateway_says_is_refused(pair: list[tuple[Limits, Sharing]], text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        pair[0][1].take(text, START_US)
