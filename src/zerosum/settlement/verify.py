"""
Does a settled record add up? Each rule is one function, which yields what breaks it.

    ledger legs --sum--> zero for every asset, every trade, every deposit, withdrawal and transfer
           |    --sum--> balances, at each leg and at the end
           |--must be--> trades, user trades, fees, deposits, withdrawals, transfers
    active orders --sum--> what balances have frozen
    user trades --sum--> orders       trades --sum--> klines

It reads one state of the record, also while the follower goes on writing. It trusts none of what it reads to have been checked before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from zerosum.core.codes import BUY, FEES, LIMIT_MAKER, OUTSIDE, WITHDRAWALS
from zerosum.core.records import FORMAT
from zerosum.settlement.reading import one_state
from zerosum.settlement.rows import (
    ADJUSTMENT,
    CANCELED,
    DEPOSIT,
    DEPOSIT_REVERSED,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FEE,
    FILLED,
    LEG_BITS,
    NEW,
    PARTIALLY_FILLED,
    PAY,
    RECEIVE,
    REJECTED,
    TRANSFER,
    WITHDRAWAL,
    WITHDRAWAL_REQUESTED,
    WITHDRAWAL_RETURNED,
    WITHDRAWAL_SETTLED,
    BalanceRow,
    LedgerRow,
    OrderRow,
    SymbolRow,
    TradeRow,
)  # fmt: skip

FINDINGS_MAX: Final = 20  # of one rule

Owner = tuple[int, int]
"""Account and asset."""
Leg = tuple[int, int, int, int]
"""Account, asset, kind, atoms."""

TRADE_WITH_SIDES: Final = """
SELECT t.*, buyer.fee_atoms, seller.fee_atoms
FROM trades t
JOIN user_trades buyer ON (buyer.account, buyer.symbol, buyer.trade_id, buyer.side) = (t.buyer_account, t.symbol, t.trade_id, 0)
    AND (buyer.price_ticks, buyer.qty_lots, buyer.quote_atoms, buyer.time_us) = (t.price_ticks, t.qty_lots, t.quote_atoms, t.time_us)
    AND buyer.is_taker = t.taker_is_buyer
    AND buyer.order_id = iif(t.taker_is_buyer, t.taker_order_id, t.maker_order_id)
JOIN user_trades seller ON (seller.account, seller.symbol, seller.trade_id, seller.side) = (t.seller_account, t.symbol, t.trade_id, 1)
    AND (seller.price_ticks, seller.qty_lots, seller.quote_atoms, seller.time_us) = (t.price_ticks, t.qty_lots, t.quote_atoms, t.time_us)
    AND seller.is_taker = 1 - t.taker_is_buyer
    AND seller.order_id = iif(t.taker_is_buyer, t.maker_order_id, t.taker_order_id)
