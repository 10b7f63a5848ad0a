"""Configurations that are refused, each with exactly the right words; and those that must be accepted."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tomllib
from pathlib import Path

import pytest

from tests.unit.ops.configurations import CASES, KEY, USER, Case, certificate, refused
from zerosum.errors import ConfigError
from zerosum.ops import settings_template
from zerosum.ops.master_keys import weakness
from zerosum.ops.roles import ROLES, Role
from zerosum.ops.safety import is_loopback, is_private
from zerosum.ops.settings import Given, load, resolve
from zerosum.ops.settings_files import FILES
from zerosum.ops.settings_model import SETTINGS, Settings, value_of

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy/config"


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_faulty_configuration_is_refused_with_exactly_what_is_wrong(case: Case, tmp_path: Path) -> None:
    assert refused(case, tmp_path) == case["faults"]


def test_there_are_enough_of_them_and_none_twice() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) >= 60


def test_no_fault_tells_a_secret(tmp_path: Path) -> None:
    for number, case in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        said = "\n".join(refused(case, folder))
        assert KEY not in said
        assert not re.search(r"hunter2|correct-horse|[0-9a-f]{32}", said), case["name"]


# -- what is accepted


def secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def prod(tmp_path: Path, **more: str) -> dict[str, str]:
    """An environment that profile prod takes from every role."""
    password, authority = str(secret(tmp_path / "password", "correct-horse")), str(secret(tmp_path / "ca.pem", certificate()))
    return {
        "ZEROSUM_PROFILE": "prod",
        "ZEROSUM_MASTER_KEY_FILE": str(secret(tmp_path / "key", KEY)),
        "ZEROSUM_DATA_DIRECTORY": str(tmp_path / "data"),
        "ZEROSUM_DEMO_ENABLED": "false",
        "ZEROSUM_KAFKA_USER": "me",
        "ZEROSUM_KAFKA_PASSWORD_FILE": password,
        "ZEROSUM_KAFKA_CA_FILE": authority,
        "ZEROSUM_DATABASE_USER": "me",
        "ZEROSUM_DATABASE_PASSWORD_FILE": password,
        "ZEROSUM_DATABASE_CA_FILE": authority,
        "ZEROSUM_CLUSTER_OPERATORS": f"alice:{KEY},bob:{KEY}",
        "ZEROSUM_CLUSTER_OPERATORS_NEEDED": "2",
        "ZEROSUM_CLUSTER_SIGNERS": f"gateway:{KEY},ubscore:{KEY}",
        "ZEROSUM_CLUSTER_SIGNING_KEY_FILE": str(secret(tmp_path / "signing", KEY)),
        **more,
    }


@pytest.mark.parametrize("role", ROLES)
def test_profile_prod_takes_what_is_safe(role: Role, tmp_path: Path) -> None:
    found = resolve(None, prod(tmp_path), role=role, user=USER)
    assert found.risks == []
    assert found.settings.profile == "prod"


@pytest.mark.parametrize("name", ["dev.toml", "prod.toml", "production-template.toml"])
@pytest.mark.parametrize("role", ROLES)
def test_the_files_of_deploy_are_accepted_once_what_must_be_is_filled_in(name: str, role: Role, tmp_path: Path) -> None:
    file = tmp_path / name
    text = (DEPLOY / name).read_text().replace("/var/lib/zerosum", f"{tmp_path}/data").replace("/var/backups/zerosum", f"{tmp_path}/old")
    file.write_text(text.replace("/etc/zerosum/master.key", str(secret(tmp_path / "master.key", KEY))))
    env = prod(tmp_path) if name == "production-template.toml" else {}
    if name == "prod.toml":
        env = {name: text for name, text in prod(tmp_path).items() if re.search("KAFKA|DATABASE|CLUSTER", name)}
    found = resolve(file, env, role=role, user=USER)
    assert found.settings.profile == ("dev" if name == "dev.toml" else "prod")
    assert found.settings.demo.enabled == (name == "dev.toml")


def test_the_template_is_of_these_settings() -> None:
    path = DEPLOY / "production-template.toml"
    assert path.read_text() == settings_template.template(), f"run: python -m zerosum.ops.settings_template > {path.relative_to(ROOT)}"


def test_the_template_has_every_setting_at_its_default_or_with_an_example() -> None:
    text = (DEPLOY / "production-template.toml").read_text()
    assert tomllib.loads(text) == {line[1:-1]: {} for line in text.splitlines() if line.startswith("[")}
    active = tomllib.loads(re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.M))
    for setting in SETTINGS.values():
        if setting.is_secret:
            assert setting.variable in text
            continue
        found = (active[setting.section] if setting.section else active)[setting.key]
        default = value_of(Settings(), setting.name)
        if default in (None, ()):
            assert found in (setting.field.examples or [[]]), setting.name
        else:
            plain = str(default) if isinstance(default, Path) else list(default) if isinstance(default, tuple) else default
            assert found == plain, setting.name


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_explained_and_stands_on_the_reference_page(name: str) -> None:
    setting = SETTINGS[name]
    assert len(setting.field.description or "") > 10
    assert f"`{setting.key}`<br>`{setting.variable}`" in (ROOT / "docs/reference/configuration.md").read_text()


def test_every_setting_that_names_a_file_is_looked_at() -> None:
    """But for the folder that is made, and is judged when it is."""
    assert {name for name, setting in SETTINGS.items() if setting.type is Path} == {file.setting for file in FILES} | {"data_directory"}


# -- sources


def test_options_go_before_the_environment_that_before_secret_files_they_before_the_file_and_it_before_the_default(tmp_path: Path) -> None:
    file = tmp_path / "zerosum.toml"
    file.write_text(f'master_key = "{KEY}"\n[rest]\nport = 1\nheaders_max = 1\nbody_bytes_max = 1\n')
    key_file = secret(tmp_path / "key", secrets.token_hex(32))
    env = {"ZEROSUM_MASTER_KEY_FILE": str(key_file), "ZEROSUM_REST_PORT": "2", "ZEROSUM_REST_HEADERS_MAX": "2"}
    found = resolve(file, env, {"rest.port": Given(3, "--rest-port")})
    rest = found.settings.rest
    assert (rest.port, rest.headers_max, rest.body_bytes_max, rest.url_bytes_max) == (3, 2, 1, 16_384)
    assert (found.settings.master_key, found.settings.master_key_file) == (None, key_file)
    sources = {each.name: each.source for each in found.effective}
    assert sources["rest.port"] == "--rest-port"
    assert sources["rest.headers_max"] == "ZEROSUM_REST_HEADERS_MAX"
    assert sources["master_key_file"] == "ZEROSUM_MASTER_KEY_FILE"
    assert (sources["rest.body_bytes_max"], sources["master_key"]) == ("zerosum.toml", "default")


def test_a_key_in_the_environment_goes_before_a_key_file_in_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "zerosum.toml"
    file.write_text(f'master_key_file = "{secret(tmp_path / "key", secrets.token_hex(32))}"\n')
    settings = load(file, {"ZEROSUM_MASTER_KEY": KEY})
    assert settings.master_key is not None
    assert (settings.master_key.get_secret_value(), settings.master_key_file) == (KEY, None)


# -- profile dev


def test_a_first_start_on_one_s_own_machine_is_told_nothing() -> None:
    found = resolve(None, {}, role="up", user=USER)
    assert [risk.names for risk in found.risks if risk.is_told_at_start] == []
    assert [risk.names[0] for risk in found.risks] == ["master_key", "demo.enabled"]


def test_profile_dev_warns_of_what_prod_refuses(tmp_path: Path) -> None:
    """Each case of profile prod, with profile dev instead: the same words, and no refusal."""
    tried = 0
    for number, case in enumerate(CASES):
        if not case["name"].startswith("prod: ") or "several" in case["name"]:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        faults = refused(case, folder)
        text = (folder / "zerosum.toml").read_text().replace('profile = "prod"', 'profile = "dev"')
        (folder / "zerosum.toml").write_text(text)
        env = {name: text.replace("{tmp}", str(folder)) for name, text in case.get("env", {}).items()}
        options = {name: Given(*value) for name, value in case.get("options", {}).items()}
        found = resolve(folder / "zerosum.toml", env, options, case.get("role", "up"), case.get("user", USER))
        warnings = [risk.warning.replace(str(folder), "{tmp}") for risk in found.risks]
        assert warnings == [fault.replace("Profile prod refuses that", "Profile prod would refuse that") for fault in faults]
        tried += 1
    assert tried > 25


def test_what_somebody_has_set_for_others_to_reach_is_told_at_the_start() -> None:
    found = resolve(None, {"ZEROSUM_REST_HOST": "0.0.0.0"}, role="up", user=USER)  # noqa: S104
    assert [risk.names for risk in found.risks if risk.is_told_at_start] == [("rest.host",)]


# -- rules


@pytest.mark.parametrize(
    ("host", "loopback", "private"),
    [
        ("127.0.0.1", True, True),
        ("127.8.8.8", True, True),
        ("::1", True, True),
        ("localhost", True, True),
        ("::ffff:127.0.0.1", True, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("fd00::1", False, True),
        ("0.0.0.0", False, False),  # noqa: S104
        ("::", False, False),
        ("::ffff:0.0.0.0", False, False),
        ("8.8.8.8", False, False),
        ("2606:4700::1", False, False),
        ("0", False, False),
        ("2130706433", False, False),
        ("localhost.example", False, False),
    ],
)
def test_which_addresses_are_one_s_own(host: str, loopback: bool, private: bool) -> None:
    """Names, and numbers that a resolver would take for addresses, may lead anywhere."""
    assert (is_loopback(host), is_private(host)) == (loopback, private)


def test_keys_made_as_the_docs_say_are_never_weak() -> None:
    assert [key for key in (secrets.token_hex(32) for _ in range(5_000)) if weakness(key)] == []
    assert weakness(hashlib.sha256(b"something that nobody guesses").hexdigest().upper()) is None


def test_every_key_that_stands_in_the_docs_is_weak() -> None:
    """It would be copied."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*"), *DEPLOY.glob("*")]
    keys = {key for page in pages if page.is_file() for key in re.findall(r"\b[0-9a-fA-F]{64}\b", page.read_text())}
    assert keys, "some do"
    assert [key for key in keys if weakness(key) is None] == []


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(ConfigError, match=r"master_key_file is .*/key, which is no file"):
        resolve(None, {"ZEROSUM_MASTER_KEY_FILE": str(tmp_path / "key")}, role="up", user=USER)
