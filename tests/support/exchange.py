"""
An exchange in a process of its own, as a test sees it from outside.

    async with Exchange.on(data) as exchange:
        ready = await exchange.start()
        async with exchange.door() as door:
            events = await door.ask(command)
        await exchange.kill()                   # kill -9; its follower sees it and ends by itself
        ready = await exchange.start()          # on the same data directory

Every process is ended by its id, whatever happens to the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

from tests.support.small_disk import SmallDisk
from zerosum.core import records
from zerosum.gateway.entry import Event
from zerosum.services import admin
from zerosum.services.datadir import DataDir

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
ASK_S = 60.0


class NotTaken(Exception):
    """The exchange refused to take a command, and said why."""


class Ready(NamedTuple):
    sequence: int
    digests: dict[str, str]
    rest_port: int
    follower_pid: int


@final
class Door:
    """One connection to the operator's door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, command: bytes) -> list[Event]:
        """The account events that a command caused. NotTaken; IncompleteReadError or ConnectionError when the exchange is gone."""
        self.send(command)
        return await asyncio.wait_for(self.reply(), ASK_S)

    def send(self, command: bytes) -> None:
        """Without waiting for the reply."""
        self.writer.write(admin.LENGTH.pack(len(command)) + command)

    async def reply(self) -> list[Event]:
        size = await self._length()
        if size:
            return list(records.records(await self.reader.readexactly(size)))
        why = await self.reader.readexactly(await self._length())
        if why:
            raise NotTaken(why.decode())
        return []

    async def _length(self) -> int:
        (length,) = struct.unpack("<I", await self.reader.readexactly(4))
        assert isinstance(length, int)
        return length


@asynccontextmanager
async def door_of(data: DataDir) -> AsyncIterator[Door]:
    reader, writer = await asyncio.open_unix_connection(data.root / admin.NAME)
    try:
        yield Door(reader, writer)
    finally:
        writer.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@final
class Exchange:
    def __init__(self, data: DataDir, *options: str, disk: SmallDisk | None = None) -> None:
        """`data`: as the test sees it. On a small disk, that is from outside; the exchange sees it from inside."""
        self.data = data
        self._root = data.root if disk is None else disk.path / data.root.relative_to(disk.outside)
        self._prefix = [] if disk is None else disk.inside
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.followers: set[int] = set()
        self._errors = (data.root if disk is None else disk.path).with_name(f"{data.root.name}.stderr")

    @classmethod
    @asynccontextmanager
    async def on(cls, data: DataDir, *options: str, disk: SmallDisk | None = None) -> AsyncIterator[Exchange]:
        exchange = cls(data, *options, disk=disk)
        try:
            yield exchange
        except BaseException as error:
            error.add_note(f"stderr of the exchange:\n{exchange.errors()}")
            raise
        finally:
            await exchange.kill()
            await exchange.followers_end()

    @property
    def pid(self) -> int:
        assert self.process is not None, "the exchange was started"
        return self.process.pid

    def errors(self) -> str:
        """Everything that exchange and follower have written to stderr."""
        return self._errors.read_text() if self._errors.exists() else ""

    def begin(self) -> None:
        """Start the process, and wait for nothing."""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
        command = [*self._prefix, sys.executable, "-m", "tests.support.exchange_process", "--data", str(self._root), *self.options]
        with self._errors.open("ab") as errors:
            # Not by asyncio, which would copy this process, and with it the address space of all machines of all tests before.
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, env=environment)

    async def start(self) -> Ready:
        """Start it, and wait until it serves."""
        self.begin()
        ready = Ready(**(await self.message())["ready"])
        self.followers.add(ready.follower_pid)
        return ready

    async def message(self) -> dict[str, Any]:
        """The next that it says."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), START_S)
        assert line, f"the exchange ended instead:\n{self.errors()}"
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    async def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        assert self.process is not None
        async with asyncio.timeout(START_S):
            while (code := self.process.poll()) is None:  # noqa: ASYNC110  another process does it
                await asyncio.sleep(0.005)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    async def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            await self.ended()

    def kill_follower(self, pid: int) -> None:
        """kill -9 of its follower; the next one is ended with the exchange."""
        os.kill(pid, signal.SIGKILL)

    async def stop(self) -> int:
        """End it cleanly; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def followers_end(self) -> None:
        """A follower whose exchange is gone ends by itself. One that does not is ended here, and the test fails."""
        for _ in range(3000):
            if not any(is_running(pid) for pid in self.followers):
                return
            await asyncio.sleep(0.01)
        left = [pid for pid in self.followers if is_running(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        raise AssertionError(f"followers {left} did not end")
