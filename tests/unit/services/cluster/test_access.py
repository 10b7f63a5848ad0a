"""Who may do what with which table is said of every table."""

from __future__ import annotations

import re

from zerosum.services.cluster.access import KEYS, MADE, READS, RECORD, TABLES_READ, TABLES_WRITTEN, table_accesses
from zerosum.settlement.cql.schema import MIGRATIONS


def test_every_table_of_the_schema_is_in_one_group_and_nothing_else_is() -> None:
    """A table that is added is to be given to somebody: without that nobody could use it where the database asks who somebody is."""
    statements = [statement for migration in MIGRATIONS for statement in migration.statements]
    created = {found[1] for found in (re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", statement) for statement in statements) if found}
    assert sorted((*MADE, *RECORD, *KEYS)) == sorted({*created, "schema_migrations"})


def test_no_table_has_two_roles_that_write_it() -> None:
    written = [table for tables in TABLES_WRITTEN.values() for table in tables]
    assert len(written) == len({*written})
    assert not {*written} & {*MADE}


def test_a_role_that_needs_nothing_of_the_database_is_given_nothing() -> None:
    assert {*TABLES_READ} | {*TABLES_WRITTEN} == {"gateway", "settlement"}
    of_role = {access.user: access for access in table_accesses("zerosum")}
    assert set(of_role) == {f"zerosum_{role}" for role in READS}
    assert (of_role["zerosum_ubscore"].reads, of_role["zerosum_ubscore"].writes) == ((), ())
