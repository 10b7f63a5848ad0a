"""
The identities that a command is for: those of a data directory, or with --cluster of the cluster that the settings name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from zerosum.cli.account import known_account
from zerosum.cli.directory import held, load_settings, master_key
from zerosum.cli.door import Refused, door_to, is_listening
from zerosum.core.codes import CLOSED
from zerosum.identity.identities import Identities
from zerosum.identity.keyring import REFRESH_S
from zerosum.identity.sqlite import SqliteDocuments
from zerosum.ops.settings_model import Settings
from zerosum.services import admin
from zerosum.services.datadir import DataDir

KNOWN_S: Final = 3 * REFRESH_S  # after which every gateway knows what was changed
STATUS: Final = "SELECT status FROM accounts WHERE account = ?"

ClusterOption = Annotated[bool, typer.Option("--cluster", help="Of the cluster that the settings name, in its database.")]


class Opened:
    """`check_account`: that whatever acts for it could do something; Refused. `settle`: returns when every gateway knows of a change."""

    def __init__(self, identities: Identities, check_account: Callable[[int], None], settle: Callable[[], None]) -> None:
        self.identities = identities
        self.check_account = check_account
        self.settle = settle


@contextmanager
def opened_identities(data: Path | None, config: Path | None, cluster: bool) -> Iterator[Opened]:
    """ConfigError, DocumentsFailed, MasterKeyError."""
    settings = load_settings(data, config)
    if cluster:
        with closing(cluster_identities(settings)) as identities:
            yield Opened(identities, lambda account: check_in_record(settings, account), lambda: time.sleep(KNOWN_S))
        return
    directory = held(DataDir(settings.data_directory))
    with closing(Identities(SqliteDocuments(directory.identities), master_key(settings))) as identities:
        yield Opened(identities, lambda account: check_in_exchange(directory, account), lambda: settle(directory))


def cluster_identities(settings: Settings) -> Identities:
    """DocumentsFailed, KeyspaceMissing, CqlSchemaWrong, MasterKeyError."""
    from zerosum.cli.cluster_settings import cql_settings  # what a cluster needs takes its time to load
    from zerosum.identity.cql import CqlDocuments

    secret = master_key(settings)
    return Identities(CqlDocuments.connect(cql_settings(settings)), secret)


def check_in_exchange(directory: DataDir, account_id: int) -> None:
    with door_to(directory, only_asks=True) as door:
        if known_account(door, account_id)["status"] == "closed":
            raise Refused(f"account {account_id} is closed: a key for it could do nothing.")


def check_in_record(settings: Settings, account_id: int) -> None:
    from zerosum.cli.cluster_settings import cql_settings
    from zerosum.settlement.cql.session import Session

    async def status() -> int | None:
        session = await Session.connect(cql_settings(settings))
        try:
            rows = await session.execute(STATUS, (account_id,))
        finally:
            await session.close()
        return int(rows[0][0]) if rows else None

    found = asyncio.run(status())
    if found is None:
        raise Refused(f"there is no account {account_id} in the record: open it with `zerosum account open`.")
    if found == CLOSED:
        raise Refused(f"account {account_id} is closed: a key for it could do nothing.")


def settle(directory: DataDir) -> None:
    if is_listening(directory.root / admin.NAME):
        time.sleep(KNOWN_S)
