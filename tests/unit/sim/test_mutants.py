"""Each planted fault still finds the text that it replaces: else it would plant nothing when it is asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

import zerosum
from zerosum.sim.mutants import HELPERS, MUTANTS, Mutant

PACKAGE = Path(zerosum.__file__).parent


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_text_is_there_once(mutant: Mutant) -> None:
    source = (PACKAGE / mutant.module).read_text()
    assert source.count(mutant.old) == 1
    compile(source.replace(mutant.old, mutant.new) + HELPERS.get(mutant.module, ""), mutant.module, "exec")


def test_they_have_names_of_their_own_and_are_enough() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25
