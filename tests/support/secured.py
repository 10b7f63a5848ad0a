"""A server's certificate, and a client that believes it."""

from __future__ import annotations

import ssl
from functools import cached_property
from pathlib import Path

from zerosum.net.authority import DevAuthority, Issued
from zerosum.net.tls import ServerTls


class Secured:
    """Made with its folder."""

    def __init__(self, folder: Path) -> None:
        authority = DevAuthority(folder)
        self.issued: Issued = authority.issue("server")
        self.authority_file = authority.certificate_file
        self.client = ssl.create_default_context(cafile=str(self.authority_file))

    @cached_property
    def server(self) -> ServerTls:
        return ServerTls(self.issued.certificate, self.issued.key)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to serve with it."""
        return {"ZEROSUM_TLS_CERTIFICATE_FILE": str(self.issued.certificate), "ZEROSUM_TLS_KEY_FILE": str(self.issued.key)}
