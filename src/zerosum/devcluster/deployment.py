"""
A whole cluster on this machine: the servers, and every service as a process.

    servers --> topics and schema --> ubscore --> settlement --> matching --> auditor --> gateways          stopped the other way round

    folder/servers        see cluster.py           folder/zerosum.toml   the settings of all services
    folder/secrets        the password of each role's user of Kafka and of the database, and what it signs with
    folder/admin1 ...     data directories: `zerosum account open 1001 --data folder/admin1`
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from nacl.signing import SigningKey

from zerosum.devcluster.cluster import DevCluster
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.process import ServerFailed, clean_environment, dies_with_parent
from zerosum.devcluster.security import ADMIN, secret_in
from zerosum.devcluster.server import Server
from zerosum.devcluster.services import Service
from zerosum.log.kafka.settings import KafkaSettings, Login, user_of
from zerosum.settlement.cql.session import CqlLogin, CqlSettings, role_of

NAME: Final = "zerosum"  # of the deployment
SIGNING_ROLES: Final = ("ubscore", "matching", "gateway", "admin")
ROLES: Final = ("ubscore", "settlement", "matching", "auditor", "gateway", "admin")

SETTINGS: Final = """\
# Written by zerosum, at each start of this development cluster.
master_key_file = "{master_key}"

[cluster]
shards = {shards}
partitions = {partitions}
signers = [{signers}]

[kafka]
servers = [{kafka}]
user = "{user}"  # a service goes by a user of its own: see its environment
password_file = "{kafka_password_file}"
ca_file = "{ca_file}"
replication = {replication}
in_sync = {in_sync}

[database]
port = {cql_port}
user = "{user}"
password_file = "{database_password_file}"
ca_file = "{ca_file}"
replication = 1

[logging]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """
    `copies`: of UBSCore and of matching; those past the first stand by. `settings`: more lines of TOML. `lasts`: see DevCluster.
    """

    shards: int = 2
    partitions: int = 2
    gateways: int = 1
    copies: int = 1
    brokers: int = 1
    audits: bool = True
    consoles: int = 1
    settings: str = ""
    lasts: bool = False


