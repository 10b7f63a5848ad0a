"""`zerosum replay`: what it counts, what it refuses with file and line, and that a refused one leaves nothing in the way of the next."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli

BALANCES = "user_id,asset_id,avail,frozen,version\n1,1,100000000,0,0\n2,2,10000,0,0\n"
ORDERS = "order_id,user_id,action,side,price,qty\na,1,place,sell,50,0.5\nb,2,place,buy,50,0.25\nc,1,cancel,,,\na,1,cancel,,,\n"
LISTING = """
[[assets]]
name = "AAA"
decimals = 2
[[assets]]
name = "BBB"
decimals = 8
[[symbols]]
name = "AAABBB"
base = "AAA"
quote = "BBB"
tick = "0.0001"
lot = "1"
max_price = "1000"
max_qty = "1000"
"""
GZIPPED = gzip.compress(ORDERS.encode(), mtime=0)  # the same in each process that collects tests


def replay(cli: Cli, folder: Path, orders: str | bytes, balances: str | bytes = BALANCES, *options: object) -> tuple[object, str, str]:
    (folder / "orders.csv").write_bytes(orders if isinstance(orders, bytes) else orders.encode())
    (folder / "balances.csv").write_bytes(balances if isinstance(balances, bytes) else balances.encode())
    files = ("--orders", folder / "orders.csv", "--balances", folder / "balances.csv", "--out", folder / "out")
    said = cli("replay", *files, *options)
    return said.code, said.out, said.err


def test_rejections_are_counted_by_reason(tmp_path: Path, cli: Cli) -> None:
    orders = (
        ORDERS + "d,2,place,buy,60,1\ne,2,place,buy,60,2\nf,1,place,sell,2000000,0.000001\ng,1,place,sell,70,0.1\ng,1,place,sell,70,0.1\n"
    )
    code, out, _ = replay(cli, tmp_path, orders)
    assert code == 0
    assert "accepted  rejected  canceled  trades" in out
    assert {line for line in out.splitlines() if line.startswith("rejected ")} == {
        "rejected INSUFFICIENT_BALANCE: 1", "rejected PRICE_FILTER: 1", "rejected DUPLICATE_CLIENT_ID: 1",
    }  # fmt: skip
    code, out, _ = replay(cli, tmp_path / "out", orders, BALANCES, "--json")
    summary = json.loads(out)
    assert summary["rejected"] == sum(summary["rejected_by_reason"].values()) == 3


@pytest.mark.parametrize(
    ("orders", "why"),
    [
        ("", "orders.csv: the header lacks order_id"),
        (b"\x7fELF\xff\xfe\n\n", "orders.csv: after line 0 it is no text in UTF-8"),
        (GZIPPED[:40], "orders.csv: after line 0 it can't be read: Compressed file ended"),
        (
            GZIPPED[:20] + b"\0\0\0\0" + GZIPPED[24:],
            "orders.csv: after line 0 it can't be read: ",
        ),
        (ORDERS + "d,2\n", "orders.csv:6: the row does not have the header's 6 fields"),
        (ORDERS + "d,2,place,buy,1e3,1\n", "orders.csv:6: price '1e3' is no decimal number"),
        (ORDERS + "d,2,place,buy,0.001,1\n", "orders.csv:6: price '0.001' is not a positive multiple of 0.01"),
        (ORDERS + "d,2,place,buy,1.0000000000000000000000000000000000001,1\n", "is not a positive multiple of 0.01"),
        (ORDERS + f"d,2,place,buy,{'9' * 5000},1\n", "orders.csv:6: price '999"),
        (ORDERS + "d,2,place,buy,1,0\n", "orders.csv:6: qty '0' is not a positive multiple of 0.000001"),
        (ORDERS + "d,2,move,buy,1,1\n", "orders.csv:6: action 'move' with side 'buy': wanted place with buy or sell, or cancel"),
        (ORDERS + "d,2,place,long,1,1\n", "orders.csv:6: action 'place' with side 'long'"),
        (ORDERS + "é,2,place,buy,1,1\n", "orders.csv:6: order_id 'é' is not 1 to 40 printable ASCII characters"),
        (ORDERS + f"{'d' * 41},2,place,buy,1,1\n", "is not 1 to 40 printable ASCII characters"),
        (ORDERS + ",2,place,buy,1,1\n", "orders.csv:6: order_id '' is not 1 to 40"),
        (ORDERS + f'"{"x" * 200_000}",2,place,buy,1,1\n', "orders.csv: after line 5 it can't be read: field larger than field limit"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_orders_that_can_t_be_read_are_told_with_their_line_and_leave_nothing(
    orders: str | bytes, why: str, tmp_path: Path, cli: Cli
) -> None:
    code, _, err = replay(cli, tmp_path, orders)
    assert code == 1
    assert err.startswith("BadRow: ")
    assert why in err
    assert not (tmp_path / "out").exists()
    assert replay(cli, tmp_path, ORDERS)[0] == 0, "the mended command finds its place free"


@pytest.mark.parametrize(
    ("balances", "why"),
    [
        ("1,1,10²,0,0\n", "balances.csv:2: avail '10²' is no whole number"),
        ("1,1,-1,0,0\n", "balances.csv:2: avail '-1' is no whole number"),
        (f"1,1,{'9' * 5000},0,0\n", "balances.csv:2: avail '999"),
        ("1,1,9223372036854775807,0,0\n", "balances.csv:2: avail 9223372036854775807, which counts in 10^-8, is no whole number up to"),
        ("1,2,4611686018427387903,0,0\n", "balances.csv:2: avail 4611686018427387903, which counts in 10^-2"),
        ("1,1,1,1,0\n", "balances.csv:2: wanted asset_id 1 or 2 and frozen 0, found 1,1,1,1,0"),
        ("1,3,1,0,0\n", "balances.csv:2: wanted asset_id 1 or 2"),
        ("1,1,4611686018427387903,0,0\n2,1,1,0,0\n", "balances.csv:3: DEPOSIT was refused: SUPPLY_EXCEEDED"),
    ],
)
def test_balances_that_can_t_be_are_told_with_their_line(balances: str, why: str, tmp_path: Path, cli: Cli) -> None:
    code, _, err = replay(cli, tmp_path, ORDERS, BALANCES.splitlines(keepends=True)[0] + balances)
    assert (code, why in err) == (1, True), err
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_there_are_told(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "there").write_text(ORDERS)
    for orders, balances in (("nope", "there"), (".", "there")):
        said = cli("replay", "--orders", tmp_path / orders, "--balances", tmp_path / balances, "--out", tmp_path / "out")
        assert (said.code, "can't be read: " in said.err) == (1, True)
        assert not (tmp_path / "out").exists()
    said = cli("replay", "--orders", tmp_path / "there", "--balances", tmp_path / "there", "--out", tmp_path / "there")
    assert (said.code, "Traceback" in said.err) == (1, False)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path, cli: Cli) -> None:
    """It may hold the balances that were to be read: the result has a file of that name."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "balances.csv").write_text("x")
    code, _, said = replay(cli, tmp_path, ORDERS)
    assert code == 1
    assert "is not empty: name a new directory for --out" in said
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["x"]


