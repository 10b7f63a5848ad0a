"""
Tables that never cut anything off: ruled on a terminal, where what is too wide goes on in the next line; elsewhere plain aligned lines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, styles: Sequence[str] = ()) -> None:
    """`styles`: of the rows on a terminal, by their place; none for those past its end."""
    found = list(rows)
    if sys.stdout is not None and sys.stdout.isatty():
        table = Table(title=title)
        for column in columns:
            table.add_column(column, overflow="fold")
        for place, row in enumerate(found):
            table.add_row(*map(Text, row), style=styles[place] if place < len(styles) else None)
        Console().print(table)
        return
    if title is not None:
        typer.echo(title)
    widths = [max(len(row[place]) for row in [columns, *found]) for place in range(len(columns))]
    for row in [columns, *found]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
