"""
A connection to a CQL database. The driver, acsylla, is known to nobody else.

    execute(Statement, values)    one statement, prepared once            batch(statements, at one time)

Everything raises StoreFailed where the database does not do it, or does not say so in time: whether a write happened is not known then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import acsylla
from acsylla.errors import CassErrorLibUnableToSetKeyspace, CassException

from zerosum.errors import ZerosumError
from zerosum.settlement.row_store import StoreFailed

PROTOCOL: Final = 4  # the latest that ScyllaDB and Cassandra share
RECONNECT_MS: Final = 250
IN_FLIGHT_MAX: Final = 32_768

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class CqlSettings:
    """`consistency`: LOCAL_QUORUM where there are several nodes. `local_dc`: whose nodes are asked; None: those of the first found."""

    hosts: tuple[str, ...]
    port: int = 9042
    keyspace: str = "zerosum"
    consistency: str = "LOCAL_QUORUM"
    local_dc: str | None = None
    request_s: float = 10.0


class KeyspaceMissing(ZerosumError):
    """The database answers, and has nothing of this deployment."""


@final
class Session:
    """Of one event loop. Made by `connect`."""

    def __init__(self, settings: CqlSettings, session: acsylla.Session) -> None:
        self.settings = settings
        self._session = session
        self._prepared: dict[str, acsylla.PreparedStatement] = {}
        self._preparing = asyncio.Lock()

    @classmethod
    async def connect(cls, settings: CqlSettings, *, keyspace: bool = True) -> Session:
        """StoreFailed, KeyspaceMissing. `keyspace`: whether it exists already."""
        try:
            cluster = acsylla.create_cluster(
                list(settings.hosts),
                port=settings.port,
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
            session = await cluster.create_session(settings.keyspace if keyspace else None)
        except CassErrorLibUnableToSetKeyspace as error:
            raise KeyspaceMissing(
                f"The database at {place(settings)} has no keyspace {settings.keyspace}: make it with `zerosum cluster init`."
            ) from error
        except CassException as error:
            raise failed(settings, error) from error
        return cls(settings, session)

    async def close(self) -> None:
        await self._session.close()

    async def run(self, statement: str) -> list[tuple[Any, ...]]:
        """One that is not prepared: of the schema. StoreFailed."""
        try:
            return rows_of(await self._session.execute(acsylla.create_statement(statement)))
        except CassException as error:
            raise failed(self.settings, error) from error

    async def execute(self, statement: str, values: Values = (), *, timestamp: int | None = None) -> list[tuple[Any, ...]]:
        """All rows, as plain tuples. StoreFailed."""
        try:
            bound = await self._bound(statement, values)
            if timestamp is not None:
                bound.set_timestamp(timestamp)
            found: list[tuple[Any, ...]] = []
            while True:
                result = await self._session.execute(bound)
                found += rows_of(result)
                if not result.has_more_pages():
                    return found
                bound.set_page_state(result.page_state())
        except CassException as error:
            raise failed(self.settings, error) from error

    async def batch(self, rows: Iterable[tuple[str, Values]], timestamp: int) -> None:
        """Statements, each with its values, in one request; of each partition whole or not at all. StoreFailed."""
        try:
            batch = acsylla.create_batch_unlogged()
            batch.set_timestamp(timestamp)
            for statement, values in rows:
                bound = (await self._prepare(statement)).bind()
                bound.bind_list(list(values))
                batch.add_statement(bound)
            await self._session.execute_batch(batch)
        except CassException as error:
            raise failed(self.settings, error) from error

    async def _bound(self, statement: str, values: Values) -> acsylla.Statement:
        bound = (await self._prepare(statement)).bind()
        if values:
            bound.bind_list(list(values))
        return bound

    async def _prepare(self, statement: str) -> acsylla.PreparedStatement:
        prepared = self._prepared.get(statement)
        if prepared is None:
            async with self._preparing:
                prepared = self._prepared[statement] = await self._session.create_prepared(statement)
        return prepared


def rows_of(result: acsylla.Result) -> list[tuple[Any, ...]]:
    return [tuple(row.as_list()) for row in result.all()]


def failed(settings: CqlSettings, error: CassException) -> StoreFailed:
    what = type(error).__name__.removeprefix("Cass")
    return StoreFailed(f"the database at {place(settings)} does not answer as it should: {what}: {error}.")


def place(settings: CqlSettings) -> str:
    return f"{','.join(settings.hosts)}:{settings.port}"


def varint(value: int) -> bytes:
    """As CQL has it, for the driver takes and gives no other form."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def from_varint(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)
