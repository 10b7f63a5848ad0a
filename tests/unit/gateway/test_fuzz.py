"""Whatever the bytes: one answer, JSON, with a status other than 500, which is what a fault of ours is answered with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.gateway_world import World, answer_of
from zerosum.gateway import parameters
from zerosum.gateway.api import METHODS, ROUTES, TIME_RANGE, WS_ALWAYS, WS_SIGNED
from zerosum.gateway.auth import without_signature
from zerosum.gateway.decimals import Scale
from zerosum.gateway.errors import LOT_SIZE, ApiError
from zerosum.gateway.limits import Allowance
from zerosum.gateway.orders import CANCEL_PARAMETERS, ORDER_PARAMETERS

NAMES = st.sampled_from(
    sorted(
        {"symbols", "limit", "fromId", "omitZeroBalances", "showPermissionSets", "symbolStatus", "computeCommissionRates"}
        | ORDER_PARAMETERS
        | CANCEL_PARAMETERS
        | WS_SIGNED
        | WS_ALWAYS
        | TIME_RANGE
    )
)
VALUES = st.sampled_from(
    [
        "BTCUSDT", "BUY", "SELL", "LIMIT", "MARKET", "LIMIT_MAKER", "GTC", "FOK", "1", "0.5", "100", "31250.5", "FULL", "NONE", "5000",
        "true", "1700000000000", '["BTCUSDT"]', "TRADING", "99999999999999999999", "0", "-1", "1e9", "%00", "%ff", "a+b",
    ]
)  # fmt: skip
PAIRS = st.lists(st.tuples(NAMES, VALUES | st.text(max_size=8)), max_size=14)
PATHS = st.sampled_from(list(ROUTES)) | st.text(max_size=12)
HTTP_METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT"])


def query_of(pairs: list[tuple[str, str]]) -> bytes:
    return "&".join(f"{name}={value}" for name, value in pairs).encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Without limits, with a bid and an ask, so that what is right by chance goes all the way."""
    world = World(tmp_path_factory.mktemp("fuzz"), allowance=Allowance(1 << 60, 1 << 60, 1 << 60, 1 << 60))
    assert world.place(quantity="1", price="100").status == 200
    assert world.place(world.bob, side="SELL", quantity="1", price="101").status == 200
    yield world
    world.entry.exchange.check()
    world.close()


@given(HTTP_METHODS, PATHS, st.binary(max_size=80) | PAIRS.map(query_of), st.binary(max_size=40) | PAIRS.map(query_of))
@example("GET", "/api/v3/depth", b"symbol=BTCUSDT&limit=\xc2\xb2", b"")  # a digit, but no decimal one
@example("GET", "/api/v3/depth", b"symbol=BTCUSDT&limit=5%0A", b"")  # a pattern's "$" lets a line's end pass
def test_any_rest_request_is_answered_once_in_json(world: World, method: str, path: str, query: bytes, body: bytes) -> None:
    for api_key in (None, world.ann.api_key):
        (response,) = world.send(method, path, query, body, api_key=api_key)
        assert answer_of(response).status in range(200, 500)


@given(HTTP_METHODS, st.sampled_from(list(ROUTES)), PAIRS)
def test_any_signed_request_is_answered_once_in_json(world: World, method: str, path: str, pairs: list[tuple[str, str]]) -> None:
    payload = query_of([*pairs, ("timestamp", str(world.now_ms))])
    query = payload + b"&signature=" + world.ann.sign(without_signature(payload)).encode()
    (response,) = world.send(method, path, query, api_key=world.ann.api_key)
    answer = answer_of(response)
    assert answer.status == 200 or (answer.status != 500 and answer.body["code"] < 0)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b'{"id":"\\ud800","method":"ping"}')
@example(b'{"\xc3\xa9":1,"method":"ping"}')
def test_any_frame_is_answered_once_in_json(world: World, text: bytes) -> None:
    answer = world.ws_raw(text)
    assert set(answer) == {"id", "status", "error" if answer["status"] != 200 else "result", "rateLimits"}
    assert answer["status"] != 500


JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.lists(st.integers(), max_size=3)
)


@given(
    st.sampled_from(list(METHODS)) | st.text(max_size=8),
    st.dictionaries(NAMES | st.text(max_size=8), VALUES | JSON, max_size=14),
    st.integers() | st.text(max_size=20) | st.none(),
)
@example("account.status", {"é": 1}, 1)
def test_any_call_is_answered_once_and_with_its_id(world: World, method: str, params: dict[str, Any], request_id: object) -> None:
    for more in ({}, {"apiKey": world.ann.api_key, "timestamp": world.now_ms, "signature": "0" * 64}):
        answer = world.ws_raw(json.dumps({"id": request_id, "method": method, "params": params | more}).encode())
        assert answer["id"] == request_id
        assert answer["status"] != 500


@given(st.binary(max_size=60))
def test_parameters_are_parsed_or_refused(raw: bytes) -> None:
    for query, body in ((raw, b""), (b"a=1", raw), (raw, raw)):
        try:
            params = parameters.of_rest(query, body)
        except ApiError:
            continue
        assert all(name and value for name, value in params.items())


@given(st.text(max_size=24), st.integers(1, 1000), st.integers(0, 18))
def test_a_decimal_is_parsed_or_refused(text: str, mantissa: int, decimals: int) -> None:
    scale = Scale(mantissa, decimals, LOT_SIZE)
    try:
        steps = scale.steps(text, "quantity")
    except ApiError:
        return
    assert steps >= 0


@given(st.sampled_from(["timestamp", "recvWindow", "startTime", "limit", "orderId"]), st.text(max_size=12) | st.integers().map(str))
def test_times_and_integers_are_parsed_or_refused(name: str, value: str) -> None:
    params = {"timestamp": "1700000000000", name: value}
    for parse in (
        lambda: parameters.deadline_us(params, 1_700_000_000_000_000),
        lambda: parameters.time_range_us(params),
        lambda: parameters.limit(params, 1, 10),
        lambda: parameters.optional_integer(params, "orderId"),
    ):
        with suppress(ApiError):
            parse()
