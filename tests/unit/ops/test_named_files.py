"""Files that settings name: good ones are read, and each fault names the setting, and never what is in a secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zerosum.errors import ConfigError
from zerosum.net.authority import DevAuthority
from zerosum.ops.named_files import check_files, read_certificates
from zerosum.ops.settings import load
from zerosum.ops.settings_model import SETTINGS, Settings

SECRET = "correct horse battery staple"
KEY = "0f1e" * 16


@pytest.fixture
def authority(tmp_path: Path) -> DevAuthority:
    return DevAuthority(tmp_path / "authority")


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return path


Named = Callable[..., Settings]


@pytest.fixture
def named(tmp_path: Path, authority: DevAuthority) -> Named:
    """Settings that name good files, but for those that are given."""

    def make(**other: Path) -> Settings:
        password, key = private(tmp_path / "password", SECRET + "\n"), private(tmp_path / "key", KEY + "\n")
        files = {
            "master_key_file": key, "kafka_ca_file": authority.certificate_file, "kafka_password_file": password,
            "database_ca_file": authority.certificate_file, "database_password_file": password, **other,
        }  # fmt: skip
        users = {"ZEROSUM_KAFKA_USER": "me", "ZEROSUM_DATABASE_USER": "me"}
        return load(None, {**users, **{f"ZEROSUM_{name.upper()}": str(path) for name, path in files.items()}})

    return make


def faults(settings: Settings) -> str:
    with pytest.raises(ConfigError) as caught:
        check_files(settings)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_good_files_are_none(named: Named) -> None:
    check_files(named())


def test_every_setting_that_names_a_file_of_secrets_or_certificates_is_looked_at(named: Named, tmp_path: Path) -> None:
    names = [name for name in SETTINGS if name.endswith("_file")]
    gone = {name.replace(".", "_"): tmp_path / "gone" for name in names}
    said = faults(named(**gone))
    assert said.startswith(f"{len(names)} settings name files that won't do.\n")
    assert [name for name in names if f"{name} is {tmp_path / 'gone'}, which can't be read: No such file" not in said] == []


def test_of_a_service_only_what_it_uses_is_looked_at(named: Named, tmp_path: Path) -> None:
    """The master key is not to lie on every machine."""
    settings = named(master_key_file=tmp_path / "gone", database_ca_file=tmp_path / "gone")
    check_files(settings, ("kafka",))
    with pytest.raises(ConfigError, match=r"database\.ca_file"):
        check_files(settings, ("kafka", "database"))


@pytest.mark.parametrize("setting", ["kafka_password_file", "database_password_file", "master_key_file"])
def test_a_secret_that_others_can_read_is_a_fault(setting: str, named: Named, tmp_path: Path) -> None:
    assert "which others than its owner may read" in faults(named(**{setting: private(tmp_path / "open", KEY, 0o640)}))


def test_a_master_key_of_another_length_is_a_fault(named: Named, tmp_path: Path) -> None:
    said = faults(named(master_key_file=private(tmp_path / "short", SECRET)))
    assert "master_key_file is" in said
    assert "a master key is 64 hex digits" in said


def test_a_master_key_that_is_being_changed_has_several_lines(named: Named, tmp_path: Path) -> None:
    check_files(named(master_key_file=private(tmp_path / "keys", f"{KEY}\n{KEY[::-1]}\n")))


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nbm90\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_a_fault(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kafka\.ca_file is .*, in which there is no certificate in PEM"):
        read_certificates(private(tmp_path / "ca.pem", text), "kafka.ca_file")


def test_certificates_that_are_good_no_more_are_a_fault_until_another_is_beside_them(authority: DevAuthority, tmp_path: Path) -> None:
    old = authority.issue("old", days=0).certificate.read_text()
    bundle = private(tmp_path / "ca.pem", old)
    with pytest.raises(ConfigError, match=r"kafka\.ca_file is .*, whose certificates are good no more, the last since 20"):
        read_certificates(bundle, "kafka.ca_file")
    bundle.write_text(old + authority.certificate_file.read_text())
    assert read_certificates(bundle, "kafka.ca_file").count("BEGIN CERTIFICATE") == 2


def test_nothing_but_certificates_is_taken(authority: DevAuthority, tmp_path: Path) -> None:
    """A key that lies beside them is nobody else's."""
    issued = authority.issue("server")
    text = read_certificates(private(tmp_path / "ca.pem", issued.key.read_text() + issued.certificate.read_text()), "kafka.ca_file")
    assert text == issued.certificate.read_text()
