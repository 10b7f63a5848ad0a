"""What the end-to-end run of a cluster checks: that each check fails where it must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zerosum.bench.client import LOST
from zerosum.bench.cluster.chaos import pause_of
from zerosum.bench.cluster.checks import check_accepted, check_logs, check_open, check_orders
from zerosum.bench.cluster.load import AMEND, CANCEL, CROSS, KINDS, MARKET, PLACE, Request
from zerosum.settlement.rows import CANCELED, FILLED, NEW, PARTIALLY_FILLED, REJECTED, OrderRow

ACCOUNT = 1001


def row(client: str = "load-0-1", **fields: Any) -> OrderRow:
    """An open buy of 100 lots of 0.00001, as order 7."""
    of: dict[str, Any] = dict.fromkeys(OrderRow._fields, 0)
    of |= {"account": ACCOUNT, "order_id": 7, "client_id": client, "qty_lots": 100, "status": NEW}
    return OrderRow(**(of | fields))


def request(answer: dict[str, Any] | None = None, kind: str = PLACE, http: int = 200, params: dict[str, str] | None = None) -> Request:
    asked = Request(0, kind, ACCOUNT, "BTCUSDT", "load-0-1", 1.0, params or {})
    asked.status, asked.answer, asked.answered_s = http, json.dumps(answer or {}).encode(), 1.5
    return asked


def refused(code: int) -> Request:
    return request({"code": code}, http=400)


def placed(**answer: Any) -> Request:
    return request({"orderId": 7, "status": NEW, "executedQty": "0.00000000", "origQty": "0.00100000"} | answer)


def amended(qty: str) -> Request:
    return request({"amendedOrder": {"qty": qty}}, AMEND, params={"newQty": qty})


def canceled(executed: str = "0.00000000") -> Request:
    return request({"executedQty": executed}, CANCEL)


def found(requests: list[Request], *rows: OrderRow) -> str:
    """ "" where it holds."""
    told = check_orders(requests, {(each.account, each.client_id): each for each in rows}, "load-")
    return "" if told.holds else told.detail


def test_the_mix_is_whole() -> None:
    assert sum(KINDS.values()) == 100


@pytest.mark.parametrize(
    ("requests", "rows"),
    [
        ([placed()], [row()]),
        ([placed()], [row(status=FILLED, executed_lots=100)]),
        ([placed(status=PARTIALLY_FILLED, executedQty="0.00040000")], [row(status=PARTIALLY_FILLED, executed_lots=40)]),
        ([placed(), canceled("0.00040000")], [row(status=CANCELED, executed_lots=40)]),
        ([placed(), amended("0.00070000")], [row(qty_lots=70)]),
        ([refused(-2010)], []),
        ([refused(-2010)], [row(status=REJECTED)]),
        ([refused(-1007)], []),
        ([refused(-1007)], [row()]),
        ([request(http=LOST)], [row()]),
    ],
)
def test_what_was_answered_holds(requests: list[Request], rows: list[OrderRow]) -> None:
    assert found(requests, *rows) == ""


@pytest.mark.parametrize(
    ("requests", "rows", "why"),
    [
        ([placed()], [], "is not in the database"),
        ([placed()], [row(order_id=8)], "acknowledged as order 7, and is 8"),
        ([placed(executedQty="0.00040000")], [row()], "had executed 40 lots, and has 0"),
        ([placed(status=FILLED, executedQty="0.00100000")], [row(executed_lots=100)], "was filled, and is NEW"),
        ([placed(status="EXPIRED")], [row()], "had ended as EXPIRED, and is NEW"),
        ([placed(status="EXPIRED")], [row(status="EXPIRED", executed_lots=1)], "traded after that"),
        ([placed(), canceled()], [row()], "was canceled, and is NEW"),
        ([placed(), canceled()], [row(status=CANCELED, executed_lots=1)], "was canceled"),
        ([placed()], [row(status=CANCELED)], "nobody was told of a cancel"),
        ([placed(), amended("0.00070000")], [row()], "was amended to 0.00070000, and has 100 lots"),
        ([refused(-2010)], [row()], "was refused (-2010), and is NEW"),
        ([], [row()], "nobody placed it"),
    ],
)
def test_what_contradicts_an_answer_is_found(requests: list[Request], rows: list[OrderRow], why: str) -> None:
    assert why in found(requests, *rows)


def test_open_orders_of_a_gateway_are_those_of_the_database() -> None:
    rows = {(ACCOUNT, "a"): row("a"), (ACCOUNT, "b"): row("b", status=FILLED), (1002, "c"): row("c", account=1002)}
    shown = [{"clientOrderId": "a", "orderId": 7, "status": NEW}]
    assert check_open(shown, ACCOUNT, rows, "gateway1") == []
    assert len(check_open([], ACCOUNT, rows, "gateway1")) == 1
    assert len(check_open([*shown, {"clientOrderId": "b", "orderId": 7, "status": NEW}], ACCOUNT, rows, "gateway1")) == 1


@pytest.mark.parametrize(
    ("services", "servers", "holds"),
    [
        ('{"level":"info"}\ngateway serves\n', "WARN nothing", True),
        ('{"level":"warning","error":"the database does not answer"}\n', "", True),
        ('{"level":"error"}\n', "", False),
        ("Traceback (most recent call last):\n", "", False),
        ("", "2026-01-01 ERROR o.a.c.X: no", False),
    ],
)
def test_errors_in_logs_are_found(tmp_path: Path, services: str, servers: str, holds: bool) -> None:
    one, other = tmp_path / "gateway1.log", tmp_path / "log"
    one.write_text(services)
    other.write_text(servers)
    assert check_logs([one], [other]).holds == holds


def test_a_pause_is_the_longest_time_in_which_nothing_succeeded() -> None:
    answers = [request(), refused(-2010), request(), request()]
    for asked, at in zip(answers, (1.0, 2.0, 4.5, 5.0), strict=True):
        asked.answered_s = at
    assert pause_of(answers) == 3.5
    assert pause_of([]) == 0.0


def test_an_order_that_is_open_could_have_been_canceled() -> None:
    refusal = refused(-2011)
    refusal.kind = CANCEL
    assert "could not be canceled, and is NEW" in found([placed(), refusal], row())
    assert found([placed(), refusal], row(status=FILLED, executed_lots=100)) == ""


def test_an_amendment_ends_an_order_only_where_as_much_is_executed() -> None:
    assert found([placed(), amended("0.00075")], row(status=CANCELED, qty_lots=75, executed_lots=75)) == ""
    assert "nobody was told of a cancel" in found([placed(), amended("0.00075")], row(status=CANCELED, qty_lots=75, executed_lots=74))


def test_a_load_that_is_refused_is_no_load() -> None:
    traded = request({"orderId": 7, "fills": [{"tradeId": 1}]}, MARKET)
    done = [placed(), request({}, CROSS), traded, amended("0.00075"), canceled()]
    assert check_accepted(done).holds
    assert "no answer told of a trade" in check_accepted([each for each in done if each is not traded]).detail
    for kind in KINDS:
        refusals = [refused(-1008) for _ in range(20)]
        for each in refusals:
            each.kind = kind
        assert f"5% of {kind} (21): refused by code {{-1008: 20}}" in check_accepted([*done, *refusals]).detail
