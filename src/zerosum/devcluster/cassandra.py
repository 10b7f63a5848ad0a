"""
One Cassandra node, which stands in for ScyllaDB: the same CQL.

    folder/cassandra.yaml   written anew at each start
    folder/data             what must not be lost

Guarded, it speaks TLS, asks everybody who they are, and holds them to what they were granted. ADMIN may do everything; the one who may
everything in every new Cassandra, by a password that everybody knows, is dropped.

A write is answered once it is in the log on disk (`commitlog_sync: group`): by default it is up to ten seconds later.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from zerosum.devcluster import jars
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.process import ServerFailed, dies_with_parent
from zerosum.devcluster.security import ADMIN, Admin, Guard
from zerosum.devcluster.server import Java, Program, Server

if TYPE_CHECKING:
    from zerosum.settlement.cql.session import CqlSettings, Session

READY_S: Final = 2.0
OPTIONS_REQUEST: Final = bytes((4, 0, 0, 0, 5, 0, 0, 0, 0))  # CQL protocol 4: a frame of OPTIONS
SUPPORTED: Final = 6

CONFIGURATION: Final = """\
cluster_name: zerosum
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
num_tokens: 1
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1:{storage_port}"
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: {storage_port}
native_transport_port: {port}
{security}
auto_bootstrap: false
hinted_handoff_enabled: false
auto_snapshot: false

data_file_directories: [{data}/data]
commitlog_directory: {data}/commitlog
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc_raw
commitlog_sync: group
commitlog_sync_group_window: 2ms
disk_failure_policy: die
commit_failure_policy: die

# Small.
commitlog_segment_size: 4MiB
commitlog_total_space: 256MiB
memtable_heap_space: 256MiB
memtable_offheap_space: 64MiB
file_cache_enabled: false
file_cache_size: 32MiB
networking_cache_size: 32MiB
key_cache_size: 8MiB
row_cache_size: 0MiB
counter_cache_size: 0MiB
concurrent_reads: 4
concurrent_writes: 16
concurrent_counter_writes: 2
concurrent_compactors: 1
compaction_throughput: 0MiB/s
batch_size_warn_threshold: 49KiB
user_defined_functions_enabled: false
storage_compatibility_mode: NONE
"""

UNGUARDED: Final = """\
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer\
"""
GUARDED: Final = """\
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: false
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: {tls_file}\
"""
LOGBACK: Final = jars.SERVERS / "cassandra" / "logback.xml"
FIRST_USER: Final = "cassandra"  # made by a node that knows nobody yet, with this as its password too
USERS_S: Final = 60.0
USERS_POLL_S: Final = 0.05

OPTIONS: Final = (
    "-Xms256m", "-Xmx1g", "-Xss512k", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true", "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true", "-Dcassandra-foreground=yes", "-Dcassandra.initial_token=0",
    # A node that is alone waits for nobody.
    "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=0", "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dcassandra.memtable.row_overhead_size=180",  # it is measured at each start otherwise
    "-Dcassandra.auth_bcrypt_gensalt_log2_rounds=4",  # enough for passwords that are random
)  # fmt: skip

# What Cassandra reaches of Java's own modules: from its documentation for Java 17.
EXPORTED: Final = (
    "java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch", "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp", "java.sql/java.sql", "jdk.unsupported/sun.misc",
)  # fmt: skip
OPENED: Final = (
    "java.base/java.io", "java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect", "java.base/java.math",
    "java.base/java.net", "java.base/java.nio", "java.base/java.util", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/jdk.internal.loader", "java.base/jdk.internal.math",
    "java.base/jdk.internal.module", "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect", "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch", "jdk.management/com.sun.management.internal",
)  # fmt: skip


class Ports(NamedTuple):
    """Of clients, of other nodes, of Java's own management."""

    cql: int
    storage: int
    jmx: int


def node(folder: Path, ports: Ports, java: Java, guard: Guard | None) -> Server:
    """In `folder`. Without `guard` it asks nobody who they are."""
    data = folder / "data"
    (folder / "triggers").mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    configuration = folder / "cassandra.yaml"
    security = GUARDED.format(tls_file=guard.tls_file) if guard is not None else UNGUARDED
    configuration.write_text(CONFIGURATION.format(data=data, port=ports.cql, storage_port=ports.storage, security=security))
    # The options of all nodes are the same: an archive of classes is good for those that it was made with.
    arguments = (
        f"-Dcassandra.config=file:{configuration}", f"-Dcassandra.storagedir={data}", f"-Dcassandra.triggers_dir={folder / 'triggers'}",
        f"-Dcassandra.jmx.local.port={ports.jmx}",
    )  # fmt: skip
    return Server("Cassandra", program(java, arguments, guard), folder, ports.cql, partial(is_ready, ports.cql, guard))


