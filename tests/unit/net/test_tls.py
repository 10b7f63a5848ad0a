"""A server's certificate: which pairs are refused, what is spoken with one, and how one is renewed while it serves."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from tests.support.secured import shakes_hands
from tests.unit.transport.support import until
from zerosum.errors import ConfigError
from zerosum.net.authority import DevAuthority, Issued, write_private
from zerosum.net.http import HttpBounds
from zerosum.net.http_server import HttpServer
from zerosum.net.listener import bind
from zerosum.net.tls import DAY_S, ServerTls

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return DevAuthority(tmp_path).issue("server")


def refused(certificate: Path, key: Path) -> str:
    with pytest.raises(ConfigError) as error:
        ServerTls(certificate, key)
    return str(error.value)


# -- pairs that can't serve


def test_files_that_are_not_there_are_named_with_their_settings(issued: Issued, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert f"tls.certificate_file is {missing}, which can't be read: No such file" in refused(missing, issued.key)
    assert f"tls.key_file is {missing}, which can't be read: No such file" in refused(issued.certificate, missing)


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_holds_no_certificate_is_told(issued: Issued, content: bytes) -> None:
    issued.certificate.write_bytes(content)
    assert "holds no certificate in PEM" in refused(issued.certificate, issued.key)


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_holds_no_key_is_told(issued: Issued, content: bytes) -> None:
    issued.key.write_bytes(content)
    assert "holds no private key in PEM" in refused(issued.certificate, issued.key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_or_write_is_refused(issued: Issued, mode: int) -> None:
    issued.key.chmod(mode)
    assert refused(issued.certificate, issued.key).endswith(f"(mode {mode:04o}). Run: chmod 600 {issued.key}")


def test_a_key_of_another_certificate_is_refused(issued: Issued, tmp_path: Path) -> None:
    other = DevAuthority(tmp_path).issue("other")
    assert "is not the key of the first certificate" in refused(issued.certificate, other.key)


def test_a_chain_in_the_wrong_order_is_refused(issued: Issued, tmp_path: Path) -> None:
    issued.certificate.write_bytes((tmp_path / "ca.pem").read_bytes() + issued.certificate.read_bytes())
    assert "is not the key of the first certificate" in refused(issued.certificate, issued.key)


def test_a_key_that_is_locked_is_refused_and_no_password_is_asked_for(issued: Issued, tmp_path: Path) -> None:
    key = load_pem_private_key(issued.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    write_private(locked, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    assert "is locked with a password" in refused(issued.certificate, locked)


def self_signed(key: Key, folder: Path) -> Issued:
    """For localhost, by nobody else."""
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    pair = Issued(folder / "self.pem", folder / "self.key")
    pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    write_private(pair.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair


def test_a_key_too_short_to_be_safe_is_refused(tmp_path: Path) -> None:
    weak = self_signed(rsa.generate_private_key(65_537, 1_024), tmp_path)  # noqa: S505  that is the point
    assert "can't be used" in refused(*weak)


def test_a_key_on_a_curve_that_is_not_known_is_refused(issued: Issued) -> None:
    """And does not end the following of the files."""
    key = load_pem_private_key(issued.key.read_bytes(), None)
    p_256, prime192v2 = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030102")
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert der.count(p_256) == 1
    lines = base64.encodebytes(der.replace(p_256, prime192v2)).decode()
    issued.key.write_text(f"-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----\n")
    assert "of a kind that can't be used" in refused(*issued)


@pytest.mark.parametrize("days", [-1, 366])
def test_a_certificate_that_is_not_good_today_is_refused(issued: Issued, days: int) -> None:
    begins_s = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).not_valid_before_utc.timestamp()
    with pytest.raises(ConfigError, match=r"tls\.certificate_file .* is good from .* UTC only\. Renew it"):
        ServerTls(issued.certificate, issued.key, clock_s=lambda: begins_s + days * DAY_S)


def test_no_refusal_tells_of_the_key(issued: Issued, tmp_path: Path) -> None:
    secret = issued.key.read_text().splitlines()[1]
    other = DevAuthority(tmp_path / "other").issue("other")
    assert secret not in refused(other.certificate, issued.key)


# -- what is spoken


def agreed(server: ssl.SSLContext, believed: Path, group: str | None = None, **client: object) -> ssl.SSLObject:
    """The client's end of a handshake in memory. ssl.SSLError where there is none."""
    context = ssl.create_default_context(cafile=str(believed))
    if group is not None:
        context.set_ecdh_curve(group)
    for name, value in client.items():
        setattr(context, name, value)
    return shakes_hands(server, context, "localhost")


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65_537, 2_048), ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["RSA", "P-384", "Ed25519"],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_keys_of_all_kinds_serve(tmp_path: Path, key: Key, version: ssl.TLSVersion) -> None:
    pair = self_signed(key, tmp_path)
    assert agreed(ServerTls(*pair).context, pair.certificate, maximum_version=version).cipher() is not None


def test_versions_before_the_least_are_not_spoken(issued: Issued, tmp_path: Path) -> None:
    both, newest = ServerTls(issued.certificate, issued.key), ServerTls(issued.certificate, issued.key, "1.3")
    old = ssl.TLSVersion.TLSv1_2
    assert agreed(both.context, tmp_path / "ca.pem").version() == "TLSv1.3"
    assert agreed(both.context, tmp_path / "ca.pem", maximum_version=old).version() == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        agreed(newest.context, tmp_path / "ca.pem", maximum_version=old)


