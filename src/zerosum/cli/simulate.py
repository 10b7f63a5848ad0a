"""
`zerosum simulate`: the roles of a cluster in a simulated world that fails, run after run; and the faults that it must find.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from zerosum.cli.options import JsonOption
from zerosum.cli.tables import show_table
from zerosum.sim.campaign import COMMANDS, Tally, campaign
from zerosum.sim.coverage import Coverage, covered, expected
from zerosum.sim.mutants import MUTANTS, Mutant
from zerosum.sim.plan import Plan
from zerosum.sim.planting import Caught, hunt
from zerosum.sim.run import Result, run
from zerosum.sim.shrink import account, shrink

MUTANT_SEEDS: Final = range(200)
MUTANT_COMMANDS: Final = 400
MUTANT_S: Final = 900.0


def simulate_command(
    seed: Annotated[int | None, typer.Option(help="The first seed. Default: a random one, which is printed.", min=0)] = None,
    steps: Annotated[int, typer.Option(help="Go on until roles have taken so many records.", min=1)] = 2_000_000,
    commands: Annotated[int, typer.Option(help="Commands in each run.", min=20)] = COMMANDS,
    least: Annotated[int, typer.Option(help="Fail unless each fault has met each state that it is to meet so often.", min=0)] = 0,
    jobs: Annotated[int, typer.Option(help="Processes. Default: one for each core.", min=1)] = os.cpu_count() or 1,
    again: Annotated[str | None, typer.Option(help="One run, from the plan that a failure printed.")] = None,
    mutants: Annotated[
        bool, typer.Option("--mutants", help="Plant known faults in copies of the program, and see that each is found.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Run the roles of a cluster in simulated worlds, each drawn from a seed: processes are killed, disks damaged, messages delayed, repeated
    and lost, clocks set, while clients trade. After each run everything must have come to its end, and every account agree to the atom.

    A run that fails is made smaller, and an account of its last steps written to a file. Exit code 0 only if none has, and if every fault
    has met what it must as often as --least says.
    """
    if mutants:
        return simulate_mutants(jobs, as_json)
    if again is not None:
        result = run(Plan.of_json(again))
        typer.echo("\n".join(result.trace) + f"\n\n{result.failure or 'nothing was found'}")
        raise typer.Exit(1 if result.failure else 0)
    first = seed if seed is not None else secrets.randbelow(10**9)
    typer.echo(f"seeds from {first}", err=True)
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("role steps", total=steps)
        tally = campaign(first, steps=steps, commands=commands, jobs=jobs, progress=lambda now: bar.update(task, completed=now.steps))
    coverage = covered(tally.met, max(1, least))
    if as_json:
        typer.echo(json.dumps(as_plain(first, tally, coverage)))
    else:
        show(tally, coverage, max(1, least))
    if tally.failed is not None:
        tell_failure(tally.failed)
    if tally.failed is not None or (least and coverage.lacking):
        raise typer.Exit(1)


def as_plain(first: int, tally: Tally, coverage: Coverage) -> dict[str, object]:
    met = [{"fault": fault, "met_by": kind, "state": state, "times": times} for (fault, kind, state), times in tally.met.items()]
    return {
        "expected": coverage.expected, "met_often_enough": coverage.enough,
        "lacking": [[*place, times] for place, times in coverage.lacking],
        "first_seed": first, "runs": tally.runs, "role_steps": tally.steps, "seconds": round(tally.seconds, 1),
        "role_steps_per_second": round(tally.steps_per_second), "simulated_s": round(tally.simulated_s), "faults": tally.faults, "met": met,
        "failure": tally.failed.failure if tally.failed else "",
    }  # fmt: skip


def show(tally: Tally, coverage: Coverage, least: int) -> None:
    rows = [[fault, process, state, f"{tally.met[fault, process, state]:,}"] for fault, process, state in sorted(expected())]
    show_table(["fault", "met by", "in the state", "times"], rows)
    for (fault, process, state), times in coverage.lacking:
        typer.echo(f"too seldom: {fault}, {process}, {state}: {times}")
    typer.echo(f"{coverage.enough} of {coverage.expected} faults x states met at least {least} times")
    typer.echo(
        f"{tally.runs:,} runs, {tally.steps:,} role steps in {tally.seconds:,.0f} s ({tally.steps_per_second:,.0f} a second),"
        f" {tally.simulated_s:,.0f} simulated seconds, {tally.faults:,} faults, {'one run failed' if tally.failed else 'none failed'}"
    )


def tell_failure(failed: Result) -> None:
    typer.echo(f"seed {failed.plan.seed} fails: {failed.failure}\nmaking it smaller ...", err=True)
    smallest = shrink(failed, lambda plan, fails: typer.echo(f"  {'fails' if fails else 'holds'}: {plan.text()}", err=True))
    path = Path(f"simulation-{failed.plan.seed}.txt")
    path.write_text(account(smallest, failed))
    typer.echo(f"{smallest.failure}\nThe account of its last steps is in {path}.", err=True)


def simulate_mutants(jobs: int, as_json: bool) -> None:
    caught: list[Caught] = []
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar, ThreadPoolExecutor(jobs) as pool:
        task = bar.add_task("planted faults", total=len(MUTANTS))
        for one in pool.map(hunt_in_temporary_folder, MUTANTS):
            caught.append(one)
            bar.advance(task)
            if not as_json:
                bar.console.print(f"{'caught' if one.seed is not None else '[bold red]NOT CAUGHT[/]'}  {one.mutant.name}", highlight=False)
    found = [one for one in caught if one.seed is not None]
    if as_json:
        typer.echo(json.dumps([{"fault": c.mutant.name, "seed": c.seed, "role_steps": c.steps, "finding": c.finding} for c in caught]))
    else:
        rows = [[c.mutant.name, "" if c.seed is None else str(c.seed), f"{c.steps:,}", c.finding[:120]] for c in caught]
        show_table(["planted fault", "seed", "role steps", "what was found"], rows)
        typer.echo(f"{len(found)} of {len(caught)} planted faults caught")
    if len(found) < len(caught):
        raise typer.Exit(1)


def hunt_in_temporary_folder(mutant: Mutant) -> Caught:
    with tempfile.TemporaryDirectory() as folder:
        return hunt(mutant, Path(folder), MUTANT_SEEDS, MUTANT_COMMANDS, MUTANT_S)
