"""
Certificates in files that settings name: of those who vouch for the servers that a process goes to.

Always true: nothing but certificates is taken from such a file, whatever else lies in it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from zerosum.errors import ConfigError


def read_certificates(path: Path, setting: str) -> str:
    """Those in the file, in PEM, one of them still good. ConfigError, which names the setting."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{setting} is {path}, which can't be read: {error.strerror}. Name a file of certificates in PEM.") from error
    except ValueError as error:
        raise ConfigError(f"{setting} is {path}, in which there is no certificate in PEM: name a file that has some.") from error
    ends = max(each.not_valid_after_utc for each in found)
    if ends < datetime.now(UTC):
        raise ConfigError(f"{setting} is {path}, whose certificates are good no more, the last since {ends:%Y-%m-%d}: put new ones there.")
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in found)
