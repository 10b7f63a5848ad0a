"""What the whole core promises beyond its rules: snapshots, hashes, cuts, bounds, quarantine."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerosum.build import core_build
from zerosum.core import codes, records
from zerosum.core.codes import AMOUNT_MAX, PPM
from zerosum.core.exchange import OUTPUT_BYTES_MAX, Exchange
from zerosum.core.ubscore import fee_of
from zerosum.sim.programs import SWEEP, USUAL, Program

pytestmark = pytest.mark.both_builds

LENGTH = 1500 if core_build().compiled else 400


def program(seed: int, length: int = LENGTH, flavour: str = USUAL) -> list[bytes]:
    return [step.command for step in islice(Program(seed, flavour), length)]


def run(exchange: Exchange, commands: bytes) -> bytes:
    out = b""
    at = 0
    while at < len(commands) or exchange.unfinished():
        at = exchange.advance(commands, at)
        out += exchange.take_account_events() + exchange.take_market_events()
    return out


@given(notional=st.integers(0, AMOUNT_MAX), fee_ppm=st.integers(0, PPM))
def test_fee_is_the_exact_quotient_rounded_down(notional: int, fee_ppm: int) -> None:
    """Python's unbounded integers are the oracle; the compiled core must agree with them."""
    assert fee_of(notional, fee_ppm) == notional * fee_ppm // PPM


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1 << 20), cut=st.integers(0, LENGTH))
def test_a_snapshot_goes_on_as_if_nothing_had_been(seed: int, cut: int) -> None:
    commands = program(seed)
    straight = Exchange(reserve=0)
    run(straight, b"".join(commands[:cut]))
    restored = Exchange(reserve=1000)
    restored.load(dict(straight.sections()))
    restored.check()
    assert restored.state_hash() == straight.state_hash()
    rest = b"".join(commands[cut:])
    assert run(restored, rest) == run(straight, rest)
    assert restored.state_hash() == straight.state_hash()
    assert dict(restored.sections()) == dict(straight.sections())


def small_market() -> bytes:
    """Two accounts with money on one symbol, two bids of one level."""
    name = records.text_words
    limit = records.terms(0, codes.BUY, codes.LIMIT)
    return b"".join(
        [
            records.command(records.LIST_ASSET, 1, 0, 0, *name("B", 2)),
            records.command(records.LIST_ASSET, 1, 1, 0, *name("Q", 2)),
            records.command(records.LIST_SYMBOL, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1000, 1, 1000, 0, 0, 0, 0, 0, 0, 0, 0, *name("BQ", 3)),
            *(records.command(records.OPEN_ACCOUNT, 1, account) for account in (16, 17)),
            *(records.command(records.DEPOSIT, 1, account, account * 2 + asset, asset, 10_000) for account in (16, 17) for asset in (0, 1)),
            records.command(records.PLACE, 1, 16, limit, 10, 5, 0, 0, 7),
            records.command(records.PLACE, 1, 17, limit, 10, 5),
        ]
    )


CHANGEABLE = ("min_notional_atoms", "band_down_ppm", "band_up_ppm", "level_orders_max", "orders_max", "min_qty_lots")


def relisted(**rules: int) -> bytes:
    """The symbol of the small market once more, with other rules."""
    listed = dict.fromkeys(records.SYMBOL_FIELDS, 0)
    names = dict(zip(("name_1", "name_2", "name_3"), records.text_words("BQ", 3), strict=True))
    bounds = {"min_price_ticks": 1, "max_price_ticks": 1000, "min_qty_lots": 1, "max_qty_lots": 1000}
    return records.command(records.LIST_SYMBOL, 1, *(listed | {"quote": 1, "tick": 1, "lot": 1} | bounds | names | rules).values())


def resting(price_ticks: int) -> bytes:
    """The same money frozen, for the same order at another price: only where it rests differs."""
    return records.command(records.PLACE, 1, 16, records.terms(0, codes.SELL, codes.LIMIT), 1000 - price_ticks, 5)


