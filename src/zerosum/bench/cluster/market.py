"""
A market and its users in a cluster: commands through the operator's door of a gateway, keys in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from zerosum.bench.gateway_users import KEYS_KNOWN_S, ORDERS_MAX, User, make_users, submit
from zerosum.core import records
from zerosum.devcluster.deployment import DevDeployment
from zerosum.identity.cql import CqlDocuments
from zerosum.services.datadir import DataDir
from zerosum.services.listing_file import load_listing

BTC: Final = 0
USDT: Final = 1
ETH: Final = 2
LISTING: Final[dict[str, Any]] = {
    "assets": [{"name": name, "decimals": 8} for name in ("BTC", "USDT", "ETH")],
    "symbols": [
        {"name": "BTCUSDT", "base": "BTC", "quote": "USDT", "tick": "0.01", "lot": "0.00001", "max_price": "1000000", "max_qty": "9000"},
        {"name": "ETHUSDT", "base": "ETH", "quote": "USDT", "tick": "0.01", "lot": "0.0001", "max_price": "100000", "max_qty": "9000"},
        {"name": "ETHBTC", "base": "ETH", "quote": "BTC", "tick": "0.00001", "lot": "0.001", "max_price": "100", "max_qty": "9000"},
    ],
}
ACCOUNTS: Final = (1001, 1002, 1003)
FUNDS: Final = {BTC: 10_000 * 10**8, USDT: 1_000_000 * 10**8, ETH: 100_000 * 10**8}
FEE_PPM: Final = 1_000

# One machine does here what many do elsewhere, so the allowances, which are per client, are not to be what is measured.
UNBOUND: Final = """
[allowance]
weight_per_minute = 1_000_000_000
key_weight_per_minute = 1_000_000_000
orders_per_10_seconds = 100_000_000
orders_per_day = 1_000_000_000

[websocket]
messages_per_s_max = 1_000_000
"""


async def found_cluster_market(
    deployment: DevDeployment, table: dict[str, Any], funds: Mapping[int, Mapping[int, int]], fee_ppm: int = 0
) -> list[User]:
    """List what the table says, open an account with a key for each in `funds`, and deposit. Of a deployment that is fresh. Returns when
    every gateway knows the keys. NotFounded."""
    door = DataDir(deployment.of_role("gateway")[0].data)
    await submit(door, [load_listing(table, "the listing").commands()])
    chains = []
    for account, atoms in funds.items():
        chain = [records.command(records.OPEN_ACCOUNT, 0, account, fee_ppm, fee_ppm, ORDERS_MAX)]
        chain += [
            records.command(records.DEPOSIT, 0, account, number, asset, amount)
            for number, (asset, amount) in enumerate(atoms.items(), start=1)
        ]
        chains.append(chain)
    await submit(door, chains)
    documents = await asyncio.to_thread(CqlDocuments.connect, deployment.cql_settings())
    users = await asyncio.to_thread(make_users, documents, deployment.master_key, funds)
    await asyncio.sleep(KEYS_KNOWN_S)
    return users
