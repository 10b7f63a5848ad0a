"""
How a process reaches Kafka, and what it bears.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError

CLIENT = "zerosum"
PROTOCOLS: Final = {(False, False): "PLAINTEXT", (False, True): "SASL_PLAINTEXT", (True, False): "SSL", (True, True): "SASL_SSL"}
"""By whether there is TLS, and a user."""
SILENT = logging.getLogger("zerosum.kafka.silent")
SILENT.disabled = True


@dataclass(frozen=True, slots=True)
class Login:
    """Whom the brokers know this process as (SASL). `mechanism`: SCRAM-SHA-512 or SCRAM-SHA-256: the password itself is never sent."""

    user: str
    password: str = field(repr=False)
    mechanism: str = "SCRAM-SHA-512"

    def client(self) -> dict[str, Any]:
        return {
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.user,
            "sasl.password": self.password,
        }


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """
    `prefix`: of the topics' names. `delivery_s`: after which a message that no broker took has failed. `queued_bytes`: that wait to be
    sent. `buffered_bytes`: of each stream that are fetched and not read yet. `patience_s`: how long a broker may gather what is to be
    fetched; 0: it sends what comes at once, which costs a request each time. `login`: None where brokers ask nobody who they are. `ca`: who
    vouches for the brokers, in PEM: with it, they are spoken to by TLS, and must be who they are reached as.
    """

    servers: str
    prefix: str = "zerosum"
    delivery_s: float = 30.0
    queued_bytes: int = 64 << 20
    buffered_bytes: int = 8 << 20
    patience_s: float = 0.0
    login: Login | None = None
    ca: str | None = None

    def common(self, warn: Callable[[str], None]) -> dict[str, Any]:
        """For producers and consumers. `warn` is called in threads of theirs."""
        return {
            "bootstrap.servers": self.servers,
            "security.protocol": PROTOCOLS[self.ca is not None, self.login is not None],
            **(self.login.client() if self.login is not None else {}),
            **({"ssl.ca.pem": self.ca, "ssl.endpoint.identification.algorithm": "https"} if self.ca is not None else {}),
            "client.id": CLIENT,
            "error_cb": lambda error: warn(error_text(error)),
            "log_level": 0,  # what matters comes by error_cb, or fails what asked for it
            "logger": SILENT,  # of a fatal error it would write a line to stderr all the same
            "socket.keepalive.enable": True,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            "retry.backoff.ms": 50,
            "retry.backoff.max.ms": 500,
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 30_000,
        }


def user_of(deployment: str, role: str) -> str:
    """The user that a role's services are known as."""
    return f"{deployment}-{role}"


def error_text(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"
