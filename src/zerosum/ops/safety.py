"""
What is not safe where money is real, setting by setting.

    settings, sources, role --> Risk, Risk, ...        profile "prod": each is a fault, and nothing is started
                                                       profile "dev": a warning

Always true: a risk says which setting, what could come of it, and what to set instead. Defaults are safe on one's own machine, so a first
start there is told nothing (see `Risk.is_told_at_start`); `zerosum config check` tells all.
"""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from annotated_types import Ge, Gt

from zerosum.errors import ConfigError
from zerosum.identity.sealing import KEYS_MAX
from zerosum.ops.master_keys import weakness
from zerosum.ops.roles import FOR_CLIENTS, FOR_OPERATORS, OF_A_CLUSTER, THAT_RUN, WITH_DATABASE, WITH_IDENTITIES, Role, public_listeners
from zerosum.ops.secret_files import OTHERS, open_folder, read_secret
from zerosum.ops.settings_files import FILES
from zerosum.ops.settings_model import SETTINGS, Setting, Settings, shown, value_of

BOUND_FACTOR_MAX: Final = 100
"""A bound that is so many times its default bounds nothing any more: no machine bears what it lets in."""
BOUNDED: Final = ("rest", "websocket", "allowance")
NEW_KEY: Final = "Make one with: openssl rand -hex 32"


class Risk(NamedTuple):
    """`names`: the settings that it comes from. `is_told_at_start`: also in profile dev, because somebody has set it so."""

    names: tuple[str, ...]
    what: str
    mend: str
    is_told_at_start: bool = False

    @property
    def refusal(self) -> str:
        return f"{self.what}. Profile prod refuses that.\n  {self.mend}"

    @property
    def warning(self) -> str:
        return f"{self.what}. Profile prod would refuse that.\n  {self.mend}"


def risks(settings: Settings, variables: Mapping[str, str], role: Role, user: int) -> Iterator[Risk]:
    """`variables`: by setting, its source where that is no file, as `Resolved.above_file`. `user`: who runs this, as a number."""
    yield from _of_listeners(settings, role)
    yield from _of_secrets(settings, variables, role)
    if role in FOR_CLIENTS:
        yield from _of_bounds(settings)
        if settings.withdrawals.rules and not settings.withdrawals.second_factor:
            yield Risk(
                ("withdrawals.second_factor",),
                "withdrawals.second_factor is false: who has guessed a password takes the money out",
                "Set withdrawals.second_factor to true.",
            )
    if role == "up" and settings.demo.enabled:
        yield Risk(
            ("demo.enabled",), "demo.enabled is true: bots would trade with made-up money", "Set demo.enabled to false, or --no-demo."
        )
    if role in OF_A_CLUSTER:
        yield from _of_a_cluster(settings)
        yield from _of_its_servers(settings, role)
    if role in THAT_RUN:
        yield from _of_the_process(settings, user)


# -- who can reach it


def _of_listeners(settings: Settings, role: Role) -> Iterator[Risk]:
    for name in public_listeners(role) if settings.tls.certificate_file is None else ():
        host = value_of(settings, f"{name}.host")
        if not is_loopback(str(host)):
            yield Risk(
                (f"{name}.host",),
                f"{name}.host is {host}, and {name} speaks no TLS: keys and orders can be read and changed on their way",
                f"Set tls.certificate_file and tls.key_file; or {name}.host to 127.0.0.1, and have a server beside it speak TLS with"
                " clients.",
                is_told_at_start=True,
            )
    for name, roles in (("operations", THAT_RUN), ("admin", FOR_OPERATORS)):
        host = str(value_of(settings, f"{name}.host"))
        if role in roles and not is_private(host):
            yield Risk(
                (f"{name}.host",),
                f"{name}.host is {host}, which others than operators may reach",
                f"Set {name}.host to a loopback or private address, such as 127.0.0.1 or 10.0.0.5.",
                is_told_at_start=True,
            )
    if role in FOR_OPERATORS and not is_loopback(settings.admin.host) and settings.tls.certificate_file is None:
        yield Risk(
            ("admin.host",),
            f"admin.host is {settings.admin.host}, and admin speaks no TLS: passwords can be read on their way",
            "Set tls.certificate_file and tls.key_file; or admin.host to 127.0.0.1, and have a server beside it speak TLS with operators.",
            is_told_at_start=True,
        )
    for proxy in settings.gateway.trusted_proxies if role in FOR_CLIENTS else ():
        address = ipaddress.ip_address(proxy)
        if address.is_unspecified or address.is_multicast or proxy == "255.255.255.255":
            yield Risk(
                ("gateway.trusted_proxies",),
                f"gateway.trusted_proxies has {proxy}, which is no proxy's own address",
                "Name each proxy by its address: whoever is trusted says who the client is.",
                is_told_at_start=True,
            )


