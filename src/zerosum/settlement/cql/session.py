"""
A connection to a CQL database. The driver, acsylla, is known to nobody else.

    execute(Statement, values)    one statement, prepared once            batch(statements, at one time)

    renew(settings) --> a new connection --> statements from now on         the old one --> what is under way on it --> closed

Everything raises StoreFailed where the database does not do it, or does not say so in time: whether a write happened is not known then.

Always true: with `ca`, nothing is said, no password either, to a node whose certificate is not by one of these, or not for the address that
it is reached at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, final

import acsylla
from acsylla.errors import (
    CassErrorLibUnableToSetKeyspace,
    CassErrorServerBadCredentials,
    CassErrorServerUnauthorized,
    CassErrorSslIdentityMismatch,
    CassErrorSslInvalidCert,
    CassErrorSslInvalidPeerCert,
    CassException,
)

from zerosum.errors import ZerosumError
from zerosum.settlement.row_store import StoreFailed

PROTOCOL: Final = 4  # the latest that ScyllaDB and Cassandra share
RECONNECT_MS: Final = 250
IN_FLIGHT_MAX: Final = 32_768

NOT_BELIEVED: Final = (CassErrorSslInvalidPeerCert, CassErrorSslIdentityMismatch, CassErrorSslInvalidCert)

Values = Sequence[Any]


class Checks(Enum):
    """What the driver looks at in a node's certificate. Its own names for it leave out the one that is needed: who it is for."""

    PEER_CERT_AND_IDENTITY = 1 | 2


@dataclass(frozen=True, slots=True)
class CqlLogin:
    """Whom the database knows this process as."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CqlSettings:
    """
    `consistency`: LOCAL_QUORUM where there are several nodes. `local_dc`: whose nodes are asked; None: those of the first found. `ca`: who
    vouches for the nodes, in PEM: with it, they are spoken to by TLS. `login`: None where the database asks nobody who they are.
    """

    hosts: tuple[str, ...]
    port: int = 9042
    keyspace: str = "zerosum"
    consistency: str = "LOCAL_QUORUM"
    local_dc: str | None = None
    request_s: float = 10.0
    login: CqlLogin | None = None
    ca: str | None = None


class KeyspaceMissing(ZerosumError):
    """The database answers, and has nothing of this deployment."""


class DatabaseRefused(ZerosumError):
    """The database is not believed to be the one, or does not believe that this process is who it says. Waiting does not mend it."""


@final
class Connection:
    """The driver's session, what was prepared in it, and how many calls use it."""

    def __init__(self, session: acsylla.Session) -> None:
        self.session = session
        self._prepared: dict[str, acsylla.PreparedStatement] = {}
        self._preparing = asyncio.Lock()
        self._users = 0
        self._unused = asyncio.Event()

    @contextmanager
    def used(self) -> Iterator[None]:
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def close(self) -> None:
        """Once nobody uses it."""
        if self._users:
            await self._unused.wait()
        await self.session.close()

    async def prepared(self, statement: str) -> acsylla.PreparedStatement:
        prepared = self._prepared.get(statement)
        if prepared is None:
            async with self._preparing:
                prepared = self._prepared[statement] = await self.session.create_prepared(statement)
        return prepared

    async def bound(self, statement: str, values: Values) -> acsylla.Statement:
        bound = (await self.prepared(statement)).bind()
        if values:
            bound.bind_list(list(values))
        return bound


