"""
A process of a development cluster: started, waited for, watched, ended. What it says goes into a file.

Always true: it ends when the process that started it ends, however that comes about (a parent-death signal: Linux only). That is the
thread's that starts it, to be exact: start them in a process's main thread.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from zerosum.errors import ZerosumError

STOP_S: Final = 30.0
POLL_S: Final = 0.02
LOG_SHOWN_LINES: Final = 40


class ServerFailed(ZerosumError):
    """A process could not be started, or ended by itself; with the end of what it said."""


class Process(ABC):
    """Started once at a time. `log`: the file of what it says, this time and before."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # where what it says this time begins

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    @abstractmethod
    def start(self) -> None:
        """Returns at once: see `wait`. ServerFailed."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves."""

    def run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """FileNotFoundError."""
        assert not self.is_running, "it is started once at a time"
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_parent(), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=clean_environment() if environment is None else environment,
            )  # fmt: skip

    def wait(self, limit_s: float) -> None:
        """Until it serves. ServerFailed."""
        deadline = time.monotonic() + limit_s
        while not self.is_ready():
            if not self.is_running:
                raise ServerFailed(f"{self.name} ended with exit code {self.exit_code} while it started.\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} does not serve after {limit_s:g} s.\n{self.last_words()}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Cleanly; by force if that takes too long."""
        self.signal(signal.SIGTERM)
        if self._process is not None:
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def said(self) -> str:
        """Since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def last_words(self) -> str:
        return "\n".join([f"The end of {self.log}:", *self.said().splitlines()[-LOG_SHOWN_LINES:]])


def clean_environment() -> dict[str, str]:
    """What is set for another exchange is not meant for this one, and may be secret."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ZEROSUM_") or name == "ZEROSUM_PURE"}


@cache
def dies_with_parent() -> tuple[str, ...]:
    """Put before a command, it is killed when the thread that started it ends."""
    if sys.platform != "linux":
        return ()
    if shutil.which("setpriv") is None:
        raise ServerFailed("setpriv is needed, so that no server outlives whoever started it: install it (on Debian util-linux).")
    return ("setpriv", "--pdeathsig", "KILL", "--")
