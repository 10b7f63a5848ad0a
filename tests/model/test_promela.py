"""
The models in model/*.pml, checked by spin: every state within the bounds for what is right, and an error for each variant that is wrong.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Checked(NamedTuple):
    states: int
    errors: int
    said: str


def check(model: str, options: list[str], folder: Path) -> Checked:
    source = ROOT / "model" / model
    subprocess.run(["spin", "-a", *options, source], cwd=folder, check=True, capture_output=True, timeout=60)
    subprocess.run(["gcc", "-O2", "-DSAFETY", "-DMEMLIM=2000", "-w", "-o", "pan", "pan.c"], cwd=folder, check=True, timeout=120)
    said = subprocess.run(["./pan", "-m200000"], cwd=folder, capture_output=True, text=True, timeout=250, check=False).stdout
    states, errors = re.search(r"(\d+) states, stored", said), re.search(r"errors: (\d+)", said)
    assert states is not None
    assert errors is not None, said
    return Checked(int(states[1]), int(errors[1]), said)


@pytest.mark.parametrize(
    ("model", "options", "states_min"),
    [
        ("hold.pml", [], 100_000),
        ("delivery.pml", ["-DN=2", "-DCRASHES=3", "-DSNAPSHOTS=2"], 5_000_000),
        ("delivery.pml", ["-DN=3", "-DCRASHES=1", "-DSNAPSHOTS=2"], 4_000_000),
        ("delivery.pml", ["-DN=4", "-DPARTS=2", "-DCRASHES=1", "-DSNAPSHOTS=1"], 1_000_000),
    ],
)
def test_the_model_holds_in_every_state(model: str, options: list[str], states_min: int, tmp_path: Path) -> None:
    found = check(model, options, tmp_path)
    assert found.errors == 0, found.said
    assert "reached -DMEMLIM" not in found.said
    assert "max search depth too small" not in found.said
    assert found.states > states_min


@pytest.mark.parametrize(
    ("model", "variant"),
    [
        ("hold.pml", ["-DAT_ONCE"]),  # a hold that is re-priced at once on a move
        ("hold.pml", ["-DON_REQUEST"]),
        ("hold.pml", ["-DTWO_MOVES"]),
        ("delivery.pml", ["-DHIGHEST", "-DRETRY"]),  # the highest number seen instead of the next
        ("delivery.pml", ["-DANY_SNAPSHOT"]),
        ("delivery.pml", ["-DCONTINUE"]),
        ("delivery.pml", ["-DOWN_FIRST"]),
        ("delivery.pml", ["-DBY_MARK", "-DPARTS=3"]),  # parts of a record that are not whole are dropped
    ],
)
def test_a_wrong_variant_is_found(model: str, variant: list[str], tmp_path: Path) -> None:
    bounds = ["-DN=3", "-DCRASHES=2", "-DSNAPSHOTS=2"] if model == "delivery.pml" else []
    assert check(model, [*bounds, *variant], tmp_path).errors == 1
