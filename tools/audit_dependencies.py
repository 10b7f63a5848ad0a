"""
Holds what is installed in .venv against the locks, without a network: `make audit-dependencies`.

    every distribution   is one of requirements/dev.lock, in the version that is pinned there; of those none is missing
    every file           is as the RECORD of its distribution says, and stands in one
    every license        is named

What differs is printed, and the exit code is 1. A RECORD lies beside its files: whoever rewrites both is not found here, but by installing
anew from the hashed locks. Whether a version is known to be vulnerable, no file here can say: see SECURITY.md.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

from tools.packages import OURS, ROOT, Locked, installed, license_of, locked

MADE_HERE: Final = ("_virtualenv.py", "_virtualenv.pth")
"""By what makes the environment: they belong to no distribution."""


def audit(site_packages: Path, pinned: dict[str, Locked]) -> Iterator[str]:
    """What is wrong."""
    there = installed(site_packages)
    for name, distribution in sorted(there.items()):
        if name == OURS:
            pass  # built from the sources here, in the version that they say
        elif name not in pinned:
            yield f"{name} {distribution.version} is installed, and in no lock"
        elif distribution.version != pinned[name].version:
            yield f"{name} is {distribution.version}, and the lock says {pinned[name].version}"
        if not license_of(name, distribution):
            yield f"{name} names no license"
    for name, each in sorted(pinned.items()):
        if each.is_for_here and name not in there:
            yield f"{name} {each.version} is in the lock, and not installed"
    yield from altered_files(site_packages, there)


def altered_files(site_packages: Path, there: dict[str, Distribution]) -> Iterator[str]:
    recorded: set[Path] = set()
    for name, distribution in sorted(there.items()):
        for file in distribution.files or []:
            path = Path(str(file.locate())).absolute()
            recorded.add(Path(path.parent.resolve(), path.name))
            if file.hash is None:
                continue  # RECORD itself
            if not path.is_file():
                yield f"{name}: {file} is gone"
                continue
            found = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, path.read_bytes()).digest()).decode().rstrip("=")
            if found != file.hash.value:
                yield f"{name}: {file} was changed since it was installed"
    for path in sorted(site_packages.resolve().rglob("*")):
        if path.is_file() and path.suffix != ".pyc" and path not in recorded and path.name not in MADE_HERE:
            yield f"{path.relative_to(site_packages.resolve())} belongs to nothing that was installed"


def main() -> int:
    site_packages = Path(sysconfig.get_path("purelib"))
    pinned = locked(ROOT / "requirements/dev.lock")
    faults = list(audit(site_packages, pinned))
    by_license = defaultdict(list)
    there = installed(site_packages)
    for name, distribution in sorted(there.items()):
        by_license[license_of(name, distribution)].append(name)
    for license_name, names in sorted(by_license.items()):
        sys.stdout.write(f"{license_name or 'no license'}: {', '.join(names)}\n")
    for fault in faults:
        sys.stdout.write(f"wrong: {fault}\n")
    if faults:
        sys.stdout.write("Install anew what the locks say: rm -r .venv && make setup\n")
        return 1
    sys.stdout.write(f"{len(there)} packages are as the locks and their records say. Known vulnerabilities: see SECURITY.md\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
