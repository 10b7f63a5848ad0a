"""
Every setting there is: its name, what it may be, what it is unless told, and what it is for.

    class Rest            is the section [rest]
    port: Port = Field    is the setting rest.port, and in the environment ZEROSUM_REST_PORT

docs/reference/configuration.md is made from this module.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, final, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

from zerosum.identity.withdrawals import rule_text
from zerosum.log.file_log import SEGMENT_BYTES
from zerosum.log.layout import SEGMENT_BYTES_MAX, SEGMENT_BYTES_STEP

PREFIX: Final = "ZEROSUM_"
DATA_DIRECTORY: Final = "zerosum-data"

Port = Annotated[int, Field(ge=0, le=65_535)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]


def _address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


def _master_key(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", secret.get_secret_value()):
        raise ValueError
    return secret


def _segment_bytes(count: int) -> int:
    if count % SEGMENT_BYTES_STEP:
        raise ValueError
    return count


def _matches(pattern: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return AfterValidator(check)


def _rule(text: str) -> str:
    rule_text(text)
    return text


_withdrawal_rule: Final = AfterValidator(_rule)
Address = Annotated[str, AfterValidator(_address)]
Host = Annotated[str, _matches(r"[A-Za-z0-9_.:-]+")]
HostPort = Annotated[str, _matches(r"[A-Za-z0-9_.:-]+:\d{1,5}")]
NAME_RULE: Final = _matches(r"[a-z][a-z0-9_]{0,30}")
Name = Annotated[str, NAME_RULE]
USER_RULE: Final = _matches(r"[A-Za-z0-9_.-]{1,64}")
User = Annotated[str | None, USER_RULE]
Operator = Annotated[str, _matches(r"[A-Za-z0-9_.-]+:[0-9a-fA-F]{64}")]
WithdrawalRule = Annotated[str, _withdrawal_rule]
Signer = Annotated[str, _matches(r"(gateway|admin|ubscore|matching):[0-9a-fA-F]{64}(:[0-9]{1,17})?")]


class Section(BaseModel):
    """A section of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listener(Section):
    """Where something listens."""

    host: str = Field(default="127.0.0.1", description="Where it listens")
    port: Port = Field(default=0, description="Its port; 0 takes any that is free")


class Gateway(Section):
    """What both listeners for clients share."""

    trusted_proxies: tuple[Address, ...] = Field(
        default=(), description="Addresses whose X-Forwarded-For says who the client is", examples=[["10.0.0.2"]]
    )


class Rest(Listener):
    """The listener for REST, and what it bears."""

    port: Port = Field(default=8_700, description="Its port; 0 takes any that is free")
    connections_max: Count = Field(default=1_000, description="Past it a client reads 503 and -1008, and is closed")
    connections_per_address_max: Count = Field(
        default=250, description="The same of one address, a quarter of them all; those of gateway.trusted_proxies are not counted"
    )
    in_flight_max: Count = Field(
        default=10_000, description="Requests under way; past it one is answered 503 and -1008, and nothing was done"
    )
    pipelined_max: Count = Field(
        default=32, description="Requests of one connection that wait for earlier ones; past it the connection is closed after these"
    )
    url_bytes_max: Count = Field(default=16_384, description="Past it a request is answered 414")
    header_bytes_max: Count = Field(default=16_384, description="Of all headers of a request; past it 431")
    headers_max: Count = Field(default=64, description="Past it a request is answered 431")
    body_bytes_max: Count = Field(default=65_536, description="Past it a request is answered 413")
    request_timeout_s: Seconds = Field(default=10.0, description="To send a request; past it 408")
    reply_timeout_s: Seconds = Field(default=30.0, description="To answer a request; past it 504 and -1007: its outcome is not known")
    send_timeout_s: Seconds = Field(
        default=30.0, description="For a client that does not read its response; past it the connection is cut off"
    )
    keep_alive_s: Seconds = Field(default=60.0, description="Between two requests of a connection")
    shutdown_timeout_s: Seconds = Field(default=10.0, description="For what is under way when the server stops")


