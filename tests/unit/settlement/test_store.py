"""The store takes exactly the next events, once; what contradicts itself leaves no trace."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tests.unit.settlement.support import ALICE, BOB, CAROL, Run, dump, forged, joined, opened_market, read, settle, settled
from zerosum.core import codes, records
from zerosum.core.codes import BUY, SELL
from zerosum.settlement import sqlite
from zerosum.settlement.batch import Batch, Position
from zerosum.settlement.errors import SettlementBroken, SettlementFailed, SettlementGap, WrittenElsewhere
from zerosum.settlement.reading import one_state
from zerosum.settlement.sqlite import SqliteStore


@pytest.fixture
def run() -> Run:
    run = opened_market()
    run.place(ALICE, BUY, 90, 100)
    run.place(ALICE, BUY, 80, 100)
    run.place(BOB, SELL, 70, 150)
    run.place(CAROL, SELL, 200, 10)
    run.cancel(CAROL, 4)
    run.do(records.WITHDRAW, CAROL, 1_001, 0, 5)
    return run


def test_position_is_that_of_the_last_batch(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "settled.db"
    store = SqliteStore(path)
    assert store.position() == Position()
    batch = joined(run.batches)._replace(account_chain=b"a" * 32, market_chain=b"m" * 32)
    store.write(batch)
    exchange = run.exchange
    expected = Position(
        exchange.sequence, exchange.account_events.stream.sequence, exchange.market_events.stream.sequence, b"a" * 32, b"m" * 32
    )  # fmt: skip
    assert store.position() == expected
    store.write(joined(run.batches))  # a repeat, which knows no chain heads
    assert store.position() == expected
    store.close()
    assert SqliteStore(path).position() == expected


def test_a_repeat_changes_nothing(run: Run, tmp_path: Path) -> None:
    path = settled(tmp_path / "settled.db", run)
    once = dump(path)
    settle(path, run.batches)
    assert dump(path) == once


def test_a_batch_that_begins_in_what_is_settled_adds_the_rest(run: Run, tmp_path: Path) -> None:
    """The follower starts from a snapshot that is older than what it had settled."""
    expected = dump(settled(tmp_path / "expected.db", run))
    path = settle(tmp_path / "settled.db", [joined(run.batches[:-4])])
    assert dump(path) != expected
    assert dump(settle(path, [joined(run.batches[2:])])) == expected


def test_a_gap_in_account_events_is_refused(run: Run, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "settled.db")
    store.write(joined(run.batches[:5]))
    before = store.position()
    with pytest.raises(SettlementGap, match="account events 6 to 6 are missing") as raised:
        store.write(joined(run.batches[6:]))
    assert (raised.value.expected, raised.value.found) == (6, 7)
    assert store.position() == before
    store.write(joined(run.batches[5:]))
    assert store.position().sequence == run.exchange.sequence


def test_a_gap_within_a_batch_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "settled.db"
    with pytest.raises(SettlementGap, match="account"):
        settle(path, [joined([*run.batches[:8], *run.batches[9:]])])
    assert read(path, "SELECT sequence FROM settlement_state") == [(0,)]
    assert read(path, "SELECT count(*) FROM assets") == [(0,)]


def test_a_gap_in_market_events_is_refused(run: Run, tmp_path: Path) -> None:
    whole = joined(run.batches)
    first, *others = records.records(whole.market_events)
    assert others
    with pytest.raises(SettlementGap, match="market events 1 to 1"):
        settle(tmp_path / "settled.db", [whole._replace(market_events=whole.market_events[len(first) * 8 :])])


def plus(name: str, by: int = 1) -> Callable[[dict[str, int]], None]:
    def change(fields: dict[str, int]) -> None:
        fields[name] += by

    return change


def set_to(name: str, value: int) -> Callable[[dict[str, int]], None]:
    def change(fields: dict[str, int]) -> None:
        fields[name] = value

    return change


def shift(to: str, source: str, by: int) -> Callable[[dict[str, int]], None]:
    """The sum of the account's balance stays what it was."""

    def change(fields: dict[str, int]) -> None:
        fields[to] += by
        fields[source] -= by

    return change