@final
class Session:
    """Of one event loop. Made by `connect`."""

    def __init__(self, settings: CqlSettings, connection: Connection) -> None:
        self.settings = settings
        self._connection = connection

    @classmethod
    async def connect(cls, settings: CqlSettings, *, keyspace: bool = True) -> Session:
        """StoreFailed, DatabaseRefused, KeyspaceMissing. `keyspace`: whether it exists already."""
        return cls(settings, await connected(settings, settings.keyspace if keyspace else None))

    async def renew(self, settings: CqlSettings) -> None:
        """
        Go on with other settings; statements that are under way end as they began. StoreFailed, DatabaseRefused: it goes on as it was.
        """
        connection = await connected(settings, settings.keyspace)
        old, self._connection, self.settings = self._connection, connection, settings
        await old.close()

    async def close(self) -> None:
        await self._connection.close()

    async def run(self, statement: str) -> list[tuple[Any, ...]]:
        """One that is not prepared: of the schema. StoreFailed."""
        connection = self._connection
        try:
            with connection.used():
                return rows_of(await connection.session.execute(acsylla.create_statement(statement)))
        except CassException as error:
            raise failed(self.settings, error) from error

    async def execute(self, statement: str, values: Values = (), *, timestamp: int | None = None) -> list[tuple[Any, ...]]:
        """All rows, as plain tuples. StoreFailed."""
        connection = self._connection
        try:
            with connection.used():
                bound = await connection.bound(statement, values)
                if timestamp is not None:
                    bound.set_timestamp(timestamp)
                found: list[tuple[Any, ...]] = []
                while True:
                    result = await connection.session.execute(bound)
                    found += rows_of(result)
                    if not result.has_more_pages():
                        return found
                    bound.set_page_state(result.page_state())
        except CassException as error:
            raise failed(self.settings, error) from error

    async def batch(self, rows: Iterable[tuple[str, Values]], timestamp: int) -> None:
        """Statements, each with its values, in one request; of each partition whole or not at all. StoreFailed."""
        connection = self._connection
        try:
            with connection.used():
                batch = acsylla.create_batch_unlogged()
                batch.set_timestamp(timestamp)
                for statement, values in rows:
                    batch.add_statement(await connection.bound(statement, values))
                await connection.session.execute_batch(batch)
        except CassException as error:
            raise failed(self.settings, error) from error


async def connected(settings: CqlSettings, keyspace: str | None) -> Connection:
    """StoreFailed, DatabaseRefused, KeyspaceMissing."""
    login = settings.login
    try:
        cluster = acsylla.create_cluster(
            list(settings.hosts),
            port=settings.port,
            username=login.user if login is not None else None,
            password=login.password if login is not None else None,
            ssl_enabled=settings.ca is not None,
            ssl_trusted_cert=settings.ca,
            ssl_verify_flags=Checks.PEER_CERT_AND_IDENTITY,
            protocol_version=PROTOCOL,
            consistency=acsylla.Consistency[settings.consistency],
            request_timeout=settings.request_s,
            constant_reconnect_delay_ms=RECONNECT_MS,
            exponential_reconnect_base_delay_ms=None,
            exponential_reconnect_max_delay_ms=None,
            load_balance_dc_aware=settings.local_dc,
            queue_size_io=IN_FLIGHT_MAX,
            log_level="disabled",  # what matters comes back as an error
            application_name="zerosum",
        )
        return Connection(await cluster.create_session(keyspace))
    except CassErrorLibUnableToSetKeyspace as error:
        raise KeyspaceMissing(
            f"The database at {place(settings)} has no keyspace {settings.keyspace}: make it with `zerosum cluster init`."
        ) from error
    except NOT_BELIEVED as error:
        raise DatabaseRefused(
            f"The certificate of the database at {place(settings)} is not believed: {error}. It must be by an authority in"
            " database.ca_file, and name the address that the node is reached at."
        ) from error
    except CassErrorServerBadCredentials as error:
        who = f"does not let {login.user} in" if login is not None else "asks who this is"
        raise DatabaseRefused(f"The database at {place(settings)} {who}: {error}. See database.user and database.password_file.") from error
    except CassException as error:
        raise failed(settings, error) from error


def rows_of(result: acsylla.Result) -> list[tuple[Any, ...]]:
    return [tuple(row.as_list()) for row in result.all()]


def failed(settings: CqlSettings, error: CassException) -> StoreFailed:
    if isinstance(error, CassErrorServerUnauthorized):
        return StoreFailed(f"the database at {place(settings)} refuses it: {error}. `zerosum cluster init` grants each role what it needs.")
    what = type(error).__name__.removeprefix("Cass")
    return StoreFailed(f"the database at {place(settings)} does not answer as it should: {what}: {error}.")


def place(settings: CqlSettings) -> str:
    return f"{','.join(settings.hosts)}:{settings.port}"


def role_of(deployment: str, role: str) -> str:
    """The role of the database that a role's services are known as."""
    return f"{deployment}_{role}"


def varint(value: int) -> bytes:
    """As CQL has it, for the driver takes and gives no other form."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def from_varint(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)
