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
    commands: Annotated[
        int, typer.Option(help="Commands in each run. A seed is the same story only with the same number.", min=20)
    ] = COMMANDS,
    least: Annotated[
        int, typer.Option(help="Show where each fault struck, and fail unless it has met each state that it is to meet so often.", min=0)
    ] = 0,
    jobs: Annotated[int, typer.Option(help="Processes. Default: one for each core.", min=1)] = os.cpu_count() or 1,
    again: Annotated[str | None, typer.Option(help="One run, from the plan that a failure printed.")] = None,
    mutants: Annotated[
        bool, typer.Option("--mutants", help="Plant known faults in copies of the program, and see that each is found.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Run the roles of a cluster, and the embedded exchange, in simulated worlds, each drawn from a seed: processes are killed, disks damaged,
    messages delayed, repeated and lost, clocks set, while clients trade. After each run everything must have come to its end, and every
    account agree to the atom. Some 20,000 role steps a second on each core; Ctrl-C tells how far it came.

    A run that fails is made smaller, and an account of its last steps written to a file. Exit code 0 only if none has failed, and every
    fault has met what it must as often as --least says.
    """
    if mutants:
        return simulate_mutants(jobs, as_json)
    if again is not None:
        return run_again(again)
    first = seed if seed is not None else secrets.randbelow(10**9)
    typer.echo(f"seeds from {first}", err=True)
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("role steps", total=steps)
        tally = campaign(first, steps=steps, commands=commands, jobs=jobs, progress=lambda now: bar.update(task, completed=now.steps))
    coverage = covered(tally.met, max(1, least))
    failure = tell_failure(tally.failed) if tally.failed is not None else None
    if as_json:
        asked = {"first_seed": first, "steps": steps, "commands": commands, "least": least, "jobs": jobs}
        typer.echo(json.dumps({**asked, **as_plain(tally, coverage), "failed": failure}))
    else:
        show(tally, coverage, least)
    if failure is not None or tally.was_interrupted or (least and coverage.lacking):
        raise typer.Exit(1)


def run_again(text: str) -> None:
    try:
        plan = Plan.of_json(text)
    except (ValueError, KeyError, TypeError) as error:
        hint = "paste what stands behind --again in simulation-SEED.txt, in quotes"
        raise typer.BadParameter(f"this is no plan: {hint}", param_hint="--again") from error
    result = run(plan)
    typer.echo("\n".join(result.trace) + f"\n\n{result.failure or 'nothing was found'}")
    raise typer.Exit(1 if result.failure else 0)


def as_plain(tally: Tally, coverage: Coverage) -> dict[str, object]:
    lacking = dict(coverage.lacking)
    met = [
        {"fault": place[0], "met_by": place[1], "state": place[2], "times": tally.met[place], "lacking": place in lacking}
        for place in sorted({*tally.met, *expected()})
    ]
    return {
        "runs": tally.runs, "role_steps": tally.steps, "seconds": round(tally.seconds, 1), "interrupted": tally.was_interrupted,
        "role_steps_per_second": round(tally.steps_per_second), "simulated_s": round(tally.simulated_s), "faults": tally.faults,
        "expected": coverage.expected, "met_often_enough": coverage.enough, "met": met,
    }  # fmt: skip


def show(tally: Tally, coverage: Coverage, least: int) -> None:
    if least:
        rows = [[*place, f"{tally.met[place]:,}"] for place in sorted(expected())]
        show_table(["fault", "met by", "in the state", "times"], rows)
        elsewhere = sum(tally.met.values()) - sum(tally.met[place] for place in expected())
        typer.echo(f"and {elsewhere:,} that met what they need not")
        for (fault, kind, state), times in coverage.lacking:
            typer.echo(f"too seldom: {fault}, {kind}, {state}: {times}")
        typer.echo(f"{coverage.enough} of {coverage.expected} faults x states met at least {least} times")
    else:
        typer.echo(f"{coverage.enough} of {coverage.expected} faults x states were met (how often is shown, and checked, with --least)")
    verdict = "one run failed" if tally.failed else "none failed"
    if tally.was_interrupted:
        verdict += " until it was stopped"
    typer.echo(
        f"{tally.runs:,} runs, {tally.steps:,} role steps in {tally.seconds:,.0f} s ({tally.steps_per_second:,.0f} a second),"
        f" {tally.simulated_s:,.0f} simulated seconds, {tally.faults:,} faults: {verdict}"
    )


def tell_failure(failed: Result) -> dict[str, object]:
    """Made smaller, and told: for people on the way, and for programs as what is returned."""
    typer.echo(f"seed {failed.plan.seed} fails: {failed.failure}\nmaking it smaller ...", err=True)
    smallest = shrink(failed, lambda plan, fails: typer.echo(f"  {'fails' if fails else 'holds'}: {plan.text()}", err=True))
    path = Path(f"simulation-{failed.plan.seed}.txt")
    path.write_text(account(smallest, failed))
    typer.echo(f"{smallest.failure}\nThe account of its last steps is in {path}.", err=True)
    plans = {"plan": json.loads(failed.plan.json()), "smaller_plan": json.loads(smallest.plan.json())}
    return {"seed": failed.plan.seed, "failure": failed.failure, **plans, "account": str(path)}


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