@pytest.mark.parametrize("reserve", [0, 1000])
def test_the_state_hash_tells_apart_what_differs(reserve: int) -> None:
    """One more command of any kind, or the same with another number in it, gives another hash."""
    limit = records.terms(0, codes.BUY, codes.LIMIT)
    deposits = ((90, 0, 1), (91, 0, 1), (90, 1, 1), (90, 0, 2))  # transfer id, asset, atoms
    orders = ((16, 10, 5, 0), (17, 10, 5, 0), (16, 11, 5, 0), (16, 10, 6, 0), (16, 10, 5, 8), (16, 10, 5, 9))  # ..., client id
    reductions = ((16, 1, 1), (16, 1, 2), (17, 2, 1))  # account, order, lots
    changes = [
        records.command(records.TICK, 1),
        *(records.command(records.DEPOSIT, 1, 16, *deposit) for deposit in deposits),
        *(records.command(records.PLACE, 1, account, limit, price, qty, 0, 0, client) for account, price, qty, client in orders),
        *(records.command(records.REDUCE, 1, account, 0, order_id, 0, 0, 0, 0, 0, 0, by) for account, order_id, by in reductions),
        records.command(records.MOVE, 1, 16, 0, 1, 0, 0, 0, 0, 0, 0, 10),  # the same price, but now behind the other
        records.command(records.CANCEL, 1, 16, 0, 1),
        records.command(records.SET_SYMBOL_STATUS, 1, 0, codes.HALT),
        records.command(records.SET_ACCOUNT_STATUS, 1, 16, codes.SUSPENDED),
        records.command(records.SET_ACCOUNT_FEES, 1, 16, 1, 0),
        records.command(records.SET_ACCOUNT_FEES, 1, 16, 0, 1),
        *(relisted(**{rule: 1_500_000 if rule == "band_up_ppm" else 2}) for rule in CHANGEABLE),
        *(records.command(records.WITHDRAW, 1, 16, *deposit) for deposit in deposits[:1]),
        records.command(records.TRANSFER, 1, 16, 90, 0, 1, 17),
        records.command(records.TRANSFER, 1, 17, 90, 0, 1, 16),
        *(resting(price) for price in (9, 8)),
        records.command(records.OPEN_ACCOUNT, 1, 18),
        records.command(records.LIST_ASSET, 1, 2, 3, *records.text_words("C", 2)),
    ]
    hashes = []
    for change in changes:
        exchange = Exchange(reserve=reserve)
        run(exchange, small_market() + change)
        hashes.append(tuple(exchange.state_hash()))
    assert len(set(hashes)) == len(changes)


def test_the_state_hash_is_of_the_logical_state() -> None:
    """What was and is no more leaves no trace in it: slots that were freed, pools that grew, levels that came and went."""
    limit = records.terms(0, codes.SELL, codes.LIMIT)
    detour = [records.command(records.PLACE, 1, 16, limit, price, 1) for price in range(500, 540)]
    back = [records.command(records.CANCEL, 1, 16, 0, order_id) for order_id in range(3, 43)]
    straight, around = Exchange(reserve=1000), Exchange(reserve=0)
    run(straight, small_market() + b"".join(detour + back))
    run(around, small_market() + b"".join(step for pair in zip(detour, back, strict=True) for step in pair))
    assert straight.state_hash() == around.state_hash()


def test_a_long_sweep_is_cut_and_says_the_same() -> None:
    """One order through thousands: each call's output is bounded, and the bytes do not depend on how calls are made."""
    commands = program(1, 4000, SWEEP)
    whole, single = Exchange(reserve=0), Exchange(reserve=0)
    together = run(whole, b"".join(commands))
    apart = b""
    for command in commands:
        at = 0
        while at < len(command) or single.unfinished():
            at = single.advance(command, at)
            single_out = single.take_account_events() + single.take_market_events()
            assert len(single_out) < OUTPUT_BYTES_MAX + (1 << 20)
            apart += single_out
    assert sorted(records.records(apart)) == sorted(records.records(together))
    assert whole.state_hash() == single.state_hash()
    whole.check()


def test_the_output_of_one_call_is_bounded() -> None:
    """Whoever takes it need not hold all that a sweep through a whole book says."""
    makers = 6000
    exchange = Exchange(reserve=0)
    run(exchange, small_market() + relisted(orders_max=10_000, max_qty_lots=makers))
    run(exchange, records.command(records.OPEN_ACCOUNT, 1, 18, 0, 0, 10_000) + records.command(records.DEPOSIT, 1, 18, 99, 0, makers))
    run(exchange, records.command(records.PLACE, 1, 18, records.terms(0, codes.SELL, codes.LIMIT), 20, 1) * makers)
    sweep = records.command(records.DEPOSIT, 1, 16, 98, 1, 20 * makers)
    sweep += records.command(records.PLACE, 1, 16, records.terms(0, codes.BUY, codes.LIMIT, codes.IOC), 20, makers)
    sizes, at = [], 0
    while at < len(sweep) or exchange.unfinished():
        at = exchange.advance(sweep, at)
        sizes.append(len(exchange.take_account_events() + exchange.take_market_events()))
    assert sum(sizes) > 2 * OUTPUT_BYTES_MAX
    assert max(sizes) < OUTPUT_BYTES_MAX + (1 << 20)
    exchange.check()


def test_a_quarantined_record_is_passed_over() -> None:
    commands = program(7, 200)
    exchange, without = Exchange(reserve=0), Exchange(reserve=0)
    exchange.quarantine({150})
    events = run(exchange, b"".join(commands))
    passed = [records.named(event) for event in records.records(events) if event[0] & 0xFF == records.PASSED_OVER]
    assert passed == [{**passed[0], "cause": 150, "command": commands[149][0]}]
    run(without, b"".join([*commands[:149], records.command(records.TICK, 0), *commands[150:]]))
    assert exchange.state_hash() == without.state_hash()


def test_the_time_of_a_quarantined_record_is_not_taken() -> None:
    """A clock that was wrong by years would otherwise have every later deadline passed."""
    exchange = Exchange(reserve=0)
    exchange.quarantine({1})
    run(exchange, records.command(records.TICK, 1 << 61))
    (event,) = records.records(run(exchange, records.command(records.OPEN_ACCOUNT, 10, codes.FIRST_USER)))
    assert records.named(event)["time_us"] == 10