WHERE t.symbol = :symbol AND t.trade_id = :trade_id
"""
MOVEMENTS: Final = {
    DEPOSIT: "SELECT 1, account, asset, atoms FROM deposits WHERE account = :target AND transfer_id = :transfer_id",
    WITHDRAWAL: "SELECT account, 1, asset, atoms FROM withdrawals WHERE account = :source AND transfer_id = :transfer_id",
    WITHDRAWAL_REQUESTED: "SELECT account, 4, asset, atoms FROM withdrawal_requests WHERE account = :source AND transfer_id = :transfer_id",
    # What ends names no account on one side: it is the request's whose asset and atoms these are, and which has ended so.
    WITHDRAWAL_SETTLED: "SELECT 4, 1, asset, atoms FROM movement_ends"
    " WHERE state = 'SETTLED' AND transfer_id = :transfer_id AND cause = :cause",
    WITHDRAWAL_RETURNED: "SELECT 4, account, asset, atoms FROM movement_ends"
    " WHERE state = 'RETURNED' AND account = :target AND transfer_id = :transfer_id",
    DEPOSIT_REVERSED: "SELECT account, 1, asset, atoms FROM movement_ends"
    " WHERE state = 'REVERSED' AND account = :source AND transfer_id = :transfer_id",
    ADJUSTMENT: "SELECT account, to_account, asset, atoms FROM adjustments WHERE account = :source AND transfer_id = :transfer_id",
    TRANSFER: "SELECT from_account, to_account, asset, atoms FROM transfers WHERE from_account = :source AND transfer_id = :transfer_id",
}
COUNTS: Final = (
    "SELECT (SELECT count(*) FROM balance_ledger WHERE kind = :pay), (SELECT count(*) FROM user_trades), 2 * (SELECT count(*) FROM trades),"
    " (SELECT count(*) FROM balance_ledger WHERE symbol IS NULL),"
    " 2 * ((SELECT count(*) FROM deposits) + (SELECT count(*) FROM withdrawals) + (SELECT count(*) FROM transfers)"
    " + (SELECT count(*) FROM withdrawal_requests) + (SELECT count(*) FROM movement_ends) + (SELECT count(*) FROM adjustments))"
)
PENDING: Final = (
    "SELECT asset, sum(atoms) FROM withdrawal_requests WHERE NOT EXISTS (SELECT 1 FROM movement_ends ends"
    " WHERE (ends.account, ends.transfer_id) = (withdrawal_requests.account, withdrawal_requests.transfer_id)) GROUP BY asset"
)
ENDS_OF_NOTHING: Final = (
    "SELECT account, transfer_id, state FROM movement_ends ends WHERE NOT EXISTS ("
    "SELECT 1 FROM withdrawal_requests WHERE state IN ('SETTLED', 'RETURNED')"
    " AND (account, transfer_id, asset, atoms) = (ends.account, ends.transfer_id, ends.asset, ends.atoms)"
    " UNION ALL SELECT 1 FROM deposits WHERE state = 'REVERSED'"
    " AND (account, transfer_id, asset, atoms) = (ends.account, ends.transfer_id, ends.asset, ends.atoms))"
)
# Account, symbol, order id, lots, atoms, first and last trade id: by the orders, and by the trades.
BY_ORDERS: Final = """
SELECT account, symbol, order_id, executed_lots, quote_atoms, first_trade_id, last_trade_id FROM (
    SELECT * FROM orders UNION ALL SELECT * FROM active_orders
) WHERE executed_lots <> 0 OR quote_atoms <> 0 OR first_trade_id <> 0 OR last_trade_id <> 0
"""
BY_TRADES: Final = """
SELECT account, symbol, order_id, sum(qty_lots), sum(quote_atoms), min(trade_id), max(trade_id)
FROM user_trades GROUP BY account, symbol, order_id
"""


class Finding(NamedTuple):
    """Something that does not add up: the rule it breaks, and where."""

    rule: str
    what: str


def verify(path: Path) -> list[Finding]:
    """
    What is wrong with a record; nothing is good. At most FINDINGS_MAX of a rule.

    NothingSettled, NotARecord, SchemaTooNew or SchemaTooOld if it can't be read at all.
    """
    findings: list[Finding] = []
    with one_state(path) as connection:
        for rule, check in RULES.items():
            try:
                findings += [Finding(rule, what) for what in islice(check(connection), FINDINGS_MAX)]
            except Exception as error:  # noqa: BLE001  rows that make no sense together, in whatever way
                findings.append(Finding(rule, f"could not be checked: {type(error).__name__}: {error}"))
    return findings


def file_is_whole(connection: apsw.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):  # the indexes too: reads go by them
        if line != "ok":
            yield str(line)


# ------------------------------------------------------------------ money


def ledger_explains_balances(connection: apsw.Connection) -> Iterator[str]:
    """At each leg the balance is the sum of the legs so far; the last ones are the balances; each asset sums to zero."""
    totals: dict[Owner, int] = defaultdict(int)
    for row in ledger(connection):
        owner = (row.account, row.asset)
        totals[owner] += row.delta_atoms
        if row.available_atoms + row.frozen_atoms != totals[owner]:
            yield (
                f"entry {row.entry}: account {row.account} has {row.available_atoms} + {row.frozen_atoms} of asset {row.asset} after it,"
                f" and the legs so far sum to {totals[owner]}"
            )
    sums: dict[int, int] = defaultdict(int)
    for (_, asset), total in totals.items():
        sums[asset] += total
    yield from (f"the legs of asset {asset} sum to {total}, not to zero" for asset, total in sums.items() if total)
    for balance in balances(connection):
        total = totals.pop((balance.account, balance.asset), 0)
        if balance.available_atoms + balance.frozen_atoms != total:
            yield (
                f"account {balance.account} has {balance.available_atoms} + {balance.frozen_atoms} of asset {balance.asset},"
                f" and its legs sum to {total}"
            )
    for (account, asset), total in totals.items():
        if total:
            yield f"account {account} has no balance of asset {asset}, and its legs sum to {total}"


def balances_are_possible(connection: apsw.Connection) -> Iterator[str]:
    """Only OUTSIDE is negative, by what the others have; the house has nothing frozen."""
    for row in balances(connection):
        house = row.account in (OUTSIDE, FEES, WITHDRAWALS)
        if row.frozen_atoms < 0 or (row.available_atoms < 0 and row.account != OUTSIDE) or (house and row.frozen_atoms):
            yield f"account {row.account} has {row.available_atoms} + {row.frozen_atoms} of asset {row.asset}"


def withdrawals_are_pending(connection: apsw.Connection) -> Iterator[str]:
    """What is on its way out is what was requested and has not ended; what has ended was there, once, and as it was."""
    pending: dict[int, int] = defaultdict(int)
    for asset, atoms in connection.execute(PENDING):
        pending[asset] += atoms
    for balance in balances(connection):
        if balance.account == WITHDRAWALS and balance.available_atoms != pending.pop(balance.asset, 0):
            yield f"asset {balance.asset}: {balance.available_atoms} atoms are on their way out, which is not what is pending"
    yield from (f"asset {asset}: {atoms} atoms are pending, and none is on its way out" for asset, atoms in pending.items() if atoms)
    for account, transfer_id, state in connection.execute(ENDS_OF_NOTHING):
        yield f"movement {transfer_id} of account {account} is {state}, and there is none such"


def frozen_is_for_open_orders(connection: apsw.Connection) -> Iterator[str]:
    """What a balance has frozen is the sum over its open orders, and each of those freezes the worst that it can cost."""
    symbols = listings(connection)
    frozen: dict[Owner, int] = defaultdict(int)
    for row in map(OrderRow._make, connection.execute("SELECT * FROM active_orders")):
        listing = symbols[row.symbol]
        open_lots = row.qty_lots - row.executed_lots - row.prevented_lots
        owner = (row.account, listing.quote if row.side == BUY else listing.base)
        frozen[owner] += row.frozen_atoms
        atoms = open_lots * (row.price_ticks * listing.tick_lot_atoms if row.side == BUY else listing.lot_atoms)
        if open_lots < 1 or (row.type <= LIMIT_MAKER and row.frozen_atoms != atoms):
            yield f"order {row.order_id} has {open_lots} lots open at {row.price_ticks} and {row.frozen_atoms} atoms frozen"
    for balance in balances(connection):
        atoms = frozen.pop((balance.account, balance.asset), 0)
        if balance.frozen_atoms != atoms:
            yield f"account {balance.account} has {balance.frozen_atoms} of asset {balance.asset} frozen, and its open orders {atoms}"
    for (account, asset), atoms in frozen.items():
        yield f"account {account} has no balance of asset {asset}, and open orders that froze {atoms}"


def legs_are_of_movements(connection: apsw.Connection) -> Iterator[str]:
    """
    The legs of each trade are those that the trade and its two sides in user_trades call for, and so for deposits, withdrawals and
    transfers; they sum to zero, asset by asset; and there are no others.
    """
    symbols = listings(connection)
    for (symbol, reference, cause), rows in groupby(ledger(connection), lambda row: (row.symbol, row.reference, row.cause)):
        legs: list[Leg] = sorted((row.account, row.asset, row.kind, row.delta_atoms) for row in rows)
        sums: dict[int, int] = defaultdict(int)
        for _, asset, _, atoms in legs:
            sums[asset] += atoms
        name = f"trade {reference} of symbol {symbol}" if symbol is not None else f"transfer {reference}"
        yield from (f"the legs of {name} in asset {asset} sum to {total}, not to zero" for asset, total in sums.items() if total)
        if symbol is None:
            expected = movement_legs(connection, legs, reference, cause)
        else:
            expected = trade_legs(connection, symbols[symbol], reference)
        if legs != expected:
            yield f"the legs of {name} are {legs}, and by what else is settled of it {expected}"
    pays, sides, trades, movement_entries, movements = connection.execute(COUNTS, {"pay": PAY}).get
    if not pays == sides == trades:
        yield f"there are {trades // 2} trades, {sides} sides of trades, and {pays} legs that pay for one"
    if movement_entries != movements:
        yield f"there are {movements // 2} deposits, withdrawals and transfers, and {movement_entries} legs of such"


def trade_legs(connection: apsw.Connection, listing: SymbolRow, trade_id: int) -> list[Leg]:
    """What a trade and its two sides call for; nothing where they are not there or contradict each other."""
    row = one(connection, TRADE_WITH_SIDES, {"symbol": listing.symbol, "trade_id": trade_id})
    if row is None:
        return []
    *trade_values, buyer_fee, seller_fee = row
    trade = TradeRow._make(trade_values)
    base_atoms = trade.qty_lots * listing.lot_atoms
    quote_atoms = trade.price_ticks * trade.qty_lots * listing.tick_lot_atoms
    legs = [
        (trade.buyer_account, listing.quote, PAY, -quote_atoms),
        (trade.seller_account, listing.quote, RECEIVE, quote_atoms),
        (trade.seller_account, listing.base, PAY, -base_atoms),
        (trade.buyer_account, listing.base, RECEIVE, base_atoms),
    ]
    for account, asset, fee_atoms in ((trade.buyer_account, listing.base, buyer_fee), (trade.seller_account, listing.quote, seller_fee)):
        if fee_atoms:
            legs += [(account, asset, FEE, -fee_atoms), (FEES, asset, FEE, fee_atoms)]
    return sorted(legs) if quote_atoms == trade.quote_atoms else []


def movement_legs(connection: apsw.Connection, legs: list[Leg], transfer_id: int, cause: int) -> list[Leg]:
    """What a deposit, withdrawal or transfer calls for, by the table that the legs' kind leads to."""
    kind = legs[0][2]
    given = {atoms < 0: account for account, _, _, atoms in legs}
    key = {"source": given.get(True), "target": given.get(False), "transfer_id": transfer_id, "cause": cause}
    row = one(connection, MOVEMENTS[kind], key) if kind in MOVEMENTS else None
    if row is None:
        return []
    source, target, asset, atoms = row
    return sorted([(source, asset, kind, -atoms), (target, asset, kind, atoms)])


