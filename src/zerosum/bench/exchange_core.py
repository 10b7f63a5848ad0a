"""
The exchange-core single-pair workload: the command stream that exchange-core publishes its figures on, made again bit for bit.

    JavaRandom --> Workload --> Command, Command, ... --> row()     the published CSV text
                    |    ^                             |
            command v    | live orders, last price     +-> packed()  32 bytes each, what a benchmark feeds on
                ReferenceBook

One symbol. 1,000 GTC orders fill the book (phase FILL, not timed), then 3,000,000 commands keep about 1,000 orders alive (phase BENCHMARK):
71 % moves, 13 % GTC orders, 7 % reductions, 7 % cancels, 2 % IOC and FOK_BUDGET orders. A command names only orders that live, so the
generator has to match as it goes; the book it keeps is the plainest that is right, and its end state is the answer for the engine measured.

Prices are in ticks and sizes in lots. Self-trades happen and nobody runs out of funds: turn self-trade prevention off, and deposit amply.

Always true:
  - the rows of the whole workload have the SHA-256 ROWS_SHA256, and the book they leave has BOOK_SHA256
  - a cancel, reduce or move names an order that rests in the book, and its owner
"""

from __future__ import annotations

import hashlib
import os
import struct
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Final, NamedTuple, final

from zerosum.bench.java_random import JavaRandom, objects_hash

COMMANDS: Final = 3_000_000
PREFILL: Final = 1_000
SYMBOL: Final = 40_000
UIDS: Final = (*range(897, 1_001), *range(1, 898))  # 1,001 of them: the list wraps, and 897 is there twice

ROWS_SHA256: Final = "a1479857f06db4a8634587190e78ec7465e1bdd8a6f8292605a9278bbf0bfe69"
BOOK_SHA256: Final = "6514eb007419a78e0b88c12bd2fb2c7c261dc1dddc54adef47e6d4d5fed37f0b"

SEED: Final = 1
SIDE_ORDERS_TARGET: Final = 500
LACK_URGENT: Final = 375
COUNT_EVERY_COMMANDS: Final = 512
VICTIMS_MAX: Final = 512
MOVE_PART: Final = 0.01

PACKED: Final = struct.Struct("<qqqiBBBx")
OPS: Final = {"PLACE_ORDER": 0, "CANCEL_ORDER": 1, "REDUCE_ORDER": 2, "MOVE_ORDER": 3}
SIDES: Final = {"BID": 0, "ASK": 1}
TIFS: Final = {"GTC": 0, "IOC": 1, "FOK_BUDGET": 2, "null": 0}
BATCH_COMMANDS: Final = 50_000
# Says what the bytes are a function of, so that a cache of other rows or another layout is never read for this one.
CACHE_NAME: Final = f"exchange_core_{ROWS_SHA256[:8]}_{PACKED.size}.bin"


class Command(NamedTuple):
    """
    One command, as its row shows it.

    `price` is the limit, the whole budget of a FOK_BUDGET order, or 0; `size` is the order's, the reduction, or 0.
    `action` is the side of the order, BID or ASK; `order_type` is "null" unless the command places an order.
    """

    phase: str
    command: str
    order_id: int
    symbol: int
    price: int
    size: int
    action: str
    order_type: str
    uid: int


def generate(commands: int = COMMANDS, prefill: int = PREFILL) -> Iterator[Command]:
    """The workload's first `prefill` + `commands` commands. Take a Workload instead to see the book that they leave."""
    return Workload().generate(commands, prefill)


def row(command: Command) -> str:
    """The command's line of CSV, with its line end: phase,command,order_id,symbol,price,size,action,order_type,uid."""
    phase, name, order_id, symbol, price, size, action, order_type, uid = command
    return f"{phase},{name},{order_id},{symbol},{price},{size},{action},{order_type},{uid}\n"


