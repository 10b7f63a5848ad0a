"""Two minutes of the simulator from a seed that nobody chose. The seed, and how far it came, are printed at the end of the tests."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from zerosum.sim.campaign import campaign

SLICE_S = 120.0


@pytest.mark.timeout(280)
def test_nothing_is_found_in_two_minutes(record_property: Callable[[str, object], None]) -> None:
    seed = secrets.randbelow(10**9)
    tally = campaign(seed, seconds=SLICE_S, commands=600)
    said = (
        f"{tally.runs} runs from seed {seed}, {tally.steps:,} role steps ({tally.steps_per_second:,.0f} a second), {tally.faults:,} faults"
    )
    record_property("told at the end", f"simulated: {said}")
    failed = tally.failed
    assert failed is None, f"{said}\n{failed.plan.text()}\n{failed.failure}\n" + "\n".join(failed.trace)