class WebSocket(Listener):
    """The listener for the WebSocket API, and what it bears: but for the first two, of each connection."""

    port: Port = Field(default=8_701, description="Its port; 0 takes any that is free")
    connections_max: Count = Field(default=1_000, description="Past it an opening handshake is answered 503")
    connections_per_address_max: Count = Field(
        default=250, description="The same of one address, a quarter of them all; behind gateway.trusted_proxies of one client"
    )
    message_bytes_max: Count = Field(
        default=65_536, description="Of a message, in one frame or many; past it the connection is closed with 1009"
    )
    messages_per_s_max: Count = Field(
        default=20_000, description="Frames in a second, pings and pongs included; past it no more are read until the next"
    )
    in_flight_max: Count = Field(default=1_000, description="Requests under way; past it no more are read until some are answered")
    unread_bytes_max: Annotated[int, Field(ge=1_024)] = Field(
        default=1 << 20,
        description="Sent but not read by the client; past a quarter its requests wait, past the whole it is closed with 1008",
    )
    handshake_timeout_s: Seconds = Field(default=5.0, description="For the opening handshake")
    reply_timeout_s: Seconds = Field(
        default=30.0, description="To answer a request; past it the connection is closed with 1011: the outcome is not known"
    )
    ping_interval_s: Seconds = Field(default=20.0, description="Between pings")
    pong_timeout_s: Seconds = Field(default=60.0, description="Without a pong; past it the connection is closed with 1001")
    lifetime_s: Seconds = Field(default=86_400.0, description="After it the connection is closed with 1001, and the client connects anew")
    shutdown_timeout_s: Seconds = Field(default=10.0, description="For what is under way when the server stops")


class Operations(Listener):
    """The listener for health and metrics, which no client is to reach."""

    port: Port = Field(default=8_702, description="Its port; 0 takes any that is free")


class Admin(Listener):
    """The listener for the operators' console, which no client is to reach."""

    port: Port = Field(default=8_703, description="Its port; 0 takes any that is free")


class Tls(Section):
    """With a certificate, REST, WebSockets and the operators' console speak TLS, and nothing else; health and metrics stay plain."""

    certificate_file: Path | None = Field(
        default=None,
        description="The server's certificate and those that vouch for it, in PEM; looked at again every second",
        examples=["/etc/zerosum/server.pem"],
    )
    key_file: Path | None = Field(
        default=None,
        description="Its private key, in PEM, in a file that only its owner can read",
        examples=["/etc/zerosum/server.key"],
    )
    minimum_version: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest version of TLS that is spoken")


class Logging(Section):
    """What the processes say of themselves, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is said")
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="For machines or for people; auto: for people on a terminal, JSON elsewhere"
    )
    lines_max: Count = Field(default=10_000, description="Lines that wait to be written; past it they are dropped and counted")


class Log(Section):
    """The durable log of commands."""

    segment_bytes: Annotated[int, Field(ge=2 * SEGMENT_BYTES_STEP, le=SEGMENT_BYTES_MAX), AfterValidator(_segment_bytes)] = Field(
        default=SEGMENT_BYTES, description="Of a segment's file, which is made whole in advance; for segments yet to be made"
    )
    group_bytes_max: Annotated[int, Field(ge=4_096)] = Field(default=1 << 20, description="Of the commands that share one sync of the disk")
    pending_max: Count = Field(
        default=50_000, description="Commands that wait to be written or answered; past it one is refused with -1008"
    )


class Snapshots(Section):
    """States of the machines on disk, from which a start goes on."""

    every_records: Count = Field(default=200_000, description="Commands between two snapshots: the most that a start has to replay, about")
    keep: Count = Field(default=3, description="How many are kept")


class Archive(Section):
    """What becomes of the log's segments that snapshots and the settled record no longer need."""

    policy: Literal["keep", "prune", "archive"] = Field(
        default="keep", description="They stay, go, or go once they are copied to archive.directory"
    )
    directory: Path | None = Field(
        default=None,
        description="Where copies go, best on another disk; unset: archive in the data directory",
        examples=["/backup/zerosum"],
    )


