"""
`zerosum e2e --cluster`: the cluster from nothing, several times, under load; then a set of orders through one connection.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from zerosum.bench.cluster.e2e import ClusterIteration, ClusterPlan, Iteration
from zerosum.bench.cluster.piped import ClusterPiped, pipe
from zerosum.bench.e2e_orders import OrderSet
from zerosum.cli.tables import show_table
from zerosum.services.audit import Verdict
from zerosum.services.cluster.audit import verdict

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and of how much."""


@final
@dataclass(slots=True)
class ClusterEndToEnd:
    """What was seen."""

    iterations: list[Iteration] = field(default_factory=list)
    together: list[Verdict] = field(default_factory=list)
    piped: ClusterPiped | None = None

    @property
    def holds(self) -> bool:
        return all(each.holds for each in self.verdicts())

    def verdicts(self) -> list[Verdict]:
        piped = self.piped.verdicts if self.piped is not None else []
        return [*(each for iteration in self.iterations for each in iteration.verdicts), *self.together, *piped]

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        for one, iteration in zip(found["iterations"], self.iterations, strict=True):
            one["verdicts"] = [each._asdict() for each in iteration.verdicts]
            one["fixed_trades"] = len(iteration.fixed_trades)
            one["processes"] = [
                {"name": each.name, "cpu_s": round(each.cpu_s, 2), "resident_bytes": each.resident_bytes[-1]}
                for each in iteration.processes
            ]
        found["together"] = [each._asdict() for each in self.together]
        if self.piped is not None:
            found["piped"]["verdicts"] = [each._asdict() for each in self.piped.verdicts]
        return {"holds": self.holds, **found}


def run_cluster_end_to_end(folder: Path, plan: ClusterPlan, runs: int, orders: OrderSet | None, progress: Progress) -> ClusterEndToEnd:
    """In `folder`, which is fresh, each part has its own; those of which all holds are removed. `orders`: to be piped, if any."""
    seen = ClusterEndToEnd()
    for number in range(1, runs + 1):
        part = folder / f"run{number}"
        iteration = ClusterIteration(part, plan, telling(progress, f"run {number}")).run()
        seen.iterations.append(iteration)
        if iteration.holds:
            shutil.rmtree(part)
    seen.together.append(same_trades(seen.iterations))
    if orders is not None:
        name, count, part = "one connection", len(orders.orders), folder / "piped"
        seen.piped = pipe(part, orders, lambda done: progress(f"{name}: orders", done, count), telling(progress, name))
        if all(each.holds for each in seen.piped.verdicts):
            shutil.rmtree(part)
    return seen


def telling(progress: Progress, name: str) -> Callable[[str], None]:
    return lambda line: progress(f"{name}: {line}", 0, 0)


def same_trades(iterations: list[Iteration]) -> Verdict:
    first = iterations[0].fixed_trades
    wrong = [f"run {number}" for number, each in enumerate(iterations, start=1) if each.fixed_trades != first]
    return verdict("the fixed sequence makes the same trades in every run", wrong, f"{len(first):,} fills, {len(iterations)} runs")


def rows_of_cluster(seen: ClusterEndToEnd) -> Iterator[tuple[bool, str, str]]:
    """Whether it holds, what, and what was seen of it."""
    for number, iteration in enumerate(seen.iterations, start=1):
        for holds, what, found in rows_of_iteration(iteration):
            yield holds, f"run {number}: {what}", found
    for each in seen.together:
        yield each.holds, each.check, each.detail
    if seen.piped is not None:
        answered = seen.piped.answered
        yield True, "one connection, one shard: orders a second", f"{answered.orders_per_second:,}, latency {latency(answered.latency_ms)}"
        for each in seen.piped.verdicts:
            yield each.holds, f"one connection, one shard: {each.check}", each.detail


def rows_of_iteration(seen: Iteration) -> Iterator[tuple[bool, str, str]]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(seen.kinds.items()))
    yield True, "servers and services up, in order", f"{seen.started_s:.0f} s"
    yield True, "load", f"{seen.requests:,} requests in {seen.load_s:.0f} s, {seen.requests_per_second:,}/s: {kinds}"
    yield True, "trades", f"{seen.trades:,}; all settled {seen.settled_after_s:.1f} s after the load"
    yield True, "from its planned time to its answer", latency(seen.answer_ms)
    yield True, "from the answer to the trade readable in the database", f"{latency(seen.readable_ms)} ({seen.readable_samples:,} samples)"
    yield True, "CPU in the load", ", ".join(f"{each.name} {each.cpu_s / seen.load_s:.0%}" for each in seen.processes)
    for each in seen.verdicts:
        yield each.holds, each.check, each.detail


def latency(ms: dict[str, float]) -> str:
    return f"p50 {ms['p50']:.0f} ms, p99 {ms['p99']:.0f} ms, max {ms['max']:.0f} ms"


def show_cluster(seen: ClusterEndToEnd) -> None:
    rows = list(rows_of_cluster(seen))
    styles = ["" if holds else "bold red" for holds, _, _ in rows]
    show_table(("", "what", "seen"), [("ok" if holds else "FAILS", what, found) for holds, what, found in rows], styles=styles)
    passed = sum(each.holds for each in seen.iterations)
    print(f"{passed}/{len(seen.iterations)} PASS" if seen.holds else f"{passed}/{len(seen.iterations)} runs hold; NOT ALL HOLDS")
