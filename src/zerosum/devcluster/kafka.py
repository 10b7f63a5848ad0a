"""
A Kafka broker that is its own controller (KRaft), one of one or of three.

    folder/server.properties   written anew at each start
    folder/data                formatted once, here: Kafka's own tool for that takes seconds, so what it made once is kept in the cache

Guarded, the broker speaks TLS, asks everybody who they are (SASL), and holds them to what they were granted (ACLs). ADMIN may do all.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from zerosum.devcluster import jars
from zerosum.devcluster.process import POLL_S, ServerFailed, dies_with_parent
from zerosum.devcluster.security import ADMIN, Admin, Guard
from zerosum.devcluster.server import Java, Program, Server

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

OPTIONS: Final = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC")
CHECKPOINT: Final = "00000000000000000000-0000000000.checkpoint"
READY_S: Final = 1.0
USERS_S: Final = 10.0
ITERATIONS: Final = 4096  # of SCRAM: the least there may be, and enough for passwords that are random

CONFIGURATION: Final = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENTS
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENTS://127.0.0.1:{port}
listener.security.protocol.map=CLIENTS:{protocol},CONTROLLER:{protocol}
log.dirs={data}

auto.create.topics.enable=false
unclean.leader.election.enable=false
default.replication.factor={replication}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replication}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1

# A broker that was killed is taken for dead soon, or its restart would wait for its old registration to run out.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000

# Small.
num.network.threads=2
num.io.threads=2
num.replica.fetchers=1
num.recovery.threads.per.data.dir=1
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=8388608
group.initial.rebalance.delay.ms=0
"""

SECURITY: Final = """
ssl.keystore.type=PEM
ssl.keystore.location={tls_file}
ssl.truststore.type=PEM
ssl.truststore.location={ca_file}
listener.name.clients.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.controller.sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
listener.name.clients.plain.sasl.jaas.config={plain}
listener.name.controller.plain.sasl.jaas.config={plain}
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
"""
PLAIN: Final = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="{password}" user_admin="{password}";'
)


class Node(NamedTuple):
    number: int
    port: int
    controller_port: int


def broker(node: Node, nodes: list[Node], folder: Path, cluster_id: str, java: Java, guard: Guard | None) -> Server:
    """One of `nodes`, in `folder`. Without `guard` it asks nobody who they are. ServerFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "server.properties"
    configuration.touch()
    configuration.chmod(0o600)
    configuration.write_text(configured(node, nodes, folder / "data", guard))
    if not (folder / "data").exists():
        format_disk(folder, node, cluster_id, java.library)
    return Server(
        f"Kafka broker {node.number}",
        program(java, configuration, guard),
        folder,
        node.port,
        partial(is_ready, f"127.0.0.1:{node.port}", len(nodes), guard),
    )


def program(java: Java, configuration: Path, guard: Guard | None) -> Program:
    options = (*OPTIONS, *java.options, f"-Dlog4j2.configurationFile=file:{jars.SERVERS / 'kafka' / 'log4j2.properties'}")
    name = "kafka" if guard is None else "kafka-guarded"  # it loads more classes
    return Program(name, java.library, options, (), "kafka.Kafka", (str(configuration),))


def configured(node: Node, nodes: list[Node], data: Path, guard: Guard | None = None) -> str:
    security = ""
    if guard is not None:
        security = SECURITY.format(plain=PLAIN.format(password=guard.admin.password), tls_file=guard.tls_file, ca_file=guard.admin.ca_file)
    return security + CONFIGURATION.format(
        protocol="SASL_SSL" if guard is not None else "PLAINTEXT",
        node=node.number, port=node.port, controller_port=node.controller_port, data=data, replication=len(nodes),
        in_sync=max(1, len(nodes) - 1), voters=",".join(f"{each.number}@127.0.0.1:{each.controller_port}" for each in nodes),
    )  # fmt: skip


def format_disk(folder: Path, node: Node, cluster_id: str, library: Path) -> None:
    draft = folder / "data.draft"
    shutil.rmtree(draft, ignore_errors=True)
    metadata = draft / "__cluster_metadata-0"
    metadata.mkdir(parents=True)
    shutil.copy(first_checkpoint(library), metadata / CHECKPOINT)
    (draft / "meta.properties").write_text(f"version=1\nnode.id={node.number}\ncluster.id={cluster_id}\ndirectory.id={new_id()}\n")
    draft.rename(folder / "data")


def first_checkpoint(library: Path) -> Path:
    """What a node's metadata begin with: the same for every node."""
    kept = library.parent / "first.checkpoint"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=library.parent) as draft:
            node = Node(1, 1, 2)
            configuration = Path(draft) / "server.properties"
            configuration.write_text(configured(node, [node], Path(draft) / "data"))
            command = [
                *dies_with_parent(), "java", "-XX:TieredStopAtLevel=1", "-cp", jars.class_path(library), "kafka.tools.StorageTool",
                "format", "-t", new_id(), "-c", str(configuration),
            ]  # fmt: skip
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode != 0:
                raise ServerFailed(f"Kafka could not format a disk:\n{done.stdout[-2000:]}")
            (Path(draft) / "data" / "__cluster_metadata-0" / CHECKPOINT).rename(kept)
    return kept


