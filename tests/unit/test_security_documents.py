"""docs/internals/asvs.md and threat-model.md: what they say is tested is, and every requirement of levels 1 and 2 is in the table, once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASVS = (ROOT / "docs/internals/asvs.md").read_text()
DOCUMENTS = ("docs/internals/asvs.md", "docs/internals/threat-model.md", "SECURITY.md")
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")

MOST = {
    "1.1": 2, "1.2": 10, "1.3": 11, "1.4": 3, "1.5": 2, "2.1": 3, "2.2": 3, "2.3": 5, "2.4": 1, "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5,
    "3.7": 2, "4.1": 5, "4.2": 1, "4.3": 2, "4.4": 4, "6.1": 3, "6.2": 11, "6.3": 3, "6.4": 4, "6.5": 5, "7.1": 3, "7.2": 4, "7.3": 2,
    "7.4": 5, "7.5": 3, "7.6": 2, "8.1": 2, "8.2": 3, "8.3": 2, "8.4": 1, "11.1": 2, "11.2": 4, "11.3": 3, "11.4": 3, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4, "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5, "14.1": 2, "14.2": 4, "14.3": 3, "15.1": 3, "15.2": 3,
    "15.3": 7, "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
}  # fmt: skip
"""Of each section: how many requirements it begins with that are of level 1 or 2, or of level 3 and in the table nevertheless."""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_test_that_is_named_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    for path, test in REFERENCE.findall(text):
        assert (ROOT / path).is_file(), path
        assert not test or re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.M), f"{path}::{test}"
    assert len(REFERENCE.findall(text)) == len(re.findall(r"`tests/[^`]+\.py", text)), "each is written so that it is found"


def numbers(cell: str) -> list[str]:
    """ "1.2.3, 1.2.5 to 1.2.7 (level 3)" as its four requirements."""
    found = []
    for part in re.sub(r"\(level 3\)", "", cell).split(","):
        first, _, last = part.strip().partition(" to ")
        section, _, begin = first.rpartition(".")
        end = last.rpartition(".")[2] if last.startswith(f"{section}.") else begin
        found += [f"{section}.{number}" for number in range(int(begin), int(end) + 1)]
    return found


ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in ASVS.splitlines() if re.match(r"\| \d", line)]


def test_every_requirement_is_in_the_table_once() -> None:
    listed = [number for row in ROWS for number in numbers(row[0])]
    assert sorted({number for number in listed if listed.count(number) > 1}) == []
    wanted = {f"{section}.{number}" for section, most in MOST.items() for number in range(1, most + 1)}
    assert sorted(wanted - set(listed)) == []


def test_a_row_says_how_it_is_and_why() -> None:
    for what in ROWS:
        number, _, state, by, tests = what
        assert state in ("yes", "partly", "n/a"), number
        assert by or tests or state == "yes", number
        assert by or state == "yes", f"{number}: why it is not so is said"
