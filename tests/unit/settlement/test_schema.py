"""Versions of the tables, and files that are not ours."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tests.unit.settlement.support import dump, opened_market, read, settled
from zerosum.core.codes import CLEARING, FEES, HOUSE, OUTSIDE, WITHDRAWALS
from zerosum.core.records import FORMAT
from zerosum.errors import ZerosumError
from zerosum.settlement import rows, schema
from zerosum.settlement.errors import NotARecord, NothingSettled, SchemaTooNew, SchemaTooOld
from zerosum.settlement.history import History
from zerosum.settlement.schema import MIGRATIONS, VERSION, Migration, migrate
from zerosum.settlement.sqlite import WRITES, SqliteStore
from zerosum.settlement.verify import verify

COLUMNS = {
    "assets": rows.AssetRow._fields,
    "symbols": rows.SymbolRow._fields,
    "accounts": rows.AccountRow._fields,
    "orders": rows.OrderRow._fields,
    "active_orders": rows.OrderRow._fields,
    "trades": rows.TradeRow._fields,
    "user_trades": rows.UserTradeRow._fields,
    "balance_ledger": rows.LedgerRow._fields,
    "balances": rows.BalanceRow._fields,
    "klines": rows.KlineRow._fields,
    "deposits": rows.MovementRow._fields,
    "withdrawals": rows.MovementRow._fields,
    "withdrawal_requests": rows.MovementRow._fields,
    "movement_ends": rows.EndRow._fields,
    "adjustments": rows.AdjustmentRow._fields,
    "transfers": rows.TransferRow._fields,
    "arrivals": rows.ArrivalRow._fields,
    "markets": rows.MarketRow._fields,
    "checkpoints": rows.CheckpointRow._fields,
}


def execute(path: Path, statements: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statements)
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SqliteStore(tmp_path / "settled.db").close()
    return tmp_path / "settled.db"


@pytest.mark.parametrize("table", COLUMNS)
def test_columns_stand_in_the_order_of_the_rows(path: Path, table: str) -> None:
    """The store writes rows by place, not by name."""
    columns = [name for (name,) in read(path, "SELECT name FROM pragma_table_info(?) ORDER BY cid", table)]
    assert tuple(columns) == COLUMNS[table]


def test_every_table_of_rows_is_written(path: Path) -> None:
    assert {table for table, _ in WRITES} == {*rows.Rows.__slots__} == {*COLUMNS, "ended_orders"}


def test_what_migrations_spell_out_is_what_the_core_says(path: Path) -> None:
    assert read(path, "SELECT account, status FROM accounts") == [(OUTSIDE, HOUSE), (FEES, HOUSE), (CLEARING, HOUSE), (WITHDRAWALS, HOUSE)]
    assert read(path, "SELECT event_format FROM settlement_state") == [(FORMAT,)]


def test_opening_again_changes_nothing(path: Path) -> None:
    before = dump(path)
    SqliteStore(path).close()
    assert dump(path) == before
    assert before["schema_version"] == [(migration.version, migration.name) for migration in MIGRATIONS]


def test_a_newer_schema_is_refused_by_writer_and_reader(path: Path) -> None:
    execute(path, "INSERT INTO schema_version VALUES (1 + (SELECT max(version) FROM schema_version), 'from the future')")
    for reader in (SqliteStore, History, verify):
        with pytest.raises(SchemaTooNew, match=f"version {VERSION + 1}; this program knows versions up to {VERSION}"):
            reader(path)


def test_a_migration_is_applied_once_and_whole(path: Path) -> None:
    step = Migration(VERSION + 1, "notes", "CREATE TABLE notes (text TEXT) STRICT; INSERT INTO notes VALUES ('kept')")
    connection = apsw.Connection(str(path))
    migrate(connection, path, (*MIGRATIONS, step))
    migrate(connection, path, (*MIGRATIONS, step))
    assert list(connection.execute("SELECT * FROM notes")) == [("kept",)]

    broken = Migration(VERSION + 2, "broken", "CREATE TABLE half (text TEXT) STRICT; INSERT INTO nowhere VALUES (1)")
    with pytest.raises(apsw.SQLError, match="no such table: nowhere"):
        migrate(connection, path, (*MIGRATIONS, step, broken))
    assert schema.found_version(connection, path) == VERSION + 1
    assert list(connection.execute("SELECT name FROM sqlite_schema WHERE name = 'half'")) == []


def test_migrations_are_numbered_from_one(path: Path) -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, VERSION + 1))


def test_an_older_schema_is_refused_by_the_reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    with pytest.raises(SchemaTooOld, match="its follower brings them up to date"):
        History(path)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    execute(path, "CREATE TABLE keys (name TEXT)")
    for opened in (SqliteStore, History, verify):
        with pytest.raises(NotARecord, match="it has the tables keys"):
            opened(path)
    assert read(path, "SELECT name FROM sqlite_schema") == [("keys",)]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settled.db"
    path.write_bytes(b"no database at all, " * 1_000)
    for opened in (SqliteStore, History, verify):
        with pytest.raises(NotARecord, match="not a settled record"):
            opened(path)


def test_where_nothing_was_settled_there_is_nothing_to_read(tmp_path: Path) -> None:
    for opened in (History, verify):
        with pytest.raises(NothingSettled, match="no settled record here"):
            opened(tmp_path / "settled.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error_for_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ZerosumError, match="unable to open"):
        SqliteStore(tmp_path / "nowhere" / "settled.db")


def test_the_schema_holds_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    """STRICT: a value of another type than its column's is an error, not a guess."""
    path = settled(tmp_path / "settled.db", opened_market())
    with pytest.raises(apsw.ConstraintError, match="cannot store TEXT value in INTEGER column"):
        execute(path, "UPDATE balances SET available_atoms = 'much'")
