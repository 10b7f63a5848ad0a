"""Three brokers: one is killed under load, and what was told holds; two are, and everybody says that nothing can be written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient

from tests.integration.cluster.support import until_fault, until_ready
from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.chaos import KILL, Chaos
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, UNBOUND, found_cluster_market
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.ports import HOST

LIMIT_S = 60.0
COMMANDS = "zerosum.commands"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    shape = Shape(shards=1, partitions=1, brokers=3, settings=UNBOUND)
    with DevDeployment(tmp_path_factory.mktemp("brokers"), shape).running(keeps=False) as found:
        yield found


@pytest.fixture(scope="module")
def users(deployment: DevDeployment) -> list[User]:
    return asyncio.run(found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM))


def leader_of_commands(deployment: DevDeployment) -> int:
    client = AdminClient(deployment.kafka_settings().common(lambda text: None))
    return int(client.list_topics(COMMANDS, timeout=10).topics[COMMANDS].partitions[0].leader)


async def test_the_leader_of_three_brokers_is_killed_under_load(
    deployment: DevDeployment, users: list[User], record_property: Callable[[str, object], None]
) -> None:  # fmt: skip
    leader = leader_of_commands(deployment)
    seen = await Chaos(deployment, users).disturb(f"Kafka broker {leader}", KILL)
    record_property(
        "told at the end", f"kill -9 of the leader, one of three brokers: no request succeeded for {seen.pause_s:.1f} s, no loss"
    )  # fmt: skip
    assert leader_of_commands(deployment) != leader
    assert seen.holds, [each for each in seen.verdicts if not each.holds]


async def test_with_one_of_three_nothing_is_written_which_everybody_says_and_all_goes_on_with_two(
    deployment: DevDeployment, users: list[User]
) -> None:  # fmt: skip
    """Reading goes on: so it does not show."""
    (gateway,) = deployment.of_role("gateway")
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90.00"}
    leader = leader_of_commands(deployment)
    away = [broker for broker in deployment.servers.brokers if broker.name != f"Kafka broker {leader}"]
    for broker in away:
        broker.kill()
    with pytest.raises(DoesNotHold, match=r"-1007|-1008"):
        await asked(connection, users[0], "order.place", **order)
    assert (await until_fault(gateway, "kafka")).startswith(("nothing that was sent has been acknowledged", "no broker has answered"))
    for broker in away:
        broker.start()
    for broker in away:
        await asyncio.to_thread(broker.wait)
    for service in deployment.services:
        await until_ready(service)
    placed = await asked(connection, users[0], "order.place", **order)
    assert placed["status"] == "NEW"
    await connection.close()
