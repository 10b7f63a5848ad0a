"""
What clients asked and were told, to be held against what the streams hold in the end.

    Asked   a command, through which gateway --> answered with events | lost | busy: not sent | under way when the gateway died

Every answer must be the events that its shard's stream has under the command's place, in order, from the first to the command's outcome at
least; every command is there once at most, and one that was refused as busy is not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

from zerosum.core import records
from zerosum.core.codes import STOP_ON_FAILURE, UNKNOWN_ORDER
from zerosum.gateway.entry import Event

SEQUENCE: Final = 1  # words of an event
CAUSE: Final = 2
ORDER_ID: Final = 4
REASON: Final = 5  # of REFUSED
CANCEL_ALL_ORDERS: Final = 6
OPEN_LOTS: Final = 12  # of FILL
MODE_BYTE: Final = records.MODE_AT * 8
ANSWERED: Final = "answered"
LOST: Final = "lost"
BUSY: Final = "busy"
UNDER_WAY: Final = "under way"
PLACED: Final = "placed"
REFUSED: Final = "refused"
ABSENT: Final = "absent"  # its client was told that it does not exist, after its deadline


TOLD_LATER: Final = frozenset({records.CANCEL, records.REDUCE, records.MOVE, records.CANCEL_REPLACE})
"""Of these nothing may be told before the engine has answered."""

Places = dict[bytes, list[int]]
"""Of the commands of gateways in a shard's stream: by their bytes, where they stand, as CAUSE has it."""

Whole = Callable[[bytes, list[Event], list[Event]], bool]
"""Whether a command's answer is whole, of all that it caused."""


@dataclass(slots=True, eq=False)
class Asked:
    """A command, and what was said of it. `session`: a gateway, and which of its lives."""

    number: int
    command: bytes
    shard: int
    session: str
    asked_s: float
    outcome: str = UNDER_WAY
    told_s: float = 0.0
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Read:
    """What a gateway's views showed of an account behind a barrier, and after which event of its shard."""

    session: str
    account: int
    shard: int
    asked_s: float
    number: int  # commands that had been submitted when it was asked for
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

    def ask(self, command: bytes, shard: int, session: str, now_s: float) -> Asked:
        asked = Asked(len(self.asked), command, shard, session, now_s)
        self.asked.append(asked)
        return asked

    def check(self, truth: list[list[Event]], places: list[Places], whole: Whole) -> Iterator[str]:
        """`truth`: each shard's account events, without repeats."""
        caused = [by_cause(events) for events in truth]
        for shard, found in enumerate(places):
            yield from self._check_counts(shard, found)
        for asked in self.asked:
            if asked.outcome == ANSWERED:
                at = places[asked.shard].get(asked.command, [])
                cause = at[0] if len(at) == 1 else asked.events[0][CAUSE] if asked.events else 0
                yield from check_answer(asked, caused[asked.shard].get(cause, []), whole)
        yield from self._check_order(places)

    def _check_counts(self, shard: int, found: Places) -> Iterator[str]:
        """No command is there more often than it was sent; what was answered is there."""
        most = Counter(asked.command for asked in self.asked if asked.shard == shard and asked.outcome != BUSY)
        least = Counter(asked.command for asked in self.asked if asked.shard == shard and asked.outcome == ANSWERED)
        for command, at in found.items():
            if len(at) > most[command]:
                yield f"{name_of(command)} is {len(at)} times in commands.{shard}, and was sent {most[command]} times"
        for command, times in least.items():
            if len(found.get(command, [])) < times:
                yield f"{name_of(command)} was answered {times} times, and is not as often in commands.{shard}"

    def _check_order(self, places: list[Places]) -> Iterator[str]:
        """Of one session with a shard, what was answered stands there in the order in which it was submitted."""
        last: dict[tuple[str, int], tuple[int, Asked]] = {}
        for asked in self.asked:
            at = places[asked.shard].get(asked.command, [])
            if asked.outcome != ANSWERED or len(at) != 1:
                continue
            key = asked.session, asked.shard
            before = last.get(key)
            if before is not None and at[0] < before[0]:
                yield f"command {asked.number} of {asked.session} stands in commands.{asked.shard} before command {before[1].number}"
            last[key] = at[0], asked

    def check_reads(self, truth: list[list[Event]], places: list[Places]) -> Iterator[str]:
        """
        A read misses nothing of its account's shard that anybody had been told before it was asked for, nor what was submitted by its own
        gateway before it and is answered in the end.
        """
        caused = [by_cause(events) for events in truth]
        told: list[list[Asked]] = [[] for _ in truth]
        submitted: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)  # number, the first event that it caused
        for asked in self.asked:
            if asked.outcome != ANSWERED or not asked.events:
                continue
            told[asked.shard].append(asked)
            at = places[asked.shard].get(asked.command, [])
            if len(at) == 1 and asked.command[0] not in TOLD_LATER:
                submitted[asked.session, asked.shard].append((asked.number, caused[asked.shard][at[0]][0][SEQUENCE]))
        for read in self.reads:
            for asked in told[read.shard]:
                if asked.told_s <= read.asked_s and asked.events[-1][SEQUENCE] > read.sequence:
                    yield (
                        f"a read of account {read.account} asked at {read.asked_s:.6f} shows events up to {read.sequence}, and event"
                        f" {asked.events[-1][SEQUENCE]} was told at {asked.told_s:.6f}"
                    )
            for number, sequence in submitted[read.session, read.shard]:
                if number < read.number and sequence > read.sequence:
                    yield (
                        f"a read of account {read.account} shows events up to {read.sequence}; command {number}, submitted before it,"
                        f" caused event {sequence}"
                    )


