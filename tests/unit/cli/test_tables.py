"""Tables: nothing is cut off, on a terminal of 80 columns or in a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

SHOW = """
from zerosum.cli.tables import show_table
show_table(("API key", "account", "", "permissions"), [("k" * 64, "1001", "[rest] [/]", "TRADE, USER_DATA")] * 2, title="keys")
"""


def test_a_pipe_gets_plain_aligned_lines() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})
    assert done.stdout.splitlines() == [
        "keys",
        "API key" + " " * 59 + "account              permissions",
        *[f"{'k' * 64}  1001     [rest] [/]  TRADE, USER_DATA"] * 2,
    ], done.stderr


def test_a_terminal_gets_a_table_whose_cells_go_on_in_the_next_line() -> None:
    master, slave = pty.openpty()
    done = subprocess.run([sys.executable, "-c", SHOW], stdout=slave, stderr=slave, env={**os.environ, "COLUMNS": "80", "TERM": "xterm"})
    os.close(slave)
    said = os.read(master, 65_536).decode()
    os.close(master)
    assert done.returncode == 0, said
    assert said.count("k") == 2 * 64 + 2, "and those of the headings"
    assert "…" not in said
    assert "[/]" in said
