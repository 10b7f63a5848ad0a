"""A real `zerosum up`, in a process of its own, on free ports of 127.0.0.1."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.secured import Secured

ZEROSUM = [sys.executable, "-m", "zerosum.cli.main"]
START_S = 60.0
STOP_S = 60.0


@dataclass
class Running:
    """`ports` by listener: rest, websocket, operations. What it prints goes to `output`. With `tls` the first two speak that."""

    process: subprocess.Popen[bytes]
    data: Path
    ports: dict[str, int]
    follower_pid: int
    output: Path
    tls: Secured | None = None

    @property
    def base_url(self) -> str:
        return f"http{'s' if self.tls is not None else ''}://127.0.0.1:{self.ports['rest']}"

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """For httpx."""
        return self.tls.client if self.tls is not None else True

    def get(self, path: str, **params: Any) -> Any:
        return httpx.get(self.base_url + path, params=params, timeout=10, verify=self.verify).json()

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.ports['operations']}/metrics", timeout=10).text

    def signed(self, method: str, path: str, key: dict[str, str], **params: Any) -> httpx.Response:
        query = urllib.parse.urlencode({**params, "timestamp": time.time_ns() // 1_000_000})
        signature = hmac.new(key["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        url = f"{self.base_url}{path}?{query}&signature={signature}"
        return httpx.request(method, url, headers={"X-MBX-APIKEY": key["api_key"]}, timeout=10, verify=self.verify)

    def wait_for_bids(self) -> None:
        """The demo market's bots begin once it serves."""
        deadline = time.monotonic() + START_S
        while not self.get("/api/v3/depth", symbol="BTCUSDT")["bids"]:
            assert time.monotonic() < deadline, "nobody bids"
            time.sleep(0.02)

    def stop(self) -> int:
        """As Ctrl-C does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_S)


@contextmanager
def running(data: Path, *arguments: str, tls: Secured | None = None, settings: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Started and ready; ended at the end, however that comes about. `settings` by their variables."""
    environment = {**os.environ, "COLUMNS": "200", **(settings or {}), **(tls.environment if tls is not None else {})}
    ready = data.with_name(data.name + ".ready")
    output = data.with_name(data.name + ".output")
    ready.unlink(missing_ok=True)
    free = ["--rest-port", "0", "--websocket-port", "0", "--operations-port", "0", "--admin-port", "0"]
    with output.open("wb") as out:
        command = [*ZEROSUM, "up", "--data", str(data), "--ready-file", str(ready), *free, *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None, f"zerosum up ended with {process.returncode}:\n{output.read_text()}"
            assert time.monotonic() < deadline, f"zerosum up is not ready after {START_S} s:\n{output.read_text()}"
            time.sleep(0.02)
        told = json.loads(ready.read_text())
        ports = {name: told[name] for name in ("rest", "websocket", "operations", "admin")}
        yield Running(process, data, ports, told["follower_pid"], output, tls)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def zerosum(*arguments: str, expect: int = 0) -> str:
    """Run the command line; what it printed. Fails with its words when the exit code is another."""
    done = subprocess.run([*ZEROSUM, *arguments], capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == expect, f"exit code {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout if expect == 0 else done.stderr
