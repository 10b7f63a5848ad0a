"""
The settled record on a real SQLite: the same whatever the batches, whatever interrupts it, and the same trades as a recorded run.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from pathlib import Path
from random import Random

import pytest

from tests.golden.test_model_golden import account_of, rows, setup_commands
from tests.unit.settlement.support import ALICE, SYMBOL, Run, dump, joined, opened_market, read, settle
from zerosum.core import codes, records
from zerosum.core.exchange import Exchange
from zerosum.core.records import command, terms, text_words
from zerosum.settlement.batch import Batch
from zerosum.settlement.export import write_balances_csv, write_trades_csv
from zerosum.settlement.history import History
from zerosum.settlement.rows import OrderRow
from zerosum.settlement.sqlite import SqliteStore
from zerosum.settlement.verify import verify
from zerosum.sim.model import Model
from zerosum.sim.programs import EXTREME, SWEEP, USUAL, Program

TRADES_SHA256 = "1bd7a4ba7c31a08ccd7f87d2aa6cbda0be35f4750038e7abbd9095f54bec70d2"

# Settles every batch of a file, from the first; says before each that it begins.
SETTLER = """
import pickle, sys
from pathlib import Path
from zerosum.settlement.sqlite import Batch, SqliteStore

store = SqliteStore(Path(sys.argv[1]))
for batch in pickle.loads(Path(sys.argv[2]).read_bytes()):
    print(batch[0], flush=True)
    store.write(Batch(*batch))
