"""The end-to-end run's traders notice whatever an exchange could get wrong about an order, after a crash above all."""

from __future__ import annotations

from typing import Any

import pytest

from zerosum.bench.client import LOST
from zerosum.bench.e2e_traders import Fill, Sent, fault_of

PARAMS = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "85000.00", "quantity": "0.005000"}
FOUND: dict[str, Any] = {
    "orderId": 7, "side": "BUY", "type": "LIMIT", "price": "85000.00000000", "origQty": "0.00500000", "executedQty": "0.00200000",
    "status": "PARTIALLY_FILLED",
}  # fmt: skip
FILLS = {7: {3: Fill(8_499_900, 2_000)}}
TOLD_FILL = {"price": "84999.00000000", "qty": "0.00200000", "tradeId": 3}


def told(**changes: Any) -> dict[str, Any]:
    return {"orderId": 7, "status": "PARTIALLY_FILLED", "executedQty": "0.00200000", "fills": [TOLD_FILL], **changes}


def found(**changes: Any) -> dict[str, Any]:
    return {**FOUND, **changes}


NEW = told(status="NEW", executedQty="0.00000000", fills=[])
CANCELED = Sent({}, 200, {"executedQty": "0.00200000"})


@pytest.mark.parametrize(
    ("sent", "now"),
    [
        (Sent(PARAMS, 200, told()), FOUND),
        (Sent(PARAMS, 200, NEW), FOUND),  # it traded later
        (Sent(PARAMS, 200, NEW, [CANCELED]), found(status="CANCELED")),
        (Sent(PARAMS, 200, NEW, [Sent({})]), found(status="CANCELED")),  # its cancel was not answered, and was done
        (Sent(PARAMS, 200, NEW, [Sent({})]), FOUND),  # and was not
        (Sent(PARAMS), FOUND),
        (Sent(PARAMS), None),
        (Sent(PARAMS, 400, {"code": -2010}), None),
        (Sent(PARAMS, 400, {"code": -2010}), found(status="REJECTED", executedQty="0.00000000", orderId=8)),
    ],
)
def test_what_may_be(sent: Sent, now: dict[str, Any] | None) -> None:
    assert fault_of(sent, now, FILLS) == ""


@pytest.mark.parametrize(
    ("sent", "now", "fault"),
    [
        (Sent(PARAMS, 200, told()), None, "it was acknowledged, and is not there"),
        (Sent(PARAMS, 200, told()), found(side="SELL"), "its side is not as sent"),
        (Sent(PARAMS), found(price="85000.01000000"), "its price is not as sent"),
        (Sent(PARAMS), found(origQty="0.00400000"), "its origQty is not as sent"),
        (Sent(PARAMS), found(type="MARKET"), "its type is not as sent"),
        (Sent(PARAMS), found(executedQty="0.00300000"), "its fills are not those that were settled"),
        (Sent(PARAMS, 200, told(orderId=6)), FOUND, "its id is not as told"),
        (Sent(PARAMS, 200, told(fills=[{**TOLD_FILL, "tradeId": 4}])), FOUND, "it was told of"),
        (Sent(PARAMS, 200, told(fills=[{**TOLD_FILL, "price": "84998.00000000"}])), FOUND, "it was told of"),
        (Sent(PARAMS, 200, told(status="FILLED", executedQty="0.00500000")), FOUND, "it had ended otherwise"),
        (Sent(PARAMS, 200, told(status="EXPIRED")), FOUND, "it had ended otherwise"),
        (Sent(PARAMS, 200, told(executedQty="0.00300000")), FOUND, "less is executed than was told"),
        (Sent(PARAMS, 200, NEW, [CANCELED]), FOUND, "its cancel was acknowledged otherwise"),
        (Sent(PARAMS, 200, NEW), found(status="CANCELED"), "it ended, and nobody ended it"),
        (Sent(PARAMS, 200, NEW), found(status="EXPIRED"), "it ended, and nobody ended it"),
        (Sent(PARAMS, 200, NEW, [Sent({}, 400)]), found(status="CANCELED"), "it ended, and nobody ended it"),
        (Sent(PARAMS, 400, {"code": -2010}), FOUND, "it was refused, and is there"),
    ],
)
def test_what_may_not_be(sent: Sent, now: dict[str, Any] | None, fault: str) -> None:
    assert fault_of(sent, now, FILLS).startswith(fault)


def test_an_answer_that_does_not_know_counts_as_none() -> None:
    sent = Sent(PARAMS)
    sent.take(504, b'{"code":-1007,"msg":"Timeout waiting for response from backend server."}')
    assert sent.status == LOST
