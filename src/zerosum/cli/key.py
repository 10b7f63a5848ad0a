"""
`zerosum key`: API keys, made and revoked by command. A running gateway sees the change within a second.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from zerosum.cli.account import AccountArgument
from zerosum.cli.identities import ClusterOption, opened_identities
from zerosum.cli.options import ConfigOption, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.core.codes import ACCOUNT_MAX, FIRST_USER
from zerosum.errors import ConfigError
from zerosum.identity.keys import DEPOSIT, NOBODY, PAYOUT, READ, TRADE, WITHDRAW, KeyInfo, Made, Wanted

DAY_US: Final = 86_400_000_000


class Work(StrEnum):
    DEPOSITS = "deposits"
    PAYOUTS = "payouts"


cli = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@cli.command("create")
def create(
    account: AccountArgument,
    trade: Annotated[bool, typer.Option("--trade/--read-only", help="Whether it may place and cancel orders.")] = True,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Whether it may request withdrawals. Needs --address.")] = False,
    address: Annotated[
        list[str] | None, typer.Option(help="From where it may be used, such as 203.0.113.7 or 10.1.0.0/16; several times for more.")
    ] = None,
    expires_days: Annotated[int | None, typer.Option(help="After how many days it is no longer good.", min=1, max=3_650)] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="A client's public key (Ed25519 or RSA, PEM) that checks its signatures, instead of a secret.")
    ] = None,
    label: Annotated[str, typer.Option(help="What it is for, as lists show it.")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key that acts for an account. Its secret is shown this once, and kept encrypted."""
    wanted = Wanted(
        account,
        (READ, *((TRADE,) if trade else ()), *((WITHDRAW,) if withdraw else ())),
        read_pem(public_key) if public_key is not None else None,
        tuple(address or ()),
        label,
        time.time_ns() // 1_000 + expires_days * DAY_US if expires_days is not None else 0,
    )
    with opened_identities(data, config, cluster) as opened:
        opened.check_account(account)
        made = opened.identities.keys.create(wanted)
        opened.settle()
    show_made(made, account, public_key, as_json=as_json)


@cli.command("service")
def service(
    work: Annotated[Work, typer.Argument(help="deposits: to report what has come in. payouts: to send what was approved.")],
    address: Annotated[list[str], typer.Option(help="From where it may be used; several times for more.")],
    public_key: Annotated[Path | None, typer.Option(help="Its public key (Ed25519 or RSA, PEM), instead of a secret.")] = None,
    label: Annotated[str, typer.Option(help="What it is for, as lists show it.")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key for a program of the venue's own, which acts for no account: for one work, on the operators' listener."""
    permission = {Work.DEPOSITS: DEPOSIT, Work.PAYOUTS: PAYOUT}[work]
    pem = read_pem(public_key) if public_key is not None else None
    with opened_identities(data, config, cluster) as opened:
        made = opened.identities.service_keys.create(Wanted(NOBODY, (permission,), pem, tuple(address), label))
        opened.settle()
    show_made(made, NOBODY, public_key, as_json=as_json)


def show_made(made: Made, account: int, public_key: Path | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"api_key": made.api_key, "secret": made.secret, "account": account}))
    elif made.secret:
        typer.echo(f"API key  {made.api_key}\nsecret   {made.secret}\nThe secret is not shown again.")
    else:
        typer.echo(f"API key  {made.api_key}\nRequests are signed with the private key of {public_key}.")


@cli.command("list")
def list_keys(
    account: Annotated[int | None, typer.Option(help="Of this account only.", min=FIRST_USER, max=ACCOUNT_MAX)] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """List keys, never their secrets."""
    with opened_identities(data, config, cluster) as opened:
        identities = opened.identities
        found = identities.keys.list(account) + (identities.service_keys.list() if account is None else [])
    if as_json:
        typer.echo(json.dumps([key._asdict() for key in found]))
        return
    rows = [
        (
            key.api_key, str(key.account_id or "none"), ", ".join(key.permissions), key.signs_by, ", ".join(key.addresses) or "any",
            state_of(key), key.label,
        )
        for key in found
    ]  # fmt: skip
    show_table(("API key", "account", "permissions", "signs by", "from", "state", "label"), rows)


@cli.command("revoke")
def revoke(
    api_key: Annotated[str, typer.Argument(help="The API key.")], data: DataOption = None, config: ConfigOption = None,
    cluster: ClusterOption = False,
) -> None:  # fmt: skip
    """Revoke a key for good."""
    with opened_identities(data, config, cluster) as opened:
        identities = opened.identities
        keys = identities.service_keys if identities.service_keys.get(api_key) is not None else identities.keys
        keys.revoke(api_key)
        opened.settle()
    typer.echo("revoked")


def state_of(key: KeyInfo) -> str:
    if key.revoked_us:
        return "revoked"
    if not key.expires_us:
        return "good"
    until = datetime.fromtimestamp(key.expires_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"expired {until}" if key.expires_us <= time.time_ns() // 1_000 else f"good until {until}"


def read_pem(path: Path) -> str:
    """ConfigError."""
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not PEM"
        raise ConfigError(f"--public-key {path} can't be read: {why}. Give a public key in PEM.") from error