store.close()
"""


def program_run(seed: int, length: int, flavour: str) -> tuple[Run, Model]:
    run = Run()
    program = Program(seed, flavour)
    for _ in range(length):
        run.apply(next(program).command)
    return run, program.model


def random_split(batches: list[Batch], random: Random, *, overlap: bool) -> Iterator[Batch]:
    at = 0
    while at < len(batches):
        begin = max(0, at - random.randrange(20)) if overlap else at
        at = min(len(batches), at + random.choice((1, 1, 2, 10, 200)))
        yield joined(batches[begin:at])


def assert_record_is(path: Path, run: Run, model: Model) -> None:
    """Balances and open orders are those of the core and of the model, which know nothing of settlement."""
    for account, asset, available, frozen, _ in read(path, "SELECT * FROM balances"):
        assert (available, frozen) == run.exchange.balance(account, asset) == model.balance(account, asset)
    settled = {(account, asset) for account, asset, _, _, _ in read(path, "SELECT * FROM balances")}
    for account in model.accounts:
        for asset in range(len(model.assets)):
            assert (account, asset) in settled or run.exchange.balance(account, asset) == (0, 0)
    open_orders = {order.order_id: order for account in model.accounts.values() for order in account.orders.values()}
    active = [OrderRow._make(row) for row in read(path, "SELECT * FROM active_orders")]
    assert {row.order_id for row in active} == set(open_orders)
    for row in active:
        order = open_orders[row.order_id]
        told = (row.account, row.price_ticks, row.qty_lots - row.executed_lots - row.prevented_lots, row.frozen_atoms)
        assert told == (order.account.account_id, order.price_ticks, order.open_lots, order.frozen_atoms)
    assert read(path, "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM active_orders)") == [(model.orders_admitted,)]


@pytest.mark.parametrize(("seed", "length", "flavour"), [(1, 800, USUAL), (2, 800, USUAL), (4, 1_200, EXTREME)])
def test_any_program_in_any_batches_gives_the_same_record(tmp_path: Path, seed: int, length: int, flavour: str) -> None:
    run, model = program_run(seed, length, flavour)
    random = Random(seed)
    at_once = settle(tmp_path / "at_once.db", [joined(run.batches)])
    expected = dump(at_once)
    assert len(expected["user_trades"]) > 50
    assert verify(at_once) == []
    assert_record_is(at_once, run, model)

    one_by_one = settle(tmp_path / "one_by_one.db", run.batches)
    assert dump(one_by_one) == expected
    split = settle(tmp_path / "split.db", random_split(run.batches, random, overlap=True))
    assert dump(split) == expected
    restarted = tmp_path / "restarted.db"
    for batch in random_split(run.batches, random, overlap=False):
        settle(restarted, [batch])
    assert dump(restarted) == expected


def test_a_sweep_past_what_the_core_puts_out_at_a_time(tmp_path: Path) -> None:
    run, model = program_run(1, 3_700, SWEEP)
    path = settle(tmp_path / "settled.db", [joined(run.batches)])
    assert max(len(batch.account_events) for batch in run.batches) > 1 << 18
    assert verify(path) == []
    assert_record_is(path, run, model)
    assert dump(settle(tmp_path / "split.db", random_split(run.batches, Random(1), overlap=True))) == dump(path)


def test_killed_at_any_moment_it_ends_with_the_same_record(tmp_path: Path) -> None:
    """kill -9, again and again; each start gives all events from the first one on, as a follower does from an old snapshot."""
    run, _ = program_run(11, 800, USUAL)
    batches = [joined(run.batches[at : at + 3]) for at in range(0, len(run.batches), 3)]
    expected = dump(settle(tmp_path / "expected.db", batches))
    events = tmp_path / "events"
    events.write_bytes(pickle.dumps([tuple(batch) for batch in batches]))
    path = tmp_path / "settled.db"
    random = Random(11)

    positions: list[int] = []
    for _ in range(6):
        position = positions[-1] if positions else 0
        with subprocess.Popen([sys.executable, "-c", SETTLER, path, events], stdout=subprocess.PIPE, text=True) as settler:
            assert settler.stdout is not None
            new = random.randint(1, 60)  # batches past those that are there already
            for line in settler.stdout:
                new -= int(line) > position
                if new == 0:
                    break
            time.sleep(random.random() * 0.002)
            settler.kill()
        assert settler.returncode == -9
        positions.append(read(path, "SELECT sequence FROM settlement_state")[0][0])
        assert verify(path) == []
    assert positions == sorted(positions)
    assert len(set(positions)) > 3, "it was killed in the middle"
    assert positions[-1] < batches[-1].sequence

    subprocess.run([sys.executable, "-c", SETTLER, path, events], check=True, stdout=subprocess.DEVNULL)
    assert dump(path) == expected


def test_a_reader_sees_whole_batches_while_they_are_written(tmp_path: Path) -> None:
    """Each batch places two orders; never is there one without the other, nor a position without both."""
    path = tmp_path / "settled.db"
    run = opened_market()
    store = SqliteStore(path)
    store.write(joined(run.batches))
    setup = len(run.batches)
    for _ in range(200):
        run.place(ALICE, codes.BUY, 10, 1)
    done = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        history = History(path)
        while not done.is_set():
            seen.append(len(history.all_orders(ALICE, SYMBOL, limit=1_000)))
        history.close()

    reader = threading.Thread(target=watch)
    reader.start()
    for at in range(setup, len(run.batches), 2):
        store.write(joined(run.batches[at : at + 2]))
    done.set()
    reader.join()
    store.close()
    assert len(set(seen)) > 1
    assert {count % 2 for count in seen} == {0}
    assert seen == sorted(seen)


def golden_batches(directory: Path) -> Iterator[Batch]:
    """The recorded run, 5,000 commands at a time. An order's client id is its id in the file."""
    exchange = Exchange()
    commands = list(setup_commands(directory))
    for row in rows(directory / "orders.csv.gz"):
        side = codes.BUY if row["side"] == "buy" else codes.SELL
        price_ticks, qty_lots = int(Decimal(row["price"]).scaleb(2)), int(Decimal(row["qty"]).scaleb(6))
        account, client = account_of(row["user_id"]), text_words(row["order_id"], 5)
        commands.append(command(records.PLACE, 2, account, terms(0, side, codes.LIMIT), price_ticks, qty_lots, 0, 0, *client))
    for begin in range(0, len(commands), 5_000):
        group = b"".join(commands[begin : begin + 5_000])
        account_events, market_events = b"", b""
        at = 0
        while at < len(group) or exchange.unfinished():
            at = exchange.advance(group, at)
            account_events += exchange.take_account_events()
            market_events += exchange.take_market_events()
        yield Batch(exchange.sequence, account_events, market_events)


def test_the_recorded_run_settles_to_its_recorded_trades(tmp_path: Path, shared_dir: Path) -> None:
    """47,886 trades of a system that nobody here wrote, byte for byte; its balances but for the dust that it rounds away."""
    directory = shared_dir / "golden" / "100k"
    path = settle(tmp_path / "settled.db", golden_batches(directory))
    assert verify(path) == []

    trades = StringIO()
    assert write_trades_csv(path, trades, symbol=0, account_name=lambda account: str(account - codes.FIRST_USER)) == 47_886
    text = trades.getvalue().encode()
    assert hashlib.sha256(text).hexdigest() == TRADES_SHA256
    assert text == gzip.decompress((directory / "expected_trades.csv.gz").read_bytes())

    balances = StringIO()
    assert write_balances_csv(
        path, balances, account_name=lambda account: str(account - codes.FIRST_USER), asset_name=lambda asset: str(asset + 1), decimals={}
    ) == 2_000  # fmt: skip
    base = {line.rpartition(",")[0] for line in balances.getvalue().splitlines() if line.split(",")[1] == "1"}
    recorded = gzip.decompress((directory / "expected_balances_final.csv.gz").read_bytes()).decode()
    assert base == {line.rpartition(",")[0] for line in recorded.splitlines() if line.split(",")[1] == "1"}
