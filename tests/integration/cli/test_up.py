"""`zerosum up` as a newcomer meets it: the demo market trades, the example works, Ctrl-C ends it, the next start goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.running import Running, running, zerosum

ROOT = Path(__file__).parents[3]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
LISTING = """
[[assets]]
name = "AAA"
decimals = 8
[[assets]]
name = "BBB"
decimals = 2
[[symbols]]
name = "AAABBB"
base = "AAA"
quote = "BBB"
tick = "0.01"
lot = "1"
max_price = "1000"
max_qty = "1000"
"""


def wait_for_trades(exchange: Running, seconds: float = 30) -> dict[str, int]:
    """The last trade id of each symbol, once all have traded."""
    deadline = time.monotonic() + seconds
    while True:
        last = {symbol: [trade["id"] for trade in exchange.get("/api/v3/trades", symbol=symbol)] for symbol in SYMBOLS}
        if all(last.values()):
            return {symbol: ids[-1] for symbol, ids in last.items()}
        assert time.monotonic() < deadline, f"no trades in {[symbol for symbol, ids in last.items() if not ids]}"
        time.sleep(0.1)


@pytest.mark.timeout(180)
def test_the_demo_market_trades_stops_and_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as exchange:
        first = wait_for_trades(exchange)
        ready = httpx.get(f"http://127.0.0.1:{exchange.ports['operations']}/readyz", timeout=10)
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert set(ready.json()["checks"]) == {"serves", "disk", "exchange", "settlement", "clock", "keys"}
        example = [sys.executable, str(ROOT / "examples" / "place_order.py"), str(data), exchange.base_url]
        said = subprocess.run(example, capture_output=True, text=True, timeout=60)
        assert said.returncode == 0, said.stderr
        assert [line.rpartition(" ")[2] for line in said.stdout.splitlines()] == ["NEW", "1", "CANCELED"]
        assert exchange.stop() == 0
        assert "stopped cleanly" in exchange.output.read_text()
    key = json.loads((data / "demo.json").read_text())["demo"]
    with running(data) as exchange:
        again = wait_for_trades(exchange)
        assert all(again[symbol] >= first[symbol] for symbol in SYMBOLS), "trade ids go on where they were"
        orders = exchange.signed("GET", "/api/v3/allOrders", key, symbol="BTCUSDT").json()
        assert [order["status"] for order in orders] == ["CANCELED"], "the example's order of the first run is in the history"
        assert exchange.stop() == 0
    assert all(verdict["holds"] for verdict in json.loads(zerosum("audit", str(data), "--json")))


@pytest.mark.timeout(180)
def test_an_operator_makes_a_market_by_command(tmp_path: Path) -> None:
    """Each command on the stopped exchange and on the running one; a key works at once and is refused within a second of its revocation."""
    data = tmp_path / "data"
    listing = tmp_path / "listing.toml"
    listing.write_text(LISTING)
    zerosum("init", "--data", str(data))
    zerosum("listing", "add", str(listing), "--data", str(data))
    zerosum("account", "open", "1001", "--data", str(data), "--taker-ppm", "0")
    with running(data, "--no-demo") as exchange:
        zerosum("deposit", "1001", "BBB", "12.34", "--id", "7", "--data", str(data))
        zerosum("withdraw", "1001", "BBB", "2.34", "--data", str(data))
        key = json.loads(zerosum("key", "create", "1001", "--data", str(data), "--json"))
        account = exchange.signed("GET", "/api/v3/account", key).json()
        assert [balance for balance in account["balances"] if balance["asset"] == "BBB"] == [
            {"asset": "BBB", "free": "10.00000000", "locked": "0.00000000"}
        ]
        running_state = json.loads(zerosum("state", str(data), "--json"))
        assert {row["account"] for row in running_state["balances"] if row["available_atoms"] == 1000} == {1001}
        assert "an exchange that runs can't be audited. Stop it first." in zerosum("audit", "--data", str(data), expect=1)
        order = {"symbol": "AAABBB", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "1.00", "quantity": "3"}
        assert exchange.signed("POST", "/api/v3/order", key, **order).json()["status"] == "NEW"
        zerosum("listing", "status", "AAABBB", "halt", "--data", str(data))
        assert exchange.signed("POST", "/api/v3/order", key, **order).status_code == 400
        zerosum("account", "status", "1001", "suspended", "--data", str(data))
        zerosum("key", "revoke", key["api_key"], "--data", str(data))
        time.sleep(1.0)
        refused = exchange.signed("GET", "/api/v3/account", key)
        assert (refused.status_code, refused.json()["code"]) == (400, -1022)
        assert exchange.stop() == 0
    zerosum("deposit", "1001", "BBB", "1", "--data", str(data))  # the exchange is stopped: straight into the log
    state = json.loads(zerosum("state", str(data), "--json"))
    mine = [row for row in state["balances"] if (row["account"], row["asset"]) == (1001, "BBB")]
    assert [(row["available_atoms"], row["frozen_atoms"]) for row in mine] == [(800, 300)]


def test_a_data_directory_in_use_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, "--no-demo") as exchange:
        said = zerosum(
            "up", "--data", str(data), "--rest-port", "0", "--websocket-port", "0", "--operations-port", "0", "--admin-port", "0", expect=1
        )
        assert f"{exchange.process.pid}" in said
        assert exchange.get("/api/v3/ping") == {}
        assert exchange.stop() == 0


def test_a_command_does_not_write_into_a_log_that_lost_what_was_settled(tmp_path: Path) -> None:
    """It would get a sequence that another command had, and be refused with the whole log at the next start."""
    data = tmp_path / "data"
    with running(data, "--no-demo") as exchange:
        zerosum("account", "open", "1001", "--data", str(data))
        assert exchange.stop() == 0
    shutil.rmtree(data / "log")
    assert "LogBehindFollower" in zerosum("account", "open", "1002", "--data", str(data), expect=1)
    assert not (data / "log").exists()


def test_a_path_too_long_for_a_socket_is_refused_with_the_reason(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    said = zerosum(
        "up", "--data", str(data), "--rest-port", "0", "--websocket-port", "0", "--operations-port", "0", "--admin-port", "0", expect=1
    )
    assert "choose a data directory with a shorter one" in said
