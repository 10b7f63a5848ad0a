"""
`zerosum config`: are the settings right, and what are they?
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from zerosum.cli.door import JsonOption
from zerosum.ops.settings import check

cli = typer.Typer(no_args_is_help=True, help="Check and show the settings.")


@cli.command("check")
def check_command(
    file: Annotated[Path | None, typer.Argument(help="Settings in TOML. Without it: the environment alone.")] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Check the settings of a file and of the environment, and show each with where it comes from; secrets are masked.

    All faults come in one list, each with the setting, what is wrong and what would be right.
    """
    settings = check(file, {name: value for name, value in os.environ.items() if name != "ZEROSUM_DATA"})
    if as_json:
        typer.echo(json.dumps([setting._asdict() for setting in settings], default=str))
        return
    table = Table("setting", "value", "from")
    for setting in settings:
        table.add_row(*map(str, setting))
    Console().print(table)
