"""
`zerosum master-key`: changing what identities are sealed with, while the exchange goes on. docs/guides/rotation.md has the order of steps.

    add (a new key is known) --> use-new (it seals) --> reseal (nothing is sealed with the old one any more) --> drop-old

Every process looks at the file once a second. On several machines each has a file of its own: do a step on all of them before the next.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import structlog
import typer

from zerosum.cli.directory import load_settings, master_key, master_key_file
from zerosum.cli.identities import ClusterOption, opened_identities
from zerosum.cli.options import ConfigOption, DataOption
from zerosum.errors import ConfigError, ZerosumError
from zerosum.identity.identities import Identities
from zerosum.identity.sealing import KEY_BYTES, KEYS_MAX, load_master_key
from zerosum.net.authority import write_private
from zerosum.net.watched import watch
from zerosum.ops.settings_model import Settings

log = structlog.get_logger("master_key")

cli = typer.Typer(no_args_is_help=True, help="Change the master key while the exchange goes on.")


@cli.command("add")
def add(data: DataOption = None, config: ConfigOption = None) -> None:
    """Make a new key known, beside the one that seals. Then wait until every process has read it: some seconds."""
    file, keys = file_and_keys(data, config)
    if len(keys) >= KEYS_MAX:
        raise ConfigError(f"{file} has {len(keys)} master keys already: drop the old ones first, with `zerosum master-key drop-old`.")
    write_keys(file, [*keys, secrets.token_hex(KEY_BYTES)])
    typer.echo(f"{file} has {len(keys) + 1} keys; the first seals, all of them open")


@cli.command("use-new")
def use_new(data: DataOption = None, config: ConfigOption = None) -> None:
    """Let the key that was added last be the one that seals."""
    file, keys = file_and_keys(data, config)
    if len(keys) < 2:
        raise ConfigError(f"{file} has one master key: add a new one first, with `zerosum master-key add`.")
    write_keys(file, [keys[-1], *keys[:-1]])
    typer.echo(f"the new key seals from now on; {file} still has what opens the old")


@cli.command("reseal")
def reseal(data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False) -> None:
    """Seal everything with the first key of the file. Then the others can go."""
    with opened_identities(data, config, cluster) as opened:
        done = opened.identities.reseal()
    typer.echo(f"{done} records were sealed anew")


@cli.command("drop-old")
def drop_old(data: DataOption = None, config: ConfigOption = None, cluster: ClusterOption = False) -> None:
    """Forget all keys of the file but the first. Refused while anything is sealed with another."""
    file, keys = file_and_keys(data, config)
    with opened_identities(data, config, cluster) as opened:
        left = opened.identities.sealed_otherwise()
    if left:
        raise ConfigError(f"{left} records are sealed with another key than the first: `zerosum master-key reseal` comes before.")
    write_keys(file, keys[:1])
    typer.echo(f"{file} has one key")


def file_and_keys(data: Path | None, config: Path | None) -> tuple[Path, list[str]]:
    """ConfigError, MasterKeyError."""
    settings = load_settings(data, config)
    if settings.master_key is not None:
        raise ConfigError("master_key is set: a key in the environment is changed with a restart. Use a file: master_key_file.")
    file = master_key_file(settings)
    load_master_key(file, environment={})
    return file, file.read_text().split()


def write_keys(file: Path, keys: list[str]) -> None:
    write_private(file, "".join(f"{key}\n" for key in keys).encode())


async def follow_master_key(settings: Settings, identities: Identities) -> None:
    """For as long as the task lives: what is in the file is used. A file that is wrong changes nothing, and is told."""
    if settings.master_key is not None:
        return

    async def use() -> None:
        try:
            key = master_key(settings)
            await asyncio.to_thread(identities.use, key)
        except ZerosumError as error:
            log.error("master_key.not_changed", error=str(error))
        else:
            log.info("master_key.changed", keys=key.tags)

    await watch([master_key_file(settings)], use)
