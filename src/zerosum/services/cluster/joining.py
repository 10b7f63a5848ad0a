"""
How a service joins its deployment: waits for Kafka and the database, and makes sure that they are the ones that belong to it.

    topics          as many partitions as the settings say, and set as the roles rely on (log/kafka/topics.py)
    the deployment  a row of the database: shards, partitions, the topics' ids when it was made
    data directory  deployment.json: the topics' ids when the service first ran there

Always true: a service does not run with topics, a database or snapshots that come from different deployments.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaException

from zerosum.errors import ZerosumError
from zerosum.log.disk import DirectoryLock, OsDisk
from zerosum.log.errors import LogInUse
from zerosum.log.kafka.settings import KafkaSettings, error_text
from zerosum.log.kafka.topics import Replication, Topics
from zerosum.services.cluster.topology import Topology
from zerosum.settlement.cql.schema import require_current
from zerosum.settlement.cql.session import CqlSettings, Session
from zerosum.settlement.row_store import StoreFailed

FILE: Final = "deployment.json"
LOCK: Final = "lock"
KAFKA: Final = "Kafka"
DATABASE: Final = "the database"
SETTINGS: Final = {
    KAFKA: "kafka.servers, kafka.user and kafka.ca_file (for TLS)",
    DATABASE: "database.hosts, database.port and database.ca_file (for TLS)",
}
RETRY_S: Final = 0.2
RETRY_S_MAX: Final = 5.0
EPOCH: Final = 1

INSERT: Final = "INSERT INTO deployment (id, shards, partitions, epoch, topics, made_us) VALUES (1, ?, ?, ?, ?, ?)"
SELECT: Final = "SELECT shards, partitions, epoch, topics FROM deployment WHERE id = 1"

T = TypeVar("T")
Report = Callable[[str], None]


class NotThere(ZerosumError):
    """What a service needs did not come."""


class DirectoryTaken(ZerosumError):
    """Another process has the data directory."""


class OtherDeployment(ZerosumError):
    """Two things do not belong together."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """`epoch`: see settlement/cql/store.py."""

    topology: Topology
    epoch: int
    topics: dict[str, str]


def partitions_by_topic(topology: Topology) -> dict[str, int]:
    return {
        "commands": topology.shards, "account-events": topology.shards, "orders": topology.partitions,
        "market-events": topology.partitions, "control": 1, "usage": 1,
    }  # fmt: skip


async def wait_for(what: str, ask: Callable[[], Awaitable[T]], limit_s: float, report: Report) -> T:
    """What `ask` returns, as soon as it does not fail for the other side's sake; NotThere after a while."""
    deadline, wait_s = time.monotonic() + limit_s, RETRY_S
    while True:
        try:
            return await ask()
        except (KafkaException, StoreFailed) as error:
            why = error_text(error.args[0]) if isinstance(error, KafkaException) else str(error)
        if time.monotonic() > deadline:
            raise NotThere(f"{what} did not come within {limit_s:g} s: {why} Start it, or see {SETTINGS[what]} in the settings.")
        report(f"waiting for {what}: {why}")
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, RETRY_S_MAX)


async def topics_of(
    settings: KafkaSettings, topology: Topology, replication: Replication, limit_s: float, report: Report
) -> dict[str, str]:  # fmt: skip
    """The ids of the deployment's topics. NotThere, KafkaRefused, TopicsWrong."""
    return await wait_for(KAFKA, Topics(settings, partitions_by_topic(topology), replication).check, limit_s, report)


async def database_of(
    settings: CqlSettings, topology: Topology, topics: dict[str, str], limit_s: float, report: Report
) -> tuple[Session, Deployment]:  # fmt: skip
    """The deployment's database. NotThere, DatabaseRefused, CqlSchemaWrong, OtherDeployment."""
    session = await wait_for(DATABASE, lambda: Session.connect(settings), limit_s, report)
    try:
        await require_current(session)
        found = await deployment_in(session)
        if found is None:
            raise OtherDeployment(f"The keyspace {settings.keyspace} belongs to no deployment yet: make one with `zerosum cluster init`.")
        check_same(found, Deployment(topology, found.epoch, topics), f"the keyspace {settings.keyspace}")
    except BaseException:
        await session.close()
        raise
    return session, found


async def deployment_in(session: Session) -> Deployment | None:
    rows = await session.execute(SELECT)
    if not rows:
        return None
    shards, partitions, epoch, topics = rows[0]
    return Deployment(Topology(shards, partitions), epoch, topics)


async def found_deployment(session: Session, topology: Topology, topics: dict[str, str]) -> Deployment:
    """What is written once, when a deployment is made. OtherDeployment."""
    found = await deployment_in(session)
    if found is None:
        found = Deployment(topology, EPOCH, topics)
        await session.execute(INSERT, (topology.shards, topology.partitions, EPOCH, topics, time.time_ns() // 1000))
    check_same(found, Deployment(topology, found.epoch, topics), f"the keyspace {session.settings.keyspace}")
    return found


def check_same(found: Deployment, wanted: Deployment, where: str) -> None:
    if found.topology != wanted.topology:
        raise OtherDeployment(
            f"{where} is of a deployment with {found.topology.shards} shards and {found.topology.partitions} partitions; the settings have"
            f" {wanted.topology.shards} and {wanted.topology.partitions}. They can't be changed: set them back, or make another deployment."
        )
    if found.topics != wanted.topics:
        raise OtherDeployment(
            f"{where} was written from other topics than those in Kafka now, of the same names: put back the topics that belong to it, or"
            " name another deployment (cluster.name)."
        )


def take_directory(folder: Path, topics: dict[str, str]) -> DirectoryLock:
    """For this process alone. A service's snapshots are of its topics. OtherDeployment, DirectoryTaken."""
    disk = OsDisk()
    disk.make_directory(folder)
    try:
        held = disk.lock(folder / LOCK)
    except LogInUse as error:
        raise DirectoryTaken(f"{folder} is the data directory of process {error.pid}, which runs: name another one for this.") from error
    try:
        check_directory(folder, topics, disk)
    except BaseException:
        held.release()
        raise
    return held


def check_directory(folder: Path, topics: dict[str, str], disk: OsDisk) -> None:
    """OtherDeployment."""
    path = folder / FILE
    if not path.exists():
        draft = path.with_name(f"{FILE}.draft")
        draft.unlink(missing_ok=True)
        file = disk.create(draft)
        file.pwrite(json.dumps({"topics": topics}).encode(), 0)
        file.sync()
        file.close()
        disk.rename(draft, path)
        disk.sync_directory(folder)
    found: dict[str, Any] = json.loads(path.read_text())
    if found["topics"] != topics:
        raise OtherDeployment(
            f"{folder} has the state of another deployment, whose topics had the same names: name another data directory, or move that one"
            " away."
        )