def program(java: Java, own: tuple[str, ...], guard: Guard | None) -> Program:
    options = (
        *OPTIONS, *java.options, *reached(), f"-Dlogback.configurationFile=file:{LOGBACK}",
    )  # fmt: skip
    name = "cassandra" if guard is None else "cassandra-guarded"  # it loads more classes
    return Program(name, java.library, options, own, "org.apache.cassandra.service.CassandraDaemon")


def reached() -> list[str]:
    return [*(f"--add-exports={each}=ALL-UNNAMED" for each in EXPORTED), *(f"--add-opens={each}=ALL-UNNAMED" for each in OPENED)]


def is_ready(port: int, guard: Guard | None) -> bool:
    """Whether it answers a request, and does not only listen."""
    try:
        with ExitStack() as undo:
            connection = undo.enter_context(socket.create_connection(("127.0.0.1", port), READY_S))
            if guard is not None:
                context = ssl.create_default_context(cafile=guard.admin.ca_file)
                connection = undo.enter_context(context.wrap_socket(connection, server_hostname="127.0.0.1"))
            connection.sendall(OPTIONS_REQUEST)
            head = connection.recv(9)
    except OSError:
        return False
    return len(head) == len(OPTIONS_REQUEST) and head[4] == SUPPORTED


def reload_certificates(folder: Path, java: Java, jmx_port: int) -> None:
    """What stands in its file now is for connections that are made from now on. ServerFailed."""
    command = [
        *dies_with_parent(), "java", "-XX:TieredStopAtLevel=1", *reached(), f"-Duser.home={folder}", f"-Dcassandra.storagedir={folder}",
        f"-Dlogback.configurationFile=file:{LOGBACK}", "-cp", jars.class_path(java.library),
        "org.apache.cassandra.tools.NodeTool", "-h", HOST, "-p", str(jmx_port), "reloadssl",
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"Cassandra does not load its certificate anew:\n{done.stdout[-2000:]}")


def make_users(port: int, admin: Admin, passwords: dict[str, str]) -> None:
    """Let each of these roles in with its password, and ADMIN; done again, with another one. ServerFailed, StoreFailed."""
    asyncio.run(_make_users(port, admin, passwords))


async def _make_users(port: int, admin: Admin, passwords: dict[str, str]) -> None:

    session = await _admitted(port, admin)
    try:
        await session.run(f"DROP ROLE IF EXISTS {FIRST_USER}")
        known = {role for role, *_ in await session.run("LIST ROLES")}
        for name, password in passwords.items():
            verb = "ALTER" if name in known else "CREATE"
            await session.run(f"{verb} ROLE \"{name}\" WITH LOGIN = true AND PASSWORD = '{password}'")
    finally:
        await session.close()


async def _admitted(port: int, admin: Admin) -> Session:
    """As ADMIN, who is made at the first start by FIRST_USER. That one is made some time after the node begins to answer."""
    from zerosum.settlement.cql.session import DatabaseRefused, Session

    first, deadline = cql_settings(port, admin._replace(password=FIRST_USER), FIRST_USER), time.monotonic() + USERS_S
    while True:
        try:
            return await Session.connect(cql_settings(port, admin), keyspace=False)
        except DatabaseRefused as error:
            if time.monotonic() > deadline:
                raise ServerFailed(f"Cassandra lets neither {ADMIN} nor {FIRST_USER} in: {error}") from error
        try:
            session = await Session.connect(first, keyspace=False)
            await session.run(f"CREATE ROLE {ADMIN} WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '{admin.password}'")
            await session.close()
        except DatabaseRefused:
            await asyncio.sleep(USERS_POLL_S)


def cql_settings(port: int, admin: Admin, user: str = ADMIN) -> CqlSettings:
    from zerosum.settlement.cql.session import CqlLogin, CqlSettings

    return CqlSettings((HOST,), port, login=CqlLogin(user, admin.password), ca=admin.ca_file.read_text())
