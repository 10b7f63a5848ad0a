"""
The files and folders that settings name: whether they are there and as they must be, before anything is started.

    FILES    setting --> what must be true of its file, and for which roles it is looked at

Another setting that names a file has its line there, and is then checked by every start and by `zerosum config check`.
Always true: nothing is made or changed here, and a secret that is read is not kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from zerosum.errors import ConfigError
from zerosum.ops.roles import FOR_CLIENTS, OF_A_CLUSTER, Role
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
    fault: Callable[[Path, str], str | None]
    roles: frozenset[Role]
    is_secret: bool = True
    is_used: Callable[[Settings], bool] = lambda settings: True


def secret_fault(path: Path, setting: str) -> str | None:
    """A secret in one line, that only its owner can read."""
    try:
        read_secret(path, setting)
    except ConfigError as error:
        return str(error)
    return None


def master_key_fault(path: Path, setting: str) -> str | None:
    try:
        found = MASTER_KEY.fullmatch(read_secret(path, setting))
    except ConfigError as error:
        return str(error)
    if found is None:
        return f"{setting} is {path}, which must have 64 hexadecimal digits in one line.\n  Make one with: openssl rand -hex 32"
    return None


def folder_fault(path: Path, setting: str) -> str | None:
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


def archives(settings: Settings) -> bool:
    return settings.archive.policy == "archive"


FILES: Final = (
    NamedFile("master_key_file", master_key_fault, FOR_CLIENTS),
    NamedFile("archive.directory", folder_fault, frozenset({"up"}), is_secret=False, is_used=archives),
    NamedFile("kafka.password_file", secret_fault, OF_A_CLUSTER),
)


def file_faults(settings: Settings, role: Role) -> Iterator[Finding]:
    for file in FILES:
        path = value_of(settings, file.setting)
        if path is None or role not in file.roles or not file.is_used(settings):
            continue
        assert isinstance(path, Path), "what is checked as a file is a path"
        fault = file.fault(path, file.setting)
        if fault is not None:
            yield Finding((file.setting,), fault)
