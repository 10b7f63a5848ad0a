"""A real Kafka and a real Cassandra for the tests of this folder, once in each process that runs some."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from zerosum.devcluster.cluster import DevCluster
from zerosum.devcluster.ports import HOST
from zerosum.log.kafka.settings import KafkaSettings
from zerosum.settlement.cql.session import CqlSettings


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    with DevCluster(tmp_path_factory.mktemp("servers")).running(keeps=False) as found:
        yield found


@pytest.fixture
def kafka(servers: DevCluster) -> KafkaSettings:
    """With names of topics that no other test has."""
    return KafkaSettings(servers.kafka_servers, f"t{secrets.token_hex(4)}", delivery_s=5.0)


@pytest.fixture
def cql(servers: DevCluster) -> CqlSettings:
    """With a keyspace that no other test has."""
    return CqlSettings((HOST,), servers.cql_port, f"t{secrets.token_hex(4)}")
