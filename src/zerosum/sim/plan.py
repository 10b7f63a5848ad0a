"""
A run, as its seed has it: how large the cluster is, how much is asked of it, and which faults are left out to find those that matter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, final

from zerosum.sim.chance import Chance

SHAPES: Final = ((2, 2), (2, 2), (2, 2), (1, 1), (3, 2), (1, 3), (4, 4))
LARGE: Final = (16, 16)


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """`without`: kinds of faults, and `off`: numbers of faults, that do not happen."""

    seed: int
    shards: int
    partitions: int
    gateways: int
    standbys: bool
    workers: int
    commands: int
    flavour: str
    without: frozenset[str] = frozenset()
    off: frozenset[int] = frozenset()

    @classmethod
    def of(cls, seed: int, commands: int) -> Plan:
        random = Chance(seed).source("plan")
        shards, partitions = LARGE if random.random() < 0.02 else random.choice(SHAPES)
        return cls(
            seed, shards, partitions, gateways=random.choice((1, 2, 2, 3)), standbys=random.random() < 0.5,
            workers=random.choice((1, 4, 16, 64)), commands=commands, flavour=random.choice(("usual", "usual", "usual", "extreme")),
        )  # fmt: skip

    def but(self, **changes: Any) -> Plan:
        return replace(self, **changes)

    def text(self) -> str:
        fields = asdict(self)
        fields["without"], fields["off"] = sorted(self.without), sorted(self.off)
        return " ".join(f"{name}={value}" for name, value in fields.items() if value not in ([], ""))
