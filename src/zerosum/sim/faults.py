"""
Which faults a run has, how often, and how often each met which kind of process in which state. Which they must meet: see coverage.py.

Rates are drawn from the seed: of each kind of fault many runs have none, some have a little, a few have a lot. A fault can be switched off
by its kind, or one by one by its number, to find the few that a failure needs.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol, final

from zerosum.sim.chance import Chance

LEVELS: Final = (0.0, 0.0, 0.1, 0.3, 1.0)

# At an operation of a process on the world: the most often that it happens.
AT_OPERATIONS: Final = {
    "slow read": 0.02,
    "reading by bits": 0.2,
    "slow append": 0.02,
    "delivery lost": 0.01,
    "delivery late": 0.5,  # of those lost
    "acknowledgement lost": 0.01,
    "message split": 0.2,
    "message repeated": 0.1,
    "message damaged": 0.005,
    "crash before an append": 0.004,
    "crash after an append": 0.004,
    "store write fails": 0.05,
    "store write times out": 0.05,
    "store write late": 0.05,
    "store read fails": 0.05,
    "crash at a store write": 0.01,
    "slow disk": 0.05,
    "disk full": 0.005,
    "sync fails": 0.02,
    "crash at a disk write": 0.01,
    "snapshot damaged": 0.2,  # of restarts
    "log damaged": 0.1,  # of restarts
    "client vanishes": 0.02,
    "client is slow": 0.05,
}
# To the world as a whole: how many seconds of simulated time lie between two on average, at the least.
IN_TIME_S: Final = {
    "process killed": 0.3,
    "power lost": 0.5,
    "process held": 0.5,
    "process stopped cleanly": 0.5,
    "role doubled": 1.0,
    "stream cut": 1.0,
    "leader changed": 0.5,
    "clock set": 0.5,
    "stream pruned": 1.0,
    "log pruned": 0.5,
    "disk lost": 2.0,
}

# States that a process is seldom in: at operations in them, faults happen so many times as often.
SELDOM: Final = 5.0
IS_SELDOM: Final = frozenset(
    {
        ("ubscore", "restoring"), ("matching", "restoring"), ("settlement", "restoring"), ("gateway", "catching up"),
        ("exchange", "opening"), ("exchange", "closing"), ("follower", "following"), ("client", "on REST"), ("client", "on WebSocket"),
    }
)  # fmt: skip


class Struck(Protocol):
    """What a fault strikes: a process, a stream, a client."""

    @property
    def kind(self) -> str: ...

    def state(self) -> str: ...


@final
class Thing:
    """Something that is always in one state."""

    def __init__(self, kind: str, state: str) -> None:
        self.kind = kind
        self._state = state

    def state(self) -> str:
        return self._state


@final
class Faults:
    """`met`: (fault, kind of process, its state) -> how often. They happen while `active`."""

    def __init__(self, chance: Chance, without: frozenset[str] = frozenset(), off: frozenset[int] = frozenset()) -> None:
        """`without`: kinds, and `off`: numbers, of faults that do not happen."""
        random = chance.source("rates")
        self.rates = {kind: most * random.choice(LEVELS) for kind, most in AT_OPERATIONS.items()}
        levels = {kind: random.choice(LEVELS) for kind in IN_TIME_S}
        self.periods_s = {kind: IN_TIME_S[kind] / level for kind, level in levels.items() if level and kind not in without}
        self.append_s = random.choice((0.0005, 0.002, 0.01))
        self.read_s = random.choice((0.0002, 0.001, 0.005))
        for kind in without & self.rates.keys():
            self.rates[kind] = 0.0
        self.met: Counter[tuple[str, str, str]] = Counter()
        self.count = 0
        self.active = False
        self._off = off
        self._sources = {kind: chance.source(f"fault {kind}") for kind in AT_OPERATIONS}

    def happens(self, kind: str, struck: Struck) -> bool:
        """Whether a fault of this kind happens now, at an operation."""
        rate = self.rates[kind]
        if not self.active or not rate:
            return False
        drawn = self._sources[kind].random()
        if drawn >= rate * SELDOM or (drawn >= rate and (struck.kind, struck.state()) not in IS_SELDOM):
            return False
        return self.meet(kind, struck)

    def meet(self, kind: str, struck: Struck) -> bool:
        """Count one. False: it is switched off, and is not to happen."""
        self.count += 1
        if self.count in self._off:
            return False
        self.met[kind, struck.kind, struck.state()] += 1
        return True