def packed(commands: Iterable[Command]) -> bytes:
    """
    The commands as 32-byte little-endian rows: order_id, price, size (i64), uid (i32), op, side, tif (u8), one byte of padding.

    op: 0 place, 1 cancel, 2 reduce, 3 move. side: 0 BID, 1 ASK. tif: 0 GTC (and whatever places no order), 1 IOC, 2 FOK_BUDGET.
    """
    pack, ops, sides, tifs = PACKED.pack, OPS, SIDES, TIFS
    return b"".join(
        [
            pack(order_id, price, size, uid, ops[name], sides[action], tifs[order_type])
            for _, name, order_id, _, price, size, action, order_type, uid in commands
        ]
    )


def load_or_generate(cache_dir: Path, progress: Callable[[int, int], None] | None = None) -> bytes:
    """
    The whole workload, packed: read from `cache_dir`, or generated into it, which takes well under a minute.

    The directory is created if need be, and a damaged cache is generated again. `progress` is told (commands done, commands in all).
    """
    path = cache_dir / CACHE_NAME
    data = load_verified(path)
    if data is None:
        data = _generate_verified(progress)
        cache_dir.mkdir(parents=True, exist_ok=True)
        store_verified(path, data)
    return data


def load_verified(path: Path) -> bytes | None:
    """What store_verified wrote, or None if it is absent, or not what was written."""
    try:
        data, digest = path.read_bytes(), _digest_path(path).read_bytes()
    except FileNotFoundError:
        return None
    return data if digest == _digest_line(path, data) else None


def store_verified(path: Path, data: bytes) -> None:
    """Write `data`, and beside it a .sha256 file that `sha256sum -c` reads too."""
    for target, content in ((path, data), (_digest_path(path), _digest_line(path, data))):
        # Another run may be reading or writing the same file: it finds a whole one, old or new.
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            draft.write_bytes(content)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest_line(path: Path, data: bytes) -> bytes:
    return f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode()


def _generate_verified(progress: Callable[[int, int], None] | None) -> bytes:
    commands = generate()
    digest = hashlib.sha256()
    parts: list[bytes] = []
    done = 0
    while batch := list(islice(commands, BATCH_COMMANDS)):
        digest.update("".join(map(row, batch)).encode())
        parts.append(packed(batch))
        done += len(batch)
        if progress is not None:
            progress(done, PREFILL + COMMANDS)
    # Raised by hand, because -O takes asserts out: figures taken on any other commands would compare with nothing.
    if digest.hexdigest() != ROWS_SHA256:
        raise AssertionError(f"the generated rows have SHA-256 {digest.hexdigest()}, the workload's have {ROWS_SHA256}")
    return b"".join(parts)


