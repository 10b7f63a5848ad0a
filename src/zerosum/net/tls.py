"""
TLS at a listener: what is spoken, and a certificate that may be renewed while it serves.

    two files --check--> SSLContext --> each new handshake
       ^                     |
       +-- looked at, every second: another pair, if it is a good one, is for the handshakes from then on

    TLS 1.2   ECDHE on P-256, with AES-GCM or ChaCha20-Poly1305   TLS 1.3   all of its suites, on P-256
    neither   compression, renegotiation, early data, sessions that are gone on with: a ticket's key would be worth stealing

Always true:
  - a pair that can't serve (unreadable, not of one another, expired, a key that others may read) is refused with its reason: at the start
    the process does not start, later the pair before it stays
  - a context is made whole before it serves, and is not changed after: no handshake meets half of a pair
  - connections that are open stay as they are, whatever becomes of the files
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, NoReturn, final

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from zerosum.errors import ConfigError
from zerosum.net.watched import LOOK_S, Watched

CERTIFICATE: Final = "tls.certificate_file"
KEY: Final = "tls.key_file"
MinimumVersion = Literal["1.2", "1.3"]

# The one group that every client has. Left to itself the library also takes ffdhe8192, a handshake in which takes 10 ms, and costs whoever
# asks for it nothing. The price: a client that first guesses X25519 needs a round trip more.
GROUP: Final = "prime256v1"

# A level of 2 refuses what has less than 112 bits: RSA below 2048, SHA-1.
SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
OTHERS: Final = 0o077
DAY_S: Final = 86_400
WARN_S: Final = 14 * DAY_S  # before a certificate expires


class Pair(NamedTuple):
    """A certificate and its key, ready to serve. `expires_s`: since 1970, of the first in its chain that does."""

    context: ssl.SSLContext
    expires_s: float


def load_pair(certificate_file: Path, key_file: Path, minimum_version: MinimumVersion, now_s: float) -> Pair:
    """ConfigError, which names the setting and the mend, and nothing of the key."""
    chain = _chain(certificate_file)
    _check_key(key_file, chain[0], certificate_file)
    for certificate in chain:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begins.timestamp() <= now_s < ends.timestamp():
            raise ConfigError(
                f"{CERTIFICATE} is {certificate_file}, with a certificate that is good from {begins:%Y-%m-%d %H:%M} to"
                f" {ends:%Y-%m-%d %H:%M} UTC only. Renew it; or set this machine's clock, if that is wrong."
            )
    context = _context(minimum_version)
    try:
        context.load_cert_chain(certificate_file, key_file, _no_password)
    except (OSError, ValueError) as error:  # what the library refuses in a pair that is well formed: a key that is too short
        raise ConfigError(f"{CERTIFICATE} {certificate_file} and {KEY} {key_file} can't be used: {error}. Have others issued.") from error
    return Pair(context, min(certificate.not_valid_after_utc.timestamp() for certificate in chain))


def _chain(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{CERTIFICATE} is {file}, which can't be read: {error.strerror}. Name a PEM file with the certificate and its chain."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{CERTIFICATE} is {file}, which holds no certificate in PEM. It must begin with -----BEGIN CERTIFICATE-----, the server's own"
            " first, then those that vouch for it."
        ) from error


def _check_key(file: Path, certificate: x509.Certificate, certificate_file: Path) -> None:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode & 0o777
            pem = opened.read()
    except OSError as error:
        raise ConfigError(f"{KEY} is {file}, which can't be read: {error.strerror}. Name the PEM file of the certificate's key.") from error
    if mode & OTHERS:
        raise ConfigError(f"{KEY} is {file}, which others than its owner may read or write (mode {mode:04o}). Run: chmod 600 {file}")
    try:
        public = load_pem_private_key(pem, None).public_key()
    except TypeError as error:
        raise ConfigError(f"{KEY} is {file}, which is locked with a password. Unlock it: openssl pkey -in {file}") from error
    except ValueError as error:
        raise ConfigError(f"{KEY} is {file}, which holds no private key in PEM: it must begin with -----BEGIN PRIVATE KEY-----.") from error
    except UnsupportedAlgorithm as error:
        raise ConfigError(f"{KEY} is {file}, of a kind that can't be used: {error}. Have one issued on P-256, or of RSA.") from error
    try:
        certified = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{CERTIFICATE} is {certificate_file}, of a key that can't be used: {error}. Have another issued.") from error
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*spki) != certified.public_bytes(*spki):
        raise ConfigError(
            f"{KEY} is {file}, and is not the key of the first certificate in {CERTIFICATE}, {certificate_file}. Name two that belong"
            " together."
        )


def _context(minimum_version: MinimumVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[minimum_version]
    context.set_ciphers(SUITES)
    context.set_ecdh_curve(GROUP)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def _no_password() -> NoReturn:
    """The library would ask for one on the terminal, and wait."""
    raise ValueError("the key is locked with a password")


@final
class ServerTls:
    """The pair of two files, checked at once: ConfigError. Followed from `start` to `stop`."""

    def __init__(
        self, certificate_file: Path, key_file: Path, minimum_version: MinimumVersion = "1.2", *, look_s: float = LOOK_S,
        clock_s: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._certificate_file: Final = certificate_file
        self._key_file: Final = key_file
        self._minimum_version: Final = minimum_version
        self._look_s: Final = look_s
        self._clock_s: Final = clock_s
        self._log: Any = structlog.get_logger("tls")
        self._watched = Watched([certificate_file, key_file])  # before they are read: what changes meanwhile is noticed
        self._pair = load_pair(certificate_file, key_file, minimum_version, clock_s())
        self._refused = ""  # why the pair in the files is not the one that serves
        self._warned_s = 0.0
        self._following: asyncio.Task[None]

    @property
    def context(self) -> ssl.SSLContext:
        """For the next handshake."""
        return self._pair.context

    @property
    def expires_in_s(self) -> float:
        """Below zero once it has."""
        return self._pair.expires_s - self._clock_s()

    def start(self) -> None:
        """Follow the files from here on."""
        self._following = asyncio.create_task(self._follow(), name="certificate")

    def stop(self) -> None:
        self._following.cancel()

    async def _follow(self) -> None:
        while True:
            self._warn_if_due()
            await asyncio.sleep(self._look_s)
            if self._watched.changed() or self._refused:  # what is mended may not be a change of the files: a mode, the clock
                self._load_anew()

    def _load_anew(self) -> None:
        try:
            self._pair = load_pair(self._certificate_file, self._key_file, self._minimum_version, self._clock_s())
        except ConfigError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                self._log.error("tls.certificate_refused", why=self._refused, stays="the one before it", expires_in_days=self._days)
        else:
            self._refused, self._warned_s = "", 0.0
            self._log.info("tls.certificate_loaded", file=str(self._certificate_file), expires_in_days=self._days)

    def _warn_if_due(self) -> None:
        now_s = self._clock_s()
        if self.expires_in_s < WARN_S and now_s - self._warned_s >= DAY_S:
            self._warned_s = now_s
            self._log.warning("tls.certificate_expires", file=str(self._certificate_file), expires_in_days=self._days)

    @property
    def _days(self) -> float:
        return round(self.expires_in_s / DAY_S, 1)
