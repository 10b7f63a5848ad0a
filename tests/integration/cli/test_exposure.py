"""What a running exchange shows to others: where it listens, where it writes, and that no secret is in anything that it leaves behind."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import resource
import secrets
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.exposure import (
    LISTENERS,
    Leak,
    Secret,
    descendants,
    documented,
    leaks,
    leaks_of_files,
    leaks_of_processes,
    listening,
    written_by,
)
from tests.support.running import Running, running, zerosum

LISTING: Final = """
[[assets]]
name = "AAA"
decimals = 2
[[assets]]
name = "BBB"
decimals = 2
[[symbols]]
name = "AAABBB"
base = "AAA"
quote = "BBB"
tick = "0.01"
lot = "1"
max_price = "100"
max_qty = "100"
"""
ORDER: Final = {"symbol": "AAABBB", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "1.00", "quantity": "3"}
BUG: Final = """
import sys
import zerosum.cli.identities as identities
from zerosum.cli.main import app

def with_a_bug(settings, **options):
    secret = settings.master_key.get_secret_value()
    raise RuntimeError(f"a bug beside a secret of {len(secret)} digits")

identities.master_key = with_a_bug
sys.argv = ["zerosum", "key", "list"]
app()
"""


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With its follower and the demo's bots, in an empty working directory and home."""
    folder = tmp_path_factory.mktemp("exposed")
    for name in ("home", "tmp", "here"):
        (folder / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        patch.chdir(folder / "here")
        with running(folder / "data") as found:
            found.wait_for_bids()
            yield found


def test_it_listens_on_what_is_documented_and_its_children_on_nothing(exchange: Running) -> None:
    assert listening(exchange.process.pid) == documented("exchange", exchange.ports, exchange.data)
    children = descendants(exchange.process.pid)
    assert exchange.follower_pid in children
    assert len(children) == 2, "the follower, and the demo's bots"
    assert [listening(child) for child in children] == [set(), set()]


def test_the_page_of_listeners_is_read_and_lists_every_service() -> None:
    text = LISTENERS.read_text()
    assert {match[1] for match in re.finditer(r"^\| (\w+) \| (?:TCP|Unix)", text, re.M)} == {
        "exchange", "gateway", "ubscore", "matching", "settlement", "auditor", "admin",
    }  # fmt: skip
    assert len(documented("exchange", {"rest": 1, "websocket": 2, "operations": 3, "admin": 4}, Path("/d"))) == 5


def test_it_writes_only_below_its_data_directory(exchange: Running) -> None:
    for pid in (exchange.process.pid, *descendants(exchange.process.pid)):
        outside = {path for path in written_by(pid) if not path.is_relative_to(exchange.data)}
        assert outside == {exchange.output}, "its standard output"
    assert any(path.suffix == ".seg" for path in written_by(exchange.process.pid))
    folder = exchange.data.parent
    assert {path.name for path in folder.iterdir()} == {"home", "tmp", "here", "data", "data.ready", "data.output"}
    assert [list((folder / name).iterdir()) for name in ("home", "tmp", "here")] == [[], [], []]


def test_who_starts_it_on_their_own_machine_is_warned_of_nothing(exchange: Running) -> None:
    assert "rofile prod" not in exchange.output.read_text()


def test_what_somebody_has_set_that_is_not_safe_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", "0f1e" * 16)
    with running(tmp_path / "data", "--no-demo") as exchange:
        lines = [json.loads(line) for line in exchange.output.read_text().splitlines() if line.startswith("{")]
        told = [line["detail"] for line in lines if line["event"] == "attention"]
        assert exchange.stop() == 0
    (warning,) = told
    assert warning.endswith("repeats itself, so it can be guessed. Profile prod would refuse that. Make one with: openssl rand -hex 32")


def test_nobody_else_reads_what_it_makes(exchange: Running) -> None:
    ready = exchange.data.with_name("data.ready")
    for path in (exchange.data, ready, *exchange.data.rglob("*")):
        assert path.lstat().st_mode & 0o077 == 0, path


def test_it_has_given_up_what_it_does_not_need(exchange: Running) -> None:
    for pid in (exchange.process.pid, *descendants(exchange.process.pid)):
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert re.search(r"^Umask:\s+0077$", status, re.M)


def test_profile_prod_keeps_others_out_of_its_memory_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc/PID is root's then, whoever it runs as."""
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", secrets.token_hex(32))
    monkeypatch.setenv("ZEROSUM_PROFILE", "prod")
    monkeypatch.setenv("ZEROSUM_ALLOW_ROOT", "true")
    with running(tmp_path / "data", "--no-demo") as exchange:
        assert exchange.get("/api/v3/ping") == {}
        assert Path(f"/proc/{exchange.process.pid}/mem").stat().st_uid == 0
        script = "import ctypes; print(ctypes.CDLL(None).prctl(3))"
        assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "1\n", "it is not so by itself"
        assert "Traceback" not in exchange.output.read_text()
        assert exchange.stop() == 0


# -- a day in small, and then every secret of it looked for


class Day:
    """What is done, and the secrets that it takes. A later kind of secret is added to `kinds` where it is made."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.secrets: list[Secret] = []
        self.said: list[str] = []  # by commands, but for the one that shows a key

    def keep(self, name: str, text: str) -> str:
        self.secrets.append(Secret(name, text))
        return text

    def do(self, *arguments: str, expect: int = 0) -> str:
        said = zerosum(*arguments, "--data", str(self.data), expect=expect)
        self.said.append(said)
        return said

    def make_key(self, name: str) -> dict[str, str]:
        key: dict[str, str] = json.loads(zerosum("key", "create", "1001", "--data", str(self.data), "--json"))
        self.keep(f"{name}'s secret", key["secret"])
        return key

    def query(self, key: dict[str, str], wrong: str = "", **params: Any) -> str:
        """With its signature, which is as good as the order until its time is over."""
        text = urllib.parse.urlencode({**params, "timestamp": time.time_ns() // 1_000_000})
        signature = wrong or hmac.new(key["secret"].encode(), text.encode(), hashlib.sha256).hexdigest()
        return f"{text}&signature={self.keep('a signature', signature)}"


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Day:
    found = Day(tmp_path)
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", found.keep("the master key", secrets.token_hex(32)))
    monkeypatch.setenv("ZEROSUM_LOGGING_LEVEL", "debug")
    (tmp_path / "listing.toml").write_text(LISTING)
    zerosum("init", "--data", str(found.data))
    found.do("listing", "add", str(tmp_path / "listing.toml"))
    found.do("account", "open", "1001")
    found.do("deposit", "1001", "BBB", "100")
    return found


def test_no_secret_is_in_anything_that_a_day_leaves_behind(day: Day, tmp_path: Path) -> None:
    with running(day.data, "--no-demo") as exchange:
        key, other = day.make_key("a key"), day.make_key("another key")
        trade(day, exchange, key)
        refused_requests(day, exchange, key)
        day.do("key", "list")
        assert send(exchange, "GET", "/api/v3/account", other, day.query(other)).status_code == 200
        day.do("key", "revoke", other["api_key"])
        deadline = time.monotonic() + 30
        while (answer := send(exchange, "GET", "/api/v3/account", other, day.query(other))).status_code == 200:
            assert time.monotonic() < deadline, answer.text
        operations = f"http://127.0.0.1:{exchange.ports['operations']}"
        pages = "".join(httpx.get(f"{operations}/{page}", timeout=10).text for page in ("metrics", "readyz", "healthz"))
        found = list(leaks("metrics and health", pages.encode(), day.secrets))
        assert exchange.follower_pid in descendants(exchange.process.pid)
        found += leaks_of_processes(descendants(exchange.process.pid), day.secrets)
        found += leaks_of_processes([exchange.process.pid], day.secrets, environments=False)  # its own has what it was started with
        assert exchange.stop() == 0
    day.do("audit")
    day.do("config", "show")
    found += leaks("the log", exchange.output.read_bytes(), day.secrets)
    found += leaks("what commands said", "".join(day.said).encode(), day.secrets)
    found += leaks("a traceback", traceback_of_a_bug(day), day.secrets)
    found += leaks_of_files(tmp_path, day.secrets, meant={})
    assert found == []
    assert len(day.secrets) > 10
    assert "signature=" not in exchange.output.read_text(), "no address of a request is logged with its parameters"


def trade(day: Day, exchange: Running, key: dict[str, str]) -> None:
    assert send(exchange, "POST", "/api/v3/order", key, day.query(key, **ORDER)).json()["status"] == "NEW"
    assert send(exchange, "GET", "/api/v3/openOrders", key, day.query(key)).status_code == 200
    assert send(exchange, "DELETE", "/api/v3/openOrders", key, day.query(key, symbol="AAABBB")).status_code == 200
    with connect(f"ws://127.0.0.1:{exchange.ports['websocket']}/ws-api/v3") as connection:
        for wrong in ("", secrets.token_hex(32)):
            params = {**ORDER, "apiKey": key["api_key"], "timestamp": time.time_ns() // 1_000_000}
            text = "&".join(f"{name}={params[name]}" for name in sorted(params))
            signature = wrong or hmac.new(key["secret"].encode(), text.encode(), hashlib.sha256).hexdigest()
            params["signature"] = day.keep("a signature of a message", signature)
            connection.send(json.dumps({"id": 1, "method": "order.place", "params": params}))
            assert json.loads(connection.recv(timeout=30))["status"] == (400 if wrong else 200)
        connection.send(f'{{"id": 2, "method": "order.place", "params": {{"signature": "{day.query(key)}"')  # no JSON


def refused_requests(day: Day, exchange: Running, key: dict[str, str]) -> None:
    wrong = secrets.token_hex(32)
    assert send(exchange, "POST", "/api/v3/order", key, day.query(key, wrong, **ORDER)).json()["code"] == -1022
    assert send(exchange, "POST", "/api/v3/order", key, day.query(key, **{**ORDER, "price": "x"})).status_code == 400
    assert send(exchange, "POST", "/api/v3/nowhere", key, day.query(key)).status_code == 404
    assert send(exchange, "POST", "/api/v3/order", key, day.query(key, x="y" * 20_000)).status_code == 414
    stranger = {"api_key": "x" * 64, "secret": day.keep("a secret that is nobody's", secrets.token_hex(32))}
    assert send(exchange, "GET", "/api/v3/account", stranger, day.query(stranger)).status_code in (400, 401)
    mistaken = {"api_key": key["secret"], "secret": key["secret"]}  # the secret where the key belongs
    assert send(exchange, "GET", "/api/v3/account", mistaken, day.query(key)).status_code in (400, 401)
    hostile = {"X-MBX-APIKEY": key["api_key"], "User-Agent": f"\x1b[31m{key['secret']}"}
    assert httpx.get(f"{exchange.base_url}/api/v3/account?{day.query(key)}", headers=hostile, timeout=10).status_code == 400


def send(exchange: Running, method: str, path: str, key: dict[str, str], query: str) -> httpx.Response:
    return httpx.request(method, f"{exchange.base_url}{path}?{query}", headers={"X-MBX-APIKEY": key["api_key"]}, timeout=10)


def traceback_of_a_bug(day: Day) -> bytes:
    """Of a command, with the master key in a frame."""
    environment = {**os.environ, "ZEROSUM_DATA_DIRECTORY": str(day.data)}
    done = subprocess.run([sys.executable, "-c", BUG], capture_output=True, timeout=60, env=environment)
    assert done.returncode != 0
    assert b"a bug beside a secret of 64 digits" in done.stderr
    return done.stdout + done.stderr


def test_a_leak_is_found_wherever_it_is(tmp_path: Path) -> None:
    """The search itself: each place, and each form of a secret."""
    secret = Secret("a key", secrets.token_hex(32))
    (tmp_path / "raw").write_bytes(b"x" + bytes.fromhex(secret.text))
    (tmp_path / "upper").write_text(secret.text.upper())
    (tmp_path / "below").mkdir()
    (tmp_path / "below/meant").write_text(secret.text)
    assert list(leaks_of_files(tmp_path, [secret], {"below/meant": {"a key"}})) == [Leak("raw", "a key"), Leak("upper", "a key")]
    command = [sys.executable, "-c", "print(flush=True); input()", secret.text]
    environment = {**os.environ, "X": secret.text}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n", "it has begun: until then it has no command line"
            found = list(leaks_of_processes([process.pid], [secret]))
        finally:
            process.kill()
    assert [leak.where for leak in found] == [f"command line of {process.pid}", f"environment of {process.pid}"]


def test_a_process_that_listens_on_more_is_seen() -> None:
    script = (
        "import socket, sys\n"
        "found = [socket.create_server(('127.0.0.1', 0)), socket.create_server(('::1', 0), family=socket.AF_INET6)]\n"
        "udp = socket.socket(type=socket.SOCK_DGRAM)\nudp.bind(('127.0.0.1', 0))\n"
        "print(*(each.getsockname()[1] for each in [*found, udp]), flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            tcp, tcp6, udp = process.stdout.readline().split()
            assert {(each.kind, each.place) for each in listening(process.pid)} == {
                ("TCP", f"127.0.0.1:{tcp}"), ("TCP", f"::1:{tcp6}"), ("UDP", f"127.0.0.1:{udp}"),
            }  # fmt: skip
        finally:
            process.kill()
