"""The page about the simulator names every fault that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerosum.sim.coverage import EXPECTED
from zerosum.sim.faults import AT_OPERATIONS, IN_TIME_S

PAGE = Path(__file__).resolve().parents[3] / "docs" / "internals" / "simulation.md"


@pytest.mark.parametrize("fault", sorted(EXPECTED))
def test_each_fault_is_named(fault: str) -> None:
    assert f"`{fault}`" in PAGE.read_text()


def test_each_fault_is_to_meet_something() -> None:
    assert {*AT_OPERATIONS, *IN_TIME_S} <= {*EXPECTED, "log pruned"}
