"""What is just within bounds passes, with its exact value; what is just past them is in test_error_paths.py."""

from __future__ import annotations

import pytest

from zerosum.gateway import parameters
from zerosum.gateway.errors import ApiError

NOW_US = 1_700_000_000_000_000
NOW = {"timestamp": "1700000000000"}


@pytest.mark.parametrize(
    ("query", "body", "params"),
    [
        (b"", b"", {}),
        (b"a=1&b=2", b"", {"a": "1", "b": "2"}),
        (b"", b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1", b"b=2", {"a": "1", "b": "2"}),
        (b"a=1", b"a=2&b=3", {"a": "1", "b": "3"}),
        (b"a=1&", b"", {"a": "1"}),
        (b"&&a=1", b"", {"a": "1"}),
        (b"a=b=c", b"", {"a": "b=c"}),
        (b"a=%5B%22X%22%5D", b"", {"a": '["X"]'}),
        (b"%61=x+y", b"", {"a": "x y"}),
        (b"a=%2B", b"", {"a": "+"}),
        (b"a=%", b"", {"a": "%"}),
        (b"a=%zz", b"", {"a": "%zz"}),
        (b"A=1&a=2", b"", {"A": "1", "a": "2"}),
    ],
)
def test_a_query_and_a_body_are_read(query: bytes, body: bytes, params: dict[str, str]) -> None:
    assert parameters.of_rest(query, body) == params


@pytest.mark.parametrize(
    ("members", "params"),
    [
        (b"{}", {}),
        (b'{"a": "x", "b": 1, "c": 0.00001, "d": true, "e": false}', {"a": "x", "b": "1", "c": "0.00001", "d": "true", "e": "false"}),
        (b'{"a": 1.50, "b": 1e5, "c": -1}', {"a": "1.50", "b": "1e5", "c": "-1"}),
        (b'{"a": "\\u0041\\"\\/"}', {"a": 'A"/'}),
        (b'{"a": ["X","Y"]}', {"a": '["X","Y"]'}),
    ],
)
def test_members_are_read_as_they_were_written(members: bytes, params: dict[str, str]) -> None:
    assert parameters.of_ws(members) == params


def test_as_many_and_as_long_parameters_as_there_may_be() -> None:
    many = "&".join(f"p{number}=1" for number in range(64)).encode()
    assert len(parameters.of_rest(many, b"")) == 64
    assert len(parameters.of_rest(many + b"%20", b"")) == 64
    assert len(parameters.of_ws(b"{%b}" % b",".join(b'"p%d":1' % number for number in range(64)))) == 64
    longest = "x" * 64
    assert parameters.of_rest(f"{longest}=%31".encode(), b"") == {longest: "1"}
    assert parameters.of_ws(f'{{"{longest}":1}}'.encode()) == {longest: "1"}


@pytest.mark.parametrize(
    ("params", "deadline_us"),
    [
        ({}, NOW_US + 5_000_000),
        ({"timestamp": "1699999995000"}, NOW_US),  # as old as it may be
        ({"timestamp": "1699999995000000"}, NOW_US),
        ({"timestamp": "1700000000999999"}, NOW_US + 5_999_999),  # as early as it may be
        ({"recvWindow": "60000"}, NOW_US + 60_000_000),
        ({"recvWindow": "60000.000"}, NOW_US + 60_000_000),
        ({"recvWindow": "0"}, NOW_US),
        ({"recvWindow": "1.5"}, NOW_US + 1500),
        ({"recvWindow": "1.005"}, NOW_US + 1005),
    ],
)
def test_a_request_in_time_has_a_deadline(params: dict[str, str], deadline_us: int) -> None:
    assert parameters.deadline_us(NOW | params, NOW_US) == deadline_us


@pytest.mark.parametrize("params", [{"timestamp": "1699999994999999"}, {"timestamp": "1700000001000000"}, {"recvWindow": "60000.001"}])
def test_one_microsecond_more_is_out_of_time(params: dict[str, str]) -> None:
    with pytest.raises(ApiError):
        parameters.deadline_us(NOW | params, NOW_US)


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("0", 0),
        ("99999999999999", 99_999_999_999_999_000),
        ("100000000000000", 100_000_000_000_000),
        ("1700000000000001", 1_700_000_000_000_001),
    ],
)
def test_a_time_is_in_microseconds_from_ten_to_the_fourteenth_on(text: str, time_us: int) -> None:
    assert parameters.time_us(text, "startTime") == time_us


@pytest.mark.parametrize(
    ("params", "range_us"),
    [
        ({}, (None, None)),
        ({"startTime": "5"}, (5000, None)),
        ({"endTime": "5"}, (None, 5999)),
        ({"startTime": "5", "endTime": "5"}, (5000, 5999)),
        ({"startTime": "0", "endTime": "86400000"}, (0, parameters.DAY_US + 999)),
        ({"startTime": "1700000000000001", "endTime": "1700000000000001"}, (1_700_000_000_000_001, 1_700_000_000_000_001)),
    ],
)
def test_a_range_of_a_day_at_most_ends_with_all_of_its_last_millisecond(
    params: dict[str, str], range_us: tuple[int | None, int | None]
) -> None:
    assert parameters.time_range_us(params) == range_us


def test_integers_go_up_to_a_word() -> None:
    assert parameters.integer(str((1 << 63) - 1), "orderId") == (1 << 63) - 1
    assert parameters.integer("0" * 20, "orderId") == 0


@pytest.mark.parametrize(("sent", "taken"), [(None, 500), ("1", 1), ("999", 999), ("1000", 1000), ("1001", 1000)])
def test_a_limit_is_taken_down_to_what_there_is(sent: str | None, taken: int) -> None:
    assert parameters.limit({} if sent is None else {"limit": sent}, 500, 1000) == taken


@pytest.mark.parametrize("text", ["a", "x" * 36, "A-_9"])
def test_client_ids_have_up_to_36_letters_digits_dashes_and_underscores(text: str) -> None:
    assert parameters.client_id({"newClientOrderId": text}, "newClientOrderId") == text


@pytest.mark.parametrize(("text", "names"), [("[]", []), ('["A"]', ["A"]), ('[ "A" , "B.C_D-9" ]', ["A", "B.C_D-9"])])
def test_symbols_are_a_json_array(text: str, names: list[str]) -> None:
    assert parameters.symbol_names(text) == names


@pytest.mark.parametrize(
    "text", ["[", "{}", '["a"]', '["A",]', '["A" "B"]', '["\\u0041"]', "[1]", '["' + "A" * 25 + '"]', '[""]', '"A"', "[[]]"]
)
def test_symbols_that_are_none_are_illegal(text: str) -> None:
    with pytest.raises(ApiError, match="legal range is"):
        parameters.symbol_names(text)


def test_a_long_text_is_read_in_one_go() -> None:
    """A pattern that tries each blank again would be at this for an hour."""
    with pytest.raises(ApiError, match="legal range is"):
        parameters.symbol_names("[" + " " * 2_000_000 + "x")


def test_a_text_of_nothing_but_separators_is_not_taken_apart() -> None:
    with pytest.raises(ApiError, match="Too many parameters; expected '64' and received '65537'"):
        parameters.of_rest(b"", b"&" * 65_536)
