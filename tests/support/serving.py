"""The embedded exchange inside a test's own process; its follower is a process of its own, as always."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.exchange import is_running
from zerosum.gateway.entry import Event
from zerosum.identity.sealing import MasterKey
from zerosum.net.listener import bind
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded, EmbeddedSettings, Listeners
from zerosum.services.follower import SnapshotPolicy

SEGMENT_BYTES = 1 << 16
OFTEN = SnapshotPolicy(every_records=100, keep=3)


@asynccontextmanager
async def serving(
    data: DataDir, reported: list[str] | None = None, *, ports: list[int] | None = None, **settings: Any
) -> AsyncIterator[Embedded]:
    """It serves; what it reports while it starts is added to `reported`, and the ports of REST and WebSocket to `ports`."""
    lines = reported if reported is not None else []
    sockets = [bind("127.0.0.1", 0, setting=setting) for setting in ("rest", "websocket", "admin")]
    if ports is not None:
        ports += [sock.getsockname()[1] for sock in sockets]
    settings = {"segment_bytes": SEGMENT_BYTES, "snapshots": OFTEN, **settings}
    embedded = Embedded(
        EmbeddedSettings(data, MasterKey(bytes(32)), **settings), Listeners(*sockets), report=lines.append, warn=lines.append
    )
    try:
        await asyncio.wait_for(embedded.start(), 60)
        yield embedded
    finally:
        await asyncio.wait_for(embedded.stop(), 60)
        for sock in sockets:
            sock.close()
    assert not is_running(embedded.follower.pid)


async def ask(embedded: Embedded, command: bytes) -> list[Event]:
    answered: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
    embedded.shard.submit(command, answered.set_result)
    return await asyncio.wait_for(answered, 60)


def contents(data: DataDir) -> dict[str, str]:
    """A hash of every file that means something: not of locks, nor of what SQLite makes anew for each opening."""
    transient = ("lock", "-wal", "-shm", ".sock")
    files = (path for path in sorted(data.root.rglob("*")) if path.is_file() and not path.name.endswith(transient))
    return {str(path.relative_to(data.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
