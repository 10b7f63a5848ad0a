"""When a command of a cluster is answered, by the events that come."""

from __future__ import annotations

import pytest

from zerosum.core import records
from zerosum.core.codes import ALLOW_FAILURE, BY_OWNER, CANCEL_FAILED, INSUFFICIENT_BALANCE, STOP_ON_FAILURE, UNKNOWN_ORDER
from zerosum.gateway.entry import Event
from zerosum.services.cluster.answering import Answering

OURS, NEW, OTHER = 64, 66, 70


def event(kind: int, **fields: int) -> Event:
    names = records.ACCOUNT_EVENTS[kind][1]
    return (records.head(kind, 4 + len(names)), 1, 1, 1, *[fields.get(name, 0) for name in names])


def admitted(order_id: int = OURS) -> Event:
    return event(records.ADMITTED, order_id=order_id)


def fill(order_id: int, open_lots: int) -> Event:
    return event(records.FILL, order_id=order_id, open_lots=open_lots)


def done(order_id: int = OURS) -> Event:
    return event(records.DONE, order_id=order_id, reason=BY_OWNER)


def refused(reason: int) -> Event:
    return event(records.REFUSED, reason=reason)


RESTED, REJECTED = event(records.RESTED, order_id=OURS), event(records.REJECTED, order_id=OURS)
ACCEPTED, MOVED = event(records.ACCEPTED, order_id=OURS), event(records.MOVED, order_id=OURS)
CANCEL_REJECTED = event(records.CANCEL_REJECTED, order_id=OURS, reason=UNKNOWN_ORDER)
NEW_RESTS = event(records.RESTED, order_id=NEW)


def replace(mode: int) -> bytes:
    fields = dict.fromkeys(records.COMMANDS[records.CANCEL_REPLACE][1], 0) | {"mode": mode}
    return records.command(records.CANCEL_REPLACE, 0, *fields.values())


@pytest.mark.parametrize(
    ("command", "events"),
    [
        (records.command(records.PLACE, 0), [refused(INSUFFICIENT_BALANCE)]),
        (records.command(records.PLACE, 0), [admitted(), ACCEPTED, RESTED]),
        (records.command(records.PLACE, 0), [admitted(), REJECTED]),
        (records.command(records.PLACE, 0), [admitted(), ACCEPTED, fill(OURS, 3), fill(OTHER, 0), fill(OURS, 0)]),
        (records.command(records.PLACE, 0), [admitted(), ACCEPTED, done(OTHER), fill(OURS, 1), done()]),
        (records.command(records.CANCEL, 0), [event(records.CANCEL_ADMITTED, order_id=OURS), done()]),
        (records.command(records.CANCEL, 0), [CANCEL_REJECTED]),
        (records.command(records.REDUCE, 0), [event(records.REDUCED, order_id=OURS)]),
        (records.command(records.MOVE, 0), [event(records.MOVE_ADMITTED, order_id=OURS), event(records.MOVE_REJECTED, order_id=OURS)]),
        (records.command(records.MOVE, 0), [MOVED, fill(OURS, 2), fill(OTHER, 0), RESTED]),
        (records.command(records.CANCEL_ALL, 0), [event(records.CANCEL_ALL_ADMITTED, orders=3), done(), CANCEL_REJECTED, done(OTHER)]),
        (replace(STOP_ON_FAILURE), [refused(UNKNOWN_ORDER)]),
        (replace(ALLOW_FAILURE), [refused(UNKNOWN_ORDER), admitted(NEW), NEW_RESTS]),
        (replace(ALLOW_FAILURE), [refused(UNKNOWN_ORDER), refused(INSUFFICIENT_BALANCE)]),
        (replace(ALLOW_FAILURE), [refused(INSUFFICIENT_BALANCE)]),
        (replace(STOP_ON_FAILURE), [done(), admitted(NEW), event(records.REJECTED, order_id=NEW)]),
        (replace(STOP_ON_FAILURE), [done(), refused(INSUFFICIENT_BALANCE)]),
        (replace(STOP_ON_FAILURE), [CANCEL_REJECTED, refused(CANCEL_FAILED)]),
        (replace(ALLOW_FAILURE), [CANCEL_REJECTED, admitted(NEW), NEW_RESTS]),
    ],
)
def test_it_is_whole_with_its_last_event_and_not_before(command: bytes, events: list[Event]) -> None:
    answering = Answering(command)
    assert answering.waits_for_engine
    for each in events:
        assert not answering.whole
        answering.take(each)
    assert answering.whole
    assert answering.events == events


@pytest.mark.parametrize("kind", [records.TICK, records.DEPOSIT, records.LIST_ASSET, records.SET_ACCOUNT_FEES, records.CHECKPOINT])
def test_the_rest_is_answered_once_it_is_applied(kind: int) -> None:
    assert not Answering(records.command(kind, 0)).waits_for_engine
