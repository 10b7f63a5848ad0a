"""The commands of a cluster's operator, as they are typed: what they print, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.support.secured import Secured
from zerosum.core import records
from zerosum.core.codes import FIRST_USER
from zerosum.devcluster.cluster import DevCluster
from zerosum.devcluster.process import clean_environment
from zerosum.devcluster.services import Service
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.kafka.settings import KafkaSettings
from zerosum.log.messages import pack, position

SETTINGS = """
master_key_file = "{key}"

[cluster]
name = "{name}"
shards = {shards}
partitions = 2
wait_s = 5

[kafka]
servers = ["{kafka}"]
replication = 1
in_sync = 1

[database]
port = {cql}
replication = 1
"""
Zerosum = Callable[..., subprocess.CompletedProcess[str]]


def zerosum(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zerosum.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=60, check=False)


def printed(*arguments: str | Path) -> str:
    done = zerosum(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: str | Path) -> str:
    done = zerosum(*arguments)
    assert done.returncode == 1, done
    assert all(line.startswith("{") for line in done.stdout.splitlines()), "of a service, its log"
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


class Place:
    """Settings of a deployment that no other test has."""

    def __init__(self, folder: Path, servers: DevCluster) -> None:
        self.folder = folder
        self.name = f"t{secrets.token_hex(4)}"
        self.servers = servers
        self.new_key()
        self.config = self.settings("zerosum.toml")

    def new_key(self) -> None:
        key = self.folder / "master.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32) + "\n")

    def settings(self, file: str, shards: int = 2, kafka: str | None = None) -> Path:
        path = self.folder / file
        servers = self.servers
        text = SETTINGS.format(
            key=self.folder / "master.key", name=self.name, shards=shards, kafka=kafka or servers.kafka_servers, cql=servers.cql_port
        )
        path.write_text(text)
        return path


@pytest.fixture
def place(tmp_path: Path, servers: DevCluster) -> Place:
    return Place(tmp_path, servers)


def test_init_makes_a_deployment_and_then_nothing(place: Place) -> None:
    first = printed("cluster", "init", "--config", place.config).splitlines()
    assert first[0].startswith(f"topics made: {place.name}.")
    assert first[2] == f"the deployment {place.name} has 2 shards and 2 engine partitions"
    assert printed("cluster", "init", "--config", place.config).splitlines()[:2] == [
        "topics made: none, all are there",
        f"migrations of the keyspace {place.name}: none, it is current",
    ]
    assert "holds" in printed("cluster", "audit", "--config", place.config)
    words = refused("cluster", "init", "--config", place.settings("other.toml", shards=3))
    assert f"The topic {place.name}.commands has 2 partitions, and the deployment 3" in words


def test_nothing_runs_where_no_deployment_was_made(place: Place) -> None:
    words = refused("run", "ubscore", "--config", place.config, "--data", place.folder / "data", "--operations-port", "0")
    assert f"The topic {place.name}.commands is missing: make it with `zerosum cluster init`" in words
    words = refused("key", "list", "--cluster", "--config", place.config)
    assert f"has no keyspace {place.name}: make it with `zerosum cluster init`" in words


def test_a_service_that_finds_no_broker_says_which_setting(place: Place) -> None:
    config = place.settings("nowhere.toml", kafka="127.0.0.1:1")
    words = refused("run", "auditor", "--config", config, "--data", place.folder / "data", "--operations-port", "0")
    assert "Kafka did not come within 5 s" in words
    assert "kafka.servers" in words


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("2", "--partitions 2: the deployment has 2, which are numbered 0 to 1"),
        ("x", "--partitions x: write numbers"),
        ("1-", "--partitions 1-: write"),
    ],
)
def test_partitions_that_there_are_not_are_refused(place: Place, option: str, words: str) -> None:
    printed("cluster", "init", "--config", place.config)
    data = place.folder / "data"
    assert words in refused("run", "matching", "--config", place.config, "--data", data, "--operations-port", "0", "--partitions", option)


def test_a_directory_of_another_deployment_is_refused(place: Place, servers: DevCluster, tmp_path: Path) -> None:
    printed("cluster", "init", "--config", place.config)
    service = Service("ubscore1", "ubscore", place.folder, place.config)
    service.start()
    service.wait()
    service.stop()
    assert service.exit_code == 0, service.last_words()
    other = Place(tmp_path, servers)
    printed("cluster", "init", "--config", other.config)
    words = refused("run", "ubscore", "--config", other.config, "--data", service.data, "--operations-port", "0")
    assert f"{service.data} has the state of another deployment" in words


async def test_a_record_that_stops_a_machine_is_passed_over(place: Place) -> None:
    """Of two shards in one process, which both read the decisions."""
    printed("cluster", "init", "--config", place.config)
    key = place.folder / "alice.key"
    alice = printed("cluster", "operator", "alice", "--key", key).strip()
    assert "can't be made: File exists" in refused("cluster", "operator", "alice", "--key", key)
    place.config.write_text(place.config.read_text().replace("wait_s = 5", f'wait_s = 5\noperators = ["{alice}"]'))
    damaged = bytearray(pack(records.command(records.OPEN_ACCOUNT, 0, FIRST_USER)))
    damaged[-1] ^= 1
    link = KafkaLink(KafkaSettings(place.servers.kafka_servers, place.name), lambda line: None)
    offset = await link.stream("commands.1").writer().append(bytes(damaged))
    at = str(position(offset))

    service = Service("ubscore1", "ubscore", place.folder, place.config)
    service.start()
    async with asyncio.timeout(30):
        while service.is_running:  # noqa: ASYNC110  another process ends
            await asyncio.sleep(0.05)
    assert f"ubscore.1, position {at} of its input: the message is damaged" in service.said()

    def decided(*arguments: str) -> tuple[str | Path, ...]:
        return ("cluster", "pass-over", *arguments, "--key", key, "--config", place.config)

    assert "'bob' is no operator of this deployment" in refused(*decided("ubscore.1", at, "--by", "bob"))
    assert "ubscore.2 is no machine of this deployment: those are ubscore.0 to ubscore.1, and matching.0 to matching.1" in refused(
        *decided("ubscore.2", at, "--by", "alice")
    )
    assert f"the input of ubscore.0 has no position {at}" in refused(*decided("ubscore.0", at, "--by", "alice"))
    assert "has 1 records: position" in refused(*decided("ubscore.1", str(int(at) + 1), "--by", "alice"))
    assert "the input of ubscore.1 has no position 1" in refused(*decided("ubscore.1", "1", "--by", "alice"))
    assert f"message 0 of {place.name}.control" in printed(*decided("ubscore.1", at, "--by", "alice"))
    service.start()
    try:
        service.wait()
        deadline = time.monotonic() + 10
        while not (await link.stream("account-events.1").ends()).next:  # it has put out what it made
            assert time.monotonic() < deadline, service.last_words()
            await asyncio.sleep(0.1)
    finally:
        service.stop()
        await link.close()
    assert f"ubscore.1 has gone past position {at} already" in refused(*decided("ubscore.1", at, "--by", "alice"))
    found = json.loads(zerosum("cluster", "audit", "--config", place.config, "--json").stdout)  # nothing is settled: no settlement ran
    assert [each["holds"] for each in found["checks"]] == [True, True, True, True, False, True], found


def test_keys_are_made_listed_and_revoked_in_the_database(place: Place) -> None:
    printed("cluster", "init", "--config", place.config)
    services = [Service(f"{role}1", role, place.folder, place.config) for role in ("ubscore", "settlement", "matching", "admin")]
    try:
        for service in services:
            service.start()
        for service in services:
            service.wait()
        door = services[-1].data
        of_cluster = ("--cluster", "--config", place.config)
        assert "there is no account 1001 in the record" in refused("key", "create", "1001", *of_cluster)
        printed("account", "open", "1001", "--data", door)
        made: dict[str, Any] = {}
        deadline = time.monotonic() + 10
        while not made:  # the account is settled a moment after it was opened
            done = zerosum("key", "create", "1001", *of_cluster, "--json")
            made = json.loads(done.stdout) if done.returncode == 0 else {}
            assert time.monotonic() < deadline, done.stderr
        listed = json.loads(printed("key", "list", *of_cluster, "--json"))
        assert made["api_key"] in json.dumps(listed)
        assert made["secret"] not in json.dumps(listed)
        printed("key", "revoke", made["api_key"], *of_cluster)
        assert "there is no API key" in refused("key", "revoke", "k" * 64, *of_cluster)
        place.new_key()
        assert "was written with another master key" in refused("key", "list", *of_cluster)
        printed("verify", *(f"127.0.0.1:{service.ports()['operations']}" for service in services))
    finally:
        for service in reversed(services):
            service.stop()


def test_a_gateway_speaks_tls_and_says_when_its_certificate_ends(place: Place, tmp_path: Path) -> None:
    secured = Secured(tmp_path / "certificates")
    printed("cluster", "init", "--config", place.config)
    pair = secured.issued
    place.config.write_text(f"{place.config.read_text()}[tls]\ncertificate_file = '{pair.certificate}'\nkey_file = '{pair.key}'\n")
    services = [Service(f"{role}1", role, place.folder, place.config) for role in ("ubscore", "settlement", "matching", "gateway")]
    try:
        for service in services:
            service.start()
        for service in services:
            service.wait()
        gateway = services[-1]
        url = f"https://127.0.0.1:{gateway.ports()['rest']}/api/v3/time"
        with urllib.request.urlopen(url, timeout=10, context=secured.client) as answer:
            assert "serverTime" in json.load(answer)
            assert answer.headers["strict-transport-security"]
        with connect(f"wss://127.0.0.1:{gateway.ports()['websocket']}/ws-api/v3", ssl=secured.client) as client:
            client.send('{"id": 1, "method": "ping"}')
            assert json.loads(client.recv(timeout=10))["status"] == 200
        assert 364 < gateway.metric("zerosum_certificate_expires_seconds") / 86_400 < 366
    finally:
        for service in reversed(services):
            service.stop()
    pair.key.chmod(0o644)
    words = refused("run", "gateway", "--config", place.config, "--data", place.folder / "other", "--operations-port", "0")
    assert f"tls.key_file is {pair.key}, which others than its owner may read or write" in words


def test_servers_are_started_shown_and_die_with_their_keeper(tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    said = json.loads(printed("devcluster", "up", "--folder", folder, "--detach", "--json"))
    try:
        assert json.loads(printed("devcluster", "status", "--folder", folder, "--json"))["kafka"] == said["kafka"]
        assert said["kafka"] in printed("devcluster", "status", "--folder", folder)
        assert f"Process {said['pid']} runs servers in {folder} already" in refused("devcluster", "up", "--folder", folder)
    finally:
        os.kill(said["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_alive(server["pid"]) for server in said["servers"]):
        assert time.monotonic() < deadline, "servers outlive a keeper that was killed"
        time.sleep(0.05)
    done = zerosum("devcluster", "status", "--folder", folder)
    assert f"no servers run in {folder}" in done.stdout + done.stderr


def test_servers_are_ended_by_command(tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    said = json.loads(printed("devcluster", "up", "--folder", folder, "--detach", "--json"))
    assert "ended" in printed("devcluster", "down", "--folder", folder)
    assert not any(is_alive(server["pid"]) for server in said["servers"])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