def new_id() -> str:
    """As Kafka writes a UUID."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def is_ready(server: str, brokers: int, guard: Guard | None) -> bool:
    """Whether it answers, and knows that all of them are there."""
    from confluent_kafka import KafkaException

    client = admin_client(server, guard.admin if guard is not None else None)
    try:
        return len(client.list_topics(timeout=READY_S).brokers) == brokers
    except KafkaException:
        return False


def make_users(servers: str, admin: Admin, passwords: dict[str, str]) -> None:
    """Let each of these users in with its password; done again, with another one. ServerFailed."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's own way to export them
        ScramCredentialInfo,
        ScramMechanism,
        UserScramCredentialAlteration,
        UserScramCredentialUpsertion,
    )

    client = admin_client(servers, admin)  # let go, it would take what is under way with it
    proof = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, proof, secret.encode()) for user, secret in passwords.items()
    ]
    try:
        for made in client.alter_user_scram_credentials(wanted).values():
            made.result(USERS_S)
    except KafkaException as error:
        raise ServerFailed(f"Kafka does not take its users: {error.args[0].str()}.") from error


def reload_certificates(servers: str, admin: Admin, broker: int, files: dict[str, Path]) -> None:
    """
    What stands in these files now, a keystore or a truststore, is for connections of clients that are made from now on. The broker does it
    somewhat later than it says; a truststore goes first. ServerFailed.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's own way to export them
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    client = admin_client(servers, admin)
    values = {f"ssl.{store}.{key}": value for store, file in files.items() for key, value in (("type", "PEM"), ("location", str(file)))}
    entries = [
        ConfigEntry(f"listener.name.clients.{name}", value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()
    ]
    wanted, deadline = ConfigResource(ResourceType.BROKER, str(broker), incremental_configs=entries), time.monotonic() + USERS_S
    while True:
        try:
            for done in client.incremental_alter_configs([wanted]).values():
                done.result(USERS_S)
        except KafkaException as error:  # a keystore by an authority that it has not loaded yet
            if time.monotonic() > deadline:
                raise ServerFailed(f"Kafka does not load its certificates anew: {error.args[0].str()}.") from error
        else:
            return
        time.sleep(POLL_S)


def admin_client(servers: str, admin: Admin | None) -> AdminClient:
    from confluent_kafka.admin import AdminClient

    own: dict[str, Any] = {"bootstrap.servers": servers, "log_level": 0, "allow.auto.create.topics": False}
    if admin is not None:
        own |= {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": ADMIN, "sasl.password": admin.password}
        own["ssl.ca.location"] = str(admin.ca_file)
    return AdminClient(own)