def test_a_folder_that_was_there_stays_without_the_data(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "out").mkdir()
    assert replay(cli, tmp_path, ORDERS + "x\n")[0] == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_another_listing_counts_in_its_own_decimals(tmp_path: Path, cli: Cli) -> None:
    """The base has fewer decimals than the balances file counts in, and the tick more than trades.csv has of its own."""
    (tmp_path / "listing.toml").write_text(LISTING)
    orders = "order_id,user_id,side,price,qty\na,1,sell,1.2345,2\nb,2,buy,1.2345,2\n"
    balances = BALANCES.replace("100000000", "1000000000")  # 10 of the base
    code, _, err = replay(cli, tmp_path, orders, balances, "--listing", tmp_path / "listing.toml")
    assert code == 0, err
    assert (tmp_path / "out" / "trades.csv").read_text().splitlines()[1] == "1,b,a,2,1,buy,12345,200000000,246"
    assert [line.rsplit(",", 1)[0] for line in (tmp_path / "out" / "balances.csv").read_text().splitlines()[1:]] == [
        "1,1,800,0", "1,2,246900000,0", "2,1,200,0", "2,2,9753100000,0",
    ]  # fmt: skip
    odd = balances.replace("1000000000", "1000000001")
    code, _, err = replay(cli, tmp_path / "out", orders, odd, "--listing", tmp_path / "listing.toml")
    assert "balances.csv:2: avail 1000000001, which counts in 10^-8, is no whole number" in err


def test_a_listing_without_a_symbol_is_refused(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "listing.toml").write_text('[[assets]]\nname = "AAA"\n')
    code, _, err = replay(cli, tmp_path, ORDERS, BALANCES, "--listing", tmp_path / "listing.toml")
    assert (code, "there is no symbol in it to replay orders of" in err) == (1, True)
    assert not (tmp_path / "out").exists()
