"""pyproject.toml, the lock files and docs/dependencies.md tell one story."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT_TEXT = (ROOT / "pyproject.toml").read_text()
PYPROJECT = tomllib.loads(PYPROJECT_TEXT)

RUN = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
DEV = [Requirement(line) for line in PYPROJECT["dependency-groups"]["dev"]]
BUILD = [Requirement(line) for line in PYPROJECT["build-system"]["requires"]]
SCAN = [Requirement(line) for line in (ROOT / "requirements/scan.in").read_text().splitlines() if not line.startswith("#")]


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def lock(name: str) -> dict[str, Version]:
    """Package and version of each entry; every entry must have hashes."""
    entries = re.findall(r"^([\w.-]+)==(\S+)( ; .*?)? \\\n    --hash=sha256:", (ROOT / f"requirements/{name}.lock").read_text(), re.M)
    return {canonicalize_name(package): Version(version) for package, version, _ in entries}


@pytest.mark.parametrize(("name", "requirements"), [("run", RUN), ("dev", RUN + DEV + BUILD), ("scan", SCAN)], ids=["run", "dev", "scan"])
def test_the_lock_has_every_requirement_within_its_bound(name: str, requirements: list[Requirement]) -> None:
    locked = lock(name)
    for requirement in requirements:
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize("name", ["tool", "scan", "run", "dev"])
def test_every_entry_of_a_lock_is_hashed(name: str) -> None:
    pinned = re.findall(r"^[\w.-]+==", (ROOT / f"requirements/{name}.lock").read_text(), re.M)
    assert len(pinned) == len(lock(name)) > 0


def test_what_is_tested_is_what_runs() -> None:
    run, dev = lock("run"), lock("dev")
    assert {name: dev.get(name) for name in run} == run


def test_requirements_are_in_order_and_named_once() -> None:
    for requirements in (RUN, DEV):
        in_order = [requirement.name.lower() for requirement in requirements]
        assert in_order == sorted(set(in_order))
    assert names(RUN).isdisjoint(names(DEV))


def test_every_requirement_line_carries_its_reason() -> None:
    lines = [line.strip() for line in PYPROJECT_TEXT.splitlines() if re.match(r'    "[\w.-]+(\[[\w,-]+\])?[=>]=', line)]
    assert len(lines) == len(RUN + DEV + BUILD)
    assert [line for line in lines if not re.search(r'",  ?\s*# \S+', line)] == []


def test_the_docs_explain_each_dependency_and_no_other() -> None:
    rows = re.findall(r"^\| `([\w.-]+)` \| (\S.*?) \|", (ROOT / "docs/dependencies.md").read_text(), re.M)
    assert {canonicalize_name(name) for name, _ in rows} == names(RUN + DEV + BUILD + SCAN) | set(lock("tool"))
