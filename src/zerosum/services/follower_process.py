"""
The follower as a process: `python -m zerosum.services.follower_process --data DIR --link FD`, started by the exchange.

    exchange --{"durable": n}--> follower          one message under way at a time: the follower asks for more by answering
    exchange <--{"settled": n, "snapshots_from": m}-- follower       m: the oldest snapshot that is kept
    exchange --{"stop": true}--> follower          settle the rest, take a snapshot, end
    exchange <--{"fault": text}- follower          it can't go on: the exchange is to stop too

When the exchange is gone the link is closed: what it last called durable is settled, and the follower ends. Until then it holds a lock, and
the next exchange's follower waits for that. On a full disk, or while the database is locked, it answers with less than it was
told, and is told again.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import IO, Any, Final

from zerosum.errors import ZerosumError
from zerosum.services.collector import keep_collections_short
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower, SnapshotPolicy, can_wait

EXIT_FAULT: Final = 3
RETRY_S: Final = 1.0  # before what the disk or a lock held up is tried again


def run(data: DataDir, link: socket.socket, policy: SnapshotPolicy) -> None:
    follower = opened(data, link, policy)
    if follower is None:
        return
    lines = link.makefile("rb")
    try:
        follower.follow(follower.settled_sequence)  # what is settled is this log's, or the exchange is not to start
        keep_collections_short()
        send(link, follower.progress())
        for line in lines:
            message = json.loads(line)
            held_up = follower.held_up_by is not None
            follower.follow(int(message["durable"]), stopped=bool(message.get("stop")))
            if follower.held_up_by is not None:
                if not held_up:
                    complain(f"{follower.held_up_by} It is tried again until it can be.")
                time.sleep(RETRY_S)
            if message.get("stop"):
                if follower.held_up_by is None:
                    follower.take_snapshot()
                send(link, {**follower.progress(), "stopped": True})
                return
            send(link, follower.progress())
    except ConnectionError:
        return  # the exchange ended before it had heard the answer; everything it called durable is settled
    finally:
        follower.close()


def opened(data: DataDir, link: socket.socket, policy: SnapshotPolicy) -> Follower | None:
    """Once the disk has room and nobody else holds the database; None if the exchange ends before that."""
    told = False
    while True:
        try:
            return Follower(data, policy=policy, report=complain)
        except ZerosumError as error:
            if not can_wait(error):
                raise
            if not told:
                complain(f"{error} It is tried again until it can be.")
                told = True
        if select.select([link], [], [], RETRY_S)[0] and not link.recv(1, socket.MSG_PEEK):
            return None


def wait_for_the_last(lock: IO[str]) -> None:
    """The follower of an exchange that was killed may be settling still. Two at a time would write over each other's work."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        complain(f"{lock.name}: the last exchange's follower has not ended yet; this one waits for it.")
        fcntl.flock(lock, fcntl.LOCK_EX)


def send(link: socket.socket, message: dict[str, Any]) -> None:
    link.sendall(json.dumps(message).encode() + b"\n")


def complain(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="The embedded exchange's follower. Started by the exchange, not by hand.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--link", type=int, required=True, help="file descriptor of the socket to the exchange")
    parser.add_argument("--snapshot-every", type=int, default=SnapshotPolicy.every_records)
    parser.add_argument("--snapshots-kept", type=int, default=SnapshotPolicy.keep)
    options = parser.parse_args()
    # Ctrl-C in a terminal, its end, or a supervisor's stop goes to the whole group: the exchange decides when its follower ends.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    data = DataDir(options.data)
    with socket.socket(fileno=options.link) as link:
        try:
            with data.follower_lock.open("a") as lock:
                wait_for_the_last(lock)
                run(data, link, SnapshotPolicy(options.snapshot_every, options.snapshots_kept))
        except Exception as error:  # noqa: BLE001  whatever it is, this process can't go on, and the exchange must not without it
            told = f"{type(error).__name__}: {error}"
            complain(told if isinstance(error, ZerosumError) else "".join(traceback.format_exception(error)))
            with contextlib.suppress(ConnectionError):
                send(link, {"fault": told})
            return EXIT_FAULT
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
