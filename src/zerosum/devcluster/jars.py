"""
The jars of a server, fetched once by Maven.

    servers/<name>/pom.xml --mvn--> cache/<name>-<digest>/lib/*.jar       each as servers/<name>/jars.lock has its SHA-256

The cache is ZEROSUM_DEVCLUSTER_CACHE, else zerosum/devcluster in XDG_CACHE_HOME, else in ~/.cache. Of two processes that fetch at once one
waits for the other.

    python -m zerosum.devcluster.jars kafka       print the lock anew, after a change of its pom.xml
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from zerosum.errors import ZerosumError

CACHE_VARIABLE: Final = "ZEROSUM_DEVCLUSTER_CACHE"
SERVERS: Final = Path(str(files("zerosum.devcluster"))) / "servers"


class JarsMissing(ZerosumError):
    """A server's jars can't be fetched, or are others than they should be."""


def cache() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else home / "zerosum" / "devcluster"


def fetched(server: str, report: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of a server's jars, which are fetched if they are not in the cache. JarsMissing."""
    lock = locked(server)
    digest = hashlib.sha256((SERVERS / server / "jars.lock").read_bytes()).hexdigest()[:12]
    folder = cache() / f"{server}-{digest}" / "lib"
    with one_at_a_time(server):
        if not folder.exists():
            report(f"fetching the jars of {server}, once ...")
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=folder.parent))
            try:
                fetch(server, draft)
                check(server, draft, lock)
                draft.rename(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return folder


def locked(server: str) -> dict[str, str]:
    """File name to SHA-256."""
    lines = (SERVERS / server / "jars.lock").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


@contextmanager
def one_at_a_time(server: str) -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{server}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(server: str, folder: Path) -> None:
    command = [
        "mvn", "-q", "-B", "-f", str(SERVERS / server / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={folder}",
        "-DincludeScope=runtime",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError as error:
        raise JarsMissing("Maven is needed to fetch the servers' jars: install it (on Debian the package maven).") from error
    if done.returncode != 0:
        raise JarsMissing(f"Maven could not fetch the jars of {server}:\n{done.stdout[-2000:]}")


def check(server: str, folder: Path, lock: dict[str, str]) -> None:
    """Exactly those of the lock."""
    found = digests(folder)
    for name in sorted(found.keys() | lock.keys()):
        if found.get(name) != lock.get(name):
            raise JarsMissing(
                f"{name} of {server} is {found.get(name, 'missing')}, and must be {lock.get(name, 'absent')} by jars.lock: what the"
                " registry gave is not what was tried. Write the lock anew only if you know why."
            )


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}


def class_path(folder: Path) -> str:
    """In one order always: an archive of classes is good for that very class path."""
    return ":".join(sorted(str(path) for path in folder.glob("*.jar")))


def main() -> None:
    (server,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as draft:
        fetch(server, Path(draft))
        sys.stdout.writelines(f"{digest}  {name}\n" for name, digest in sorted(digests(Path(draft)).items()))


if __name__ == "__main__":
    main()
