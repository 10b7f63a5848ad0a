"""What a client of Kafka is told of TLS and of who it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer

from zerosum.log.kafka.settings import KafkaSettings, Login
from zerosum.net.authority import DevAuthority

LOGIN = Login("zerosum-gateway", "opensesame")


@pytest.mark.parametrize(
    ("login", "tls", "protocol"),
    [(None, False, "PLAINTEXT"), (LOGIN, False, "SASL_PLAINTEXT"), (None, True, "SSL"), (LOGIN, True, "SASL_SSL")],
)
def test_the_protocol_follows_from_user_and_authority(login: Login | None, tls: bool, protocol: str, tmp_path: Path) -> None:
    ca = DevAuthority(tmp_path).certificate_file.read_text() if tls else None
    told = KafkaSettings("127.0.0.1:1", login=login, ca=ca).common(lambda text: None)
    assert told["security.protocol"] == protocol
    assert told.get("ssl.endpoint.identification.algorithm") == ("https" if tls else None), "a certificate is for a name"
    Consumer({**told, "group.id": "any"}).close()  # the client takes it


def test_a_password_is_in_no_text_about_the_settings() -> None:
    assert "opensesame" not in repr(KafkaSettings("127.0.0.1:1", login=LOGIN))
