"""
Settings from a file zerosum.toml, above it from the environment, and above that from options of the command line.

    option  >  environment  >  secret file that a setting names  >  settings file  >  default          the first that says something

    [rest]           a section of the file
    port = 8700      is the setting rest.port, and in the environment ZEROSUM_REST_PORT

Always true of what `load` gives:
  - each value was checked, and all fit together; otherwise ConfigError names every fault at once
  - a name that is no setting was refused, not passed over
  - for a role, the files that settings name are as they must be, and profile prod has nothing that is not safe (see safety.py)
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from zerosum.errors import ConfigError
from zerosum.log.layout import GROUP_OVERHEAD_BYTES, SEGMENT_HEADER_BYTES
from zerosum.ops.roles import Role
from zerosum.ops.safety import Risk, risks
from zerosum.ops.settings_files import Finding, file_faults
from zerosum.ops.settings_model import (
    DATA_DIRECTORY,
    PREFIX,
    SECTIONS,
    SETTINGS,
    Listener,
    Setting,
    Settings,
    allowed,
    example,
    shown,
    value_of,
)

FILE_NAME: Final = "zerosum.toml"
DATA: Final = "data_directory"
DATA_VARIABLE: Final = SETTINGS[DATA].variable

ALTERNATIVES: Final = (("master_key", "master_key_file"),)
"""Two settings for one thing: one that is set above the settings file goes before the other in it."""

_USER_INFO: Final = re.compile(r"//[^/\s\"']*@")  # of a URL that is given where none may be: it may have a password
_OTHERS: Final = re.compile(
    r"ZEROSUM_(?:PURE|SHARED)"  # of the build and the tests
    # What Kubernetes puts into every container for a service of that name.
    r"|ZEROSUM(?:_[A-Z0-9_]+)?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)|ZEROSUM_PORT"
)


class Effective(NamedTuple):
    """What a setting is, and why."""

    name: str
    value: str  # as it would stand in the file; a secret is masked
    source: str  # the file, the variable, the option, or "default"


class Given(NamedTuple):
    """A value that somebody set."""

    value: object
    source: str


class Resolved(NamedTuple):
    """The settings, and whence: `given` has the source of each that is not left at its default, `above_file` those that are no file's."""

    settings: Settings
    given: dict[str, str]
    above_file: dict[str, str]
    risks: list[Risk]

    @property
    def effective(self) -> list[Effective]:
        return [Effective(name, shown(value_of(self.settings, name)), self.given.get(name, "default")) for name in SETTINGS]


class Sources(NamedTuple):
    """What settings are made of, the later going before the earlier."""

    path: Path | None
    env: Mapping[str, str]
    options: Mapping[str, Given]  # by the setting's name


def sources(data: Path | None, config: Path | None, env: Mapping[str, str], options: Mapping[str, Given]) -> Sources:
    """
    For a command with --data and --config. The file is `config`, or zerosum.toml in the data directory if there is one; that one is
    found by its place, so it can't say that the data lie elsewhere. ConfigError.
    """
    if data is not None:
        options = {**options, DATA: Given(str(data), "--data")}
    if config is not None:
        return Sources(config, env, options)
    directory = data or Path(env.get(DATA_VARIABLE) or DATA_DIRECTORY)
    path = directory / FILE_NAME
    if not path.exists():
        return Sources(None, env, options)
    named = _from_file(path, []).get(DATA)
    if named is not None and named.value != str(directory):
        raise ConfigError(
            f"{DATA} is {_quoted(named.value)} in {path}, which was read because {directory} is the data directory.\n"
            "  Leave it out there; or keep that file elsewhere, and name it with --config."
        )
    return Sources(path, env, options)


def load(path: Path | None, env: Mapping[str, str], options: Mapping[str, Given] | None = None) -> Settings:
    """The settings of the file `path` (None: there is no file), the environment `env` and the command line's options. ConfigError."""
    return resolve(path, env, options).settings


