"""
A run, as its seed has it: how large the cluster is, how much is asked of it, and which faults are left out to find those that matter.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, final

from zerosum.sim.chance import Chance
from zerosum.sim.faults import AT_OPERATIONS, IN_TIME_S
from zerosum.sim.programs import EXTREME, SWEEP, USUAL

SHARES: Final = (47, 20, 30, 3)  # of worlds
SWEEP_COMMANDS: Final = 8  # times as many: one sweep takes thousands
SHAPES: Final = ((2, 2), (2, 2), (2, 2), (1, 1), (3, 2), (1, 3), (4, 4))
LARGE: Final = (16, 16)
CLUSTER: Final = "cluster"
EMBEDDED: Final = "embedded"
CALM: Final = "calm"  # a cluster in which nothing fails: everything is answered
LOSSY: Final = "lossy"  # a cluster in which one stream, against its promise, loses a message that it had acknowledged


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
    bots: int
    commands: int
    flavour: str
    world: str = CLUSTER
    without: frozenset[str] = frozenset()
    off: frozenset[int] = frozenset()

    @classmethod
    def of(cls, seed: int, commands: int, world: str = "") -> Plan:
        """`world`: drawn, if none is given."""
        random = Chance(seed).source("plan")
        world = world or random.choices((CLUSTER, EMBEDDED, LOSSY, CALM), SHARES)[0]
        if world == LOSSY:
            return cls(seed, 2, 2, 1, False, 4, 0, commands, USUAL, LOSSY, frozenset({*AT_OPERATIONS, *IN_TIME_S}))
        shards, partitions = LARGE if random.random() < 0.02 else random.choice(SHAPES)
        gateways, standbys, workers = random.choice((1, 2, 2, 3)), random.random() < 0.5, random.choice((1, 4, 16, 64))
        bots = random.choice((0, 2, 4))
        flavour = random.choices((USUAL, EXTREME, SWEEP), (75, 23, 2))[0]
        if flavour == SWEEP:
            commands *= SWEEP_COMMANDS
        if world == EMBEDDED:
            shards = partitions = gateways = 1
        without = frozenset({*AT_OPERATIONS, *IN_TIME_S}) if world == CALM else frozenset[str]()
        return cls(seed, shards, partitions, gateways, standbys and world == CLUSTER, workers, bots, commands, flavour, world, without)

    @classmethod
    def of_json(cls, text: str) -> Plan:
        """What `json` gave."""
        fields = json.loads(text)
        return cls(**{**fields, "without": frozenset(fields["without"]), "off": frozenset(fields["off"])})

    def json(self) -> str:
        return json.dumps({**asdict(self), "without": sorted(self.without), "off": sorted(self.off)})

    def but(self, **changes: Any) -> Plan:
        return replace(self, **changes)

    def text(self) -> str:
        """For people, on one line."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("without", "off")}
        left_out = f" without={sorted(self.without)}" if self.without and self.world not in (LOSSY, CALM) else ""
        off = f" and {len(self.off)} single faults" if self.off else ""
        return " ".join(f"{name}={value}" for name, value in fields.items()) + left_out + off