class Follower(Section):
    """The process beside the exchange that settles, and takes snapshots."""

    unsettled_max: Count = Field(
        default=500_000, description="Commands applied but not settled; past it orders are refused with -1008 until it has caught up"
    )


class Allowance(Section):
    """How much a client may ask for, as exchangeInfo says."""

    weight_per_minute: Count = Field(default=60_000, description="Weight of requests from one address; past it 429 and -1003")
    key_weight_per_minute: Count = Field(default=120_000, description="The same of one API key, from whatever addresses")
    orders_per_10_seconds: Count = Field(default=10_000, description="Orders of one account; past it 429 and -1015")
    orders_per_day: Count = Field(default=20_000_000, description="The same, in a day")


class Withdrawals(Section):
    """What users may take out, and who must approve it."""

    rules: tuple[WithdrawalRule, ...] = Field(
        default=(),
        description="Of each asset that can be withdrawn: ASSET:most of an account in a day:above which an operator approves:above which"
        " two do. Unset: nothing can be",
        examples=[["BTC:10:0.5:2"]],
    )
    cool_down_s: Seconds = Field(
        default=86_400.0,
        description="How long a new address can't be used, nor anything be withdrawn after a password, factor or key changed",
    )
    second_factor: bool = Field(
        default=True,
        description="Whether only users with a second factor add addresses, withdraw, and make keys that may",
    )


class Cluster(Section):
    """The exchange as services: what all of them share. Not read by `zerosum up`."""

    name: Name = Field(default="zerosum", description="Begins the names of the deployment's topics, and is the database's keyspace")
    shards: Annotated[int, Field(ge=1, le=256)] = Field(
        default=4, description="UBSCore shards, each with a part of the accounts. Fixed when a deployment is made"
    )
    partitions: Annotated[int, Field(ge=1, le=256)] = Field(
        default=4, description="Engine partitions, each with a part of the symbols. Fixed when a deployment is made"
    )
    wait_s: Seconds = Field(default=120.0, description="How long a service that starts waits for what it needs")
    patience_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=0.3, description="How late another copy's output may be before a standby puts it out itself"
    )
    gather_s: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.02,
        description="How long a busy gateway or machine gathers between two messages that it sends; an idle one sends at once",
    )
    settle_gather_s: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.03, description="How long a busy settlement gathers between two batches that it writes"
    )
    snapshot_messages: Count = Field(default=20_000, description="Messages between two snapshots of a service's state")
    answer_s: Seconds = Field(default=10.0, description="After which the outcome of a command is answered as not known, with -1007")
    pending_max: Count = Field(default=50_000, description="Commands of a gateway under way; past it one is refused with -1008")
    operators: tuple[Operator, ...] = Field(
        default=(),
        description="Whose decisions about single records count, each with a public key (Ed25519)",
        examples=[["alice:" + "0f" * 32]],
    )
    signers: tuple[Signer, ...] = Field(
        default=(),
        description="Public keys (Ed25519) that what roles send to machines is signed with, each with its role; a :time in microseconds"
        " behind it ends it. Unset: nothing is signed, and whoever can write to the brokers is believed",
        examples=[["gateway:" + "0f" * 32]],
    )
    signing_key_file: Path | None = Field(
        default=None,
        description="What a service signs with, in a file that only its owner can read; of gateway, admin, ubscore and matching",
        examples=["/run/secrets/zerosum-signing"],
    )
    operators_needed: Count = Field(default=1, description="How many of them must decide the same before it counts; 2 where money is real")


