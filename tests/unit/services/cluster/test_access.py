"""Who may do what with which table is said of every table."""

from __future__ import annotations

import re

from zerosum.services.cluster.access import CONSOLES, IDENTITIES, MADE, READS, RECORD, TABLES_READ, TABLES_WRITTEN, table_accesses
from zerosum.settlement.cql.schema import MIGRATIONS


def test_every_table_of_the_schema_is_in_one_group_and_nothing_else_is() -> None:
    """A table that is added is to be given to somebody: without that nobody could use it where the database asks who somebody is."""
    statements = [statement for migration in MIGRATIONS for statement in migration.statements]
    created = {found[1] for found in (re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", statement) for statement in statements) if found}
    assert sorted((*MADE, *RECORD, *IDENTITIES, *CONSOLES)) == sorted({*created, "schema_migrations"})


def test_the_record_is_written_by_settlement_alone_and_what_belongs_together_by_no_service() -> None:
    written = {role: {*tables} for role, tables in TABLES_WRITTEN.items()}
    assert {role for role, tables in written.items() if tables & {*RECORD}} == {"settlement"}
    assert {role for role, tables in written.items() if tables & {*IDENTITIES}} == {"gateway", "admin"}
    assert {role for role, tables in written.items() if tables & {*MADE}} == set()


def test_what_operators_decide_is_written_and_read_by_the_console_alone() -> None:
    for tables in (TABLES_READ, TABLES_WRITTEN):
        assert {role for role, those in tables.items() if {*those} & {*CONSOLES}} == {"admin"}


def test_a_role_that_needs_nothing_of_the_database_is_given_nothing() -> None:
    assert {*TABLES_READ} | {*TABLES_WRITTEN} == {"gateway", "admin", "settlement"}
    of_role = {access.user: access for access in table_accesses("zerosum")}
    assert set(of_role) == {f"zerosum_{role}" for role in READS}
    assert (of_role["zerosum_ubscore"].reads, of_role["zerosum_ubscore"].writes) == ((), ())
