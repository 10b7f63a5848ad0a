"""
How many orders the SQLite store settles in a second of CPU time: `zerosum bench settlement`.

Random limit orders of many accounts, half of them trade, a fifth of the others is canceled; every order has a client id and every trade has
fees. Only the store's work is timed: from event bytes to committed transactions, checkpoints of the WAL included.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from zerosum.core import codes, records
from zerosum.core.records import command, terms, text_words
from zerosum.services.machine import Machine
from zerosum.settlement.sqlite import Batch, SqliteStore

FUNDS_ATOMS = 1 << 48
START_US = 1_700_000_000_000_000
ORDER_US = 20
MID_TICKS = 50_000


def setup(accounts: int, symbols: int) -> Iterator[bytes]:
    for asset in range(symbols + 1):
        yield command(records.LIST_ASSET, START_US, asset, 8, *text_words(f"A{asset}", 2))
    for symbol in range(symbols):
        limits = (1, 1_000_000, 1, 1_000_000, 0, 0, 0, 0, 0, 10_000, 0, codes.TRADING)
        yield command(records.LIST_SYMBOL, START_US, symbol, symbol + 1, 0, 1, 2, 1, 6, *limits, *text_words(f"S{symbol}", 3))
    for user in range(accounts):
        account = codes.FIRST_USER + user
        yield command(records.OPEN_ACCOUNT, START_US, account, 100, 200, 100_000)
        for asset in range(symbols + 1):
            yield command(records.DEPOSIT, START_US, account, user * (symbols + 1) + asset + 1, asset, FUNDS_ATOMS)


def orders(count: int, accounts: int, symbols: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    placed: list[tuple[int, int, int]] = []
    for number in range(1, count + 1):
        time_us = START_US + number * ORDER_US
        account = codes.FIRST_USER + rng.randrange(accounts)
        symbol = rng.randrange(symbols)
        side = rng.randrange(2)
        price_ticks = MID_TICKS + rng.randrange(-50, 51) + (-12 if side == codes.BUY else 12)
        qty_lots = rng.randrange(1, 1000)
        client = text_words(f"{rng.getrandbits(128):032x}", 5)
        yield command(records.PLACE, time_us, account, terms(symbol, side, codes.LIMIT), price_ticks, qty_lots, 0, 0, *client)
        placed.append((account, symbol, number))
        if number % 5 == 0:
            owner, of, order_id = placed[rng.randrange(max(0, number - 1000), number)]
            yield command(records.CANCEL, time_us, owner, of << 32, order_id)


def batches(commands: Iterator[bytes], machine: Machine, size: int) -> Iterator[Batch]:
    group: list[bytes] = []
    for each in commands:
        group.append(each)
        if len(group) == size:
            yield settled_together(machine, group)
            group.clear()
    yield settled_together(machine, group)


def settled_together(machine: Machine, commands: list[bytes]) -> Batch:
    output = machine.apply(b"".join(commands))
    return Batch(output.last_sequence, output.account_events, output.market_events)


def measure(count: int, accounts: int, symbols: int, batch_commands: int, seed: int = 1) -> dict[str, int | float]:
    """Settles `count` random orders in a fresh database, `batch_commands` in a transaction."""
    machine = Machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settled.db"
        store = SqliteStore(path)
        for batch in batches(setup(accounts, symbols), machine, 1_000):
            store.write(batch)
        trades = 0
        cpu_s = wall_s = 0.0
        for batch in batches(orders(count, accounts, symbols, seed), machine, batch_commands):
            trades += sum(event[0] & 0xFF == records.TRADE for event in records.records(batch.market_events))
            began_cpu, began_wall = time.process_time(), time.perf_counter()
            store.write(batch)
            cpu_s += time.process_time() - began_cpu
            wall_s += time.perf_counter() - began_wall
        began_cpu = time.process_time()
        store.fold()
        cpu_s += time.process_time() - began_cpu
        store.close()
        size_bytes = path.stat().st_size
    return {
        "orders": count,
        "trades": trades,
        "accounts": accounts,
        "symbols": symbols,
        "orders_per_cpu_second": round(count / cpu_s),
        "cpu_seconds": round(cpu_s, 3),
        "seconds": round(wall_s, 3),
        "bytes_per_order": round(size_bytes / count),
    }
