"""`zerosum config check` says of every faulty configuration what is wrong, and of a good one that it is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli
from tests.support.running import ZEROSUM
from tests.unit.ops.configurations import CASES, KEY, Case, environment, lay

OF_A_FILE = [case for case in CASES if "options" not in case and "user" not in case]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZEROSUM_DATA_DIRECTORY", raising=False)
    monkeypatch.setenv("ZEROSUM_ALLOW_ROOT", "true")  # tests may be run by root


@pytest.mark.parametrize("case", OF_A_FILE, ids=[case["name"] for case in OF_A_FILE])
def test_each_fault_is_told(case: Case, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = lay(case, tmp_path)
    for name, text in environment(case, tmp_path).items():
        monkeypatch.setenv(name, text)
    role = case.get("role", "up")
    said = cli("config", "check", config, "--role", role, "--json")
    found = json.loads(said.out.replace(str(tmp_path), "{tmp}"))
    assert (said.code, found) == (1, {"ok": False, "role": role, "faults": case["faults"], "warnings": []})
    said = cli("config", "check", config, "--role", role)
    assert (said.code, said.out) == (1, "")
    for fault in case["faults"]:
        assert fault in said.err.replace(str(tmp_path), "{tmp}")
    assert KEY not in said.err


def test_a_process_of_its_own_says_so_too(tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text('profile = "prod"\n[rest]\nhost = "0.0.0.0"\n')
    command = [*ZEROSUM, "config", "check", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ConfigError: 3 settings are wrong.\nrest.host is 0.0.0.0, and rest speaks no TLS")


def test_a_good_one_is_said_to_be_good_and_what_prod_would_refuse_is_a_warning(cli: Cli, tmp_path: Path) -> None:
    said = cli("config", "check")
    assert said.code == 0
    assert "warning: demo.enabled is true: bots would trade with made-up money. Profile prod would refuse that." in said.out
    assert said.out.endswith("The settings are right for up in profile dev, with 2 warnings.\n")
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "s.toml").write_text('profile = "prod"\nmaster_key_file = "key"\n[demo]\nenabled = false\n')
    said = cli("config", "check", "s.toml")
    assert (said.code, said.out) == (0, "The settings are right for up in profile prod.\n")
    said = cli("config", "check", "s.toml", "--json")
    assert json.loads(said.out) == {"ok": True, "role": "up", "faults": [], "warnings": []}


def test_a_start_is_refused_with_the_same_words(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('profile = "prod"\n')
    for command in (["up"], ["init"]):
        said = cli(*command, "--config", "s.toml", "--data", "data")
        assert (said.code, "demo.enabled is true: bots would trade with made-up money. Profile prod refuses that." in said.err) == (1, True)
    said = cli("run", "ubscore", "--config", "s.toml", "--data", "data")
    assert (said.code, "cluster.operators is empty" in said.err) == (1, True)
    said = cli("cluster", "init", "--config", "s.toml", "--data", "data")
    assert (said.code, "kafka.user is not set: whoever reaches the brokers" in said.err) == (1, True)
    assert not (tmp_path / "data").exists()


def test_a_secret_in_the_settings_is_masked_wherever_they_are_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROSUM_MASTER_KEY", KEY)
    for how in ((), ("--json",)):
        said = cli("config", "show", *how)
        assert said.code == 0
        assert KEY not in said.out
        assert "**********" in said.out
