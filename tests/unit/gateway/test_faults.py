"""A fault of ours: its client is told in JSON, the log has one traceback, and nobody else notices."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.support.gateway_world import World, answer_of
from zerosum.gateway import answers, calls
from zerosum.identity.documents import DocumentsFailed
from zerosum.identity.keyring import UNREAD_S, KeyRing
from zerosum.net.sparing_log import SparingLog

UNKNOWN = (500, -1000, "An unknown error occurred while processing the request.")
OUTCOME_UNKNOWN = (504, -1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown.")
ORDER: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "100"}


class BrokenError(Exception):
    """What no code raises."""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the log has, from a fresh start."""
    monkeypatch.setattr(calls, "_log", SparingLog("gateway.api", lines_max=1, period_s=10.0))
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def break_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From then on as many answers can't be written."""

    def break_them(count: int) -> None:
        encode = answers.encode
        left = iter(range(count))

        def broken(answer: object) -> bytes:
            if next(left, None) is None:
                return encode(answer)
            raise BrokenError

        monkeypatch.setattr(answers, "encode", broken)

    return break_them


def test_a_bug_is_an_unknown_error_told_once_in_the_log(world: World, said: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a bug of the gateway")

    monkeypatch.setattr(KeyRing, "find", fails)
    for _ in range(50):
        assert world.signed("GET", "account").error == UNKNOWN
        frame = world.ws_signed("account.status")
        assert (frame["id"], frame["status"], frame["error"]) == (1, 500, {"code": -1000, "msg": UNKNOWN[2]})
    assert [(each["event"], each["submitted"]) for each in said] == [("request.failed", False)]
    assert said[0]["exc_info"], "the traceback is in it"
    assert world.get("depth", symbol="BTCUSDT").status == 200


@pytest.mark.parametrize(
    "damaged",
    [lambda whole: b"something else entirely, and long enough" * 1_000, lambda whole: whole[:4096] + b"\xff" * (len(whole) - 4096)],
)
def test_keys_overwritten_while_they_are_in_use_are_busy_and_good_again_once_put_back(
    world: World, tmp_path: Path, damaged: Callable[[bytes], bytes]
) -> None:
    """Those that are known are good for a while; what could not be seen to be revoked is then good no more."""
    file, ring = tmp_path / "identities.db", world.identities.ring
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("pragma wal_checkpoint(truncate)").fetchone() == (0, 0, 0)
    whole = file.read_bytes()
    file.write_bytes(damaged(whole))
    assert "can't be read" in (ring.unreadable() or "")
    with pytest.raises(DocumentsFailed):
        world.identities.keys.list()
    assert world.signed("GET", "account").status == 200
    world.seconds += UNREAD_S + 1
    for _ in range(3):
        assert world.signed("GET", "account").error[:2] == (503, -1008)
    assert world.get("depth", symbol="BTCUSDT").status == 200
    file.write_bytes(whole)
    ring.refresh()
    assert ring.unreadable() is None
    assert world.signed("GET", "account").status == 200


def test_an_order_whose_answer_can_not_be_written_may_have_been_placed(
    world: World, said: list[Any], break_answers: Callable[[int], None]
) -> None:
    break_answers(2)
    assert world.place(quantity="1", price="100").error == OUTCOME_UNKNOWN
    frame = world.ws_signed("order.place", **ORDER)
    assert (frame["status"], frame["error"]["code"]) == (504, -1007)
    assert [each["submitted"] for each in said] == [True]
    assert [order["orderId"] for order in world.signed("GET", "openOrders").body] == [1, 2]


@pytest.mark.parametrize(("path", "params"), [("order", {"orderId": 1}), ("openOrders", {})])
def test_the_same_of_a_cancel(
    world: World, said: list[Any], break_answers: Callable[[int], None], path: str, params: dict[str, Any]
) -> None:
    assert world.place(quantity="1", price="100").status == 200
    break_answers(1)
    assert world.signed("DELETE", path, symbol="BTCUSDT", **params).error == OUTCOME_UNKNOWN
    assert world.signed("GET", "openOrders").body == []
    assert len(said) == 1


def test_the_other_answers_of_its_group_are_given(world: World, said: list[Any], break_answers: Callable[[int], None]) -> None:
    """What is raised here must not get between the shard and the next client's answer."""
    world.entry.hold()
    found = []
    for number in range(3):
        query = world.signed_query(world.ann, newClientOrderId=f"n{number}", **ORDER)
        found.append(world.send("POST", "/api/v3/order", query, api_key=world.ann.api_key))
    waiting = world.send("GET", "/api/v3/account", world.signed_query(world.ann), api_key=world.ann.api_key)
    break_answers(1)
    world.entry.release()
    assert [answer_of(responses[0]).status for responses in found] == [504, 200, 200]
    assert [response.status for response in waiting] == [200]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("path", "params"),
    [("account", {}), ("openOrders", {}), ("order", {"symbol": "BTCUSDT", "orderId": 1}), ("allOrders", {"symbol": "BTCUSDT"})],
)
def test_a_read_that_fails_is_an_unknown_error(
    world: World, said: list[Any], break_answers: Callable[[int], None], path: str, params: dict[str, Any]
) -> None:
    assert world.place(quantity="1", price="100").status == 200
    world.entry.hold()
    world.send("DELETE", "/api/v3/order", world.signed_query(world.ann, symbol="BTCUSDT", orderId=99), api_key=world.ann.api_key)
    found = world.send("GET", f"/api/v3/{path}", world.signed_query(world.ann, **params), api_key=world.ann.api_key)
    break_answers(1)
    world.entry.release()
    (response,) = found
    assert answer_of(response).error == UNKNOWN
    assert [each["submitted"] for each in said] == [False]


def test_what_is_raised_once_an_answer_was_given_is_only_logged(world: World, said: list[Any]) -> None:
    """A second answer would be taken for another request's."""
    answered: list[bytes] = []

    def reply(text: bytes) -> None:
        answered.append(text)
        raise BrokenError

    world.api.handle_ws(json.dumps({"id": 1, "method": "ping"}).encode(), world.session(), reply)
    assert len(answered) == 1
    assert len(said) == 1
