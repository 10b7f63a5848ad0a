"""Settings: whoever gets one wrong is told which, where, and what would be right, and of all of them at once."""

import dataclasses
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from zerosum.errors import ConfigError
from zerosum.gateway.limits import Allowance
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.ops import settings_docs
from zerosum.ops.settings import load, resolve
from zerosum.ops.settings_model import SECTIONS, SETTINGS, Settings, allowed, example
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.shard import Limits

ROOT = Path(__file__).resolve().parents[3]
KEY = "0123456789abcdefABCDEF0123456789" * 2


def faults(tmp_path: Path, toml: str = "", env: Mapping[str, str] | None = None) -> str:
    """What is said of these settings, which must be wrong."""
    (tmp_path / "zerosum.toml").write_text(toml)
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "zerosum.toml", env or {})
    return str(raised.value)


def test_nothing_has_to_be_set() -> None:
    settings = load(None, {})
    assert (settings.rest.host, settings.rest.port, settings.websocket.port, settings.operations.port) == ("127.0.0.1", 8700, 8701, 8702)
    assert settings == Settings()


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    path = tmp_path / "zerosum.toml"
    proxies = '[gateway]\ntrusted_proxies = ["10.0.0.1"]\n'
    path.write_text(f'data_directory = "/d"\n[rest]\nport = 1\nbody_bytes_max = 2\n{proxies}[archive]\ndirectory = "/a"\n')
    settings = load(
        path, {"ZEROSUM_REST_PORT": "3", "ZEROSUM_WEBSOCKET_PING_INTERVAL_S": "1.5", "ZEROSUM_DEMO_ENABLED": "false", "HOME": "x"}
    )
    assert (settings.rest.port, settings.rest.body_bytes_max, settings.rest.headers_max) == (3, 2, 64)
    assert (settings.websocket.ping_interval_s, settings.demo.enabled) == (1.5, False)
    assert (settings.data_directory, settings.archive.directory) == (Path("/d"), Path("/a"))
    assert settings.gateway.trusted_proxies == ("10.0.0.1",)


@pytest.mark.parametrize("text", ["10.0.0.1,::1", " 10.0.0.1 , ::1 ", '["10.0.0.1", "::1"]'])
def test_a_list_in_the_environment_is_written_either_way(text: str) -> None:
    assert load(None, {"ZEROSUM_GATEWAY_TRUSTED_PROXIES": text}).gateway.trusted_proxies == ("10.0.0.1", "::1")


def test_a_variable_set_to_nothing_is_not_set() -> None:
    assert load(None, {"ZEROSUM_REST_PORT": "", "ZEROSUM_MASTER_KEY": "", "ZEROSUM_ARCHIVE_DIRECTORY": ""}) == Settings()


def test_every_setting_has_a_variable_of_its_own() -> None:
    assert len({setting.variable for setting in SETTINGS.values()}) == len(SETTINGS) > 40


