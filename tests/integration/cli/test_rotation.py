"""The master key is changed while an exchange goes on, in the order of docs/guides/rotation.md."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests.support.running import START_S, Running, running, zerosum

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "10"}


def wait_until_read(exchange: Running, times: int) -> None:
    """The process has told so often that it uses what is in the file."""
    deadline = time.monotonic() + START_S
    while exchange.output.read_text().count("master_key.changed") < times:
        assert time.monotonic() < deadline, exchange.output.read_text()
        time.sleep(0.05)


@pytest.mark.timeout(180)
def test_the_master_key_is_changed_without_an_order_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    of = ("--data", str(data))
    with running(data) as exchange:
        exchange.wait_for_bids()
        key = json.loads((data / "demo.json").read_text())["demo"]
        before = (data / "master.key").read_text().strip()
        ended = threading.Event()
        refused: list[str] = []
        placed: list[str] = []

        def trade() -> None:
            while not ended.is_set():
                answer = exchange.signed("POST", "/api/v3/order", key, **ORDER)
                (placed if answer.status_code == 200 else refused).append(answer.text)

        trading = threading.Thread(target=trade)
        trading.start()
        zerosum("master-key", "add", *of)
        wait_until_read(exchange, 1)
        zerosum("master-key", "use-new", *of)
        wait_until_read(exchange, 2)
        assert "`zerosum master-key reseal` comes before" in zerosum("master-key", "drop-old", *of, expect=1)
        assert "records were sealed anew" in zerosum("master-key", "reseal", *of)
        zerosum("master-key", "drop-old", *of)
        wait_until_read(exchange, 3)
        made = json.loads(zerosum("key", "create", "1001", *of, "--json"))
        assert exchange.signed("GET", "/api/v3/account", made).status_code == 200
        ended.set()
        trading.join()
        assert refused == []
        assert placed
        after = (data / "master.key").read_text().strip()
        assert len(after) == 64
        assert after != before
        assert not {before, after} & set(exchange.output.read_text().split())
        (data / "master.key").write_text("nonsense\n")
        deadline = time.monotonic() + START_S
        while "master_key.not_changed" not in exchange.output.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert exchange.signed("GET", "/api/v3/account", made).status_code == 200, "a file that is wrong changes nothing"
        (data / "master.key").write_text(f"{after}\n")
        assert exchange.stop() == 0
    with running(data) as exchange:
        assert exchange.signed("GET", "/api/v3/account", made).status_code == 200


def test_what_makes_no_sense_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = ("--data", str(tmp_path / "data"))
    zerosum("init", *of)
    assert "has one master key: add a new one first" in zerosum("master-key", "use-new", *of, expect=1)
    for _ in range(3):
        zerosum("master-key", "add", *of)
    assert "has 4 master keys already" in zerosum("master-key", "add", *of, expect=1)
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", "5e" * 32)
    assert "a key in the environment is changed with a restart" in zerosum("master-key", "add", *of, expect=1)
