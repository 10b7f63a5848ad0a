"""
Which faults must meet which kind of process in which state, to be aimed at while runs go on and counted in the end.

What is not here can't be: a snapshot, or the opening of a log, is taken in one piece, so what strikes there strikes at a disk's operation.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

Met = tuple[str, str, str]
"""(fault, kind of process, its state)."""

MACHINES: Final = ("ubscore", "matching")
IN_STREAMS: Final = ("commands", "orders", "account-events", "market-events")


def of(kinds: tuple[str, ...], *states: str) -> tuple[tuple[str, str], ...]:
    return tuple((kind, state) for kind in kinds for state in states)


RUNNING: Final = of(MACHINES, "restoring", "standing by", "serving", "emitting")
SETTLING: Final = of(("settlement",), "restoring", "reading", "writing")
SERVING: Final = (*of(("gateway",), "catching up", "serving"), ("auditor", "auditing"))
EMBEDDED: Final = (*of(("exchange",), "serving", "writing", "closing"), ("follower", "following"))
READING: Final = (*RUNNING, ("settlement", "reading"), *SERVING)
EMITTING: Final = (*of(MACHINES, "emitting"), ("gateway", "serving"))
SNAPSHOTS: Final = of((*MACHINES, "settlement"), "taking a snapshot")
DISKS: Final = (*SNAPSHOTS, ("exchange", "writing"), ("follower", "following"))
STREAMS: Final = of(("stream",), *IN_STREAMS)
CLIENTS: Final = of(("client",), "sends commands", "on REST", "on WebSocket")

EXPECTED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    # at operations
    "slow read": (*READING, ("settlement", "restoring")),
    "reading by bits": READING,
    "message damaged": READING,
    "slow append": EMITTING,
    "delivery lost": EMITTING,
    "delivery late": EMITTING,
    "acknowledgement lost": EMITTING,
    "crash before an append": EMITTING,
    "crash after an append": EMITTING,
    "message split": of(MACHINES, "emitting"),
    "message repeated": of(MACHINES, "emitting"),
    "message lost for ever": STREAMS,
    "store write fails": (("settlement", "writing"), ("follower", "following")),
    "store write times out": (("settlement", "writing"),),
    "store write late": (("settlement", "writing"),),
    "store read fails": (("settlement", "restoring"), ("gateway", "serving")),
    "crash at a store write": (("settlement", "writing"), ("follower", "following")),
    "slow disk": (*SNAPSHOTS, ("exchange", "writing"), ("exchange", "closing")),
    "disk full": DISKS,
    "sync fails": DISKS,
    "crash at a disk write": (*DISKS, ("exchange", "opening"), ("exchange", "closing")),
    "snapshot damaged": of((*MACHINES, "settlement", "exchange"), "down"),
    "log damaged": (("exchange", "down"),),
    "client vanishes": CLIENTS,
    "client is slow": CLIENTS,
    "client sends again": CLIENTS[1:],
    # in time
    "process killed": (*RUNNING, *SETTLING, *SERVING, *EMBEDDED),
    "power lost": (*RUNNING, *SETTLING, *SERVING, *EMBEDDED),
    "process held": (*RUNNING, *SETTLING, *SERVING, *EMBEDDED),
    "process stopped cleanly": of(("exchange",), "serving", "writing"),
    "role doubled": of(MACHINES, "standing by"),
    "stream pruned": of(MACHINES, "standing by", "serving", "emitting"),
    "log pruned": of(("exchange",), "serving", "writing"),
    "disk lost": (*RUNNING, *SETTLING),
    "stream cut": STREAMS,
    "leader changed": STREAMS,
    "clock set": (*STREAMS, ("gateway", "serving"), *of(("exchange",), "serving", "writing")),
}


class Coverage(NamedTuple):
    """`enough` of `expected` were met so often, and these not: with how often they were."""

    expected: int
    enough: int
    lacking: list[tuple[Met, int]]


def expected() -> list[Met]:
    return [(fault, kind, state) for fault, places in EXPECTED.items() for kind, state in places]


def covered(met: Counter[Met], least: int) -> Coverage:
    lacking = [(each, met[each]) for each in expected() if met[each] < least]
    return Coverage(len(expected()), len(expected()) - len(lacking), lacking)
