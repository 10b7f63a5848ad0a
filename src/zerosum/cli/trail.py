"""
`zerosum trail`: the accounts of what operators did, and of what users did, shown and verified.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from zerosum.cli.identities import ClusterOption, Opened, opened_identities
from zerosum.cli.options import ConfigOption, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.errors import ConfigError
from zerosum.identity.trail import Trail, Written

cli = typer.Typer(no_args_is_help=True, help="Show and verify what operators did, and users.")

UsersOption = Annotated[bool, typer.Option("--users", help="What users did with their passwords, keys and money; not what operators did.")]


@cli.command("list")
def list_entries(
    after: Annotated[int, typer.Option(help="Entries with higher numbers.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 200,
    users: UsersOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """List entries, oldest first."""
    with opened_identities(data, config, cluster) as opened:
        entries = trail_of(opened, users=users).entries(after, limit)
    if as_json:
        typer.echo(json.dumps([{**msgspec.to_builtins(entry), "hash": entry.hash()} for entry in entries]))
        return
    rows = [
        (str(entry.number), moment(entry.time_us), entry.by, entry.action, entry.about, entry.outcome)
        for entry in entries
    ]  # fmt: skip
    show_table(("entry", "time", "by", "action", "about", "outcome"), rows)


@cli.command("verify")
def verify(
    known: Annotated[
        str | None, typer.Option(help="An entry that is known from elsewhere, such as a log: NUMBER:HASH. It must be there.")
    ] = None,
    users: UsersOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """Verify that no entry is missing, and none was changed."""
    with opened_identities(data, config, cluster) as opened:
        last = trail_of(opened, users=users).verify(written(known) if known is not None else None)
    if as_json:
        typer.echo(json.dumps(last._asdict()))
    else:
        typer.echo(f"{last.number} entries follow each other; the last is {last.number}:{last.hash}")


def trail_of(opened: Opened, *, users: bool) -> Trail:
    return opened.identities.users_trail if users else opened.identities.trail


def moment(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(" ", "seconds")


def written(text: str) -> Written:
    """ConfigError."""
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise ConfigError(f"--known {text}: write NUMBER:HASH, as `zerosum trail verify` prints the last.")
    return Written(int(number), digest)