class Kafka(Section):
    """The brokers that carry what the services say to each other."""

    servers: tuple[HostPort, ...] = Field(default=("127.0.0.1:9092",), description="Where some of the brokers are")
    replication: Annotated[int, Field(ge=1, le=15)] = Field(
        default=3, description="Brokers that have each message; for topics that `zerosum cluster init` makes"
    )
    in_sync: Annotated[int, Field(ge=1, le=15)] = Field(
        default=2, description="How many of them must, when it is acknowledged; for topics that `zerosum cluster init` makes"
    )
    delivery_s: Seconds = Field(default=30.0, description="After which a message that no broker took has failed")
    user: User = Field(
        default=None,
        description="Whom the brokers know this process as (SASL, SCRAM); unset: brokers that ask nobody",
        examples=["zerosum-ubscore"],
    )
    password_file: Path | None = Field(
        default=None,
        description="Where that user's password is, in a file that only its owner can read",
        examples=["/run/secrets/kafka"],
    )
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256"] = Field(default="SCRAM-SHA-512", description="How the password is proved")
    ca_file: Path | None = Field(
        default=None,
        description="Who vouches for the brokers, in PEM; set: TLS, and their certificates must be for the names that they are reached by",
        examples=["/etc/zerosum/kafka-ca.pem"],
    )


class Database(Section):
    """The CQL database (ScyllaDB or Cassandra) that has the record."""

    hosts: tuple[Host, ...] = Field(default=("127.0.0.1",), description="Where some of its nodes are")
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(default=9_042, description="Their port for CQL")
    local_dc: str | None = Field(
        default=None, description="The data center whose nodes are asked; unset: that of the first found", examples=["datacenter1"]
    )
    consistency: Literal["ONE", "QUORUM", "LOCAL_QUORUM"] = Field(
        default="LOCAL_QUORUM", description="Nodes that must have a row when it is written, and be asked when it is read"
    )
    replication: Annotated[int, Field(ge=1, le=15)] = Field(
        default=3, description="Nodes of a data center that have each row; for a keyspace that `zerosum cluster init` makes"
    )
    user: User = Field(
        default=None,
        description="The role that the database knows this process as; unset: a database that asks nobody",
        examples=["zerosum_gateway"],
    )
    password_file: Path | None = Field(
        default=None,
        description="Where that role's password is, in a file that only its owner can read",
        examples=["/run/secrets/database"],
    )
    ca_file: Path | None = Field(
        default=None,
        description="Who vouches for the nodes, in PEM; set: TLS, and their certificates must be for the addresses that they have",
        examples=["/etc/zerosum/database-ca.pem"],
    )


class Demo(Section):
    """A small market to look at."""

    enabled: bool = Field(
        default=True, description="Whether `zerosum up` lists three symbols and lets bots trade them; off where money is real"
    )


@final
class Settings(Section):
    """What belongs to no section, and the sections."""

    profile: Literal["dev", "prod"] = Field(
        default="dev",
        description="What this is for: prod, where money is real, refuses to start with what [is not safe](#profiles); dev warns",
    )
    data_directory: Path = Field(
        default=Path(DATA_DIRECTORY),
        description="Where everything lies that must not be lost; --data goes before it. In a file, only in one that --config names",
        examples=["/var/lib/zerosum"],
    )
    allow_root: bool = Field(
        default=False,
        description="Whether a process of profile prod may run as root: in a container whose root is nobody outside of it",
    )
    master_key: Annotated[SecretStr, AfterValidator(_master_key)] | None = Field(
        default=None,
        description="Seals the API keys. Belongs in the environment: a settings file is read by too many",
        examples=["0f1e" * 16],
    )
    master_key_file: Path | None = Field(
        default=None,
        description="Where that key is, in its stead; unset: master.key in the data directory, made at the first start",
        examples=["/run/secrets/zerosum"],
    )
    gateway: Gateway = Gateway()
    rest: Rest = Rest()
    websocket: WebSocket = WebSocket()
    operations: Operations = Operations()
    admin: Admin = Admin()
    tls: Tls = Tls()
    logging: Logging = Logging()
    log: Log = Log()
    snapshots: Snapshots = Snapshots()
    archive: Archive = Archive()
    follower: Follower = Follower()
    withdrawals: Withdrawals = Withdrawals()
    allowance: Allowance = Allowance()
    cluster: Cluster = Cluster()
    kafka: Kafka = Kafka()
    database: Database = Database()
    demo: Demo = Demo()


