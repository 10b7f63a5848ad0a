"""
Headers that every answer has, whoever gives it: this is an API, and no page for a browser to guess at, keep, frame or run.
"""

from __future__ import annotations

from typing import Final

SECURITY: Final = (
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
)
STRICT_TRANSPORT: Final = ("strict-transport-security", "max-age=31536000; includeSubDomains")  # a year


def security_headers(secure: bool) -> tuple[tuple[str, str], ...]:
    return (*SECURITY, STRICT_TRANSPORT) if secure else SECURITY


def _head(secure: bool) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in security_headers(secure)).encode()


_PLAIN: Final = _head(False)
_SECURE: Final = _head(True)


def security_head(secure: bool) -> bytes:
    """The same, as they are sent."""
    return _SECURE if secure else _PLAIN