BESIDE = {
    "kafka.user": {"ZEROSUM_KAFKA_PASSWORD_FILE": "/password"},
    "kafka.password_file": {"ZEROSUM_KAFKA_USER": "me"},
    "database.user": {"ZEROSUM_DATABASE_PASSWORD_FILE": "/password"},
    "database.password_file": {"ZEROSUM_DATABASE_USER": "me"},
    "tls.certificate_file": {"ZEROSUM_TLS_KEY_FILE": "/key"},
    "tls.key_file": {"ZEROSUM_TLS_CERTIFICATE_FILE": "/certificate"},
}
"""What a setting does not go without."""


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_be_set_from_the_environment_to_its_example(name: str) -> None:
    """The example is what a fault proposes: it had better be right."""
    setting = SETTINGS[name]
    text = KEY if setting.is_secret else example(setting).strip('"')
    (found,) = [each for each in resolve(None, {**BESIDE.get(name, {}), setting.variable: text}).effective if each.name == name]
    assert found.source == setting.variable
    assert allowed(setting)
    assert setting.field.description


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[rest]\nport = 99999", "rest.port is 99999 in zerosum.toml, but must be a whole number from 0 to 65535."),
        ("[rest]\nport = '8700'", 'rest.port is "8700" in zerosum.toml, but must be a whole number'),
        ("[rest]\nport = true", "rest.port is true in zerosum.toml, but must be a whole number"),
        ("[rest]\nport = 8700.5", "rest.port is 8700.5 in zerosum.toml"),
        ("[rest]\nport = 2024-01-01", "rest.port is "),
        ("[rest]\nport = {a = 1}", "rest.port is "),
        ("[rest]\nport = -1", "\n  For example port = 8700 in [rest], or ZEROSUM_REST_PORT=8700."),
        ("[rest]\nconnections_max = 0", "rest.connections_max is 0 in zerosum.toml, but must be a whole number of 1 or more."),
        ("[rest]\nhost = ''", 'rest.host is "" in zerosum.toml, but must be a name or an address.'),
        ("[websocket]\nlifetime_s = 0", "websocket.lifetime_s is 0 in zerosum.toml, but must be a number above 0"),
        ("[websocket]\nlifetime_s = nan", "websocket.lifetime_s is nan in"),
        ("[websocket]\nlifetime_s = inf", "websocket.lifetime_s is inf in"),
        ("[logging]\nlevel = 'loud'", 'logging.level is "loud" in zerosum.toml, but must be "debug", "info", "warning" or "error".'),
        ("[log]\nsegment_bytes = 10000", "log.segment_bytes is 10000 in zerosum.toml, but must be a multiple of 4096 from 8192 to"),
        ("[gateway]\ntrusted_proxies = ['10.0.0.1', 'nonsense']", "but must be a list of IP addresses.\n  For example trusted_proxies ="),
        ("[gateway]\ntrusted_proxies = '10.0.0.1'", "but must be a list of IP addresses."),
        ("[archive]\ndirectory = ''", 'archive.directory is "" in zerosum.toml, but must be a path.'),
        ("data_directory = 7", "data_directory is 7 in zerosum.toml, but must be a path.\n  For example data_directory ="),
        ("[demo]\nenabled = 'yes'", 'demo.enabled is "yes" in zerosum.toml, but must be true or false.'),
        ("rest = 5", "rest is 5 in zerosum.toml, but it is a section: write [rest], and its settings below."),
        ("[rest]\nprot = 1", "rest.prot in zerosum.toml is no setting. Did you mean rest.port?"),
        ("[resst]\nport = 1", "[resst] in zerosum.toml is no setting. Did you mean rest?"),
        ("body_bytes_max = 1", "body_bytes_max in zerosum.toml is no setting. Did you mean rest.body_bytes_max?"),
        ("[quite_something_else]", "[quite_something_else] in zerosum.toml is no setting."),
        ("port 8700", "zerosum.toml is not TOML: "),
        (
            "[rest]\nport = 5\n[operations]\nport = 5",
            "operations.port is 5, and so is rest.port, both on 127.0.0.1.\n  Give each listener its own",
        ),
        ("[tls]\ncertificate_file = '/c'", "tls.certificate_file is set, and tls.key_file is not: TLS needs both.\n  Set tls.key_file; or"),
        ("[tls]\nkey_file = '/k'", "tls.key_file is set, and tls.certificate_file is not: TLS needs both."),
        ("[tls]\nminimum_version = '1.1'", 'tls.minimum_version is "1.1" in zerosum.toml, but must be "1.2" or "1.3".'),
        ("[kafka]\nuser = 'me'", "kafka.user is set, and kafka.password_file is not: the brokers ask for both."),
        ("[kafka]\npassword_file = '/p'", "kafka.password_file is set, and kafka.user is not: the brokers ask for both."),
        ("[database]\nuser = 'me'", "database.user is set, and database.password_file is not: the database asks for both."),
        ("[database]\npassword_file = '/p'", "database.password_file is set, and database.user is not: the database asks for both."),
        ("[database]\nca_file = ''", 'database.ca_file is "" in zerosum.toml, but must be a path.'),
        ("[kafka]\nuser = 'm e'", 'kafka.user is "m e" in zerosum.toml, but must be up to 64 letters, digits and _.-.'),
        ("[log]\nsegment_bytes = 1048576", "log.group_bytes_max is 1048576, but a segment of 1048576 bytes has room for"),
    ],
)
def test_a_fault_names_the_setting_what_is_wrong_and_what_would_be_right(toml: str, said: str, tmp_path: Path) -> None:
    assert said in faults(tmp_path, toml)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"ZEROSUM_REST_PORT": "abc"}, 'rest.port is "abc" in ZEROSUM_REST_PORT, but must be a whole number'),
        ({"ZEROSUM_REST_PORT": "tcp://10.0.0.1:80"}, "in ZEROSUM_REST_PORT, but must be"),
        ({"ZEROSUM_REST_PROT": "1"}, "ZEROSUM_REST_PROT in the environment is no setting. Did you mean ZEROSUM_REST_PORT?"),
        ({"ZEROSUM_GATEWAY_TRUSTED_PROXIES": "a,b"}, 'gateway.trusted_proxies is ["a", "b"] in ZEROSUM_GATEWAY_TRUSTED_PROXIES'),
        ({"ZEROSUM_MASTER_KEY": KEY, "ZEROSUM_MASTER_KEY_FILE": "/k"}, "are both set (ZEROSUM_MASTER_KEY, ZEROSUM_MASTER_KEY_FILE)."),
        ({"ZEROSUM_ARCHIVE_POLICY": "prune", "ZEROSUM_SNAPSHOTS_KEEP": "1"}, "Set snapshots.keep to 2 or more"),
    ],
)
def test_a_fault_in_the_environment_names_the_variable(env: dict[str, str], said: str, tmp_path: Path) -> None:
    assert said in faults(tmp_path, env=env)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    toml = "x = 1\nrest = 5\n[websocket]\nport = -1\nprot = 1\n[log]\nsegment_bytes = 1048576\n[demo]\nenabled = 3\n"
    said = faults(tmp_path, toml, {"ZEROSUM_LOGGING_LEVEL": "loud", "ZEROSUM_X": "1"})
    lines = [line for line in said.splitlines() if not line.startswith("  ")]
    assert lines[0] == "8 settings are wrong."
    assert len(lines) == 9
    for name in (
        "x in",
        "rest is",
        "websocket.port",
        "websocket.prot",
        "log.group_bytes_max",
        "demo.enabled",
        "logging.level",
        "ZEROSUM_X",
    ):
        assert any(line.startswith(name) for line in lines), name


