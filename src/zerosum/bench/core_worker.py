"""
Measures the core of the build that this interpreter imports, and prints one JSON object: run by `zerosum bench core` once a build.

    workload   the exchange-core commands: throughput per CPU second, then latency at a fixed rate against planned times (open loop)
    growth     books filled to N open orders over S symbols: throughput, bytes an order, the worst stall on the way

Always true: the whole core is measured, UBSCore and matching with both event streams written and taken; the final book's hash and every
asset's total are part of the result, so that nobody gets faster by doing less.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import random
import resource
import statistics
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from zerosum.bench.exchange_core import PREFILL, load_or_generate
from zerosum.core import records
from zerosum.core.codes import BUY, FIRST_USER, FOK_BUDGET, GTC, IOC, LIMIT
from zerosum.core.exchange import Exchange

BATCH: Final = 64
USERS: Final = 1000
FIRST_UID: Final = 1
FIRST_ACCOUNT: Final = FIRST_USER
PACKED: Final = struct.Struct("<qqqiBBBx")
PLACE: Final = struct.Struct("<13q")
AMEND: Final = struct.Struct("<12q")
CANCEL: Final = struct.Struct("<16q")


def head(kind: int, words: int) -> int:
    return kind | records.FORMAT << 8 | words << 16


def place(account: int, terms: int, price_ticks: int, qty_lots: int, budget_atoms: int = 0) -> bytes:
    return PLACE.pack(head(records.PLACE, 13), 1, account, terms, price_ticks, qty_lots, budget_atoms, 0, 0, 0, 0, 0, 0)


def amend(kind: int, account: int, symbol: int, order_id: int, value: int) -> bytes:
    return AMEND.pack(head(kind, 12), 1, account, symbol << 32, order_id, 0, 0, 0, 0, 0, 0, value)


def cancel(account: int, symbol: int, order_id: int) -> bytes:
    return CANCEL.pack(head(records.CANCEL, 16), 1, account, symbol << 32, order_id, *(0,) * 11)


def fresh(symbols: int, max_price_ticks: int) -> Exchange:
    """An exchange with its symbols, and accounts that never run out of funds. Maker 100 ppm, taker 200."""
    setup = [records.command(records.LIST_ASSET, 1, asset, 0, *records.text_words(name, 2)) for asset, name in ((0, "BASE"), (1, "QUOTE"))]
    for symbol in range(symbols):
        name = records.text_words(f"S{symbol}", 3)
        setup.append(
            records.command(
                records.LIST_SYMBOL, 1, symbol, 0, 1, 1, 0, 1, 0, 1, max_price_ticks, 1, 1 << 20, 0, 0, 0, 0, 0, 10_000, 0, 0, *name
            )
        )
    for user in range(USERS):
        account = FIRST_ACCOUNT + user
        setup.append(records.command(records.OPEN_ACCOUNT, 1, account, 100, 200, 1 << 40))
        setup.append(records.command(records.DEPOSIT, 1, account, 2 * user + 1, 0, 10**12))
        setup.append(records.command(records.DEPOSIT, 1, account, 2 * user + 2, 1, 4 * 10**15))
    exchange = Exchange()
    run(exchange, b"".join(setup))
    return exchange


def run(exchange: Exchange, commands: bytes) -> int:
    """Apply, and take the events. Returns their bytes."""
    at = size = 0
    while at < len(commands) or exchange.unfinished():
        at = exchange.advance(commands, at)
        size += len(exchange.take_account_events()) + len(exchange.take_market_events())
    return size


def workload_commands(packed: bytes) -> Iterator[bytes]:
    """The rows as our commands. Our order ids are dense in the order of placing, as the workload's are."""
    ids: dict[int, int] = {}
    tifs = (GTC, IOC, GTC)
    for order_id, price, size, uid, op, side, kind in PACKED.iter_unpack(packed):
        account = FIRST_ACCOUNT + uid - FIRST_UID
        if op == 0:
            ids[order_id] = len(ids) + 1
            if kind == 2:
                yield place(account, records.terms(0, side, FOK_BUDGET), 0, size, price)
            else:
                yield place(account, records.terms(0, side, LIMIT, tifs[kind]), price, size)
        elif op == 1:
            yield cancel(account, 0, ids[order_id])
        else:
            yield amend(records.REDUCE if op == 2 else records.MOVE, account, 0, ids[order_id], size if op == 2 else price)


def book_sha256(exchange: Exchange) -> str:
    book = exchange.matching.books[0]
    rows = [f"{tag},{price},{lots},{orders}" for tag, side in (("A", book.asks), ("B", book.bids)) for price, lots, orders in side.depth()]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def measure_throughput(commands: list[bytes], rounds: int) -> dict[str, Any]:
    batches = [b"".join(commands[i : i + BATCH]) for i in range(PREFILL, len(commands), BATCH)]
    rates: list[float] = []
    results: list[dict[str, Any]] = []
    for _ in range(rounds):
        exchange = fresh(1, 65_535)
        run(exchange, b"".join(commands[:PREFILL]))
        start = time.thread_time()
        event_bytes = sum(run(exchange, batch) for batch in batches)
        rates.append((len(commands) - PREFILL) / (time.thread_time() - start))
        exchange.check()
        result = {
            "event_bytes_per_command": round(event_bytes / (len(commands) - PREFILL), 1),
            "trades": int(exchange.matching.books[0].trades),
            "book_sha256": book_sha256(exchange),
            "asset_totals": exchange.ubscore.ledger.totals(),
            "state_hash": [f"{part & (1 << 64) - 1:016x}" for part in exchange.state_hash()],
        }
        results.append(result)
    assert all(result == results[0] for result in results), "the same commands give the same state"
    return {
        "commands": len(commands) - PREFILL,
        "commands_per_cpu_second": round(statistics.median(rates)),
        "rounds": [round(rate) for rate in rates],
        **results[0],
    }


