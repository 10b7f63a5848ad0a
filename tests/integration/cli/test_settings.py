"""`zerosum config check`, and with it `up`, `init` and `key`: which directory, which file, which value goes before which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZEROSUM_DATA_DIRECTORY", raising=False)


def checked(cli: Cli, *arguments: object) -> dict[str, tuple[str, str]]:
    said = cli("config", "show", "--json", *arguments)
    assert said.code == 0, said.err
    return {setting["name"]: (setting["value"], setting["source"]) for setting in json.loads(said.out)}


def test_the_directory_is_that_of_the_option_else_the_environment_else_zerosum_data(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(cli)["data_directory"] == ('"zerosum-data"', "default")
    monkeypatch.setenv("ZEROSUM_DATA_DIRECTORY", "other")
    assert checked(cli)["data_directory"] == ('"other"', "ZEROSUM_DATA_DIRECTORY")
    assert checked(cli, "--data", "third")["data_directory"] == ('"third"', "--data")


def test_the_file_is_the_one_named_else_that_of_the_directory(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, port in (("zerosum-data", 1), ("other", 2), ("third", 3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zerosum.toml").write_text(f"[rest]\nport = {port}\n")
    (tmp_path / "named.toml").write_text('data_directory = "other"\n[rest]\nport = 4\n')
    assert checked(cli)["rest.port"] == ("1", "zerosum.toml")
    assert checked(cli, "--data", "third")["rest.port"] == ("3", "zerosum.toml")
    assert checked(cli, "named.toml")["rest.port"] == ("4", "named.toml")
    assert checked(cli, "named.toml")["data_directory"] == ('"other"', "named.toml")
    assert checked(cli, "named.toml", "--data", "third")["data_directory"] == ('"third"', "--data")
    monkeypatch.setenv("ZEROSUM_DATA_DIRECTORY", "other")
    assert checked(cli)["rest.port"] == ("2", "zerosum.toml")
    monkeypatch.setenv("ZEROSUM_REST_PORT", "5")
    assert checked(cli)["rest.port"] == ("5", "ZEROSUM_REST_PORT")


def test_a_file_in_the_directory_can_t_say_that_the_data_are_elsewhere(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "zerosum-data").mkdir()
    file = tmp_path / "zerosum-data" / "zerosum.toml"
    file.write_text('data_directory = "elsewhere"\n')
    said = cli("config", "check")
    assert said.code == 1
    assert (
        'data_directory is "elsewhere" in zerosum-data/zerosum.toml, which was read because zerosum-data is the data directory' in said.err
    )
    file.write_text('data_directory = "zerosum-data"\n')
    assert checked(cli)["data_directory"] == ('"zerosum-data"', "zerosum.toml")


def test_init_and_key_read_the_same_settings(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "named.toml").write_text('data_directory = "there"\nmaster_key_file = "key"\n[log]\nsegment_bytes = 2097152\n')
    (tmp_path / "key").write_text("ab" * 32)
    (tmp_path / "key").chmod(0o600)
    assert cli("init", "--config", "named.toml").code == 0
    assert not (tmp_path / "there" / "master.key").exists()
    assert sum(path.stat().st_size for path in (tmp_path / "there" / "log").glob("*.seg")) == 2_097_152
    assert cli("account", "open", 1001, "--data", "there").code == 0
    assert cli("key", "create", 1001, "--config", "named.toml").code == 0
    said = cli("key", "list", "--data", "there")
    assert (said.code, "master.key is gone" in said.err) == (1, True), "without the file nobody knows where the key is"


def test_brackets_in_an_error_are_text(cli: Cli, tmp_path: Path) -> None:
    """They were taken for markup: a section's name vanished, and `[/]` was a traceback."""
    (tmp_path / "s.toml").write_text("[rest]\nprot = 1\n[x]\ny = 1\n")
    said = cli("config", "check", "s.toml")
    assert (said.code, "[x] in s.toml is no setting" in said.err) == (1, True)
    said = cli("config", "check", "[/]")
    assert (said.code, "[/] cannot be read: No such file" in said.err) == (1, True)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000, "1979-13-01", '"\\x"'])
def test_a_file_that_is_no_toml_is_told(value: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.toml").write_text(f"[rest]\nport = {value}\n")
    said = cli("config", "check", "s.toml")
    assert (said.code, "s.toml is not TOML: " in said.err) == (1, True)
    monkeypatch.setenv("ZEROSUM_REST_PORT", value)
    said = cli("config", "check")
    assert (said.code, "in ZEROSUM_REST_PORT, but must be a whole number" in said.err) == (1, True)


def test_tables_are_whole_however_narrow(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    said = cli("config", "show").out
    assert "…" not in said
    assert ["websocket.handshake_timeout_s", "5", "default"] in [line.split() for line in said.splitlines()]


def test_the_version_and_the_help_of_every_command(cli: Cli) -> None:
    from zerosum import __version__

    assert cli("--version").out == f"{__version__}\n"
    for command in ("up", "init", "replay", "audit", "state", "key list", "account show", "listing add", "transfer", "bench core"):
        said = cli(*command.split(), "-h")
        assert said.code == 0
        assert said.out == cli(*command.split(), "--help").out


def test_files_that_settings_name_must_be_good_and_are_not_shown(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none\n")
    secret = tmp_path / "password"
    secret.touch(mode=0o644)
    secret.write_text("opensesame\n")
    (tmp_path / "s.toml").write_text("[kafka]\nuser = 'me'\npassword_file = 'password'\nca_file = 'ca.pem'\n")
    said = cli("config", "check", "s.toml", "--role", "auditor")
    assert said.code == 1
    assert "kafka.ca_file is ca.pem, in which there is no certificate in PEM" in said.err
    assert "kafka.password_file is password, which others than its owner may read or write (mode 0644)" in said.err
    assert "opensesame" not in said.err + said.out
    secret.chmod(0o600)
    (tmp_path / "s.toml").write_text("[kafka]\nuser = 'me'\npassword_file = 'password'\n")
    shown = cli("config", "check", "s.toml", "--role", "auditor")
    assert (shown.code, "opensesame" in shown.out) == (0, False)


def test_an_exchange_does_not_start_with_a_master_key_that_others_can_read(cli: Cli, tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    key.touch(mode=0o644)
    key.write_text("0f1e" * 16)
    (tmp_path / "s.toml").write_text("master_key_file = 'open.key'\n")
    said = cli("up", "--config", "s.toml", "--data", "fresh")
    assert (said.code, "master_key_file is open.key, which others than its owner may read" in said.err) == (1, True)
    assert not (tmp_path / "fresh").exists()
