"""
Ports of 127.0.0.1 for servers that may be killed and start again.

They are not of those that the system gives to outgoing connections: one of these may have taken a port while its server was away.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
PORT_MIN: Final = 10_000
PORT_END: Final = 32_768  # Linux' first for outgoing connections, where nobody has set another
OUTGOING: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    found: set[int] = set()
    end = port_end()
    while len(found) < count:
        port = random.randrange(PORT_MIN, end)  # noqa: S311  no secret
        if is_free(port):
            found.add(port)
    return sorted(found)


def is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def port_end() -> int:
    """Below it, none is an outgoing connection's; where that leaves too few, all ports are as good."""
    first = int(OUTGOING.read_text().split()[0]) if OUTGOING.exists() else PORT_END
    return first if first >= 2 * PORT_MIN else 65_536
