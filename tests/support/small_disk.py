"""
A real disk of a few megabytes that a test can fill: a tmpfs in a mount namespace of its own, which ends with the process that holds it.

    holder      unshare: mounts it, and waits           nothing of it is left behind, however the test ends
    exchange    started by `inside`: sees `path`
    test        sees the same files at `outside`        (but not through SQLite, which would follow that path out again)
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

MOUNT = 'mount -t tmpfs -o "size=$1,mode=0777" tmpfs "$2" && echo mounted && exec cat'
WAYS = (["--mount"], ["--user", "--map-root-user", "--mount"])  # as root; as anyone, where that is allowed
BALLAST = "ballast"


@final
class SmallDisk:
    def __init__(self, path: Path, holder: int, way: list[str]) -> None:
        self.path = path
        self.outside = Path(f"/proc/{holder}/root{path}")
        user = ["--user", "--preserve-credentials"] if "--user" in way else []
        self.inside = ["nsenter", "--target", str(holder), "--mount", *user]

    def fill(self) -> None:
        """Until not another page has room."""
        with (self.outside / BALLAST).open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        (self.outside / BALLAST).unlink()


@contextmanager
def small_disk(size_bytes: int) -> Iterator[SmallDisk]:
    folder = Path(tempfile.mkdtemp(prefix="small-"))  # of a short name: the path of a socket has 107 characters at most
    path = folder / "disk"
    path.mkdir()
    holder, way = hold(size_bytes, path)
    try:
        yield SmallDisk(path, holder.pid, way)
    finally:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.close()  # `cat` ends, and the mount with it
        holder.wait()
        holder.stdout.close()
        shutil.rmtree(folder)


def hold(size_bytes: int, path: Path) -> tuple[subprocess.Popen[str], list[str]]:
    """The process that holds the mount, and the way in which it was allowed to."""
    refused = []
    for way in WAYS:
        command = ["unshare", *way, "sh", "-c", MOUNT, "sh", str(size_bytes), str(path)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stderr is not None
        with holder.stderr:
            if holder.stdout.readline() == "mounted\n":
                assert os.path.ismount(f"/proc/{holder.pid}/root{path}")
                return holder, way
            refused.append(holder.stderr.read().strip())
        holder.communicate()
    raise RuntimeError(f"this system lets nobody here mount a small disk: {'; '.join(refused)}")
