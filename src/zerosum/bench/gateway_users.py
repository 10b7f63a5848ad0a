"""
A market and its users, made as an operator makes them: commands through the operator's door, keys in the file of identities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from zerosum.core import records
from zerosum.errors import ZerosumError
from zerosum.identity.documents import Documents
from zerosum.identity.identities import Identities
from zerosum.identity.keyring import REFRESH_S
from zerosum.identity.keys import Wanted
from zerosum.identity.sealing import load_master_key
from zerosum.identity.sqlite import SqliteDocuments
from zerosum.services import admin
from zerosum.services.datadir import DataDir
from zerosum.services.listing_file import Listing, load_listing

CONNECTIONS: Final = 64
ORDERS_MAX: Final = 1_000_000
KEYS_KNOWN_S: Final = 3 * REFRESH_S  # after which every gateway knows a key that was made


class NotFounded(ZerosumError):
    """The exchange refused a command that makes the market."""


class User(NamedTuple):
    """Who trades. `funds`: atoms by asset number."""

    account: int
    api_key: str
    secret: str
    funds: Mapping[int, int]


async def found_market(data: DataDir, table: dict[str, Any], funds: Mapping[int, Mapping[int, int]], fee_ppm: int = 0) -> list[User]:
    """List what the table says, open an account with a key for each in `funds`, and deposit. On a fresh exchange that runs."""
    listing: Listing = load_listing(table, "the listing")
    await submit(data, [listing.commands()])
    chains = []
    transfer_id = 0
    for account, atoms in funds.items():
        chain = [records.command(records.OPEN_ACCOUNT, 0, account, fee_ppm, fee_ppm, ORDERS_MAX)]
        for asset, amount in atoms.items():
            transfer_id += 1
            chain.append(records.command(records.DEPOSIT, 0, account, transfer_id, asset, amount))
        chains.append(chain)
    await submit(data, chains)
    users = await asyncio.to_thread(make_users, SqliteDocuments(data.identities), data.root / "master.key", funds)
    await asyncio.sleep(KEYS_KNOWN_S)
    return users


def make_users(documents: Documents, master_key: Path, funds: Mapping[int, Mapping[int, int]]) -> list[User]:
    """A key for each account."""
    with closing(Identities(documents, load_master_key(master_key, environment={}))) as identities:
        return [User(account, *identities.keys.create(Wanted(account)), atoms) for account, atoms in funds.items()]


async def submit(data: DataDir, chains: Sequence[Iterable[bytes]]) -> None:
    """Submit commands through the operator's door, each chain in its order, many chains at a time. NotFounded for what is refused."""
    remaining = iter(chains)

    async def worker() -> None:
        reader, writer = await asyncio.open_unix_connection(data.root / admin.NAME)
        try:
            for chain in remaining:
                for command in chain:
                    writer.write(admin.LENGTH.pack(len(command)) + command)
                    await check_reply(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(CONNECTIONS, len(chains))):
            group.create_task(worker())


async def check_reply(reader: asyncio.StreamReader) -> None:
    (size,) = admin.LENGTH.unpack(await reader.readexactly(admin.LENGTH.size))
    if size == 0:
        (size,) = admin.LENGTH.unpack(await reader.readexactly(admin.LENGTH.size))
        raise NotFounded(f"The exchange does not take it: {(await reader.readexactly(size)).decode()}.")
    for event in records.records(await reader.readexactly(size)):
        if event[0] & 0xFF == records.REFUSED:
            raise NotFounded(f"{records.kind_name(event[4])} was refused with reason {event[5]}.")
