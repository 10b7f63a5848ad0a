"""
The follower as a process: `python -m zerosum.services.follower_process --data DIR --link FD`, started by the exchange.

    exchange --{"durable": n}--> follower          one message under way at a time: the follower asks for more by answering
    exchange <--{"settled": n, "snapshots_from": m}-- follower       m: the oldest snapshot that is kept
    exchange --{"stop": true}--> follower          settle the rest, take a snapshot, end
    exchange <--{"fault": text}- follower          it can't go on: the exchange is to stop too

When the exchange is gone the link is closed: what it last called durable is settled, and the follower ends.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from zerosum.errors import ZerosumError
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy

EXIT_FAULT = 3


def run(data: DataDir, link: socket.socket, policy: SnapshotPolicy) -> None:
    follower = Follower(data, policy=policy, report=complain)
    lines = link.makefile("rb")
    try:
        send(link, follower.progress())
        for line in lines:
            message = json.loads(line)
            follower.follow(int(message["durable"]))
            if message.get("stop"):
                follower.take_snapshot()
                send(link, {**follower.progress(), "stopped": True})
                return
            send(link, follower.progress())
    except BrokenPipeError:
        return  # the exchange ended while it was being answered; everything it called durable is settled
    finally:
        follower.close()


def send(link: socket.socket, message: dict[str, Any]) -> None:
    link.sendall(json.dumps(message).encode() + b"\n")


def complain(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="The embedded exchange's follower. Started by the exchange, not by hand.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--link", type=int, required=True, help="file descriptor of the socket to the exchange")
    parser.add_argument("--snapshot-every", type=int, default=SnapshotPolicy.every_records)
    parser.add_argument("--snapshots-kept", type=int, default=SnapshotPolicy.keep)
    options = parser.parse_args()
    # Ctrl-C in a terminal goes to the whole group: the exchange decides when its follower ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=options.link) as link:
        try:
            run(DataDir(options.data), link, SnapshotPolicy(options.snapshot_every, options.snapshots_kept))
        except (ZerosumError, AssertionError) as error:
            send(link, {"fault": f"{type(error).__name__}: {error}"})
            complain(f"{type(error).__name__}: {error}")
            return EXIT_FAULT
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
