"""
`zerosum soak --cluster`: a cluster under load, of which something is killed or stopped all the time.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

import typer
import uvloop

from zerosum.bench.cluster.chaos import ALL, SHAPE, Chaos, Disturbed
from zerosum.bench.cluster.market import ACCOUNTS, FEE_PPM, FUNDS, LISTING, found_cluster_market
from zerosum.cli.tables import show_table
from zerosum.devcluster.deployment import DevDeployment

Progress = Callable[[float, str], None]
"""Seconds passed, and what is done now."""


def soak_of_cluster(minutes: float, as_json: bool, progress: Progress) -> None:
    """Exit code 1 unless everything held."""
    with tempfile.TemporaryDirectory(prefix="zerosum-soak-") as folder:
        deployment = DevDeployment(Path(folder), SHAPE, lambda line: progress(0.0, line))
        with deployment.running(keeps=False):
            seen = uvloop.run(disturbed(deployment, minutes * 60, progress))
    if as_json:
        typer.echo(json.dumps({"holds": all(each.holds for each in seen), "disturbed": [as_object(each) for each in seen]}))
    else:
        show(seen)
    if not all(each.holds for each in seen):
        raise typer.Exit(1)


async def disturbed(deployment: DevDeployment, seconds: float, progress: Progress) -> list[Disturbed]:
    """Until something does not hold, or the time is over and each has had its turn."""
    users = await found_cluster_market(deployment, LISTING, dict.fromkeys(ACCOUNTS, FUNDS), FEE_PPM)
    chaos = Chaos(deployment, users)
    began, seen = time.monotonic(), list[Disturbed]()
    for victim, how in cycle(ALL):
        passed = time.monotonic() - began
        if passed > seconds and len(seen) >= len(ALL):
            break
        progress(passed, f"{how} of {victim}")
        seen.append(await chaos.disturb(victim, how))
        if not seen[-1].holds:
            break
    return seen


def as_object(seen: Disturbed) -> dict[str, object]:
    return {**asdict(seen), "verdicts": [each._asdict() for each in seen.verdicts]}


def show(seen: list[Disturbed]) -> None:
    rows = [
        (
            each.how,
            each.victim,
            f"{each.pause_s:.1f} s",
            f"{each.taken_over_s:.2f} s" if each.taken_over_s is not None else "",
            f"{each.requests:,}",
            str(each.unknown),
            str(each.busy),
            wrong(each) or "all holds",
        )
        for each in seen
    ]
    styles = ["" if each.holds else "bold red" for each in seen]
    show_table(
        ("what", "of", "nothing succeeded for", "another copy had taken over after", "requests", "not told", "told busy", ""),
        rows,
        styles=styles,
    )


def wrong(seen: Disturbed) -> str:
    return "; ".join(f"{each.check}: {each.detail}" for each in seen.verdicts if not each.holds)
