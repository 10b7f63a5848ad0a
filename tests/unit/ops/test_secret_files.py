"""Secrets in files: read, or refused with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerosum.errors import ConfigError
from zerosum.ops.secret_files import read_secret


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_secret_is_the_file_s_line(tmp_path: Path) -> None:
    assert read_secret(written(tmp_path / "secret", b"pass word\n"), "kafka.password_file") == "pass word"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_one_that_others_can_read_or_write_is_refused(mode: int, tmp_path: Path) -> None:
    path = written(tmp_path / "secret", b"password\n", mode)
    with pytest.raises(ConfigError, match=rf"kafka.password_file is {path}, which others .* Run: chmod 600 {path}") as caught:
        read_secret(path, "kafka.password_file")
    assert "password\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\n", b"two\nlines\n", b"nul\0", b"\xff"])
def test_one_that_is_no_line_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kafka.password_file is .*secret in one line"):
        read_secret(written(tmp_path / "secret", data), "kafka.password_file")


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"which can't be read: No such file or directory. Name a file with the secret in one line."):
        read_secret(tmp_path / "secret", "kafka.password_file")
