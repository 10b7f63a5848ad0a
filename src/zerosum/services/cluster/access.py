"""
Which topics and tables each role reads and writes: what the brokers and the database hold its user to. In Kafka the user is
<cluster.name>-<role>, in the database <cluster.name>_<role>.

Always true: nobody but UBSCore writes orders. Whoever could write them as a shard would be believed. And every table of the schema is named
here: a role that is not said to need one has nothing of it.
"""

from __future__ import annotations

from typing import Final

from zerosum.log.kafka.grants import Access
from zerosum.log.kafka.settings import user_of
from zerosum.settlement.cql import tables
from zerosum.settlement.cql.grants import TableAccess
from zerosum.settlement.cql.session import role_of

READS: Final = {
    "gateway": ("account-events", "market-events", "usage"),
    "ubscore": ("commands", "account-events", "control"),
    "matching": ("orders", "market-events", "control"),
    "settlement": ("account-events", "market-events"),
    "auditor": ("account-events", "market-events"),
    "admin": ("account-events", "market-events"),
}
WRITES: Final = {
    "gateway": ("commands", "usage"),
    "admin": ("commands",),
    "ubscore": ("orders", "account-events", "commands"),
    "matching": ("market-events", "commands"),
}

MADE: Final = ("deployment", "schema_migrations")
"""Written by `zerosum cluster init` alone: what belongs together."""
RECORD: Final = (*sorted({table.name for table in tables.ALL}), "settlement_state")
IDENTITIES: Final = ("documents", "document_changes")
"""API keys, users, sessions, what they ask for: sealed."""
CONSOLES: Final = ("console_documents", "console_changes")
"""Operators, what they decided, keys of the venue's own programs: sealed, and no gateway's business."""

TABLES_READ: Final = {
    "gateway": (*MADE, *RECORD, *IDENTITIES),
    "admin": (*MADE, *RECORD, *IDENTITIES, *CONSOLES),
    "settlement": (*MADE, "settlement_state"),
}
TABLES_WRITTEN: Final = {
    "gateway": IDENTITIES,
    "admin": (*IDENTITIES, *CONSOLES),
    "settlement": RECORD,
}


def accesses(name: str) -> list[Access]:
    """To topics, in the deployment of that name."""
    return [Access(user_of(name, role), reads, WRITES.get(role, ())) for role, reads in READS.items()]


def table_accesses(name: str) -> list[TableAccess]:
    """To tables, of every role: of most to none."""
    return [TableAccess(role_of(name, role), TABLES_READ.get(role, ()), TABLES_WRITTEN.get(role, ())) for role in READS]
