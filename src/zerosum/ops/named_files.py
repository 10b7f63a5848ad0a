"""
The files that settings name, looked at before anything is started with them.

    kafka.ca_file         database.ca_file             certificates in PEM, one of them still good
    kafka.password_file   database.password_file       a secret in one line, for its owner alone
    master_key_file                                    master keys, one a line, for its owner alone

Always true: what is in a file of secrets is in no fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from zerosum.errors import ConfigError
from zerosum.identity.sealing import MasterKey, master_key_from
from zerosum.ops.secret_files import read_private, read_secret
from zerosum.ops.settings_model import SETTINGS, Settings


def read_certificates(path: Path, setting: str) -> str:
    """Those in the file, in PEM, and nothing else that is in it. ConfigError."""
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


def read_master_key(path: Path, setting: str) -> MasterKey:
    """ConfigError."""
    return master_key_from(read_private(path, setting), f"{setting} is {path}")


FILES: Final[dict[str, Callable[[Path, str], object]]] = {
    "master_key_file": read_master_key,
    "kafka.ca_file": read_certificates,
    "kafka.password_file": read_secret,
    "database.ca_file": read_certificates,
    "database.password_file": read_secret,
}
"""How each is read, by the setting that names it."""
EVERYWHERE: Final = ("", "kafka", "database")


def check_files(settings: Settings, sections: Iterable[str] = EVERYWHERE) -> None:
    """Those that settings of these sections name ("": before the first). ConfigError, with every fault."""
    faults = []
    for name, read in FILES.items():
        setting = SETTINGS[name]
        path = getattr(getattr(settings, setting.section) if setting.section else settings, setting.key)
        if path is not None and setting.section in sections:
            try:
                read(path, name)
            except ConfigError as error:
                faults.append(str(error))
    if faults:
        heading = f"{len(faults)} settings name files that won't do.\n" if len(faults) > 1 else ""
        raise ConfigError(heading + "\n".join(faults))
