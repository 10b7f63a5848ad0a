"""
Passwords and certificates of a real Kafka and a real database are changed while orders flow: nothing is lost, no request fails, and what
connects from then on does so by the new ones.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.chaos import BROKER, DATABASE, KILL, Chaos, Disturbed
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, UNBOUND, found_cluster_market
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_users import User, make_users
from zerosum.devcluster.deployment import NAME, ROLES, DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.services import Service
from zerosum.identity.cql import CqlDocuments
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.kafka.settings import user_of
from zerosum.log.kafka.topics import KafkaRefused, Replication, Topics
from zerosum.net.authority import DevAuthority, write_private
from zerosum.settlement.cql.session import DatabaseRefused, Session, role_of

LIMIT_S = 60.0
RENEWALS = "zerosum_renewals_total"
FAILURES = "zerosum_database_failures_total"
ONE_BROKER = Replication(1, 1)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    shape = Shape(shards=1, partitions=1, consoles=1, settings=UNBOUND)
    with DevDeployment(tmp_path_factory.mktemp("rotation"), shape).running(keeps=False) as found:
        yield found


@pytest.fixture(scope="module")
def chaos(deployment: DevDeployment) -> Chaos:
    return Chaos(deployment, asyncio.run(found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM)))


async def renewals(services: Sequence[Service]) -> list[float]:
    return [await asyncio.to_thread(each.metric, RENEWALS) for each in services]


async def until_renewed(services: Sequence[Service], change: Callable[[], object], times: Callable[[Service], int]) -> None:
    """All of them have gone on with what `change` has written into files of theirs."""
    wanted = [before + times(each) for each, before in zip(services, await renewals(services), strict=True)]
    await asyncio.to_thread(change)
    deadline = time.monotonic() + LIMIT_S
    while await renewals(services) != wanted:
        words = "\n".join(each.last_words() for each in services)
        assert time.monotonic() < deadline, f"{await renewals(services)} renewals, and not {wanted}\n{words}"
        await asyncio.sleep(0.1)


def uses(service: Service) -> int:
    """How many servers' certificates it believes: Kafka's, and the database's where it has one."""
    return 2 if service.role in ("gateway", "admin", "settlement") else 1


def nothing_failed(seen: Disturbed) -> None:
    assert seen.holds, [each for each in seen.verdicts if not each.holds]
    assert (seen.unknown, seen.busy) == (0, 0)


async def test_the_passwords_of_kafka_are_changed_under_load(deployment: DevDeployment, chaos: Chaos) -> None:
    before = deployment.kafka_settings("ubscore")
    passwords = {user_of(NAME, role): secrets.token_hex(16) for role in ROLES}

    def change() -> None:
        deployment.servers.make_users(passwords, {})
        for user, password in passwords.items():
            write_private(deployment.password_file(user), password.encode())

    nothing_failed(await chaos.during("passwords of Kafka", "change", lambda: until_renewed(deployment.services, change, lambda _: 1)))
    with pytest.raises(KafkaRefused, match="does not let zerosum-ubscore in"):
        await Topics(before, {}, ONE_BROKER).answers()
    await Topics(deployment.kafka_settings("ubscore"), {}, ONE_BROKER).answers()
    seen = await chaos.disturb(BROKER, KILL)  # all connect anew
    assert seen.holds, [each for each in seen.verdicts if not each.holds]


async def test_the_passwords_of_the_database_are_changed_under_load(deployment: DevDeployment, chaos: Chaos) -> None:
    """Files first: the services try until the database knows the new ones."""
    before = deployment.cql_settings("settlement")
    services = [each for each in deployment.services if uses(each) == 2]
    passwords = {role_of(NAME, role): secrets.token_hex(16) for role in ROLES}

    def change() -> None:
        for user, password in passwords.items():
            write_private(deployment.password_file(user), password.encode())
        time.sleep(2.0)  # in which it is tried in vain
        deployment.servers.make_users({}, passwords)

    (settlement,) = deployment.of_role("settlement")
    failures = await asyncio.to_thread(settlement.metric, FAILURES)
    nothing_failed(await chaos.during("passwords of the database", "change", lambda: until_renewed(services, change, lambda _: 1)))
    assert await asyncio.to_thread(settlement.metric, FAILURES) == failures, "what was under way ended well"
    with pytest.raises(DatabaseRefused, match="does not let zerosum_settlement in"):
        await Session.connect(before)
    seen = await chaos.disturb(DATABASE, KILL)  # all connect anew
    assert seen.holds, [each for each in seen.verdicts if not each.holds]
    await until_a_new_key_is_known(deployment)


