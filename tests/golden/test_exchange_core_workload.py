"""
The generated exchange-core workload is the published one, to the byte.

Every figure of ours on this workload stands beside figures of exchange-core's own, so one command that differs would void them all.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from zerosum.bench.exchange_core import (
    BOOK_SHA256,
    CACHE_NAME,
    COMMANDS,
    PACKED,
    PREFILL,
    ROWS_SHA256,
    Order,
    ReferenceBook,
    Workload,
    generate,
    load_or_generate,
    load_verified,
    packed,
    row,
    store_verified,
)
from zerosum.bench.java_random import JavaRandom, objects_hash

HEADER = "phase,command,order_id,symbol,price,size,action,order_type,uid\n"
BOUNDS = (4, 40, 512, 1001, 2**30 + 1, 2**31 - 1, 1)  # 2^30 + 1 is the bound that draws again most often, every other time

# What a JDK prints: three rounds of nextInt over BOUNDS, then two nextDouble.
FROM_JDK = {
    0: (
        [2, 28, 123, 632, 663681053, 1182054491, 0, 2, 14, 170, 387, 827187473, 1316484262, 0, 3, 4, 11, 944, 377907320, 590459143, 0],
        [0.12889715087377673, 0.14660165764651822],
    ),
    42: (
        [2, 3, 349, 38, 662969970, 2023087525, 0, 2, 39, 46, 143, 969067502, 791955276, 0, 1, 32, 237, 229, 326327863, 937357226, 0],
        [0.7499061812554475, 0.38656687435934867],
    ),
    -1: (
        [1, 25, 6, 720, 894294477, 857465478, 0, 0, 8, 158, 485, 149520196, 176890342, 0, 2, 12, 286, 280, 754206257, 1997687263, 0],
        [0.6217126300259462, 0.23263624314841125],
    ),
    1234567890123: (
        [3, 10, 392, 40, 458291080, 470392121, 0, 2, 34, 165, 693, 585266439, 573369870, 0, 2, 14, 229, 191, 193442413, 1730423588, 0],
        [0.36055274754047406, 0.4458726197271762],
    ),
}


@pytest.mark.parametrize("seed", FROM_JDK)
def test_random_numbers_are_those_of_java(seed: int) -> None:
    ints, doubles = FROM_JDK[seed]
    random = JavaRandom(seed)
    assert [random.next_int(bound) for _ in range(3) for bound in BOUNDS] == ints
    assert [random.next_double() for _ in doubles] == doubles


@pytest.mark.parametrize(
    ("values", "expected"), [((), 1), ((1, 2), 994), ((40_000 * -177_277, 208_304), -779_938_639), ((-(2**31), 2**31 - 1), 960)]
)
def test_hash_wraps_as_in_java(values: tuple[int, ...], expected: int) -> None:
    assert objects_hash(*values) == expected


def test_first_rows_equal_the_recorded_ones(shared_dir: Path) -> None:
    """Row by row, so that a failure names the first command that differs, which a hash cannot."""
    with gzip.open(shared_dir / "golden" / "exchange_core_11k" / "commands.csv.gz", "rt", encoding="ascii", newline="") as file:
        recorded = list(file)
    assert recorded[0] == HEADER
    assert len(recorded) == 1 + 11_000
    for number, (command, expected) in enumerate(zip(generate(commands=10_000), recorded[1:], strict=True), start=1):
        assert row(command) == expected, f"row {number} differs"


def test_whole_workload_and_the_book_it_leaves_have_the_golden_hashes() -> None:
    workload = Workload()
    digest = hashlib.sha256()
    mix: Counter[str] = Counter()
    prefill_trades = 0
    for number, command in enumerate(workload.generate(), start=1):
        digest.update(row(command).encode())
        if command.phase == "BENCHMARK":
            mix[command.order_type if command.command == "PLACE_ORDER" else command.command] += 1
        if number == PREFILL:
            prefill_trades = workload.book.trades
    assert mix.total() == COMMANDS
    assert digest.hexdigest() == ROWS_SHA256
    assert workload.book.sha256() == BOOK_SHA256
    assert (len(workload.book.asks.ranks), len(workload.book.bids.ranks)) == (265, 253)
    assert workload.book.trades - prefill_trades == 122_595
    percent = {name: f"{100 * count / COMMANDS:.2f}" for name, count in mix.items()}
    assert percent == {
        "MOVE_ORDER": "71.13",
        "GTC": "12.60",
        "REDUCE_ORDER": "7.22",
        "CANCEL_ORDER": "7.20",
        "IOC": "1.80",
        "FOK_BUDGET": "0.06",
    }


def test_packed_rows_hold_every_field() -> None:
    """Every kind of command that the first 11,000 have, told from its row and from its 32 bytes."""
    ops = {"PLACE_ORDER": 0, "CANCEL_ORDER": 1, "REDUCE_ORDER": 2, "MOVE_ORDER": 3}
    tifs = {"GTC": 0, "IOC": 1, "FOK_BUDGET": 2, "null": 0}
    commands = list(generate(commands=10_000))
    data = packed(commands)
    assert len(data) == 32 * len(commands)
    assert {(command.command, command.order_type, command.action) for command in commands} >= {
        ("PLACE_ORDER", "GTC", "ASK"),
        ("PLACE_ORDER", "IOC", "BID"),
        ("CANCEL_ORDER", "null", "ASK"),
        ("REDUCE_ORDER", "null", "BID"),
        ("MOVE_ORDER", "null", "ASK"),
    }
    for command, fields in zip(commands, PACKED.iter_unpack(data), strict=True):
        side = 1 if command.action == "ASK" else 0
        op, tif = ops[command.command], tifs[command.order_type]
        assert fields == (command.order_id, command.price, command.size, command.uid, op, side, tif)


def test_damaged_cache_is_generated_again_and_a_good_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cache" / CACHE_NAME
    path.parent.mkdir()
    store_verified(path, b"another workload")
    path.write_bytes(b"another_workload")
    calls: list[tuple[int, int]] = []

    data = load_or_generate(path.parent, lambda done, total: calls.append((done, total)))

    assert len(data) == PACKED.size * (PREFILL + COMMANDS)
    assert data.startswith(packed(islice(generate(), 2_000)))
    assert calls == sorted(calls)
    assert calls[-1] == (PREFILL + COMMANDS, PREFILL + COMMANDS)
    calls.clear()
    assert load_or_generate(path.parent, lambda done, total: calls.append((done, total))) == data
    assert calls == [], "a good cache is not generated again"
    assert sorted(file.name for file in path.parent.iterdir()) == [CACHE_NAME, f"{CACHE_NAME}.sha256"]


def test_only_what_was_stored_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    assert load_verified(path) is None
    store_verified(path, b"one two three")
    assert load_verified(path) == b"one two three"
    for damaged in (b"", b"one two thre", b"one two thref", b"one two three."):
        path.write_bytes(damaged)
        assert load_verified(path) is None
    store_verified(path, b"one two three")
    (tmp_path / "data.bin.sha256").unlink()
    assert load_verified(path) is None


@pytest.mark.parametrize(
    ("is_bid", "size", "budget", "last_price"),
    [
        (True, 5, 3 * 101 + 2 * 102, 102),
        (True, 5, 3 * 101 + 2 * 102 - 1, None),
        (True, 8, 10_000, None),
        (False, 5, 3 * 99 + 2 * 98, 98),
        (False, 5, 3 * 99 + 2 * 98 + 1, None),
        (False, 8, 0, None),
    ],
)
def test_budget_order_trades_whole_or_not_at_all(is_bid: bool, size: int, budget: int, last_price: int | None) -> None:
    """The workload's own budgets are always satisfied: its prices keep far from the edges that they are made of."""
    book = ReferenceBook()
    for order_id, (maker_is_bid, price) in enumerate([(False, 101), (False, 102), (True, 99), (True, 98)], start=1):
        book.place(Order(order_id, 1, maker_is_bid, price, 3 if price in (101, 99) else 4))
    before = book.rows()
    taker = Order(5, 2, is_bid, 102 if is_bid else 98, size)

    assert book.match_within_budget(taker, budget) == last_price
    if last_price is None:
        assert (taker.size, book.rows()) == (size, before)
    else:
        assert taker.size == 0
        taken = ["A,102,2,1", "B,99,3,1", "B,98,4,1"] if is_bid else ["A,101,3,1", "A,102,4,1", "B,98,2,1"]
        assert book.rows() == taken
