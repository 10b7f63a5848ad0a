"""What must be true of the repository as a whole."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Put together here, so that this file does not hold what it looks for.
REGISTRY_HOSTS = [
    *("py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "npmjs" + ".com", "crates" + ".io", "proxy." + "golang"),
    *("repo1." + "maven", "repo." + "maven", "deb." + "debian.org", "security." + "debian.org"),
]
MACHINE_PATHS = re.compile(r"/(?:work|farm)/|/tmp/[a-z]+_jobs|" + re.escape(f"{ROOT}/"))
BUILT = re.compile(
    r"\.(?:so|pyc|whl|jar|class|o)$|(?:^|/)(?:build|dist|node_modules|__pycache__)/|\.egg-info/|(?:^|/)uv\.lock$|_built_from\.py$"
)


def listed(*options: str) -> list[str]:
    found = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(filter(None, found.stdout.split("\0")))


def texts() -> dict[str, str]:
    """Every text file that is tracked, or would be by `git add`."""
    found = {}
    for name in listed("--cached", "--others", "--exclude-standard"):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            found[name] = content.decode()
    return found


TEXTS = texts()


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_registry_is_named(host: str) -> None:
    """Whoever builds this may have a mirror: which registry to use is for the machine's own settings."""
    assert [name for name, text in TEXTS.items() if host in text] == []


def test_no_path_of_one_machine_is_named() -> None:
    assert [name for name, text in TEXTS.items() if MACHINE_PATHS.search(text)] == []


def test_no_built_file_is_tracked_or_about_to_be() -> None:
    assert [name for name in listed("--cached", "--others", "--exclude-standard") if BUILT.search(name)] == []


def test_no_tracked_file_is_large() -> None:
    assert [name for name in listed() if (ROOT / name).is_file() and (ROOT / name).stat().st_size > 2 << 20] == []


def test_every_make_target_explains_itself() -> None:
    makefile = TEXTS["Makefile"]
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.M)
    explained = re.findall(r"^([a-z-]+):.*## \S", makefile, re.M)
    assert set(explained) == set(phony.split()) - {"FORCE"}
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([\w-]+) +\S", shown, re.M) == explained


def test_ci_runs_the_checks_and_the_tests() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert re.findall(r"^make (\w+)$", TEXTS[".ci/run"], re.M) == ["check", "test"]


def test_every_shell_script_stops_at_its_first_error() -> None:
    scripts = {name: text for name, text in TEXTS.items() if re.match(r"#!.*\b(?:ba)?sh\b", text)}
    assert ".ci/run" in scripts
    assert [name for name, text in scripts.items() if not re.search(r"^set -eu", text, re.M)] == []


def test_the_license_is_apache_2() -> None:
    assert "Apache License\n                           Version 2.0, January 2004" in TEXTS["LICENSE"]
    assert "END OF TERMS AND CONDITIONS" in TEXTS["LICENSE"]
