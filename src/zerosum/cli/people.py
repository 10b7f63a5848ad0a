"""
`zerosum user` and `zerosum operator`: people who log in, made and let in again by whoever has the machine.

The first operators are made so; after that operators manage each other in the console. What is done here is in the trail as by "machine".
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Final

import typer

from zerosum.cli.account import AccountArgument
from zerosum.cli.identities import ClusterOption, Opened, opened_identities
from zerosum.cli.options import ConfigOption, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.identity.people import ROLES, TEMPORARY_BYTES, People, Person

MACHINE: Final = "machine"

NameArgument = Annotated[str, typer.Argument(help="The name to log in with: small letters, digits and ._@+-.")]

users = typer.Typer(no_args_is_help=True, help="Make users who log in, and let them in again.")
operators = typer.Typer(no_args_is_help=True, help="Make operators, and let them in again.")


@users.command("create")
def create_user(
    name: NameArgument, account: AccountArgument, data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Make a user for an account. The password that is printed is to be changed at the first login."""
    with opened_identities(data, config, cluster) as opened:
        opened.check_account(account)
        password = secrets.token_urlsafe(TEMPORARY_BYTES)
        with opened.identities.trail.noted(by=MACHINE, action="user.create", about=f"user {name}"):
            person = opened.identities.users.create(name, password, account_id=account, must_change=True)
    tell(person, password, as_json)


@operators.command("create")
def create_operator(
    name: NameArgument,
    role: Annotated[list[str], typer.Option(help=f"One of {', '.join(ROLES)}; several times for more.")],
    data: DataOption = None,
    config: ConfigOption = None,
    cluster: ClusterOption = False,
    as_json: JsonOption = False,
) -> None:
    """
    Make an operator. The password that is printed is to be changed at the first login, which also sets up a second factor.

    Two admins are the least to begin with: what gives an operator more than before takes two of them.
    """
    with opened_identities(data, config, cluster) as opened:
        password = secrets.token_urlsafe(TEMPORARY_BYTES)
        with opened.identities.trail.noted(by=MACHINE, action="operator.create", about=f"operator {name}"):
            person = opened.identities.operators.create(name, password, roles=tuple(role), must_change=True)
    tell(person, password, as_json)


@users.command("reset")
def reset_user(
    name: NameArgument, data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False, as_json: JsonOption = False
) -> None:  # fmt: skip
    """Let in somebody who has lost password or second factor: all sessions end, and a password to begin with is printed."""
    with opened_identities(data, config, cluster) as opened:
        reset(opened, opened.identities.users, name, as_json)
        opened.identities.user_sessions.revoke_all(name)


@operators.command("reset")
def reset_operator(
    name: NameArgument, data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False, as_json: JsonOption = False
) -> None:  # fmt: skip
    """Let in somebody who has lost password or second factor: all sessions end, and a password to begin with is printed."""
    with opened_identities(data, config, cluster) as opened:
        reset(opened, opened.identities.operators, name, as_json)
        opened.identities.operator_sessions.revoke_all(name)


@users.command("list")
def list_users(data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False, as_json: JsonOption = False) -> None:
    """List users."""
    with opened_identities(data, config, cluster) as opened:
        show(opened.identities.users.everybody(), as_json)


@operators.command("list")
def list_operators(
    data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False, as_json: JsonOption = False
) -> None:  # fmt: skip
    """List operators."""
    with opened_identities(data, config, cluster) as opened:
        show(opened.identities.operators.everybody(), as_json)


@operators.command("deactivate")
def deactivate_operator(
    name: NameArgument, data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False
) -> None:  # fmt: skip
    """Put an operator out: all sessions end, and none begins."""
    with opened_identities(data, config, cluster) as opened:
        with opened.identities.trail.noted(by=MACHINE, action="operator.deactivate", about=f"operator {name}"):
            opened.identities.operators.set_active(name, False)
        opened.identities.operator_sessions.revoke_all(name)
    typer.echo(f"{name} is out")


def reset(opened: Opened, people: People, name: str, as_json: bool) -> None:
    password = secrets.token_urlsafe(TEMPORARY_BYTES)
    with opened.identities.trail.noted(by=MACHINE, action=f"{people.kind.noun}.reset", about=f"{people.kind.noun} {name}"):
        person = people.reset(name, password)
    tell(person, password, as_json)


def tell(person: Person, password: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"name": person.name, "temporary_password": password}))
    else:
        typer.echo(f"name      {person.name}\npassword  {password}\nIt is to be changed at the first login, and is not shown again.")


def show(people: list[Person], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([person._asdict() for person in people]))
        return
    rows = [
        (
            person.name, str(person.account_id or ""), ", ".join(person.roles), "yes" if person.has_second_factor else "no",
            "good" if person.active else "out",
        )
        for person in people
    ]  # fmt: skip
    show_table(("name", "account", "roles", "second factor", "state"), rows)
