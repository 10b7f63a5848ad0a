"""
TLS as the settings have it, for the commands that serve.
"""

from __future__ import annotations

from zerosum.gateway.transport.rest import RestServer
from zerosum.gateway.transport.websocket import WebSocketServer
from zerosum.net.tls import ServerTls
from zerosum.ops.metrics import Metrics
from zerosum.ops.settings_model import Settings


def server_tls(settings: Settings) -> ServerTls | None:
    """Of the files that [tls] names, checked; None where it names none. ConfigError."""
    tls = settings.tls
    if tls.certificate_file is None or tls.key_file is None:
        return None
    return ServerTls(tls.certificate_file, tls.key_file, tls.minimum_version)


def add_tls_metrics(metrics: Metrics, tls: ServerTls | None, rest: RestServer, websocket: WebSocketServer) -> None:
    if tls is None:
        return
    metrics.read_gauge(
        "zerosum_certificate_expires_seconds", "Until the certificate expires, or the first of its chain.", lambda: tls.expires_in_s
    )
    help_text = "Connections whose TLS handshake failed, or took too long."
    metrics.read_counter("zerosum_tls_handshakes_failed_total", help_text, lambda: rest.handshakes_failed, {"listener": "rest"})
    metrics.read_counter("zerosum_tls_handshakes_failed_total", help_text, lambda: websocket.handshakes_failed, {"listener": "websocket"})
