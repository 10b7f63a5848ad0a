"""
`zerosum reconcile`: a statement from outside held against what the exchange has.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from zerosum.cli.directory import load_settings
from zerosum.cli.identities import ClusterOption, opened_identities
from zerosum.cli.options import ConfigOption, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.errors import ConfigError
from zerosum.ops.settings_model import Settings
from zerosum.services.datadir import DataDir
from zerosum.services.reconciled_book import STATEMENTS, Rows, movements_of, record_of
from zerosum.services.reconciliation import Outcome, between, moment_us, read_statement, reconcile
from zerosum.settlement.reading import connect

NEVER_US = 1 << 62


def reconcile_command(
    statement: Annotated[
        Path, typer.Argument(help="CSV with the columns type (deposit, withdrawal, balance), reference, asset, amount.", metavar="FILE")
    ],
    since: Annotated[str, typer.Option(help="From when on the statement has everything: 2026-11-01, or a time of ISO 8601.")] = "",
    until: Annotated[str, typer.Option(help="Up to when, that left out.")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """
    Hold a custodian's statement against what was reported and sent by reference, the ledger's record of it, and what is owed to accounts.

    Exit code 1 where they differ. What is settled counts: while trading goes on, the newest may be missing for a moment.
    """
    since_us, until_us = time_of("--since", since, 0), time_of("--until", until, NEVER_US)
    try:
        text = statement.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{statement} can't be read: {error}. Give a statement as CSV in UTF-8.") from error
    settings = load_settings(data, config)
    with opened_identities(data, config, cluster) as opened:
        record = record_of(asyncio.run(of_cluster(settings)) if cluster else of_directory(DataDir(settings.data_directory)))
        lines = read_statement(text, statement.name, record.decimals)
        movements = between(movements_of(record, opened.identities.vault), since_us, until_us)
        outcome = reconcile(lines, movements, record.owed, record.decimals)
    show(outcome, as_json)
    if outcome.differences:
        raise typer.Exit(1)


def show(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"alike": outcome.alike, "differences": [each._asdict() for each in outcome.differences]}))
        return
    if outcome.differences:
        rows = [(each.what, each.reference, each.there, each.here) for each in outcome.differences]
        show_table(("difference", "reference", "statement", "exchange"), rows)
    number = len(outcome.differences)
    typer.echo(f"{outcome.alike} alike, {number or 'no'} difference{'' if number == 1 else 's'}")


def time_of(option: str, text: str, default: int) -> int:
    """ConfigError."""
    try:
        return moment_us(text) if text else default
    except ValueError as error:
        raise ConfigError(f"{option} {text}: write a day as 2026-11-01, or a time as 2026-11-01T12:00:00.") from error


def of_directory(directory: DataDir) -> Rows:
    """NothingSettled, and what else `connect` raises."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with closing(connect(directory.settled)) as db, db:  # one transaction: all as it was at one time
        for statement in STATEMENTS:
            found[statement] = [tuple(row) for row in db.execute(statement)]
    return found


async def of_cluster(settings: Settings) -> Rows:
    """StoreFailed."""
    from zerosum.cli.cluster_settings import cql_settings  # what a cluster needs takes its time to load
    from zerosum.settlement.cql.session import Session

    session = await Session.connect(cql_settings(settings))
    try:
        found: dict[str, list[tuple[Any, ...]]] = {}
        for statement in STATEMENTS:
            found[statement] = [tuple(row) for row in await session.execute(statement)]
        return found
    finally:
        await session.close()