@final
class DevDeployment:
    """To be started in a process's main thread: see process.py."""

    def __init__(self, folder: Path, shape: Shape | None = None, report: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder.absolute()
        self.shape = shape or Shape()
        self.config = self.folder / "zerosum.toml"
        self.master_key = self.folder / "master.key"
        self._report = report
        self.servers = DevCluster(self.folder / "servers", self.shape.brokers, report, guarded=True, lasts=self.shape.lasts)
        self.services = list(self._services())

    def _services(self) -> Iterator[Service]:
        """In the order in which they are started."""
        for role, copies in (("ubscore", self.shape.copies), ("settlement", 1), ("matching", self.shape.copies)):
            for number in range(1, copies + 1):
                yield self._service(role, number, ("--copy", str(number)) if role != "settlement" else ())
        if self.shape.audits:
            yield self._service("auditor", 1)
        for number in range(1, self.shape.gateways + 1):
            yield self._service("gateway", number)
        for number in range(1, self.shape.consoles + 1):
            yield self._service("admin", number)

    def _service(self, role: str, number: int, options: tuple[str, ...] = ()) -> Service:
        return Service(f"{role}{number}", role, self.folder, self.config, options, self.environment(role))

    def environment(self, role: str) -> dict[str, str]:
        """What makes a service a role's: whom Kafka and the database let do what that role does, and what it signs with."""
        found = {
            "ZEROSUM_KAFKA_USER": user_of(NAME, role), "ZEROSUM_KAFKA_PASSWORD_FILE": str(self.password_file(user_of(NAME, role))),
            "ZEROSUM_DATABASE_USER": role_of(NAME, role),
            "ZEROSUM_DATABASE_PASSWORD_FILE": str(self.password_file(role_of(NAME, role))),
        }  # fmt: skip
        if role in SIGNING_ROLES:
            found["ZEROSUM_CLUSTER_SIGNING_KEY_FILE"] = str(self._signing_key_file(role))
        return found

    def kafka_settings(self, role: str | None = None) -> KafkaSettings:
        """As a role's user reaches Kafka, or as the admin."""
        admin = self.servers.security.kafka
        user = ADMIN if role is None else user_of(NAME, role)
        login = Login(user, admin.password if role is None else secret_in(self.password_file(user)))
        return KafkaSettings(self.servers.kafka_servers, NAME, login=login, ca=admin.ca_file.read_text())

    def cql_settings(self, role: str | None = None) -> CqlSettings:
        """As a role reaches the database, or as the admin."""
        admin = self.servers.security.database
        user = ADMIN if role is None else role_of(NAME, role)
        login = CqlLogin(user, admin.password if role is None else secret_in(self.password_file(user)))
        return CqlSettings((HOST,), self.servers.cql_port, NAME, login=login, ca=admin.ca_file.read_text())

    def password_file(self, user: str) -> Path:
        """Of a role's user of Kafka, or its role of the database."""
        return self.folder / "secrets" / f"{user}.password"

    def _signing_key_file(self, role: str) -> Path:
        return self.folder / "secrets" / f"{role}.signing"

    def _signers(self) -> str:
        """Of each role the public half of its key, as TOML has a list."""
        lines = []
        for role in SIGNING_ROLES:
            key = SigningKey(bytes.fromhex(secret_in(self._signing_key_file(role))))
            lines.append(f'"{role}:{bytes(key.verify_key).hex()}"')
        return ", ".join(lines)

    @property
    def processes(self) -> list[Service | Server]:
        """All that run."""
        return [*self.services, *self.servers.servers]

    def service(self, name: str) -> Service:
        return next(each for each in self.services if each.name == name)

    def of_role(self, role: str) -> list[Service]:
        return [each for each in self.services if each.role == role]

    @contextmanager
    def running(self, *, keeps: bool = True) -> Iterator[DevDeployment]:
        """`keeps`: what they hold is to be gone on from, so all are stopped cleanly. ServerFailed, JarsMissing, FolderTaken."""
        try:
            self.start()
            yield self
        finally:
            if keeps:
                self.stop()
            else:
                self.kill()

    def start(self) -> None:
        """Returns when all of them serve."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.servers.start()
        self.servers.make_users(self._passwords(user_of), self._passwords(role_of))
        self._write_settings()
        self._report("making topics and tables ...")
        self.zerosum("cluster", "init", "--config", str(self.config))
        for service in self.services:
            self._report(f"starting {service.name} ...")
            service.start()
        for service in self.services:
            service.wait()

    def _passwords(self, user_of_role: Callable[[str, str], str]) -> dict[str, str]:
        users = [user_of_role(NAME, role) for role in ROLES]
        return {user: secret_in(self.password_file(user)) for user in users}

    def stop(self) -> None:
        for service in reversed(self.services):
            service.stop()
        self.servers.stop()

    def kill(self) -> None:
        for service in reversed(self.services):
            service.kill()
        self.servers.kill()

    def zerosum(self, *arguments: str, can_fail: bool = False) -> str:
        """A command of the command line; what it printed. ServerFailed, with its words, unless it `can_fail` and printed something."""
        command = [*dies_with_parent(), sys.executable, "-m", "zerosum.cli.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
        if done.returncode != 0 and not (can_fail and done.stdout):
            raise ServerFailed(f"`zerosum {' '.join(arguments)}` ended with exit code {done.returncode}:\n{done.stderr.strip()}")
        return done.stdout

    def _write_settings(self) -> None:
        secret_in(self.master_key)
        shape, security = self.shape, self.servers.security
        text = SETTINGS.format(
            signers=self._signers(),
            master_key=self.master_key, shards=shape.shards, partitions=shape.partitions, replication=shape.brokers,
            user=ADMIN, kafka_password_file=security.kafka_password_file, database_password_file=security.database_password_file,
            ca_file=security.ca_file, in_sync=max(1, shape.brokers - 1), cql_port=self.servers.cql_port,
            kafka=", ".join(f'"{server}"' for server in self.servers.kafka_servers.split(",")),
        )  # fmt: skip
        self.config.write_text(text + shape.settings)
