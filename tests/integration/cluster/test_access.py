"""
Who may read and write where, held by a real broker and a real database: each role does its work with its own user, and none does another's.
"""

from __future__ import annotations

import asyncio
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library's own way to export them
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from zerosum.bench.client import WebSocketConnection
from zerosum.bench.cluster.asking import asked
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.devcluster.deployment import NAME, ROLES, SIGNING_ROLES, DevDeployment, Shape
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.process import ServerFailed
from zerosum.devcluster.services import Service
from zerosum.identity.cql import CqlDocuments
from zerosum.identity.documents import Changed, DocumentsFailed, Stored
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.kafka.settings import KafkaSettings, Login
from zerosum.log.kafka.topics import KafkaRefused, Replication, Topics
from zerosum.log.messages import pack
from zerosum.log.streams import DeliveryFailed
from zerosum.net.authority import DevAuthority
from zerosum.services.cluster.access import READS, TABLES_READ, TABLES_WRITTEN, WRITES
from zerosum.settlement.cql.grants import TableAccess, TableGrants
from zerosum.settlement.cql.session import CqlLogin, CqlSettings, DatabaseRefused, Session
from zerosum.settlement.row_store import StoreFailed

TOPICS = ("commands", "account-events", "orders", "market-events", "control", "usage")
REFUSED = "authorization failed"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevDeployment]:
    with DevDeployment(tmp_path_factory.mktemp("access"), Shape(shards=1, partitions=1, consoles=1)).running(keeps=False) as found:
        yield found


async def write(deployment: DevDeployment, role: str, topic: str) -> None:
    """A message with nothing in it, which every reader passes by. DeliveryFailed."""
    link = KafkaLink(deployment.kafka_settings(role), lambda line: None)
    try:
        await link.stream(f"{topic}.0").writer().append(pack(b""))
    finally:
        await link.close()


async def test_every_role_does_its_work_with_its_own_user(deployment: DevDeployment) -> None:
    users = await found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM)
    (gateway,) = deployment.of_role("gateway")
    connection = await WebSocketConnection.open(HOST, gateway.ports()["websocket"])
    order = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90.00"}
    await asked(connection, users[0], "order.place", **order, side="BUY")
    sold = await asked(connection, users[1], "order.place", **order, side="SELL")
    await connection.close()
    assert sold["status"] == "FILLED"
    audit = json.loads(deployment.zerosum("cluster", "audit", "--config", str(deployment.config), "--json"))
    assert audit["holds"], audit
    assert {role for role in ROLES for line in [deployment.of_role(role)[0].said()] if "authorization" in line.lower()} == set()


@pytest.mark.parametrize("role", ["gateway", "matching", "settlement", "auditor"])
async def test_nobody_but_ubscore_can_write_orders(deployment: DevDeployment, role: str) -> None:
    with pytest.raises(DeliveryFailed, match=REFUSED):
        await write(deployment, role, "orders")


async def test_ubscore_can(deployment: DevDeployment) -> None:
    await write(deployment, "ubscore", "orders")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_can_write_what_it_writes_and_nothing_else(deployment: DevDeployment, role: str) -> None:
    assert READS.keys() == {*ROLES}
    for topic in {*TOPICS} - {*WRITES.get(role, ())}:
        with pytest.raises(DeliveryFailed, match=REFUSED):
            await write(deployment, role, topic)


def test_who_else_may_write_is_told(deployment: DevDeployment) -> None:
    client = AdminClient(deployment.kafka_settings().common(lambda text: None))
    mallory = AclBinding(
        ResourceType.TOPIC, "zerosum.", ResourcePatternType.PREFIXED, "User:mallory", "*", AclOperation.WRITE, AclPermissionType.ALLOW
    )  # fmt: skip
    for made in client.create_acls([mallory]).values():
        made.result(10)
    said = deployment.zerosum("cluster", "init", "--config", str(deployment.config))
    assert "attention: User:mallory may write to zerosum.orders, and is none of them" in said
    assert "grants made for the users zerosum-<role>: none, all are there" in said


# ------------------------------------------------------------------ the database


