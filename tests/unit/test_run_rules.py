"""The rules of tests/conftest.py, each tried in a small repository of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Run:
    """One run of pytest in a repository that has our settings, our conftest and one test module."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tests").mkdir(parents=True)
        shutil.copy(ROOT / "tests/conftest.py", root / "tests")
        shutil.copy(ROOT / "pyproject.toml", root)
        shutil.copytree(ROOT / "src/zerosum", root / "src/zerosum", ignore=shutil.ignore_patterns("__pycache__"))

    def __call__(self, test_module: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.root / "tests/test_it.py").write_text(test_module)
        env = {name: value for name, value in os.environ.items() if name not in {"CI", "ZEROSUM_PURE", "ZEROSUM_SHARED"}}
        env |= {"PYTHONPATH": str(self.root / "src")} | environment
        command = [sys.executable, "-m", "pytest", "-q", *options]
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "repo")


PASSES = "def test_it(): pass\n"


@pytest.mark.parametrize(
    "test_module",
    [
        "from pytest import skip\ndef test_it(): skip('why')\n",
        "from unittest import skip\n@skip('why')\ndef test_it(): pass\n",
        "from pytest import skip\nskip('why', allow_module_level=True)\n",
        "from pytest import importorskip\nimportorskip('no_such_module')\n",
        "from pytest import xfail\ndef test_it(): xfail('why')\n",
        "from pytest import mark\n@mark.xfail\ndef test_it(): assert 0\n",
        "from pytest import mark\n@mark.xfail(strict=False)\ndef test_it(): pass\n",
    ],
)
def test_a_skipped_or_xfailed_test_is_a_failure(run: Run, test_module: str) -> None:
    result = run(test_module)
    assert result.returncode != 0, result.stdout
    assert "counts as a failure" in result.stdout


def test_a_warning_is_a_failure(run: Run) -> None:
    assert run("import warnings\ndef test_it(): warnings.warn('old')\n").returncode == 1


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_without_the_shared_folder_its_tests_are_left_out_and_counted(run: Run, workers: list[str]) -> None:
    result = run(PASSES + "def test_golden(shared_dir): pass\ndef test_other(shared_dir): pass\n", *workers)
    assert result.returncode == 0, result.stdout
    assert "left out: 2 tests that need the shared folder" in result.stdout
    assert "1 passed" in result.stdout


def test_with_the_shared_folder_its_tests_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    result = run(PASSES + "def test_golden(shared_dir): assert shared_dir.is_dir()\n", CI="true")
    assert "2 passed" in result.stdout
    assert "left out" not in result.stdout


def test_with_ci_a_missing_shared_folder_stops_the_run(run: Run) -> None:
    result = run(PASSES, CI="true", ZEROSUM_SHARED="elsewhere")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ZEROSUM_SHARED names it" in result.stderr


def test_a_stale_core_stops_the_run(run: Run) -> None:
    """Otherwise an edited core passes its tests as it was before the edit."""
    assert run(PASSES).returncode == 0
    with (run.root / "src/zerosum/core/bits.py").open("a") as source:
        source.write("# edited\n")
    result = run(PASSES)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "stale or missing" in result.stderr


def test_a_missing_compiled_module_stops_the_run(run: Run) -> None:
    for compiled in (run.root / "src/zerosum/core").glob("bits.*.so"):
        compiled.unlink()
    result = run(PASSES)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "stale or missing" in result.stderr


def test_a_core_from_elsewhere_stops_the_run(run: Run, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(run.root / "src", tmp_path / "elsewhere")
    (run.root / "src/zerosum/core/bits.py").write_text("")
    result = run(PASSES, PYTHONPATH=str(elsewhere))
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "is not the one in src/" in result.stderr


def test_a_compiled_core_is_not_taken_for_the_plain_one(run: Run) -> None:
    result = run(PASSES, ZEROSUM_PURE="1")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "make pure" in result.stderr
    for compiled in (run.root / "src/zerosum/core").glob("*.so"):
        compiled.unlink()
    assert run(PASSES, ZEROSUM_PURE="1").returncode == 0
