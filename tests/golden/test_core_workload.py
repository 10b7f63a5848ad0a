"""The exchange-core workload through the whole core: its published final book, and the same bytes from both builds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zerosum.bench.exchange_core import BOOK_SHA256, COMMANDS
from zerosum.build import core_build

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "zerosum"


def worker(path: Path, cache: Path, commands: int, latency_rate: int) -> dict[str, object]:
    command = [
        sys.executable, "-m", "zerosum.bench.core_worker", "--cache", str(cache), "--commands", str(commands), "--rounds", "1",
        "--latency-rate", str(latency_rate),
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(path)}, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workload")


def test_the_compiled_core_ends_on_the_golden_book(cache: Path) -> None:
    assert core_build().compiled
    result = worker(SOURCE.parent, cache, COMMANDS, 100_000)
    assert result["book_sha256"] == BOOK_SHA256
    assert result["asset_totals"] == [0, 0]
    assert result["trades"] == 122_607, "122,595 while timed, 12 in the prefill"


def test_both_builds_end_in_the_same_state(cache: Path, tmp_path: Path) -> None:
    """30,000 commands: state hash, book, and bytes of events for each command."""
    shutil.copytree(SOURCE, tmp_path / "zerosum", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    compiled = worker(SOURCE.parent, cache, 30_000, 5_000)
    plain = worker(tmp_path, cache, 30_000, 5_000)
    for name in ("state_hash", "book_sha256", "event_bytes_per_command", "trades", "asset_totals"):
        assert compiled[name] == plain[name], name
