"""
`zerosum verify`: whether the services of a deployment are well, now or for a while.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from zerosum.cli.options import JsonOption
from zerosum.cli.tables import show_table
from zerosum.errors import ConfigError
from zerosum.ops.verifying import Watched, findings

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
LOOKS_S: Final = 5.0


def verify_command(
    services: Annotated[
        list[str] | None, typer.Argument(help="host:port of each service's listener for operations.", metavar="[SERVICE]...")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Of `zerosum cluster up`: the services that run there.", exists=True, file_okay=False)
    ] = None,
    watch: Annotated[str, typer.Option(help="How long: 90s, 30m, 2h. 0s: one look.")] = "0s",
    behind: Annotated[int, typer.Option(help="Messages that copies may be behind at the end, together.", min=0)] = 1_000,
    as_json: JsonOption = False,
) -> None:
    """
    Look at every service's health and metrics, every five seconds for as long as you say. Exit code 1 if anything is not as it should be:
    a service that does not answer or is not ready, errors in a log, a copy that was started again, a backlog, growing memory, records from
    who may not send them.
    """
    watched = [Watched(address) for address in addresses_of(services or [], folder)]
    look_for(watched, seconds_of(watch), as_json)
    found = list(findings(watched, behind))
    if as_json:
        typer.echo(json.dumps({"holds": all(each.holds for each in found), "checks": [each._asdict() for each in found]}))
    else:
        rows = [("ok" if each.holds else "FAILS", each.check, each.detail) for each in found]
        show_table(("", "check", "seen"), rows, styles=["" if each.holds else "bold red" for each in found])
    if not all(each.holds for each in found):
        raise typer.Exit(1)


def look_for(watched: list[Watched], seconds: float, hidden: bool) -> None:
    columns = TextColumn("watching {task.fields[services]} services"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=hidden or seconds == 0) as progress:
        task = progress.add_task("", total=seconds, services=len(watched))
        began = time.monotonic()
        while True:
            for each in watched:
                each.look()
            passed = time.monotonic() - began
            progress.update(task, completed=passed)
            if passed >= seconds:
                break
            time.sleep(min(LOOKS_S, seconds - passed))


def addresses_of(services: list[str], folder: Path | None) -> list[str]:
    """ConfigError."""
    found = list(services)
    if folder is not None:
        found += sorted(addresses_in(folder))
    if not found:
        raise ConfigError(
            f"no service runs in {folder}: start it with `zerosum cluster up --folder {folder}`."
            if folder is not None
            else "name the services, each as host:port of its listener for operations, or the --folder of `zerosum cluster up`."
        )
    for address in found:
        if not re.fullmatch(r"[^:/\s]+:\d{1,5}", address):
            raise ConfigError(f"{address!r} is no host:port.")
    return found


def addresses_in(folder: Path) -> Iterator[str]:
    """Of every service that was started there. ConfigError where one does not serve."""
    for log in folder.glob("*.log"):
        try:
            yield f"127.0.0.1:{json.loads(log.with_suffix('.ready').read_text())['operations']}"
        except FileNotFoundError as error:
            raise ConfigError(f"{log.stem} does not serve: the end of {log} says why.") from error


def seconds_of(text: str) -> float:
    """ConfigError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None:
        raise ConfigError(f"--watch {text}: a number and s, m or h, such as 30m.")
    return float(found[1]) * UNITS[found[2]]
