"""
Waiting until nothing is on its way through a cluster any more.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from zerosum.devcluster.deployment import DevDeployment

COPIES: Final = ("ubscore", "matching", "settlement")
LIMIT_S: Final = 60.0
AT_REST: Final = 2  # times in a row that nothing is behind: a copy finds out once a second
POLL_S: Final = 1.1


async def until_settled(deployment: DevDeployment, limit_s: float = LIMIT_S) -> tuple[float, float]:
    """Seconds until no copy was behind its input, and how many messages they are behind at last: 0 unless it took too long."""
    began = time.monotonic()
    copies = [service for service in deployment.services if service.role in COPIES]
    still, rested_s = 0, 0.0
    while True:
        behind = sum([await asyncio.to_thread(copy.metric, "zerosum_copy_behind_messages") for copy in copies])
        if behind:
            still = 0
        elif not still:
            rested_s = time.monotonic() - began
        still += not behind
        if still > AT_REST or time.monotonic() - began > limit_s:
            return rested_s, behind
        await asyncio.sleep(POLL_S)
