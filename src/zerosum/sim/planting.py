"""
Plants a fault in a copy of the package, and runs the simulator there, in a process of its own and on the plain core, until it is caught.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import zerosum
from zerosum.sim.mutants import HELPERS, Mutant

PACKAGE: Final = Path(zerosum.__file__).parent
HUNT: Final = """
import json, sys
from zerosum.sim.plan import Plan
from zerosum.sim.run import run
first, last, commands, world = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
steps = 0
for seed in range(first, last):
    result = run(Plan.of(seed, commands, world))
    steps += result.steps
    if result.failure:
        print(json.dumps({"seed": seed, "steps": steps, "failure": result.failure}))
        break
else:
    print(json.dumps({"seed": None, "steps": steps, "failure": ""}))
"""


@final
@dataclass(frozen=True, slots=True)
class Caught:
    """`seed` is None for one that was not."""

    mutant: Mutant
    seed: int | None
    steps: int
    failure: str

    @property
    def finding(self) -> str:
        """The line of the failure that says most."""
        lines = [line for line in self.failure.strip().splitlines() if line.strip() and not line.startswith((" ", "  |", "  +"))]
        return (lines[-1] if lines and "Traceback" in self.failure else lines[0] if lines else "").strip()


def plant(mutant: Mutant, folder: Path) -> None:
    """A copy of the package in a folder, uncompiled, with the fault in it. AssertionError where its text is not there once."""
    shutil.copytree(PACKAGE, folder / "zerosum", ignore=shutil.ignore_patterns("*.so", "__pycache__", "web"))
    path = folder / "zerosum" / mutant.module
    source = path.read_text()
    assert source.count(mutant.old) == 1, f"{mutant.name}: its text is {source.count(mutant.old)} times in {mutant.module}"
    path.write_text(source.replace(mutant.old, mutant.new) + HELPERS.get(mutant.module, ""))


def hunt(mutant: Mutant, folder: Path, seeds: range, commands: int, timeout_s: float) -> Caught:
    """Run seed after seed until a checker finds something."""
    plant(mutant, folder)
    environment = {**os.environ, "PYTHONPATH": str(folder), "ZEROSUM_PURE": "1"}
    arguments = [str(seeds.start), str(seeds.stop), str(commands), mutant.world]
    try:
        done = subprocess.run(
            [sys.executable, "-c", HUNT, *arguments], capture_output=True, text=True, env=environment, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Caught(mutant, seeds.start, 0, f"it does not end within {timeout_s:g} s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        return Caught(mutant, seeds.start, 0, done.stderr or f"exit code {done.returncode}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Caught(mutant, said["seed"], said["steps"], said["failure"])
