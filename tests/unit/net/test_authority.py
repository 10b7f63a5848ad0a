"""The development authority: what it issues is believed by whoever believes it, and by nobody else."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.secured import shakes_hands
from zerosum.net.authority import AuthorityBroken, DevAuthority, Issued


def connects(issued: Issued, believed: Path, host: str) -> None:
    """ssl.SSLError where the client does not believe the server."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(issued.certificate, issued.key)
    shakes_hands(server, ssl.create_default_context(cafile=str(believed)), host)


def test_what_it_issues_is_believed_for_the_hosts_that_it_names(tmp_path: Path) -> None:
    authority = DevAuthority(tmp_path / "ca")
    issued = authority.issue("gateway", ["localhost", "127.0.0.1", "api.example"])
    for host in ("localhost", "127.0.0.1", "api.example"):
        connects(issued, authority.certificate_file, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        connects(issued, authority.certificate_file, "other.example")


def test_another_authority_is_not_believed(tmp_path: Path) -> None:
    issued = DevAuthority(tmp_path / "one").issue("gateway")
    with pytest.raises(ssl.SSLCertVerificationError):
        connects(issued, DevAuthority(tmp_path / "other").certificate_file, "localhost")


def test_it_goes_on_with_what_is_there(tmp_path: Path) -> None:
    first = DevAuthority(tmp_path).certificate_file.read_bytes()
    again = DevAuthority(tmp_path)
    assert again.certificate_file.read_bytes() == first
    connects(again.issue("gateway"), again.certificate_file, "localhost")


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    issued = DevAuthority(tmp_path).issue("gateway")
    for file in (issued.key, tmp_path / "ca.key"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_servers_certificate_cannot_vouch_for_others(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(DevAuthority(tmp_path).issue("gateway").certificate.read_bytes())
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ExtendedKeyUsageOID.SERVER_AUTH in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value


@pytest.mark.parametrize("file", ["ca.pem", "ca.key"])
def test_half_an_authority_is_told(tmp_path: Path, file: str) -> None:
    DevAuthority(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(AuthorityBroken, match=r"ca\.pem and ca\.key"):
        DevAuthority(tmp_path)


def test_a_key_of_another_authority_is_told(tmp_path: Path) -> None:
    DevAuthority(tmp_path / "one")
    DevAuthority(tmp_path / "other")
    (tmp_path / "one" / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(AuthorityBroken, match="do not belong together"):
        DevAuthority(tmp_path / "one")
