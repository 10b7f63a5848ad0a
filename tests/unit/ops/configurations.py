"""The table of faulty configurations: a settings file, an environment, options and files, and exactly what is said of them."""

from __future__ import annotations

import hashlib
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from zerosum.errors import ConfigError
from zerosum.net.authority import DevAuthority
from zerosum.ops.settings import Given, resolve

Case = dict[str, Any]

CASES: Final[list[Case]] = tomllib.loads((Path(__file__).parent / "faulty_configurations.toml").read_text())["case"]
USER: Final = 1000
KEY: Final = hashlib.sha256(b"a master key of the tests").hexdigest()


@cache
def certificate() -> str:
    """Of an authority, good for some years."""
    with tempfile.TemporaryDirectory() as folder:
        return DevAuthority(Path(folder)).certificate_file.read_text()


def filled(text: str, folder: Path) -> str:
    return text.replace("{tmp}", str(folder)).replace("{key}", KEY).replace("{certificate}", certificate())


def lay(case: Case, folder: Path) -> Path:
    """The files of a case, and its settings file."""
    for file in case.get("files", []):
        path = folder / file["path"]
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if "link" in file:
            path.symlink_to(filled(file["link"], folder))
        else:
            path.write_text(filled(file["text"], folder))
            path.chmod(file["mode"])
        if "folder_mode" in file:
            path.parent.chmod(file["folder_mode"])
    config = folder / "zerosum.toml"
    config.write_text(filled(case.get("file", ""), folder))
    return config


def environment(case: Case, folder: Path) -> dict[str, str]:
    return {name: filled(text, folder) for name, text in case.get("env", {}).items()}


def refused(case: Case, folder: Path) -> list[str]:
    """The faults that are found."""
    options = {name: Given(*value) for name, value in case.get("options", {}).items()}
    config, env = lay(case, folder), environment(case, folder)
    with pytest.raises(ConfigError) as raised:
        resolve(config, env, options, case.get("role", "up"), case.get("user", USER))
    return [fault.replace(str(folder), "{tmp}") for fault in raised.value.faults]