# ------------------------------------------------------------------ orders, trades, klines


def orders_are_explained_by_trades(connection: apsw.Connection) -> Iterator[str]:
    for _, _, order_id, lots, atoms, first, last in connection.execute(f"{BY_ORDERS} EXCEPT {BY_TRADES}"):
        yield f"order {order_id} has traded {lots} lots for {atoms} atoms in trades {first} to {last}: its trades do not sum to that"
    for _, _, order_id, lots, atoms, first, last in connection.execute(f"{BY_TRADES} EXCEPT {BY_ORDERS}"):
        yield f"the trades {first} to {last} of order {order_id} sum to {lots} lots for {atoms} atoms, and the order does not say so"


def orders_are_open_or_ended(connection: apsw.Connection) -> Iterator[str]:
    """An order is in one of the two tables, with a status that fits."""
    for (order_id,) in connection.execute("SELECT order_id FROM active_orders JOIN orders USING (account, symbol, order_id)"):
        yield f"order {order_id} is both open and ended"
    for table, statuses in (
        ("active_orders", (NEW, PARTIALLY_FILLED)),
        ("orders", (FILLED, CANCELED, EXPIRED, EXPIRED_IN_MATCH, REJECTED)),
    ):
        for row in map(OrderRow._make, connection.execute(f"SELECT * FROM {table}")):  # noqa: S608
            full = row.executed_lots + row.prevented_lots == row.qty_lots
            wrong = {FILLED: not full, NEW: row.executed_lots > 0, PARTIALLY_FILLED: full or row.executed_lots == 0}
            if row.status not in statuses or wrong.get(row.status, False):
                yield f"order {row.order_id} in {table} is {row.status} with {row.executed_lots} of {row.qty_lots} lots traded"
            elif table == "orders" and row.frozen_atoms:
                yield f"order {row.order_id} has ended, and {row.frozen_atoms} atoms are frozen for it"


