"""
Who may read and write which tables, held by the database: granted where it is missing, and who else may write.

    <cluster.name>_<role>     SELECT     the tables that the role reads
                              MODIFY     the tables that it writes

Roles are made, with their passwords, by whoever runs the database. One that it does not have yet is granted nothing, and named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

from zerosum.settlement.cql.session import Session

READ: Final = "SELECT"
WRITE: Final = "MODIFY"
CHANGING: Final = frozenset({WRITE, "ALTER", "DROP", "AUTHORIZE"})
EVERYTHING: Final = "<all keyspaces>"


@dataclass(frozen=True, slots=True)
class TableAccess:
    """Of one role of the database."""

    user: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


class Grant(NamedTuple):
    """`resource`: as the database names it."""

    resource: str
    permission: str


@final
class TableGrants:
    """By a session of a role that may grant them."""

    def __init__(self, session: Session, accesses: Iterable[TableAccess]) -> None:
        self._session = session
        self._keyspace = session.settings.keyspace
        self._accesses = list(accesses)

    async def make(self) -> tuple[int, list[str]]:
        """Make those that are missing: how many they were, and the roles that are. StoreFailed."""
        known = {role for role, *_ in await self._session.run("LIST ROLES")}
        made, missing = 0, []
        for access in self._accesses:
            if access.user in known:
                made += await self._make(access)
            elif access.reads or access.writes:
                missing.append(access.user)
        return made, missing

    async def _make(self, access: TableAccess) -> int:
        found = await self._granted(access.user)
        lacks = wanted(self._keyspace, access) - found
        for resource, permission in sorted(lacks):
            await self._session.run(f"GRANT {permission} ON {resource.strip('<>')} TO {quoted(access.user)}")
        return len(lacks)

    async def other_writers(self) -> list[tuple[str, str]]:
        """Where, and a role that may change something there and has no business to; the one that asks has. StoreFailed."""
        login = self._session.settings.login
        needs = {access.user: wanted(self._keyspace, access) for access in self._accesses}
        found = []
        for role, *_ in sorted(await self._session.run("LIST ROLES")):
            if login is not None and role == login.user:
                continue
            if any(is_super for _, is_super, *_ in await self._session.run(f"LIST ROLES OF {quoted(role)}")):
                found.append((EVERYTHING, role))
            may = await self._granted(role) - needs.get(role, set())
            found += [(resource, role) for resource in sorted({each.resource for each in may if each.permission in CHANGING})]
        return [(resource.strip("<>"), role) for resource, role in found]

    async def _granted(self, role: str) -> set[Grant]:
        """What it may do here, also by another role that it was given."""
        rows: list[tuple[Any, ...]] = await self._session.run(f"LIST ALL PERMISSIONS OF {quoted(role)}")
        here = {EVERYTHING, f"<keyspace {self._keyspace}>"}
        return {
            Grant(resource, permission)
            for _, _, resource, permission in rows
            if resource in here or resource.startswith(f"<table {self._keyspace}.")
        }


def wanted(keyspace: str, access: TableAccess) -> set[Grant]:
    return {
        Grant(f"<table {keyspace}.{table}>", permission)
        for permission, those in ((READ, access.reads), (WRITE, access.writes))
        for table in those
    }


def quoted(name: str) -> str:
    """Of a role, as a statement has it: a name can't be bound."""
    return '"' + name.replace('"', '""') + '"'
