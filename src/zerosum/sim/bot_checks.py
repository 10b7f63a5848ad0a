"""
What clients of the API were told of their orders, against what the event streams hold in the end.

    an order      is in the log once at most, however often it was sent; placed: once; absent: not at all; refused: not, or rejected
    what it shows is what it had come to at some time, and never goes back
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from zerosum.core import records
from zerosum.core.records import CLIENT, text_words
from zerosum.gateway.entry import Event
from zerosum.services.cluster.topology import Topology
from zerosum.sim.history import ABSENT, PLACED, REFUSED, History, OrderSeen, Wanted

KIND_MASK: Final = 0xFF
ORDER_ID: Final = 4
ACCOUNT: Final = 5
CLIENT_WORDS: Final = slice(12, 12 + len(CLIENT))
LOTS: Final = 10
OPEN_LOTS: Final = 12


def check_bots(history: History, truth: list[list[Event]], topology: Topology) -> Iterator[str]:
    """`truth`: each shard's account events."""
    admitted: defaultdict[tuple[int, Event], list[int]] = defaultdict(list)
    rejected: set[int] = set()
    fills: defaultdict[int, list[int]] = defaultdict(list)
    ended: set[int] = set()
    for events in truth:
        for event in events:
            kind = event[0] & KIND_MASK
            if kind == records.ADMITTED:
                admitted[event[ACCOUNT], event[CLIENT_WORDS]].append(event[ORDER_ID])
            elif kind == records.REJECTED:
                rejected.add(event[ORDER_ID])
            elif kind == records.DONE:
                ended.add(event[ORDER_ID])
            elif kind == records.FILL:
                fills[event[ORDER_ID]].append(event[LOTS])
                if event[OPEN_LOTS] == 0:
                    ended.add(event[ORDER_ID])
    for wanted in history.wanted:
        yield from check_wanted(wanted, admitted[wanted.account, text_words(wanted.client_id, len(CLIENT))], rejected)
    yield from check_seen(history.orders_seen, fills, ended | rejected)


def check_wanted(wanted: Wanted, order_ids: list[int], rejected: set[int]) -> Iterator[str]:
    said = f"order {wanted.client_id} of account {wanted.account}"
    if len(order_ids) > 1:
        yield f"{said} was admitted {len(order_ids)} times: {order_ids}"
    if wanted.state == PLACED and order_ids != [wanted.order_id]:
        yield f"{said} was told to be {wanted.order_id}, and is {order_ids}"
    if wanted.state == ABSENT and order_ids:
        yield f"{said} was told not to exist after its deadline, and is {order_ids}"
    if wanted.state == REFUSED and set(order_ids) - rejected:
        yield f"{said} was refused, and is {order_ids}"


def check_seen(seen: list[tuple[int, OrderSeen]], fills: dict[int, list[int]], ended: set[int]) -> Iterator[str]:
    latest: dict[int, OrderSeen] = {}  # of what was told before, what came last
    told: list[OrderSeen] = sorted((each for _, each in seen), key=lambda each: each.told_s)
    asked = sorted((each for _, each in seen), key=lambda each: each.asked_s)
    at = 0
    for each in asked:
        while at < len(told) and told[at].told_s <= each.asked_s:
            latest[told[at].order_id] = told[at]
            at += 1
        before = latest.get(each.order_id)
        if each.executed_lots not in accumulate(fills.get(each.order_id, ()), initial=0):
            yield f"order {each.order_id} was shown with {each.executed_lots} lots executed, and its fills are {fills.get(each.order_id)}"
        if not each.is_open and each.order_id not in ended:
            yield f"order {each.order_id} was shown as ended, and has not"
        if before is not None and (before.executed_lots > each.executed_lots or (each.is_open and not before.is_open)):
            yield f"order {each.order_id} was shown as {before}, and later as {each}"
