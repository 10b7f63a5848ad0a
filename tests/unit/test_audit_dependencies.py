"""The audit of dependencies finds what was changed, added, taken away or is no locked version; the bill of materials lists what runs."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tools.audit_dependencies import audit
from tools.packages import ROOT, Locked, locked
from tools.sbom import faults_of, sbom

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
PACKAGES = ("mypy_extensions", "typing_inspection")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two real packages, as they are installed."""
    for name in PACKAGES:
        for path in SITE_PACKAGES.glob(f"{name}*"):
            target = tmp_path / path.name
            shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    return tmp_path


@pytest.fixture
def pinned() -> dict[str, Locked]:
    lock = locked(ROOT / "requirements/dev.lock")
    return {str(canonicalize_name(name)): lock[str(canonicalize_name(name))] for name in PACKAGES}


def test_this_environment_is_as_the_locks_say() -> None:
    assert list(audit(SITE_PACKAGES, locked(ROOT / "requirements/dev.lock"))) == []


def test_what_is_as_it_was_installed_passes(site: Path, pinned: dict[str, Locked]) -> None:
    assert list(audit(site, pinned)) == []


def test_a_changed_file_is_found(site: Path, pinned: dict[str, Locked]) -> None:
    with (site / "mypy_extensions.py").open("a") as file:
        file.write("# added\n")
    assert list(audit(site, pinned)) == ["mypy-extensions: mypy_extensions.py was changed since it was installed"]


def test_a_file_that_is_gone_is_found(site: Path, pinned: dict[str, Locked]) -> None:
    (site / "typing_inspection/introspection.py").unlink()
    assert list(audit(site, pinned)) == ["typing-inspection: typing_inspection/introspection.py is gone"]


@pytest.mark.parametrize("name", ["planted.py", "planted.pth", "typing_inspection/planted.py", "planted.so"])
def test_a_file_that_nothing_brought_is_found(name: str, site: Path, pinned: dict[str, Locked]) -> None:
    """A .pth is run at every start of Python."""
    (site / name).write_text("import os\n")
    assert list(audit(site, pinned)) == [f"{name} belongs to nothing that was installed"]


def test_another_version_one_in_no_lock_and_one_that_is_missing_are_found(site: Path, pinned: dict[str, Locked]) -> None:
    own = pinned.pop("mypy-extensions")
    other = pinned["typing-inspection"]._replace(version="0.0.1")
    there = pinned["typing-inspection"].version
    missing = Locked("nowhere", "1", "", ())
    elsewhere = Locked("elsewhere", "1", "sys_platform == 'none'", ())
    assert list(audit(site, {"typing-inspection": other, "nowhere": missing, "elsewhere": elsewhere})) == [
        f"mypy-extensions {own.version} is installed, and in no lock",
        f"typing-inspection is {there}, and the lock says 0.0.1",
        "nowhere 1 is in the lock, and not installed",
    ]


def test_one_without_a_license_is_found(site: Path, pinned: dict[str, Locked]) -> None:
    (metadata,) = site.glob("mypy_extensions-*/METADATA")
    metadata.write_text("\n".join(line for line in metadata.read_text().splitlines() if "License" not in line))
    assert "mypy-extensions names no license" in list(audit(site, pinned))


# -- the bill of materials


def test_the_bill_keeps_to_the_schema_and_lists_each_locked_package_with_hash_and_license() -> None:
    lock = ROOT / "requirements/run.lock"
    text = sbom(lock, SITE_PACKAGES)
    assert faults_of(text) is None
    found = {each["purl"].partition("@")[0]: each for each in json.loads(text)["components"]}
    pinned = locked(lock)
    assert len(pinned) == sum(line[:1].isalnum() for line in lock.read_text().splitlines()) > 20
    assert set(found) == {f"pkg:pypi/{name}" for name in pinned}
    for name, each in pinned.items():
        component = found[f"pkg:pypi/{name}"]
        assert component["version"] == each.version
        assert {(one["alg"], one["content"]) for one in component["hashes"]} == {("SHA-256", content) for content in each.hashes}
        assert each.hashes
        (license_,) = component["licenses"]
        assert license_.get("expression") or license_["license"].get("id") or license_["license"].get("name")


def test_the_bill_says_what_needs_what() -> None:
    bill = json.loads(sbom(ROOT / "requirements/run.lock", SITE_PACKAGES))
    needs = {each["ref"].partition("==")[0]: {ref.partition("==")[0] for ref in each.get("dependsOn", [])} for each in bill["dependencies"]}
    assert {"apsw", "cryptography", "uvicorn"} <= needs["zerosum"]
    assert "cffi" in needs["cryptography"]
    assert "pytest" not in needs


def test_one_lock_gives_one_bill_and_a_broken_one_is_told() -> None:
    text = sbom(ROOT / "requirements/run.lock", SITE_PACKAGES)
    assert text == sbom(ROOT / "requirements/run.lock", SITE_PACKAGES)
    broken = json.loads(text)
    broken["components"][0]["type"] = "thing"
    assert faults_of(json.dumps(broken)) is not None
