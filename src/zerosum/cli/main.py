"""
The `zerosum` command: its subcommands, and how an operator's error is shown.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from zerosum import __version__
from zerosum.cli import audit, bench, config, e2e, key, market, replay, soak, state, up
from zerosum.errors import ZerosumError

cli = typer.Typer(
    name="zerosum",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    help=(
        "A spot exchange on your own machine: gateway, balances, matching and settlement, every trade's legs summing to zero.\n\n"
        "Start with `zerosum up`; `zerosum COMMAND --help` explains each command."
    ),
)
cli.command("up")(up.up_command)
cli.command("replay")(replay.replay_command)
cli.command("audit")(audit.audit_command)
cli.command("state")(state.state_command)
cli.command("e2e")(e2e.e2e_command)
cli.command("soak")(soak.soak_command)
cli.add_typer(bench.cli, name="bench")
cli.add_typer(key.cli, name="key")
cli.add_typer(config.cli, name="config")
cli.add_typer(market.account_cli, name="account")
cli.add_typer(market.listing_cli, name="listing")
cli.command("deposit")(market.deposit)
cli.command("withdraw")(market.withdraw)


@cli.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def app() -> None:
    """The console script. An operator's error is one paragraph on stderr and exit code 1; a bug is a traceback."""
    if not __debug__:
        sys.exit("zerosum does not run under python -O: its asserts are what stops a shard with a broken invariant.")
    try:
        cli()
    except ZerosumError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]{type(error).__name__}[/]: {error}", markup=True)
        sys.exit(1)


if __name__ == "__main__":
    app()
