"""
One service of a cluster as a process of its own: `zerosum run ...`, started, waited for, watched, ended.

    folder/<name>/        its data directory            folder/<name>.log     what it said
    folder/<name>.ready   there while it serves: where

Like the servers, it is killed when the thread that started it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, final

from prometheus_client.parser import text_string_to_metric_families

from zerosum.devcluster.server import LOG_SHOWN_LINES, POLL_S, ServerFailed, dies_with_parent

READY_S: Final = 60.0
STOP_S: Final = 30.0
ASK_S: Final = 5.0
LISTENERS: Final = {"gateway": ("rest", "websocket", "operations")}


@final
class Service:
    """`role`: as `zerosum run` names it; `options`, `environment`: for it."""

    def __init__(
        self, name: str, role: str, folder: Path, config: Path, options: tuple[str, ...] = (), environment: dict[str, str] | None = None
    ) -> None:  # fmt: skip
        self.name = name
        self.role = role
        self.data = folder / name
        self.log = folder / f"{name}.log"
        self._ready_file = folder / f"{name}.ready"
        self._config = config
        self._options = options
        self._environment = {**clean_environment(), **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

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

    def start(self) -> None:
        """Returns at once: see `wait`."""
        assert not self.is_running, "it is started once at a time"
        self._ready_file.unlink(missing_ok=True)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        ports = [option for each in LISTENERS.get(self.role, ("operations",)) for option in (f"--{each}-port", "0")]
        command = [
            *dies_with_parent(), sys.executable, "-m", "zerosum.cli.main", "run", self.role, "--config", str(self._config), "--data",
            str(self.data), "--ready-file", str(self._ready_file), *ports, *self._options,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=self._environment
            )  # fmt: skip

    def wait(self, limit_s: float = READY_S) -> None:
        """Until it serves. ServerFailed."""
        deadline = time.monotonic() + limit_s
        while not self._ready_file.exists():
            if not self.is_running:
                raise ServerFailed(f"{self.name} ended with exit code {self.exit_code} while it started.\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} does not serve after {limit_s:g} s.\n{self.last_words()}")
            time.sleep(POLL_S)

    def ports(self) -> dict[str, int]:
        """By listener."""
        found: dict[str, int] = json.loads(self._ready_file.read_text())
        return found

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
        self._ready_file.unlink(missing_ok=True)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    # ------------------------------------------------------------------ asking

    def health(self) -> dict[str, Any]:
        """What /readyz says. OSError where nobody answers."""
        try:
            with self._asked("readyz") as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        return found

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels. OSError where nobody answers, KeyError for one that there is not."""
        with self._asked("metrics") as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        values = [sample.value for family in families for sample in family.samples if sample.name == name]
        if not values:
            raise KeyError(f"{self.name} has no metric {name}")
        return float(sum(values))

    def _asked(self, page: str) -> Any:
        return urllib.request.urlopen(f"http://127.0.0.1:{self.ports()['operations']}/{page}", timeout=ASK_S)

    def last_words(self) -> str:
        """The end of what it said since it was started."""
        return "\n".join([f"The end of {self.log}:", *self.said().splitlines()[-LOG_SHOWN_LINES:]])

    def said(self) -> str:
        """Since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")


def clean_environment() -> dict[str, str]:
    """What is set for another exchange is not meant for this one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ZEROSUM_") or name == "ZEROSUM_PURE"}
