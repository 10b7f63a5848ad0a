"""
The embedded exchange as a process that tests start, load, kill and start again: `python -m tests.support.exchange_process --data DIR`.

    test --commands--> DIR/admin.sock --> Embedded (this process) --> its follower
    test <--one JSON object a line-- stdout:  {"ready": ...} when it serves, {"failed": why} when it can't go on

An error at the start is one line on stderr and exit code 1. SIGTERM ends it cleanly, with exit code 0; after a failure it is 2.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from zerosum.errors import ZerosumError
from zerosum.identity.sealing import MasterKey
from zerosum.net.listener import bind
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded, EmbeddedSettings, Listeners
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.machine import Machine
from zerosum.services.shard import Limits
from zerosum.views import snapshot
from zerosum.views.views import Views

TRANSIENT_SECTIONS = {"views.ended_orders"}  # how many are kept depends on how far settlement was


def digests(machine: Machine, views: Views) -> dict[str, str]:
    """What an exchange is to have again after a restart."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in snapshot.sections(views) if name not in TRANSIENT_SECTIONS}
    return {**hashes, "state": str(machine.exchange.state_hash())}


def say(**message: Any) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201  what the test reads


async def run(settings: EmbeddedSettings) -> int:
    sockets = [bind("127.0.0.1", 0, setting=setting) for setting in ("rest", "websocket", "admin")]
    embedded = Embedded(settings, Listeners(*sockets), report=lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    await embedded.start()
    asked = asyncio.create_task(until_asked())
    say(
        ready={
            "sequence": embedded.machine.sequence,
            "digests": digests(embedded.machine, embedded.views),
            "rest_port": sockets[0].getsockname()[1],
            "follower_pid": embedded.follower.pid,
        }
    )
    failed = asyncio.create_task(embedded.failed())
    await asyncio.wait([asked, failed], return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        say(failed=str(failed.result()))
    await asyncio.wait_for(embedded.stop(), 60)
    return 2 if failed.done() else 0


async def until_asked() -> None:
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--segment-bytes", type=int, default=1 << 20)
    parser.add_argument("--snapshot-every", type=int, default=500)
    parser.add_argument("--unsettled-max", type=int, default=Limits().unsettled_max)
    options = parser.parse_args()
    settings = EmbeddedSettings(
        DataDir(options.data),
        MasterKey(bytes(32)),
        segment_bytes=options.segment_bytes,
        limits=Limits(unsettled_max=options.unsettled_max),
        snapshots=SnapshotPolicy(options.snapshot_every, 3),
    )
    try:
        return uvloop.run(run(settings))
    except ZerosumError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
