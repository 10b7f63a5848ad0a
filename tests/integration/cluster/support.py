"""Waiting for what a service says of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from zerosum.devcluster.services import Service

LIMIT_S: Final = 60.0
POLL_S: Final = 0.2


async def until_fault(service: Service, check: str) -> str:
    """What is wrong with it, once something is."""
    health = await until(service, lambda health: health["checks"][check] != "ok")
    return str(health["checks"][check])


async def until_ready(service: Service) -> None:
    await until(service, lambda health: bool(health["ready"]))


async def until(service: Service, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Its health, once that holds."""
    deadline = time.monotonic() + LIMIT_S
    while not holds(health := await asyncio.to_thread(service.health)):
        assert time.monotonic() < deadline, f"{service.name} still says {health}\n{service.last_words()}"
        await asyncio.sleep(POLL_S)
    return health