async def columns_of(session: Session) -> dict[str, dict[str, str]]:
    """The type of each column, by table; keys first."""
    rows = await session.run(f"SELECT table_name, column_name, type, kind FROM system_schema.columns WHERE keyspace_name = '{NAME}'")  # noqa: S608  names of our own
    found: dict[str, dict[str, str]] = {}
    for table, column, kind, part in sorted(rows, key=lambda row: row[3] == "regular"):
        found.setdefault(table, {})[column] = kind if part != "regular" else f"{kind} regular"
    return found


def deletion(table: str, columns: dict[str, str]) -> str:
    """Of a row that there is not: a write all the same."""
    keys = [(column, kind) for column, kind in columns.items() if not kind.endswith("regular")]
    where = " AND ".join(f"{column} = {'$$nobody$$' if kind == 'text' else -1}" for column, kind in keys)
    return f"DELETE FROM {table} WHERE {where}"  # noqa: S608  names of our own


async def is_allowed(session: Session, statement: str) -> bool:
    try:
        await session.run(statement)
    except StoreFailed as error:
        if "refuses it" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_can_do_with_each_table_what_it_was_granted_and_nothing_else(deployment: DevDeployment, role: str) -> None:
    admin = await Session.connect(deployment.cql_settings())
    tables = await columns_of(admin)
    await admin.close()
    assert len(tables) > 20
    session = await Session.connect(deployment.cql_settings(role))
    try:
        read = [table for table in sorted(tables) if await is_allowed(session, f"SELECT * FROM {table} LIMIT 1")]  # noqa: S608  names of our own
        written = [table for table, columns in sorted(tables.items()) if await is_allowed(session, deletion(table, columns))]
        others = [f"DROP TABLE {table}" for table in tables] + [f"TRUNCATE {table}" for table in tables if table not in written]
        others += ["CREATE TABLE mine (a int PRIMARY KEY)", "CREATE ROLE mine", f'GRANT MODIFY ON KEYSPACE {NAME} TO "{NAME}_{role}"']
        assert [statement for statement in others if await is_allowed(session, statement)] == []
    finally:
        await session.close()
    assert read == sorted(TABLES_READ.get(role, ()))
    assert written == sorted(TABLES_WRITTEN.get(role, ()))


@pytest.mark.parametrize("role", ["gateway", "admin"])
def test_who_manages_identities_makes_replaces_and_removes_them(deployment: DevDeployment, role: str) -> None:
    """By transactions, which read as well as write."""
    with closing(CqlDocuments.connect(deployment.cql_settings(role))) as documents:
        documents.put("access", role, "one", b"first", 0)
        with pytest.raises(Changed):
            documents.put("access", role, "one", b"another", 0)
        documents.put("access", role, "one", b"second", 1)
        assert documents.get("access", role, "one") == Stored(role, "one", 2, b"second")
        documents.remove("access", role, "one")


@pytest.mark.parametrize("kind", ["console.operator", "console.key", "console.approval", "console.trail"])
def test_a_gateway_neither_reads_nor_writes_what_operators_decide(deployment: DevDeployment, kind: str) -> None:
    with closing(CqlDocuments.connect(deployment.cql_settings("gateway"))) as documents:
        with pytest.raises(DocumentsFailed, match="refuses it"):
            documents.put(kind, "mallory", "", b"forged", 0)
        with pytest.raises(DocumentsFailed, match="refuses it"):
            documents.get(kind, "mallory", "")
        with pytest.raises(DocumentsFailed, match="refuses it"):
            documents.remove(kind, "mallory", "")
    with closing(CqlDocuments.connect(deployment.cql_settings("admin"))) as documents:
        assert documents.every(kind) == []


def test_settlement_reads_no_identities(deployment: DevDeployment) -> None:
    with (
        closing(CqlDocuments.connect(deployment.cql_settings("settlement"))) as documents,
        pytest.raises(DocumentsFailed, match="refuses it"),
    ):  # fmt: skip
        documents.get("access", "owner", "one")


