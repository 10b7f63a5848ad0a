"""Records in a role's input from somebody who may not send them, or that are none: they change nothing and are told of."""

from __future__ import annotations

import struct

import pytest

from zerosum.core import records
from zerosum.core.matching_role import MatchingRole
from zerosum.core.ubscore_role import UBSCoreRole

SHARDS = 2
ENGINE = SHARDS  # the first engine as an origin


def link(kind: int, origin: int, words: int, sequence: int = 1) -> bytes:
    head = kind | records.FORMAT << 8 | words << 16 | origin << 32
    return struct.pack(f"<{words}q", head, *[sequence, *[0] * words][: words - 1])


@pytest.mark.parametrize("words", [1, 2, 3])
@pytest.mark.parametrize("kind", [records.OUTCOME_FILL, records.OUTCOME_DONE, records.HANDED_ON, records.CREDIT])
def test_a_link_that_is_shorter_than_its_head_stops_no_shard(kind: int, words: int) -> None:
    role = UBSCoreRole(1, SHARDS, 1, 64)
    role.begin_message(1 << 16, 1)
    record = link(kind, 0 if kind in (records.HANDED_ON, records.CREDIT) else ENGINE, words)
    assert role.advance(record, 0) == len(record)
    assert [event[0] & 0xFF for event in records.records(role.take_account_events())] == [records.FOREIGN]
    role.check()


@pytest.mark.parametrize("words", [1, 2, 3])
def test_nor_an_engine(words: int) -> None:
    role = MatchingRole(0, SHARDS, 64)
    role.begin_message(1 << 16, 1)
    record = link(records.ENGINE_PLACE, 0, words)
    assert role.advance(record, 0) == len(record)
    assert [event[0] & 0xFF for event in records.records(role.take_market_events())] == [records.MARKET_FOREIGN]
    role.check()


def test_an_order_from_nobody_trades_nothing() -> None:
    role = MatchingRole(0, SHARDS, 64)
    role.begin_message(1 << 16, 1)
    words = records.LINK_WORDS + len(records.LINKS[records.ENGINE_PLACE][1])
    role.advance(link(records.ENGINE_PLACE, 77, words), 0)
    assert [event[0] & 0xFF for event in records.records(role.take_market_events())] == [records.MARKET_FOREIGN]
    assert all(not role.take_outcomes(shard) for shard in range(SHARDS))
