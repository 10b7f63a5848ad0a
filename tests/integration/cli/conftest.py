"""The command line within the test's own process: as `zerosum ARGUMENTS` runs it, errors and exit code included."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from zerosum.cli.main import app


class Said(NamedTuple):
    code: Any
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def run(*arguments: object) -> Said:
        """What it said. An exception that is not the exit of a command is the test's failure: its user would see a traceback."""
        monkeypatch.setattr(sys, "argv", ["zerosum", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capfd.readouterr()
        umask = os.umask(0o022)
        os.umask(umask)
        try:
            with pytest.raises(SystemExit) as ended:
                app()
        finally:
            os.umask(umask)  # a process that is to serve has set its own
        return Said(ended.value.code, *capfd.readouterr())

    return run
