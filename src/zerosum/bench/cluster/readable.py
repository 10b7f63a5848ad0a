"""
How long it takes from the answer that tells of a trade until the trade can be read in the database: asked for, time and again, for a few
trades a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, final

from zerosum.bench.cluster.load import Request
from zerosum.bench.cluster.market import LISTING
from zerosum.settlement.cql.session import Session
from zerosum.settlement.cql.tables import TRADES_BITS
from zerosum.settlement.row_store import StoreFailed

SELECT: Final = "SELECT trade_id FROM trades WHERE symbol = ? AND page = ? AND trade_id = ?"
SYMBOLS: Final = {symbol["name"]: number for number, symbol in enumerate(LISTING["symbols"])}
PAUSE_S: Final = 0.08  # between two trades that are asked for
POLL_S: Final = 0.004


@final
class Readable:
    """`traded`: where answers that tell of trades come in; of what waits there the newest is taken."""

    def __init__(self, session: Session, traded: deque[Request]) -> None:
        self.latencies_ms: list[float] = []
        self._session = session
        self._traded = traded

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(PAUSE_S)
            if self._traded:
                request = self._traded.pop()
                self._traded.clear()
                await self._wait_for(request)

    async def _wait_for(self, request: Request) -> None:
        symbol, trade = SYMBOLS[request.symbol], int(request.body()["fills"][-1]["tradeId"])
        while not await self._is_there(symbol, trade):  # noqa: ASYNC110  a database tells nobody
            await asyncio.sleep(POLL_S)
        self.latencies_ms.append((time.perf_counter() - request.answered_s) * 1000)

    async def _is_there(self, symbol: int, trade: int) -> bool:
        try:
            return bool(await self._session.execute(SELECT, (symbol, trade >> TRADES_BITS, trade)))
        except StoreFailed:
            return False
