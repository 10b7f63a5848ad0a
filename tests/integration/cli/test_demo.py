"""The demo market: only in a log that it has founded, founded whole or not at all, and its secret for its owner's eyes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli
from tests.support.exchange import children
from tests.support.running import running, zerosum
from tests.support.serving import serving
from zerosum.cli.demo import NAME, DemoMarket, founding
from zerosum.services.datadir import DataDir
from zerosum.services.embedded import Embedded
from zerosum.services.opening import open_log

LEFT_OUT = "has a market of its own. Start with --no-demo, or with enabled = false in [demo], not to be told this."


def keys_in(data: Path) -> int:
    with closing(sqlite3.connect(data / "identities.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM documents WHERE kind = 'key'").fetchone()
        return int(count)


def test_the_demo_stays_out_of_a_market_that_it_has_not_founded(tmp_path: Path, cli: Cli) -> None:
    """Its users have the numbers of real ones: it would get keys to their accounts, and trade with their money."""
    data = tmp_path / "data"
    cli("init", "--data", data)
    for account in (1001, 1002, 1003):
        cli("account", "open", account, "--data", data)
    with running(data) as exchange:
        said = exchange.output.read_text()
        assert f"The demo market is left out: {data} {LEFT_OUT}" in said
        assert "secret" not in said
        assert exchange.stop() == 0
    assert not (data / NAME).exists()
    assert keys_in(data) == 0
    with running(data, "--no-demo") as exchange:
        assert "demo market" not in exchange.output.read_text()
        assert exchange.stop() == 0


@pytest.mark.timeout(120)
def test_a_founding_goes_on_after_a_start_without_it_only_if_it_was_made(tmp_path: Path) -> None:
    """demo.json alone proves nothing: the start that wrote it may have been killed, and the market be somebody's own by now."""
    data = tmp_path / "data"
    with running(data) as exchange:
        assert NAME in exchange.output.read_text(), "where the secret is, for what is no terminal"
        assert f"python3 examples/place_order.py {data} {exchange.base_url}\n" in exchange.output.read_text()
        key = json.loads((data / NAME).read_text())["demo"]
        assert key["secret"] not in exchange.output.read_text()
        exchange.kill()
    other = tmp_path / "other"
    zerosum("init", "--data", str(other))
    (other / NAME).write_text((data / NAME).read_text())
    with running(other) as exchange:  # the keys of another log: an empty one is founded with keys of its own
        assert json.loads((other / NAME).read_text())["demo"] != key
        assert exchange.signed("GET", "/api/v3/account", json.loads((other / NAME).read_text())["demo"]).status_code == 200
        assert exchange.stop() == 0
    theirs = tmp_path / "theirs"
    with running(theirs, "--no-demo") as exchange:
        zerosum("account", "open", "1001", "--data", str(theirs))
        assert exchange.stop() == 0
    marker = {**json.loads((data / NAME).read_text()), "log": log_id(theirs)}
    (theirs / NAME).write_text(json.dumps(marker))  # as a founding leaves it that was killed before its commands were durable
    with running(theirs) as exchange:
        assert LEFT_OUT in exchange.output.read_text()
        assert exchange.stop() == 0
    assert keys_in(theirs) == 0
    (theirs / NAME).write_text("{")
    assert "Move it away, or start with --no-demo" in zerosum(
        "up", "--data", str(theirs), "--rest-port", "0", "--websocket-port", "0", "--operations-port", "0", "--admin-port", "0", expect=1
    )


@asynccontextmanager
async def demo_on(embedded: Embedded) -> AsyncIterator[None]:
    market = DemoMarket(embedded, "127.0.0.1:1", "127.0.0.1:1")
    try:
        await market.start()
        yield
    finally:
        await market.stop()


async def test_a_founding_that_was_killed_before_it_was_durable_is_made_at_the_next_start(tmp_path: Path) -> None:
    """demo.json is there by then, and nothing is in the log."""
    data = DataDir(tmp_path / "data")
    async with serving(data) as embedded:
        keys = DemoMarket(embedded, "127.0.0.1:1", "127.0.0.1:1")._make_keys()
    async with serving(data) as embedded, demo_on(embedded):
        assert embedded.machine.sequence == len(founding())
        assert json.loads((data.root / NAME).read_text()) == keys
        assert {key.account_id for key in embedded.identities.keys.list()} == {1001, 1002, 1003}
    async with serving(data) as embedded:
        before = embedded.machine.sequence
        async with demo_on(embedded):
            assert embedded.machine.sequence == before, "it is founded once"


def log_id(data: Path) -> str:
    with open_log(DataDir(data)) as log:
        return log.log_id.hex()


def test_the_founding_fits_in_one_group_whatever_the_settings() -> None:
    """So that a crash leaves all of it or none: log.group_bytes_max is 4,096 at least."""
    assert sum(map(len, founding())) < 4_096


def test_whoever_trades_there_is_told_when_the_bots_have_ended(tmp_path: Path) -> None:
    """The market then stands still, and the fault would be looked for elsewhere."""
    with running(tmp_path / "data") as exchange:
        (bots,) = [pid for pid in children(exchange.process.pid) if b"demo_bots" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(bots, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while "The demo market's bots have ended, with exit code -9" not in exchange.output.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert exchange.stop() == 0
    assert exchange.output.read_text().count("bots have ended") == 1