@pytest.mark.parametrize("nth", [0, 1, 2, 3], ids=["first taker", "first maker", "second taker", "second maker"])
@pytest.mark.parametrize(
    "change",
    [
        plus("fee_atoms"),
        plus("fee_atoms", -1),
        plus("fee_atoms", 1 << 40),
        plus("price_ticks"),
        plus("qty_lots"),
        plus("trade_id"),
        plus("open_lots"),
        plus("paid_available_atoms"),
        plus("paid_frozen_atoms"),
        plus("got_available_atoms"),
        plus("got_frozen_atoms"),
        plus("fees_available_atoms"),
        plus("order_id", 50),
        set_to("account", CAROL),
        plus("terms", 1 << 32),
        lambda fields: fields.update(is_taker=1 - fields["is_taker"]),
        lambda fields: fields.update(terms=fields["terms"] ^ 1),
        shift("paid_available_atoms", "paid_frozen_atoms", 1),
        shift("got_frozen_atoms", "got_available_atoms", 1),
    ],
)  # fmt: skip
def test_a_forged_fill_is_broken(run: Run, tmp_path: Path, change: Callable[[dict[str, int]], None], nth: int) -> None:
    whole = joined(run.batches)
    assert_broken(tmp_path, run, whole._replace(account_events=forged(whole.account_events, records.FILL, change, nth=nth)))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (records.ADMITTED, plus("available_atoms")),
        (records.ADMITTED, plus("frozen_atoms", -1)),
        (records.ADMITTED, shift("frozen_atoms", "available_atoms", 1)),
        (records.ADMITTED, shift("frozen_atoms", "available_atoms", 2_000_000)),
        (records.ADMITTED, plus("order_id", 1)),
        (records.ADMITTED, plus("terms", 9 << 32)),
        (records.DONE, plus("open_lots")),
        (records.DONE, plus("available_atoms")),
        (records.DONE, shift("frozen_atoms", "available_atoms", 1)),
        (records.TRANSFERRED, plus("atoms")),
        (records.TRANSFERRED, set_to("atoms", 0)),
        (records.TRANSFERRED, plus("to_available_atoms")),
        (records.TRANSFERRED, plus("from_available_atoms")),
        (records.TRANSFERRED, set_to("command", records.WITHDRAW)),
        (records.TRANSFERRED, set_to("from_account", ALICE)),
        (records.DONE, plus("terms", 1 << 24)),
    ],
)  # fmt: skip
def test_a_forged_account_event_is_broken(run: Run, tmp_path: Path, kind: int, change: Callable[[dict[str, int]], None]) -> None:
    whole = joined(run.batches)
    assert_broken(tmp_path, run, whole._replace(account_events=forged(whole.account_events, kind, change)))


def test_an_event_of_a_command_past_the_batch_is_broken(run: Run, tmp_path: Path) -> None:
    whole = joined(run.batches)
    last = len(run.batches) - 1
    assert_broken(tmp_path, run, whole._replace(sequence=last))


def test_trade_ids_that_are_not_dense_are_broken(run: Run, tmp_path: Path) -> None:
    """The fills and the trade agree, and a trade before it is missing."""
    whole = joined(run.batches)
    account_events = forged(whole.account_events, records.FILL, plus("trade_id"), nth=2)
    account_events = forged(account_events, records.FILL, plus("trade_id"), nth=3)
    market_events = forged(whole.market_events, records.TRADE, plus("trade_id"), nth=1)
    assert_broken(tmp_path, run, Batch(whole.sequence, account_events, market_events))


@pytest.mark.parametrize(
    "change",
    [plus("price_ticks"), plus("qty_lots"), plus("trade_id"), plus("symbol_side"), plus("taker_account"), plus("maker_account"),
     plus("taker_order_id"), plus("maker_order_id")],
)  # fmt: skip
def test_a_trade_that_is_not_that_of_its_fills_is_broken(run: Run, tmp_path: Path, change: Callable[[dict[str, int]], None]) -> None:
    whole = joined(run.batches)
    assert_broken(tmp_path, run, whole._replace(market_events=forged(whole.market_events, records.TRADE, change, nth=1)))


