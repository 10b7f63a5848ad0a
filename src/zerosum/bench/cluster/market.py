"""
A market and its users in a cluster: commands through the operators' socket of a console, keys in the database.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from typing import Any, Final

from zerosum.bench.gateway_users import KEYS_KNOWN_S, ORDERS_MAX, NotFounded, User, make_users, submit
from zerosum.core import records
from zerosum.devcluster.deployment import DevDeployment
from zerosum.devcluster.ports import HOST
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
LISTED_S: Final = 30.0

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


def wait_for_symbols(deployment: DevDeployment, names: set[str]) -> None:
    """Until every gateway has them. NotFounded."""
    deadline = time.monotonic() + LISTED_S
    for gateway in deployment.of_role("gateway"):
        while not names <= symbols_of(gateway.ports()["rest"]):
            if time.monotonic() > deadline:
                raise NotFounded(f"{gateway.name} does not know {', '.join(sorted(names))} after {LISTED_S:g} s.")
            time.sleep(0.05)


def symbols_of(port: int) -> set[str]:
    with closing(HTTPConnection(HOST, port, timeout=LISTED_S)) as connection:
        connection.request("GET", "/api/v3/exchangeInfo")
        answer = connection.getresponse()
        return {symbol["symbol"] for symbol in json.loads(answer.read())["symbols"]} if answer.status == 200 else set()


async def found_cluster_market(
    deployment: DevDeployment, table: dict[str, Any], funds: Mapping[int, Mapping[int, int]], fee_ppm: int = 0
) -> list[User]:
    """List what the table says, open an account with a key for each in `funds`, and deposit. Of a deployment that is fresh. Returns when
    every gateway knows the symbols and the keys. NotFounded."""
    door = DataDir(deployment.of_role("admin")[0].data)
    await submit(door, [load_listing(table, "the listing").commands()])
    await asyncio.to_thread(wait_for_symbols, deployment, {symbol["name"] for symbol in table["symbols"]})
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
