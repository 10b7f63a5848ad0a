"""
The core writes exactly the events that the model writes, record by record, and ends with the same balances: whatever the commands, however
they are batched, and whether or not its pools must grow on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerosum.build import core_build
from zerosum.core import codes, records
from zerosum.core.exchange import Exchange
from zerosum.core.records import command, kind_name, named, terms, text_words
from zerosum.sim.model import WALK_MAX, Event, Model
from zerosum.sim.programs import EXTREME, SWEEP, USUAL, Program, Step

pytestmark = pytest.mark.both_builds

COMPILED = core_build().compiled
HASH = {"hash_1", "hash_2", "hash_3", "hash_4"}
SHOWN = 10  # the last commands that a failure prints
CHECK_EVERY = 199  # commands
ROOMY = 1 << 20

# Program lengths that take a second or so on each build.
USUAL_LENGTH = 2_500 if COMPILED else 600
SWEEP_LENGTH = 4_000  # a sweep needs its resting orders first
SEEDS = range(24) if COMPILED else range(4)
SWEEP_SEEDS = range(4) if COMPILED else range(1)
EXAMPLES = 200 if COMPILED else 10


class Differs(AssertionError):
    """Where the core and the model part."""


class Comparison:
    """Feeds steps to a core, in batches of `batch` commands, and holds every event against the model's."""

    def __init__(self, model: Model, label: str, *, reserve: int = ROOMY, batch: int = 1) -> None:
        self.model = model
        self.label = label
        self.exchange = Exchange(reserve=reserve)
        self.batch = batch
        self.applied = 0
        self.last_commands: deque[tuple[int, bytes]] = deque(maxlen=SHOWN + batch)
        self.sequences = {"account": 0, "market": 0}

    def run(self, steps: Iterable[Step]) -> None:
        iterator = iter(steps)
        while batch := list(islice(iterator, self.batch)):
            before = self.applied
            self.apply(batch)
            if before // CHECK_EVERY != self.applied // CHECK_EVERY:
                self.check()
        self.check()

    def apply(self, steps: list[Step]) -> None:
        for step in steps:
            self.applied += 1
            self.last_commands.append((self.applied, step.command))
        account_events, market_events = self.advance(b"".join(step.command for step in steps))
        if self.exchange.sequence != self.applied:
            raise self.differs(f"the core's sequence is {self.exchange.sequence}")
        self.compare("account", account_events, [event for step in steps for event in step.account_events])
        self.compare("market", market_events, [event for step in steps for event in step.market_events])

    def advance(self, commands: bytes) -> tuple[bytes, bytes]:
        """Account events and market events. They are taken after every call: a call makes room for a bounded number of them."""
        account_events, market_events = [], []
        at = 0
        while at < len(commands) or self.exchange.unfinished():
            at = self.exchange.advance(commands, at)
            account_events.append(self.exchange.take_account_events())
            market_events.append(self.exchange.take_market_events())
        return b"".join(account_events), b"".join(market_events)

    def compare(self, stream: str, data: bytes, expected: list[Event]) -> None:
        actual = [named(record) for record in records.records(data)]
        for event in actual:
            self.sequences[stream] += 1
            if event.pop("sequence") != self.sequences[stream]:
                raise self.differs(f"{stream} event {self.sequences[stream]} is not numbered so: {shown(event)}")
            if event["kind"] == records.CHECKPOINTED:
                for name in HASH:
                    del event[name]
        if actual != expected:
            same = next((at for at, (one, other) in enumerate(zip(actual, expected, strict=False)) if one != other), None)
            first = min(len(actual), len(expected)) if same is None else same
            wanted, got = (shown(events[first]) if first < len(events) else "no event" for events in (expected, actual))
            raise self.differs(f"{stream} event {first + 1} of the batch\n  expected  {wanted}\n  actual    {got}")

    def check(self) -> None:
        self.exchange.check()
        self.model.check()
        for account_id in self.model.accounts:
            for asset in range(len(self.model.assets)):
                expected, actual = self.model.balance(account_id, asset), self.exchange.balance(account_id, asset)
                if actual != expected:
                    raise self.differs(f"balance of account {account_id}, asset {asset}: expected {expected}, actual {actual}")

    def differs(self, what: str) -> Differs:
        commands = "\n".join(f"  {at:5}  {shown_command(data)}" for at, data in self.last_commands)
        return Differs(f"{self.label}, command {self.applied}: {what}\nthe last commands:\n{commands}")


def shown(event: Event) -> str:
    fields = {name: value for name, value in event.items() if name != "kind"}
    return f"{kind_name(event['kind'])} {fields}"


def shown_command(data: bytes) -> str:
    words = next(records.records(data))
    kind = words[0] & 0xFF
    name, names = records.COMMANDS[kind]
    fields: dict[str, object] = {name: value for name, value in zip(names, words[records.FIELDS :], strict=True) if value}
    if "terms" in names:
        word = words[records.FIELDS + names.index("terms")]
        side, order_type, tif, stp = (word >> shift & 0xFF for shift in (0, 8, 16, 24))
        fields["terms"] = f"symbol {word >> 32} side {side} type {order_type} tif {tif} stp {stp}"
    return f"{name} {fields}"


