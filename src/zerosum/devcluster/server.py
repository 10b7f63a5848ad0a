"""
One Java process of a server: started, waited for, ended.

    Program (jars, options, main class) --> Server --start--> java ... --ready()--> serves       its output: <folder>/log

Always true: it ends when the process that started it ends, however that comes about (a parent-death signal: Linux only). That is the
thread's that starts it, to be exact: start servers in a process's main thread.

Java starts three times as fast with an archive of the classes that it loads. The first clean stop writes it into the cache.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, final

from zerosum.devcluster import jars
from zerosum.errors import ZerosumError

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1",)
"""For Java: to compile quickly, and not well. What it compiles otherwise pays for itself after some half a minute of load."""
READY_S: Final = 120.0
STOP_S: Final = 30.0
POLL_S: Final = 0.02
LOG_SHOWN_LINES: Final = 40


class ServerFailed(ZerosumError):
    """A server could not be started, or ended by itself; with the end of what it said."""


@dataclass(frozen=True, slots=True)
class Java:
    """A server's jars, and how Java is to run them."""

    library: Path
    options: tuple[str, ...] = SHORT_LIVED


@dataclass(frozen=True, slots=True)
class Program:
    """What Java is told: `options`, the same for all servers of a kind, then its `own`; `arguments` come behind the main class."""

    name: str
    jars: Path
    options: tuple[str, ...]
    own: tuple[str, ...]
    main_class: str
    arguments: tuple[str, ...] = ()


@final
class Server:
    """`port`: what clients reach it at."""

    def __init__(self, name: str, program: Program, folder: Path, port: int, is_ready: Callable[[], bool]) -> None:
        self.name = name
        self.port = port
        self.log = folder / "log"
        self._program = program
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None
        self._archive: Path | None = None  # of classes, written when it ends
        self._log_start = 0  # where what it says this time begins

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns at once: see `wait`. ServerFailed."""
        assert not self.is_running, "it is started once at a time"
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )  # fmt: skip
            except FileNotFoundError as error:
                raise ServerFailed("Java is needed to run the servers: install it (on Debian openjdk-17-jre-headless).") from error

    def _command(self) -> list[str]:
        program = self._program
        archive = jars.cache() / "classes" / f"{program.name}-{archive_key(program)}.jsa"
        archive.parent.mkdir(parents=True, exist_ok=True)
        if archive.exists():
            self._archive = None
            classes = [f"-XX:SharedArchiveFile={archive}"]
        else:
            self._archive = archive
            classes = [f"-XX:ArchiveClassesAtExit={self._draft_of(archive)}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        return [
            *dies_with_parent(), "java", *classes, *program.options, *program.own, "-cp", jars.class_path(program.jars), program.main_class,
            *program.arguments,
        ]  # fmt: skip

    def wait(self, limit_s: float = READY_S) -> None:
        """Until it serves. ServerFailed."""
        deadline = time.monotonic() + limit_s
        while not self._is_ready():
            if not self.is_running:
                raise ServerFailed(f"{self.name} ended while it started.\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} does not serve after {limit_s:g} s.\n{self.last_words()}")
            time.sleep(POLL_S)

    def last_words(self) -> str:
        """The end of what it said since it was started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-LOG_SHOWN_LINES:]])

    def stop(self) -> None:
        """Cleanly; by force if that takes too long."""
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._archive is not None and self._draft_of(self._archive).exists():
            self._draft_of(self._archive).rename(self._archive)

    def _draft_of(self, archive: Path) -> Path:
        """Where it is written: several servers may be at it."""
        return archive.with_name(f"{archive.name}.{self.port}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def archive_key(program: Program) -> str:
    """Of what an archive of classes is good for."""
    said = "\n".join((java_version(), jars.class_path(program.jars), *program.options))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


@cache
def java_version() -> str:
    try:
        return subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise ServerFailed("Java is needed to run the servers: install it (on Debian openjdk-17-jre-headless).") from error


@cache
def dies_with_parent() -> tuple[str, ...]:
    """Put before a command, it is killed when the thread that started it ends."""
    if sys.platform != "linux":
        return ()
    if shutil.which("setpriv") is None:
        raise ServerFailed("setpriv is needed, so that no server outlives whoever started it: install it (on Debian util-linux).")
    return ("setpriv", "--pdeathsig", "KILL", "--")
