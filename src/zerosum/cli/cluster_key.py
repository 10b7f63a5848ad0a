"""
API keys of a cluster for `zerosum key --cluster`: in the database, from a command that has no event loop of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, final

from zerosum.cli.cluster_settings import cql_settings
from zerosum.cli.directory import master_key
from zerosum.cli.door import Refused
from zerosum.core.codes import CLOSED
from zerosum.gateway.cluster_keys import REFRESH_S, ClusterKeys
from zerosum.gateway.keys import KeyInfo
from zerosum.ops.settings_model import Settings
from zerosum.settlement.cql.schema import require_current
from zerosum.settlement.cql.session import Session

KNOWN_S: Final = 2 * REFRESH_S
STATUS = "SELECT status FROM accounts WHERE account = ?"


@final
class ClusterKeyBox:
    """As Keys, for commands."""

    def __init__(self, runner: asyncio.Runner, session: Session, keys: ClusterKeys) -> None:
        self._runner = runner
        self._session = session
        self._keys = keys

    def check_account(self, account_id: int) -> None:
        """That a key for it could do something. Refused."""
        rows = self._runner.run(self._session.execute(STATUS, (account_id,)))
        if not rows:
            raise Refused(f"there is no account {account_id} in the record: open it with `zerosum account open`.")
        if rows[0][0] == CLOSED:
            raise Refused(f"account {account_id} is closed: a key for it could do nothing.")

    def create(self, account_id: int, permissions: Iterable[str]) -> tuple[str, str]:
        """Returns when every gateway has read it."""
        made = self._runner.run(self._keys.create(account_id, permissions))
        self._runner.run(asyncio.sleep(KNOWN_S))
        return made

    def revoke(self, api_key: str) -> None:
        self._runner.run(self._keys.revoke(api_key))

    def list(self, account_id: int | None = None) -> list[KeyInfo]:
        return self._runner.run(self._keys.list(account_id))


@contextmanager
def cluster_keys(settings: Settings) -> Iterator[ClusterKeyBox]:
    """StoreFailed, CqlSchemaWrong, MasterKeyError."""
    secret = master_key(settings)

    async def opened() -> tuple[Session, ClusterKeys]:
        session = await Session.connect(cql_settings(settings))
        try:
            await require_current(session)
            keys = ClusterKeys(session, secret)
            await keys.check_master_key()
        except BaseException:
            await session.close()
            raise
        return session, keys

    with asyncio.Runner() as runner:
        session, keys = runner.run(opened())
        try:
            yield ClusterKeyBox(runner, session, keys)
        finally:
            runner.run(session.close())