async def test_who_else_may_change_the_record_is_told(deployment: DevDeployment) -> None:
    session = await Session.connect(deployment.cql_settings())
    await session.run("CREATE ROLE mallory WITH LOGIN = true AND PASSWORD = 'm'")
    await session.run("CREATE ROLE lent")
    await session.run('CREATE ROLE "o""dd"')
    await session.run(f"GRANT MODIFY ON KEYSPACE {NAME} TO lent")
    await session.run("GRANT lent TO mallory")
    await session.run(f"GRANT MODIFY ON TABLE {NAME}.orders TO {NAME}_gateway")
    await session.run("CREATE ROLE root WITH SUPERUSER = true")
    try:
        said = await asyncio.to_thread(deployment.zerosum, "cluster", "init", "--config", str(deployment.config))
    finally:
        for role in ("mallory", "lent", "root", '"o""dd"'):
            await session.run(f"DROP ROLE {role}")
        await session.run(f"REVOKE MODIFY ON TABLE {NAME}.orders FROM {NAME}_gateway")
        await session.close()
    for who, where in (("mallory", "keyspace zerosum"), ("zerosum_gateway", "table zerosum.orders"), ("root", "all keyspaces")):
        assert f"attention: {who} may change {where} in the database, and has no business to" in said
    assert said.count("in the database, and has no business to") == 4, "and lent itself"
    assert "grants made for the roles zerosum_<role> of the database: none, all are there" in said


async def test_a_role_that_the_database_does_not_have_yet_is_named(deployment: DevDeployment) -> None:
    session = await Session.connect(deployment.cql_settings())
    grants = TableGrants(session, [TableAccess("somebody", reads=("orders",)), TableAccess("nobody")])
    try:
        assert await grants.make() == (0, ["somebody"])
    finally:
        await session.close()


# ------------------------------------------------------------------ who comes in


async def test_the_user_that_every_new_database_has_is_gone(deployment: DevDeployment) -> None:
    settings = replace(deployment.cql_settings(), login=CqlLogin("cassandra", "cassandra"))
    with pytest.raises(DatabaseRefused, match=r"does not let cassandra in.*See database\.user and database\.password_file"):
        await Session.connect(settings)


async def test_nobody_comes_in_without_a_user(deployment: DevDeployment) -> None:
    with pytest.raises(DatabaseRefused, match="asks who this is"):
        await Session.connect(replace(deployment.cql_settings(), login=None))


async def test_nothing_is_said_without_tls(deployment: DevDeployment) -> None:
    with pytest.raises(StoreFailed):
        await Session.connect(replace(deployment.cql_settings(), ca=None))
    with pytest.raises(KafkaException):
        await Topics(replace(deployment.kafka_settings(), ca=None), {}, Replication(1, 1)).answers()


