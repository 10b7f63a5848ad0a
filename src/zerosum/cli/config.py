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
from zerosum.ops.named_files import check_files
from zerosum.ops.settings import FILE_NAME, check, load, sources

cli = typer.Typer(no_args_is_help=True, help="Check and show the settings.")


@cli.command("check")
def check_command(
    file: Annotated[
        Path | None, typer.Argument(help=f"Settings in TOML. Default: {FILE_NAME} in the data directory, if there is one.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Check the settings as `zerosum up --config FILE --data DIR` would have them, and show each with where it comes from; secrets are masked.

    All faults come in one list, each with the setting, what is wrong and what would be right. Files that settings name must be there and
    good; nothing of what is in them is shown.
    """
    given = sources(data, file, os.environ, {})
    settings = check(*given)
    check_files(load(*given))
    if as_json:
        typer.echo(json.dumps([setting._asdict() for setting in settings], default=str))
    else:
        show_table(("setting", "value", "from"), [list(map(str, setting)) for setting in settings])