@final
class Workload:
    """The generator: draws a command, applies it to its own book, and hands it out."""

    def __init__(self) -> None:
        self.random: Final = JavaRandom(objects_hash(SYMBOL * -177_277, SEED * 10_037 + 198_267))
        self.book: Final = ReferenceBook()
        start = int(10 ** (3.3 + self.random.next_double() * 1.5 + self.random.next_double() * 1.5))
        self.deviation: Final = min(int(start * 0.05), 10_000)
        self.price_min: Final = start - 5 * self.deviation
        self.price_max: Final = start + 5 * self.deviation
        self.last_price = start
        self.orders_placed = 0
        # How many orders a side lacks is counted now and then only, and commands are chosen by the last count.
        self.bids_lack = SIDE_ORDERS_TARGET
        self.asks_lack = SIDE_ORDERS_TARGET
        self.was_full = False

    def generate(self, commands: int = COMMANDS, prefill: int = PREFILL) -> Iterator[Command]:
        """`prefill` orders, then `commands` commands. Each has been applied to `book` when it is handed out. To be called once."""
        for i in range(prefill + commands):
            yield self._place_gtc("FILL") if i < prefill else self._draw()
            if i % COUNT_EVERY_COMMANDS == 0 and i > 0:
                self._count_orders()

    def _draw(self) -> Command:
        lack = self.bids_lack if self._draw_is_bid() else self.asks_lack
        if lack <= 0:
            self.was_full = True
            choices = 40
        elif lack > LACK_URGENT or not self.was_full:
            choices = 2
        else:
            choices = 10
        choice = self.random.next_int(choices)
        if choice < 2:
            return self._place_gtc("BENCHMARK") if lack > 0 else self._place_instant()
        ids = self.book.order_ids
        victim = self.book.orders[ids[self.random.next_int(min(len(ids), VICTIMS_MAX))]]
        if choice == 2:
            return self._cancel(victim)
        if choice == 3:
            return self._reduce(victim)
        return self._move(victim)

    def _place_gtc(self, phase: str) -> Command:
        draw = self.random.next_int
        is_bid = self._draw_is_bid()
        uid = UIDS[draw(len(UIDS))]
        fraction = self.random.next_double()
        reach = 1 + int(fraction * fraction * self.deviation)
        offset = (draw(reach) + draw(reach) + draw(reach) + draw(reach)) // 4 * 2 - reach
        distance = abs(offset)
        price = self.last_price - distance if is_bid else self.last_price + distance
        size = self._draw_size(6)
        order = self._new_order(uid, is_bid, price, size)
        self._traded_at(self.book.place(order))
        return self._placed(phase, order, price, size, "GTC")

    def _place_instant(self) -> Command:
        is_bid = self._draw_is_bid()
        uid = UIDS[self.random.next_int(len(UIDS))]
        limit = self.price_max if is_bid else self.price_min
        if self.random.next_int(32) == 0:
            size = self._draw_size(8)
            order = self._new_order(uid, is_bid, limit, size)
            self._traded_at(self.book.match_within_budget(order, size * limit))
            command = self._placed("BENCHMARK", order, size * limit, size, "FOK_BUDGET")
        else:
            size = self._draw_size(6)
            order = self._new_order(uid, is_bid, limit, size)
            self._traded_at(self.book.match(order))
            command = self._placed("BENCHMARK", order, limit, size, "IOC")
        if order.size > 0:
            self._count_orders()
        return command

    def _cancel(self, victim: Order) -> Command:
        self.book.remove(victim)
        return Command("BENCHMARK", "CANCEL_ORDER", victim.id, SYMBOL, 0, 0, victim.action, "null", victim.uid)

    def _reduce(self, victim: Order) -> Command:
        size = 1 + self.random.next_int(victim.size)
        self.book.reduce(victim, size)
        return Command("BENCHMARK", "REDUCE_ORDER", victim.id, SYMBOL, 0, size, victim.action, "null", victim.uid)

    def _move(self, victim: Order) -> Command:
        """A hundredth of the way to the last price, at least one tick."""
        price, last = victim.price, self.last_price
        if price < last:
            price += ceil((last - price) * MOVE_PART)
        elif price > last:
            price -= ceil((price - last) * MOVE_PART)
        else:
            price += self.random.next_int(2) * 2 - 1
        self._traded_at(self.book.move(victim, price))
        return Command("BENCHMARK", "MOVE_ORDER", victim.id, SYMBOL, price, 0, victim.action, "null", victim.uid)

    def _draw_is_bid(self) -> bool:
        return self.random.next_int(4) >= 2

    def _draw_size(self, bound: int) -> int:
        draw = self.random.next_int
        return 1 + draw(bound) * draw(bound) * draw(bound)

    def _new_order(self, uid: int, is_bid: bool, price: int, size: int) -> Order:
        self.orders_placed += 1
        return Order(self.orders_placed, uid, is_bid, price, size)

    def _placed(self, phase: str, order: Order, price: int, size: int, order_type: str) -> Command:
        return Command(phase, "PLACE_ORDER", order.id, SYMBOL, price, size, order.action, order_type, order.uid)

    def _traded_at(self, price: int | None) -> None:
        if price is not None:
            self.last_price = min(max(price, self.price_min), self.price_max)

    def _count_orders(self) -> None:
        self.bids_lack = SIDE_ORDERS_TARGET - self.book.bids.orders
        self.asks_lack = SIDE_ORDERS_TARGET - self.book.asks.orders


@dataclass(slots=True)
class Order:
    """An order and what is open of it."""

    id: int
    uid: int
    is_bid: bool
    price: int
    size: int

    @property
    def action(self) -> str:
        return "BID" if self.is_bid else "ASK"


