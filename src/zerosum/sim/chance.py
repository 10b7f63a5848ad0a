"""
What is random in a run: one seed, and from it a source for each thing that is drawn, so that one thing drawn more often changes no other.
"""

from __future__ import annotations

from random import Random
from typing import final


@final
class Chance:
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def source(self, name: str) -> Random:
        """Always the same for one name."""
        return Random(f"{self.seed} {name}")


def delay_s(random: Random, mean_s: float) -> float:
    """Mostly near the mean, now and then many times as much."""
    return min(random.expovariate(1 / mean_s), 20 * mean_s)