class Setting(NamedTuple):
    """One setting, as it is named, checked and explained."""

    section: str  # "" for those that stand before the first section
    key: str
    field: FieldInfo

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace(".", "_").upper()

    @property
    def type(self) -> Any:
        """Bare: without None, which says only that it may be left unset, and without bounds."""
        annotation = self.field.annotation
        if get_origin(annotation) in (Union, UnionType):
            (annotation,) = (arm for arm in get_args(annotation) if arm is not NoneType)
        return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation

    @property
    def is_secret(self) -> bool:
        return self.type is SecretStr


LISTS: Final = {
    Address: "a list of IP addresses", Host: "a list of names or addresses", HostPort: "a list of host:port",
    WithdrawalRule: "a list of ASSET:per day:approval:two approvals",
    Operator: "a list of name:64 hexadecimal digits", Signer: "a list of role:64 hexadecimal digits",
}  # fmt: skip
SECTIONS: Final = {key: type(field.default) for key, field in Settings.model_fields.items() if isinstance(field.default, Section)}


def _settings() -> Iterator[Setting]:
    for key, field in Settings.model_fields.items():
        if key not in SECTIONS:
            yield Setting("", key, field)
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            yield Setting(section, key, field)


SETTINGS: Final = {setting.name: setting for setting in _settings()}


def value_of(settings: Settings, name: str) -> object:
    """Of the setting of that name."""
    setting = SETTINGS[name]
    return getattr(getattr(settings, setting.section) if setting.section else settings, setting.key)


def shown(value: object) -> str:
    """A value as it would stand in the file; nothing for one that is not set."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def allowed(setting: Setting) -> str:
    """What a setting's value may be, in words."""
    kind, metadata = setting.type, setting.field.metadata
    low = next((bound.ge for bound in metadata if isinstance(bound, Ge)), None)
    above = next((bound.gt for bound in metadata if isinstance(bound, Gt)), None)
    high = next((bound.le for bound in metadata if isinstance(bound, Le)), None)
    if kind is bool:
        return "true or false"
    if kind is int:
        unit = f"a multiple of {SEGMENT_BYTES_STEP}" if setting.name == "log.segment_bytes" else "a whole number"
        return f"{unit} of {low} or more" if high is None else f"{unit} from {low} to {high}"
    if kind is float:
        return f"a number from {low} to {high}" if above is None else f"a number above {above}, and at most {high}"
    if kind is Path:
        return "a path"
    if kind is SecretStr:
        return "64 hexadecimal digits"
    if get_origin(kind) is Literal:
        *first, last = (json.dumps(choice) for choice in get_args(kind))
        return f"{', '.join(first)} or {last}"
    if get_origin(kind) is tuple:
        return LISTS[get_args(kind)[0]]
    if NAME_RULE in metadata:
        return "up to 31 small letters, digits and _, a letter first"
    if USER_RULE in metadata:
        return "up to 64 letters, digits and _.-"
    assert kind is str, f"the type of {setting.name} can be said in words"
    return "a name or an address"


def example(setting: Setting) -> str:
    """A value that would do, as it would stand in the file. Of a secret there is none: it would be copied."""
    assert not setting.is_secret
    examples = setting.field.examples
    return shown(examples[0] if examples else setting.field.default)
