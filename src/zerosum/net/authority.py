"""
A certificate authority for development: it vouches for servers on this machine, to whoever is told to believe it.

    folder/ca.pem       who it is: what clients are given to believe
    folder/ca.key       what it signs with, for its owner alone

Always true: a key is written for its owner alone, from its first byte on; what is already there is gone on with, not written over.
Not for production: there certificates come from an authority that guards its key better than a folder does.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from zerosum.errors import ZerosumError

AUTHORITY_NAME: Final = "zerosum development authority"
AUTHORITY_DAYS: Final = 3_650
CERTIFICATE_DAYS: Final = 365
EARLIER: Final = timedelta(minutes=5)  # clocks of who checks it may be behind
LOCAL: Final = ("localhost", "127.0.0.1", "::1")


class AuthorityBroken(ZerosumError):
    """What is in its folder is no authority, or one that can't be gone on with."""


class Issued(NamedTuple):
    """Where a certificate (with its chain) and its private key are, in PEM."""

    certificate: Path
    key: Path


@final
class DevAuthority:
    """Made with its folder at the first use. AuthorityBroken, OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_file = folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True)
        self.key_file = key_file = folder / "ca.key"
        if not key_file.exists() and not self.certificate_file.exists():
            self._make(key_file)
        try:
            key = load_pem_private_key(key_file.read_bytes(), None)
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise AuthorityBroken(
                f"{folder} does not hold a development authority whole: {error}. Remove ca.pem and ca.key there, and it is made anew."
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise AuthorityBroken(f"ca.pem and ca.key in {folder} do not belong together. Remove both, and they are made anew.")
        self._key = key

    def _make(self, key_file: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        # Each has a name of its own: of two that have one name, some who check certificates (Java) find the wrong one.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{AUTHORITY_NAME} {secrets.token_hex(4)}")])
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
            key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            begun(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(key_file, pem_of(key))
        self.certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, hosts: Iterable[str] = LOCAL, *, days: int = CERTIFICATE_DAYS) -> Issued:
        """A new certificate for a server (or a client) that is reached by `hosts`, as folder/<name>.pem and folder/<name>.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
            key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            begun(subject, self._certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([host_name(host) for host in hosts]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        issued = Issued(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        write_private(issued.key, pem_of(key))
        write_whole(issued.certificate, certificate.public_bytes(Encoding.PEM), 0o644)
        return issued


def begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_private(file: Path, data: bytes) -> None:
    """Whole or not at all, and for its owner alone. OSError."""
    write_whole(file, data, 0o600)


def write_whole(file: Path, data: bytes, mode: int) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    draft.rename(file)