@dataclass(slots=True)
class Side:
    """
    One side's orders by price and, within a price, in order of entry.

    A rank is a price as this side's takers see it: `sign` * price, so that the lowest rank is the best price on either side.
    """

    sign: int
    orders: int = 0
    ranks: list[int] = field(default_factory=list)  # sorted
    levels: dict[int, dict[int, Order]] = field(default_factory=dict)  # by rank; a level is never empty

    def add(self, order: Order) -> None:
        rank = self.sign * order.price
        level = self.levels.get(rank)
        if level is None:
            self.levels[rank] = {order.id: order}
            insort(self.ranks, rank)
        else:
            level[order.id] = order
        self.orders += 1

    def remove(self, order: Order) -> None:
        rank = self.sign * order.price
        level = self.levels[rank]
        del level[order.id]
        if not level:
            del self.levels[rank]
            del self.ranks[bisect_left(self.ranks, rank)]
        self.orders -= 1


@final
class ReferenceBook:
    """
    The plainest order book that is right: price-time priority, the maker's price, self-trades allowed.

    What matches returns the price of its last trade, or None if there was none.
    """

    def __init__(self) -> None:
        self.bids: Final = Side(sign=-1)
        self.asks: Final = Side(sign=1)
        self.orders: Final[dict[int, Order]] = {}
        self.order_ids: Final[list[int]] = []  # of `orders`, sorted: oldest first
        self.trades = 0

    def place(self, order: Order) -> int | None:
        """Match a new order, the newest of all, and rest what is left of it."""
        last = self.match(order)
        if order.size > 0:
            self._side(order.is_bid).add(order)
            self.orders[order.id] = order
            self.order_ids.append(order.id)
        return last

    def move(self, order: Order, price: int) -> int | None:
        """Take a resting order out, match it at the new price, and rest what is left at the end of its level."""
        side = self._side(order.is_bid)
        side.remove(order)
        order.price = price
        last = self.match(order)
        if order.size > 0:
            side.add(order)
        else:
            self._forget(order)
        return last

    def reduce(self, order: Order, size: int) -> None:
        """Take `size` off a resting order. It keeps its place, and leaves at zero."""
        order.size -= size
        if order.size == 0:
            self.remove(order)

    def remove(self, order: Order) -> None:
        self._side(order.is_bid).remove(order)
        self._forget(order)

    def match(self, taker: Order) -> int | None:
        """Trade up to the taker's price, and leave in its size what found no maker."""
        makers = self._side(not taker.is_bid)
        rank_max = makers.sign * taker.price
        last = None
        while taker.size > 0 and makers.ranks and makers.ranks[0] <= rank_max:
            maker = next(iter(makers.levels[makers.ranks[0]].values()))
            size = min(taker.size, maker.size)
            taker.size -= size
            self.reduce(maker, size)
            last = maker.price
            self.trades += 1
        return last

    def match_within_budget(self, taker: Order, budget: int) -> int | None:
        """Trade the whole of the taker, if a bid costs at most `budget` or an ask earns at least that; nothing otherwise."""
        makers = self._side(not taker.is_bid)
        price, value, left = taker.price, 0, taker.size
        for rank in makers.ranks:
            price = makers.sign * rank
            volume = min(left, sum(maker.size for maker in makers.levels[rank].values()))
            value += volume * price
            left -= volume
            if left == 0:
                break
        satisfied = value <= budget if taker.is_bid else value >= budget
        if left > 0 or not satisfied:
            return None
        taker.price = price
        return self.match(taker)

    def rows(self) -> list[str]:
        """`A|B,price,volume,orders` for every level: asks best first, then bids best first."""
        return [
            f"{name},{rank * side.sign},{sum(order.size for order in level.values())},{len(level)}"
            for name, side in (("A", self.asks), ("B", self.bids))
            for rank, level in ((rank, side.levels[rank]) for rank in side.ranks)
        ]

    def sha256(self) -> str:
        """Of the rows joined by line ends: BOOK_SHA256 after the whole workload."""
        return hashlib.sha256("\n".join(self.rows()).encode()).hexdigest()

    def _side(self, is_bid: bool) -> Side:
        return self.bids if is_bid else self.asks

    def _forget(self, order: Order) -> None:
        del self.orders[order.id]
        del self.order_ids[bisect_left(self.order_ids, order.id)]
