"""
Every setting there is: a file zerosum.toml, and above it the environment.

    [rest]                              a section of the file
    port = 8700                         is the setting rest.port, and in the environment ZEROSUM_REST_PORT

Always true of what `load` gives:
  - each value was checked, and the sections fit together; otherwise ConfigError names every fault at once
  - a name that is no setting was refused, not passed over
docs/reference/configuration.md is made from this module.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, final, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from zerosum.errors import ConfigError
from zerosum.log.file_log import SEGMENT_BYTES
from zerosum.log.layout import GROUP_OVERHEAD_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_STEP, SEGMENT_HEADER_BYTES

PREFIX: Final = "ZEROSUM_"

_OTHERS: Final = re.compile(
    r"ZEROSUM_(?:PURE|SHARED)"  # of the build and the tests
    # What Kubernetes puts into every container for a service of that name.
    r"|ZEROSUM(?:_[A-Z0-9_]+)?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)|ZEROSUM_PORT"
)

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


Address = Annotated[str, AfterValidator(_address)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gateway(_Section):
    """What both listeners for clients share."""

    trusted_proxies: tuple[Address, ...] = Field(
        default=(), description="Addresses whose X-Forwarded-For says who the client is", examples=[["10.0.0.2"]]
    )


class Rest(_Section):
    """The listener for REST, and what it bears."""

    host: str = Field(default="127.0.0.1", description="Where it listens")
    port: Port = Field(default=8_700, description="Its port; 0 takes any that is free")
    connections_max: Count = Field(default=1_000, description="Past it a client reads 503 and -1008, and is closed")
    in_flight_max: Count = Field(default=10_000, description="Requests under way; past it one is answered 503 and -1008, and nothing was done")
    pipelined_max: Count = Field(
        default=32, description="Requests of one connection that wait for earlier ones; past it the connection is closed after these"
    )
    url_bytes_max: Count = Field(default=16_384, description="Past it a request is answered 414")
    header_bytes_max: Count = Field(default=16_384, description="Of all headers of a request; past it 431")
    headers_max: Count = Field(default=64, description="Past it a request is answered 431")
    body_bytes_max: Count = Field(default=65_536, description="Past it a request is answered 413")
    request_timeout_s: Seconds = Field(default=10.0, description="To send a request; past it 408")
    reply_timeout_s: Seconds = Field(default=30.0, description="To answer a request; past it 504 and -1007: its outcome is not known")
    send_timeout_s: Seconds = Field(default=30.0, description="For a client that does not read its response; past it the connection is cut off")
    keep_alive_s: Seconds = Field(default=60.0, description="Between two requests of a connection")
    shutdown_timeout_s: Seconds = Field(default=10.0, description="For what is under way when the server stops")


class WebSocket(_Section):
    """The listener for the WebSocket API, and what it bears: but for the first, of each connection."""

    host: str = Field(default="127.0.0.1", description="Where it listens")
    port: Port = Field(default=8_701, description="Its port; 0 takes any that is free")
    connections_max: Count = Field(default=1_000, description="Past it an opening handshake is answered 503")
    message_bytes_max: Count = Field(default=65_536, description="Of a message, in one frame or many; past it the connection is closed with 1009")
    messages_per_s_max: Count = Field(
        default=10_000, description="Frames in a second, pings and pongs included; past it the connection is closed with 1008"
    )
    in_flight_max: Count = Field(default=1_000, description="Requests under way; past it no more are read until some are answered")
    unread_bytes_max: Annotated[int, Field(ge=1_024)] = Field(
        default=1 << 20, description="Sent but not read by the client; past a quarter its requests wait, past the whole it is closed with 1008"
    )
    handshake_timeout_s: Seconds = Field(default=5.0, description="For the opening handshake")
    reply_timeout_s: Seconds = Field(
        default=30.0, description="To answer a request; past it the connection is closed with 1011: the outcome is not known"
    )
    ping_interval_s: Seconds = Field(default=20.0, description="Between pings")
    pong_timeout_s: Seconds = Field(default=60.0, description="Without a pong; past it the connection is closed with 1001")
    lifetime_s: Seconds = Field(default=86_400.0, description="After it the connection is closed with 1001, and the client connects anew")
    shutdown_timeout_s: Seconds = Field(default=10.0, description="For what is under way when the server stops")


class Operations(_Section):
    """The listener for health and metrics, which no client is to reach."""

    host: str = Field(default="127.0.0.1", description="Where it listens")
    port: Port = Field(default=8_702, description="Its port; 0 takes any that is free")


class Logging(_Section):
    """What the processes say of themselves, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is said")
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="For machines or for people; auto: for people on a terminal, JSON elsewhere"
    )
    lines_max: Count = Field(default=10_000, description="Lines that wait to be written; past it they are dropped and counted")