def trade_ids_are_dense(connection: apsw.Connection) -> Iterator[str]:
    for symbol, count, first, last in connection.execute(
        "SELECT symbol, count(*), min(trade_id), max(trade_id) FROM trades GROUP BY symbol"
    ):
        if (first, last) != (1, count):
            yield f"symbol {symbol} has {count} trades, numbered {first} to {last}"


def klines_sum_up_trades(connection: apsw.Connection) -> Iterator[str]:
    """Over each stored interval: as many trades, lots and quote atoms as were traded."""
    traded: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for symbol, qty_lots, quote_atoms in connection.execute("SELECT symbol, qty_lots, quote_atoms FROM trades"):
        add(traded[symbol], 1, qty_lots, quote_atoms)
    klines: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for symbol, interval_us, trades, lots, atoms in connection.execute(
        "SELECT symbol, interval_us, trades, volume_lots, quote_atoms FROM klines"
    ):
        add(klines[symbol, interval_us], trades, int(lots), int(atoms))
    for (symbol, interval_us), sums in klines.items():
        if sums != traded[symbol]:
            yield f"symbol {symbol} has traded {traded[symbol]} (trades, lots, atoms), and its klines of {interval_us} us sum to {sums}"
    for symbol in traded.keys() - {symbol for symbol, _ in klines}:
        yield f"symbol {symbol} has trades and no klines"


