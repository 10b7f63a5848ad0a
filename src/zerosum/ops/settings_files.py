"""
The files and folders that settings name: whether they are there and as they must be, before anything is started.

    FILES    setting --> what must be true of its file, and for which roles it is looked at

Another setting that names a file has its line there, and is then checked by every start and by `zerosum config check`.
Always true: nothing is made or changed here, and a secret that is read is not kept.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from zerosum.errors import ConfigError
from zerosum.identity.sealing import KEYS_MAX
from zerosum.net.tls import load_pair
from zerosum.ops.certificates import read_certificates
from zerosum.ops.roles import OF_A_CLUSTER, SIGNING, WITH_DATABASE, WITH_IDENTITIES, Role
from zerosum.ops.secret_files import read_secret
from zerosum.ops.settings_model import Settings, value_of

MASTER_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")


class Finding(NamedTuple):
    """What is wrong, and the settings that it is about."""

    names: tuple[str, ...]
    text: str


class NamedFile(NamedTuple):
    """`fault`: what is wrong with the file of that setting, if something is."""

    setting: str
    fault: Callable[[Path, str, Settings], str | None]
    roles: frozenset[Role]
    is_secret: bool = True
    is_used: Callable[[Settings], bool] = lambda settings: True


def secret_fault(path: Path, setting: str, settings: Settings) -> str | None:
    """A secret in one line, that only its owner can read."""
    try:
        read_secret(path, setting)
    except ConfigError as error:
        return str(error)
    return None


def master_key_fault(path: Path, setting: str, settings: Settings) -> str | None:
    """One key, or several while it is being changed."""
    try:
        text = read_secret(path, setting, lines_max=KEYS_MAX)
    except ConfigError as error:
        return str(error)
    if not all(map(MASTER_KEY.fullmatch, text.splitlines())):
        return f"{setting} is {path}, which must have 64 hexadecimal digits in one line.\n  Make one with: openssl rand -hex 32"
    return None


def key_fault(path: Path, setting: str, settings: Settings) -> str | None:
    """A private key, as `zerosum cluster signer` makes it."""
    try:
        text = read_secret(path, setting)
    except ConfigError as error:
        return str(error)
    if not MASTER_KEY.fullmatch(text):
        return f"{setting} is {path}, which must have 64 hexadecimal digits in one line.\n  Make one with: zerosum cluster signer"
    return None


def certificates_fault(path: Path, setting: str, settings: Settings) -> str | None:
    """Those who vouch for servers, one of them still good."""
    try:
        read_certificates(path, setting)
    except ConfigError as error:
        return str(error)
    return None


def folder_fault(path: Path, setting: str, settings: Settings) -> str | None:
    """A folder to write into; or one that can be made."""
    there = path.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{setting} is {path}, and {there} is no folder. Name a folder."
    if not os.access(there, os.W_OK | os.X_OK):
        verb = "write there" if there == path.absolute() else f"make it: {there} is not writable"
        return f"{setting} is {path}, but this process may not {verb}. Name another, or run: chown {os.geteuid()} {there}"
    return None


def pair_fault(path: Path, setting: str, settings: Settings) -> str | None:
    """A certificate with its key; one alone is a fault of its own."""
    if settings.tls.key_file is None:
        return None
    try:
        load_pair(path, settings.tls.key_file, settings.tls.minimum_version, time.time())
    except ConfigError as error:
        return str(error)
    return None


def judged_with_its_certificate(path: Path, setting: str, settings: Settings) -> str | None:
    """Only whether others may put another key in its place is asked of the key by itself."""
    return None


def archives(settings: Settings) -> bool:
    return settings.archive.policy == "archive"


FILES: Final = (
    NamedFile("master_key_file", master_key_fault, WITH_IDENTITIES),
    NamedFile("archive.directory", folder_fault, frozenset({"up"}), is_secret=False, is_used=archives),
    NamedFile("tls.certificate_file", pair_fault, WITH_IDENTITIES, is_secret=False),
    NamedFile("tls.key_file", judged_with_its_certificate, WITH_IDENTITIES),
    NamedFile("cluster.signing_key_file", key_fault, SIGNING),
    NamedFile("kafka.password_file", secret_fault, OF_A_CLUSTER),
    NamedFile("kafka.ca_file", certificates_fault, OF_A_CLUSTER, is_secret=False),
    NamedFile("database.password_file", secret_fault, WITH_DATABASE),
    NamedFile("database.ca_file", certificates_fault, WITH_DATABASE, is_secret=False),
)


def file_faults(settings: Settings, role: Role) -> Iterator[Finding]:
    if role in SIGNING and settings.cluster.signers and settings.cluster.signing_key_file is None:
        yield Finding(
            ("cluster.signing_key_file", "cluster.signers"),
            "cluster.signers is set, and cluster.signing_key_file is not: name the file of this service's key.",
        )
    for file in FILES:
        path = value_of(settings, file.setting)
        if path is None or role not in file.roles or not file.is_used(settings):
            continue
        assert isinstance(path, Path), "what is checked as a file is a path"
        fault = file.fault(path, file.setting, settings)
        if fault is not None:
            yield Finding((file.setting,), fault)
