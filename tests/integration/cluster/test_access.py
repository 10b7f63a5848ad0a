"""Who may write where, held by a real broker: each role does its work with its own user, and none does another's."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's own way to export them
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.devcluster.deployment import ROLES, DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.process import ServerFailed
from zerosum.devcluster.services import Service
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.kafka.settings import user_of
from zerosum.log.messages import pack
from zerosum.log.streams import DeliveryFailed
from zerosum.services.cluster.access import READS, WRITES

TOPICS = ("commands", "account-events", "orders", "market-events", "control")
REFUSED = "authorization failed"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    with DevDeployment(tmp_path_factory.mktemp("access"), Shape(shards=1, partitions=1, consoles=1)).running(keeps=False) as found:
        yield found


async def write(deployment: DevDeployment, role: str, topic: str) -> None:
    """A message with nothing in it, which every reader passes by. DeliveryFailed."""
    link = KafkaLink(deployment.kafka_settings(role), lambda line: None)
    try:
        await link.stream(f"{topic}.0").writer().append(pack(b""))
    finally:
        await link.close()


async def test_every_role_does_its_work_with_its_own_user(deployment: DevDeployment) -> None:
    users = await found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM)
    (gateway,) = deployment.of_role("gateway")
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    order = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90.00"}
    await asked(connection, users[0], "order.place", **order, side="BUY")
    sold = await asked(connection, users[1], "order.place", **order, side="SELL")
    await connection.close()
    assert sold["status"] == "FILLED"
    audit = json.loads(deployment.zerosum("cluster", "audit", "--config", str(deployment.config), "--json"))
    assert audit["holds"], audit
    assert {role for role in ROLES for line in [deployment.of_role(role)[0].said()] if "authorization" in line.lower()} == set()


@pytest.mark.parametrize("role", ["gateway", "matching", "settlement", "auditor"])
async def test_nobody_but_ubscore_can_write_orders(deployment: DevDeployment, role: str) -> None:
    with pytest.raises(DeliveryFailed, match=REFUSED):
        await write(deployment, role, "orders")


async def test_ubscore_can(deployment: DevDeployment) -> None:
    await write(deployment, "ubscore", "orders")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_can_write_what_it_writes_and_nothing_else(deployment: DevDeployment, role: str) -> None:
    assert READS.keys() == {*ROLES}
    for topic in {*TOPICS} - {*WRITES.get(role, ())}:
        with pytest.raises(DeliveryFailed, match=REFUSED):
            await write(deployment, role, topic)


def test_who_else_may_write_is_told(deployment: DevDeployment) -> None:
    client = AdminClient(deployment.kafka_settings().common(lambda text: None))
    mallory = AclBinding(
        ResourceType.TOPIC, "zerosum.", ResourcePatternType.PREFIXED, "User:mallory", "*", AclOperation.WRITE, AclPermissionType.ALLOW
    )  # fmt: skip
    for made in client.create_acls([mallory]).values():
        made.result(10)
    said = deployment.zerosum("cluster", "init", "--config", str(deployment.config))
    assert "attention: User:mallory may write to zerosum.orders, and is none of them" in said
    assert "grants made for the users zerosum-<role>: none, all are there" in said


def test_a_service_with_a_wrong_password_says_so_and_ends(deployment: DevDeployment) -> None:
    password = deployment.folder / "wrong.password"
    password.touch(mode=0o600)
    password.write_text("guessed\n")
    environment = {
        "ZEROSUM_KAFKA_USER": user_of("zerosum", "auditor"), "ZEROSUM_KAFKA_PASSWORD_FILE": str(password), "ZEROSUM_CLUSTER_WAIT_S": "2",
    }  # fmt: skip
    service = Service("guesser", "auditor", deployment.folder, deployment.config, (), environment)
    service.start()
    try:
        with pytest.raises(ServerFailed, match="ended with exit code 1"):
            service.wait()
    finally:
        service.kill()
    assert "Authentication failed" in service.said()
    assert "guessed" not in service.said()
