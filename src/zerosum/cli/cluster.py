"""
`zerosum cluster`: makes a deployment, and runs a whole one on this machine for development.
"""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from zerosum.cli.cluster_settings import cql_settings, kafka_settings, operators_of, replication_of, signers_of, topology_of
from zerosum.cli.decide import operator_command, pass_over_command, signer_command
from zerosum.cli.directory import load_settings
from zerosum.cli.options import BrokersOption, ConfigOption, DataOption, JsonOption
from zerosum.cli.tables import show_table
from zerosum.cli.terminal import tell
from zerosum.devcluster.deployment import DevDeployment, Shape
from zerosum.devcluster.keeper import told_to_end
from zerosum.devcluster.process import ServerFailed
from zerosum.errors import ConfigError
from zerosum.log.kafka.grants import Grants
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.kafka.topics import Topics
from zerosum.ops.settings_model import Settings
from zerosum.services.audit import Verdict
from zerosum.services.cluster.access import accesses, table_accesses
from zerosum.services.cluster.audit import ClusterAudit
from zerosum.services.cluster.joining import (
    DATABASE,
    KAFKA,
    NotThere,
    database_of,
    found_deployment,
    partitions_by_topic,
    topics_of,
    wait_for,
)
from zerosum.services.cluster.signing import guarded
from zerosum.services.cluster.topology import Streams
from zerosum.settlement.cql.grants import TableGrants
from zerosum.settlement.cql.schema import migrate
from zerosum.settlement.cql.session import Session

WATCH_S: Final = 0.2
NEW_FOLDER: Final = 2  # shards, and engine partitions
SILENCES_MAX: Final = 2

T = TypeVar("T")

HELP: Final = "Make a cluster's topics and tables, audit it, decide about a record; run a whole cluster on this machine."

cli = typer.Typer(no_args_is_help=True, help=HELP)

cli.command("operator")(operator_command)
cli.command("signer")(signer_command)
cli.command("pass-over")(pass_over_command)


@cli.command("init")
def init(data: DataOption = None, config: ConfigOption = None) -> None:
    """
    Make the deployment's topics in Kafka and its tables in the database. Done again, it does what is missing, and nothing else.

    How many shards and partitions there are (`cluster.shards`, `cluster.partitions`) is fixed from then on.
    """
    for line in asyncio.run(make_deployment(load_settings(data, config, "cluster"))):
        typer.echo(line)


async def make_deployment(settings: Settings) -> list[str]:
    """What was made. NotThere, KafkaRefused, TopicsWrong, DatabaseRefused, CqlSchemaWrong, OtherDeployment."""
    topology, wait_s = topology_of(settings), settings.cluster.wait_s
    topics = Topics(kafka_settings(settings), partitions_by_topic(topology), replication_of(settings))
    made = await wait_for(KAFKA, topics.make, wait_s, complain)
    keyspace = cql_settings(settings)
    migrated = await wait_for(DATABASE, lambda: migrate(keyspace, settings.database.replication), wait_s, complain)
    session = await Session.connect(keyspace)
    try:
        await found_deployment(session, topology, await topics.check())
        allowed = await make_table_grants(session, settings) if settings.database.user is not None else []
    finally:
        await session.close()
    granted = await wait_for(KAFKA, lambda: make_grants(settings), wait_s, complain) if settings.kafka.user is not None else []
    return [
        f"topics made: {', '.join(made) or 'none, all are there'}",
        *granted,
        *allowed,
        f"migrations of the keyspace {keyspace.keyspace}: {', '.join(migrated) or 'none, it is current'}",
        f"the deployment {settings.cluster.name} has {topology.shards} shards and {topology.partitions} engine partitions",
    ]


async def make_grants(settings: Settings) -> list[str]:
    """What was granted, and who may write besides. GrantsRefused, KafkaException."""
    grants = Grants(kafka_settings(settings), accesses(settings.cluster.name))
    made = await grants.make()
    return [
        f"grants made for the users {settings.cluster.name}-<role>: {made or 'none, all are there'}",
        *(
            f"attention: {who} may write to {settings.cluster.name}.{topic}, and is none of them"
            for topic, who in await grants.other_writers()
        ),
    ]


async def make_table_grants(session: Session, settings: Settings) -> list[str]:
    """What was granted, and who may write besides. StoreFailed."""
    name = settings.cluster.name
    grants = TableGrants(session, table_accesses(name))
    made, missing = await grants.make()
    return [
        f"grants made for the roles {name}_<role> of the database: {made or 'none, all are there'}",
        *(f"attention: the database has no role {role}: make it, with LOGIN and a password, and do this again" for role in missing),
        *(f"attention: {who} may change {where} in the database, and has no business to" for where, who in await grants.other_writers()),
    ]


def complain(line: str) -> None:
    typer.echo(line, err=True)


