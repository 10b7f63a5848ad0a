"""
The `zerosum` command: its subcommands, and how an operator's error is shown.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated, NoReturn

import typer

from zerosum import __version__
from zerosum.cli import (
    account,
    audit,
    bench,
    cert,
    cluster,
    config,
    devcluster,
    e2e,
    init,
    key,
    listing,
    master_key,
    money,
    money_lists,
    people,
    reconcile,
    replay,
    run,
    simulate,
    soak,
    state,
    trail,
    up,
)
from zerosum.cli.terminal import STDERR, open_standard_descriptors, somebody_sees_it
from zerosum.cli.verify import verify_command
from zerosum.errors import ZerosumError

cli = typer.Typer(
    name="zerosum",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_show_locals=False,  # some are secrets
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "A spot exchange on your own machine: gateway, balances, matching and settlement, every trade's legs summing to zero.\n\n"
        "Start with `zerosum up`; `zerosum COMMAND --help` explains each command."
    ),
)
cli.command("up")(up.up_command)
cli.command("init")(init.init_command)
cli.command("replay")(replay.replay_command)
cli.command("audit")(audit.audit_command)
cli.command("state")(state.state_command)
cli.command("e2e")(e2e.e2e_command)
cli.command("soak")(soak.soak_command)
cli.command("simulate")(simulate.simulate_command)
cli.add_typer(bench.cli, name="bench")
cli.add_typer(key.cli, name="key")
cli.add_typer(master_key.cli, name="master-key")
cli.add_typer(cert.cli, name="cert")
cli.add_typer(config.cli, name="config")
cli.add_typer(account.cli, name="account")
cli.add_typer(listing.cli, name="listing")
cli.add_typer(devcluster.cli, name="devcluster")
cli.add_typer(cluster.cli, name="cluster")
cli.add_typer(run.cli, name="run")
cli.add_typer(people.users, name="user")
cli.add_typer(people.operators, name="operator")
cli.add_typer(trail.cli, name="trail")
account.cli.command("deposits")(money_lists.list_deposits)
cli.add_typer(money_lists.withdrawal, name="withdrawal")
cli.command("verify")(verify_command)
cli.command("reconcile")(reconcile.reconcile_command)
for movement in (money.deposit, money.withdraw, money.transfer):
    cli.command(movement.__name__, context_settings={"ignore_unknown_options": True})(movement)  # or -5 is read as an option


def print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def main(
    asked: Annotated[bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """What stands before a command."""


@cli.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def app() -> None:
    """The console script. An operator's error is one paragraph on stderr and exit code 1; a bug is a traceback."""
    if not __debug__:
        sys.exit("zerosum does not run under python -O: its asserts are what stops a shard with a broken invariant.")
    open_standard_descriptors()
    try:
        cli()
    except ZerosumError as error:
        fail(type(error).__name__, str(error))
    except OSError as error:  # a file or disk that is not as it should be, met where no better words for it are known
        fail(type(error).__name__, f"{error.filename}: {error.strerror}." if error.filename is not None else f"{error}.")


def fail(kind: str, text: str) -> NoReturn:
    with contextlib.suppress(OSError):
        name = typer.style(kind, fg="red", bold=True) if somebody_sees_it() else kind
        os.write(STDERR, f"{name}: {text}\n".encode(errors="backslashreplace"))
    sys.exit(1)


if __name__ == "__main__":
    app()