def is_loopback(host: str) -> bool:
    """A name may lead anywhere, but for localhost."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_private(host: str) -> bool:
    """Of addresses, those that no public network carries. "All of this machine's" is none of them."""
    address = _address(host)
    return is_loopback(host) if address is None else address.is_private and not address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


# -- secrets


def _of_secrets(settings: Settings, variables: Mapping[str, str], role: Role) -> Iterator[Risk]:
    if role in WITH_IDENTITIES:
        yield from _of_the_master_key(settings, variables)
    for file in FILES:
        path = value_of(settings, file.setting)
        if not isinstance(path, Path) or role not in file.roles or not file.is_secret:
            continue
        try:
            folder = open_folder(path)
        except OSError:
            continue  # which is a fault of its own
        if folder is not None:
            yield Risk(
                (file.setting,),
                f"{file.setting} is {path}, and others may put another file in its place: {folder[0]} has mode {folder[1]:04o}",
                f"Run: chmod go-w {folder[0]}",
                is_told_at_start=True,
            )


def _of_the_master_key(settings: Settings, variables: Mapping[str, str]) -> Iterator[Risk]:
    if settings.master_key is not None:
        if "master_key" not in variables:
            yield Risk(
                ("master_key",),
                "master_key stands in the settings file, which is read by too many",
                "Move it into a file of its own, mode 0600, and name that in master_key_file; or into ZEROSUM_MASTER_KEY.",
                is_told_at_start=True,
            )
        yield from _of_its_digits("master_key", settings.master_key.get_secret_value())
        return
    file = settings.master_key_file
    if file is None:
        yield Risk(
            ("master_key", "master_key_file"),
            "master_key_file is not set: the key would lie in the data directory, beside the API keys that it seals",
            "Set master_key_file to a file elsewhere, or ZEROSUM_MASTER_KEY.",
        )
        return
    if file.resolve().is_relative_to(settings.data_directory.resolve()):
        yield Risk(
            ("master_key_file", "data_directory"),
            f"master_key_file is {file}, in the data directory, beside the API keys that it seals",
            "Keep it in another folder: a copy of the data is then no copy of the key.",
        )
    try:
        keys = read_secret(file, "master_key_file", lines_max=KEYS_MAX).split()
    except ConfigError:
        return  # which is a fault of its own
    for key in keys:
        yield from _of_its_digits("master_key_file", key)


def _of_its_digits(name: str, key: str) -> Iterator[Risk]:
    try:
        weak = weakness(key)
    except ValueError:
        return  # no digits, which is a fault of its own
    if weak is not None:
        subject = "master_key" if name == "master_key" else "the key in master_key_file"
        yield Risk((name,), f"{subject} {weak}, so it can be guessed", NEW_KEY, is_told_at_start=True)


# -- how much is let in


def _of_bounds(settings: Settings) -> Iterator[Risk]:
    for setting in SETTINGS.values():
        if setting.section in BOUNDED and _is_bound(setting):
            value, default = value_of(settings, setting.name), setting.field.default
            assert isinstance(value, int | float), "a bound is a number"
            if value > BOUND_FACTOR_MAX * default:
                yield Risk(
                    (setting.name,),
                    f"{setting.name} is {shown(value)}, which bounds nothing",
                    f"Set it to {shown(BOUND_FACTOR_MAX * default)} or less; unless set it is {shown(default)}.",
                    is_told_at_start=True,
                )
    for section in ("rest", "websocket"):
        every, each = f"{section}.connections_max", f"{section}.connections_per_address_max"
        most, most_of_one = value_of(settings, every), value_of(settings, each)
        assert isinstance(most, int), "a count"
        assert isinstance(most_of_one, int), "a count"
        if most_of_one >= most:
            yield Risk(
                (each, every),
                f"{each} is {most_of_one}, and {every} is {most}: one address could have all of them",
                f"Set {each} to less than {every}.",
                is_told_at_start=True,
            )


def _is_bound(setting: Setting) -> bool:
    return setting.type in (int, float) and setting.key != "port" and any(isinstance(each, Ge | Gt) for each in setting.field.metadata)


# -- who may say what, and what is lost with one machine


def _of_its_servers(settings: Settings, role: Role) -> Iterator[Risk]:
    kafka, database = settings.kafka, settings.database
    if kafka.user is None:
        yield Risk(
            ("kafka.user",),
            "kafka.user is not set: whoever reaches the brokers can trade and deposit as anybody",
            "Set kafka.user and kafka.password_file, and have the brokers ask for them.",
        )
    if kafka.ca_file is None:
        yield Risk(
            ("kafka.ca_file",),
            "kafka.ca_file is not set: whoever is on the network between can read and change what is said to the brokers",
            "Set kafka.ca_file, and have the brokers speak TLS.",
        )
    if role not in WITH_DATABASE:
        return
    if database.user is None:
        yield Risk(
            ("database.user",),
            "database.user is not set: whoever reaches the database can change the record, and make API keys",
            "Set database.user and database.password_file, and have the database ask for them.",
        )
    if database.ca_file is None:
        yield Risk(
            ("database.ca_file",),
            "database.ca_file is not set: whoever is on the network between can read and change what is said to the database",
            "Set database.ca_file, and have the database speak TLS.",
        )


def _of_a_cluster(settings: Settings) -> Iterator[Risk]:
    kafka, database = settings.kafka, settings.database
    if not settings.cluster.signers:
        yield Risk(
            ("cluster.signers",),
            "cluster.signers is empty: a stolen gateway could deposit, and report fills",
            "Make a key for each role with `zerosum cluster signer`, and put the lines that it prints there.",
        )
    for name, copies in (("kafka.replication", kafka.replication), ("kafka.in_sync", kafka.in_sync)):
        if copies == 1:
            yield Risk(
                (name,), f"{name} is 1: what was acknowledged may be lost with one broker", f"Set {name} to {SETTINGS[name].field.default}."
            )
    if database.replication == 1:
        yield Risk(("database.replication",), "database.replication is 1: rows are lost with one node", "Set database.replication to 3.")
    if database.consistency == "ONE":
        yield Risk(
            ("database.consistency",),
            "database.consistency is ONE: a key that was revoked may still be read as good",
            "Set database.consistency to LOCAL_QUORUM.",
        )
    if settings.cluster.operators_needed == 1 and settings.cluster.operators:
        yield Risk(
            ("cluster.operators_needed",),
            "cluster.operators_needed is 1: one operator alone could change what accounts hold",
            "Set cluster.operators_needed to 2, and name two operators or more.",
        )
    if not settings.cluster.operators:
        yield Risk(
            ("cluster.operators",),
            "cluster.operators is empty: nobody could decide about a record that stops every copy",
            "Make a key with `zerosum cluster operator`, and put the line that it prints there.",
        )


# -- the process and its folder


def _of_the_process(settings: Settings, user: int) -> Iterator[Risk]:
    if settings.logging.level == "debug":
        yield Risk(("logging.level",), "logging.level is debug: logs would say more than is to be kept", "Set logging.level to info.")
    folder = settings.data_directory
    if folder.is_dir() and (mode := stat.S_IMODE(folder.stat().st_mode)) & OTHERS:
        yield Risk(
            ("data_directory",),
            f"data_directory is {folder}, which others than its owner may read or write (mode {mode:04o})",
            f"Run: chmod 700 {folder}",
        )
    if user == 0 and not settings.allow_root:
        yield Risk(
            ("allow_root",),
            "this process runs as root, and needs nothing that only root may do",
            "Run it as a user of its own; or set allow_root to true, where root is nobody outside of a container.",
        )
