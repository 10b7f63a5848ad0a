"""`zerosum e2e --cluster`, scaled down: one iteration on the real broker and database, then orders through one connection."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from zerosum.cli.e2e import e2e_command

CLI = typer.Typer()
CLI.command()(e2e_command)


def test_everything_holds(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    options = ["--cluster", "--runs", "1", "--seconds", "5", "--rate", "300", "--count", "2000", "--users", "50"]
    result = CliRunner().invoke(CLI, [*options, "--data", str(tmp_path / "data"), "--report", str(report), "--json"])

    assert result.exit_code == 0, (result.output, result.exception)
    seen = json.loads(result.stdout)
    (run,) = seen["iterations"]
    assert run["requests"] > 1_000
    assert set(run["kinds"]) == {"place", "cross", "market", "amend", "cancel"}
    assert run["trades"] > 0 < run["fixed_trades"]
    assert len(run["verdicts"]) >= 14
    assert seen["piped"]["trades"] > 0
    assert "| run 1: no error or traceback in any log |" in report.read_text()
