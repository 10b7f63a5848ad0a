"""What the services of a cluster show to others: where they listen, where they write, and that no secret is in anything that they leave."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.exposure import (
    Secret,
    descendants,
    documented,
    leaks,
    leaks_of_files,
    leaks_of_processes,
    listening,
    written_by,
)
from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_users import User
from zerosum.devcluster.deployment import ROLES, SIGNING_ROLES, DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.security import TLS
from zerosum.devcluster.services import Service

PAGES: Final = ("metrics", "readyz", "healthz")
ORDER: Final = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90.00"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    shape = Shape(shards=1, partitions=1, settings='level = "debug"\n')  # of [logging], with which the file ends
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSUM_MASTER_KEY", secrets.token_hex(32))  # of another exchange: nobody here is to see it
        with DevDeployment(tmp_path_factory.mktemp("exposed"), shape).running(keeps=False) as found:
            yield found


@pytest.fixture(scope="module")
def users(deployment: DevDeployment) -> list[User]:
    return asyncio.run(found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM))


def own_pids(deployment: DevDeployment) -> list[int]:
    return [pid for service in deployment.services for pid in (service.pid, *descendants(service.pid))]


def secrets_of(deployment: DevDeployment, users: list[User]) -> tuple[list[Secret], dict[str, set[str]]]:
    """All that there are, and the files that are there for one. A later secret has its line here."""
    folder = deployment.folder
    security = deployment.servers.security
    in_files = {
        "the master key": deployment.master_key,
        "the password of the brokers' admin": security.kafka_password_file,
        "the password of the database's admin": security.database_password_file,
        **{path.name: path for path in (folder / "secrets").iterdir()},
    }
    found = [Secret(name, path.read_text().strip()) for name, path in in_files.items()]
    found += [Secret(f"the key of {path.parent.name}", key_in(path)) for path in (*folder.rglob(TLS), security.authority.key_file)]
    found.append(Secret("the master key of another exchange", os.environ["ZEROSUM_MASTER_KEY"]))
    meant: dict[str, set[str]] = {}
    for name, path in in_files.items():
        meant.setdefault(str(path.relative_to(folder)), set()).add(name)
    return [*found, *(Secret(f"the secret of account {user.account}", user.secret) for user in users)], meant


def key_in(path: Path) -> str:
    """A line of the private key that is in a file in PEM."""
    return path.read_text().partition("PRIVATE KEY-----\n")[2].splitlines()[0]


@pytest.mark.parametrize("role", ROLES)
def test_each_service_listens_on_what_is_documented(role: str, deployment: DevDeployment) -> None:
    for service in deployment.of_role(role):
        assert listening(service.pid) == documented(role, service.ports(), service.data)
        assert descendants(service.pid) == []


@pytest.mark.parametrize("role", ROLES)
def test_each_service_writes_only_below_its_data_directory(role: str, deployment: DevDeployment) -> None:
    for service in deployment.of_role(role):
        assert {path for path in written_by(service.pid) if not path.is_relative_to(service.data)} == {service.log}
        status = Path(f"/proc/{service.pid}/status").read_text()
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)


async def test_no_secret_is_in_anything_that_a_cluster_leaves_behind(deployment: DevDeployment, users: list[User]) -> None:
    known, meant = secrets_of(deployment, users)
    (gateway,) = deployment.of_role("gateway")
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    placed = await asked(connection, users[0], "order.place", **ORDER)
    with pytest.raises(DoesNotHold, match="-1022") as refused:
        await asked(connection, users[0]._replace(secret=users[1].secret), "order.place", **ORDER)
    assert users[1].secret not in str(refused.value)
    await asked(connection, users[0], "order.cancel", symbol="BTCUSDT", orderId=str(placed["orderId"]))
    await connection.close()

    said = "".join([deployment.zerosum("config", "show", str(deployment.config)), *map(pages_of, deployment.services)])
    found = list(leaks("what services and commands say", said.encode(), known))
    found += leaks_of_processes([*own_pids(deployment), *(server.pid for server in deployment.servers.servers)], known)
    for service in reversed(deployment.services):
        await asyncio.to_thread(service.stop)
        assert service.exit_code == 0, service.last_words()
    for each in [*(service.data for service in deployment.services), deployment.folder / "secrets"]:
        below = str(each.relative_to(deployment.folder))
        own = {name.removeprefix(f"{below}/"): names for name, names in meant.items() if name.startswith(f"{below}/")}
        found += leaks_of_files(each, known, own)
    for path in (*deployment.folder.glob("*.log"), *(server.log for server in deployment.servers.servers), deployment.config):
        found += leaks(path.name, path.read_bytes(), known)
    assert found == []
    assert len(known) == 4 + 2 * len(ROLES) + len(SIGNING_ROLES) + 3 + len(users)  # and the keys of a broker, the database, the authority
    assert any("order" in path.read_text() or "ready" in path.read_text() for path in deployment.folder.glob("*.log"))


def pages_of(service: Service) -> str:
    said = ""
    for page in PAGES:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{service.ports()['operations']}/{page}", timeout=10) as answer:
                said += answer.read().decode()
        except urllib.error.HTTPError as error:  # not ready for a moment: what it says is looked at too
            said += error.read().decode()
    return said