def test_a_price_forged_in_trade_and_fills_alike_is_broken(run: Run, tmp_path: Path) -> None:
    """The events agree with each other; the balances that they state do not."""
    whole = joined(run.batches)
    account_events = forged(whole.account_events, records.FILL, plus("price_ticks"), nth=0)
    account_events = forged(account_events, records.FILL, plus("price_ticks"), nth=1)
    market_events = forged(whole.market_events, records.TRADE, plus("price_ticks"))
    assert_broken(tmp_path, run, Batch(whole.sequence, account_events, market_events))


def test_fills_without_a_trade_are_broken(run: Run, tmp_path: Path) -> None:
    whole = joined(run.batches)
    assert_broken(tmp_path, run, whole._replace(market_events=without(whole.market_events, records.TRADE)))


def test_a_trade_without_fills_is_broken(run: Run, tmp_path: Path) -> None:
    whole = joined(run.batches)
    assert_broken(tmp_path, run, whole._replace(account_events=without(whole.account_events, records.FILL)))


@pytest.mark.parametrize("stream", ["account_events", "market_events"])
@pytest.mark.parametrize("head", [99 | records.FORMAT << 8, records.REFUSED | 7 << 8, records.BOOK | 7 << 8])
def test_an_event_of_an_unknown_kind_or_format_is_broken(run: Run, tmp_path: Path, stream: str, head: int) -> None:
    whole = joined(run.batches)
    data = getattr(whole, stream)
    sequence = sum(1 for _ in records.records(data)) + 1
    unknown = struct.pack("<4q", head | 4 << 16, sequence, whole.sequence, run.time_us)
    assert_broken(tmp_path, run, whole._replace(**{stream: data + unknown}))


def test_a_batch_that_ends_within_a_trade_is_broken(run: Run, tmp_path: Path) -> None:
    whole = joined(run.batches)
    at = 0
    for event in records.records(whole.account_events):
        at += len(event) * 8
        if event[0] & 0xFF == records.FILL:
            break
    assert_broken(tmp_path, run, whole._replace(account_events=whole.account_events[:at]))


def without(data: bytes, kind: int) -> bytes:
    """A stream less the events of a kind, numbered densely."""
    out = b""
    sequence = 0
    for event in records.records(data):
        if event[0] & 0xFF != kind:
            sequence += 1
            out += struct.pack(f"<{len(event)}q", event[0], sequence, *event[2:])
    return out


def assert_broken(tmp_path: Path, run: Run, forgery: Batch) -> None:
    """The forgery is refused, nothing of it is written, and the same store then takes the events as they were."""
    path = tmp_path / "settled.db"
    expected = dump(settled(tmp_path / "expected.db", run))
    store = SqliteStore(path)
    before = dump(path)
    with pytest.raises(SettlementBroken, match="can't be settled"):
        store.write(forgery)
    assert dump(path) == before
    store.write(joined(run.batches))
    store.close()
    assert dump(path) == expected


def test_a_second_writer_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "settled.db"
    first, second = SqliteStore(path), SqliteStore(path)
    first.write(joined(run.batches[:4]))
    second.write(joined(run.batches[:6]))
    with pytest.raises(WrittenElsewhere, match="Only one follower"):
        first.write(joined(run.batches[4:]))
    assert read(path, "SELECT sequence FROM settlement_state") == [(6,)]


