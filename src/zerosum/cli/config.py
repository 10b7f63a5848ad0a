"""
`zerosum config`: are the settings right, and what are they?
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from zerosum.cli.options import DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.errors import ConfigError
from zerosum.ops.roles import Role
from zerosum.ops.settings import FILE_NAME, resolve, sources

cli = typer.Typer(no_args_is_help=True, help="Check and show the settings.")

FileArgument = Annotated[
    Path | None, typer.Argument(help=f"Settings in TOML. Default: {FILE_NAME} in the data directory, if there is one.")
]
RoleOption = Annotated[
    Role, typer.Option(help="Who is to start with them: `zerosum up`, `zerosum run ROLE`, or commands of `zerosum cluster`.")
]


@cli.command("check")
def check_command(file: FileArgument = None, data: DataOption = None, role: RoleOption = "up", as_json: JsonOption = False) -> None:
    """
    Check the settings as a start with --config FILE --data DIR would, and look at the files that they name.

    All faults come in one list, each with the setting, what is wrong and what would be right, and the exit code is 1. What is only refused
    where money is real (`profile = "prod"`) is a warning elsewhere.
    """
    try:
        found = resolve(*sources(data, file, os.environ, {}), role)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"ok": False, "role": role, "faults": error.faults, "warnings": []}))
        raise typer.Exit(1) from error
    warnings = [risk.warning for risk in found.risks]
    if as_json:
        typer.echo(json.dumps({"ok": True, "role": role, "faults": [], "warnings": warnings}))
        return
    for warning in warnings:
        typer.echo(f"warning: {warning}")
    more = f", with {len(warnings)} warnings" if len(warnings) > 1 else ", with a warning" if warnings else ""
    typer.echo(f"The settings are right for {role} in profile {found.settings.profile}{more}.")


@cli.command("show")
def show_command(file: FileArgument = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show each setting, and where it comes from; secrets are masked."""
    found = resolve(*sources(data, file, os.environ, {})).effective
    if as_json:
        typer.echo(json.dumps([setting._asdict() for setting in found]))
    else:
        show_table(("setting", "value", "from"), [list(map(str, setting)) for setting in found])
