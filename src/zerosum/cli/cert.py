"""
`zerosum cert`: certificates for development, from an authority that only this machine's clients are told to believe.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from zerosum.cli.options import JsonOption
from zerosum.errors import ConfigError
from zerosum.net.authority import LOCAL, DevAuthority
from zerosum.ops.settings_model import SETTINGS

FOLDER: Final = Path("dev-certificates")
NAME: Final = "server"
HOST: Final = r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}"

cli = typer.Typer(no_args_is_help=True, help="Make certificates, so that the exchange speaks TLS.")


@cli.command("dev")
def dev(
    folder: Annotated[Path, typer.Option(help="Where they are put; an authority that is there is gone on with.")] = FOLDER,
    host: Annotated[list[str] | None, typer.Option(help="A name or address that clients use, besides localhost. Any number.")] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Make a certificate for development, and the authority that vouches for it.

    Again, it makes another certificate of the same authority: an exchange that runs with the one before takes it in a second or two.
    For production a certificate comes from an authority that all clients believe: docs/guides/tls.md.
    """
    hosts = [*LOCAL, *(each for each in host or [] if each not in LOCAL)]
    for each in hosts:
        if not re.fullmatch(HOST, each):
            raise ConfigError(f"--host {each!r} is no name of a host, and no address. Write one such as api.example, or 10.0.0.5.")
    authority = DevAuthority(folder.resolve())
    issued = authority.issue(NAME, hosts)
    settings = {"tls.certificate_file": str(issued.certificate), "tls.key_file": str(issued.key)}
    believed = str(authority.certificate_file)
    if as_json:
        typer.echo(json.dumps({"authority": believed, "hosts": hosts, "settings": settings}))
        return
    lines = [f"export {SETTINGS[name].variable}={value}" for name, value in settings.items()]
    typer.echo(
        "The exchange speaks TLS with these settings; in a settings file they stand in [tls]:\n\n  "
        + "\n  ".join(lines)
        + f"""

Clients reach it as {", ".join(hosts)}, and believe it once they are told to believe {believed}:

  curl             curl --cacert {believed} 'https://127.0.0.1:8700/api/v3/time'
  urllib, httpx    export SSL_CERT_FILE={believed}
  requests         requests.get(url, verify="{believed}")
  ccxt             export REQUESTS_CA_BUNDLE={believed}, and ccxt.binance({{..., "requests_trust_env": True}})
  python-binance   Client(api_key, secret, requests_params={{"verify": "{believed}"}})
"""
    )
