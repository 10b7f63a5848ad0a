"""
What processes show to others: sockets on which they listen, files that they have open to write, their command lines and environments; and
whether a secret is in it. Linux: by /proc.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
ROOT: Final = Path(__file__).resolve().parents[2]
LISTENERS: Final = ROOT / "docs/reference/listeners.md"
LISTENS: Final = "0A"  # in /proc/net/tcp
ACCEPTS: Final = 1 << 16  # the flag of a Unix socket, in /proc/net/unix
ACCESS_MODE: Final = 3  # of flags of open


class Listening(NamedTuple):
    kind: str  # TCP, UDP or Unix
    place: str  # host:port, or a path


def descendants(pid: int) -> list[int]:
    """Those that it started, and they."""
    found = []
    for task in (PROC / str(pid) / "task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def sockets_of(pid: int) -> set[str]:
    """By inode."""
    names = (str(entry.readlink()) for entry in (PROC / str(pid) / "fd").iterdir() if entry.is_symlink())
    return {match[1] for name in names if (match := re.fullmatch(r"socket:\[(\d+)\]", name))}


def listening(pid: int) -> set[Listening]:
    """All sockets on which it waits for others; for UDP all that are bound, for there it can't be told."""
    own = sockets_of(pid)
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6), ("udp", socket.AF_INET), ("udp6", socket.AF_INET6)):
        for line in (PROC / str(pid) / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if inode in own and (table.startswith("udp") or state == LISTENS):
                found.add(Listening(table[:3].upper(), place_of(local, family)))
    for line in (PROC / str(pid) / "net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path = line.split()
        if inode in own and int(flags, 16) & ACCEPTS:
            found.add(Listening("Unix", path[0] if path else ""))
    return found


def place_of(local: str, family: int) -> str:
    """As the kernel writes it, in words of the machine's own order."""
    address, port = local.split(":")
    raw = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    return f"{socket.inet_ntop(family, raw)}:{int(port, 16)}"


def documented(process: str, ports: Mapping[str, int], data: Path, host: str = "127.0.0.1") -> set[Listening]:
    """What docs/reference/listeners.md says of a process."""
    rows = re.findall(r"^\| (\w+) \| (TCP|Unix|UDP) \| `(\w+)\.(?:host|sock)`", LISTENERS.read_text(), re.M)
    return {
        Listening(kind, str(data / f"{name}.sock") if kind == "Unix" else f"{host}:{ports[name]}")
        for owner, kind, name in rows
        if owner == process
    }


def written_by(pid: int) -> set[Path]:
    """Files that it has open to write, or mapped so that what it writes there is kept."""
    found = set()
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            (flags,) = re.findall(r"^flags:\s+(\d+)", (entry.parent.parent / "fdinfo" / entry.name).read_text(), re.M)
            if int(flags, 8) & ACCESS_MODE != os.O_RDONLY and stat.S_ISREG(entry.stat().st_mode):
                found.add(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
    for line in (PROC / str(pid) / "maps").read_text().splitlines():
        _, mode, _, _, inode, *path = line.split(maxsplit=5)
        if "w" in mode and mode.endswith("s") and inode != "0" and path[0].startswith("/"):  # no memory of the kernel's, of no file
            found.add(Path(path[0]))
    return found


class Secret(NamedTuple):
    """`name`: for a failure's text, which never has the secret itself."""

    name: str
    text: str


class Leak(NamedTuple):
    where: str
    secret: str


def forms_of(secret: str) -> Iterator[bytes]:
    """As it is, and as other forms of it are written."""
    yield secret.encode()
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", secret):
        yield secret.upper().encode()
        yield bytes.fromhex(secret)


def leaks(where: str, content: bytes, secrets: Iterable[Secret]) -> Iterator[Leak]:
    for secret in secrets:
        if any(form in content for form in forms_of(secret.text)):
            yield Leak(where, secret.name)


def leaks_of_files(folder: Path, secrets: list[Secret], meant: Mapping[str, set[str]]) -> Iterator[Leak]:
    """`meant`: by a file's path below the folder, the names of the secrets that it is there for."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder))
            kept = meant.get(name, set())
            yield from leaks(name, path.read_bytes(), [secret for secret in secrets if secret.name not in kept])


def leaks_of_processes(pids: Iterable[int], secrets: list[Secret], environments: bool = True) -> Iterator[Leak]:
    for pid in pids:
        yield from leaks(f"command line of {pid}", (PROC / str(pid) / "cmdline").read_bytes(), secrets)
        if environments:
            yield from leaks(f"environment of {pid}", (PROC / str(pid) / "environ").read_bytes(), secrets)
