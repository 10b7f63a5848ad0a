"""
An exchange with the settings of the environment and a ready file: `python -m zerosum.bench.gateway_server`, options as `zerosum up`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

import uvloop

from zerosum.gateway.keys import MASTER_KEY_VARIABLE, create_master_key, load_master_key
from zerosum.gateway.limits import Allowance
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.gateway.transport.listener import listen
from zerosum.ops.health import Readiness
from zerosum.ops.metrics import Metrics
from zerosum.ops.operations import OperationsServer
from zerosum.ops.settings import load
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded, EmbeddedSettings


async def run(options: argparse.Namespace) -> None:
    data = DataDir(options.data)
    data.root.mkdir(parents=True, exist_ok=True)
    master_key_file = data.root / "master.key"
    if MASTER_KEY_VARIABLE not in os.environ and not master_key_file.exists():
        create_master_key(master_key_file)
    settings = load(None, os.environ)
    composed = EmbeddedSettings(
        data=data, master_key=load_master_key(master_key_file), rest=RestBounds.of(settings.rest),
        websocket=WebSocketBounds.of(settings.websocket), allowance=Allowance(**dict(settings.allowance)),
    )  # fmt: skip
    rest, websocket, operations = (
        listen(options.host, port, setting="rest") for port in (options.rest_port, options.websocket_port, options.operations_port)
    )
    embedded = Embedded(composed, rest, websocket, print)
    await embedded.start()
    metrics = Metrics()
    metrics.read_gauge("zerosum_settlement_lag_commands", "Commands applied and not yet settled.", lambda: embedded.shard.unsettled)
    metrics.read_counter("zerosum_commands_applied_total", "Commands applied.", lambda: embedded.machine.sequence)
    metrics.read_counter("zerosum_groups_total", "Groups made durable with one sync each.", lambda: embedded.shard.groups)
    health = OperationsServer(operations, Readiness(), metrics)
    await health.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ports = {name: sock.getsockname()[1] for name, sock in (("rest", rest), ("websocket", websocket), ("operations", operations))}
    written = options.ready_file.with_suffix(".part")
    written.write_text(json.dumps({**ports, "pid": os.getpid(), "follower_pid": embedded.follower.pid}))
    written.rename(options.ready_file)
    failed, waiting = asyncio.create_task(embedded.failed()), asyncio.create_task(stop.wait())
    await asyncio.wait([failed, waiting], return_when=asyncio.FIRST_COMPLETED)
    await health.stop()
    await embedded.stop()
    if failed.done():
        raise failed.result()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-demo", action="store_true")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--host", required=True)
    for name in ("--rest-port", "--websocket-port", "--operations-port"):
        parser.add_argument(name, type=int, default=0)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
