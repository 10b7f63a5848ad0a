"""
The tables of the settled record in SQLite, as numbered migrations. Columns stand in the order of the rows in rows.py.

Keys are chosen so that each read of the gateway is one range of one b-tree, and so that most inserts go to its end or beside their like:

    orders, user_trades   by account and symbol, then id: the pages that grow are those of the accounts that trade
    trades                by symbol, then trade id
    balance_ledger        by entry, in the order of events: appended, never searched
    orders_by_client_id   orders are also asked for by client id
    user_trades_by_order  and trades by the order that they are of, which may have rested while its owner traded a million times

Always true: a migration that has been released is never edited; a record of a later version is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import apsw

from zerosum.settlement.errors import NotARecord, SchemaTooNew, SchemaTooOld


class Migration(NamedTuple):
    """Brings the tables from the version before to `version`."""

    version: int
    name: str
    statements: str


FIRST: Final = """
CREATE TABLE assets (
    asset INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    decimals INTEGER NOT NULL,
    listed_us INTEGER NOT NULL
) STRICT;

CREATE TABLE symbols (
    symbol INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    base INTEGER NOT NULL,
    quote INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    tick_decimals INTEGER NOT NULL,
    lot INTEGER NOT NULL,
    lot_decimals INTEGER NOT NULL,
    lot_atoms INTEGER NOT NULL,
    tick_lot_atoms INTEGER NOT NULL,
    min_price_ticks INTEGER NOT NULL,
    max_price_ticks INTEGER NOT NULL,
    min_qty_lots INTEGER NOT NULL,
    max_qty_lots INTEGER NOT NULL,
    min_notional_atoms INTEGER NOT NULL,
    max_notional_atoms INTEGER NOT NULL,
    band_down_ppm INTEGER NOT NULL,
    band_up_ppm INTEGER NOT NULL,
    orders_max INTEGER NOT NULL,
    level_orders_max INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reference_ticks INTEGER NOT NULL,
    listed_us INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    account INTEGER PRIMARY KEY,
    status INTEGER NOT NULL,
    maker_ppm INTEGER NOT NULL,
    taker_ppm INTEGER NOT NULL,
    orders_max INTEGER NOT NULL,
    opened_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL
) STRICT;
INSERT INTO accounts VALUES (1, 4, 0, 0, 0, 0, 0), (2, 4, 0, 0, 0, 0, 0), (3, 4, 0, 0, 0, 0, 0);  -- the house: OUTSIDE, FEES, CLEARING

