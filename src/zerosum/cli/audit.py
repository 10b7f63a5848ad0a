"""
`zerosum audit`: is everything in a data directory what its log says?
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from zerosum.cli.door import ArchiveOption, JsonOption
from zerosum.services.audit import Audit
from zerosum.services.datadir import DataDir


def audit_command(
    directory: Annotated[Path, typer.Argument(help="A data directory on which no exchange is running.", exists=True, file_okay=False)],
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Check a data directory: log, chains, invariants, snapshots and the settled record, each against a replay of the log.

    Segments that were archived are part of the log. Of a log whose beginning was pruned, the replay begins with the earliest snapshot.

    Exit code 0 only if every check holds.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=as_json) as progress:
        task = progress.add_task("replaying", total=None)
        audit = Audit(DataDir(directory), archive, lambda done, total: progress.update(task, completed=done, total=total))
        verdicts = list(audit.run())
    if as_json:
        typer.echo(json.dumps([verdict._asdict() for verdict in verdicts]))
    else:
        table = Table("check", "verdict", "")
        for verdict in verdicts:
            table.add_row(verdict.check, "[green]holds[/]" if verdict.holds else "[bold red]BROKEN[/]", verdict.detail)
        Console().print(table)
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(1)
