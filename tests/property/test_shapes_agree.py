"""The embedded exchange and a cluster tell the same story of the same commands, each submitted once the one before is quiet."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.support.shapes import Shapes
from zerosum.build import core_build
from zerosum.sim.programs import SWEEP, USUAL, Program

pytestmark = pytest.mark.both_builds

COMPILED = core_build().compiled
SHAPES = [(1, 1), (2, 2), (3, 2), (1, 4), (16, 16)]
LENGTH = 3_000 if COMPILED else 400


def run(seed: int, flavour: str, shards: int, partitions: int, length: int) -> None:
    shapes = Shapes(shards, partitions)
    for number, step in enumerate(islice(Program(seed, flavour), length)):
        try:
            shapes.apply(step.command)
        except AssertionError as error:
            error.add_note(f"{flavour} program {seed}, {shards} x {partitions}, command {number}")
            raise
    shapes.check()


@pytest.mark.parametrize("seed", range(6) if COMPILED else range(1))
@pytest.mark.parametrize(("shards", "partitions"), SHAPES)
def test_both_shapes_tell_the_same(shards: int, partitions: int, seed: int) -> None:
    run(seed, USUAL, shards, partitions, LENGTH)


def test_sweeps_too() -> None:
    run(0, SWEEP, 2, 2, 4_000)