def add(sums: list[int], *values: int) -> None:
    for at, value in enumerate(values):
        sums[at] += value


# ------------------------------------------------------------------ position


def position_covers_rows(connection: apsw.Connection) -> Iterator[str]:
    state = one(connection, "SELECT sequence, account_sequence, market_sequence, event_format FROM settlement_state", {})
    if state is None:
        yield "there is no position"
        return
    sequence, account_sequence, market_sequence, event_format = state
    entry, cause = one(connection, "SELECT entry, cause FROM balance_ledger ORDER BY entry DESC LIMIT 1", {}) or (0, 0)
    (trade_sequence,) = one(connection, "SELECT coalesce(max(sequence), 0) FROM trades", {}) or (0,)
    if entry >> LEG_BITS > account_sequence:
        yield f"account events up to {account_sequence} are settled, and entry {entry} is of {entry >> LEG_BITS}"
    if cause > sequence:
        yield f"commands up to {sequence} are settled, and entry {entry} was caused by {cause}"
    if trade_sequence > market_sequence:
        yield f"market events up to {market_sequence} are settled, and a trade is of {trade_sequence}"
    if event_format != FORMAT:
        yield f"it is made of events of format {event_format}; this program knows {FORMAT}"


RULES: Final[dict[str, Callable[[apsw.Connection], Iterator[str]]]] = {
    "the file is whole": file_is_whole,
    "the ledger explains every balance, and every asset sums to zero": ledger_explains_balances,
    "only OUTSIDE is negative": balances_are_possible,
    "what is on its way out is what was requested": withdrawals_are_pending,
    "frozen is what open orders need": frozen_is_for_open_orders,
    "every movement has its legs, which sum to zero": legs_are_of_movements,
    "an order is the sum of its trades": orders_are_explained_by_trades,
    "an order is open or ended": orders_are_open_or_ended,
    "trade ids are dense": trade_ids_are_dense,
    "klines are the sum of their trades": klines_sum_up_trades,
    "the position covers every row": position_covers_rows,
}


# ------------------------------------------------------------------ reading


def ledger(connection: apsw.Connection) -> Iterator[LedgerRow]:
    return map(LedgerRow._make, connection.execute("SELECT * FROM balance_ledger ORDER BY entry"))


def balances(connection: apsw.Connection) -> Iterator[BalanceRow]:
    return map(BalanceRow._make, connection.execute("SELECT * FROM balances"))


def listings(connection: apsw.Connection) -> dict[int, SymbolRow]:
    return {row.symbol: row for row in map(SymbolRow._make, connection.execute("SELECT * FROM symbols"))}


def one(connection: apsw.Connection, statement: str, key: dict[str, Any]) -> tuple[Any, ...] | None:
    return next(connection.execute(statement, key), None)
