"""A whole cluster of real processes over a real Kafka and Cassandra: it trades, it is killed piece by piece, and all adds up."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cluster.support import until_fault, until_ready
from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.chaos import ACTIVE, BROKER, DATABASE, DOUBLE, FULL, KILL, SHAPE, SLOW, STOP, VICTIMS, Chaos
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.bench.gateway_users import User
from zerosum.core import records
from zerosum.core.codes import BUY, LIMIT
from zerosum.core.commands import ORIGIN_SHIFT
from zerosum.devcluster.deployment import DevDeployment
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.services import Service
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.messages import pack
from zerosum.ops.verifying import FOREIGN, Watched

LIMIT_S = 60.0
PAUSE_MAX_S = 60.0  # which says that it goes on, and not how soon: machines are slow
STRANGER = 200  # who is no shard
FORGED = 3


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    """Two shards, two engine partitions, two gateways, and a second copy of each machine."""
    with DevDeployment(tmp_path_factory.mktemp("cluster"), SHAPE).running(keeps=False) as found:
        yield found


@pytest.fixture(scope="module")
def users(deployment: DevDeployment) -> list[User]:
    found = asyncio.run(found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM))
    return found


@pytest.fixture(scope="module")
def chaos(deployment: DevDeployment, users: list[User]) -> Chaos:
    return Chaos(deployment, users)


async def connected(gateway: Service) -> WebSocketConnection:
    return await WebSocketConnection.open(HOST, gateway.ports()["websocket"])


async def test_an_order_of_one_gateway_is_another_s_too(deployment: DevDeployment, users: list[User]) -> None:
    one, other = [await connected(gateway) for gateway in deployment.of_role("gateway")]
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90.00"}
    placed = await asked(one, users[0], "order.place", **order)
    (seen,) = await asked(other, users[0], "openOrders.status", symbol="BTCUSDT")
    assert seen["orderId"] == placed["orderId"]
    sold = await asked(other, users[1], "order.place", **{**order, "side": "SELL", "quantity": "0.25"})
    assert (sold["status"], sold["fills"][0]["price"]) == ("FILLED", "90.00000000")
    (bought,) = await asked(one, users[0], "myTrades", symbol="BTCUSDT")
    assert (bought["qty"], bought["isBuyer"]) == ("0.25000000", True)
    canceled = await asked(other, users[0], "order.cancel", symbol="BTCUSDT", orderId=str(placed["orderId"]))
    assert (canceled["status"], canceled["executedQty"]) == ("CANCELED", "0.25000000")
    assert await asked(one, users[0], "openOrders.status", symbol="BTCUSDT") == []
    await asyncio.gather(one.close(), other.close())


def forged_order(number: int) -> bytes:
    """A buy that would take what is offered."""
    kind = records.ENGINE_PLACE
    words = records.LINK_WORDS + len(records.LINKS[kind][1])
    head = records.head(kind, words) | STRANGER << ORIGIN_SHIFT
    order = (4_000 + number, 1 << 8, ACCOUNTS[0], BUY | LIMIT << 8, 100_00, 1_000, 0)
    return struct.pack(f"<{words}q", head, number, 0, 0, *order)


async def test_a_forged_order_trades_nothing_stops_nothing_and_is_reported(
    deployment: DevDeployment, users: list[User]
) -> None:  # fmt: skip
    """Written straight into Kafka by one whom the brokers let, and by nobody that an engine knows."""
    (auditor,) = deployment.of_role("auditor")
    connection = await connected(deployment.of_role("gateway")[0])
    order = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "100.00"}
    offered = await asked(connection, users[1], "order.place", **order, side="SELL")

    link = KafkaLink(deployment.kafka_settings(), lambda line: None)
    writer = link.stream("orders.0").writer()
    await writer.append(pack(b"".join(map(forged_order, range(1, FORGED + 1)))))
    await link.close()

    watched = Watched(f"{HOST}:{auditor.ports()['operations']}")
    deadline = time.monotonic() + LIMIT_S
    while watched.last.get(FOREIGN) != 1:
        assert time.monotonic() < deadline, watched.last
        await asyncio.to_thread(watched.look)
        await asyncio.sleep(0.1)
    assert "is of none of the deployment's services" in auditor.said(), "who did not sign it, so that what it says does not count"
    assert "it is not signed" in deployment.of_role("matching")[0].said()

    still = await asked(connection, users[1], "order.status", symbol="BTCUSDT", orderId=str(offered["orderId"]))
    assert (still["status"], still["executedQty"]) == ("NEW", "0.00000000")
    bought = await asked(connection, users[2], "order.place", **order, side="BUY")
    assert bought["status"] == "FILLED", "the engine goes on"
    await connection.close()


@pytest.mark.parametrize(
    ("victim", "how"),
    [
        *((victim, KILL) for victim in VICTIMS),
        *((victim, how) for how in (STOP, DOUBLE) for victim in ACTIVE),
        *((victim, how) for how in (SLOW, FULL) for victim in (BROKER, DATABASE)),
    ],
)
async def test_what_is_killed_stopped_or_held_up_under_load_loses_nothing(
    deployment: DevDeployment, chaos: Chaos, victim: str, how: str, record_property: Callable[[str, object], None]
) -> None:  # fmt: skip
    """Each in turn; it comes back, when the copy beside it has gone on. Then everything is held against everything."""
    seen = await chaos.disturb(victim, how)
    record_property(
        "told at the end",
        f"{how} of {victim}: no request succeeded for {seen.pause_s:.1f} s; {seen.unknown} not told their outcome"
        + (f"; another copy had taken over after {seen.taken_over_s:.2f} s" if seen.taken_over_s is not None else ""),
    )
    assert (seen.taken_over_s is not None) == (victim in ACTIVE and how in (KILL, STOP))
    assert seen.pause_s < PAUSE_MAX_S
    assert seen.holds, [each for each in seen.verdicts if not each.holds]


@pytest.mark.parametrize(
    ("name", "role", "check", "words"),
    [
        (BROKER, "ubscore", "kafka", "no broker has answered for"),
        (BROKER, "gateway", "kafka", "no broker has answered for"),
        (DATABASE, "gateway", "keys", "API keys could not be read for"),
        (DATABASE, "settlement", "copies", "it has stood still for"),
    ],
)
async def test_health_says_what_is_gone_and_that_it_is_back(
    deployment: DevDeployment, users: list[User], name: str, role: str, check: str, words: str
) -> None:  # fmt: skip
    service, gateway = deployment.of_role(role)[0], deployment.of_role("gateway")[0]
    server = next(each for each in deployment.servers.servers if each.name == name)
    connection = await connected(gateway)
    failures = service.metric("zerosum_database_failures_total") if role == "settlement" else 0.0
    server.kill()
    try:
        if name == DATABASE:  # what is traded meanwhile is to be settled
            order = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "50.00", "side": "BUY"}
            await asked(connection, users[0], "order.place", **order)
        assert words in await until_fault(service, check)
    finally:
        server.start()
        await asyncio.to_thread(server.wait)
    for each in deployment.services:
        await until_ready(each)
    if role == "settlement":
        assert service.metric("zerosum_database_failures_total") > failures
    await connection.close()


async def test_a_shard_is_moved_to_another_process_under_load(deployment: DevDeployment, chaos: Chaos) -> None:
    """As docs/guides/cluster.md says: its new owner first, then the old ones let go of it."""
    environment = deployment.environment("ubscore")
    owner = Service("moved", "ubscore", deployment.folder, deployment.config, ("--partitions", "1", "--copy", "3"), environment)
    left = Service("left", "ubscore", deployment.folder, deployment.config, ("--partitions", "0", "--copy", "4"), environment)
    old_owners = deployment.of_role("ubscore")

    async def move() -> None:
        owner.start()
        await asyncio.to_thread(owner.wait)
        left.start()
        await asyncio.to_thread(left.wait)
        for old in old_owners:
            await asyncio.to_thread(old.stop)
            deployment.services.remove(old)

    deployment.services += [owner, left]
    seen = await chaos.during("shard 1", "moved", move)
    assert seen.holds, [each for each in seen.verdicts if not each.holds]


def test_all_that_was_said_is_no_traceback(deployment: DevDeployment) -> None:
    logs = list(deployment.folder.glob("*.log"))
    assert len(logs) > len(deployment.services), "also those that were moved away from"
    for log in logs:
        assert "Traceback" not in log.read_text(), log


def test_services_stop_cleanly_and_go_on(deployment: DevDeployment, users: list[User], tmp_path: Path) -> None:
    for service in reversed(deployment.services):
        service.stop()
        assert service.exit_code == 0, service.last_words()
    for service in deployment.services:
        service.start()
    for service in deployment.services:
        service.wait()
    audit = json.loads(deployment.zerosum("cluster", "audit", "--config", str(deployment.config), "--json"))
    assert audit["holds"], audit
