"""
A market and its users in a cluster: commands through the operator's door of a gateway, keys in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from zerosum.bench.gateway_users import ORDERS_MAX, User, submit
from zerosum.core import records
from zerosum.devcluster.deployment import DevDeployment
from zerosum.gateway.auth import TRADE, USER_DATA
from zerosum.gateway.cluster_keys import REFRESH_S, ClusterKeys
from zerosum.gateway.keys import load_master_key
from zerosum.services.datadir import DataDir
from zerosum.services.listing_file import load_listing
from zerosum.settlement.cql.session import Session

KEYS_KNOWN_S: Final = 3 * REFRESH_S  # after which every gateway knows a key that was made

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
    session = await Session.connect(deployment.cql_settings())
    try:
        keys = ClusterKeys(session, load_master_key(deployment.master_key, environment={}))
        await keys.check_master_key()
        users = [User(account, *await keys.create(account, (TRADE, USER_DATA)), atoms) for account, atoms in funds.items()]
    finally:
        await session.close()
    await asyncio.sleep(KEYS_KNOWN_S)
    return users