def test_only_suites_with_forward_secrecy_and_authenticated_encryption_are_spoken(issued: Issued) -> None:
    suites = [suite["description"] for suite in ServerTls(issued.certificate, issued.key).context.get_ciphers()]
    assert suites
    assert [suite for suite in suites if "Mac=AEAD" not in suite] == []
    assert [suite for suite in suites if "Kx=ECDH" not in suite and "TLSv1.3" not in suite] == []


@pytest.mark.parametrize("group", ["prime256v1", "ffdhe2048", "ffdhe8192", "X25519", "X448", "secp521r1"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_group_is_agreed_on_that_costs_its_client_nothing_and_us_much(
    issued: Issued, tmp_path: Path, group: str, version: ssl.TLSVersion
) -> None:
    """All trading waits for a handshake."""
    server = ServerTls(issued.certificate, issued.key).context
    if group == "prime256v1":
        agreed(server, tmp_path / "ca.pem", group, maximum_version=version)
    else:
        with pytest.raises(ssl.SSLError):
            agreed(server, tmp_path / "ca.pem", group, maximum_version=version)


# -- renewal


@asynccontextmanager
async def serving(tls: ServerTls) -> AsyncIterator[int]:
    async def answer(scope: object, receive: object, send: object) -> None:
        """Nobody asks anything."""

    listener = bind("127.0.0.1", 0, setting="rest")
    server = HttpServer(answer, listener, HttpBounds(shutdown_timeout_s=0.1), name="test", tls=tls)
    await server.start()
    tls.start()
    try:
        yield listener.getsockname()[1]
    finally:
        tls.stop()
        await server.stop()


def served(port: int) -> int:
    """The serial number of the certificate that a new connection is shown."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as tcp:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(tcp) as tls:
            shown = tls.getpeercert(binary_form=True)
            assert shown is not None
            return x509.load_der_x509_certificate(shown).serial_number


def serial(issued: Issued) -> int:
    return x509.load_pem_x509_certificate(issued.certificate.read_bytes()).serial_number


async def until_served(port: int, expected: int) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(served, port) != expected:  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.02)


async def test_a_new_pair_is_for_new_connections_and_old_ones_stay(issued: Issued, tmp_path: Path) -> None:
    tls = ServerTls(issued.certificate, issued.key, look_s=0.02)
    async with serving(tls) as port:
        assert await asyncio.to_thread(served, port) == serial(issued)
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        DevAuthority(tmp_path).issue("server")
        await until_served(port, serial(issued))
        writer.write(b"nonsense\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 400 "), "the old connection is still heard"
        writer.transport.abort()


@pytest.fixture
def logged() -> Iterator[Callable[[str], list[str]]]:
    """What was logged of an event, each time that it was."""
    with structlog.testing.capture_logs() as lines:
        yield lambda event: [str(line) for line in lines if line["event"] == event]


async def test_a_broken_pair_is_told_of_and_the_one_before_it_stays(
    issued: Issued, tmp_path: Path, logged: Callable[[str], list[str]]
) -> None:
    tls = ServerTls(issued.certificate, issued.key, look_s=0.02)
    first, key = serial(issued), issued.key.read_bytes()
    async with serving(tls) as port:
        issued.key.write_bytes(b"nonsense")
        await until(lambda: logged("tls.certificate_refused"))
        assert "holds no private key" in logged("tls.certificate_refused")[-1]
        assert await asyncio.to_thread(served, port) == first
        issued.key.write_bytes(key)
        DevAuthority(tmp_path).issue("server")
        await until_served(port, serial(issued))


async def test_a_pair_that_is_mended_without_a_change_of_its_files_is_taken(
    issued: Issued, tmp_path: Path, logged: Callable[[str], list[str]]
) -> None:
    """A key that others could read is read by its owner alone: neither its time nor its size is another then."""
    tls = ServerTls(issued.certificate, issued.key, look_s=0.02)
    async with serving(tls) as port:
        issued.key.chmod(0o644)
        pair = DevAuthority(tmp_path).issue("next")
        pair.key.chmod(0o644)
        pair.certificate.rename(issued.certificate)
        pair.key.rename(issued.key)
        await until(lambda: any("chmod 600" in line for line in logged("tls.certificate_refused")))
        await asyncio.sleep(0.2)
        assert len(logged("tls.certificate_refused")) <= 2, "once for each reason, however often it is looked at"
        issued.key.chmod(0o600)
        await until_served(port, serial(issued))


async def test_a_file_that_changes_before_it_is_followed_is_noticed(issued: Issued, tmp_path: Path) -> None:
    tls = ServerTls(issued.certificate, issued.key, look_s=0.02)
    DevAuthority(tmp_path).issue("server")
    async with serving(tls) as port:
        await until_served(port, serial(issued))


async def test_a_certificate_that_ends_soon_is_told_of_once_a_day(issued: Issued, logged: Callable[[str], list[str]]) -> None:
    begins_s = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).not_valid_before_utc.timestamp()
    now_s, looks = begins_s + 340 * DAY_S, 0

    def clock_s() -> float:
        nonlocal looks
        looks += 1
        return now_s

    async def told_after_a_few_looks() -> int:
        seen = looks
        await until(lambda: looks > seen + 20)
        return len(logged("tls.certificate_expires"))

    tls = ServerTls(issued.certificate, issued.key, look_s=0.002, clock_s=clock_s)
    tls.start()
    try:
        assert 24.9 < tls.expires_in_s / DAY_S < 25.1
        assert await told_after_a_few_looks() == 0
        now_s += 12 * DAY_S
        assert await told_after_a_few_looks() == 1
        assert await told_after_a_few_looks() == 1
        now_s += DAY_S
        assert await told_after_a_few_looks() == 2
    finally:
        tls.stop()
