"""docs/internals/protocol.md has the table of links as the code has it."""

from __future__ import annotations

from pathlib import Path

from zerosum.core import records

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/internals/protocol.md"
BEGIN, END = "<!-- generated: links -->", "<!-- end -->"


def sent(kind: int) -> str:
    if kind <= records.ENGINE_VERSION:
        return "shard → engine"
    return "engine → shard" if kind <= records.OUTCOME_RESTED else "shard → shard"


def table() -> str:
    rows = [
        f"| {kind} | `{name}` | {sent(kind)} | {', '.join(f'`{field}`' for field in fields)} |"
        for kind, (name, fields) in records.LINKS.items()
    ]
    return "\n".join(["| kind | link | from → to | fields |", "|---|---|---|---|", *rows])


def test_the_table_of_links_is_the_code_s() -> None:
    text = DOCUMENT.read_text()
    found = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()
    assert found == table(), f"the table should be\n{table()}"
