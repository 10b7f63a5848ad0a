"""
The settings of a cluster's service, as the plain values that each part needs.
"""

from __future__ import annotations

import time
from pathlib import Path

from nacl.signing import SigningKey

from zerosum.cli.directory import master_key
from zerosum.cli.up import withdrawal_settings
from zerosum.errors import ConfigError
from zerosum.gateway.limits import Allowance
from zerosum.gateway.transport.bounds import RestBounds, WebSocketBounds
from zerosum.log.kafka.settings import KafkaSettings, Login
from zerosum.log.kafka.topics import Replication
from zerosum.ops.certificates import read_certificates
from zerosum.ops.secret_files import read_secret
from zerosum.ops.settings_model import Settings
from zerosum.services.cluster.control import Operators
from zerosum.services.cluster.front import FrontSettings
from zerosum.services.cluster.gateway import GatewaySettings
from zerosum.services.cluster.gateway_service import GatewayDoors
from zerosum.services.cluster.role import RoleSettings
from zerosum.services.cluster.role_snapshots import SnapshotSettings
from zerosum.services.cluster.shard_end import SendSettings
from zerosum.services.cluster.signing import Signers, signer_of
from zerosum.services.cluster.topology import Topology
from zerosum.settlement.cql.session import CqlLogin, CqlSettings


def topology_of(settings: Settings) -> Topology:
    return Topology(settings.cluster.shards, settings.cluster.partitions)


def kafka_settings(settings: Settings) -> KafkaSettings:
    """With the password and the certificates as they are in their files now. ConfigError."""
    kafka = settings.kafka
    login = None
    if kafka.user is not None and kafka.password_file is not None:
        login = Login(kafka.user, read_secret(kafka.password_file, "kafka.password_file"), kafka.mechanism)
    ca = read_certificates(kafka.ca_file, "kafka.ca_file") if kafka.ca_file is not None else None
    return KafkaSettings(",".join(kafka.servers), settings.cluster.name, kafka.delivery_s, login=login, ca=ca)


def replication_of(settings: Settings) -> Replication:
    return Replication(settings.kafka.replication, settings.kafka.in_sync)


def cql_settings(settings: Settings) -> CqlSettings:
    """With the password and the certificates as they are in their files now. ConfigError."""
    database = settings.database
    login = None
    if database.user is not None and database.password_file is not None:
        login = CqlLogin(database.user, read_secret(database.password_file, "database.password_file"))
    ca = read_certificates(database.ca_file, "database.ca_file") if database.ca_file is not None else None
    return CqlSettings(
        database.hosts, database.port, settings.cluster.name, database.consistency, database.local_dc, login=login, ca=ca
    )  # fmt: skip


def snapshot_settings(settings: Settings, role: str) -> SnapshotSettings:
    """Each role has a folder of its own."""
    return SnapshotSettings(role_folder(settings) / role, settings.cluster.snapshot_messages, settings.snapshots.keep)


def role_folder(settings: Settings) -> Path:
    return settings.data_directory / "snapshots"


def role_settings(settings: Settings, role: str, copy: int) -> RoleSettings:
    cluster = settings.cluster
    return RoleSettings(snapshot_settings(settings, role), cluster.patience_s, cluster.gather_s, copy)


def operators_of(settings: Settings) -> Operators:
    keys = dict(operator.split(":") for operator in settings.cluster.operators)
    return Operators({name: bytes.fromhex(key) for name, key in keys.items()}, settings.cluster.operators_needed)


def signers_of(settings: Settings) -> Signers | None:
    """Whose messages count; None: everybody's."""
    return Signers(map(signer_of, settings.cluster.signers)) if settings.cluster.signers else None


def signing_key(settings: Settings, role: str) -> SigningKey | None:
    """What the role's services sign with. ConfigError where it is not one of the signers."""
    if not settings.cluster.signers:
        return None
    file = settings.cluster.signing_key_file
    if file is None:
        raise ConfigError("cluster.signers is set, and cluster.signing_key_file is not: name the file of this service's key.")
    key = SigningKey(bytes.fromhex(read_secret(file, "cluster.signing_key_file")))
    mine = {signer.key: signer for signer in map(signer_of, settings.cluster.signers) if signer.role == role}
    signer = mine.get(bytes(key.verify_key))
    if signer is not None and 0 < signer.until_us <= time.time_ns() // 1_000:
        raise ConfigError(
            f"cluster.signing_key_file is {file}, which was good until {signer.until_us} us: what it signs does not count any more. Name"
            f" the file of the key that {role} has now."
        )
    if signer is None:
        raise ConfigError(
            f"cluster.signing_key_file is {file}, whose public half is none that cluster.signers has for {role}: what it signs would not"
            " count. Name another file, or put its line there."
        )
    return key


def front_settings(settings: Settings) -> FrontSettings:
    cluster = settings.cluster
    return FrontSettings(
        master_key=master_key(settings, makes=True),
        entry=GatewaySettings(SendSettings(cluster.gather_s, cluster.answer_s), cluster.pending_max, barrier_s=cluster.answer_s),
        wait_s=cluster.wait_s,
    )


def gateway_doors(settings: Settings) -> GatewayDoors:
    return GatewayDoors(
        rest=RestBounds.of(settings.rest),
        websocket=WebSocketBounds.of(settings.websocket),
        allowance=Allowance(**settings.allowance.model_dump()),
        trusted_proxies=frozenset(settings.gateway.trusted_proxies),
        withdrawals=withdrawal_settings(settings),
    )
