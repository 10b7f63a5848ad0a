"""
An exchange in processes of its own, to be driven and killed, and what those processes cost.

    start --> exchange, its follower --> ready file: ports and process ids
    stop (SIGINT), kill (SIGKILL) --> start again on the same data

Always true: every process started here is ended here, by its id.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, final

from zerosum.errors import ZerosumError
from zerosum.services.datadir import DataDir

HOST: Final = "127.0.0.1"
START_S: Final = 60.0
STOP_S: Final = 90.0
POLL_S: Final = 0.02

# One client does here what many do elsewhere, from one address: so the allowances, which are per client, are not to be what is measured.
UNBOUND: Final[Mapping[str, str]] = {
    "ZEROSUM_ALLOWANCE_WEIGHT_PER_MINUTE": "1000000000",
    "ZEROSUM_ALLOWANCE_KEY_WEIGHT_PER_MINUTE": "1000000000",
    "ZEROSUM_ALLOWANCE_ORDERS_PER_10_SECONDS": "100000000",
    "ZEROSUM_ALLOWANCE_ORDERS_PER_DAY": "1000000000",
    "ZEROSUM_WEBSOCKET_MESSAGES_PER_S_MAX": "1000000",
}


class ExchangeFailed(ZerosumError):
    """The exchange did not start, or did not stop."""


class Ready(NamedTuple):
    """What a running exchange says of itself."""

    rest: int
    websocket: int
    operations: int
    admin: int
    pid: int
    follower_pid: int


class Usage(NamedTuple):
    """Of a process: CPU since its start, and what it has in memory now."""

    cpu_s: float
    resident_bytes: int


@final
class ExchangeProcess:
    """`zerosum up --no-demo` on a data directory, at free ports. What it says goes to DIR/exchange.out."""

    def __init__(self, data: DataDir, settings: Mapping[str, str] = UNBOUND) -> None:
        """`settings` by their names in the environment."""
        self.data: Final = data
        self.ready: Ready
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.is_running:
            if kind is None:
                self.stop()
            else:
                self.kill()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns once it takes orders. ExchangeFailed, with what it said."""
        assert not self.is_running, "an exchange is started once at a time"
        self.data.root.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix="zerosum-ready-")
        os.close(descriptor)
        ready_file = Path(name)
        ready_file.unlink()
        options = ["--no-demo", "--data", str(self.data.root), "--ready-file", str(ready_file)]
        ports = ["--rest-port", "0", "--websocket-port", "0", "--operations-port", "0", "--admin-port", "0"]
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "zerosum.cli.main", "up", *options, *ports],
                env={**os.environ, **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            self.ready = self._told_in(ready_file)
        except BaseException:
            self.kill()
            raise
        finally:
            ready_file.unlink(missing_ok=True)

    def _told_in(self, ready_file: Path) -> Ready:
        deadline = time.monotonic() + START_S
        while not ready_file.exists():
            if not self.is_running or time.monotonic() > deadline:
                raise ExchangeFailed(f"The exchange on {self.data.root} did not start:\n{self.said()}")
            time.sleep(POLL_S)
        return Ready(**json.loads(ready_file.read_text()))

    def stop(self) -> None:
        """Ctrl-C, and wait until everything is settled. ExchangeFailed when it does not end well."""
        assert self._process is not None, "what is stopped was started"
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ExchangeFailed(f"The exchange on {self.data.root} did not stop within {STOP_S:g} s:\n{self.said()}") from None
        if code != 0:
            raise ExchangeFailed(f"The exchange on {self.data.root} ended with exit code {code}:\n{self.said()}")

    def kill(self) -> None:
        """kill -9 of the exchange. Its follower is left to find out by itself."""
        assert self._process is not None, "what is killed was started"
        self._process.kill()
        self._process.wait()

    def kill_follower(self) -> None:
        """kill -9 of the follower, as it is now."""
        os.kill(self.follower_pid(), signal.SIGKILL)

    def follower_pid(self) -> int:
        """Of the follower now: the exchange starts another when one dies. Where there is no /proc, of the first."""
        children = Path(f"/proc/{self.ready.pid}/task/{self.ready.pid}/children")
        if not children.exists():
            return self.ready.follower_pid
        for pid in children.read_text().split():
            if b"follower_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        raise ExchangeFailed("The exchange has no follower now.")

    @property
    def output(self) -> Path:
        return self.data.root / "exchange.out"

    def said(self) -> str:
        return self.output.read_text(errors="replace")[-4000:] if self.output.exists() else ""

    def metric(self, name: str) -> float:
        """A metric without labels, as it is now."""
        with urllib.request.urlopen(f"http://{HOST}:{self.ready.operations}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        raise ExchangeFailed(f"The exchange has no metric {name}.")

    def unsettled(self) -> int:
        """How many commands are applied and not settled yet."""
        return int(self.metric("zerosum_settlement_lag_commands"))

    def wait_until_settled(self, timeout_s: float = 120.0) -> float:
        """Seconds until the settled record held everything applied. ExchangeFailed when that takes too long."""
        began = time.monotonic()
        while (behind := self.unsettled()) > 0:
            if time.monotonic() - began > timeout_s:
                raise ExchangeFailed(f"After {timeout_s:g} s settlement is still {behind} commands behind.")
            time.sleep(POLL_S)
        return time.monotonic() - began


def usage(pid: int) -> Usage:
    """From /proc; zeros where there is none, or no such process any more."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(stat[11]) + int(stat[12])  # user and system
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))
    return Usage(0.0, 0)
