"""TLS as an operator meets it: a certificate for development, an exchange that speaks it, another certificate while that runs."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from tests.integration.cli.conftest import Cli
from tests.support.running import running, zerosum
from tests.support.secured import Secured
from zerosum.net.headers import SECURITY, STRICT_TRANSPORT

ROOT = Path(__file__).parents[3]


def shown(secured: Secured, port: int) -> int:
    """The serial number of the certificate that a new connection is shown, and believes."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as tcp,
        secured.client.wrap_socket(tcp, server_hostname="127.0.0.1") as tls,
    ):
        certificate = tls.getpeercert(binary_form=True)
        assert certificate is not None
        return x509.load_der_x509_certificate(certificate).serial_number


@pytest.mark.timeout(180)
def test_an_exchange_that_speaks_tls_trades_and_takes_another_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    made = json.loads(zerosum("cert", "dev", "--folder", str(folder), "--json"))
    secured = Secured(folder)  # its client believes what the command has made
    assert made["authority"] == str(secured.authority_file)
    with running(tmp_path / "data", tls=secured) as exchange:
        exchange.wait_for_bids()  # the bots come in by wss
        said = exchange.output.read_text()
        assert re.search(r"REST +https://127\.0\.0\.1:\d+/api/v3\n.*wss://127\.0\.0\.1:\d+/ws-api/v3\n.* http://", said)
        example = [sys.executable, str(ROOT / "examples/place_order.py"), str(exchange.data), exchange.base_url]
        done = subprocess.run(example, capture_output=True, text=True, timeout=60, env={"SSL_CERT_FILE": made["authority"]})
        assert done.returncode == 0, done.stderr
        answer = httpx.get(exchange.base_url + "/api/v3/time", verify=exchange.verify)
        assert {name: answer.headers[name] for name, _ in SECURITY} == dict(SECURITY)
        assert answer.headers[STRICT_TRANSPORT[0]] == STRICT_TRANSPORT[1]
        plain = httpx.get(f"http://127.0.0.1:{exchange.ports['operations']}/healthz")
        assert {name: plain.headers[name] for name, _ in SECURITY} == dict(SECURITY)
        assert STRICT_TRANSPORT[0] not in plain.headers
        (left,) = re.findall(r"^zerosum_certificate_expires_seconds (\S+)$", exchange.metrics(), re.M)
        assert 364 < float(left) / 86_400 < 366
        first = [shown(secured, exchange.ports[name]) for name in ("rest", "websocket")]
        with httpx.Client(verify=exchange.verify) as old:
            old.get(exchange.base_url + "/api/v3/time")
            zerosum("cert", "dev", "--folder", str(folder))
            deadline = time.monotonic() + 30
            while [shown(secured, exchange.ports[name]) for name in ("rest", "websocket")] == first:
                assert time.monotonic() < deadline, "the new certificate is not shown"
                time.sleep(0.1)
            assert old.get(exchange.base_url + "/api/v3/time").status_code == 200
        with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection(("127.0.0.1", exchange.ports["rest"])) as tcp:
            ssl.create_default_context().wrap_socket(tcp, server_hostname="127.0.0.1")
        assert exchange.stop() == 0


def test_a_pair_that_cannot_serve_stops_the_start_before_anything_is_made(tmp_path: Path) -> None:
    secured = Secured(tmp_path / "certificates")
    secured.issued.key.chmod(0o644)
    config = tmp_path / "zerosum.toml"
    config.write_text(f"[tls]\ncertificate_file = '{secured.issued.certificate}'\nkey_file = '{secured.issued.key}'\n")
    said = zerosum("up", "--data", str(tmp_path / "data"), "--config", str(config), expect=1)
    assert said == (
        f"ConfigError: tls.key_file is {secured.issued.key}, which others than its owner may read or write (mode 0644)."
        f" Run: chmod 600 {secured.issued.key}\n"
    )
    assert not (tmp_path / "data").exists()


def test_the_command_says_what_to_set_and_how_clients_believe_it(cli: Cli, tmp_path: Path) -> None:
    said = cli("cert", "dev", "--folder", tmp_path, "--host", "api.example", "--host", "10.0.0.5", "--host", "localhost")
    assert said.code == 0
    for line in (
        f"export ZEROSUM_TLS_CERTIFICATE_FILE={tmp_path}/server.pem",
        f"export ZEROSUM_TLS_KEY_FILE={tmp_path}/server.key",
        "localhost, 127.0.0.1, ::1, api.example, 10.0.0.5,",
        f"curl --cacert {tmp_path}/ca.pem",
        f'verify="{tmp_path}/ca.pem"',
    ):
        assert line in said.out
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "api.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.5"]


@pytest.mark.parametrize("host", ["a b", "", "-", "münchen", "http://api.example", "a/b"])
def test_what_is_no_host_is_refused(cli: Cli, tmp_path: Path, host: str) -> None:
    said = cli("cert", "dev", "--folder", tmp_path / "made", "--host", host)
    assert said.code == 1
    assert "is no name of a host, and no address" in said.err
    assert not (tmp_path / "made").exists()
