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
from zerosum.core import records
from zerosum.errors import ConfigError
from zerosum.log.errors import MessageDamaged
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.messages import offset_of, position, unpack
from zerosum.log.streams import Stream
from zerosum.ops.secret_files import read_secret
from zerosum.ops.settings_model import Settings
from zerosum.services.cluster.control import APPLY, PASS_OVER, Decision
from zerosum.services.cluster.joining import topics_of
from zerosum.services.cluster.role import OWN_END_MESSAGES
from zerosum.services.cluster.signing import SIGNING_ROLES

INPUTS: Final = {"ubscore": "commands", "matching": "orders"}
OUTPUTS: Final = {"ubscore": "account-events", "matching": "market-events"}


def operator_command(
    name: Annotated[str, typer.Argument(help="Yours: letters, digits and _.-")],
    key: Annotated[Path, typer.Option(help="Where your private key is written, for nobody else to read.", dir_okay=False)],
) -> None:
    """Make an operator's key. What is printed belongs into cluster.operators of every service."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ConfigError(f"{name!r} is no operator's name: letters, digits and _.- make one.")
    typer.echo(f"{name}:{made_key(key)}")


def signer_command(
    role: Annotated[str, typer.Argument(help=f"Whose: {', '.join(SIGNING_ROLES)}.")],
    key: Annotated[Path, typer.Option(help="Where the private key is written, for nobody else to read.", dir_okay=False)],
) -> None:
    """Make what a role's services sign with. What is printed belongs into cluster.signers of every service."""
    if role not in SIGNING_ROLES:
        raise ConfigError(f"{role!r} signs nothing: {', '.join(SIGNING_ROLES)} do.")
    typer.echo(f"{role}:{made_key(key)}")


def made_key(key: Path) -> str:
    """A new private key's public half, in hexadecimal digits. ConfigError."""
    made = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{key} can't be made: {error.strerror}. Name a file that is not there yet.") from error
    with os.fdopen(descriptor, "w") as out:
        out.write(made.private_bytes_raw().hex() + "\n")
    return made.public_key().public_bytes_raw().hex()


def pass_over_command(
    machine: Annotated[str, typer.Argument(help="As its copies name it: ubscore.3, matching.0.")],
    at: Annotated[int, typer.Argument(metavar="POSITION", help="Of the record in its input, as its copies say.", min=1)],
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
    settings = load_settings(data, config, "cluster")
    decision = Decision(machine, at, by, APPLY if take_back else PASS_OVER)
    signed = decision.signed(private_key(key))
    try:
        operators_of(settings).verified(signed)
    except ValueError as error:
        raise ConfigError(f"{key} does not decide for {by}: {error}. Name the key whose public half cluster.operators has.") from error
    offset = asyncio.run(append(settings, decision, signed))
    done = "applies" if take_back else "passes over"
    needed = settings.cluster.operators_needed
    then = "Start its copies now." if needed == 1 else f"It counts once {needed} operators have said so; then start its copies."
    typer.echo(f"message {offset} of {settings.cluster.name}.control: {machine} {done} position {at}. {then}")


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
        await check_position(link.stream(f"{INPUTS[role]}.{number}"), decision)
        if decision.decision == PASS_OVER:
            await check_not_gone_past(link.stream(f"{OUTPUTS[role]}.{number}"), decision)
        return await link.stream("control").writer().append(signed)
    finally:
        await link.close()


async def check_position(source: Stream, decision: Decision) -> None:
    """That it is one of a record of the input, or of a message that can't be read. ConfigError."""
    ends, offset = await source.ends(), offset_of(decision.position)
    if not ends.first <= offset < ends.next:
        raise ConfigError(f"the input of {decision.role} has no position {decision.position}: take the one that its copies name.")
    message = (await source.read(offset))[0]
    try:
        count = len(list(records.records(unpack(message.data, source.name).records)))
    except MessageDamaged:
        count = 1  # as a whole
    if decision.position >= position(offset, count):
        raise ConfigError(f"message {offset} of the input of {decision.role} has {count} records: position {decision.position} is of none.")


async def check_not_gone_past(own: Stream, decision: Decision) -> None:
    """ConfigError where a copy has applied the record: what it put out of it stands in its stream."""
    ends = await own.ends()
    at = max(ends.first, ends.next - OWN_END_MESSAGES)
    while at < ends.next:
        for appended in await own.read(at):
            at = appended.offset + 1
            if unpack(appended.data, own.name).upto > decision.position:
                raise ConfigError(f"{decision.role} has gone past position {decision.position} already: what it made of it is out.")


def private_key(path: Path) -> Ed25519PrivateKey:
    """ConfigError."""
    text = read_secret(path, "--key")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ConfigError(f"--key {path} must have 64 hexadecimal digits: make one with `zerosum cluster operator`.")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
