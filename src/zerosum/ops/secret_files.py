"""
Secrets in files that only their owner can read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from zerosum.errors import ConfigError

OTHERS: Final = 0o077


def read_secret(path: Path, setting: str) -> str:
    """The file's one line. ConfigError, which names the setting and never the secret."""
    text = read_private(path, setting)
    if not text or not text.isprintable():
        raise ConfigError(f"{setting} is {path}, which must have the secret in one line, and has {len(text.splitlines())} lines.")
    return text


def read_private(path: Path, setting: str) -> str:
    """All that is in it, but for blanks around it. ConfigError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read().decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{setting} is {path}, which can't be read: {why}. Name a file with the secret in one line.") from error
    if mode & OTHERS:
        raise ConfigError(f"{setting} is {path}, which others than its owner may read or write (mode {mode:04o}). Run: chmod 600 {path}")
    return text
