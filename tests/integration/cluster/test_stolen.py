"""A stolen gateway, and whoever writes what they like to the brokers: what they send beyond what users may do changes nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nacl.signing import SigningKey

from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, USDT, found_cluster_market
from zerosum.bench.gateway_users import User
from zerosum.core import records
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.security import secret_in
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.messages import TRAILER_BYTES, pack, unpack, with_trailer
from zerosum.services.cluster.signing import SigningStream

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "9.00"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    with DevDeployment(tmp_path_factory.mktemp("stolen"), Shape(shards=1, partitions=1, audits=False)).running(keeps=False) as found:
        yield found


@pytest.fixture(scope="module")
def users(deployment: DevDeployment) -> list[User]:
    return asyncio.run(found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM))


async def send(deployment: DevDeployment, role: str | None, data: bytes, signs_as: str | None) -> None:
    """To the shard's commands, with a role's login at the brokers (None: whoever runs them), and a role's signature."""
    link = KafkaLink(deployment.kafka_settings(role), lambda line: None)
    stream = link.stream("commands.0")
    try:
        key = SigningKey(bytes.fromhex(secret_in(deployment.folder / "secrets" / f"{signs_as}.signing"))) if signs_as is not None else None
        await (SigningStream(stream, key) if key is not None else stream).writer().append(pack(data))
    finally:
        await link.close()


async def account_of(deployment: DevDeployment, user: User) -> Any:
    (gateway,) = deployment.of_role("gateway")
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    try:
        return await asked(connection, user, "account.status")
    finally:
        await connection.close()


def forged_fill(order_id: int) -> bytes:
    """As the engine would say it next."""
    words = records.LINK_WORDS + len(records.LINKS[records.OUTCOME_FILL][1])
    head = int(records.head(records.OUTCOME_FILL, words)) | 1 << 32
    fields = (head, 1, 1, 0, 0, order_id, 0, 1, 900, 100_000)
    return b"".join(field.to_bytes(8, "little") for field in fields[:words]).ljust(words * 8, b"\0")


async def test_a_stolen_gateway_can_neither_deposit_nor_report_fills(deployment: DevDeployment, users: list[User]) -> None:
    (gateway,) = deployment.of_role("gateway")
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    placed = await asked(connection, users[0], "order.place", **ORDER)
    await connection.close()
    before = await account_of(deployment, users[0])
    deposit = records.command(records.DEPOSIT, 0, ACCOUNTS[0], 999, USDT, 10**15)
    for data in (deposit, records.command(records.OPEN_ACCOUNT, 0, 7777), forged_fill(placed["orderId"])):
        await send(deployment, "gateway", data, "gateway")
        await send(deployment, "gateway", data, None)
    (ubscore,) = deployment.of_role("ubscore")
    deadline = time.monotonic() + 30
    while not all(f"the gateway may not say {kind}" in ubscore.said() for kind in ("DEPOSIT", "OPEN_ACCOUNT", "OUTCOME_FILL")):
        assert time.monotonic() < deadline, ubscore.last_words()
        await asyncio.sleep(0.1)
    assert "it is not signed" in ubscore.said()
    assert (await account_of(deployment, users[0]))["balances"] == before["balances"]


async def test_nor_can_whoever_runs_the_brokers(deployment: DevDeployment, users: list[User]) -> None:
    """What they have is a copy of messages: one of another stream, or changed, does not count either."""
    before = await account_of(deployment, users[0])
    link = KafkaLink(deployment.kafka_settings(), lambda line: None)
    stream = link.stream("commands.0")
    taken = [appended.data for appended in await stream.read((await stream.ends()).first)]
    deposits = [data for data in taken if unpack(data, "here").records[:1] == bytes([records.DEPOSIT])]
    assert deposits
    said = bytearray(unpack(deposits[0], "here").records)
    said[40:48] = (10**15).to_bytes(8, "little")
    changed = with_trailer(pack(bytes(said)), TRAILER_BYTES) + deposits[0][-TRAILER_BYTES:]
    writer = stream.writer()
    await writer.append(pack(records.command(records.DEPOSIT, 0, ACCOUNTS[0], 1_000, USDT, 10**15)))
    await writer.append(changed)
    await writer.append(deposits[0])  # the same once more: its transfer was done already
    await link.close()
    (gateway,) = deployment.of_role("gateway")
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    await asked(connection, users[1], "order.place", **ORDER)
    await connection.close()
    assert (await account_of(deployment, users[0]))["balances"] == before["balances"]
    assert "it is not what the admin has signed" in deployment.of_role("ubscore")[0].said()


async def test_and_the_audit_finds_all_in_order(deployment: DevDeployment, users: list[User]) -> None:
    deadline = time.monotonic() + 60
    while True:
        audit = json.loads(deployment.zerosum("cluster", "audit", "--config", str(deployment.config), "--json", can_fail=True))
        if audit["holds"]:
            return
        assert time.monotonic() < deadline, audit
        await asyncio.sleep(1)
