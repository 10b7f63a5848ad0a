"""What counts as flat."""

from __future__ import annotations

import random

import pytest

from zerosum.bench.soak import FLAT_BYTES, Sample, grown, slope_of


def samples(bytes_per_order: float, *, rate: int = 1_000, seconds: int = 600, warm_up_bytes: int = 0) -> list[Sample]:
    """Memory that goes up and down by a megabyte, as allocators do, and rises with the orders."""
    rng = random.Random(1)
    found = []
    for second in range(seconds):
        orders = second * rate
        resident = 80_000_000 + min(1, second / 150) * warm_up_bytes + orders * bytes_per_order + rng.uniform(-500_000, 500_000)
        found.append(Sample(float(second), orders, int(resident)))
    return found


@pytest.mark.parametrize(("leak", "is_flat"), [(0, True), (8, True), (24, False), (100, False)])
def test_what_each_order_leaves_behind_is_found_through_the_noise(leak: float, is_flat: bool) -> None:
    seen = grown(samples(leak), FLAT_BYTES)
    assert seen.is_flat is is_flat
    assert seen.bytes_per_order == pytest.approx(leak, abs=2)


def test_growth_of_the_warm_up_is_not_counted() -> None:
    assert grown(samples(0, warm_up_bytes=50_000_000), FLAT_BYTES).is_flat


def test_memory_that_shrinks_is_flat() -> None:
    assert grown(samples(-50), FLAT_BYTES).is_flat


def test_slope_is_that_of_the_line() -> None:
    assert slope_of([(x, 3 * x + 7) for x in range(10)]) == pytest.approx(3)
    assert slope_of([(1, 5), (1, 9)]) == 0.0
