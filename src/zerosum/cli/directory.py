"""
Which data directory a command is for, with which settings and master key: one way for all of them.

    --data, else ZEROSUM_DATA_DIRECTORY, else zerosum-data --> the directory
    --config, else zerosum.toml in the directory            --> the settings (of `up`, `init`, `key` and `config`)

Always true: only `up` and `init` make a directory, its log or its master key. Any other command refuses one without an exchange in it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from zerosum.errors import ConfigError
from zerosum.identity.sealing import MasterKey, MasterKeyError, create_master_key, load_master_key, master_key_from
from zerosum.log.disk import OsDisk
from zerosum.ops import settings as settings_file
from zerosum.ops.roles import Role
from zerosum.ops.settings import DATA_VARIABLE, Given, Resolved
from zerosum.ops.settings_model import DATA_DIRECTORY, Settings
from zerosum.services import admin
from zerosum.services.datadir import DataDir

MASTER_KEY_NAME = "master.key"


class NoExchange(ConfigError):
    """The data directory that was named has no exchange in it."""


def existing(data: Path | None) -> DataDir:
    """The data directory of a command that changes or shows an exchange. NoExchange, ConfigError."""
    settings_file.check_variables(os.environ)
    return held(DataDir(data or Path(os.environ.get(DATA_VARIABLE) or DATA_DIRECTORY)))


def held(directory: DataDir) -> DataDir:
    """The same directory, if there is an exchange in it. NoExchange."""
    if not holds_exchange(directory):
        raise NoExchange(
            f"there is no exchange in {directory.root}: make one with `zerosum init --data {directory.root}`, or start it with"
            f" `zerosum up --data {directory.root}`, or name another with --data."
        )
    return directory


def data_option(root: Path) -> str:
    """What a command that is suggested needs to find the directory."""
    return "" if str(root) == (os.environ.get(DATA_VARIABLE) or str(DATA_DIRECTORY)) else f" --data {root}"


def holds_exchange(directory: DataDir) -> bool:
    """
    Whether there is a log, or what is only made from one: then its loss is for the log to tell. Or the socket of a cluster's console,
    which has none.
    """
    holds_log = any(directory.log.glob("*.seg")) or directory.settled.exists() or directory.snapshots.exists()
    return holds_log or (directory.root / admin.NAME).exists()


def load_settings(data: Path | None, config: Path | None, role: Role | None = None) -> Settings:
    """From the file and the environment, of a command that starts nothing. ConfigError."""
    return settings_file.resolve(*settings_file.sources(data, config, os.environ, {}), role).settings


def settings_to_start(data: Path | None, config: Path | None, options: Mapping[str, Given], role: Role) -> Resolved:
    """The same with the command line's options, which go first: of a process that is to serve. ConfigError."""
    return settings_file.resolve(*settings_file.sources(data, config, os.environ, options), role)


def make_directory(path: Path) -> None:
    """For its owner alone, and durable by name. ConfigError."""
    disk = OsDisk()
    try:
        if not path.is_dir():
            disk.make_directory(path.parent)
            path.mkdir(mode=0o700)
            disk.sync_directory(path.parent)
    except OSError as error:
        why = error.strerror
        if isinstance(error, FileExistsError):
            why = "there is a file of that name" if path.exists() else os.strerror(errno.ENOTDIR)
        raise ConfigError(f"the data directory {path} can't be made: {why}. Name another with --data.") from error


def master_key_file(settings: Settings) -> Path:
    """Where the master key is, unless the environment has it."""
    return settings.master_key_file or settings.data_directory / MASTER_KEY_NAME


def master_key(settings: Settings, *, makes: bool = False) -> MasterKey:
    """What seals identities: of the settings, or of its file, which is made with a new data directory. MasterKeyError."""
    if settings.master_key is not None:
        return master_key_from(settings.master_key.get_secret_value(), "master_key")
    file = master_key_file(settings)
    identities = DataDir(settings.data_directory).identities
    if settings.master_key_file is None and not file.exists():
        if identities.exists():
            raise MasterKeyError(
                f"{file} is gone, and what is in {identities} is sealed with it. Put it back, or give it in ZEROSUM_MASTER_KEY or"
                f" master_key_file. If it is lost for good, move {identities.name} away: its keys can't be used any more; make new ones."
            )
        if makes:
            create_master_key(file)
    return load_master_key(file, environment={})