def resolve(
    path: Path | None,
    env: Mapping[str, str],
    options: Mapping[str, Given] | None = None,
    role: Role | None = None,
    user: int | None = None,
) -> Resolved:
    """
    The same, with where each is from. `role`: who is to start with them, for which files are looked at, and what is not safe is found: in
    profile prod it is a fault. `user`: whose process that is, unless it is this one. ConfigError.
    """
    faults: list[str] = []
    in_file = _from_file(path, faults) if path is not None else {}
    above = {**_from_environment(env, faults), **(options or {})}
    for pair in ALTERNATIVES:
        for one, other in (pair, pair[::-1]):
            if one in above and other not in above:
                in_file.pop(other, None)
    given = in_file | above
    values: dict[str, object] = {}
    for name, (value, source) in given.items():
        setting = SETTINGS[name]
        try:
            values[name] = _checked(setting, value)
        except (ValidationError, ValueError, TypeError):
            faults.append(_fault(setting, value, source))
    sound = _settings_of(values)
    above_file = {name: source for name, (_, source) in above.items()}
    found = [] if role is None else list(risks(sound, above_file, role, os.geteuid() if user is None else user))
    findings = list(_conflicts(sound, given))
    if role is not None:
        findings += file_faults(sound, role)
    if sound.profile == "prod":
        findings += [Finding(risk.names, risk.refusal) for risk in found]
    # What is at odds with a faulty setting may not be, once that is mended: so those faults wait.
    faults += [text for names, text in findings if all(name in values or name not in given for name in names)]
    if faults:
        raise ConfigError(*faults)
    return Resolved(sound, {name: source for name, (_, source) in given.items()}, above_file, found)


def check_variables(env: Mapping[str, str]) -> None:
    """For a command that reads no settings but where the data are: a misspelled variable is not to send it elsewhere. ConfigError."""
    faults: list[str] = []
    _from_environment(env, faults)
    if faults:
        raise ConfigError(*faults)


# -- how it is done: names to values, values to settings, faults gathered on the way


def _from_file(path: Path, faults: list[str]) -> dict[str, Given]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Name a settings file that can, or none.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: its byte {error.start} is 0x{error.object[error.start]:02x}. Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:  # tomllib's own, and what it lets through: a number of 5,000 digits
        raise ConfigError(f"{path} is not TOML: {error}. A setting is a line such as port = 8700, below its [section].") from error
    given: dict[str, Given] = {}
    for key, value in content.items():
        if key not in SECTIONS:
            _note(key, value, path.name, given, faults)
        elif isinstance(value, dict):
            for inner, item in value.items():
                _note(f"{key}.{inner}", item, path.name, given, faults)
        else:
            faults.append(f"{key} is {_quoted(value)} in {path.name}, but it is a section: write [{key}], and its settings below.")
    return given


def _note(name: str, value: object, source: str, given: dict[str, Given], faults: list[str]) -> None:
    if name in SETTINGS:
        given[name] = Given(value, source)
    else:
        shown_name = f"[{name}]" if isinstance(value, dict) else name
        faults.append(f"{shown_name} in {source} is no setting.{_nearest(name, [*SETTINGS, *SECTIONS])}")


def _from_environment(env: Mapping[str, str], faults: list[str]) -> dict[str, Given]:
    by_variable = {setting.variable: setting for setting in SETTINGS.values()}
    given: dict[str, Given] = {}
    for variable, text in sorted(env.items()):
        if variable in by_variable:
            if text:  # an empty one is one that is not set: that is how it is taken back
                setting = by_variable[variable]
                given[setting.name] = Given(_from_text(setting, text), variable)
        elif variable.startswith(PREFIX) and not _OTHERS.fullmatch(variable):
            faults.append(f"{variable} in the environment is no setting.{_nearest(variable, by_variable)}")
    return given


def _from_text(setting: Setting, text: str) -> object:
    """A variable's text as the value that would stand in the file; the text itself where it is none."""
    if get_origin(setting.type) is tuple and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",")]
    if setting.type in (bool, int, float) or get_origin(setting.type) is tuple:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _checked(setting: Setting, value: object) -> object:
    """The value in its own type. ValidationError, or ValueError and TypeError for what JSON does not have."""
    if value == "":
        raise ValueError
    kind: Any = Annotated[setting.field.annotation, *setting.field.metadata] if setting.field.metadata else setting.field.annotation
    adapter = TypeAdapter(kind, config=ConfigDict(strict=True))
    return adapter.validate_json(json.dumps(value))  # by way of JSON: there a path or a list is not yet one of Python's


def _settings_of(values: Mapping[str, object]) -> Settings:
    top = {name: value for name, value in values.items() if SETTINGS[name].section == ""}
    for section, model in SECTIONS.items():
        top[section] = model(**{SETTINGS[name].key: value for name, value in values.items() if SETTINGS[name].section == section})
    return Settings.model_validate(top)