class Log(_Section):
    """The durable log of commands."""

    segment_bytes: Annotated[int, Field(ge=2 * SEGMENT_BYTES_STEP, le=SEGMENT_BYTES_MAX), AfterValidator(_segment_bytes)] = Field(
        default=SEGMENT_BYTES, description="Of a segment's file, which is made whole in advance; for segments yet to be made"
    )
    group_bytes_max: Annotated[int, Field(ge=4_096)] = Field(default=1 << 20, description="Of the commands that share one sync of the disk")
    pending_max: Count = Field(default=50_000, description="Commands that wait to be written or answered; past it one is refused with -1008")


class Snapshots(_Section):
    """States of the machines on disk, from which a start goes on."""

    every_records: Count = Field(default=200_000, description="Commands between two snapshots: the most that a start has to replay, about")
    keep: Count = Field(default=3, description="How many are kept")


class Archive(_Section):
    """What becomes of the log's segments that snapshots and the settled record no longer need."""

    policy: Literal["keep", "prune", "archive"] = Field(
        default="keep", description="They stay, go, or go once they are copied to archive.directory"
    )
    directory: Path | None = Field(
        default=None, description="Where copies go, best on another disk; unset: archive in the data directory", examples=["/backup/zerosum"]
    )


class Follower(_Section):
    """The process beside the exchange that settles, and takes snapshots."""

    unsettled_max: Count = Field(
        default=500_000, description="Commands applied but not settled; past it orders are refused with -1008 until it has caught up"
    )


class Allowance(_Section):
    """How much a client may ask for, as exchangeInfo says."""

    weight_per_minute: Count = Field(default=60_000, description="Weight of requests from one address; past it 429 and -1003")
    orders_per_10_seconds: Count = Field(default=10_000, description="Orders of one account; past it 429 and -1015")
    orders_per_day: Count = Field(default=20_000_000, description="The same, in a day")


class Demo(_Section):
    """A small market to look at."""

    enabled: bool = Field(default=True, description="Whether `zerosum up` lists three symbols and lets bots trade them; off where money is real")


@final
class Settings(_Section):
    """All settings. Those that stand here stand before the first section of the file."""

    data_directory: Path = Field(default=Path("data"), description="Where everything lies that must not be lost", examples=["/var/lib/zerosum"])
    master_key: Annotated[SecretStr, AfterValidator(_master_key)] | None = Field(
        default=None, description="Seals the API keys. Belongs in the environment: a settings file is read by too many", examples=["0f1e" * 16]
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
    logging: Logging = Logging()
    log: Log = Log()
    snapshots: Snapshots = Snapshots()
    archive: Archive = Archive()
    follower: Follower = Follower()
    allowance: Allowance = Allowance()
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
        """Without None, which says only that it may be left unset."""
        annotation = self.field.annotation
        if get_origin(annotation) in (Union, UnionType):
            (annotation,) = (arm for arm in get_args(annotation) if arm is not NoneType)
        return annotation


SECTIONS: Final = {key: field.annotation for key, field in Settings.model_fields.items() if isinstance(field.default, _Section)}


def _settings() -> Iterator[Setting]:
    for key, field in Settings.model_fields.items():
        if key not in SECTIONS:
            yield Setting("", key, field)
    for section, model in SECTIONS.items():
        assert model is not None
        for key, field in model.model_fields.items():
            yield Setting(section, key, field)


SETTINGS: Final = {setting.name: setting for setting in _settings()}
