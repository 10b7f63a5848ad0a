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


def shakes_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """The client's end of a handshake in memory: no socket. ssl.SSLError where there is none."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server, server_hostname=host)
    waiting = [asks, server.wrap_bio(to_server, to_client, server_side=True)]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    return asks