def _conflicts(settings: Settings, given: Mapping[str, Given]) -> Iterator[Finding]:
    """What is at odds with each other."""
    if settings.master_key is not None and settings.master_key_file is not None:
        yield Finding(
            ("master_key", "master_key_file"),
            f"master_key and master_key_file are both set ({given['master_key'].source}, {given['master_key_file'].source}).\n"
            "  Leave one of them unset: two keys cannot both be the one that seals.",
        )
    listeners: dict[str, Listener] = {
        "rest": settings.rest,
        "websocket": settings.websocket,
        "operations": settings.operations,
        "admin": settings.admin,
    }
    for (one, first), (other, second) in combinations(listeners.items(), 2):
        if first.port == second.port != 0 and first.host == second.host:
            yield Finding(
                tuple(f"{name}.{key}" for name in (one, other) for key in ("host", "port")),
                f"{other}.port is {second.port}, and so is {one}.port, both on {first.host}.\n"
                f"  Give each listener its own: another {other}.port, or 0 for any that is free.",
            )
    if settings.cluster.operators and settings.cluster.operators_needed > len(settings.cluster.operators):
        yield Finding(
            ("cluster.operators_needed", "cluster.operators"),
            f"cluster.operators_needed is {settings.cluster.operators_needed}, and cluster.operators names"
            f" {len(settings.cluster.operators)}: nothing could ever be decided.\n"
            "  Set cluster.operators_needed to that or less, or name more.",
        )
    if (settings.tls.certificate_file is None) != (settings.tls.key_file is None):
        named, missing = ("certificate_file", "key_file") if settings.tls.key_file is None else ("key_file", "certificate_file")
        yield Finding(
            ("tls.certificate_file", "tls.key_file"),
            f"tls.{named} is set, and tls.{missing} is not: TLS needs both.\n  Set tls.{missing}; or neither, and no TLS is spoken.",
        )
    if settings.kafka.in_sync > settings.kafka.replication:
        yield Finding(
            ("kafka.in_sync", "kafka.replication"),
            f"kafka.in_sync is {settings.kafka.in_sync}, and kafka.replication is {settings.kafka.replication}: no message could ever be"
            " acknowledged.\n  Set kafka.in_sync to that or less, or kafka.replication to more.",
        )
    for section, asks, logs_in in (("kafka", "the brokers ask", settings.kafka), ("database", "the database asks", settings.database)):
        if (logs_in.user is None) != (logs_in.password_file is None):
            named, missing = ("user", "password_file") if logs_in.user is not None else ("password_file", "user")
            yield Finding(
                (f"{section}.user", f"{section}.password_file"),
                f"{section}.{named} is set, and {section}.{missing} is not: {asks} for both.\n  Set {section}.{missing}, or neither.",
            )
    if settings.archive.policy != "keep" and settings.snapshots.keep < 2:
        yield Finding(
            ("archive.policy", "snapshots.keep"),
            f"archive.policy is {settings.archive.policy}, and snapshots.keep is {settings.snapshots.keep}: with the log pruned behind"
            " the only snapshot, that must never be damaged.\n  Set snapshots.keep to 2 or more, or archive.policy to keep.",
        )
    room_bytes = settings.log.segment_bytes - SEGMENT_HEADER_BYTES - 3 * GROUP_OVERHEAD_BYTES
    if settings.log.group_bytes_max > room_bytes:
        yield Finding(
            ("log.group_bytes_max", "log.segment_bytes"),
            f"log.group_bytes_max is {settings.log.group_bytes_max}, but a segment of {settings.log.segment_bytes} bytes has room for "
            f"groups of {room_bytes}.\n  Set log.group_bytes_max to that or less, or log.segment_bytes to more.",
        )


def _fault(setting: Setting, value: object, source: str) -> str:
    said = "malformed" if setting.is_secret else _quoted(value)
    fault = f"{setting.name} is {said} in {source}, but must be {allowed(setting)}.\n"
    if setting.is_secret:
        return f"{fault}  Make one with: openssl rand -hex 32"
    where = f"in [{setting.section}]" if setting.section else "before the first section"
    sample = example(setting)
    return f"{fault}  For example {setting.key} = {sample} {where}, or {setting.variable}={sample.strip('[]').replace(chr(34), '')}."


def _quoted(value: object) -> str:
    text = _USER_INFO.sub("//***@", shown(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(name: str, names: Iterable[str]) -> str:
    """A hint at what was meant, where something comes near."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [each for each in names if each.rpartition(".")[2] == name]
    return f" Did you mean {' or '.join(near[:3])}?" if near else ""