def test_a_full_disk_loses_nothing(run: Run, tmp_path: Path) -> None:
    """SQLite refuses to let the file grow; once there is room, the same batch is settled."""
    path = tmp_path / "settled.db"
    store = SqliteStore(path)
    pages = read(path, "PRAGMA page_count")[0][0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(500):
        run.place(ALICE, BUY, 10, 1, client=f"number {number}")
    with pytest.raises(SettlementFailed, match="full"):
        store.write(joined(run.batches))
    assert store.position() == Position()
    assert read(path, "SELECT count(*) FROM active_orders") == [(0,)]
    store._connection.execute(f"PRAGMA max_page_count = {pages * 100}")
    store.write(joined(run.batches))
    store.close()
    assert dump(path) == dump(settled(tmp_path / "expected.db", run))


def test_a_lock_that_is_not_let_go_is_an_error(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 20)
    path = tmp_path / "settled.db"
    store = SqliteStore(path)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SettlementFailed, match="locked"):
        store.write(joined(run.batches))
    other.execute("ROLLBACK")
    store.write(joined(run.batches))
    assert store.position().sequence == run.exchange.sequence


def test_what_was_written_is_folded_into_the_file_as_far_as_readers_allow(run: Run, tmp_path: Path) -> None:
    """A reader that holds on to an old state does not hold up the one who writes."""
    path = tmp_path / "settled.db"
    store = SqliteStore(path)
    store.fold()
    with closing(apsw.Connection(str(path))) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM orders").fetchall()
        store.write(joined(run.batches))
        content = path.read_bytes()
        start = time.monotonic()
        store.fold()
        assert time.monotonic() - start < 5, "it does not wait for the reader"
        assert path.read_bytes() == content
    store.fold()
    assert path.read_bytes() != content


def test_balances_are_looked_up_again_when_they_were_forgotten(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("zerosum.settlement.accounts.BALANCES_MAX", 1)
    path = settle(tmp_path / "settled.db", run.batches)
    monkeypatch.undo()
    assert dump(path) == dump(settled(tmp_path / "expected.db", run))


def test_a_reason_that_is_not_the_owners_is_an_expiry(tmp_path: Path) -> None:
    """A code that a later core might add: an order that ended for it has expired."""
    run = opened_market()
    run.place(ALICE, BUY, 90, 100, tif=codes.IOC)
    whole = joined(run.batches)
    forgery = whole._replace(account_events=forged(whole.account_events, records.DONE, set_to("reason", 77)))
    path = settle(tmp_path / "settled.db", [forgery])
    assert read(path, "SELECT status, reason FROM orders") == [("EXPIRED", 77)]


def test_an_order_that_was_open_at_a_restart_goes_on_as_it_was(tmp_path: Path) -> None:
    """A rejected move is no change of the order: its time of update stays that of its trade."""
    run = opened_market()
    run.place(ALICE, BUY, 90, 100, client="kept")
    run.place(BOB, SELL, 90, 40)
    traded_us = run.time_us
    path = settle(tmp_path / "settled.db", [joined(run.batches)])
    before = read(path, "SELECT * FROM active_orders")
    done = len(run.batches)
    run.do(records.SET_SYMBOL_STATUS, 0, codes.HALT)
    run.move(ALICE, 1, 95)
    settle(path, [joined(run.batches[done:])])
    assert read(path, "SELECT * FROM active_orders") == before
    assert read(path, "SELECT updated_us FROM active_orders") == [(traded_us,)]


def test_a_reader_of_one_state_sees_nothing_that_comes_later(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "settled.db"
    store = SqliteStore(path)
    store.write(joined(run.batches[:10]))
    with one_state(path) as connection:
        before = connection.execute("SELECT sequence FROM settlement_state").get
        store.write(joined(run.batches[10:]))
        assert connection.execute("SELECT sequence FROM settlement_state").get == before == 10
    assert read(path, "SELECT sequence FROM settlement_state") == [(run.exchange.sequence,)]


def test_every_pragma_is_in_force(tmp_path: Path) -> None:
    """A statement that returns a row does not keep those after it from being run."""
    store = SqliteStore(tmp_path / "settled.db")
    pragmas = {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 65_536, "cache_size": -32_768, "temp_store": 2}
    assert {name: store._connection.pragma(name) for name in pragmas} == pragmas
    store.close()
