"""
A flood from one address, a process of its own: `python -m zerosum.bench.flood_load PORT SOURCE CONNECTIONS RATE`, until its input ends.

    GET /api/v3/ping, open loop, over all connections; what can't be sent for want of room is let fall
    at the end: {"answers": {"200": ..., "429": ..., "418": ...}, "lost": ...}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Final, final

import uvloop

from zerosum.bench.client import RestConnection
from zerosum.bench.gateway_process import HOST

REQUEST: Final = b"GET /api/v3/ping HTTP/1.1\r\nhost: localhost\r\n\r\n"
PIPELINED: Final = 4
TURN_S: Final = 0.002


@final
class Flood:
    def __init__(self, port: int, source: str, rate: int) -> None:
        self.answers: Counter[int] = Counter()
        self._port = port
        self._source = source
        self._rate = rate
        self._connections: list[RestConnection] = []

    async def run(self, connections: int, ends: asyncio.Event) -> None:
        began_s, sent = time.perf_counter(), 0
        while not ends.is_set():
            self._connections = [each for each in self._connections if not each.closed.done()]
            while len(self._connections) < connections:
                try:
                    self._connections.append(await RestConnection.open(HOST, self._port, source=self._source))
                except OSError:
                    break  # none more for now
            due = int((time.perf_counter() - began_s) * self._rate) - sent
            sent += due
            for connection in self._connections:
                while due > 0 and connection.under_way < PIPELINED:
                    connection.send(REQUEST, self._answered)
                    due -= 1
            await asyncio.sleep(TURN_S)

    def _answered(self, status: int, body: bytes) -> None:
        self.answers[status] += 1


async def main(port: int, source: str, connections: int, rate: int) -> None:
    ends, flood = asyncio.Event(), Flood(port, source, rate)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ends.set)  # closed, or a line: it is over
    await flood.run(connections, ends)
    sys.stdout.write(json.dumps({str(status): number for status, number in sorted(flood.answers.items())}) + "\n")


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
