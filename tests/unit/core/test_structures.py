"""The core's structures against the plain ones of Python: whatever is done to them, they hold what a dict or a sorted list would."""

from __future__ import annotations

import bisect
import random

import pytest

from zerosum.core.bits import bit, lowest_bit, mix, spread
from zerosum.core.index import Index
from zerosum.core.pool import NONE, Pool
from zerosum.core.ticktree import NODE_WORDS, TickTree

pytestmark = pytest.mark.both_builds

WORD_MIN, WORD_MAX = -(1 << 63), (1 << 63) - 1


def signed(word: int) -> int:
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)


@pytest.mark.parametrize("digit", range(64))
def test_a_bit_is_the_same_word_on_both_builds(digit: int) -> None:
    assert bit(digit) == signed(1 << digit)
    assert lowest_bit(bit(digit)) == digit
    assert lowest_bit(signed(1 << digit | 1 << 63)) == digit


def test_lowest_bit_of_any_word() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        word = rng.getrandbits(64) << rng.randrange(60) & (1 << 64) - 1
        if word:
            assert lowest_bit(signed(word)) == (word & -word).bit_length() - 1


def test_spread_and_mix_do_not_depend_on_wrapping() -> None:
    """The expected values come from Python's unbounded integers; the compiled words wrap."""
    rng = random.Random(2)
    for _ in range(2000):
        key = rng.choice([rng.randrange(WORD_MIN, WORD_MAX), rng.randrange(100), 1 << rng.randrange(63)])
        assert spread(key) == ((key ^ key >> 32) * 2850178704830799621 >> 32) & 0x7FFFFFFF
        state = rng.getrandbits(62)
        product = (state ^ key ^ key >> 31) * 3935559000370003845 & (1 << 62) - 1
        assert mix(state, key, 3935559000370003845) == product ^ product >> 31


@pytest.mark.parametrize("reserve", [0, 1000])
def test_pool_hands_out_each_slot_once_and_takes_it_back(reserve: int) -> None:
    rng = random.Random(3)
    pool = Pool(4, reserve)
    live: dict[int, int] = {}
    for count in range(3000):
        if live and rng.random() < 0.45:
            slot = rng.choice(list(live))
            assert pool.has(slot, live.pop(slot))
            pool.give(slot)
            assert not pool.has(slot, count)
        else:
            slot = pool.take()
            assert slot not in live
            assert slot != NONE
            pool.words[slot] = live[slot] = count + 1
        if count % 300 == 0:
            pool.check()
    assert sorted(pool.slots()) == sorted(live)


def test_a_handle_is_only_a_hint() -> None:
    pool = Pool(4, 0)
    slot = pool.take()
    pool.words[slot] = 7
    assert pool.has(slot, 7)
    for handle, key in ((slot, 8), (slot + 1, 7), (-4, 7), (1 << 40, 7), (0, 7)):
        assert not pool.has(handle, key)


@pytest.mark.parametrize("reserve", [0, 1000])
def test_index_finds_what_a_dict_would(reserve: int) -> None:
    rng = random.Random(4)
    pool = Pool(3, reserve)
    index = Index(pool, reserve)
    plain: dict[int, int] = {}
    for count in range(6000):
        key = rng.choice((rng.randrange(1, 3000), 1 << rng.randrange(62), rng.randrange(1, 50) << 48, rng.randrange(1, 50) << 32 | 7))
        assert index.get(key) == plain.get(key, NONE)
        if key in plain:
            slot = plain.pop(key)
            index.remove(slot)
            pool.give(slot)
        else:
            slot = pool.take()
            pool.words[slot] = key
            index.put(slot)
            plain[key] = slot
        if count % 500 == 0:
            index.check()
    index.check()
    assert index.count == len(plain)


def test_index_keeps_records_of_one_key_apart() -> None:
    pool = Pool(3, 0)
    index = Index(pool, 0)
    slots = set()
    for _ in range(20):
        slot = pool.take()
        pool.words[slot] = 42
        index.put(slot)
        slots.add(slot)
    found = []
    slot = index.get(42)
    while slot != NONE:
        found.append(slot)
        slot = index.same_after(slot)
    assert sorted(found) == sorted(slots)


@pytest.mark.parametrize(
    ("ranks", "near"), [(60, False), (64, False), (65, False), (4096, True), (65_536, True), (1 << 30, True), (1 << 41, False)]
)
def test_tick_tree_is_in_order(ranks: int, near: bool) -> None:
    """first() and after() against a sorted list, over ranges of one level and of seven."""
    rng = random.Random(ranks)
    pool = Pool(NODE_WORDS, 0)
    tree, other = TickTree(ranks, pool), TickTree(ranks, pool)  # two trees share a pool and must not meet
    tree.open()
    other.open()
    other.put(ranks - 1, 99)
    ordered: list[int] = []
    values: dict[int, int] = {}
    centre = rng.randrange(ranks)
    for count in range(1500):
        rank = min(ranks - 1, max(0, centre + rng.randrange(-200, 200))) if near and rng.random() < 0.7 else rng.randrange(ranks)
        if ordered and rng.random() < 0.48:
            rank = rng.choice(ordered)
        assert tree.get(rank) == values.get(rank, NONE)
        if rank in values:
            at = bisect.bisect_right(ordered, rank)
            assert tree.after(rank) == (values[ordered[at]] if at < len(ordered) else NONE)
            tree.remove(rank)
            del values[rank]
            ordered.pop(bisect.bisect_left(ordered, rank))
        else:
            tree.put(rank, count + 1)
            values[rank] = count + 1
            bisect.insort(ordered, rank)
        assert tree.first() == (values[ordered[0]] if ordered else NONE)
    assert tree.items() == [values[rank] for rank in ordered]
    assert tree.check() + other.check() == pool.live
    while ordered:
        tree.remove(ordered.pop())
    assert tree.check() == 1, "an empty tree is its root"
    assert other.items() == [99]
