"""
What clients asked and were told, to be held against what the streams hold in the end.

    Asked   a command, through which gateway --> answered with events | lost | busy: not sent | under way when the gateway died

Every answer must be events that its shard's stream has under the command's place, in order and from the first; every command is there once
at most, and one that was refused as busy is not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

from zerosum.core import records
from zerosum.gateway.entry import Event

CAUSE: Final = 2
ANSWERED: Final = "answered"
LOST: Final = "lost"
BUSY: Final = "busy"
UNDER_WAY: Final = "under way"
PLACED: Final = "placed"
REFUSED: Final = "refused"
ABSENT: Final = "absent"  # its client was told that it does not exist, after its deadline


@dataclass(slots=True, eq=False)
class Asked:
    """A command, and what its client knows of it."""

    number: int
    command: bytes
    shard: int
    gateway: str
    asked_s: float
    outcome: str = UNDER_WAY
    told_s: float = 0.0
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Read:
    """What a gateway's views showed of an account behind a barrier, and after which event of its shard."""

    gateway: str
    account: int
    shard: int
    asked_s: float
    sequence: int
    balances: dict[int, tuple[int, ...]]
    open_orders: dict[int, tuple[int, int]]  # order id: lots, price


@dataclass(slots=True, eq=False)
class Wanted:
    """An order that a client of the API wants, under a client id that it uses for no other, sent once or more."""

    account: int
    symbol: str
    client_id: str
    state: str = UNDER_WAY
    order_id: int = 0
    trades: set[int] = field(default_factory=set)  # that its client was told of


class OrderSeen(NamedTuple):
    """What the API showed of an order. `asked_s`, `told_s`: between these it was so."""

    order_id: int
    executed_lots: int
    is_open: bool
    asked_s: float
    told_s: float


@final
class History:
    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.reads: list[Read] = []
        self.wanted: list[Wanted] = []
        self.orders_seen: list[tuple[int, OrderSeen]] = []  # (account, what it was shown)

    def want(self, account: int, symbol: str, client_id: str) -> Wanted:
        wanted = Wanted(account, symbol, client_id)
        self.wanted.append(wanted)
        return wanted

    def ask(self, command: bytes, shard: int, gateway: str, now_s: float) -> Asked:
        asked = Asked(len(self.asked), command, shard, gateway, now_s)
        self.asked.append(asked)
        return asked

    def check(self, truth: list[list[Event]], sent: list[Counter[bytes]]) -> Iterator[str]:
        """`truth`: each shard's account events, without repeats. `sent`: the commands of gateways in each shard's stream, counted."""
        caused: list[dict[int, list[Event]]] = []
        for events in truth:
            by_cause: defaultdict[int, list[Event]] = defaultdict(list)
            for event in events:
                by_cause[event[CAUSE]].append(event)
            caused.append(by_cause)
        for asked in self.asked:
            yield from check_answer(asked, caused[asked.shard])
        yield from self._check_counts(sent)

    def _check_counts(self, sent: list[Counter[bytes]]) -> Iterator[str]:
        """No command is there more often than it was sent; what was answered is there."""
        most: list[Counter[bytes]] = [Counter() for _ in sent]
        least: list[Counter[bytes]] = [Counter() for _ in sent]
        for asked in self.asked:
            if asked.outcome != BUSY:
                most[asked.shard][asked.command] += 1
            if asked.outcome == ANSWERED:
                least[asked.shard][asked.command] += 1
        for shard, counted in enumerate(sent):
            for command, times in counted.items():
                if times > most[shard][command]:
                    yield f"{name_of(command)} is {times} times in commands.{shard}, and was sent {most[shard][command]} times"
            for command, times in least[shard].items():
                if counted[command] < times:
                    yield f"{name_of(command)} was answered {times} times, and is {counted[command]} times in commands.{shard}"

    def check_reads(self, truth: list[list[Event]]) -> Iterator[str]:
        """A read shows what its account's shard had told up to the event that the views stood at, and misses nothing told before it."""
        told: list[list[Asked]] = [[] for _ in truth]
        for asked in self.asked:
            if asked.outcome == ANSWERED and asked.events:
                told[asked.shard].append(asked)
        for read in self.reads:
            for asked in told[read.shard]:
                if asked.told_s <= read.asked_s and asked.events[-1][1] > read.sequence:
                    yield (
                        f"a read of account {read.account} asked at {read.asked_s:.6f} shows events up to {read.sequence}, and event"
                        f" {asked.events[-1][1]} was told at {asked.told_s:.6f}"
                    )


def check_answer(asked: Asked, caused: dict[int, list[Event]]) -> Iterator[str]:
    if not asked.events:
        return
    cause = asked.events[0][CAUSE]
    true = caused.get(cause, [])
    if asked.events != true[: len(asked.events)]:
        yield (
            f"command {asked.number}, {name_of(asked.command)}, was answered with\n    {shown(asked.events)}\n  and its shard told of it\n"
            f"    {shown(true)}"
        )


def shown(events: list[Event]) -> str:
    return "\n    ".join(f"{records.kind_name(event[0] & 0xFF)} {event[1:]}" for event in events) or "nothing"


def name_of(command: bytes) -> str:
    return records.kind_name(command[0])
