"""
`zerosum e2e`, scaled down: real processes, real sockets, killed and started again. And that its checks are able to fail.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from zerosum.bench import e2e_orders
from zerosum.bench.e2e_orders import OrderSet
from zerosum.bench.e2e_settled import DoesNotHold, check_balances, check_totals, check_trades
from zerosum.cli.e2e import e2e_command
from zerosum.cli.e2e_generated import generate
from zerosum.core import records
from zerosum.core.codes import FIRST_USER
from zerosum.log.file_log import FileLog
from zerosum.services.datadir import DataDir
from zerosum.services.follower import Follower
from zerosum.services.machine import Machine

CLI = typer.Typer()
CLI.command()(e2e_command)


def test_everything_holds_on_generated_orders(tmp_path: Path) -> None:
    """Through one connection, two kills and an audit; what was seen goes to the report."""
    report = tmp_path / "report.md"
    options = ["--count", "3000", "--users", "100", "--traders", "4", "--seconds", "1.5", "--seed", "7"]
    result = CliRunner().invoke(CLI, [*options, "--data", str(tmp_path / "data"), "--report", str(report), "--json"])

    assert result.exit_code == 0, (result.output, result.exception)
    seen = json.loads(result.stdout)
    assert seen["holds"]
    assert seen["piped"]["orders"] == 3000 == seen["piped"]["accepted"] + seen["piped"]["rejected"]
    assert seen["piped"]["rejected"] > 0 < seen["piped"]["trades"]
    assert seen["exchange_killed"]["checked"]["unknown"] > 0 < seen["exchange_killed"]["checked"]["acknowledged"]
    assert {verdict["check"] for verdict in seen["audit"]} >= {"log", "zero sum", "invariants", "settled record"}
    assert "| trades settled, all as expected |" in report.read_text()


def test_everything_holds_on_the_recorded_orders(tmp_path: Path, shared_dir: Path) -> None:
    """100,000 real orders give the 47,886 trades that another exchange recorded, through the door and into the database."""
    golden = shared_dir / "golden/100k"
    files = ["--orders", "orders.csv.gz", "--balances", "balances_init.csv.gz", "--trades", "expected_trades.csv.gz"]
    paths = [name if name.startswith("--") else str(golden / name) for name in files]
    result = CliRunner().invoke(CLI, [*paths, "--seconds", "1.5", "--json"])

    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads(result.stdout)["piped"]["trades"] == 47_886


def test_two_of_the_three_files_are_refused() -> None:
    result = CliRunner().invoke(CLI, ["--orders", __file__, "--trades", __file__])
    assert result.exit_code == 1
    assert "belong together" in str(result.exception)


# ---------------------------------------------------------------------- the checks


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OrderSet]:
    """A small set of orders, settled, and what was expected of it."""
    orders = generate(seed=3, count=400, users=10)
    data = DataDir(tmp_path_factory.mktemp("settled"))
    commands = e2e_orders.listing().commands()
    transfer_id = 0
    for account, atoms in enumerate(orders.funds, start=FIRST_USER):
        commands.append(records.command(records.OPEN_ACCOUNT, 1, account, 0, 0, 1_000_000))
        for asset, amount in enumerate(atoms):
            transfer_id += 1
            commands.append(records.command(records.DEPOSIT, 1, account, transfer_id, asset, amount))
    for order in orders.orders:
        terms = records.terms(0, int(order.side == "SELL"), 1)
        price_ticks, qty_lots = (int(text.replace(".", "")) for text in (order.price, order.qty))
        words = records.text_words(order.order_id, 5)
        commands.append(records.command(records.PLACE, 1, FIRST_USER + order.user, terms, price_ticks, qty_lots, 0, 0, *words))
    with FileLog.create(data.log) as log:
        log.append(b"".join(commands), count=len(commands), time_us=1, attestation=Machine().attestation())
        log.sync()
        follower = Follower(data)
        follower.follow(len(commands))
        follower.close()
    return data.settled, orders


def test_the_model_and_the_exchange_agree(settled: tuple[Path, OrderSet]) -> None:
    path, orders = settled
    assert check_trades(path, orders) > 50
    check_balances(path, orders)
    check_totals(path, {asset: sum(atoms[asset] for atoms in orders.funds) for asset in (0, 1)})


def test_a_trade_that_differs_is_shown(settled: tuple[Path, OrderSet]) -> None:
    path, orders = settled
    lines = orders.trades_csv.splitlines(keepends=True)
    for wrong in ([*lines[:7], lines[8], *lines[8:]], lines[:-1], [*lines, lines[-1]]):
        with pytest.raises(DoesNotHold, match="the first difference is in line"):
            check_trades(path, replace(orders, trades_csv="".join(wrong)))


def test_a_balance_that_differs_is_shown(settled: tuple[Path, OrderSet]) -> None:
    path, orders = settled
    (key, (available, frozen)), *_ = orders.balances.items()
    with pytest.raises(DoesNotHold, match=f"Account {key[0]} has"):
        check_balances(path, replace(orders, balances={**orders.balances, key: (available, frozen + 1)}))


def test_an_atom_too_many_is_shown(settled: tuple[Path, OrderSet]) -> None:
    path, orders = settled
    with pytest.raises(DoesNotHold, match="Of asset 1 "):
        check_totals(path, {1: sum(atoms[1] for atoms in orders.funds) - 1})
