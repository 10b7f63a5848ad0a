"""What is emitted, and when it is known to be out; and what copies make is the same."""

from __future__ import annotations

import struct

import pytest

from zerosum.services.cluster.machines import Output
from zerosum.services.cluster.outbox import Outbox
from zerosum.services.cluster.twins import Diverged, Twins


def event(number: int, value: int = 0) -> bytes:
    return struct.pack("<5q", 102 | 1 << 8 | 5 << 16, number, 0, 0, value)


def output(upto: int, number: int, shared: bytes = b"x") -> Output:
    return Output(upto, number, event(number), [(0, shared)])


def test_everything_waits_until_the_own_stream_says_that_it_is_out() -> None:
    outbox = Outbox()
    for number in (1, 2, 3):
        outbox.put(output(10 * number, number, b"%d" % number), now=float(number))
    assert outbox.waits_since() == 1.0
    assert outbox.due()[:4] == (30, 3, {0: b"123"}, event(1) + event(2) + event(3))
    outbox.see(20, 2)
    assert outbox.waits_since() == 3.0
    assert outbox.due()[:4] == (30, 3, {0: b"3"}, event(3))
    outbox.see(30, 3)
    assert outbox.waits_since() is None
    assert outbox.bytes == 0


def test_shared_and_own_are_dropped_each_by_its_own_mark() -> None:
    """A message of the own stream was cut: its first piece says nothing of the shared streams."""
    outbox = Outbox()
    outbox.put(output(10, 1, b"1"), now=0.0)
    outbox.put(output(20, 2, b"2"), now=0.0)
    outbox.see(0, 1)
    assert outbox.due()[:4] == (20, 2, {0: b"12"}, event(2))


def test_a_restarted_copy_does_not_put_what_is_out() -> None:
    outbox = Outbox()
    outbox.see(20, 2)
    outbox.put(output(10, 1), now=0.0)
    outbox.put(output(20, 2), now=0.0)
    assert outbox.waits_since() is None
    outbox.see(10, 1)  # a copy that lags has written later
    outbox.put(output(30, 3, b"3"), now=0.0)
    assert outbox.due()[:4] == (30, 3, {0: b"3"}, event(3))


def part(upto: int, number: int, shared: bytes, own: bytes = b"") -> Output:
    return Output(upto, number, own, [(0, shared)], is_partial=True)


def test_the_parts_of_one_record_are_all_emitted_though_its_mark_has_been_seen() -> None:
    outbox = Outbox()
    outbox.see(10, 4)
    outbox.put(part(10, 5, b"a", event(5)), now=0.0)
    outbox.put(part(10, 5, b"b"), now=0.0)
    outbox.put(part(10, 6, b"c", event(6)), now=0.0)
    due = outbox.due()
    assert due[:4] == (10, 6, {0: b"abc"}, event(5) + event(6))
    outbox.put(Output(11, 6, b"", [(0, b"d")]), now=0.0)
    outbox.emitted(due)
    assert outbox.due()[:4] == (11, 6, {0: b"d"}, b"")
    outbox.see(11, 6)
    assert outbox.waits_since() is None
    assert outbox.bytes == 0


def test_a_part_is_out_once_its_own_events_are_or_the_whole_record() -> None:
    """For what is shared is sent before them. One without events says nothing of itself: it is sent again."""
    outbox = Outbox()
    outbox.see(10, 5)
    outbox.put(part(10, 5, b"a", event(5)), now=0.0)
    outbox.put(part(10, 5, b"b"), now=0.0)
    outbox.put(part(10, 6, b"c", event(6)), now=0.0)
    assert outbox.due()[:4] == (10, 6, {0: b"bc"}, event(6))
    outbox.see(11, 6)
    assert outbox.waits_since() is None


def test_twins_compare_what_both_have_whoever_is_ahead() -> None:
    twins = Twins("events")
    twins.begin(3)
    twins.read(event(4) + event(5) + event(6))
    assert twins.compared_up_to == 3
    twins.made(event(4) + event(5), 5)
    assert twins.compared_up_to == 5
    twins.made(event(6) + event(7), 7)
    assert (twins.compared_up_to, twins.made_bytes) == (6, len(event(7)))
    twins.read(event(5) + event(6) + event(7) + event(8))
    assert (twins.compared_up_to, twins.made_bytes, twins.read_bytes) == (7, 0, len(event(8)))


def test_twins_go_on_behind_what_was_pruned() -> None:
    twins = Twins("events")
    twins.read(event(9))
    twins.made(b"".join(map(event, range(1, 9))), 8)
    assert twins.compared_up_to == 0
    twins.made(event(9), 9)
    assert (twins.compared_up_to, twins.made_bytes, twins.read_bytes) == (9, 0, 0)


def test_twins_that_differ_are_told_apart() -> None:
    twins = Twins("events")
    twins.made(event(1) + event(2, 8), 2)
    twins.read(event(1))
    with pytest.raises(Diverged, match="from event 2 on"):
        twins.read(event(2, 9))
