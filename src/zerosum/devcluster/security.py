"""
What makes the servers of a folder ask who somebody is, and prove who they are: an authority of the folder's own, and passwords.

    folder/authority/ca.pem     whom clients believe       folder/kafka.password, folder/database.password    ADMIN's
    <server's folder>/tls.pem   its key and certificate, issued anew at each start

Always true: what is secret is in files that only their owner can read, and in no process's arguments or environment.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from pathlib import Path
from typing import Final, NamedTuple, final

from zerosum.devcluster.ports import HOST
from zerosum.devcluster.process import POLL_S, ServerFailed
from zerosum.net.authority import DevAuthority, write_private

ADMIN: Final = "admin"
TLS: Final = "tls.pem"
SHOWN_S: Final = 30.0


class Admin(NamedTuple):
    """How ADMIN comes in. `ca_file`: who vouches for the servers."""

    password: str
    ca_file: Path


class Guard(NamedTuple):
    """Of one server. `tls_file`: its key and certificate."""

    tls_file: Path
    admin: Admin


@final
class Security:
    """Made with its folder. AuthorityBroken, OSError."""

    def __init__(self, folder: Path) -> None:
        self.kafka_password_file = folder / "kafka.password"
        self.database_password_file = folder / "database.password"
        self.authority = DevAuthority(folder / "authority")
        self.ca_file = self.authority.certificate_file

    @property
    def kafka(self) -> Admin:
        return Admin(secret_in(self.kafka_password_file), self.ca_file)

    @property
    def database(self) -> Admin:
        return Admin(secret_in(self.database_password_file), self.ca_file)

    def of_broker(self, folder: Path) -> Guard:
        return Guard(self._certified(folder), self.kafka)

    def of_database(self, folder: Path) -> Guard:
        return Guard(self._certified(folder), self.database)

    def _certified(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        certify(self.authority, folder.name, folder / TLS)
        return folder / TLS


def certify(authority: DevAuthority, name: str, file: Path) -> None:
    """A new key and certificate for a server on this machine, in one file, as servers in Java take them."""
    issued = authority.issue(name)
    write_private(file, issued.key.read_bytes() + issued.certificate.read_bytes())


def wait_for_certificate(port: int, authority: DevAuthority) -> None:
    """Until a server shows one by that authority to whoever comes. ServerFailed."""
    context, deadline = ssl.create_default_context(cafile=authority.certificate_file), time.monotonic() + SHOWN_S
    while True:
        try:
            with socket.create_connection((HOST, port), SHOWN_S) as connection, context.wrap_socket(connection, server_hostname=HOST):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ServerFailed(f"The server on port {port} does not show its new certificate: {error}.") from error
        time.sleep(POLL_S)


def secret_in(file: Path) -> str:
    """Made where there is none, for its owner alone."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32) + "\n")
    return file.read_text().strip()
