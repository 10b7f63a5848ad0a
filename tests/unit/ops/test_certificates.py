"""Files of certificates that settings name: good ones are read, and each fault names the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerosum.errors import ConfigError
from zerosum.net.authority import DevAuthority
from zerosum.ops.certificates import read_certificates


@pytest.fixture
def authority(tmp_path: Path) -> DevAuthority:
    return DevAuthority(tmp_path / "authority")


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nbm90\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_a_fault(text: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(ConfigError, match=r"kafka\.ca_file is .*, in which there is no certificate in PEM"):
        read_certificates(tmp_path / "ca.pem", "kafka.ca_file")


def test_certificates_that_are_good_no_more_are_a_fault_until_another_is_beside_them(authority: DevAuthority, tmp_path: Path) -> None:
    old, bundle = authority.issue("old", days=0).certificate.read_text(), tmp_path / "ca.pem"
    bundle.write_text(old)
    with pytest.raises(ConfigError, match=r"kafka\.ca_file is .*, whose certificates are good no more, the last since 20"):
        read_certificates(bundle, "kafka.ca_file")
    bundle.write_text(old + authority.certificate_file.read_text())
    assert read_certificates(bundle, "kafka.ca_file").count("BEGIN CERTIFICATE") == 2


def test_nothing_but_certificates_is_taken(authority: DevAuthority, tmp_path: Path) -> None:
    """A key that lies beside them is nobody else's."""
    issued, bundle = authority.issue("server"), tmp_path / "ca.pem"
    bundle.write_text(issued.key.read_text() + issued.certificate.read_text())
    assert read_certificates(bundle, "kafka.ca_file") == issued.certificate.read_text()
