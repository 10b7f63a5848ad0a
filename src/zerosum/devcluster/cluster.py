"""
The servers together: brokers and the database of one folder.

    folder/kafka1 ... kafkaN   folder/cassandra    what each keeps, and what it said
    folder/plan.json                               where they listen: the same at the next start, if nobody else is there then

    with DevCluster(folder, brokers=1).running() as servers:
        servers.kafka_servers, servers.cql_port
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, final

from zerosum.devcluster import cassandra, jars, kafka
from zerosum.devcluster.ports import HOST, free_ports, is_free
from zerosum.devcluster.security import ADMIN, TLS, Security, certify, wait_for_certificate
from zerosum.devcluster.server import SHORT_LIVED, Java, Server
from zerosum.errors import ZerosumError
from zerosum.net.authority import DevAuthority, write_private

LOCK: Final = "lock"
PORTS_OF_BROKER: Final = 2
PORTS_OF_DATABASE: Final = 3


class FolderTaken(ZerosumError):
    """Other servers run in the folder, or it was made for other ones."""


class Plan(NamedTuple):
    """`ports`: of each broker, for clients and for its controller, and then the database's."""

    cluster_id: str
    ports: list[int]


@final
class DevCluster:
    """
    `servers`: the brokers, then the database. `guarded`: they speak TLS, ask everybody who they are, and hold them to what they may: see
    security.py. `lasts`: they are to be quick after a while, and not at once. To be started in a process's main thread: see process.py.
    """

    def __init__(
        self, folder: Path, brokers: int = 1, report: Callable[[str], None] = lambda line: None, *, guarded: bool = False,
        lasts: bool = False,
    ) -> None:  # fmt: skip
        self.folder = folder.absolute()
        self._guarded = guarded
        self._options = () if lasts else SHORT_LIVED
        self._count = brokers
        self._report = report
        self._lock: IO[str] | None = None
        self.brokers: list[Server] = []
        self.database: Server
        self.security: Security  # of those that are guarded

    @property
    def servers(self) -> list[Server]:
        return [*self.brokers, self.database]

    @property
    def kafka_servers(self) -> str:
        """As clients of Kafka take them."""
        return ",".join(f"{HOST}:{broker.port}" for broker in self.brokers)

    @property
    def cql_port(self) -> int:
        return self.database.port

    @contextmanager
    def running(self, *, keeps: bool = True) -> Iterator[DevCluster]:
        """`keeps`: what they hold is to be gone on from, so they are stopped cleanly. ServerFailed, JarsMissing, FolderTaken."""
        with ExitStack() as undo:
            undo.callback(self.stop if keeps else self.kill)
            self.start()
            yield self

    def start(self) -> None:
        """All of them at once; returns when they serve."""
        self._take_folder()
        javas = {name: Java(jars.fetched(name, self._report), self._options) for name in ("kafka", "cassandra")}
        plan = self._plan()
        ports = iter(plan.ports)
        if self._guarded:
            self.security = Security(self.folder)
        nodes = [kafka.Node(number, next(ports), next(ports)) for number in range(1, self._count + 1)]
        self.brokers = [self._broker(node, nodes, plan, javas["kafka"]) for node in nodes]
        folder = self.folder / "cassandra"
        guard = self.security.of_database(folder) if self._guarded else None
        self._database_ports = cassandra.Ports(*ports)
        self.database = cassandra.node(folder, self._database_ports, javas["cassandra"], guard)
        for server in self.servers:
            self._report(f"starting {server.name} on port {server.port} ...")
            server.start()
        for server in self.servers:
            server.wait()
        if self._guarded:
            self.make_users({}, {})

    def _broker(self, node: kafka.Node, nodes: list[kafka.Node], plan: Plan, java: Java) -> Server:
        folder = self.folder / f"kafka{node.number}"
        guard = self.security.of_broker(folder) if self._guarded else None
        return kafka.broker(node, nodes, folder, plan.cluster_id, java, guard)

    def make_users(self, kafka_passwords: dict[str, str], database_passwords: dict[str, str]) -> None:
        """By name; done again, with other passwords. ServerFailed."""
        kafka.make_users(self.kafka_servers, self.security.kafka, {ADMIN: self.security.kafka.password, **kafka_passwords})
        cassandra.make_users(self.cql_port, self.security.database, database_passwords)

    def renew_certificates(self, authority: DevAuthority) -> None:
        """Of all servers, while they run, by an authority that `security.ca_file` has, beside the one before. ServerFailed."""
        for number in range(1, self._count + 1):
            kafka.reload_certificates(self.kafka_servers, self.security.kafka, number, {"truststore": self.security.ca_file})
        for number, broker in enumerate(self.brokers, start=1):
            folder = self.folder / f"kafka{number}"
            # In another file: a broker that finds both changed does not believe the one by the other.
            fresh = folder / f"tls-{secrets.token_hex(4)}.pem"
            certify(authority, folder.name, fresh)
            kafka.reload_certificates(self.kafka_servers, self.security.kafka, number, {"keystore": fresh})
            wait_for_certificate(broker.port, authority)
            write_private(folder / TLS, fresh.read_bytes())  # for its next start
        folder = self.folder / "cassandra"
        certify(authority, folder.name, folder / TLS)
        cassandra.reload_certificates(folder, Java(jars.fetched("cassandra")), self._database_ports.jmx)
        wait_for_certificate(self.cql_port, authority)

    def stop(self) -> None:
        """Cleanly, all at once."""
        for server in self._started():
            server.signal(signal.SIGTERM)
        for server in self._started():
            server.stop()
        self._leave_folder()

    def kill(self) -> None:
        for server in self._started():
            server.kill()
        self._leave_folder()

    def _started(self) -> list[Server]:
        return [*self.brokers, self.database] if self.brokers else []

    # ------------------------------------------------------------------ the folder

    def _take_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise FolderTaken(
                f"Process {holder(self.folder)} runs servers in {self.folder} already. End it, by Ctrl-C where it was started, or, if that"
                f" was `devcluster up`, by `zerosum devcluster down --folder {self.folder}`; or name another folder."
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _leave_folder(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _plan(self) -> Plan:
        """What was decided when the folder was made; the ports anew where others listen there now."""
        path = self.folder / "plan.json"
        count = PORTS_OF_BROKER * self._count + PORTS_OF_DATABASE
        plan = Plan(**json.loads(path.read_text())) if path.exists() else Plan(kafka.new_id(), free_ports(count))
        if len(plan.ports) != count:
            raise FolderTaken(
                f"{self.folder} has the data of {(len(plan.ports) - PORTS_OF_DATABASE) // PORTS_OF_BROKER} brokers, not of {self._count}:"
                " name another folder, or remove that one."
            )
        if not all(map(is_free, plan.ports)):
            plan = plan._replace(ports=free_ports(count))
        path.write_text(json.dumps(plan._asdict()))
        return plan


def holder(folder: Path) -> int:
    """The process that holds the servers of a folder; 0 where none runs."""
    try:
        with (folder / LOCK).open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0)
    except FileNotFoundError:
        pass
    return 0
