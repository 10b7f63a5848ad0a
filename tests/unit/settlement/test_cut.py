"""Conservation across shards: what does not add up is found, wherever the streams are read up to."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from zerosum.core import codes, records
from zerosum.settlement.cut import Cut
from zerosum.settlement.errors import SettlementBroken
from zerosum.sim.machines import Machines
from zerosum.sim.programs import USUAL, Program

Events = list[tuple[int, ...]]


@pytest.fixture(scope="module")
def streams() -> tuple[list[Events], list[Events]]:
    """Account events of two shards, market events of two engines."""
    machines = Machines(2, 2, 1 << 12)
    for step in islice(Program(4, USUAL), 900):
        machines.submit(step.command)
        machines.settle()
    accounts, markets = machines.take_events()
    return [list(records.records(data)) for data in accounts], [list(records.records(data)) for data in markets]


def read(accounts: list[Events], markets: list[Events]) -> Cut:
    cut = Cut()
    for shard, events in enumerate(accounts):
        cut.account_events(shard, events)
    for events in markets:
        cut.market_events(events)
    return cut


AVAILABLE_AFTER = {records.TRANSFERRED: 11, records.TRANSFER_SENT: 8, records.TRANSFER_ARRIVED: 8}
"""Of the account that a movement changes: the word that states what it has then."""


@pytest.mark.parametrize("kind", AVAILABLE_AFTER)
def test_a_movement_that_states_another_balance_than_it_makes(kind: int, streams: tuple[list[Events], list[Events]]) -> None:
    """Both sides by the same amount too much: together they still come to zero."""
    accounts, markets = streams
    shard, at = next((shard, at) for shard, events in enumerate(accounts) for at, event in enumerate(events) if event[0] & 0xFF == kind)
    event = list(accounts[shard][at])
    event[AVAILABLE_AFTER[kind]] += 1
    changed = [list(events) for events in accounts]
    changed[shard] = [*accounts[shard][:at], tuple(event)]
    assert any("is told to have" in finding for finding in read(changed, markets).findings())


def test_it_adds_up_at_any_cut(streams: tuple[list[Events], list[Events]]) -> None:
    accounts, markets = streams
    random = Random(1)
    for _ in range(50):
        part = [events[: random.randint(0, len(events))] for events in accounts]
        assert list(read(part, [events[: random.randint(0, len(events))] for events in markets]).findings()) == []
    assert list(read(accounts, markets).findings_at_rest()) == []
    kinds = {event[0] & 0xFF for events in accounts for event in events}
    assert {records.TRANSFER_SENT, records.TRANSFER_ARRIVED, records.FILL} <= kinds


@pytest.mark.parametrize(("field", "by"), [("transfer_id", 1 << 50), ("atoms", 1), ("account", 1)])
def test_an_end_of_a_withdrawal_that_was_not_asked_for_so_is_found(field: str, by: int, streams: tuple[list[Events], list[Events]]) -> None:
    accounts, markets = streams
    at = 4 + records.ACCOUNT_EVENTS[records.WITHDRAWAL_ENDED][1].index(field)
    shard, number = next(
        (shard, number)
        for shard, events in enumerate(accounts)
        for number, event in enumerate(events)
        if event[0] & 0xFF == records.WITHDRAWAL_ENDED
    )
    event = list(accounts[shard][number])
    event[at] += by
    changed = [list(events) for events in accounts]
    changed[shard][number] = tuple(event)
    assert any("withdrawal" in finding for finding in read(changed, markets).findings())


def test_an_end_that_comes_twice_is_found_where_others_money_would_cover_it(streams: tuple[list[Events], list[Events]]) -> None:
    """Each states the balances that it makes, and together they come to zero."""
    accounts, markets = streams
    shard, number = next(
        (shard, number)
        for shard, events in enumerate(accounts)
        for number, event in enumerate(events)
        if event[0] & 0xFF == records.WITHDRAWAL_ENDED
    )
    event = list(accounts[shard][number])
    event[9] -= event[7]
    event[11] += event[7]
    changed = [list(events) for events in accounts]
    changed[shard] = [*accounts[shard][: number + 1], tuple(event)]
    assert any("none was pending" in finding for finding in read(changed, markets).findings())


def with_last_fill(accounts: list[Events], field: str, by: int) -> list[Events]:
    """The last fill of the first shard with a field changed."""
    at = 4 + records.ACCOUNT_EVENTS[records.FILL][1].index(field)
    events = list(accounts[0])
    number = max(number for number, event in enumerate(events) if event[0] & 0xFF == records.FILL)
    events[number] = (*events[number][:at], events[number][at] + by, *events[number][at + 1 :])
    return [events, *accounts[1:]]


def test_an_atom_too_many_is_found(streams: tuple[list[Events], list[Events]]) -> None:
    accounts, markets = streams
    forged = with_last_fill(accounts, "got_available_atoms", 1)
    last = max(number for number, event in enumerate(forged[0]) if event[0] & 0xFF == records.FILL)
    findings = list(read([forged[0][: last + 1], []], markets).findings())
    assert any("together not zero" in finding for finding in findings)


def test_a_fill_that_names_another_price_is_found(streams: tuple[list[Events], list[Events]]) -> None:
    accounts, markets = streams
    with pytest.raises(SettlementBroken, match="the engine says"):
        read(with_last_fill(accounts, "price_ticks", 1), markets)


def test_a_trade_told_of_by_half_is_found_at_rest(streams: tuple[list[Events], list[Events]]) -> None:
    accounts, markets = streams
    findings = list(read(accounts, [markets[0], []]).findings_at_rest())
    assert any("told of only by part" in finding for finding in findings)


def test_the_fees_of_two_shards_may_pay_under_one_id() -> None:
    """In different assets, to one account: neither is taken for the other's arrival."""
    cut = Cut()
    for shard, asset, atoms in ((0, 0, 5), (1, 1, 7)):
        kind, fields = records.TRANSFERRED, (1, records.DEPOSIT, asset, atoms, codes.OUTSIDE, -atoms, codes.FEES, atoms)
        cut.account_events(shard, [(kind, 1, 1, 1, *fields)])
        cut.account_events(shard, [(records.TRANSFER_SENT, 2, 1, 1, 9, asset, atoms, codes.FEES, 0, 18)])
        assert list(cut.findings()) == []
    assert len(list(cut.findings_at_rest())) == 2


def test_a_transfer_that_never_arrives_is_found_at_rest(streams: tuple[list[Events], list[Events]]) -> None:
    accounts, markets = streams
    for shard, events in enumerate(accounts):
        arrived = [number for number, event in enumerate(events) if event[0] & 0xFF == records.TRANSFER_ARRIVED]
        if arrived:
            cut = read([events[: arrived[-1]] if n == shard else other for n, other in enumerate(accounts)], markets)
            assert list(cut.findings()) == []
            assert any("has not arrived" in finding for finding in cut.findings_at_rest())
            return
    raise AssertionError("a transfer arrives somewhere")
