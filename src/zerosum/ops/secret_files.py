"""
Secrets in files that only their owner can read.

    path --open--> the file itself, behind every link --> is it a file? whose? who else may read it? --> its one line

Always true: what is judged is the file that was opened, not what stood at the path before; and no secret is in an error's text.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from zerosum.errors import ConfigError

OTHERS: Final = 0o077
OTHERS_WRITE: Final = 0o022
BYTES_MAX: Final = 4_096


def read_secret(path: Path, setting: str, *, lines_max: int = 1) -> str:
    """The file's one line, or as many as there may be. ConfigError, which names the setting and never the secret."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            is_file = stat.S_ISREG(found.st_mode)
            text = file.read(BYTES_MAX + 1).decode().strip() if is_file else ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{setting} is {path}, which can't be read: {why}. Name a file with the secret in one line.") from error
    if not is_file:
        raise ConfigError(f"{setting} is {path}, which is no file. Name one with the secret in one line.")
    mode = stat.S_IMODE(found.st_mode)
    if mode & OTHERS:
        raise ConfigError(f"{setting} is {path}, which others than its owner may read or write (mode {mode:04o}). Run: chmod 600 {path}")
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"{setting} is {path}, which belongs to user {found.st_uid}, who can change it. Run, as root: chown {os.geteuid()} {path}"
        )
    lines = text.splitlines()
    if not 1 <= len(lines) <= lines_max or not all(map(str.isprintable, lines)) or len(text) > BYTES_MAX:
        raise ConfigError(f"{setting} is {path}, which must have the secret in one line, and has {len(lines)} lines.")
    return text


def _open_at_once(path: str, flags: int) -> int:
    """Not waiting for whoever might write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def open_folder(path: Path) -> tuple[Path, int] | None:
    """
    The folder of the file, or of a link that leads to it, in which others may put another file in its place; and that folder's mode.

    With a sticky bit, as /tmp has it, nobody can take away what is another's.
    """
    seen = path.absolute()
    for _ in range(40):  # links that lead in a ring were refused when the file was opened
        mode = stat.S_IMODE(seen.parent.stat().st_mode)
        if mode & OTHERS_WRITE and not mode & stat.S_ISVTX:
            return seen.parent, mode
        if not seen.is_symlink():
            break
        seen = seen.parent / seen.readlink()
    return None
