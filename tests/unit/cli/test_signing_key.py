"""What a service signs with is a key whose signature counts, or it does not start."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from zerosum.cli.cluster_settings import signing_key
from zerosum.errors import ConfigError
from zerosum.ops.settings_model import Settings

KEY = SigningKey(bytes(range(32)))
OTHER = SigningKey(bytes(32))
HOUR_US = 3_600_000_000


def settings(folder: Path, *signers: str) -> Settings:
    file = folder / "gateway.key"
    file.touch(mode=0o600)
    file.write_text(bytes(KEY).hex())
    return Settings.model_validate({"cluster": {"signers": signers, "signing_key_file": file}})


def line(key: SigningKey, role: str = "gateway", until_us: int = 0) -> str:
    return f"{role}:{bytes(key.verify_key).hex()}" + (f":{until_us}" if until_us else "")


def test_it_is_one_that_the_role_has_now(tmp_path: Path) -> None:
    now_us = time.time_ns() // 1_000
    for signers in ((line(KEY),), (line(OTHER), line(KEY)), (line(KEY, until_us=now_us + HOUR_US),)):
        assert signing_key(settings(tmp_path, *signers), "gateway") == KEY
    assert signing_key(Settings(), "gateway") is None


@pytest.mark.parametrize("signers", [(line(OTHER),), (line(KEY, "admin"),)])
def test_one_that_is_not_the_role_s_is_refused(signers: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none that cluster\.signers has for gateway"):
        signing_key(settings(tmp_path, *signers), "gateway")


def test_one_that_has_ended_is_refused(tmp_path: Path) -> None:
    ended = line(KEY, until_us=time.time_ns() // 1_000 - HOUR_US)
    with pytest.raises(ConfigError, match="what it signs does not count any more"):
        signing_key(settings(tmp_path, ended, line(OTHER)), "gateway")


def test_without_one_nothing_would_count(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.signing_key_file is not"):
        signing_key(Settings.model_validate({"cluster": {"signers": [line(KEY)]}}), "gateway")