def measure_latency(commands: list[bytes], rate_per_s: int) -> dict[str, Any]:
    """Each command is due at its planned time, whether or not those before it are done; what is due is applied at once, 64 at most."""
    exchange = fresh(1, 65_535)
    run(exchange, b"".join(commands[:PREFILL]))
    timed = commands[PREFILL : PREFILL + rate_per_s]  # about a second
    latencies_ns = array("q")
    step_ns = 1_000_000_000 / rate_per_s
    start = time.perf_counter_ns()
    done = 0
    while done < len(timed):
        due = min(len(timed), int((time.perf_counter_ns() - start) / step_ns) + 1, done + BATCH)
        if due == done:
            continue
        run(exchange, b"".join(timed[done:due]))
        end = time.perf_counter_ns() - start
        latencies_ns.extend([end - int(index * step_ns) for index in range(done, due)])
        done = due
    ordered = sorted(latencies_ns)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] for name, part in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))}
    return {"rate_per_s": rate_per_s, **{f"latency_us_{name}": round(value / 1000, 1) for name, value in at.items()}}


def measure_growth(open_orders: int, symbols: int, commands: int) -> dict[str, Any]:
    """Fill the books with orders that rest, then change random ones: half moves, the rest cancels, placings and small takes."""
    rng = random.Random(1)
    mid, span = 1 << 17, max(8, min(50_000, open_orders // symbols // 2))
    exchange = fresh(symbols, 1 << 18)

    def price(side: int) -> int:
        return mid - 1 - rng.randrange(span) if side == BUY else mid + 1 + rng.randrange(span)

    live: list[tuple[int, int, int, int]] = []
    resident_before = resident_bytes()
    worst_ns = order_id = 0
    batch: list[bytes] = []
    for index in range(open_orders):
        side, symbol, account = index & 1, rng.randrange(symbols), FIRST_ACCOUNT + rng.randrange(USERS)
        order_id += 1
        batch.append(place(account, records.terms(symbol, side, LIMIT), price(side), 1 + rng.randrange(20)))
        live.append((order_id, account, symbol, side))
        if len(batch) == BATCH:
            data = b"".join(batch)
            batch.clear()
            start_ns = time.thread_time_ns()
            run(exchange, data)
            worst_ns = max(worst_ns, time.thread_time_ns() - start_ns)
    run(exchange, b"".join(batch))
    placed, pool_bytes = exchange.matching.orders.live, used_bytes(exchange)
    resident = resident_bytes() - resident_before

    changes = []
    for _ in range(commands):
        chance, index = rng.random(), rng.randrange(len(live))
        victim, account, symbol, side = live[index]
        if chance < 0.5:
            changes.append(amend(records.MOVE, account, symbol, victim, price(side)))
        elif chance < 0.7 and len(live) > 1:
            changes.append(cancel(account, symbol, victim))
            live[index] = live[-1]
            live.pop()
        else:
            side, symbol, account = rng.randrange(2), rng.randrange(symbols), FIRST_ACCOUNT + rng.randrange(USERS)
            order_id += 1
            if chance < 0.9:
                changes.append(place(account, records.terms(symbol, side, LIMIT), price(side), 1 + rng.randrange(20)))
                live.append((order_id, account, symbol, side))
            else:
                far = mid + span if side == BUY else mid - span
                changes.append(place(account, records.terms(symbol, side, LIMIT, IOC), far, 1 + rng.randrange(8)))
    batches = [b"".join(changes[i : i + BATCH]) for i in range(0, len(changes), BATCH)]
    start = time.thread_time()
    for data in batches:
        run(exchange, data)
    spent = time.thread_time() - start
    return {
        "open_orders": int(placed),
        "symbols": symbols,
        "commands_per_cpu_second": round(commands / spent),
        "worst_stall_ms": round(worst_ns / 1e6, 2),
        "bytes_per_open_order": round(pool_bytes / max(1, placed)),
        "resident_bytes_per_open_order": round(resident / max(1, placed)),
        "asset_totals": exchange.ubscore.ledger.totals(),
    }


def used_bytes(exchange: Exchange) -> int:
    """What the records and buckets of open orders take."""
    holds, matching = exchange.ubscore.holds, exchange.matching
    pools = (holds.pool, holds.seats, matching.orders, matching.levels, matching.nodes)
    return 8 * (sum(len(pool.words) for pool in pools) + len(holds.by_id.buckets) + len(matching.orders_by_id.buckets))


def resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--commands", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--latency-rate", type=int, required=True)
    parser.add_argument("--growth", type=int, nargs="*", default=[], help="open orders to grow to")
    options = parser.parse_args()
    gc.disable()
    packed = load_or_generate(options.cache)[: (PREFILL + options.commands) * PACKED.size]
    commands = list(workload_commands(packed))
    result = measure_throughput(commands, options.rounds)
    result.update(measure_latency(commands, options.latency_rate))
    del commands
    result["growth"] = [
        measure_growth(open_orders, symbols, min(300_000, 3 * open_orders)) for open_orders in options.growth for symbols in (1, 1000)
    ]
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