def by_cause(events: list[Event]) -> dict[int, list[Event]]:
    found: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        found[event[CAUSE]].append(event)
    return found


def check_answer(asked: Asked, true: list[Event], whole: Whole) -> Iterator[str]:
    """`true`: what the command caused in its shard. An answer is that from the first event on, as far as its own outcome, at least."""
    if asked.events != true[: len(asked.events)] or not whole(asked.command, asked.events, true):
        yield (
            f"command {asked.number}, {name_of(asked.command)}, was answered with\n    {shown(asked.events)}\n  and its shard told of it\n"
            f"    {shown(true)}"
        )


def is_everything(command: bytes, events: list[Event], true: list[Event]) -> bool:
    """In the embedded exchange an answer is all that a command caused."""
    return len(events) == len(true)


def is_whole(command: bytes, events: list[Event], true: list[Event]) -> bool:
    """Whether an answer says what came of the command: see services/cluster/answering.py for the rules, which are put otherwise here."""
    kind = command[0]
    if kind == records.PLACE:
        return is_placed(events)
    if kind == records.MOVE:
        moved = [number for number, event in enumerate(events) if event[0] & 0xFF == records.MOVED]
        if moved:
            return has_settled(events[moved[0] + 1 :], events[moved[0]][ORDER_ID])
        return bool(count(events, records.REFUSED, records.MOVE_REJECTED))
    if kind in (records.CANCEL, records.REDUCE):
        return bool(count(events, records.REFUSED, records.DONE, records.CANCEL_REJECTED, records.REDUCED))
    if kind == records.CANCEL_ALL:
        wanted = [event[CANCEL_ALL_ORDERS] for event in events if event[0] & 0xFF == records.CANCEL_ALL_ADMITTED]
        ended = count(events, records.DONE, records.CANCEL_REJECTED, records.REDUCED)
        return bool(count(events, records.REFUSED)) or (len(wanted) == 1 and ended >= wanted[0])
    if kind == records.CANCEL_REPLACE:
        return is_replaced(command, events)
    return bool(events) == bool(true)


def is_placed(events: list[Event]) -> bool:
    if count(events, records.REFUSED):
        return True
    admitted = [event[ORDER_ID] for event in events if event[0] & 0xFF == records.ADMITTED]
    return len(admitted) == 1 and has_settled(events, admitted[0])


def has_settled(events: list[Event], order_id: int) -> bool:
    """The order rests, or has ended."""
    of_order = [event for event in events if event[ORDER_ID] == order_id]
    if count(of_order, records.RESTED, records.DONE, records.REJECTED):
        return True
    return any(event[0] & 0xFF == records.FILL and event[OPEN_LOTS] == 0 for event in of_order)


def is_replaced(command: bytes, events: list[Event]) -> bool:
    """The cancel has an outcome, and the order in its place, unless that is not placed then."""
    for number, event in enumerate(events):
        kind = event[0] & 0xFF
        if kind == records.REFUSED and (event[REASON] != UNKNOWN_ORDER or command[MODE_BYTE] == STOP_ON_FAILURE):
            return True
        if kind in (records.REFUSED, records.DONE, records.CANCEL_REJECTED):
            return is_placed(events[number + 1 :])
    return False


def count(events: list[Event], *kinds: int) -> int:
    return sum(event[0] & 0xFF in kinds for event in events)


def shown(events: list[Event]) -> str:
    return "\n    ".join(f"{records.kind_name(event[0] & 0xFF)} {event[1:]}" for event in events) or "nothing"


def name_of(command: bytes) -> str:
    return records.kind_name(command[0])
