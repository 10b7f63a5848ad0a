"""
Attacked: the TLS of both public listeners, by sslyze, as whoever looks for a weak server does.

Must hold: no version before 1.2, only suites with forward secrecy and authenticated encryption, no weak curve, no compression, no
renegotiation by clients, no early data, nothing to go on with (tickets, session ids), none of the known faults of TLS servers.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.security.support import PATIENCE_S, Target, to_the_end

SSLYZE = Path(__file__).parents[2] / ".tool/scan/bin/python"
LOOKS = [
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--elliptic_curves",
    "--ems",
    "--fallback",
    "--robot",
    "--early_data",
    "--heartbleed",
    "--openssl_ccs",
    "--reneg",
    "--resum",
    "--compression",
]


def scanned(port: int) -> dict[str, Any]:
    """What sslyze found, by what it looked for. It needs nothing but the server."""
    assert SSLYZE.exists(), "run: make .tool/.scan"
    command = [str(SSLYZE), "-m", "sslyze", "--mozilla_config", "disable", "--json_out", "-", *LOOKS, f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    (server,) = json.loads(done.stdout)["server_scan_results"]
    assert server["scan_status"] == "COMPLETED", server
    looks = {name: look for name, look in server["scan_result"].items() if look["status"] != "NOT_SCHEDULED"}
    assert {look["status"] for look in looks.values()} == {"COMPLETED"}, looks
    assert len(looks) == len(LOOKS)
    return {name: look["result"] for name, look in looks.items()}


@pytest.mark.parametrize("listener", ["rest", "websocket"])
def test_a_scan_finds_nothing_weak(secure: Target, listener: str) -> None:
    found = scanned(secure.exchange.ports[listener])
    suites = {
        version: {each["cipher_suite"]["name"] for each in found[f"{version}_cipher_suites"]["accepted_cipher_suites"]}
        for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
    }
    assert suites == {
        "ssl_2_0": set(),
        "ssl_3_0": set(),
        "tls_1_0": set(),
        "tls_1_1": set(),
        "tls_1_2": {
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        },
        "tls_1_3": {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
    }
    assert [curve["name"] for curve in found["elliptic_curves"]["supported_curves"]] == ["secp256r1"]
    assert not found["tls_compression"]["supports_compression"]
    assert not found["tls_1_3_early_data"]["supports_early_data"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert found["robot"]["robot_result"].startswith("NOT_VULNERABLE")
    assert found["tls_fallback_scsv"]["supports_fallback_scsv"]
    assert found["tls_extended_master_secret"]["supports_ems_extension"]
    assert found["session_renegotiation"]["client_renegotiations_success_count"] == 0
    assert not found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"]
    assert found["session_resumption"]["session_id_resumption_result"] == "NOT_SUPPORTED"
    assert found["session_resumption"]["tls_ticket_resumption_result"] == "NOT_SUPPORTED"


@pytest.mark.parametrize("listener", ["rest", "websocket"])
@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + b"\x01" * 600,  # a record that is longer than any may be
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",  # a greeting that claims 16 MB
        b"\x14\x03\x03\x00\x01\x01" * 100,  # nothing but changes of the cipher
        b"\x18\x03\x02\x00\x03\x01\x40\x00",  # a heartbeat
        b"\x15\x03\x01\x00\x02\x01\x00" * 100,  # warnings, one after the other
    ],
    ids=["http", "long record", "large greeting", "ccs", "heartbeat", "alerts"],
)
def test_what_is_no_handshake_is_closed_without_an_answer_in_the_clear(secure: Target, listener: str, said: bytes) -> None:
    with secure.tcp(listener) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(said)
        assert b"HTTP" not in to_the_end(connection)
