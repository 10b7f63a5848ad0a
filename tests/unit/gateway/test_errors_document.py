"""
docs/internals/errors.md is the table of every way to get an error: each row names a test, and the test is there.

Sections have a table of three columns, the last of which is `tests/...py::test_...`; that of the API has its own form, which
test_error_paths.py holds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs/internals/errors.md"
API = "The API"
HEAD = ["what is wrong", "what is answered or said", "test"]


def cells(line: str) -> list[str]:
    """Of a row of a table; a `|` within a cell is written `\\|`."""
    return [cell.strip().replace("\0", "|") for cell in line.replace("\\|", "\0").strip().strip("|").split("|")]


def tables() -> Iterator[tuple[str, list[list[str]]]]:
    """Each section's heading and rows, those of the heads included."""
    for section in DOCUMENT.read_text().split("\n## ")[1:]:
        heading, *lines = section.splitlines()
        yield heading, [cells(line) for line in lines if line.startswith("|") and not line.startswith("|---")]


ROWS = [(heading, row) for heading, rows in tables() if heading != API for row in rows[1:]]


@cache
def names_in(path: Path) -> frozenset[str]:
    functions = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(name for name in functions if name.startswith("test_"))


def test_sections_have_tables_of_one_form() -> None:
    found = dict(tables())
    assert len(found) > 10
    assert len(found[API]) > 100
    assert [heading for heading, rows in found.items() if heading != API and (rows[:1] != [HEAD] or len(rows) < 2)] == []


@pytest.mark.parametrize(("heading", "row"), ROWS, ids=[f"{heading}: {row[0]}" for heading, row in ROWS])
def test_a_row_names_a_test_that_is_there(heading: str, row: list[str]) -> None:
    what, said, test = row
    assert what
    assert said
    assert test[0] == test[-1] == "`", "a row names its test"
    path, _, name = test.strip("`").partition("::")
    assert path.startswith("tests/")
    assert name in names_in(ROOT / path)


def test_no_row_stands_twice() -> None:
    named = [(heading, row[0]) for heading, row in ROWS]
    assert len(set(named)) == len(named)
