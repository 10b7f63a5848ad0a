"""
A set of orders through one connection into a cluster of one shard and one engine: the trades in the database are the expected ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from zerosum.bench.cluster.market import UNBOUND, found_cluster_market
from zerosum.bench.cluster.settled import until_settled
from zerosum.bench.e2e_orders import OrderSet, listing
from zerosum.bench.e2e_pipeline import Answered, Pipeline
from zerosum.core.codes import FIRST_USER
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.services.audit import Verdict
from zerosum.services.cluster.audit import verdict
from zerosum.services.replay import GOLDEN_LISTING
from zerosum.settlement.cql import tables
from zerosum.settlement.cql.session import Session
from zerosum.settlement.export import TRADES_HEADER, Decimals, ExportedTrade, Steps, trade_line
from zerosum.settlement.rows import OrderRow, TradeRow

ORDER_ID_AT: Final = OrderRow._fields.index("order_id") + 1  # in the table, which has an hour before it
CLIENT_ID_AT: Final = OrderRow._fields.index("client_id") + 1


@dataclass(slots=True)
class ClusterPiped:
    answered: Answered
    trades: int
    settled_after_s: float
    verdicts: list[Verdict]


def pipe(folder: Path, orders: OrderSet, progress: Callable[[int], None], report: Callable[[str], None]) -> ClusterPiped:
    """In a process's main thread; `folder` is fresh. ServerFailed, NotFounded, DoesNotHold."""
    deployment = DevDeployment(folder, Shape(shards=1, partitions=1, settings=UNBOUND), report)
    with deployment.running(keeps=False):
        return uvloop.run(piped(deployment, orders, progress, report))


async def piped(
    deployment: DevDeployment, orders: OrderSet, progress: Callable[[int], None], report: Callable[[str], None]
) -> ClusterPiped:  # fmt: skip
    report(f"making {len(orders.users):,} users ...")
    funds = dict(enumerate((dict(enumerate(atoms)) for atoms in orders.funds), start=FIRST_USER))
    users = await found_cluster_market(deployment, GOLDEN_LISTING, funds)
    report(f"{len(orders.orders):,} orders through one connection ...")
    (gateway,) = deployment.of_role("gateway")
    answered = await Pipeline(orders, users, progress).run(gateway.ports()["websocket"])
    settled_after_s, behind = await until_settled(deployment)
    report("comparing trades ...")
    session = await Session.connect(deployment.cql_settings())
    try:
        lines = await trade_lines(session, orders)
    finally:
        await session.close()
    expected = orders.trades_csv.splitlines(keepends=True)
    wrong = [
        f"line {at + 1}: {found!r}, not {line!r}" for at, (found, line) in enumerate(zip(lines, expected, strict=False)) if found != line
    ]
    if len(lines) != len(expected):
        wrong.append(f"{len(lines) - 1:,} trades, not {len(expected) - 1:,}")
    rejects = [] if answered.rejected == orders.rejected else [f"{answered.rejected:,} orders were rejected, not {orders.rejected:,}"]
    verdicts = [
        verdict("trades in the database = expected trades, line by line", wrong, f"{len(lines) - 1:,} trades"),
        verdict("as many orders are rejected as must be", rejects, f"{answered.rejected:,} of {answered.orders:,}"),
        verdict("no backlog is left", [f"{behind:,.0f} messages"] if behind else [], "every input is taken to its end"),
    ]
    return ClusterPiped(answered, len(lines) - 1, settled_after_s, verdicts)


async def trade_lines(session: Session, orders: OrderSet) -> list[str]:
    """As `zerosum replay` writes them, from what is in the database. StoreFailed, ExportFailed."""
    symbol = listing().symbols[0]
    steps = Steps(symbol.tick, symbol.tick_decimals, symbol.lot, symbol.lot_decimals, listing().assets[symbol.quote].decimals)
    clients = {row[ORDER_ID_AT]: row[CLIENT_ID_AT] for row in await session.execute(tables.ORDERS.select)}
    found = [TradeRow._make((row[0], *row[2:])) for row in await session.execute(tables.TRADES.select)]
    lines = [TRADES_HEADER]
    for trade in sorted(found, key=lambda trade: trade.trade_id):
        exported = ExportedTrade(
            trade.trade_id, clients[trade.taker_order_id], clients[trade.maker_order_id], trade.buyer_account, trade.seller_account,
            trade.taker_is_buyer, trade.price_ticks, trade.qty_lots, trade.quote_atoms,
        )  # fmt: skip
        lines.append(trade_line(exported, steps, Decimals(), lambda account: orders.users[account - FIRST_USER]))
    return lines