CREATE TABLE orders (
    account INTEGER NOT NULL,
    symbol INTEGER NOT NULL,
    order_id INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    side INTEGER NOT NULL,
    type INTEGER NOT NULL,
    tif INTEGER NOT NULL,
    stp INTEGER NOT NULL,
    price_ticks INTEGER NOT NULL,
    qty_lots INTEGER NOT NULL,
    executed_lots INTEGER NOT NULL,
    prevented_lots INTEGER NOT NULL,
    quote_atoms INTEGER NOT NULL,
    budget_atoms INTEGER NOT NULL,
    frozen_atoms INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason INTEGER NOT NULL,
    first_trade_id INTEGER NOT NULL,
    last_trade_id INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    PRIMARY KEY (account, symbol, order_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_client_id ON orders (account, client_id) WHERE client_id <> '';

CREATE TABLE active_orders (
    account INTEGER NOT NULL,
    symbol INTEGER NOT NULL,
    order_id INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    side INTEGER NOT NULL,
    type INTEGER NOT NULL,
    tif INTEGER NOT NULL,
    stp INTEGER NOT NULL,
    price_ticks INTEGER NOT NULL,
    qty_lots INTEGER NOT NULL,
    executed_lots INTEGER NOT NULL,
    prevented_lots INTEGER NOT NULL,
    quote_atoms INTEGER NOT NULL,
    budget_atoms INTEGER NOT NULL,
    frozen_atoms INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason INTEGER NOT NULL,
    first_trade_id INTEGER NOT NULL,
    last_trade_id INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    PRIMARY KEY (account, symbol, order_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE trades (
    symbol INTEGER NOT NULL,
    trade_id INTEGER NOT NULL,
    price_ticks INTEGER NOT NULL,
    qty_lots INTEGER NOT NULL,
    quote_atoms INTEGER NOT NULL,
    taker_order_id INTEGER NOT NULL,
    maker_order_id INTEGER NOT NULL,
    buyer_account INTEGER NOT NULL,
    seller_account INTEGER NOT NULL,
    taker_is_buyer INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (symbol, trade_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_trades (
    account INTEGER NOT NULL,
    symbol INTEGER NOT NULL,
    trade_id INTEGER NOT NULL,
    side INTEGER NOT NULL,
    order_id INTEGER NOT NULL,
    is_taker INTEGER NOT NULL,
    price_ticks INTEGER NOT NULL,
    qty_lots INTEGER NOT NULL,
    quote_atoms INTEGER NOT NULL,
    fee_atoms INTEGER NOT NULL,
    fee_asset INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    PRIMARY KEY (account, symbol, trade_id, side)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_kinds (kind INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
INSERT INTO ledger_kinds VALUES (1, 'PAY'), (2, 'RECEIVE'), (3, 'FEE'), (4, 'DEPOSIT'), (5, 'WITHDRAWAL'), (6, 'TRANSFER');

CREATE TABLE balance_ledger (
    entry INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    kind INTEGER NOT NULL REFERENCES ledger_kinds (kind),
    delta_atoms INTEGER NOT NULL,
    available_atoms INTEGER NOT NULL,
    frozen_atoms INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    symbol INTEGER,
    reference INTEGER NOT NULL,
    time_us INTEGER NOT NULL
) STRICT;

CREATE TABLE balances (
    account INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    available_atoms INTEGER NOT NULL,
    frozen_atoms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (account, asset)
) STRICT, WITHOUT ROWID;

CREATE TABLE klines (
    symbol INTEGER NOT NULL,
    interval_us INTEGER NOT NULL,
    open_us INTEGER NOT NULL,
    open_ticks INTEGER NOT NULL,
    high_ticks INTEGER NOT NULL,
    low_ticks INTEGER NOT NULL,
    close_ticks INTEGER NOT NULL,
    volume_lots TEXT NOT NULL,
    quote_atoms TEXT NOT NULL,
    trades INTEGER NOT NULL,
    taker_buy_lots TEXT NOT NULL,
    taker_buy_quote_atoms TEXT NOT NULL,
    PRIMARY KEY (symbol, interval_us, open_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE deposits (
    account INTEGER NOT NULL,
    transfer_id INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    PRIMARY KEY (account, transfer_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE withdrawals (
    account INTEGER NOT NULL,
    transfer_id INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    PRIMARY KEY (account, transfer_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
    transfer_id INTEGER PRIMARY KEY,
    from_account INTEGER NOT NULL,
    to_account INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    sequence INTEGER PRIMARY KEY,
    state_hash BLOB NOT NULL,
    time_us INTEGER NOT NULL
) STRICT;

CREATE TABLE settlement_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL,
    account_sequence INTEGER NOT NULL,
    market_sequence INTEGER NOT NULL,
    account_chain BLOB NOT NULL,
    market_chain BLOB NOT NULL,
    event_format INTEGER NOT NULL,
    log_id BLOB NOT NULL  -- empty until the first batch
) STRICT;
INSERT INTO settlement_state VALUES (1, 0, 0, 0, x'', x'', 1, x'');
"""

# An order's id is no other's, and the key of the table follows it: so the trades of an order are one range, in order.
TRADES_BY_ORDER: Final = "CREATE INDEX user_trades_by_order ON user_trades (order_id)"

# An id is of one account's movement, not of one in all; and what a symbol's status is now stands apart from its listing.
TRANSFERS_BY_ACCOUNT: Final = """
CREATE TABLE transfers_by_account (
    transfer_id INTEGER NOT NULL,
    from_account INTEGER NOT NULL,
    to_account INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (from_account, transfer_id)
) STRICT, WITHOUT ROWID;
INSERT INTO transfers_by_account SELECT transfer_id, from_account, to_account, asset, atoms, time_us, cause, 'MOVED' FROM transfers;
DROP TABLE transfers;
ALTER TABLE transfers_by_account RENAME TO transfers;

CREATE TABLE arrivals (
    to_account INTEGER NOT NULL,
    from_account INTEGER NOT NULL,
    transfer_id INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    PRIMARY KEY (to_account, from_account, transfer_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE markets (
    symbol INTEGER PRIMARY KEY,
    status INTEGER NOT NULL,
    reference_ticks INTEGER NOT NULL,
    tick_lot_atoms INTEGER NOT NULL,
    changed_us INTEGER NOT NULL
) STRICT;
INSERT INTO markets SELECT symbol, status, reference_ticks, tick_lot_atoms, listed_us FROM symbols;
"""

# Money that leaves in two steps, what is taken back, and what operators set right.
MONEY_IN_STEPS: Final = """
INSERT INTO ledger_kinds VALUES (7, 'WITHDRAWAL_REQUESTED'), (8, 'WITHDRAWAL_SETTLED'), (9, 'WITHDRAWAL_RETURNED'),
    (10, 'DEPOSIT_REVERSED'), (11, 'ADJUSTMENT');
INSERT INTO accounts VALUES (4, 4, 0, 0, 0, 0, 0);  -- the house: WITHDRAWALS

CREATE TABLE withdrawal_requests (
    account INTEGER NOT NULL,
    transfer_id INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    PRIMARY KEY (account, transfer_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE movement_ends (
    account INTEGER NOT NULL,
    transfer_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    PRIMARY KEY (account, transfer_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX movement_ends_by_cause ON movement_ends (cause);

CREATE TABLE adjustments (
    account INTEGER NOT NULL,
    transfer_id INTEGER NOT NULL,
    to_account INTEGER NOT NULL,
    asset INTEGER NOT NULL,
    atoms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    PRIMARY KEY (account, transfer_id)
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: Final = (
    Migration(1, "the settled record", FIRST),
    Migration(2, "trades by order", TRADES_BY_ORDER),
    Migration(3, "transfers by account, markets", TRANSFERS_BY_ACCOUNT),
    Migration(4, "money in steps", MONEY_IN_STEPS),
)
VERSION: Final = MIGRATIONS[-1].version

VERSION_TABLE: Final = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT"


def found_version(connection: apsw.Connection, path: Path) -> int:
    """The version of the tables in a file; 0 for an empty one. NotARecord if they are somebody else's."""
    tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "schema_version" in tables:
        version = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").get
        assert isinstance(version, int), "the column holds integers"
        return version
    if tables:
        raise NotARecord(path, f"it has the tables {', '.join(sorted(tables))}, and no schema_version")
    return 0


def migrate(connection: apsw.Connection, path: Path, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring the tables up to date, each step whole or not at all. SchemaTooNew if they are of a later version than the last of these."""
    found = found_version(connection, path)
    if found > migrations[-1].version:
        raise SchemaTooNew(path, found=found, known=migrations[-1].version)
    for migration in migrations:
        if migration.version > found:
            with connection:
                connection.execute(VERSION_TABLE)
                connection.execute(migration.statements)
                connection.execute("INSERT INTO schema_version VALUES (?, ?)", (migration.version, migration.name))


def require_current(connection: apsw.Connection, path: Path) -> None:
    """For a reader, which changes nothing."""
    found = found_version(connection, path)
    if found > VERSION:
        raise SchemaTooNew(path, found=found, known=VERSION)
    if found < VERSION:
        raise SchemaTooOld(path, found=found, known=VERSION)
