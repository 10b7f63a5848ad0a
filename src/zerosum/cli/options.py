"""
Options that several commands have, worded once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerosum.ops.settings import DATA_VARIABLE, FILE_NAME
from zerosum.ops.settings_model import DATA_DIRECTORY

DATA_HELP = f"The data directory. Default: {DATA_VARIABLE} of the environment, else {DATA_DIRECTORY}."
DataOption = Annotated[Path | None, typer.Option("--data", help=DATA_HELP)]
DataArgument = Annotated[Path | None, typer.Argument(metavar="[DIR]", help=DATA_HELP)]
ConfigOption = Annotated[Path | None, typer.Option("--config", help=f"Settings in TOML. Default: {FILE_NAME} in the data directory.")]
ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", help="Where segments of the log were archived, if not in the data directory.", file_okay=False)
]


def one_or_three(brokers: int) -> int:
    if brokers not in (1, 3):
        raise typer.BadParameter("1 or 3: two brokers bear the loss of one no better than one does.")
    return brokers


BrokersOption = Annotated[int, typer.Option("--brokers", help="Kafka brokers: 1, or 3, of which any may fail.", callback=one_or_three)]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
