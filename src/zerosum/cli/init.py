"""
`zerosum init`: a data directory with an empty log and a master key, for commands to be given before the first start.
"""

from __future__ import annotations

import typer

from zerosum.cli.directory import data_option, holds_exchange, load_settings, make_directory, master_key
from zerosum.cli.options import ConfigOption, DataOption
from zerosum.errors import ConfigError
from zerosum.services.datadir import DataDir
from zerosum.services.opening import open_log


def init_command(data: DataOption = None, config: ConfigOption = None) -> None:
    """
    Make an exchange that has nothing listed yet. `zerosum up` does that too, where there is none.

    After it `zerosum listing add` and the other commands can be given, before the first start.
    """
    settings = load_settings(data, config, "up")
    directory = DataDir(settings.data_directory)
    if holds_exchange(directory):
        raise ConfigError(f"there is an exchange in {directory.root} already: nothing was changed.")
    make_directory(directory.root)
    master_key(settings, makes=True)
    open_log(directory, settings.log.segment_bytes).close()
    where = data_option(directory.root)
    typer.echo(f"made {directory.root}: list assets and symbols with `zerosum listing add FILE{where}`, start it with `zerosum up{where}`")