BUDGETS = (1 << 60, (1 << 61) - 1, 1 << 61, (1 << 61) + 1, AMOUNT_MAX - 1, AMOUNT_MAX)


def vast_market() -> bytes:
    """A symbol whose tick x lot is one atom, and all that there can be of both assets."""
    name = records.text_words
    return b"".join(
        [
            records.command(records.LIST_ASSET, 1, 0, 0, *name("B", 2)),
            records.command(records.LIST_ASSET, 1, 1, 0, *name("Q", 2)),
            records.command(records.LIST_SYMBOL, 1, 0, 0, 1, 1, 0, 1, 0, 1, 4, 1, (1 << 60) - 1, 0, 0, 0, 0, 0, 0, 0, 0, *name("BQ", 3)),
            *(records.command(records.OPEN_ACCOUNT, 1, account) for account in (16, 17)),
            records.command(records.DEPOSIT, 1, 16, 1, 0, AMOUNT_MAX),
            records.command(records.DEPOSIT, 1, 17, 2, 1, AMOUNT_MAX),
        ]
    )


def traded(events: bytes) -> int:
    """Quote atoms."""
    named = [records.named(event) for event in records.records(events) if event[0] & 0xFF == records.TRADE]
    return sum(event["price_ticks"] * event["qty_lots"] for event in named)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("side", [codes.BUY, codes.SELL])
def test_a_budget_of_any_size_is_kept(side: int, budget: int) -> None:
    """There is no number of atoms that means none."""
    exchange = Exchange(reserve=0)
    run(exchange, vast_market())
    maker, taker = (16, 17) if side == codes.BUY else (17, 16)
    resting = records.terms(0, 1 - side, codes.LIMIT)
    price_ticks, qty_lots = 4, (1 << 60) - 1
    run(exchange, records.command(records.PLACE, 1, maker, resting, price_ticks, qty_lots))
    events = run(exchange, records.command(records.PLACE, 1, taker, records.terms(0, side, codes.MARKET_QUOTE), 0, 0, budget))
    assert traded(events) == min(budget // price_ticks, qty_lots) * price_ticks
    exchange.check()


def test_a_core_version_that_this_build_does_not_know_stops_it() -> None:
    exchange = Exchange(reserve=0)
    run(exchange, records.command(records.SET_CORE_VERSION, 1, 1))
    with pytest.raises(AssertionError, match="knows the core version"):
        exchange.advance(records.command(records.SET_CORE_VERSION, 1, 2), 0)


def test_time_never_goes_back() -> None:
    exchange = Exchange(reserve=0)
    run(exchange, records.command(records.TICK, 1000))
    (event,) = records.records(run(exchange, records.command(records.OPEN_ACCOUNT, 10, codes.FIRST_USER)))
    assert records.named(event)["time_us"] == 1000


@pytest.mark.parametrize(
    ("kind", "first", "again", "reason"),
    [
        (records.TRANSFER, (0, 100, 17), (0, 100, 17), codes.TRANSFER_REPEATED),
        (records.TRANSFER, (0, 100, 17), (0, 100, 0), codes.TRANSFER_ID_REUSED),
        (records.TRANSFER, (0, 100, 17), (0, 100, 16), codes.TRANSFER_ID_REUSED),
        (records.TRANSFER, (0, 100, 17), (0, 101, 17), codes.TRANSFER_ID_REUSED),
        (records.TRANSFER, (0, 100, 17), (1, 100, 17), codes.TRANSFER_ID_REUSED),
        (records.ADJUST, (0, 100, 17, 65, 0), (0, 100, 17, 65, 0), codes.TRANSFER_REPEATED),
        (records.ADJUST, (0, 100, 17, 65, 0), (0, 100, 0, 65, 0), codes.TRANSFER_ID_REUSED),
        (records.DEPOSIT, (0, 100), (0, 100), codes.TRANSFER_REPEATED),
        (records.DEPOSIT, (0, 100), (0, 101), codes.TRANSFER_ID_REUSED),
        (records.WITHDRAW, (0, 100), (0, 100), codes.TRANSFER_REPEATED),
        (records.REQUEST_WITHDRAWAL, (0, 100), (0, 100), codes.TRANSFER_REPEATED),
        (records.REQUEST_WITHDRAWAL, (0, 100), (0, 99), codes.TRANSFER_ID_REUSED),
    ],
)
def test_a_movement_is_told_from_another_of_the_same_id(kind: int, first: tuple[int, ...], again: tuple[int, ...], reason: int) -> None:
    exchange = Exchange(reserve=0)
    run(exchange, small_market())
    (done,) = records.records(run(exchange, records.command(kind, 3, 16, 900, *first)))
    assert done[0] & 0xFF != records.REFUSED
    (refused,) = records.records(run(exchange, records.command(kind, 4, 16, 900, *again)))
    assert (refused[0] & 0xFF, records.named(refused)["reason"]) == (records.REFUSED, reason)
