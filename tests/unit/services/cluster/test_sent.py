"""What machines sent each other, against what they make."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from zerosum.core import records
from zerosum.core.commands import ORIGIN_SHIFT
from zerosum.services.cluster.sent import Sent


def link(sender: int, number: int, field: int = 0) -> bytes:
    words = records.LINK_WORDS + 1
    head = int(records.head(records.ENGINE_CANCEL, words)) | sender << ORIGIN_SHIFT
    return struct.pack(f"<{words}q", head, number, *[0] * (words - 3), field)


def command() -> bytes:
    return records.command(records.OPEN_ACCOUNT, 0, 1001)


def whole() -> Sent:
    sent = Sent("orders.0", 2)
    sent.read(command() + link(0, 1) + link(1, 1))
    sent.read(link(0, 1) + link(0, 2))  # a repeat, by a copy
    sent.made(0, link(0, 1))
    sent.made(1, link(1, 1))
    sent.made(0, link(0, 2))
    return sent


def test_what_is_the_same_is_in_order() -> None:
    sent = whole()
    assert list(sent.differences()) == []
    assert sent.count == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sent: sent.read(link(1, 2)), "orders.0 has 2 records of sender 1, which makes 1"),
        (lambda sent: sent.made(1, link(1, 2)), "orders.0 has 1 records of sender 1, which makes 2"),
        (lambda sent: (sent.read(link(0, 3, 7)), sent.made(0, link(0, 3))), "orders.0, from sender 0: from event 3 on"),
    ],
)
def test_a_record_that_was_forged_or_is_missing_is_found(change: Callable[[Sent], object], words: str) -> None:
    sent = whole()
    change(sent)
    (found,) = sent.differences()
    assert words in found


def test_what_comes_from_nobody_is_left_to_the_machines() -> None:
    sent = whole()
    sent.read(link(7, 1))
    assert list(sent.differences()) == []
