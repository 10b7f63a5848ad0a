"""
What a process gives up before it opens anything, because it needs none of it and others could use it.

    umask 077              nobody else reads what it makes
    no core dumps          which would hold the master key and secrets
    no new privileges      also for what it starts: a set-uid program gives nothing           (Linux)
    profile prod:          other processes of its user can't look into its memory             (Linux)

All but the last are inherited by the processes that it starts.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

PRIVATE: Final = 0o077
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38


def harden(profile: str) -> None:
    os.umask(PRIVATE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _set(PR_SET_NO_NEW_PRIVS, 1)
        if profile == "prod":
            _set(PR_SET_DUMPABLE, 0)


def _set(option: int, value: int) -> None:
    """OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
