"""The simulator from the command line: what it prints, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zerosum.sim.shrink import kind_of

ZEROSUM = Path(sys.executable).parent / "zerosum"


def simulate(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ZEROSUM, "simulate", *arguments], capture_output=True, text=True, cwd=folder, timeout=200, check=False)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_is_told_what_was_asked_and_what_was_met(tmp_path: Path) -> None:
    done = simulate("--seed", "5", "--steps", "20000", "--commands", "200", "--jobs", "1", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["first_seed"], said["commands"], said["failed"]) == (5, 200, None)
    assert sum(each["times"] for each in said["met"]) == said["faults"]
    assert said["role_steps"] >= 20_000


def test_what_was_to_be_met_and_was_not_fails_only_if_it_was_asked_for(tmp_path: Path) -> None:
    arguments = ("--seed", "5", "--steps", "2000", "--commands", "100", "--jobs", "1")
    assert simulate(*arguments, folder=tmp_path).returncode == 0
    asked = simulate(*arguments, "--least", "100000", folder=tmp_path)
    assert asked.returncode == 1
    assert "too seldom: slow read, ubscore, restoring" in asked.stdout


@pytest.mark.parametrize("text", ["nonsense", "{}", "[]", '{"seed": 1}'])
def test_a_plan_that_is_none(text: str, tmp_path: Path) -> None:
    done = simulate("--again", text, folder=tmp_path)
    assert done.returncode == 2
    assert "Invalid value for --again: this is no plan" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_its_processes_end_with_it(how: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen([ZEROSUM, "simulate", "--jobs", "2"], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            until = time.monotonic() + 60
            while len(children := children_of(process.pid)) < 3:  # two workers, and what tracks their resources
                assert time.monotonic() < until, "the workers start"
                time.sleep(0.05)
            time.sleep(1)
            process.send_signal(how)
            process.wait(30)
            while any(map(is_running, children)):
                assert time.monotonic() < until + 60, f"of {children} some go on"
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)


def test_failures_of_one_kind() -> None:
    traceback = "Traceback (most recent call last):\n  File x\nzerosum.log.sequences.Gap: events.{}: record 7 is missing"
    assert kind_of(traceback.format(1)) == kind_of(traceback.format(2)) == "zerosum.log.sequences.Gap"
    assert kind_of("gateway.1 shows 7 lots\nand more") == kind_of("gateway.0 shows 9 lots") != kind_of("gateway.1 keeps 7 orders")
