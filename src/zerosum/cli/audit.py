"""
`zerosum audit`: is everything in a data directory what its log says?
"""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.progress import Progress

from zerosum.cli.directory import existing
from zerosum.cli.door import Refused
from zerosum.cli.options import ArchiveOption, DataArgument, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.cli.terminal import somebody_sees_it
from zerosum.log.errors import LogInUse
from zerosum.services.audit import Audit


def audit_command(
    data: DataArgument = None,
    data_option: DataOption = None,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Check a data directory: log, chains, invariants, snapshots and the settled record, each against a replay of the log.

    Segments that were archived are part of the log. Of a log whose beginning was pruned, the replay begins with the earliest snapshot.

    The exchange must be stopped for it. Exit code 0 only if every check holds.
    """
    directory = existing(data or data_option)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=as_json or not somebody_sees_it()) as progress:
        task = progress.add_task("replaying", total=None)
        audit = Audit(directory, archive, lambda done, total: progress.update(task, completed=done, total=total))
        try:
            verdicts = list(audit.run())
        except LogInUse as error:
            raise Refused(
                f"{directory.root} is in use by process {error.pid}: an exchange that runs can't be audited. Stop it first."
            ) from None
    if as_json:
        typer.echo(json.dumps([verdict._asdict() for verdict in verdicts]))
    else:
        rows = [(verdict.check, "holds" if verdict.holds else "BROKEN", verdict.detail) for verdict in verdicts]
        show_table(("check", "verdict", ""), rows, styles=["" if verdict.holds else "bold red" for verdict in verdicts])
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(1)
