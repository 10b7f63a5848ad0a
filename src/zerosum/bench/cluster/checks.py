"""
What must hold once a load is over and all is settled: of orders, as they were answered, and of what the processes said.

    answers of a load  =  rows in the database  =  what the gateways show
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from zerosum.bench.cluster.load import AMEND, CANCEL, CROSS, KINDS, MARKET, PLACE, TRADED, Request
from zerosum.services.audit import Verdict
from zerosum.services.cluster.audit import verdict
from zerosum.settlement.cql import tables
from zerosum.settlement.cql.session import Session
from zerosum.settlement.rows import CANCELED, FILLED, NEW, PARTIALLY_FILLED, REJECTED, OrderRow

OPEN: Final = (NEW, PARTIALLY_FILLED)
ENDED: Final = ("FILLED", "EXPIRED", "EXPIRED_IN_MATCH", "CANCELED")
QTY_DECIMALS: Final = {symbol.name: symbol.qty_decimals for symbol in TRADED}
UNKNOWN_ORDER: Final = -2011
ACCEPTED_MIN: Final = {PLACE: 0.95, CROSS: 0.95, MARKET: 0.5, AMEND: 0.5, CANCEL: 0.3}
"""Shares. The others were filled before they were to be amended or canceled; and a market order may find nobody."""
SERVER_ERRORS: Final = (" ERROR ", " FATAL ")

Rows = Mapping[tuple[int, str], OrderRow]
"""By account and client id."""


class Order(NamedTuple):
    """What was answered of an order: to placing it, to amendments and to its cancel."""

    placed: Request
    amended: list[Request]
    canceled: list[Request]


async def order_rows(session: Session, accounts: Iterable[int]) -> dict[tuple[int, str], OrderRow]:
    """All that these have in the database. StoreFailed."""
    wanted = set(accounts)
    hour_at = 2  # of the columns, which are a row's but for that
    found = [OrderRow._make((*row[:hour_at], *row[hour_at + 1 :])) for row in await session.execute(tables.ORDERS.select)]
    return {(row.account, row.client_id): row for row in found if row.account in wanted}


def orders_of(requests: Iterable[Request]) -> dict[tuple[int, str], Order]:
    found: dict[tuple[int, str], Order] = {}
    for request in requests:
        key = request.account, request.client
        if request.kind == AMEND:
            found[key].amended.append(request)
        elif request.kind == CANCEL:
            found[key].canceled.append(request)
        else:
            found[key] = Order(request, [], [])
    return found


def check_orders(requests: list[Request], rows: Rows, prefix: str) -> Verdict:
    """`prefix`: of the load's client ids."""
    orders = orders_of(requests)
    wrong = [fault for key, order in orders.items() if (fault := order_fault(order, rows.get(key)))]
    wrong += [f"{key}: nobody placed it" for key in rows if key[1].startswith(prefix) and key not in orders]
    there = sum(key in rows for key in orders)
    return verdict(
        "every order sent is accounted for", wrong, f"{len(orders):,} orders: {there:,} in the database as answered, the others refused"
    )


def check_accepted(requests: list[Request]) -> Verdict:
    """That the load was a load: most of each kind was done, and it traded."""
    wrong = [] if any(b'"tradeId"' in request.answer for request in requests) else ["no answer told of a trade"]
    shares = {}
    for kind in KINDS:
        of_kind = [request for request in requests if request.kind == kind]
        shares[kind] = sum(request.status == 200 for request in of_kind) / max(1, len(of_kind))
        if shares[kind] < ACCEPTED_MIN[kind]:
            refused = Counter(request.code for request in of_kind if request.status != 200)
            wrong.append(f"{shares[kind]:.0%} of {kind} ({len(of_kind):,}): refused by code {dict(refused)}")
    return verdict("most of each kind is done, and it trades", wrong, ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items()))


