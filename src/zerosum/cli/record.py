"""
Money in and out, for commands: what the record has, of a data directory or with --cluster of a database, and what the console knows.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from zerosum.cli.directory import held, load_settings
from zerosum.cli.identities import opened_identities
from zerosum.core.codes import ACCOUNT_MAX
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import ORDERS, OrderRecord
from zerosum.ops.settings_model import Settings
from zerosum.services.datadir import DataDir
from zerosum.services.reconciliation import Book
from zerosum.settlement.movements import Movements, read_movements


def record_and_book(data: Path | None, config: Path | None, cluster: bool) -> tuple[Movements, Book]:
    """The record first: what that has, the console knows by then. SettlementError, StoreFailed, ConfigError, DocumentsFailed."""
    record = recorded(load_settings(data, config), cluster=cluster)
    with opened_identities(data, config, cluster) as opened:
        return record, Book.of(opened.identities)


def orders_of(data: Path | None, config: Path | None, cluster: bool) -> list[Held[OrderRecord]]:
    """Of all withdrawals that users have asked for. ConfigError, DocumentsFailed."""
    with opened_identities(data, config, cluster) as opened:
        return opened.identities.vault.every(ORDERS)


def recorded(settings: Settings, *, cluster: bool) -> Movements:
    if not cluster:
        return read_movements(held(DataDir(settings.data_directory)).settled)
    from zerosum.cli.cluster_settings import cql_settings  # what a cluster needs takes its time to load
    from zerosum.settlement.cql.movements import read_all
    from zerosum.settlement.cql.session import Session

    async def read() -> Movements:
        session = await Session.connect(cql_settings(settings))
        try:
            return await read_all(session)
        finally:
            await session.close()

    return asyncio.run(read())


def wallet_of(holder: int) -> str:
    return "funding" if holder > ACCOUNT_MAX else "trading"


def account_text(holder: int) -> str:
    return f"{holder & ACCOUNT_MAX}{' funding' if holder > ACCOUNT_MAX else ''}"
