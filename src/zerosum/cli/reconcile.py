"""
`zerosum reconcile`: a statement of a custodian or a bank, held against the exchange.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from zerosum.cli import trail
from zerosum.cli.identities import ClusterOption
from zerosum.cli.options import ConfigOption, DataOption, JsonOption
from zerosum.cli.record import account_text, record_and_book, wallet_of
from zerosum.cli.tables import show_table
from zerosum.core.codes import ACCOUNT_MAX
from zerosum.errors import ConfigError
from zerosum.services.amounts import decimal_text, grouped
from zerosum.services.reconciliation import Difference, Found, Wanted, reconcile
from zerosum.services.statement import Line, Money, moment, read_statement, time_us
from zerosum.settlement.movements import Listed

TIME_HELP = "A day or a time in ISO 8601, UTC unless it says otherwise."

Assets = Mapping[int, Listed]


def reconcile_command(
    file: Annotated[Path, typer.Argument(help="The statement, as CSV; see docs/guides/reconcile.md.")],
    since: Annotated[
        str | None, typer.Option(help=f"Look in the statement only for what the exchange has from then on. {TIME_HELP}")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help=f"Look in the statement only for what the exchange has before; balances are as of then. {TIME_HELP}")
    ] = None,
    asset: Annotated[
        list[str] | None, typer.Option(help="Look in the statement only for what the exchange has of this asset. May be repeated.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """
    Hold a statement from outside against the exchange: deposits, withdrawals and balances, and what the statement lacks.

    Reads only. Exit code 0 only if there is no difference.
    """
    since_us, until_us = (moment_of(text, option) for text, option in ((since, "--since"), (until, "--until")))
    record, book = record_and_book(data, config, cluster)
    lines = read_statement(file, record.assets)
    wanted = Wanted(since_us or 0, until_us, frozenset(number_of(name, record.assets) for name in asset or []))
    found = reconcile(lines, book, record, wanted)
    if as_json:
        typer.echo(json.dumps(as_built(found, lines, record.assets)))
    else:
        show(found, record.assets)
    if found.differences:
        raise typer.Exit(1)


def moment_of(text: str | None, option: str) -> int | None:
    """ConfigError."""
    try:
        return time_us(text) if text is not None else None
    except ValueError as error:
        raise ConfigError(f"{option} {text}: it is no time as ISO 8601 has it, such as 2026-11-28 or 2026-11-28T09:30:00Z.") from error


def number_of(name: str, assets: Assets) -> int:
    """ConfigError."""
    for number, listed in assets.items():
        if listed.name == name:
            return number
    listed_names = ", ".join(listed.name for listed in assets.values())
    raise ConfigError(f"--asset {name} is not listed here; listed are {listed_names or 'none'}.")


# ------------------------------------------------------------------ shown


def show(found: Found, assets: Assets) -> None:
    if found.differences:
        columns = ("difference", "type", "reference", "there", "here", "line", "account", "id", "time", "")
        show_table(columns, [row(each, assets) for each in found.differences])
    typer.echo(summary(found))


def row(each: Difference, assets: Assets) -> tuple[str, ...]:
    account = account_text(each.holder) if each.holder else ""
    return (
        each.kind, each.type, each.reference, text_of(each.there, assets), text_of(each.here, assets), str(each.line or ""), account,
        str(each.id or ""), trail.moment(each.time_us) if each.time_us else "", each.why,
    )  # fmt: skip


def text_of(money: Money | None, assets: Assets) -> str:
    if money is None:
        return ""
    name, decimals = assets[money.asset]
    return f"{grouped(decimal_text(money.atoms, decimals))} {name}"


def summary(found: Found) -> str:
    lines = f"{found.agree:,} line{'' if found.agree == 1 else 's'} of the statement agree{'s' if found.agree == 1 else ''}"
    counts = counted(found)
    if not counts:
        return f"no difference: {lines}"
    total = sum(counts.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"{total:,} difference{'' if total == 1 else 's'}: {kinds}; {lines}"


def counted(found: Found) -> dict[str, int]:
    return dict(sorted(Counter(each.kind for each in found.differences).items()))


def as_built(found: Found, lines: list[Line], assets: Assets) -> dict[str, Any]:
    return {
        "lines": len(lines),
        "agree": found.agree,
        "counts": counted(found),
        "differences": [built(each, assets) for each in found.differences],
    }


def built(each: Difference, assets: Assets) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "type": each.type,
        "reference": each.reference or None,
        "there": built_money(each.there, assets),
        "here": built_money(each.here, assets),
        "line": each.line or None,
        "account": each.holder & ACCOUNT_MAX or None,
        "wallet": wallet_of(each.holder) if each.holder else None,
        "id": each.id or None,
        "time": moment(each.time_us) if each.time_us else None,
        "why": each.why or None,
    }


def built_money(money: Money | None, assets: Assets) -> dict[str, str] | None:
    if money is None:
        return None
    name, decimals = assets[money.asset]
    return {"asset": name, "amount": decimal_text(money.atoms, decimals)}