def order_fault(order: Order, row: OrderRow | None) -> str:
    """What of the row contradicts what was answered; "" where nothing does. An order whose fate was not told may be there or not."""
    placed = order.placed
    if placed.status != 200:
        if row is not None and not placed.is_unknown and row.status != REJECTED:
            return f"{placed.client} was refused ({placed.code}), and is {row.status}"
        return ""
    if row is None:
        return f"{placed.client} was acknowledged, and is not in the database"
    answer = placed.body()
    if row.order_id != answer["orderId"]:
        return f"{placed.client} was acknowledged as order {answer['orderId']}, and is {row.order_id}"
    lots = {name: lots_of(placed.symbol, answer[name]) for name in ("executedQty", "origQty")}
    if row.executed_lots < lots["executedQty"]:
        return f"{placed.client} had executed {lots['executedQty']} lots, and has {row.executed_lots}"
    for canceled in order.canceled:
        if canceled.code == UNKNOWN_ORDER and row.status in OPEN:
            return f"{placed.client} could not be canceled, and is {row.status}"
        if canceled.status == 200 and (row.status, row.executed_lots) != (CANCELED, lots_of(placed.symbol, canceled.body()["executedQty"])):
            return f"{placed.client} was canceled, and is {row.status}"
    amended = [each for each in order.amended if each.status == 200]
    if (
        amended
        and not any(each.is_unknown for each in order.amended)
        and row.qty_lots != lots_of(placed.symbol, amended[-1].body()["amendedOrder"]["qty"])
    ):
        return f"{placed.client} was amended to {amended[-1].params['newQty']}, and has {row.qty_lots} lots"
    if answer["status"] in ENDED and row.executed_lots != lots["executedQty"]:
        return f"{placed.client} had ended as {answer['status']}, and traded after that"
    if answer["status"] == FILLED and row.status != FILLED:
        return f"{placed.client} was filled, and is {row.status}"
    if row.status in OPEN and answer["status"] in ENDED:
        return f"{placed.client} had ended as {answer['status']}, and is {row.status}"
    is_used_up = any(
        (each.status == 200 or each.is_unknown) and lots_of(placed.symbol, each.params["newQty"]) <= row.executed_lots
        for each in order.amended
    )
    if row.status == CANCELED and not is_used_up and not any(each.status == 200 or each.is_unknown for each in order.canceled):
        return f"{placed.client} is canceled, and nobody was told of a cancel"
    return ""


def lots_of(symbol: str, qty: str) -> int:
    return int(Decimal(qty).scaleb(QTY_DECIMALS[symbol]))


def check_open(shown: list[dict[str, Any]], account: int, rows: Rows, where: str) -> list[str]:
    """What a gateway shows of an account's open orders against the database."""
    settled = {client: (row.order_id, row.status) for (owner, client), row in rows.items() if owner == account and row.status in OPEN}
    found = {order["clientOrderId"]: (order["orderId"], order["status"]) for order in shown}
    return [
        f"{client} of {account}: {where} shows {found.get(client)}, the database {settled.get(client)}"
        for client in sorted(settled.keys() | found.keys())
        if settled.get(client) != found.get(client)
    ]


def check_logs(services: Iterable[Path], servers: Iterable[Path]) -> Verdict:
    """Of services each line is JSON, but for what is told to people; servers have their levels in the text."""
    wrong: list[str] = []
    lines = 0
    for path in services:
        for line in path.read_text(errors="replace").splitlines():
            lines += 1
            if "Traceback" in line or (line.startswith("{") and json.loads(line)["level"] in ("error", "critical")):
                wrong.append(f"{path.name}: {line[:300]}")
    for path in servers:
        for line in path.read_text(errors="replace").splitlines():
            lines += 1
            if any(level in line for level in SERVER_ERRORS):
                wrong.append(f"{path.parent.name}: {line[:300]}")
    return verdict("no error or traceback in any log", wrong, f"{lines:,} lines")