async def test_certificates_of_an_authority_that_is_not_believed_are_refused(deployment: DevDeployment, tmp_path: Path) -> None:
    other = DevAuthority(tmp_path).certificate_file.read_text()
    with pytest.raises(DatabaseRefused, match=r"certificate of the database .* is not believed.*database\.ca_file"):
        await Session.connect(replace(deployment.cql_settings(), ca=other))
    with pytest.raises(KafkaRefused, match=r"certificate of Kafka .* is not believed.*kafka\.ca_file"):
        await Topics(replace(deployment.kafka_settings(), ca=other), {}, Replication(1, 1)).answers()
    both = other + deployment.cql_settings().ca  # type: ignore[operator]  # there is one
    await (await Session.connect(replace(deployment.cql_settings(), ca=both))).close()
    await Topics(replace(deployment.kafka_settings(), ca=both), {}, Replication(1, 1)).answers()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A server whose certificate is by the right authority, for another one's name: its port, and the authority."""
    authority = DevAuthority(tmp_path)
    issued = authority.issue("other", ["other.example.org", "127.0.0.2"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)

    class Greeting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as connection:
                connection.recv(1)

    with socketserver.ThreadingTCPServer((HOST, 0), Greeting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1], authority.certificate_file.read_text()
        server.shutdown()
        thread.join()


async def test_a_certificate_for_another_address_is_refused(elsewhere: tuple[int, str]) -> None:
    port, ca = elsewhere
    with pytest.raises(DatabaseRefused, match=r"is not believed.*does not match.*the address that the node is reached at"):
        await Session.connect(CqlSettings((HOST,), port, login=CqlLogin("a", "b"), ca=ca))
    with pytest.raises(KafkaRefused, match="certificate verify failed"):
        await Topics(KafkaSettings(f"{HOST}:{port}", login=Login("a", "b"), ca=ca), {}, Replication(1, 1)).answers()


def test_no_secret_is_in_a_process_s_arguments_or_environment(deployment: DevDeployment) -> None:
    files = [*deployment.folder.glob("secrets/*"), *deployment.folder.glob("servers/*.password"), deployment.master_key]
    secrets = [file.read_text().strip() for file in files]
    keys = [line for file in deployment.folder.glob("servers/**/*.key") for line in file.read_text().splitlines()[1:-1]]
    assert len(secrets) == 2 * len(ROLES) + len(SIGNING_ROLES) + 3
    assert len(keys) > 3
    for process in deployment.processes:
        seen = Path(f"/proc/{process.pid}/cmdline").read_text() + Path(f"/proc/{process.pid}/environ").read_text()
        assert [secret for secret in secrets + keys if secret in seen + process.said()] == [], process.name


def test_what_is_secret_is_its_owner_s_alone(deployment: DevDeployment) -> None:
    tells = [*deployment.folder.glob("secrets/*"), *deployment.folder.glob("servers/*.password"), deployment.master_key]
    tells += [*deployment.folder.glob("servers/**/*.key"), *deployment.folder.glob("servers/*/tls.pem")]
    tells += deployment.folder.glob("servers/*/server.properties")
    assert {file.name: file.stat().st_mode & 0o077 for file in tells if file.stat().st_mode & 0o077} == {}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same within IPv6, and ::1, as the kernel writes them."""


def listening(pid: int) -> set[str]:
    """The addresses that a process listens on."""
    held, found = set(), set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed just now
            held.add(str(file.readlink()))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
                found.add(fields[1].partition(":")[0])
    return found


def test_nobody_but_this_machine_reaches_a_process(deployment: DevDeployment) -> None:
    """Java's own management too, which asks nobody who he is."""
    assert {process.name: found for process in deployment.processes if not (found := listening(process.pid)) <= LOOPBACK} == {}
    assert all(listening(server.pid) for server in deployment.servers.servers)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("kafka", "does not let zerosum-settlement in"), ("database", "does not let zerosum_settlement in"),
    ],
)  # fmt: skip
def test_a_service_with_a_wrong_password_says_so_and_ends(deployment: DevDeployment, section: str, said: str) -> None:
    """At once, and not after a while of waiting for what will not come."""
    password = deployment.folder / "wrong.password"
    password.touch(mode=0o600)
    password.write_text("guessed\n")
    environment = {**deployment.environment("settlement"), f"ZEROSUM_{section.upper()}_PASSWORD_FILE": str(password)}
    seen = ended(deployment, environment)
    assert said in seen
    assert f"See {section}.user" in seen
    assert "guessed" not in seen
    assert "waiting for" not in seen


@pytest.mark.parametrize("section", ["kafka", "database"])
def test_a_service_that_does_not_believe_a_certificate_says_so_and_ends(deployment: DevDeployment, section: str, tmp_path: Path) -> None:
    other = DevAuthority(tmp_path).certificate_file
    environment = {**deployment.environment("settlement"), f"ZEROSUM_{section.upper()}_CA_FILE": str(other)}
    seen = ended(deployment, environment)
    assert "is not believed" in seen
    assert f"{section}.ca_file" in seen
    assert "waiting for" not in seen


@pytest.mark.parametrize("name", ["kafka.ca_file", "database.password_file"])
def test_a_service_does_not_start_with_a_file_that_is_not_there(deployment: DevDeployment, name: str, tmp_path: Path) -> None:
    variable = f"ZEROSUM_{name.replace('.', '_').upper()}"
    seen = ended(deployment, {**deployment.environment("settlement"), variable: str(tmp_path / "gone")})
    assert f"{name} is {tmp_path / 'gone'}, which can't be read: No such file" in seen


def ended(deployment: DevDeployment, environment: dict[str, str]) -> str:
    """What a settlement says that ends while it starts."""
    service = Service("guesser", "settlement", deployment.folder, deployment.config, (), environment)
    service.start()
    try:
        with pytest.raises(ServerFailed, match="ended with exit code 1"):
            service.wait()
    finally:
        service.kill()
    return service.said()
