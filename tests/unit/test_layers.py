"""
Who may import whom, and what the core may not touch.

import-linter (`make check`) holds the order of the packages. Here: that its contracts do catch what the design forbids, the imports that
are allowed only through another package, which it cannot express, and the purity of the core.
"""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zerosum.build import core_sources

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/zerosum"

# The design, as a table: a package, and the only packages it may import itself.
MAY_IMPORT = {
    "core": set(),
    "log": {"core"},
    "settlement": {"core", "log"},
    "views": {"core"},
    "net": set(),
    "gateway": {"core", "views", "settlement", "net"},
    "services": {"core", "log", "settlement", "views", "gateway", "net"},
    "ops": {"core", "log", "settlement", "net"},
    "sim": {"core", "log", "settlement", "views", "gateway", "services"},
    "cli": {"core", "log", "settlement", "views", "gateway", "services", "ops", "sim", "bench", "net"},
    "bench": {"core", "log", "settlement", "views", "gateway", "services", "ops", "net"},
}
# Reached through another package, so that a contract about chains of imports has to let them pass.
NOT_DIRECTLY = {("gateway", "log"), ("sim", "net")}

CORE_MAY_IMPORT = ("__future__", "collections.abc", "hashlib", "librt", "mypy_extensions", "struct", "typing", "zerosum.core")
IMPURE_CALLS = {"__import__", "breakpoint", "compile", "eval", "exec", "float", "hash", "id", "input", "open", "print"}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, wherever it stands; `from a import b` counts as a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, "." * node.level + f"{node.module or ''}.{alias.name}") for alias in node.names)


def impurities(source: str) -> list[str]:
    """What in a core module could differ between two machines, two runs or two builds."""
    tree = ast.parse(source)
    found = []
    for line, name in imported(tree):
        if not name.startswith(tuple(f"{allowed}." for allowed in CORE_MAY_IMPORT)) and name not in CORE_MAY_IMPORT:
            found.append(f"{line}: imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"{node.lineno}: calls {node.func.id}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"{node.lineno}: the float {node.value}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"{node.lineno}: a division that gives a float")
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
            found.append(f"{node.lineno}: can be suspended")
    return found


@pytest.mark.parametrize("path", core_sources(PACKAGE / "core"), ids=lambda path: path.stem)
def test_the_core_is_pure(path: Path) -> None:
    """One stray clock, and a replay differs from the live run."""
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "import random as typing",
        "from datetime import datetime",
        "from zerosum import errors",
        "from zerosum.log import FileLog",
        "import collections",
        "import structural",
        "from . import book",
        "def f():\n    from time import time",
        "open('x')",
        "key = hash('x')",
        "key = id(self)",
        "x = 0.5",
        "x = a / b",
        "x /= b",
        "x = float(1)",
        "async def f(): pass",
    ],
)
def test_an_impurity_is_found(source: str) -> None:
    assert impurities(source) != []


@pytest.mark.parametrize("source", ["from librt.vecs import vec", "from zerosum.core.book import Book", "x = a // b", "order.id(hash)"])
def test_what_is_pure_is_let_pass(source: str) -> None:
    assert impurities(source) == []


def test_what_may_be_reached_through_another_package_is_not_imported_directly() -> None:
    direct = {
        (path.relative_to(PACKAGE).parts[0], name.split(".")[1], f"{path.relative_to(ROOT)}:{line}")
        for path in PACKAGE.glob("*/**/*.py")
        for line, name in imported(ast.parse(path.read_text()))
        if name.startswith("zerosum.")
    }
    assert [where for importer, target, where in direct if (importer, target) in NOT_DIRECTLY] == []


def lint_imports(root: Path, *imports: tuple[str, str]) -> str:
    """What import-linter says under our contracts of a tree that has all packages, and these imports."""
    shutil.copy(ROOT / "pyproject.toml", root)
    for package in MAY_IMPORT:
        (root / "src/zerosum" / package).mkdir(parents=True)
        (root / "src/zerosum" / package / "__init__.py").touch()
    for module in ["__init__.py", "errors.py", "build.py"]:
        (root / "src/zerosum" / module).touch()
    for importer, target in imports:
        (root / "src/zerosum" / importer / f"uses_{target}.py").write_text(f"import zerosum.{target}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=root, env={"PYTHONPATH": "src"}, capture_output=True, text=True)
    assert ("0 broken" in result.stdout) == (result.returncode == 0), result.stdout + result.stderr
    return result.stdout


def test_the_contracts_let_pass_what_the_design_allows(tmp_path: Path) -> None:
    allowed = [(importer, target) for importer, targets in MAY_IMPORT.items() for target in targets]
    errors = [(importer, module) for importer in MAY_IMPORT if importer != "core" for module in ("errors", "build")]
    assert "0 broken" in lint_imports(tmp_path, *allowed, *errors)


@pytest.mark.parametrize("importer", MAY_IMPORT)
def test_the_contracts_catch_what_the_design_forbids(importer: str, tmp_path: Path) -> None:
    forbidden = [target for target in [*MAY_IMPORT, "errors"] if target not in MAY_IMPORT[importer] | {importer}]
    forbidden = [target for target in forbidden if (importer, target) not in NOT_DIRECTLY and (target != "errors" or importer == "core")]
    said = lint_imports(tmp_path, *((importer, target) for target in forbidden))
    missed = [target for target in forbidden if f"zerosum.{importer}.uses_{target} -> zerosum.{target}" not in said]
    assert missed == []
