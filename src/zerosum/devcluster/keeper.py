"""
Holds the servers of a folder until it is told to end: in a terminal, or as a process in the background.

    folder/lock          held while they run, with the holder's process id
    folder/servers.json  there while they serve: where, and their process ids
    folder/keeper.log    what a holder in the background had to say

    python -m zerosum.devcluster.keeper FOLDER BROKERS       started by `zerosum devcluster up --detach`

Killed, it takes the servers with it: see process.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from zerosum.devcluster.cluster import DevCluster, holder
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.process import ServerFailed
from zerosum.errors import ZerosumError

STATE: Final = "servers.json"
LOG: Final = "keeper.log"
POLL_S: Final = 0.1
END_S: Final = 60.0

ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def hold(folder: Path, brokers: int, report: Callable[[str], None], serving: Callable[[dict[str, Any]], None]) -> None:
    """Until SIGINT, SIGTERM or SIGHUP, or until one of the servers ends by itself: ServerFailed then. In the main thread."""
    servers = DevCluster(folder, brokers, report)
    with told_to_end() as told, servers.running():
        state = servers.folder / STATE
        said = state_of(servers)
        state.write_text(json.dumps(said))
        try:
            serving(said)
            while not told.wait(POLL_S):
                for server in servers.servers:
                    if not server.is_running:
                        raise ServerFailed(f"{server.name} has ended.\n{server.last_words()}")
            report("stopping ...")
        finally:
            state.unlink()


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Set by SIGINT, SIGTERM or SIGHUP. (Blocked signals would be so in the servers, too.) In the main thread."""
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in ENDS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def state_of(servers: DevCluster) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "kafka": servers.kafka_servers,
        "cql": f"{HOST}:{servers.cql_port}",
        "servers": [{"name": each.name, "pid": each.pid, "port": each.port, "log": str(each.log)} for each in servers.servers],
    }


def detach(folder: Path, brokers: int) -> dict[str, Any]:
    """Start a keeper in the background; returns what it says once all serve. ServerFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "zerosum.devcluster.keeper", str(folder), str(brokers)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    while True:
        if process.poll() is not None:
            raise ServerFailed((folder / LOG).read_text(errors="replace").strip())
        found = running(folder)
        if found is not None and found["pid"] == process.pid:
            return found
        time.sleep(POLL_S)


def running(folder: Path) -> dict[str, Any] | None:
    """Where the servers of a folder serve; None if they do not."""
    if not holder(folder):
        return None
    try:
        found: dict[str, Any] = json.loads((folder / STATE).read_text())
    except (FileNotFoundError, ValueError):  # they are starting or stopping
        return None
    return found


def end(folder: Path) -> bool:
    """End the servers of a folder; whether there were any. ServerFailed where they don't end."""
    pid = holder(folder)
    if not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_S
    while holder(folder) == pid:
        if time.monotonic() > deadline:
            raise ServerFailed(f"The servers of {folder}, held by process {pid}, do not end within {END_S:g} s.")
        time.sleep(POLL_S)
    return True


def main() -> int:
    folder, brokers = sys.argv[1:]

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        hold(Path(folder), int(brokers), say, lambda state: say("all serve"))
    except ZerosumError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
