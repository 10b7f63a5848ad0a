"""
`zerosum devcluster`: a real Kafka and a real Cassandra on this machine, for development, tests and demonstrations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from zerosum.cli.options import BrokersOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.cli.terminal import tell
from zerosum.devcluster import keeper
from zerosum.devcluster.cluster import holder

cli = typer.Typer(no_args_is_help=True, help="Run a real Kafka and Cassandra on this machine, for development.")

FOLDER: Final = Path("zerosum-devcluster")
FolderOption = Annotated[Path, typer.Option("--folder", help="Where the servers keep their data and logs.", file_okay=False)]


@cli.command("up")
def up(
    brokers: BrokersOption = 1,
    folder: FolderOption = FOLDER,
    detach: Annotated[bool, typer.Option("--detach", help="Come back once they serve, and leave them running: see `down`.")] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Start the servers, on free ports of 127.0.0.1, and hold them until Ctrl-C.

    Needs Java 17 and, the first time, Maven, which fetches the servers' jars into a cache. What they hold stays in the folder: the next
    start goes on from there. If this process is killed, so are they.
    """
    if detach:
        show(keeper.detach(folder, brokers), as_json)
    else:
        keeper.hold(folder, brokers, tell, lambda state: show(state, as_json))


@cli.command("down")
def down(folder: FolderOption = FOLDER) -> None:
    """End the servers; what they hold stays."""
    typer.echo("ended" if keeper.end(folder) else f"no servers run in {folder}")


@cli.command("status")
def status(folder: FolderOption = FOLDER, as_json: JsonOption = False) -> None:
    """Show where the servers are reached, and how much memory they take. Exit code 1 where none serve."""
    state = keeper.running(folder)
    if state is None:
        typer.echo(f"the servers in {folder} are starting, or stopping" if holder(folder) else f"no servers run in {folder}", err=True)
        raise typer.Exit(1)
    show(state, as_json)


def show(state: dict[str, Any], as_json: bool) -> None:
    servers = [{**server, "resident_bytes": resident_bytes(server["pid"])} for server in state["servers"]]
    if as_json:
        typer.echo(json.dumps({**state, "servers": servers}))
        return
    rows = [(each["name"], str(each["port"]), str(each["pid"]), memory(each["resident_bytes"]), each["log"]) for each in servers]
    show_table(("server", "port", "process", "memory", "log"), rows)
    typer.echo(f"kafka  {state['kafka']}\ncql    {state['cql']}")


def memory(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count else "ended"


def resident_bytes(pid: int) -> int:
    """0 where there is no such process any more."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)
