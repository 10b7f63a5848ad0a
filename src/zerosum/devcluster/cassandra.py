"""
One Cassandra node, which stands in for ScyllaDB: the same CQL.

    folder/cassandra.yaml   written anew at each start
    folder/data             what must not be lost

A write is answered once it is in the log on disk (`commitlog_sync: group`): by default it is up to ten seconds later.
"""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from zerosum.devcluster import jars
from zerosum.devcluster.server import Java, Program, Server

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
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
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

OPTIONS: Final = (
    "-Xms256m", "-Xmx1g", "-Xss512k", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true", "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true", "-Dcassandra-foreground=yes", "-Dcassandra.initial_token=0",
    # A node that is alone waits for nobody.
    "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=0", "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dcassandra.memtable.row_overhead_size=180",  # it is measured at each start otherwise
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


def node(folder: Path, ports: Ports, java: Java) -> Server:
    data = folder / "data"
    (folder / "triggers").mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    configuration = folder / "cassandra.yaml"
    configuration.write_text(CONFIGURATION.format(data=data, port=ports.cql, storage_port=ports.storage))
    # The options of all nodes are the same: an archive of classes is good for those that it was made with.
    arguments = (
        f"-Dcassandra.config=file:{configuration}", f"-Dcassandra.storagedir={data}", f"-Dcassandra.triggers_dir={folder / 'triggers'}",
        f"-Dcassandra.jmx.local.port={ports.jmx}",
    )  # fmt: skip
    return Server("Cassandra", program(java, arguments), folder, ports.cql, partial(is_ready, ports.cql))


def program(java: Java, own: tuple[str, ...]) -> Program:
    options = (
        *OPTIONS, *java.options,
        *(f"--add-exports={each}=ALL-UNNAMED" for each in EXPORTED), *(f"--add-opens={each}=ALL-UNNAMED" for each in OPENED),
        f"-Dlogback.configurationFile=file:{jars.SERVERS / 'cassandra' / 'logback.xml'}",
    )  # fmt: skip
    return Program("cassandra", java.library, options, own, "org.apache.cassandra.service.CassandraDaemon")


def is_ready(port: int) -> bool:
    """Whether it answers a request, and does not only listen."""
    try:
        with socket.create_connection(("127.0.0.1", port), READY_S) as connection:
            connection.sendall(OPTIONS_REQUEST)
            head = connection.recv(9)
    except OSError:
        return False
    return len(head) == len(OPTIONS_REQUEST) and head[4] == SUPPORTED