def run_program(seed: int, flavour: str, length: int) -> None:
    program = Program(seed, flavour)
    reserve = 0 if seed % 2 == 0 else ROOMY
    batch = (1, 1, 7, 64)[seed // 2 % 4]
    comparison = Comparison(program.model, f"{flavour} program {seed}", reserve=reserve, batch=batch)
    comparison.run(islice(program, length))


@pytest.mark.parametrize("flavour", [USUAL, EXTREME])
@pytest.mark.parametrize("seed", SEEDS)
def test_core_writes_what_the_model_writes(seed: int, flavour: str) -> None:
    run_program(seed, flavour, USUAL_LENGTH)


@pytest.mark.parametrize("seed", SWEEP_SEEDS)
def test_sweeps_cut_into_slices_write_the_same(seed: int) -> None:
    """More outcomes than one slice holds, with commands waiting behind them in the same batch."""
    run_program(seed, SWEEP, SWEEP_LENGTH)


@given(seed=st.integers(0, 1 << 32), length=st.integers(20, 400), flavour=st.sampled_from([USUAL, EXTREME]))
@settings(max_examples=EXAMPLES)
def test_core_writes_what_the_model_writes_for_any_seed(seed: int, length: int, flavour: str) -> None:
    """The first commands of a program depend on its seed alone, so a failure shrinks to the shortest one that shows it."""
    run_program(seed, flavour, length)


# The longest walk.

MAKERS = range(codes.FIRST_USER, codes.FIRST_USER + 100)
TAKER = MAKERS.stop
BEST_TICKS = 1_000
LAST_TICKS = BEST_TICKS + WALK_MAX  # one level more than a walk may look at


def deep_book() -> Iterator[bytes]:
    """Asks at one price more than a walk may look at, each of one lot; and one more order at the best price."""
    yield command(records.LIST_ASSET, 1, 0, 0, *text_words("BASE", 2))
    yield command(records.LIST_ASSET, 1, 1, 0, *text_words("QUOTE", 2))
    bounds = (1, 100_000, 1, 100_000, 0, 0, 0, 0, 0, 10_000, 0, codes.TRADING)
    yield command(records.LIST_SYMBOL, 1, 0, 0, 1, 1, 0, 1, 0, *bounds, *text_words("BASEQUOTE", 3))
    for account in (*MAKERS, TAKER):
        yield command(records.OPEN_ACCOUNT, 1, account)
        yield command(records.DEPOSIT, 1, account, 2 * account, 0, 10**6)
        yield command(records.DEPOSIT, 1, account, 2 * account + 1, 1, 10**15)
    for number, price in enumerate((BEST_TICKS, *range(BEST_TICKS, LAST_TICKS + 1))):
        yield command(records.PLACE, 1, MAKERS[number % len(MAKERS)], terms(0, codes.SELL, codes.LIMIT), price, 1)


def test_walk_looks_at_so_many_levels_or_orders_and_no_more() -> None:
    """None but the last taker trades: they differ only in whether the walk comes to its end."""
    fok_budget, market, limit = codes.FOK_BUDGET, codes.MARKET, codes.LIMIT
    none, passes_over = codes.STP_NONE, codes.EXPIRE_MAKER
    takers = [
        # type, stp, price, lots, reason                the best level has two lots, every other one
        (fok_budget, none, 0, WALK_MAX + 1, codes.UNFILLED),
        (fok_budget, none, 0, WALK_MAX + 2, codes.WALK_TOO_LONG),
        (fok_budget, passes_over, 0, WALK_MAX, codes.UNFILLED),
        (fok_budget, passes_over, 0, WALK_MAX + 1, codes.WALK_TOO_LONG),
        (limit, none, LAST_TICKS - 1, WALK_MAX + 2, codes.UNFILLED),
        (limit, none, LAST_TICKS, WALK_MAX + 3, codes.WALK_TOO_LONG),
        (market, none, 100_000, WALK_MAX + 2, codes.WALK_TOO_LONG),
        (market, none, 100_000, WALK_MAX + 1, codes.NO_REASON),
    ]
    model = Model()
    comparison = Comparison(model, "deep book", batch=512)
    comparison.run(Step(data, *model.apply(data)) for data in deep_book())
    comparison.batch = 1
    for order_type, stp, price, lots, reason in takers:
        tif = codes.FOK if order_type == limit else codes.GTC
        budget = 1 if order_type == fok_budget else 0
        data = command(records.PLACE, 1, TAKER, terms(0, codes.BUY, order_type, tif, stp), price, lots, budget)
        step = Step(data, *model.apply(data))
        comparison.run([step])
        last = step.account_events[-1]
        assert last.get("reason", codes.NO_REASON) == reason, shown(last)
