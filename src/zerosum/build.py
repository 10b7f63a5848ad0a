"""
Which build of the core this is: compiled by mypyc or plain Python, and from which sources.

    core/*.py --- source_sha256 ---> setup.py --- compiled in with the rest ---> core/_built_from
        |                                                                              |
        +------------------------------- core_build() ---------------------------------+

Python prefers a compiled module to the source beside it, so an edited source changes nothing until it is compiled again. Because the hash
is part of the compiled library itself, it cannot tell of another build than the one that runs.
"""

import hashlib
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, PathFinder
from pathlib import Path

CORE_PACKAGE = "zerosum.core"
CORE_DIR = Path(__file__).resolve().parent / "core"
BUILT_FROM = "_built_from"  # written by setup.py while it compiles, and removed again: only its compiled form stays


@dataclass(frozen=True)
class CoreBuild:
    """What core_build() found."""

    compiled: bool  # every module of the core is
    source_sha256: str  # of the sources as they are now
    built_from_sha256: str | None  # of the sources that were compiled; None if nothing was

    @property
    def stale(self) -> bool:
        """Something compiled would run that is not what the sources say."""
        return self.built_from_sha256 is not None and self.built_from_sha256 != self.source_sha256


def core_sources(core_dir: Path = CORE_DIR) -> list[Path]:
    """The modules that are compiled, by name: all of the core but its `__init__`, which only has a docstring."""
    return sorted(path for path in core_dir.glob("*.py") if path.stem not in {"__init__", BUILT_FROM})


def source_sha256(core_dir: Path = CORE_DIR) -> str:
    """Over the names and bytes of the core's sources."""
    digest = hashlib.sha256()
    for path in core_sources(core_dir):
        source = path.read_bytes()
        digest.update(f"{path.name} {len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()


def core_build() -> CoreBuild:
    """The build of the core that an import gets. Reads the sources, so: once, at the start."""
    compiled = all(_is_compiled(path.stem) for path in core_sources())
    built_from: str | None = None
    if _is_compiled(BUILT_FROM):
        built_from = import_module(f"{CORE_PACKAGE}.{BUILT_FROM}").SOURCE_SHA256
    return CoreBuild(compiled, source_sha256(), built_from)


def _is_compiled(module: str) -> bool:
    spec = PathFinder.find_spec(f"{CORE_PACKAGE}.{module}", [str(CORE_DIR)])
    return spec is not None and isinstance(spec.loader, ExtensionFileLoader)
