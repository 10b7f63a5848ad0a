"""The commands that the pages for newcomers show, run as they stand there, by a shell in a folder like a clone's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import running

ROOT = Path(__file__).parents[3]


def blocks(page: str, language: str = "sh") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)


def shell(script: str, folder: Path, **environment: str) -> str:
    """What a script said; it ends at its first error, which fails the test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "COLUMNS": "200", **environment}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("examples", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_first_quarter_of_an_hour(clone: Path) -> None:
    up, look, trade, money, audit, past = blocks("docs/start.md")
    assert up == "make up\n"
    with running(clone / "zerosum-data") as exchange:
        exchange.wait_for_bids()

        def here(script: str) -> str:
            """On this exchange's port."""
            return shell(
                script.replace("zerosum-data\n", f"zerosum-data {exchange.base_url}\n", 1).replace(
                    "http://127.0.0.1:8700", exchange.base_url
                ),
                clone,
            )

        assert '"lastUpdateId"' in here(look)
        traded = here(trade)
        assert "CANCELED" in traded
        assert "account 1001 is active" in traded
        moved = here(money)
        assert "done before, and is not done again" in moved
        assert "1.5 USDT went from account 2001 to account 1001" in moved
        exchange.process.send_signal(signal.SIGINT)
        assert exchange.process.wait(60) == 0
    assert "settled record  holds" in shell(audit, clone)
    assert re.search(r"balances after sequence 22\n(.*\n)*1001 +USDT +10,000,000,000,000 +0\n", shell(past, clone))


def test_a_market_of_ones_own(clone: Path) -> None:
    (market,) = blocks("docs/guides/operate.md", "toml")
    (clone / "market.toml").write_text(market)
    (commands,) = blocks("docs/guides/operate.md")
    *given, up = commands.splitlines()
    assert up.startswith("zerosum up --data DIR ")
    said = shell("\n".join(given), clone)
    assert "listed the symbols BTCUSDT" in said
    assert "secret" in said
    with running(clone / "DIR") as exchange:
        assert exchange.get("/api/v3/exchangeInfo")["symbols"][0]["symbol"] == "BTCUSDT"
        assert exchange.stop() == 0


@pytest.mark.parametrize("page", ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_example_tells_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    data, strange = tmp_path / "data", tmp_path / "strange"
    strange.mkdir()
    (strange / "demo.json").write_text(f'{{"demo": {{"api_key": "{"x" * 64}", "secret": "y"}}}}')
    with running(data) as exchange:
        exchange.wait_for_bids()
        for arguments, said in (
            (("nope",), "nope/demo.json has no key: "),
            ((data, "http://127.0.0.1:1"), "http://127.0.0.1:1 does not answer: "),
            ((strange, exchange.base_url), "POST /api/v3/order was refused: -1022: Signature"),
        ):
            command = [sys.executable, str(ROOT / "examples/place_order.py"), *map(str, arguments)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1
            assert done.stderr.startswith(said)
            assert len(done.stderr.splitlines()) == 1