def test_what_does_not_fit_a_faulty_setting_is_not_a_fault_yet(tmp_path: Path) -> None:
    """The default that stands in for it is nobody's wish."""
    said = faults(tmp_path, "[rest]\nport = -1\n[websocket]\nport = 8700")
    assert "so is rest.port" not in said


def test_listeners_may_share_a_port_that_is_any_or_is_elsewhere() -> None:
    load(None, {"ZEROSUM_REST_PORT": "0", "ZEROSUM_WEBSOCKET_PORT": "0"})
    load(None, {"ZEROSUM_REST_PORT": "5", "ZEROSUM_WEBSOCKET_PORT": "5", "ZEROSUM_WEBSOCKET_HOST": "127.0.0.2"})


@pytest.mark.parametrize(
    "variable", ["ZEROSUM_SERVICE_HOST", "ZEROSUM_PORT", "ZEROSUM_PORT_8700_TCP_ADDR", "ZEROSUM_WEB_SERVICE_PORT_HTTP", "ZEROSUM_PURE"]
)
def test_variables_that_are_none_of_ours_are_left_alone(variable: str) -> None:
    assert load(None, {variable: "tcp://10.0.0.1:8700"}) == Settings()


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read: No such file"), (b"a = '\xff'", "is not UTF-8: its byte 5 is 0xff")])
def test_a_file_that_is_named_must_be_readable(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "zerosum.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load(path, {})


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    settings = load(None, {"ZEROSUM_MASTER_KEY": KEY})
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == KEY
    assert KEY not in repr(settings)
    assert KEY not in str(resolve(None, {"ZEROSUM_MASTER_KEY": KEY}).effective)
    for malformed in (KEY[1:], KEY + "0", "z" * 64):
        said = faults(tmp_path, env={"ZEROSUM_MASTER_KEY": malformed})
        assert "master_key is malformed in ZEROSUM_MASTER_KEY, but must be 64 hexadecimal digits." in said
        assert malformed not in said


def test_the_check_says_what_is_and_why(tmp_path: Path) -> None:
    path = tmp_path / "zerosum.toml"
    path.write_text("[rest]\nport = 1\n")
    found = {each.name: (each.value, each.source) for each in resolve(path, {"ZEROSUM_WEBSOCKET_LIFETIME_S": "0.5"}).effective}
    assert list(found) == list(SETTINGS)
    assert found["rest.port"] == ("1", "zerosum.toml")
    assert found["websocket.lifetime_s"] == ("0.5", "ZEROSUM_WEBSOCKET_LIFETIME_S")
    assert found["rest.host"] == ('"127.0.0.1"', "default")
    assert found["archive.directory"] == ("", "default")


@pytest.mark.parametrize(
    ("section", "taken"),
    [("rest", RestBounds), ("websocket", WebSocketBounds), ("allowance", Allowance), ("snapshots", SnapshotPolicy)],
)
def test_a_section_has_what_its_part_takes_with_the_same_defaults(section: str, taken: type) -> None:
    values = getattr(Settings(), section).model_dump(exclude={"host", "port"})
    assert values == dataclasses.asdict(taken())
    if taken in (RestBounds, WebSocketBounds):
        assert taken.of(getattr(Settings(), section)) == taken()


def test_the_limits_of_the_shard_are_settings_with_the_same_defaults() -> None:
    settings, limits = Settings(), Limits()
    assert (settings.log.group_bytes_max, settings.log.pending_max) == (limits.group_bytes_max, limits.pending_max)
    assert settings.follower.unsettled_max == limits.unsettled_max


def test_the_reference_is_of_these_settings() -> None:
    page = ROOT / "docs/reference/configuration.md"
    assert page.read_text() == settings_docs.markdown(), f"run: python -m zerosum.ops.settings_docs > {page.relative_to(ROOT)}"
    for key in SECTIONS:
        assert f"## [{key}]\n" in page.read_text()


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from zerosum.ops.descriptors import ensure_descriptors
from zerosum.ops.settings import load
print(ensure_descriptors(load(None, {{"ZEROSUM_REST_CONNECTIONS_MAX": "300"}})), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("soft", "hard", "said"), [(256, 2_000, "1812 1812\n"), (1_900, 2_000, "1900 1900\n"), (256, 1_000, "")])
def test_a_process_makes_room_for_every_connection_it_lets_in_or_does_not_start(soft: int, hard: int, said: str) -> None:
    """Without descriptors the log cannot make its next segment, which would end the process in the middle of trading."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 2_000
    result = subprocess.run(
        [sys.executable, "-c", LIMITED.format(soft=soft, hard=hard)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert result.stdout == said
    if not said:
        assert "may have 1000 files open, but rest.connections_max (300) and websocket.connections_max (1000) need 1812." in result.stderr
