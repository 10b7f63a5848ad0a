"""
The tables of the record, made by numbered migrations.

    zerosum cluster init --> keyspace --> schema_migrations: which were done --> the others, one by one

Plain CQL that ScyllaDB and Cassandra both take: no counters, no secondary indexes, no materialized views, no lightweight transactions. Columns
are those of zerosum.settlement.rows; tables.py says what else is in a key, and what it is for.

Always true: a migration can be done twice (two who make a deployment at once), and a schema with one that this program does not know is refused.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from zerosum.errors import ZerosumError
from zerosum.settlement.cql.session import CqlSettings, Session, place


class CqlSchemaWrong(ZerosumError):
    """The keyspace is not one that this program can use."""


class Migration(NamedTuple):
    name: str
    statements: tuple[str, ...]


TABLES: Final = (
    # What belongs together: the deployment's shape, and the ids of its topics in Kafka.
    "CREATE TABLE IF NOT EXISTS deployment (id int, shards int, partitions int, epoch int, topics map<text, text>, made_us bigint,"
    " PRIMARY KEY (id))",
    "CREATE TABLE IF NOT EXISTS settlement_state (stream text, sequence bigint, chain blob, PRIMARY KEY (stream))",
    "CREATE TABLE IF NOT EXISTS assets (asset int, name text, decimals int, listed_us bigint, PRIMARY KEY (asset))",
    "CREATE TABLE IF NOT EXISTS symbols (symbol int, name text, base int, quote int, tick bigint, tick_decimals int, lot bigint,"
    " lot_decimals int, lot_atoms bigint, tick_lot_atoms bigint, min_price_ticks bigint, max_price_ticks bigint, min_qty_lots bigint,"
    " max_qty_lots bigint, min_notional_atoms bigint, max_notional_atoms bigint, band_down_ppm bigint, band_up_ppm bigint, orders_max bigint,"
    " level_orders_max bigint, status int, reference_ticks bigint, listed_us bigint, PRIMARY KEY (symbol))",
    "CREATE TABLE IF NOT EXISTS markets (symbol int, status int, reference_ticks bigint, tick_lot_atoms bigint, changed_us bigint,"
    " PRIMARY KEY (symbol))",
    "CREATE TABLE IF NOT EXISTS accounts (account bigint, status int, maker_ppm int, taker_ppm int, orders_max bigint, opened_us bigint,"
    " changed_us bigint, PRIMARY KEY (account))",
    "CREATE TABLE IF NOT EXISTS orders (account bigint, symbol int, hour int, order_id bigint, client_id text, side int, type int, tif int,"
    " stp int, price_ticks bigint, qty_lots bigint, executed_lots bigint, prevented_lots bigint, quote_atoms bigint, budget_atoms bigint,"
    " frozen_atoms bigint, status text, reason int, first_trade_id bigint, last_trade_id bigint, created_us bigint, updated_us bigint,"
    " PRIMARY KEY ((account, symbol, hour), order_id))",
    "CREATE TABLE IF NOT EXISTS order_hours (account bigint, symbol int, hour int, first_id bigint, PRIMARY KEY ((account, symbol), hour))"
    " WITH CLUSTERING ORDER BY (hour DESC)",
    "CREATE TABLE IF NOT EXISTS orders_by_client (account bigint, client_id text, symbol int, order_id bigint,"
    " PRIMARY KEY ((account, client_id), symbol))",
    "CREATE TABLE IF NOT EXISTS trades (symbol int, page bigint, trade_id bigint, price_ticks bigint, qty_lots bigint, quote_atoms bigint,"
    " taker_order_id bigint, maker_order_id bigint, buyer_account bigint, seller_account bigint, taker_is_buyer int, time_us bigint,"
    " sequence bigint, PRIMARY KEY ((symbol, page), trade_id))",
    "CREATE TABLE IF NOT EXISTS user_trades (account bigint, symbol int, hour int, trade_id bigint, side int, order_id bigint, is_taker int,"
    " price_ticks bigint, qty_lots bigint, quote_atoms bigint, fee_atoms bigint, fee_asset int, time_us bigint,"
    " PRIMARY KEY ((account, symbol, hour), trade_id, side))",
    "CREATE TABLE IF NOT EXISTS user_trade_hours (account bigint, symbol int, hour int, first_id bigint,"
    " PRIMARY KEY ((account, symbol), hour)) WITH CLUSTERING ORDER BY (hour DESC)",
    "CREATE TABLE IF NOT EXISTS balance_ledger (stream text, page bigint, entry bigint, account bigint, asset int, kind int,"
    " delta_atoms bigint, available_atoms bigint, frozen_atoms bigint, cause bigint, symbol int, reference bigint, time_us bigint,"
    " PRIMARY KEY ((stream, page), entry))",
    "CREATE TABLE IF NOT EXISTS balances (account bigint, asset int, stream text, available_atoms bigint, frozen_atoms bigint, version bigint,"
    " PRIMARY KEY ((account), asset, stream))",
    "CREATE TABLE IF NOT EXISTS klines (symbol int, interval_us bigint, page bigint, open_us bigint, open_ticks bigint, high_ticks bigint,"
    " low_ticks bigint, close_ticks bigint, volume_lots varint, quote_atoms varint, trades bigint, taker_buy_lots varint,"
    " taker_buy_quote_atoms varint, PRIMARY KEY ((symbol, interval_us, page), open_us))",
    "CREATE TABLE IF NOT EXISTS deposits (account bigint, transfer_id bigint, stream text, asset int, atoms bigint, time_us bigint,"
    " cause bigint, PRIMARY KEY ((account), transfer_id, stream))",
    "CREATE TABLE IF NOT EXISTS withdrawals (account bigint, transfer_id bigint, stream text, asset int, atoms bigint, time_us bigint,"
    " cause bigint, PRIMARY KEY ((account), transfer_id, stream))",
    "CREATE TABLE IF NOT EXISTS withdrawal_requests (account bigint, transfer_id bigint, stream text, asset int, atoms bigint, time_us bigint,"
    " cause bigint, PRIMARY KEY ((account), transfer_id, stream))",
    "CREATE TABLE IF NOT EXISTS movement_ends (account bigint, transfer_id bigint, stream text, state text, asset int, atoms bigint,"
    " time_us bigint, cause bigint, PRIMARY KEY ((account), transfer_id, stream))",
    "CREATE TABLE IF NOT EXISTS adjustments (account bigint, transfer_id bigint, stream text, to_account bigint, asset int, atoms bigint,"
    " reason text, time_us bigint, cause bigint, PRIMARY KEY ((account), transfer_id, stream))",
    "CREATE TABLE IF NOT EXISTS transfers (from_account bigint, transfer_id bigint, stream text, to_account bigint, asset int, atoms bigint,"
    " time_us bigint, cause bigint, status text, PRIMARY KEY ((from_account), transfer_id, stream))",
    "CREATE TABLE IF NOT EXISTS arrivals (to_account bigint, from_account bigint, transfer_id bigint, asset int, atoms bigint,"
    " time_us bigint, cause bigint, PRIMARY KEY ((to_account), from_account, transfer_id))",
    "CREATE TABLE IF NOT EXISTS checkpoints (stream text, page bigint, sequence bigint, state_hash blob, time_us bigint,"
    " PRIMARY KEY ((stream, page), sequence))",
    "CREATE TABLE IF NOT EXISTS documents (kind text, part int, owner text, name text, version bigint, body blob,"
    " PRIMARY KEY ((kind, part), owner, name))",
    "CREATE TABLE IF NOT EXISTS document_changes (hour int, changed_us bigint, kind text, owner text, name text,"
    " PRIMARY KEY ((hour), changed_us, kind, owner, name)) WITH default_time_to_live = 86400",
    "CREATE TABLE IF NOT EXISTS console_documents (kind text, part int, owner text, name text, version bigint, body blob,"
    " PRIMARY KEY ((kind, part), owner, name))",
    "CREATE TABLE IF NOT EXISTS console_changes (hour int, changed_us bigint, kind text, owner text, name text,"
    " PRIMARY KEY ((hour), changed_us, kind, owner, name)) WITH default_time_to_live = 86400",
)

MIGRATIONS: Final = (Migration("the record", TABLES),)
"""In the order in which they are done; number 1 first. One that was released is never changed."""


async def migrate(settings: CqlSettings, replication: int) -> list[str]:
    """
    Make the keyspace, if it is missing, with so many replicas of each row, and do what migrations are not done; their names. StoreFailed,
    CqlSchemaWrong.
    """
    keyspace = settings.keyspace
    session = await Session.connect(settings, keyspace=False)
    try:
        await require_nodes(session, replication, "database.replication asks for", "set it to fewer")
        of_each = f"{{'class': 'NetworkTopologyStrategy', 'replication_factor': {replication}}}"
        await session.run(f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {of_each}")
        made, mend = await replicas_of(session, keyspace), f"while it is empty: DROP KEYSPACE {keyspace}"
        await require_nodes(session, made, f"The keyspace {keyspace} was made with", mend)
    finally:
        await session.close()
    session = await Session.connect(settings)
    try:
        await session.run("CREATE TABLE IF NOT EXISTS schema_migrations (number int, name text, done_us bigint, PRIMARY KEY (number))")
        done = await done_migrations(session)
        names = []
        for number, migration in enumerate(MIGRATIONS, start=1):
            if number not in done:
                for statement in migration.statements:
                    await session.run(statement)
                values = (number, migration.name, time.time_ns() // 1000)
                await session.execute("INSERT INTO schema_migrations (number, name, done_us) VALUES (?, ?, ?)", values)
                names.append(migration.name)
        return names
    finally:
        await session.close()


async def require_nodes(session: Session, replicas: int, what: str, mend: str) -> None:
    """CqlSchemaWrong: with more replicas than nodes nothing could be written."""
    ((own,),) = await session.run("SELECT data_center FROM system.local")
    nodes = 1 + sum(bool(data_center == own) for (data_center,) in await session.run("SELECT data_center FROM system.peers"))
    if replicas > nodes:
        raise CqlSchemaWrong(
            f"{what} {replicas} replicas, and the data center at {place(session.settings)} has {nodes} nodes: nothing could be written."
            f" Add nodes, or {mend}."
        )


async def replicas_of(session: Session, keyspace: str) -> int:
    """As it was made; the fewest of its data centers."""
    ((made,),) = await session.execute("SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?", (keyspace,))
    return min(int(count) for name, count in made.items() if name != "class")


async def require_current(session: Session) -> None:
    """CqlSchemaWrong, StoreFailed."""
    done = await done_migrations(session)
    missing = [migration.name for number, migration in enumerate(MIGRATIONS, start=1) if number not in done]
    if missing:
        raise CqlSchemaWrong(
            f"The keyspace {session.settings.keyspace} lacks {len(missing)} migrations ({', '.join(missing)}): do them with"
            " `zerosum cluster init`."
        )


async def done_migrations(session: Session) -> set[int]:
    """CqlSchemaWrong where there are some that this program does not know."""
    rows = await session.run("SELECT number, name FROM schema_migrations")
    newer = sorted(f"{number}, {name}" for number, name in rows if number > len(MIGRATIONS))
    if newer:
        raise CqlSchemaWrong(
            f"The keyspace {session.settings.keyspace} was made by a later version of this program (migration {'; '.join(newer)}):"
            " use that one, or a later one."
        )
    return {number for number, _ in rows}