async def until_a_new_key_is_known(deployment: DevDeployment) -> None:
    """Identities are read over a connection of their own, at the gateway and at the console."""
    documents = await asyncio.to_thread(CqlDocuments.connect, deployment.cql_settings())
    (user,) = await asyncio.to_thread(make_users, documents, deployment.master_key, {ACCOUNTS[0]: FUNDS})
    (gateway,), (console,) = deployment.of_role("gateway"), deployment.of_role("admin")
    deadline = time.monotonic() + LIMIT_S
    while not (await is_known(user, gateway) and (await asyncio.to_thread(console.health))["ready"]):
        assert time.monotonic() < deadline, f"{console.health()}\n{gateway.last_words()}\n{console.last_words()}"
        await asyncio.sleep(0.1)


async def is_known(user: User, gateway: Service) -> bool:
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    try:
        await asked(connection, user, "account.status")
    except DoesNotHold:
        return False
    finally:
        await connection.close()
    return True


async def test_what_is_sent_and_read_while_certificates_are_changed_is_neither_lost_nor_moved(
    deployment: DevDeployment, tmp_path: Path
) -> None:
    ca = deployment.kafka_settings().ca
    assert ca is not None
    both = ca + DevAuthority(tmp_path).certificate_file.read_text()
    settings = replace(deployment.kafka_settings(), prefix="renewed", buffered_bytes=4_096)
    await Topics(settings, {"commands": 2}, ONE_BROKER).make()
    link = KafkaLink(settings, lambda line: None)
    writer, count = link.stream("commands.1").writer(), 3_000

    async def read() -> list[bytes]:
        stream, found = link.stream("commands.1"), list[bytes]()
        while len(found) < count:
            found += [each.data for each in await stream.read(len(found))]
            await asyncio.sleep(0.01)  # slowly: it is paused at times
        return found

    async def send(number: int) -> int:
        await asyncio.sleep(number / 1_000)
        return await writer.append(f"{number:0100}".encode())

    reading = asyncio.create_task(read())
    sending = [asyncio.create_task(send(number)) for number in range(count)]
    for turn in range(5):
        await asyncio.sleep(0.5)
        await link.renew(replace(settings, ca=both if turn % 2 == 0 else ca))
    offsets = await asyncio.gather(*sending)
    found = await asyncio.wait_for(reading, LIMIT_S)
    await link.close()
    assert offsets == sorted(offsets)
    assert found == [f"{number:0100}".encode() for number in range(count)]


async def test_authority_and_certificates_are_changed_under_load(deployment: DevDeployment, chaos: Chaos, tmp_path: Path) -> None:
    """The new authority beside the old one; the servers' certificates by the new one, while they run; then the old one goes."""
    servers, services = deployment.servers, deployment.services
    before, other = deployment.kafka_settings().ca, DevAuthority(tmp_path)
    ca_file, after = servers.security.ca_file, other.certificate_file.read_text()
    assert before is not None

    async def change() -> None:
        await until_renewed(services, lambda: ca_file.write_text(before + after), uses)
        await asyncio.to_thread(servers.renew_certificates, other)
        await until_renewed(services, lambda: ca_file.write_text(after), uses)

    nothing_failed(await chaos.during("certificates", "change", change))
    with pytest.raises(DatabaseRefused, match="is not believed"):
        await Session.connect(replace(deployment.cql_settings(), ca=before))
    for server in (BROKER, DATABASE):
        seen = await chaos.disturb(server, KILL)
        assert seen.holds, [each for each in seen.verdicts if not each.holds]


async def test_certificates_that_the_servers_do_not_have_are_not_gone_on_with(
    deployment: DevDeployment, chaos: Chaos, tmp_path: Path
) -> None:
    """A wrong file is told, and changes nothing until it is right."""
    ca_file = deployment.servers.security.ca_file
    right, wrong = ca_file.read_text(), DevAuthority(tmp_path).certificate_file.read_text()
    (gateway,) = deployment.of_role("gateway")

    async def change() -> None:
        before = await renewals(deployment.services)
        ca_file.write_text(wrong)
        deadline = time.monotonic() + LIMIT_S
        while not all(f"[{section}] names has changed" in gateway.said() for section in ("kafka", "database")):
            assert time.monotonic() < deadline, gateway.last_words()
            await asyncio.sleep(0.1)
        assert await renewals(deployment.services) == before
        ca_file.write_text(right)

    nothing_failed(await chaos.during("certificates", "a wrong file", change))
