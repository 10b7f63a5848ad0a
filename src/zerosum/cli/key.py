"""
`zerosum key`: API keys, made and revoked by command. A running gateway sees the change within a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Protocol, final

import typer

from zerosum.cli.account import AccountArgument, known_account
from zerosum.cli.directory import held, load_settings, master_key
from zerosum.cli.door import Refused, door_to
from zerosum.cli.options import ConfigOption, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.core.codes import ACCOUNT_MAX, FIRST_USER
from zerosum.gateway.auth import TRADE, USER_DATA
from zerosum.gateway.keys import KeyInfo, Keys
from zerosum.services.datadir import DataDir

cli = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


ClusterOption = Annotated[bool, typer.Option("--cluster", help="Of the cluster that the settings name, in its database.")]


class KeyBox(Protocol):
    def check_account(self, account_id: int) -> None:
        """That a key for it could do something. Refused."""

    def create(self, account_id: int, permissions: Iterable[str]) -> tuple[str, str]: ...

    def revoke(self, api_key: str) -> None: ...

    def list(self, account_id: int | None = None) -> list[KeyInfo]: ...


@final
class EmbeddedKeyBox:
    def __init__(self, directory: DataDir, keys: Keys) -> None:
        self._directory = directory
        self.create = keys.create
        self.revoke = keys.revoke
        self.list = keys.list

    def check_account(self, account_id: int) -> None:
        with door_to(self._directory, only_asks=True) as door:
            if known_account(door, account_id)["status"] == "closed":
                raise Refused(f"account {account_id} is closed: a key for it could do nothing.")


@contextmanager
def keys_of(data: Path | None, config: Path | None, cluster: bool) -> Iterator[KeyBox]:
    settings = load_settings(data, config)
    if cluster:
        from zerosum.cli.cluster_key import cluster_keys  # what a cluster needs may not be installed

        with cluster_keys(settings) as found:
            yield found
        return
    directory = held(DataDir(settings.data_directory))
    with closing(Keys(directory.keys, master_key(settings))) as keys:
        yield EmbeddedKeyBox(directory, keys)


@cli.command("create")
def create(
    account: AccountArgument,
    trade: Annotated[bool, typer.Option("--trade/--read-only", help="Whether it may place and cancel orders.")] = True,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key that acts for an account. Its secret is shown this once, and kept encrypted."""
    with keys_of(data, config, cluster) as keys:
        keys.check_account(account)
        api_key, secret = keys.create(account, (TRADE, USER_DATA) if trade else (USER_DATA,))
    if as_json:
        typer.echo(json.dumps({"api_key": api_key, "secret": secret, "account": account}))
    else:
        typer.echo(f"API key  {api_key}\nsecret   {secret}\nThe secret is not shown again.")


@cli.command("list")
def list_keys(
    account: Annotated[int | None, typer.Option(help="Of this account only.", min=FIRST_USER, max=ACCOUNT_MAX)] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """List keys, never their secrets."""
    with keys_of(data, config, cluster) as keys:
        found = keys.list(account)
    if as_json:
        typer.echo(json.dumps([key._asdict() for key in found]))
        return
    rows = [
        (key.api_key, str(key.account_id), ", ".join(key.permissions), "revoked" if key.revoked_us else "good") for key in found
    ]  # fmt: skip
    show_table(("API key", "account", "permissions", "state"), rows)


@cli.command("revoke")
def revoke(
    api_key: Annotated[str, typer.Argument(help="The API key.")], data: DataOption = None, config: ConfigOption = None,
    cluster: ClusterOption = False,
) -> None:  # fmt: skip
    """Revoke a key for good."""
    with keys_of(data, config, cluster) as keys:
        keys.revoke(api_key)
    typer.echo("revoked")
