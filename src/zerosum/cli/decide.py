"""
`zerosum cluster operator` and `zerosum cluster pass-over`: decisions about a single record that stops every copy of a machine.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zerosum.cli.cluster_settings import kafka_settings, operators_of, replication_of, topology_of
from zerosum.cli.directory import load_settings
from zerosum.cli.options import ConfigOption, DataOption
from zerosum.cli.terminal import tell
from zerosum.errors import ConfigError
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.messages import end_of
from zerosum.ops.secret_files import read_secret
from zerosum.ops.settings_model import Settings
from zerosum.services.cluster.control import APPLY, PASS_OVER, Decision
from zerosum.services.cluster.joining import topics_of

INPUTS: Final = {"ubscore": "commands", "matching": "orders"}


def operator_command(
    name: Annotated[str, typer.Argument(help="Yours: letters, digits and _.-")],
    key: Annotated[Path, typer.Option(help="Where your private key is written, for nobody else to read.", dir_okay=False)],
) -> None:
    """Make an operator's key. What is printed belongs into cluster.operators of every service."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ConfigError(f"{name!r} is no operator's name: letters, digits and _.- make one.")
    made = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{key} can't be made: {error.strerror}. Name a file that is not there yet.") from error
    with os.fdopen(descriptor, "w") as out:
        out.write(made.private_bytes_raw().hex() + "\n")
    typer.echo(f"{name}:{made.public_key().public_bytes_raw().hex()}")


def pass_over_command(
    machine: Annotated[str, typer.Argument(help="As its copies name it: ubscore.3, matching.0.")],
    position: Annotated[int, typer.Argument(help="Of the record in its input, as its copies say.", min=1)],
    by: Annotated[str, typer.Option(help="Your name among cluster.operators.")],
    key: Annotated[Path, typer.Option(help="Your private key: see `zerosum cluster operator`.", dir_okay=False)],
    take_back: Annotated[bool, typer.Option("--take-back", help="Let the record be applied after all.")] = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """
    Sign that every copy of a machine passes over a record of its input, which is then answered by an event PASSED_OVER.

    While no copy of the machine runs: they read decisions when they start. It can be taken back as long as none has gone past the record.
    """
    settings = load_settings(data, config)
    decision = Decision(machine, position, by, APPLY if take_back else PASS_OVER)
    signed = decision.signed(private_key(key))
    try:
        operators_of(settings).verified(signed)
    except ValueError as error:
        raise ConfigError(f"{key} does not decide for {by}: {error}. Name the key whose public half cluster.operators has.") from error
    offset = asyncio.run(append(settings, decision, signed))
    typer.echo(
        f"message {offset} of {settings.cluster.name}.control. Start the copies of {machine} now, with {by} among cluster.operators."
    )


async def append(settings: Settings, decision: Decision, signed: bytes) -> int:
    """Its offset. ConfigError, NotThere, TopicsWrong, DeliveryFailed."""
    topology, kafka = topology_of(settings), kafka_settings(settings)
    role, _, number = decision.role.partition(".")
    count = {"ubscore": topology.shards, "matching": topology.partitions}.get(role, 0)
    if not number.isdigit() or int(number) >= count:
        machines = f"ubscore.0 to ubscore.{topology.shards - 1}, and matching.0 to matching.{topology.partitions - 1}"
        raise ConfigError(f"{decision.role} is no machine of this deployment: those are {machines}.")
    await topics_of(kafka, topology, replication_of(settings), settings.cluster.wait_s, tell)
    link = KafkaLink(kafka, tell)
    try:
        end = end_of((await link.stream(f"{INPUTS[role]}.{number}").ends()).next)
        if decision.position >= end:
            raise ConfigError(f"the input of {decision.role} ends before position {decision.position}: take the one that its copies name.")
        return await link.stream("control").writer().append(signed)
    finally:
        await link.close()


def private_key(path: Path) -> Ed25519PrivateKey:
    """ConfigError."""
    text = read_secret(path, "--key")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ConfigError(f"--key {path} must have 64 hexadecimal digits: make one with `zerosum cluster operator`.")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
