"""The core's builds: the one that runs here, and those that a wheel and a source distribution give."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from zerosum.build import CoreBuild, core_build, core_sources, source_sha256

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".tool/bin/uv"
PURE = os.environ.get("ZEROSUM_PURE") == "1"

REPORT = """
import dataclasses, json, zerosum.build, zerosum.core.bits as bits
assert bits.lowest_bit(8) == 3
print(json.dumps({**dataclasses.asdict(zerosum.build.core_build()), "bits": bits.__file__}))
"""


def run(*command: str | Path, cwd: Path, pure: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in {"ZEROSUM_PURE", "PYTHONPATH"}}
    env |= {"ZEROSUM_PURE": "1"} if pure else {}
    return subprocess.run(list(map(str, command)), cwd=cwd, env=env | environment, capture_output=True, text=True)


def run_or_fail(*command: str | Path, cwd: Path, pure: bool = False, **environment: str) -> str:
    result = run(*command, cwd=cwd, pure=pure, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def copy_of_repository(to: Path) -> Path:
    """What a fresh clone would have: no built file comes along."""
    listed = run_or_fail("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return to


def installed_report(wheel: Path, venv: Path) -> dict[str, object]:
    """What an empty environment says of its core once the locked packages and the wheel are in it."""
    python = venv / "bin/python"
    run_or_fail(UV, "venv", "-q", "--no-project", "--python", sys.executable, venv, cwd=ROOT)
    run_or_fail(UV, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", ROOT / "requirements/run.lock", cwd=ROOT)
    run_or_fail(UV, "pip", "install", "-q", "--python", python, "--no-deps", wheel, cwd=ROOT)
    run_or_fail(UV, "pip", "check", "--python", python, cwd=ROOT)
    report: dict[str, object] = json.loads(run_or_fail(python, "-I", "-c", REPORT, cwd=venv))
    assert str(report["bits"]).startswith(str(venv))
    return report


@pytest.mark.both_builds
def test_the_core_that_runs_here_is_the_announced_build_of_these_sources() -> None:
    sources = source_sha256(ROOT / "src/zerosum/core")
    assert core_build() == CoreBuild(compiled=not PURE, source_sha256=sources, built_from_sha256=None if PURE else sources)


def test_the_hash_covers_names_and_bytes(tmp_path: Path) -> None:
    def hash_of(**modules: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source)
        return source_sha256(folder)

    first = hash_of(a="x = 1", b="y = 2")
    assert hash_of(b="y = 2", a="x = 1", __init__='"""Not compiled."""', _built_from="SOURCE_SHA256 = ''") == first
    assert (
        len({first, hash_of(a="x = 1", c="y = 2"), hash_of(a="x = 2", b="y = 2"), hash_of(a="x = 1y = 2", b=""), hash_of(a="x = 1")}) == 5
    )


def test_a_wheel_from_the_source_distribution_has_the_compiled_core(tmp_path: Path) -> None:
    tree = copy_of_repository(tmp_path / "tree")
    run_or_fail(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", tree, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (source_distribution,) = (tmp_path / "dist").glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert "none-any" not in wheel.name
    assert "zerosum/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".c", "_built_from.py"))]

    report = installed_report(wheel, tmp_path / "venv")
    assert report["compiled"]
    assert report["built_from_sha256"] == report["source_sha256"] == source_sha256(ROOT / "src/zerosum/core")
    assert str(report["bits"]).endswith(".so")
    assert source_distribution.name.startswith("zerosum-")


def test_zerosum_pure_gives_a_wheel_for_any_machine(tmp_path: Path) -> None:
    tree = copy_of_repository(tmp_path / "tree")
    run_or_fail(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "dist", tree, cwd=tmp_path, pure=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")

    report = installed_report(wheel, tmp_path / "venv")
    assert not report["compiled"]
    assert report["built_from_sha256"] is None
    assert str(report["bits"]).endswith(".py")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The repository with no more of a core than two modules, quick to compile."""
    tree = copy_of_repository(tmp_path / "small")
    for path in core_sources(tree / "src/zerosum/core"):
        if path.name != "bits.py":
            path.unlink()
    (tree / "src/zerosum/core/other.py").write_text('"""Another module."""\n')
    return tree


def report_of(tree: Path) -> dict[str, object]:
    report: dict[str, object] = json.loads(run_or_fail(sys.executable, "-c", REPORT, cwd=tree, PYTHONPATH=str(tree / "src")))
    return report


def test_a_build_knows_when_its_sources_have_changed(small: Path) -> None:
    core = small / "src/zerosum/core"
    build = (sys.executable, "setup.py", "-q", "build_ext", "--inplace")
    run_or_fail(*build, cwd=small)
    fresh = report_of(small)
    assert fresh["compiled"]
    assert fresh["built_from_sha256"] == fresh["source_sha256"]

    with (core / "bits.py").open("a") as source:
        source.write("\nEDITED = True\n")
    edited = report_of(small)
    assert edited["built_from_sha256"] == fresh["source_sha256"] != edited["source_sha256"]

    (core / "other.py").unlink()
    run_or_fail(*build, cwd=small)
    rebuilt = report_of(small)
    assert rebuilt["compiled"]
    assert rebuilt["built_from_sha256"] == rebuilt["source_sha256"] != edited["source_sha256"]
    assert not list(core.glob("other.*")), "a module that left the sources must not live on as its compiled form"
    assert not (core / "_built_from.py").exists()


def test_without_a_compiler_the_build_fails_and_says_what_to_do(small: Path) -> None:
    """A silent fall back to plain Python would be found weeks later, as an exchange that is fifty times slower."""
    result = run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=small, CC="no-such-compiler")
    assert result.returncode != 0
    assert "the core could not be compiled" in result.stderr
    assert "set ZEROSUM_PURE=1" in result.stderr