@cli.command("audit")
def audit(data: DataOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """
    Replay every machine from its stream's beginning, and hold streams of events and the record in the database against that, to the atom.

    Of a cluster at rest: while it goes on, the record is ahead of what was read. Exit code 1 if anything does not hold.
    """
    verdicts = asyncio.run(audited(load_settings(data, config, "cluster")))
    if as_json:
        typer.echo(json.dumps({"holds": all(each.holds for each in verdicts), "checks": [each._asdict() for each in verdicts]}))
    else:
        rows = [("holds" if each.holds else "DOES NOT HOLD", each.check, each.detail) for each in verdicts]
        show_table(("", "check", "what was found"), rows, styles=["green" if each.holds else "bold red" for each in verdicts])
    if not all(each.holds for each in verdicts):
        raise typer.Exit(1)


async def audited(settings: Settings, report: Callable[[str], None] = tell) -> list[Verdict]:
    """NotThere, TopicsWrong, CqlSchemaWrong, OtherDeployment, and what a stream that can't be read raises."""
    topology, wait_s = topology_of(settings), settings.cluster.wait_s
    topics = await topics_of(kafka_settings(settings), topology, replication_of(settings), wait_s, report)
    session, deployment = await database_of(cql_settings(settings), topology, topics, wait_s, report)
    link = KafkaLink(kafka_settings(settings), report)
    try:
        streams = guarded(Streams(topology, link.stream), None, signers_of(settings), report)
        audit = ClusterAudit(topology, streams, session, deployment.epoch, operators_of(settings), report)
        return await while_kafka_answers(link, audit.run(), wait_s)
    finally:
        await link.close()
        await session.close()


async def while_kafka_answers(link: KafkaLink, work: Coroutine[Any, Any, T], limit_s: float) -> T:
    """What it returns. NotThere once no broker has answered for so long, twice in a row: this loop may have been busy."""
    task = asyncio.ensure_future(work)
    control, silences = link.stream("control"), 0
    while not task.done():
        try:
            await asyncio.wait_for(control.ends(), limit_s)
            silences = 0
        except TimeoutError:
            silences += 1
        if silences == SILENCES_MAX:
            task.cancel()
            await asyncio.wait([task])
            raise NotThere(f"Kafka has not answered for {silences * limit_s:g} s. See kafka.servers in the settings, and do it again.")
        await asyncio.wait([task], timeout=WATCH_S)
    return task.result()


@cli.command("up")
def up(
    folder: Annotated[Path, typer.Option(help="Where everything lies.", file_okay=False)] = Path("zerosum-cluster"),
    shards: Annotated[int | None, typer.Option(help="UBSCore shards, for a new folder: 2 unless told.", min=1, max=256)] = None,
    partitions: Annotated[int | None, typer.Option(help="Engine partitions, for a new folder: 2 unless told.", min=1, max=256)] = None,
    gateways: Annotated[int, typer.Option(help="Gateways.", min=1, max=16)] = 1,
    copies: Annotated[int, typer.Option(help="Copies of UBSCore and of matching: past the first they stand by.", min=1, max=4)] = 1,
    brokers: BrokersOption = 1,
) -> None:
    """
    Run a whole cluster on this machine until Ctrl-C: Kafka, Cassandra, and every service as a process of its own. For development.

    Needs what `zerosum devcluster up` needs. The next start goes on where this one ended.
    """
    made = made_with(folder)
    shape = Shape(fixed("shards", shards, made), fixed("partitions", partitions, made), gateways, copies, brokers)
    deployment = DevDeployment(folder, shape, tell)
    with told_to_end() as told, deployment.running():
        show(deployment)
        while not told.wait(WATCH_S):
            for each in deployment.processes:
                if not each.is_running:
                    raise ServerFailed(f"{each.name} has ended.\n{each.last_words()}")
        tell("stopping ...")


def made_with(folder: Path) -> dict[str, int]:
    """What is fixed of the deployment in a folder; nothing for a new one."""
    config = folder / "zerosum.toml"
    found: dict[str, int] = tomllib.loads(config.read_text())["cluster"] if config.exists() else {}
    return found


def fixed(name: str, wanted: int | None, made: dict[str, int]) -> int:
    """ConfigError."""
    found = made.get(name, NEW_FOLDER)
    if made and wanted not in (None, found):
        raise ConfigError(
            f"--{name} {wanted}: the folder was made with {found}, which can't be changed. Leave it out, or name another folder."
        )
    return wanted or found


def show(deployment: DevDeployment) -> None:
    rows = []
    for service in deployment.services:
        ports = service.ports()
        doors = "  ".join(f"{name} {ports[name]}" for name in ("rest", "websocket", "admin", "operations") if name in ports)
        rows.append((service.name, str(service.pid), doors))
    show_table(("service", "process", "ports on 127.0.0.1"), rows)
    console = deployment.of_role("admin")[0]
    typer.echo(
        f"kafka {deployment.servers.kafka_servers}   cql 127.0.0.1:{deployment.servers.cql_port}   logs {deployment.folder}/*.log\n"
        f"Both speak TLS by {deployment.servers.security.ca_file}, and let in admin by {deployment.servers.folder}/*.password.\n"
        f"Operate it by its console's directory: zerosum account open 1001 --data {console.data}\n"
        f"Make keys in its database: zerosum key create 1001 --cluster --config {deployment.config}"
    )
