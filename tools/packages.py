"""
What the locks pin, and what is installed: for the audit of dependencies and the bill of materials.

    requirements/run.lock --> Locked(name, version, hashes)          .venv --> the distribution, its files and license
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final, NamedTuple

from packaging.markers import Marker
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
OURS: Final = "zerosum"

_ENTRY: Final = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)(?: ; (.*?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)
_CLASSIFIED: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_CALLED: Final = {
    "Apache 2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "PSFL": "PSF-2.0",
}
_READ: Final = {"aiofastnet": "MIT", "colorama": "BSD-3-Clause", "picows": "MIT"}
"""Of those whose metadata name none: from the text that they ship. Colorama is for Windows only."""


class Locked(NamedTuple):
    """`name` as the registry has it. `hashes`: SHA-256 of each file that may be installed for that version."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def is_for_here(self) -> bool:
        return not self.marker or Marker(self.marker).evaluate()


def locked(lock: Path) -> dict[str, Locked]:
    """By canonical name."""
    found = {}
    for name, version, marker, hashes in _ENTRY.findall(lock.read_text()):
        found[str(canonicalize_name(name))] = Locked(name, version, marker, tuple(sorted(re.findall(r"[0-9a-f]{64}", hashes))))
    return found


def installed(site_packages: Path) -> dict[str, Distribution]:
    return {str(canonicalize_name(each.metadata["Name"])): each for each in distributions(path=[str(site_packages)])}


def license_of(name: str, distribution: Distribution | None) -> str:
    """An expression of SPDX where its metadata lead to one; else what they say; "" where they say nothing."""
    if name in _READ:
        return _READ[name]
    if distribution is None:
        return ""
    metadata = distribution.metadata
    (expression, *_), (called, *_) = (metadata.get_all(field) or [""] for field in ("License-Expression", "License"))
    said = expression or _CALLED.get(called, "")
    if said:
        return said
    classified = {each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier") or [] if each.startswith("License ::")}
    known = sorted(_CLASSIFIED[each] for each in classified if each in _CLASSIFIED)
    return " OR ".join(known) if known else called
