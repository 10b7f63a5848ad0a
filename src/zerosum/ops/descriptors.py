"""
Enough file descriptors for every connection that is let in: when there are none left, the log cannot make its next segment, and that ends
the process.
"""

from __future__ import annotations

import resource
from typing import Final

from zerosum.errors import ConfigError
from zerosum.ops.settings_model import Settings

_RESERVE: Final = 512
"""For the log, snapshots, databases, pipes, and connections that are only let in to be told that there is no room."""


def ensure_descriptors(settings: Settings) -> int:
    """
    Raise this process's limit of open files to what the settings may need, if the system lets it; that limit.

    ConfigError when it does not.
    """
    needed = settings.rest.connections_max + settings.websocket.connections_max + _RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return soft
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"this process may have {hard} files open, but rest.connections_max ({settings.rest.connections_max}) and"
            f" websocket.connections_max ({settings.websocket.connections_max}) need {needed}.\n"
            "  Lower them, or raise that limit: ulimit -n, or LimitNOFILE of the service."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return needed
