"""The record in a real CQL database: what is written of it, in whatever order and however often, and what the gateway reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.direct_entry import DirectEntry
from tests.unit.settlement.support import ALICE, BOB, CAROL, SYMBOL, Run, joined, opened_market, settled
from zerosum.core import codes, records
from zerosum.core.records import text_words
from zerosum.devcluster.cluster import DevCluster
from zerosum.log.disk import OsDisk
from zerosum.log.memory_streams import MemoryStream
from zerosum.log.messages import pack
from zerosum.services import overview
from zerosum.services.cluster.overview import ClusterOverview
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.settlement import IDLE_S, Settlement, account_memory, market_memory
from zerosum.settlement.batch import Batch, unpacked
from zerosum.settlement.cql import tables
from zerosum.settlement.cql.history import CqlHistory
from zerosum.settlement.cql.movements import read_all
from zerosum.settlement.cql.schema import CqlSchemaWrong, migrate, require_current
from zerosum.settlement.cql.session import CqlSettings, Session, from_varint, varint
from zerosum.settlement.cql.store import CqlRowStore
from zerosum.settlement.history import History
from zerosum.settlement.movements import read_movements
from zerosum.settlement.row_store import Settled, StoreFailed
from zerosum.settlement.rows import RETURNED, SENT, AccountRow, MarketRow, Rows, TransferRow
from zerosum.settlement.sqlite import SqliteStore
from zerosum.views.views import Views

ONE_NODE = 1  # and so one replica
ACCOUNTS, MARKETS = "account-events.0", "market-events.0"
HOUR_US = 3_600_000_000


@asynccontextmanager
async def recorded(settings: CqlSettings) -> AsyncIterator[tuple[Session, CqlRowStore]]:
    await migrate(settings, ONE_NODE)
    session = await Session.connect(settings)
    try:
        yield session, CqlRowStore(session, 1)
    finally:
        await session.close()


async def contents(session: Session) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of every table, whatever its place."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for table in tables.ALL:
        found.setdefault(table.select, set()).update(map(tuple, await session.execute(table.select)))
    return found


async def settle(store: CqlRowStore, batches: list[Batch]) -> None:
    """Batch by batch, both streams."""
    accounts, markets = account_memory(None), market_memory(None)
    for batch in batches:
        for name, memory, data in ((ACCOUNTS, accounts, batch.account_events), (MARKETS, markets, batch.market_events)):
            events = list(unpacked(data))
            if events:
                rows = Rows()
                memory.translate(events, rows)
                await store.write(name, rows, Settled(events[-1][1], b"head"))


def traded(orders: int) -> Run:
    """Orders of three accounts over some hours: some trade, some are canceled, some rest, some trade with themselves."""
    run = opened_market()
    random = Random(7)
    for number in range(orders):
        account = random.choice((ALICE, BOB, CAROL))
        client = f"{number % 40:02}" if number % 3 else ""
        after_us = random.choice((0, 1, 1, 60_000_000, HOUR_US // 3))
        run.place(account, random.randrange(2), random.randint(90, 110), random.randint(1, 9), client=client, after_us=after_us)
        if random.randrange(3) == 0:
            run.cancel(account, random.randint(1, number + 1))
    return run


def moved(run: Run) -> Run:
    """Money in and out in between, some of which ends otherwise than it began; deposits and requests at one time too."""
    random = Random(8)
    for number in range(1_000, 1_160, 4):
        account = random.choice((ALICE, BOB, CAROL, ALICE | codes.WALLET_BIT))
        after_us = random.choice((0, 0, 1))
        run.do(records.DEPOSIT, account, number, 0, 9, after_us=after_us)
        run.do(records.REQUEST_WITHDRAWAL, account, number + 1, 0, 5, after_us=after_us)
        run.do(records.ADJUST, ALICE, number + 2, 1, 5, ALICE | codes.WALLET_BIT, *text_words(f"T-{number}", 2), after_us=after_us)
        run.do(records.WITHDRAW, account, number + 3, 0, 1, after_us=after_us)
        if random.randrange(3):
            run.do(random.choice((records.SETTLE_WITHDRAWAL, records.RETURN_WITHDRAWAL)), account, number + 1)
        if random.randrange(3) == 0:
            run.do(records.REVERSE_DEPOSIT, account, number)
    return run


async def test_migrations_are_done_once_and_a_later_schema_is_refused(cql: CqlSettings) -> None:
    assert await migrate(cql, ONE_NODE) == ["the record"]
    assert await migrate(cql, ONE_NODE) == []
    session = await Session.connect(cql)
    await require_current(session)
    await session.execute("INSERT INTO schema_migrations (number, name, done_us) VALUES (?, ?, ?)", (99, "to come", 1))
    with pytest.raises(CqlSchemaWrong, match=r"made by a later version of this program \(migration 99, to come\)"):
        await require_current(session)
    with pytest.raises(CqlSchemaWrong, match="later version"):
        await migrate(cql, ONE_NODE)
    await session.close()


async def test_more_replicas_than_nodes_are_refused_before_and_after(cql: CqlSettings) -> None:
    with pytest.raises(CqlSchemaWrong, match=r"database.replication asks for 3 replicas, and .* has 1 nodes: .* set it to fewer"):
        await migrate(cql, 3)
    session = await Session.connect(cql, keyspace=False)
    replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}"
    await session.run(f"CREATE KEYSPACE {cql.keyspace} WITH replication = {replication}")
    await session.close()
    with pytest.raises(CqlSchemaWrong, match=rf"The keyspace {cql.keyspace} was made with 3 replicas, and .* has 1 nodes"):
        await migrate(cql, ONE_NODE)


async def test_two_who_make_it_at_once_do_no_harm(cql: CqlSettings) -> None:
    await asyncio.gather(migrate(cql, ONE_NODE), migrate(cql, ONE_NODE))
    session = await Session.connect(cql)
    await require_current(session)
    await session.close()


async def test_a_batch_at_a_time_or_all_at_once_gives_the_same_rows(cql: CqlSettings, servers: DevCluster) -> None:
    """And written again from the beginning, over what is there, nothing changes."""
    run = traded(200)
    async with recorded(cql) as (session, store):
        await settle(store, run.batches)
        one_by_one = await contents(session)
        assert await store.settled(ACCOUNTS) == (run.exchange.ubscore.events.stream.sequence, b"head")
        await settle(store, [joined(run.batches)])
        assert await contents(session) == one_by_one
        await settle(store, run.batches[:150])
        assert await contents(session) == one_by_one, "an older state goes before no later one"
        assert (await store.settled(ACCOUNTS)).sequence == run.exchange.ubscore.events.stream.sequence
    async with recorded(CqlSettings(cql.hosts, cql.port, f"{cql.keyspace}x")) as (session, store):
        await settle(store, [joined(run.batches)])
        at_once = await contents(session)
    # Hours are told of once for each batch that has them: the first to tell stays.
    assert at_once == one_by_one


async def test_of_one_batch_the_last_of_a_key_is_written(cql: CqlSettings) -> None:
    async with recorded(cql) as (session, store):
        rows = Rows()
        rows.markets += [MarketRow(0, 1, 100, 10, 5), MarketRow(0, 2, 100, 10, 7)]
        rows.transfers += [TransferRow(9, 16, 17, 0, 5, 1, 1, SENT), TransferRow(9, 16, 17, 0, 5, 2, 1, RETURNED)]
        rows.accounts += [AccountRow(16, 1, 10, 20, 5, 1_000, 1_000), AccountRow(16, 1, 11, 21, 5, 2_000, 2_000)]
        await store.write(MARKETS, rows, Settled(10, b""))
        later = Rows()
        later.accounts += [AccountRow(16, 1, 12, 22, 5, 3_000, 3_000)]
        await store.write(MARKETS, later, Settled(11, b""))
        assert await session.execute("SELECT status FROM markets WHERE symbol = 0") == [(2,)]
        assert await session.execute("SELECT status FROM transfers WHERE from_account = 16 AND transfer_id = 9") == [(RETURNED,)]
        assert await session.execute("SELECT maker_ppm, opened_us, changed_us FROM accounts WHERE account = 16") == [(12, 1_000, 3_000)]


async def test_a_restore_s_epoch_goes_before_the_old_one(cql: CqlSettings) -> None:
    async with recorded(cql) as (session, store):
        rows, again = Rows(), Rows()
        rows.markets += [MarketRow(0, 1, 100, 10, 5)]
        again.markets += [MarketRow(0, 2, 50, 10, 3)]
        await store.write(MARKETS, rows, Settled(1_000, b"old"))
        await CqlRowStore(session, 2).write(MARKETS, again, Settled(3, b"new"))
        assert await session.execute("SELECT status FROM markets WHERE symbol = 0") == [(2,)]
        assert await store.settled(MARKETS) == (3, b"new")


async def test_a_database_that_is_gone_fails_and_comes_back(cql: CqlSettings, servers: DevCluster) -> None:
    async with recorded(CqlSettings(cql.hosts, cql.port, cql.keyspace, request_s=2.0)) as (_, store):
        rows = Rows()
        rows.markets += [MarketRow(0, 1, 100, 10, 5)]
        await store.write(MARKETS, rows, Settled(1, b"1"))
        servers.database.kill()
        try:
            with pytest.raises(StoreFailed, match="does not answer as it should"):
                await store.write(MARKETS, rows, Settled(2, b"2"))
        finally:
            servers.database.start()
            await asyncio.to_thread(servers.database.wait)
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await store.settled(MARKETS) == (1, b"1"), "what was acknowledged is there"
                    break
                except StoreFailed:
                    await asyncio.sleep(0.1)


async def test_statements_under_way_end_well_when_another_connection_takes_over(cql: CqlSettings) -> None:
    """Of several pages too: the whole answer is read where it began."""
    async with recorded(cql) as (session, store):
        rows = Rows()
        rows.markets += [MarketRow(symbol, 1, 100, 10, 5) for symbol in range(12_000)]  # more than a page
        await store.write(MARKETS, rows, Settled(1, b"1"))
        for _ in range(3):
            reads = [asyncio.create_task(session.execute(tables.MARKETS.select)) for _ in range(4)]
            writes = [asyncio.create_task(store.write(MARKETS, Rows(), Settled(1, b"1"))) for _ in range(20)]
            await asyncio.sleep(0.01)
            await session.renew(cql)
            assert [len(found) for found in await asyncio.gather(*reads)] == [12_000] * 4
            await asyncio.gather(*writes)
        with pytest.raises(StoreFailed):
            await session.renew(replace(cql, port=1))
        assert await store.settled(MARKETS) == (1, b"1"), "it goes on as it was"


async def test_the_gateway_reads_what_the_embedded_record_would_say(cql: CqlSettings, tmp_path: Path) -> None:
    """Every question in the same words, to both: over several hours, from either end, by ids, times and client ids."""
    run = traded(400)
    embedded = History(settled(tmp_path / "settled.db", run))
    async with recorded(cql) as (session, store):
        await settle(store, run.batches)
        history = CqlHistory(session)
        random = Random(3)
        first, last = run.time_us - 40 * HOUR_US, run.time_us
        for _ in range(300):
            account, limit = random.choice((ALICE, BOB, CAROL)), random.choice((1, 3, 10, 500))
            start, end = sorted(random.randint(first - HOUR_US, last + HOUR_US) for _ in range(2))
            times: dict[str, Any] = {"start_us": random.choice((None, start)), "end_us": random.choice((None, end))}
            number = random.choice((None, random.randint(0, 420)))
            asked = (account, SYMBOL)
            orders = await asyncio.to_thread(history.all_orders, *asked, from_order_id=number, limit=limit, **times)
            assert orders == embedded.all_orders(*asked, from_order_id=number, limit=limit, **times)
            order = random.choice((None, None, random.randint(1, 400)))
            trades = await asyncio.to_thread(history.user_trades, *asked, order_id=order, from_trade_id=number, limit=limit, **times)
            assert trades == embedded.user_trades(*asked, order_id=order, from_trade_id=number, limit=limit, **times)
            name = random.choice((None, f"{random.randrange(40):02}"))
            order_id = None if name else random.randint(1, 400)
            assert await asyncio.to_thread(history.order, *asked, order_id=order_id, client_id=name) == embedded.order(
                *asked, order_id=order_id, client_id=name
            )
    embedded.close()


async def test_an_operator_is_told_the_same_of_a_cluster_s_money(cql: CqlSettings, tmp_path: Path) -> None:
    """What accounts and wallets have, and what of it is set aside; and each movement."""
    run = moved(traded(80))
    views = Views()
    for batch in run.batches:
        views.apply(batch.account_events, batch.market_events)
    holders = (ALICE, BOB, CAROL, ALICE | codes.WALLET_BIT)
    async with recorded(cql) as (session, store):
        await settle(store, run.batches)
        cluster = ClusterOverview(DirectEntry(SqliteStore(tmp_path / "unused.db")), views, session)
        for holder in (*holders, codes.FEES, codes.WITHDRAWALS, 999):
            told = await cluster.answer({"show": "account", "account": holder})
            expected = overview.answer(run.exchange, views, {"show": "account", "account": holder})
            if holder >= codes.FIRST_USER:
                assert told["account"] == expected["account"], holder
            else:
                assert told["account"]["balances"] == expected["account"]["balances"], holder
        for holder in holders:
            for number in range(999, 1_165):
                question = {"show": "movement", "account": holder, "id": number}
                assert (await cluster.answer(question))["movement"] == overview.answer(run.exchange, views, question)["movement"], question
        asked = overview.answer(run.exchange, views, {"show": "account", "account": ALICE})["account"]
        assert any(balance["withdrawing_atoms"] for balance in asked["balances"] + asked["funding"]), "there is something to tell"


async def test_money_in_and_out_is_read_of_a_cluster_as_of_a_file(cql: CqlSettings, tmp_path: Path) -> None:
    """What accounts hold too, which the one adds up and the other has of what was given."""
    run = moved(traded(80))
    async with recorded(cql) as (session, store):
        await settle(store, run.batches)
        embedded = tmp_path / "settled.db"
        with closing(SqliteStore(embedded)) as sqlite:
            sqlite.write(joined(run.batches))
        found, expected_found = await read_all(session), read_movements(embedded)
        assert found == expected_found
        assert {end.state for end in found.ends.values()} == {"SETTLED", "RETURNED", "REVERSED"}
        assert all((found.deposits, found.withdrawals, found.requests, found.held))


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, -128, -129, 255, 1 << 63, -(1 << 63), (1 << 90) + 5])
def test_a_varint_is_as_short_as_it_can_be(value: int) -> None:
    assert from_varint(varint(value)) == value
    assert len(varint(value)) <= value.bit_length() // 8 + 1


async def test_a_record_that_went_back_is_written_anew_and_whole(cql: CqlSettings, tmp_path: Path) -> None:
    """As a database does that had not synced what it acknowledged, and starts again while nothing is written."""
    batches = [batch.account_events for batch in traded(100).batches if batch.account_events]
    half, last = len(batches) // 2, list(unpacked(batches[-1]))[-1][1]
    stream = MemoryStream(ACCOUNTS, lambda: 0)

    async def settled_up_to(store: CqlRowStore, sequence: int) -> None:
        async with asyncio.timeout(30):
            while (await store.settled(ACCOUNTS)).sequence < sequence:  # noqa: ASYNC110  another task settles
                await asyncio.sleep(0.05)

    async with recorded(cql) as (session, store):
        settlement = Settlement(stream, account_memory, store, SnapshotSettings(tmp_path, every=10**9), OsDisk())
        running = asyncio.create_task(settlement.run())
        for data in batches[:half]:
            await stream.append(pack(data))
        await settled_up_to(store, list(unpacked(batches[half - 1]))[-1][1])
        for table in {*(each.name for each in tables.ALL), "settlement_state"}:
            await session.run(f"TRUNCATE {table}")
        await asyncio.sleep(IDLE_S + 0.2)
        for data in batches[half:]:
            await stream.append(pack(data))
        await settled_up_to(store, last)
        running.cancel()
        found = await contents(session)
    async with recorded(CqlSettings(cql.hosts, cql.port, f"{cql.keyspace}y")) as (session, store):
        running = asyncio.create_task(Settlement(stream, account_memory, store, SnapshotSettings(tmp_path / "y"), OsDisk()).run())
        await settled_up_to(store, last)
        running.cancel()
        assert await contents(session) == found
