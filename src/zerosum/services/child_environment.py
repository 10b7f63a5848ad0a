"""
The environment of processes that the exchange starts: without its settings, some of which are secrets.

Whoever may see such a process may see its environment, and it reads no settings: what it needs it is told by its arguments, or by a pipe.
"""

from __future__ import annotations

import os


def child_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ZEROSUM_") or name == "ZEROSUM_PURE"}
