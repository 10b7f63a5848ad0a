"""What mypyc 2.4.1 compiles to something else than Python means by it, or to something slow: the core's sources have none of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from zerosum.build import core_sources

CORE = Path(__file__).resolve().parents[3] / "src/zerosum/core"
LITERAL_MAX = (1 << 62) - 1  # a larger one is a Python object in compiled code, and boxes whatever meets it


def traps(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift):
            if isinstance(node.left, ast.Constant) and not isinstance(node.right, ast.Constant):
                found.append(f"{node.lineno}: a constant shifted by a variable is a 32-bit shift")
        elif isinstance(node, ast.IfExp) and any(
            isinstance(arm, ast.Constant) and type(arm.value) is int for arm in (node.body, node.orelse)
        ):
            found.append(f"{node.lineno}: a conditional expression with a literal arm boxes")
        elif isinstance(node, ast.Constant) and type(node.value) is int and node.value > LITERAL_MAX:
            found.append(f"{node.lineno}: {node.value} is past 2**62")
    return found


@pytest.mark.parametrize("path", core_sources(CORE), ids=lambda path: path.stem)
def test_the_core_has_no_trap(path: Path) -> None:
    assert traps(path.read_text()) == []


@pytest.mark.parametrize("source", ["x = 1 << digit", "x = a if b else 0", "x = 4611686018427387904"])
def test_a_trap_is_found(source: str) -> None:
    assert traps(source) != []


@pytest.mark.parametrize("source", ["x = one << digit", "x = 1 << 61", "x = a if b else c", "x = word << 3", "x = 4611686018427387903"])
def test_what_is_no_trap_is_let_pass(source: str) -> None:
    assert traps(source) == []
