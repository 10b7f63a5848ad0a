"""
TLS as the settings have it, for the commands that serve.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from zerosum.net.tls import ServerTls
from zerosum.ops.metrics import Metrics
from zerosum.ops.settings_model import Settings


class Listener(Protocol):
    @property
    def handshakes_failed(self) -> int: ...


def server_tls(settings: Settings) -> ServerTls | None:
    """Of the files that [tls] names, checked; None where it names none. ConfigError."""
    tls = settings.tls
    if tls.certificate_file is None or tls.key_file is None:
        return None
    return ServerTls(tls.certificate_file, tls.key_file, tls.minimum_version)


def add_tls_metrics(metrics: Metrics, tls: ServerTls | None, **listeners: Listener) -> None:
    """Of each listener, by its name."""
    if tls is None:
        return
    metrics.read_gauge(
        "zerosum_certificate_expires_seconds", "Until the certificate expires, or the first of its chain.", lambda: tls.expires_in_s
    )
    help_text = "Connections whose TLS handshake failed, or took too long."
    for name, listener in listeners.items():
        metrics.read_counter("zerosum_tls_handshakes_failed_total", help_text, partial(failed_at, listener), {"listener": name})


def failed_at(listener: Listener) -> int:
    return listener.handshakes_failed
