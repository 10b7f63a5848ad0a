"""
One service of a cluster as a process of its own: `zerosum run ...`, started, waited for, watched, ended.

    folder/<name>/        its data directory            folder/<name>.log     what it said
    folder/<name>.ready   there while it serves: where

Like the servers, it is killed when the thread that started it ends.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, final

from prometheus_client.parser import text_string_to_metric_families

from zerosum.devcluster.process import Process, clean_environment

READY_S: Final = 60.0
ASK_S: Final = 5.0
LISTENERS: Final = {"gateway": ("rest", "websocket", "operations"), "admin": ("admin", "operations")}


@final
class Service(Process):
    """`role`: as `zerosum run` names it; `options`, `environment`: for it."""

    def __init__(
        self, name: str, role: str, folder: Path, config: Path, options: tuple[str, ...] = (), environment: dict[str, str] | None = None
    ) -> None:  # fmt: skip
        super().__init__(name, folder / f"{name}.log")
        self.role = role
        self.data = folder / name
        self._ready_file = folder / f"{name}.ready"
        self._config = config
        self._options = options
        self._environment = {**clean_environment(), **(environment or {})}

    def start(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        ports = [option for each in LISTENERS.get(self.role, ("operations",)) for option in (f"--{each}-port", "0")]
        command = [
            sys.executable, "-m", "zerosum.cli.main", "run", self.role, "--config", str(self._config), "--data", str(self.data),
            "--ready-file", str(self._ready_file), *ports, *self._options,
        ]  # fmt: skip
        self.run(command, self._environment)

    def is_ready(self) -> bool:
        return self._ready_file.exists()

    def wait(self, limit_s: float = READY_S) -> None:
        super().wait(limit_s)

    def ports(self) -> dict[str, int]:
        """By listener."""
        found: dict[str, int] = json.loads(self._ready_file.read_text())
        return found

    def kill(self) -> None:
        super().kill()
        self._ready_file.unlink(missing_ok=True)

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
