"""The golden 100,000 orders through log, core, follower and database: the trades of a system that nobody here wrote, byte for byte."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.both_builds

TRADES_SHA256 = "1bd7a4ba7c31a08ccd7f87d2aa6cbda0be35f4750038e7abbd9095f54bec70d2"
CENT_ATOMS = 10**6  # that system keeps its quote asset at 2 decimals, the listing here at 8


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def replayed(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    golden = shared_dir / "golden" / "100k"
    out = tmp_path_factory.mktemp("replay")
    command = [
        sys.executable, "-m", "zerosum.cli.main", "replay", "--orders", str(golden / "orders.csv.gz"),
        "--balances", str(golden / "balances_init.csv.gz"), "--out", str(out), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["accepted"], summary["rejected"], summary["trades"]) == (100_000, 0, 47_886)
    return out


def test_the_trades_are_the_golden_ones(replayed: Path) -> None:
    assert hashlib.sha256((replayed / "trades.csv").read_bytes()).hexdigest() == TRADES_SHA256


def test_the_balances_differ_by_rounding_dust_accounted_for_to_the_atom(replayed: Path, shared_dir: Path) -> None:
    """
    That system floors price x quantity to a cent at each trade; a ledger that never rounds a trade differs by just what was cut off: a
    buyer paid so much more here, a seller received it.
    """
    dust: dict[str, int] = defaultdict(int)
    for trade in rows(replayed / "trades.csv"):
        exact_atoms = int(trade["price"]) * int(trade["qty"]) // 100  # cents x 1e-8 base = 1e-10 quote; atoms are 1e-8
        assert exact_atoms * 100 == int(trade["price"]) * int(trade["qty"])
        cut_atoms = exact_atoms - int(trade["quote_amount"]) * CENT_ATOMS
        assert 0 <= cut_atoms < CENT_ATOMS
        dust[trade["buyer_user_id"]] -= cut_atoms
        dust[trade["seller_user_id"]] += cut_atoms
    expected = {(row["user_id"], row["asset_id"]): row for row in rows(shared_dir / "golden" / "100k" / "expected_balances_final.csv.gz")}
    ours = {(row["user_id"], row["asset_id"]): row for row in rows(replayed / "balances.csv")}
    assert ours.keys() == expected.keys()
    for (user, asset), row in ours.items():
        total = int(row["avail"]) + int(row["frozen"])
        theirs = int(expected[user, asset]["avail"]) + int(expected[user, asset]["frozen"])
        if asset == "1":
            assert total == theirs, f"user {user}: the base asset has the same decimals in both"
        else:
            assert total - theirs * CENT_ATOMS == dust[user], f"user {user}: the difference is what the floors cut off"


def test_the_audit_holds(replayed: Path) -> None:
    command = [sys.executable, "-m", "zerosum.cli.main", "audit", str(replayed / "data"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    verdicts = json.loads(done.stdout)
    assert [verdict["check"] for verdict in verdicts if not verdict["holds"]] == []
    assert len(verdicts) == 7
    assert done.returncode == 0
