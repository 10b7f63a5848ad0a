"""
The exchange's end of its follower: starts it, tells it what is durable, hears what is settled, starts it again when it dies.

Always true: one message is under way at a time, so a slow follower costs no memory here. A follower that says it can't go on (its core
gave other output than ours, its database is damaged) stops the exchange: see `fault`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final, final

from zerosum.errors import ZerosumError
from zerosum.services.child_environment import child_environment
from zerosum.services.datadir import DataDir
from zerosum.services.follower import SnapshotPolicy

RESTART_S: Final = 0.5
STARTS_MAX: Final = 5  # without a word from it
STOP_S: Final = 60.0
POLL_S: Final = 0.01
PACE_S: Final = 0.01  # between two messages: a message for every group would have a transaction for every few orders


class FollowerFailed(ZerosumError):
    """The follower said that it can't go on, and why."""


@final
class FollowerLink:
    def __init__(
        self, data: DataDir, policy: SnapshotPolicy, settled: Callable[[int], None], snapshots_from: Callable[[int], None],
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        self.restarts = 0
        self.pid = 0
        self.fault: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._data = data
        self._policy = policy
        self._settled = settled
        self._snapshots_from = snapshots_from
        self._warn = warn
        self._durable = 0
        self._settled_to = 0
        self._ended = ""  # how it did, last
        self._told = 0
        self._writer: asyncio.StreamWriter | None = None
        self._waiting = False  # the follower has answered, and waits for more
        self._stopping = False
        self._pause: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Returns once the follower has opened its database and said how far it is; raises FollowerFailed if it can't."""
        self._task = asyncio.create_task(self._keep_running(), name="follower")
        await self._ready.wait()
        if self.fault.done():
            fault = self.fault.result()
            assert fault is not None, "a fault has a reason"
            raise fault

    def durable(self, sequence: int) -> None:
        self._durable = sequence
        self._tell()

    async def stop(self) -> None:
        """Let it settle the rest and take a snapshot, and wait for its end."""
        self._stopping = True
        self._tell()
        if self._task is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._task, STOP_S)

    def _tell(self) -> None:
        if self._writer is None or not self._waiting:
            return
        if self._pause is not None and not self._stopping:
            return  # it is told when that is over
        if self._durable > self._told or self._stopping:
            self._waiting = False
            self._told = self._durable
            self._pause = asyncio.get_running_loop().call_later(PACE_S, self._go_on)
            message: dict[str, Any] = {"durable": self._durable}
            if self._stopping:
                message["stop"] = True
            self._writer.write(json.dumps(message).encode() + b"\n")

    def _go_on(self) -> None:
        self._pause = None
        self._tell()

    async def _keep_running(self) -> None:
        while True:
            try:
                await self._run_once()
            except OSError as error:  # no memory, no descriptor: for now, if it ran before
                if not self._ready.is_set():
                    self._fail(f"could not be started: {error}")
                self._ended = f"could not be started: {error}"
            except Exception as error:  # noqa: BLE001  what it says makes no sense
                self._fail(f"said what can't be understood: {type(error).__name__}: {error}")
            if self._stopping or self.fault.done():
                return
            self.restarts += 1
            self._warn(f"the follower {self._ended}, and is started again; {self._settled_to:,} commands are settled")
            if not self._ready.is_set() and self.restarts >= STARTS_MAX:
                self._fail(f"ended {self.restarts} times before it could say how far it is; what it wrote to stderr says why")
                return
            await asyncio.sleep(RESTART_S)

    async def _run_once(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            process = self._spawn(theirs)
            self.pid = process.pid
            reader, self._writer = await asyncio.open_connection(sock=ours)
            undo.pop_all()  # the writer closes it
        self._told = 0
        try:
            async for line in reader:
                self._hear(json.loads(line))
        except ConnectionError:
            pass  # killed: its end is seen below
        finally:
            self._waiting = False
            self._writer.close()
            self._writer = None
            while process.poll() is None:  # noqa: ASYNC110  the link is closed: it is about to end
                await asyncio.sleep(POLL_S)
            self._ended = how_it_ended(process.returncode)

    def _spawn(self, link: socket.socket) -> subprocess.Popen[bytes]:
        # By subprocess, which does not copy this process to start another (vfork). asyncio would: the address space that the machines
        # reserve is more than many systems allow to be there twice, and the exchange would stall for as long as the copy takes.
        return subprocess.Popen(
            [
                sys.executable, "-m", "zerosum.services.follower_process", "--data", str(self._data.root), "--link", str(link.fileno()),
                "--snapshot-every", str(self._policy.every_records), "--snapshots-kept", str(self._policy.keep),
            ],
            pass_fds=[link.fileno()],
            env=child_environment(),
        )  # fmt: skip

    def _fail(self, why: str) -> None:
        if not self.fault.done():
            self.fault.set_result(FollowerFailed(why))
        self._ready.set()

    def _hear(self, message: dict[str, Any]) -> None:
        if "fault" in message:
            self._fail(message["fault"])
            return
        settled = self._settled_to = int(message["settled"])
        self._settled(settled)
        self._told = min(self._told, settled)  # a full disk held it up: it is told again
        if message.get("snapshots_from"):
            self._snapshots_from(int(message["snapshots_from"]))
        self._ready.set()
        if not message.get("stopped"):
            self._waiting = True
            self._tell()


def how_it_ended(code: int) -> str:
    return f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"
