"""
Standard output and error as they may be: closed, full, a pipe that nobody reads. What a process that serves says there must not harm what
it serves: it never waits, and never raises.
"""

from __future__ import annotations

import os
import select
from typing import Final

STDERR: Final = 2


def open_standard_descriptors() -> None:
    """To the null device where they are closed: the next file opened, a segment of the log, would be in their place and be printed into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one


def tell(text: str) -> None:
    """On standard error, if that takes it at once."""
    ready = select.poll()
    ready.register(STDERR, select.POLLOUT)
    try:
        if ready.poll(0):
            os.write(STDERR, f"{text}\n".encode()[: select.PIPE_BUF])  # what a pipe that is ready takes whole
    except OSError:
        pass


def somebody_sees_it() -> bool:
    """Whether standard error is a terminal."""
    return os.isatty(STDERR)
